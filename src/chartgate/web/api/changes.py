"""Changes that weaken a rule, over JSON: two people approve, one is enough to refuse."""

from typing import Any

from starlette.responses import Response

from chartgate.flows import changes
from chartgate.store.changes import Change
from chartgate.web.api.bodies import Body
from chartgate.web.api.views import answer
from chartgate.web.routes import Call


async def listed(call: Call) -> Response:
    """GET /v1/changes"""
    found = await changes.listed(call.gate, call.person)
    return answer({"changes": [change_view(change) for change in found]})


async def show(call: Call) -> Response:
    """GET /v1/changes/{digest}"""
    return answer(change_view(await changes.show(call.gate, call.person, _digest(call))))


async def approve(call: Call) -> Response:
    """POST /v1/changes/{digest}/approve"""
    return answer(change_view(await changes.approve(call.gate, call.person, _digest(call))))


async def refuse(call: Call) -> Response:
    """POST /v1/changes/{digest}/refuse"""
    reason = Body(call, known=("reason",)).text("reason")
    refused = await changes.refuse(call.gate, call.person, _digest(call), reason=reason)
    return answer(change_view(refused))


def change_view(change: Change) -> dict[str, Any]:
    """schema Change."""
    return {
        "digest": change.digest,
        "kind": change.kind,
        "subject": change.subject,
        "weaker": list(change.sentences),
        "status": change.status,
        "asked_by": change.asked_by,
        "asked_at": change.asked_at.isoformat(),
        "expires_at": change.expires_at.isoformat(),
        "approved_by": list(change.approved_by),
    }


def _digest(call: Call) -> str:
    return call.parameters["digest"]
