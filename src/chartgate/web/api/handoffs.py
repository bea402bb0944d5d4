"""The staff's worklist over JSON."""

from starlette.responses import Response

from chartgate.flows import handoffs
from chartgate.web.api.bodies import Body, asked
from chartgate.web.api.views import answer, handoff
from chartgate.web.routes import Call


async def listed(call: Call) -> Response:
    """GET /v1/handoffs"""
    query = asked(call, known=("worklist",))
    found = await handoffs.listed(call.gate, call.person, query.get("worklist"))
    return answer({"handoffs": [handoff(item) for item in found]})


async def take(call: Call) -> Response:
    """POST /v1/handoffs/{id}/take"""
    return answer(handoff(await handoffs.take(call.gate, call.person, call.parameters["id"])))


async def close(call: Call) -> Response:
    """POST /v1/handoffs/{id}/close"""
    outcome = Body(call, known=("outcome",)).text("outcome")
    closed = await handoffs.close(call.gate, call.person, call.parameters["id"], outcome)
    return answer(handoff(closed))
