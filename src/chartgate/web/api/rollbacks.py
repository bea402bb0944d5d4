"""Taking back many writes over JSON: the list is a GET, and asking for it names the list."""

from typing import Any

from starlette.responses import Response

from chartgate.flows import bulk_rollbacks, undo_views
from chartgate.flows.audit_search import parse_time
from chartgate.flows.undo_lists import Item, Plan, Selection
from chartgate.flows.undo_views import Compared
from chartgate.web.api.bodies import Body, asked
from chartgate.web.api.views import answer, summary
from chartgate.web.routes import Call

SELECTING = ("client", "charter", "stage", "since", "until")


async def listed(call: Call) -> Response:
    """GET /v1/rollbacks"""
    query = asked(call, known=SELECTING)
    made = await bulk_rollbacks.plan(call.gate, call.person, _selection(call, query))
    return answer(_plan(made))


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
    return answer(_plan(made), status=202)


async def compare(call: Call) -> Response:
    """GET /v1/proposals/{id}/three-way"""
    found = await undo_views.compare(call.gate, call.person, call.parameters["id"])
    return answer({"resources": [_compared(each) for each in found]})


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


def _plan(made: Plan) -> dict[str, Any]:
    """schema RollbackList."""
    return {
        "list": made.digest,
        "undo": made.count("undo"),
        "cannot": made.count("cannot"),
        "under_way": made.under_way,
        "complete": made.complete,
        "items": [_item(item) for item in made.items],
    }


def _item(item: Item) -> dict[str, Any]:
    return {
        "proposal": summary(item.proposal),
        "written_at": item.written_at.isoformat(),
        "verdict": item.verdict,
        "why": item.why,
    }


def _compared(found: Compared) -> dict[str, Any]:
    """schema ThreeWay."""
    return {
        "reference": found.reference,
        "version_written": found.version_written,
        "version_now": found.version_now,
        "moved_on": found.moved_on,
        "shown": found.shown,
        "elements": [
            {"path": e.path, "before": e.before, "written": e.written, "now": e.now}
            for e in found.lines
        ],
    }
