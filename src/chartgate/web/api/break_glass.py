"""Breaking the glass over JSON, for people only."""

from typing import Any

from starlette.responses import Response

from chartgate.errors import Invalid
from chartgate.flows import break_glass
from chartgate.flows.break_glass import Wanted
from chartgate.model.break_glass import BreakGlass
from chartgate.web.api.bodies import Body
from chartgate.web.api.views import answer
from chartgate.web.routes import Call

WANTED = ("site", "patient", "code", "words", "minutes")


async def open_(call: Call) -> Response:
    """POST /v1/break-glass"""
    body = Body(call, known=WANTED)
    wanted = Wanted(
        site=body.text("site"),
        patient=body.text("patient"),
        code=body.text("code"),
        words=body.text("words"),
        minutes=_whole(body.number("minutes")),
    )
    glass = await break_glass.open_glass(call.gate, call.person, wanted)
    return answer(_view(call, glass), status=201)


async def listed(call: Call) -> Response:
    """GET /v1/break-glass"""
    own = await break_glass.own(call.gate, call.person)
    tasks = await break_glass.tasks(call.gate, call.person)
    value = {"own": [_view(call, g) for g in own], "to_review": [_view(call, g) for g in tasks]}
    return answer(value)


async def end(call: Call) -> Response:
    """POST /v1/break-glass/{id}/end"""
    return answer(
        _view(call, await break_glass.end_glass(call.gate, call.person, call.parameters["id"]))
    )


async def review(call: Call) -> Response:
    """POST /v1/break-glass/{id}/review"""
    body = Body(call, known=("finding", "remark"))
    glass = await break_glass.review(
        call.gate,
        call.person,
        call.parameters["id"],
        finding=body.text("finding"),
        remark=body.text("remark"),
    )
    return answer(_view(call, glass))


def _whole(number: float) -> int:
    if not -1e9 < number < 1e9 or number != int(number):
        raise Invalid("minutes must be a whole number")
    return int(number)


def _view(call: Call, glass: BreakGlass) -> dict[str, Any]:
    return {
        "id": glass.id,
        "person": glass.person,
        "site": glass.site,
        "patient": glass.patient,
        "code": glass.code,
        "words": glass.words,
        "state": glass.state(call.gate.clock()),
        "opened_at": glass.opened_at.isoformat(),
        "ends_at": glass.ends_at.isoformat(),
        "ended_at": glass.ended_at.isoformat() if glass.ended_at else None,
        "review_due_at": glass.review_due_at.isoformat(),
        "reviewed_by": glass.reviewed_by,
        "finding": glass.finding,
    }
