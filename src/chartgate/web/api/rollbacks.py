"""Taking back many writes over JSON: the list is a GET, and asking for it names the list."""

from starlette.responses import Response

from chartgate.flows import bulk_rollbacks, undo_views
from chartgate.flows.audit_search import parse_time
from chartgate.flows.undo_lists import Selection, plan_json
from chartgate.flows.undo_views import compared_json
from chartgate.web.api.bodies import Body, asked
from chartgate.web.api.views import answer
from chartgate.web.routes import Call

SELECTING = ("client", "charter", "stage", "since", "until")


async def listed(call: Call) -> Response:
    """GET /v1/rollbacks"""
    query = asked(call, known=SELECTING)
    made = await bulk_rollbacks.plan(call.gate, call.person, _selection(call, query))
    return answer(plan_json(made))


async def ask(call: Call) -> Response:
    """POST /v1/rollbacks"""
    body = Body(call, known=(*SELECTING, "list", "reason"))
    said = {name: text for name in SELECTING if (text := body.optional_text(name))}
    made = await bulk_rollbacks.roll_back(
        call.gate,
        call.person,
        _selection(call, said),
        shown=body.text("list"),
        reason=body.text("reason"),
    )
    return answer(plan_json(made), status=202)


async def compare(call: Call) -> Response:
    """GET /v1/proposals/{id}/three-way"""
    found = await undo_views.compare(call.gate, call.person, call.parameters["id"])
    return answer({"resources": [compared_json(each) for each in found]})


def _selection(call: Call, said: dict[str, str]) -> Selection:
    now = call.gate.clock()
    times = {n: parse_time(said[n], now=now) if n in said else None for n in ("since", "until")}
    return Selection(
        client=said.get("client"),
        charter=said.get("charter"),
        stage=said.get("stage"),
        since=times["since"],
        until=times["until"],
    )
