"""The walk of a look into the audit: who may look, the look itself audited, then the answer.

Looking is audited before anything is shown, and like every answer it is not given where that
cannot be. What was looked for stands in the event, what was found does not: it would grow with
every look.
"""

import base64
import binascii
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chartgate.errors import Denied, Invalid
from chartgate.gate import Gate
from chartgate.model.audit import ACTIONS, AuditEvent, Outcome
from chartgate.model.principal import Person, Principal, Process
from chartgate.store.audit_search import AuditSearch, Criteria, Found, Place

ROLES = frozenset({"privacy-officer", "auditor"})
POWER = "audit"  # of a service
COUNT_MAX = 1_000
COUNT_USUAL = 100
BATCH = 1_000
TEXT_MAX = 200
SAY_WHO = "only a privacy officer, an auditor or a service with the power audit may look there"


@dataclass(frozen=True, kw_only=True)
class Page:
    """What was found, newest first, and where the next page begins ("": there is none)."""

    found: tuple[Found, ...]
    next: str


async def search(
    gate: Gate,
    who: Principal,
    criteria: Criteria,
    *,
    page: str = "",
    count: int = COUNT_USUAL,
) -> Page:
    """One page of events. Raises Denied, Invalid, Unavailable."""
    _check(criteria)
    if not 1 <= count <= COUNT_MAX:
        raise Invalid(f"a page has 1 to {COUNT_MAX} events")
    before = _place(page) if page else None
    await note(gate, who, "audit.search", criteria)
    found = await AuditSearch(gate.database).search(criteria, before=before, count_max=count + 1)
    shown = tuple(found[:count])
    return Page(found=shown, next=_mark(shown[-1].place) if len(found) > count else "")


async def note(
    gate: Gate,
    who: Principal,
    action: str,
    criteria: Criteria,
    *,
    details: tuple[tuple[str, str], ...] = (),
) -> None:
    """The audit event of a look, durable before this returns. Raises Denied, audited."""
    event = event_of(gate, who, action, criteria, details=details)
    if not may_look(who):
        denied = replace(event, outcome=Outcome.DENIED, reason="role", patient=None)
        await gate.audit.record(denied)
        raise Denied(SAY_WHO)
    await gate.audit.record(event)


def event_of(
    gate: Gate,
    who: Principal,
    action: str,
    criteria: Criteria,
    *,
    details: tuple[tuple[str, str], ...] = (),
) -> AuditEvent:
    """What was looked for, by whom."""
    asked = {
        "agent": criteria.agent,
        "action": criteria.action,
        "outcome": criteria.outcome.value if criteria.outcome else None,
        "since": None if criteria.since == Criteria().since else criteria.since.isoformat(),
        "until": None if criteria.until == Criteria().until else criteria.until.isoformat(),
    }
    return AuditEvent(
        recorded=gate.clock(),
        action=action,
        agent=who.agent,
        patient=criteria.patient,
        site=criteria.site,
        details=(*((name, value) for name, value in asked.items() if value), *details),
    )


def may_look(who: Principal) -> bool:
    """Whether this principal may look into the audit. An AI client never may."""
    if isinstance(who, Process):
        return True
    if isinstance(who, Person):
        return bool(ROLES & set(who.roles)) and not who.sealed
    return POWER in getattr(who, "may", ())


async def everything(gate: Gate, criteria: Criteria, *, batch: int = BATCH) -> AsyncIterator[Found]:
    """All events that match, newest first, in batches: memory stays flat. Not audited itself."""
    store, before = AuditSearch(gate.database), None
    while True:
        found = await store.search(criteria, before=before, count_max=batch)
        for each in found:
            yield each
        if len(found) < batch:
            return
        before = found[-1].place


def parse_time(text: str, *, now: datetime) -> datetime:
    """ "2026-11-01", "2026-11-01T12:00:00Z", or so long ago: "90d", "12h". Raises Invalid."""
    units = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
    try:
        if text[-1:] in units and text[:-1].isdigit():
            return now - timedelta(seconds=int(text[:-1]) * units[text[-1]])
        parsed = datetime.fromisoformat(text)
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=now.tzinfo)
    except (ValueError, OverflowError):
        raise Invalid(
            "a time is a date (2026-11-01), a date and time (2026-11-01T12:00:00Z), or how long "
            "ago (90d, 12h, 30m)"
        ) from None


def _check(criteria: Criteria) -> None:
    if criteria.action is not None and criteria.action not in ACTIONS:
        raise Invalid("no such action; docs/reference/audit-actions.md lists them")
    for text in (criteria.patient, criteria.agent, criteria.site):
        if text is not None and (len(text) > TEXT_MAX or not text.isprintable()):
            raise Invalid(f"patient, agent and site have at most {TEXT_MAX} characters")
    if criteria.since >= criteria.until:
        raise Invalid("the time to begin with must lie before the time to end with")


def _mark(place: Place) -> str:
    text = f"{place.recorded.isoformat()}|{place.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(mark: str) -> Place:
    try:
        padded = mark + "=" * (-len(mark) % 4)
        recorded, _, id_ = base64.urlsafe_b64decode(padded).decode().partition("|")
        place = Place(recorded=datetime.fromisoformat(recorded), id=int(id_))
    except (ValueError, binascii.Error):
        raise Invalid("that is no page that an earlier answer gave") from None
    if place.recorded.tzinfo is None or not 0 <= place.id <= Place().id:
        raise Invalid("that is no page that an earlier answer gave")
    return place
