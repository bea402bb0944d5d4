"""The review of activity that 45 CFR 164.308(a)(1)(ii)(D) wants: what each agent did, and what of
it a person should look at; signed by a person, and the signature kept.

What stands out is found by plain rules that the report names, so that a reviewer can argue with
them: refusals, failures, break-glass, reads out of hours, and hours far above an agent's own usual.
"""

import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chartgate.errors import Denied, Invalid
from chartgate.flows.audit_reports import Cell, Report, plain
from chartgate.flows.audit_search import ROLES, SAY_WHO, event_of, note
from chartgate.formats.canonical import digest_of
from chartgate.gate import Gate
from chartgate.model.principal import Person, Principal
from chartgate.store.audit_search import Activity, AuditSearch, Criteria, Review

UNUSUAL_TIMES = 5.0  # an hour of so many times an agent's own median
UNUSUAL_LEAST = 50  # reads in it; below that a busy minute would be a finding
NOTE_MAX = 500
BREAK_GLASS = ("break-glass.open", "person.unseal", "break-glass.alarm", "break-glass.overdue")
ALARMS = ("ledger.rewound", "ledger.rotate-key", *BREAK_GLASS)


@dataclass(frozen=True, kw_only=True)
class Hours:
    """When people work: reads at other times stand out."""

    first: int = 6
    last: int = 20  # up to, but without
    zone: str = "UTC"


async def review(
    gate: Gate, who: Principal, *, since: datetime, until: datetime, hours: Hours | None = None
) -> Report:
    """Activity by agent, what stands out first. Raises Denied, Invalid, Unavailable."""
    await note(gate, who, "audit.review", Criteria(since=since, until=until))
    return await _report(gate, since=since, until=until, hours=hours or Hours())


async def sign_off(
    gate: Gate,
    who: Person,
    *,
    since: datetime,
    until: datetime,
    digest: str,
    remark: str = "",
    hours: Hours | None = None,
) -> Review:
    """Keeps that this person reviewed exactly that report. Raises Denied; Invalid where the
    report is another by now, e.g. because events came meanwhile."""
    if not ROLES & set(who.roles) or who.sealed:
        await note(gate, who, "audit.sign-off", Criteria(since=since, until=until))
        raise Denied(SAY_WHO)
    if until > gate.clock():
        raise Invalid("what is yet to come cannot be reviewed; end the time before now")
    words = remark.strip()
    if len(words) > NOTE_MAX or not words.isprintable():
        raise Invalid(f"a remark is one line of at most {NOTE_MAX} characters")
    report = await _report(gate, since=since, until=until, hours=hours or Hours())
    if digest_of_report(report) != digest:
        raise Invalid("the report is not the one that you saw; look at it again and sign that")
    signed = Review(
        since=since,
        until=until,
        signed_by=who.agent,
        signed_at=gate.clock(),
        digest=digest,
        note=words,
    )
    criteria = Criteria(since=since, until=until)
    event = event_of(gate, who, "audit.sign-off", criteria, details=(("digest", digest),))
    async with gate.database.change(event) as transaction:
        await AuditSearch(gate.database).keep_review(transaction, signed)
    return signed


async def signatures(gate: Gate, *, since: datetime, until: datetime) -> list[Review]:
    """Who signed reviews of this span."""
    return await AuditSearch(gate.database).reviews(since=since, until=until)


def digest_of_report(report: Report) -> str:
    """What a signature is of."""
    return digest_of(plain(report)).hex()


async def _report(gate: Gate, *, since: datetime, until: datetime, hours: Hours) -> Report:
    store = AuditSearch(gate.database)
    activity = await store.activity(since=since, until=until)
    by_hour = await store.reads_by_hour(since=since, until=until)
    off_hours = _off_hours(by_hour, hours)
    unusual = _unusual(by_hour)
    rows = []
    for agent in sorted({each.agent for each in activity}):
        own = [each for each in activity if each.agent == agent]
        rows.append(_row(agent, own, off_hours[agent], unusual.get(agent, "")))
    rows.sort(key=lambda row: (row[-1] == "", str(row[0])))
    alarms = Counter[str]()
    for each in activity:
        if each.action in ALARMS:
            alarms[each.action] += each.events
    return Report(
        title="Activity to review",
        columns=(
            "agent", "events", "reads", "searches", "refused", "failed", "out of hours",
            "busiest", "look at",
        ),
        rows=tuple(rows),
        facts={
            "since": since.isoformat(timespec="seconds"),
            "until": until.isoformat(timespec="seconds"),
            "agents": len(rows),
            "events": sum(each.events for each in activity),
            "hours": f"{hours.first}-{hours.last} {hours.zone}",
        },
        notes=tuple(f"{action}: {count}" for action, count in sorted(alarms.items())),
    )  # fmt: skip


def _row(agent: str, own: list[Activity], off_hours: int, busiest: str) -> tuple[Cell, ...]:
    """One agent; the last column says in words what stands out."""

    def total(*, action: str = "", outcome: str = "") -> int:
        return sum(
            each.events
            for each in own
            if action in ("", each.action) and outcome in ("", each.outcome)
        )

    refused, failed = total(outcome="denied"), total(outcome="failed")
    glass = sum(each.events for each in own if each.action in BREAK_GLASS)
    words = [
        word
        for word, holds in (
            ("break-glass", glass),
            ("refused", refused),
            ("failed", failed),
            ("out of hours", off_hours and agent.startswith("person:")),
            ("unusual volume", busiest),
        )
        if holds
    ]
    return (
        agent,
        total(),
        total(action="fhir.read"),
        total(action="fhir.search"),
        refused,
        failed,
        off_hours,
        busiest,
        ", ".join(words),
    )


def _off_hours(by_hour: list[tuple[str, datetime, int]], hours: Hours) -> Counter[str]:
    try:
        zone = ZoneInfo(hours.zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise Invalid("that is no time zone, e.g. Europe/Zurich or America/Chicago") from None
    if not 0 <= hours.first < hours.last <= 24:
        raise Invalid("hours are two numbers from 0 to 24, e.g. 6-20")
    counted: Counter[str] = Counter()
    for agent, hour, count in by_hour:
        if not hours.first <= hour.astimezone(zone).hour < hours.last:
            counted[agent] += count
    return counted


def _unusual(by_hour: list[tuple[str, datetime, int]]) -> dict[str, str]:
    """The busiest hour of each agent, where it is far above the agent's own median."""
    per_agent: dict[str, list[tuple[int, datetime]]] = defaultdict(list)
    for agent, hour, count in by_hour:
        per_agent[agent].append((count, hour))
    found = {}
    for agent, counts in per_agent.items():
        most, hour = max(counts)
        usual = statistics.median(count for count, _ in counts)
        if most >= UNUSUAL_LEAST and most > UNUSUAL_TIMES * usual:
            found[agent] = f"{most} in the hour of {hour.isoformat(timespec='minutes')}"
    return found
