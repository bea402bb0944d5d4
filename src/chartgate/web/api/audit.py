"""The audit over JSON, for privacy officers, auditors and services with that power."""

from typing import Any

import orjson
from starlette.responses import Response

from chartgate.errors import Invalid
from chartgate.flows import audit_review, audit_search
from chartgate.flows.audit_reports import plain
from chartgate.model.audit import Outcome
from chartgate.store.audit_search import EVER, NEVER, Criteria, Found
from chartgate.web.api.bodies import Body, asked
from chartgate.web.api.views import answer
from chartgate.web.routes import Call

NAMES = ("patient", "agent", "action", "outcome", "site", "since", "until", "page", "count")
OUTCOMES = {outcome.value: outcome for outcome in Outcome}


async def search(call: Call) -> Response:
    """GET /v1/audit"""
    query = asked(call, known=NAMES)
    now = call.gate.clock()
    since, until = (
        audit_search.parse_time(query[name], now=now) if name in query else None
        for name in ("since", "until")
    )
    criteria = Criteria(
        patient=query.get("patient"),
        agent=query.get("agent"),
        action=query.get("action"),
        outcome=_outcome(query.get("outcome")),
        site=query.get("site"),
        since=since or EVER,
        until=until or NEVER,
    )
    assert call.principal is not None, "the guard lets nobody else in"
    page = await audit_search.search(
        call.gate,
        call.principal,
        criteria,
        page=query.get("page", ""),
        count=_count(query.get("count", str(audit_search.COUNT_USUAL))),
    )
    return answer({"events": [_event(found) for found in page.found], "next": page.next})


async def review(call: Call) -> Response:
    """GET /v1/audit/review"""
    query = asked(call, known=("since", "until"))
    now = call.gate.clock()
    since, until = _span(query.get("since", "7d"), query.get("until", "0s"), now)
    assert call.principal is not None, "the guard lets nobody else in"
    report = await audit_review.review(call.gate, call.principal, since=since, until=until)
    signed = await audit_review.signatures(call.gate, since=since, until=until)
    value = {
        "since": since.isoformat(),
        "until": until.isoformat(),
        "report": plain(report),
        "digest": audit_review.digest_of_report(report),
        "signatures": [
            {
                "signed_by": each.signed_by,
                "signed_at": each.signed_at.isoformat(),
                "digest": each.digest,
                "remark": each.note,
            }
            for each in signed
        ],
    }
    return answer(value)


async def sign_off(call: Call) -> Response:
    """POST /v1/audit/review"""
    body = Body(call, known=("since", "until", "digest", "remark"))
    since, until = _span(body.text("since"), body.text("until"), call.gate.clock())
    signed = await audit_review.sign_off(
        call.gate,
        call.person,
        since=since,
        until=until,
        digest=body.text("digest"),
        remark=body.optional_text("remark") or "",
    )
    value = {"signed_by": signed.signed_by, "signed_at": signed.signed_at.isoformat()}
    return answer(value, status=201)


def _event(found: Found) -> dict[str, Any]:
    """The leaf as it stands in the ledger, with its number."""
    return {"seq": found.seq, "event": orjson.Fragment(found.body)}


def _span(since: str, until: str, now: Any) -> tuple[Any, Any]:
    return audit_search.parse_time(since, now=now), audit_search.parse_time(until, now=now)


def _outcome(text: str | None) -> Outcome | None:
    if text is not None and text not in OUTCOMES:
        raise Invalid(f"outcome must be one of {', '.join(OUTCOMES)}")
    return OUTCOMES[text] if text else None


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise Invalid("count must be a number")
    return int(text)
