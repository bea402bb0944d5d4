"""Changes that weaken a rule, over JSON: two people approve, one is enough to refuse."""

from starlette.responses import Response

from chartgate.flows import changes
from chartgate.store.changes import rule_change_json
from chartgate.web.api.bodies import Body
from chartgate.web.api.views import answer
from chartgate.web.routes import Call


async def listed(call: Call) -> Response:
    """GET /v1/changes"""
    found = await changes.listed(call.gate, call.person)
    return answer({"changes": [rule_change_json(change) for change in found]})


async def show(call: Call) -> Response:
    """GET /v1/changes/{digest}"""
    return answer(rule_change_json(await changes.show(call.gate, call.person, _digest(call))))


async def approve(call: Call) -> Response:
    """POST /v1/changes/{digest}/approve"""
    return answer(rule_change_json(await changes.approve(call.gate, call.person, _digest(call))))


async def refuse(call: Call) -> Response:
    """POST /v1/changes/{digest}/refuse"""
    reason = Body(call, known=("reason",)).text("reason")
    refused = await changes.refuse(call.gate, call.person, _digest(call), reason=reason)
    return answer(rule_change_json(refused))


def _digest(call: Call) -> str:
    return call.parameters["digest"]
