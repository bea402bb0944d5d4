"""Proposals over JSON: AI clients submit and withdraw, people decide and roll back."""

from typing import cast

from starlette.responses import Response

from chartgate.errors import Invalid
from chartgate.flows import proposals, reviews, rollbacks
from chartgate.flows.reviews import Verdict
from chartgate.model.proposal import Status, proposal_json
from chartgate.policy.content import CHANGES_MAX
from chartgate.policy.reviewing import ACKNOWLEDGE_MAX
from chartgate.web.api.bodies import Body, asked
from chartgate.web.api.views import answer, whole
from chartgate.web.routes import Call

LIMIT_DEFAULT = 50
LIMIT_MAX = 500
KEY_MAX = 200  # characters of an Idempotency-Key
SUBMISSION = (
    "site", "action", "interaction", "changes", "confidence", "rationale", "charter", "replaces",
)  # fmt: skip


async def submit(call: Call) -> Response:
    """POST /v1/proposals"""
    body = Body(call, known=SUBMISSION)
    key = call.header("idempotency-key")
    if key is not None and not (0 < len(key) <= KEY_MAX and key.isprintable()):
        raise Invalid(f"Idempotency-Key must have 1 to {KEY_MAX} printable characters")
    submission = proposals.Submission(
        site=body.text("site"),
        action=body.text("action"),
        interaction=body.text("interaction"),
        changes=body.raw("changes"),
        confidence=body.number("confidence"),
        rationale=body.optional_text("rationale") or "",
        charter=body.optional_text("charter"),
        replaces=body.optional_text("replaces"),
        idempotency_key=key,
    )
    proposal = await proposals.submit(call.gate, call.client, submission)
    headers = {"location": f"/v1/proposals/{proposal.id}"}
    return answer(proposal_json(proposal), status=201, headers=headers)


async def listed(call: Call) -> Response:
    """GET /v1/proposals"""
    query = asked(call, known=("status", "limit"))
    assert call.principal is not None
    found = await proposals.listed(
        call.gate, call.principal, status=_status(query.get("status")), limit=_limit(query)
    )
    return answer({"proposals": [proposal_json(proposal) for proposal in found]})


async def show(call: Call) -> Response:
    """GET /v1/proposals/{id}"""
    assert call.principal is not None
    return answer(whole(await proposals.show(call.gate, call.principal, call.parameters["id"])))


async def withdraw(call: Call) -> Response:
    """POST /v1/proposals/{id}/withdraw"""
    return answer(
        proposal_json(await proposals.withdraw(call.gate, call.client, call.parameters["id"]))
    )


async def review(call: Call) -> Response:
    """POST /v1/proposals/{id}/review"""
    body = Body(call, known=("verdict", "digest", "reason", "acknowledged", "each"))
    verdict: Verdict = cast(Verdict, body.text("verdict"))  # the flow refuses any other
    proposal = await reviews.review(
        call.gate,
        call.person,
        call.parameters["id"],
        verdict=verdict,
        digest=body.text("digest"),
        reason=body.optional_text("reason"),
        acknowledged=body.texts("acknowledged", count_max=ACKNOWLEDGE_MAX),
        each=body.texts("each", count_max=CHANGES_MAX),
    )
    return answer(proposal_json(proposal))


async def edit(call: Call) -> Response:
    """POST /v1/proposals/{id}/edit"""
    body = Body(call, known=("changes", "digest"))
    proposal = await reviews.edit(
        call.gate,
        call.person,
        call.parameters["id"],
        changes_raw=body.raw("changes"),
        digest=body.text("digest"),
    )
    return answer(proposal_json(proposal))


async def roll_back(call: Call) -> Response:
    """POST /v1/proposals/{id}/rollback"""
    body = Body(call, known=("reason",))
    proposal = await rollbacks.request_rollback(
        call.gate, call.person, call.parameters["id"], reason=body.text("reason")
    )
    return answer(proposal_json(proposal), status=202)


def _status(value: str | None) -> Status | None:
    try:
        return Status(value) if value is not None else None
    except ValueError:
        raise Invalid(f"status must be one of {', '.join(s.value for s in Status)}") from None


def _limit(query: dict[str, str]) -> int:
    value = query.get("limit", str(LIMIT_DEFAULT))
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= LIMIT_MAX):
        raise Invalid(f"limit must be a number from 1 to {LIMIT_MAX}")
    return int(value)
