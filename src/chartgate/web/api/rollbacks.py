"""Taking back many writes over JSON: the list is a GET, and asking for it names the list."""

from starlette.responses import Response

from chartgate.flows import bulk_rollbacks, undo_views
from chartgate.flows.undo_lists import SELECTING, plan_json, selection_of
from chartgate.flows.undo_views import compared_json
from chartgate.web.api.bodies import Body, asked
from chartgate.web.api.views import answer
from chartgate.web.routes import Call


async def listed(call: Call) -> Response:
    """GET /v1/rollbacks"""
    query = asked(call, known=SELECTING)
    selection = selection_of(query, now=call.gate.clock())
    made = await bulk_rollbacks.plan(call.gate, call.person, selection)
    return answer(plan_json(made))


async def ask(call: Call) -> Response:
    """POST /v1/rollbacks"""
    body = Body(call, known=(*SELECTING, "list", "reason"))
    said = {name: text for name in SELECTING if (text := body.optional_text(name))}
    made = await bulk_rollbacks.roll_back(
        call.gate,
        call.person,
        selection_of(said, now=call.gate.clock()),
        shown=body.text("list"),
        reason=body.text("reason"),
    )
    return answer(plan_json(made), status=202)


async def compare(call: Call) -> Response:
    """GET /v1/proposals/{id}/three-way"""
    found = await undo_views.compare(call.gate, call.person, call.parameters["id"])
    return answer({"resources": [compared_json(each) for each in found]})
