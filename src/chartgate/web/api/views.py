"""Our records as the JSON of openapi.yaml. One function a schema."""

from dataclasses import asdict
from typing import Any

import orjson
from starlette.responses import Response

from chartgate.flows.proposals import ProposalView
from chartgate.flows.review_care import ReviewStanding
from chartgate.flows.seen_views import SeenResource
from chartgate.model.handoff import Handoff
from chartgate.model.proposal import Content, proposal_json
from chartgate.model.write import Receipt, change_json

JSON = "application/json"


def answer(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response."""
    body = orjson.dumps(value, option=orjson.OPT_NAIVE_UTC)
    return Response(body, status_code=status, media_type=JSON, headers=headers)


def whole(view: ProposalView) -> dict[str, Any]:
    """schema ProposalView: what it takes to decide."""
    proposal = view.proposal
    return proposal_json(proposal) | {
        "rationale": proposal.rationale,
        "content": content(proposal.content),
        "read_set": [_seen(seen) for seen in view.read_set],
        "mentions": dict(view.mentions),
        "guards": [asdict(result) for result in view.guards],
        "changed_since": [asdict(difference) for difference in view.changed_since],
        "three_way": None if view.three_way is None else [asdict(line) for line in view.three_way],
        "permissions": [asdict(permission) for permission in view.permissions],
        "receipt": receipt(proposal.receipt) if proposal.receipt else None,
        "handoff": handoff(view.handoff) if view.handoff else None,
        "review": review(view.review) if view.review else None,
    }


def review(value: ReviewStanding) -> dict[str, Any]:
    """schema ReviewStanding."""
    return {
        "people": value.people,
        "approvals": [
            {"person": a.person, "roles": a.roles, "at": a.at.isoformat()} for a in value.approvals
        ],
        "still": value.still,
        "floor_s": value.floor_s,
        "wait_s": value.wait_s,
        "acknowledge": value.acknowledge,
    }


def content(value: Content) -> dict[str, Any]:
    """schema Content."""
    return {
        "version": value.version,
        "digest": value.digest,
        "edited_by": value.edited_by,
        "changes": [change_json(change) for change in value.changes],
        "differences": [asdict(difference) for difference in value.differences],
    }


def receipt(value: Receipt) -> dict[str, Any]:
    """schema Receipt."""
    return {
        "at": value.at.isoformat(),
        "resolved": value.resolved,
        "effects": [asdict(effect) for effect in value.effects],
    }


def handoff(value: Handoff) -> dict[str, Any]:
    """schema Handoff."""
    return {
        "id": value.id,
        "proposal": value.proposal,
        "worklist": value.worklist,
        "site": value.site,
        "reason": value.reason,
        "status": value.status.value,
        "opened_at": value.opened_at.isoformat(),
        "due_at": value.due_at.isoformat(),
        "taken_by": value.taken_by,
        "outcome": value.outcome,
        "cause": value.cause.value,
        "assigned_to": value.assigned_to,
        "escalated": value.step,
    }


def _seen(value: SeenResource) -> dict[str, Any]:
    return {
        "reference": value.seen.reference,
        "version": value.seen.version,
        "digest": value.seen.digest.hex(),
        "as_of": value.seen.as_of.isoformat(),
        "search": value.seen.search,
        "resource": value.resource,
    }
