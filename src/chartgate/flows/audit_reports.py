"""Reports over the audit: disclosures of a patient's data, who saw it, whose data an agent saw,
and what was refused. Each is audited before it is given.

Every report is a table of texts and numbers, with the columns' names: the command line shows it as
text, JSON or CSV, and pages can do the same.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import uuid4

from chartgate.errors import Invalid, NotFound
from chartgate.flows.audit_search import event_of, everything, may_look, note
from chartgate.formats.canonical import canonical_bytes, digest_of
from chartgate.gate import Gate
from chartgate.model.audit import ACTIONS, AuditEvent, Outcome
from chartgate.model.blocking import ANSWER_WITHIN_BUSINESS_DAYS, INFEASIBLE, exception_class
from chartgate.model.principal import Principal
from chartgate.model.purpose import is_accounted, words_of
from chartgate.store.audit_search import EVER, NEVER, AuditSearch, Criteria

Cell = str | int

ACCOUNTED_DAYS = 6 * 365 + 2  # 45 CFR 164.528(a)(3): six years before the request
PART_2_DAYS = 3 * 365 + 1  # 42 CFR 2.25: three years
FREE_EVERY_DAYS = 365  # 164.528(c)(2): the first within twelve months costs nothing
LEAVING = frozenset({"fhir.read", "fhir.search", "notification.deliver", "outgoing.acknowledge"})
SEEING = LEAVING | frozenset({"proposal.show", "quarantine.show", "interaction.show"})
PART_2 = frozenset({"ETH", "ETHUD", "SUD", "OPIOIDUD"})  # sensitivity of substance use records
BREAK_GLASS = "BTG"


@dataclass(frozen=True, kw_only=True)
class Report:
    """A table, and what stands around it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    facts: Mapping[str, Cell] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


async def accounting(
    gate: Gate, who: Principal, patient: str, *, since: datetime | None = None
) -> Report:
    """Disclosures of a patient's data other than for treatment, payment and operations, with
    those under a consent by 42 CFR part 2 and those by break-glass; kept as it is given.

    Recipients for whom an agency had it suspended are left out. Raises Denied, Unavailable.
    """
    now = gate.clock()
    first = max(since or now - timedelta(days=ACCOUNTED_DAYS), now - timedelta(days=ACCOUNTED_DAYS))
    criteria = Criteria(patient=_patient(patient), since=first, until=now)
    if not may_look(who):
        await note(gate, who, "audit.accounting", criteria)
    store = AuditSearch(gate.database)
    suspended = await store.suspended(patient, at=now)
    counted: dict[tuple[str, ...], list[AuditEvent]] = defaultdict(list)
    async for found in everything(gate, criteria):
        basis = _basis(found.event, now)
        if basis and _recipient(found.event) not in suspended:
            day = found.event.recorded.date().isoformat()
            key = (day, _recipient(found.event), found.event.purpose or "", basis)
            counted[key].append(found.event)
    rows = tuple(_accounted(gate, *key, events=events) for key, events in sorted(counted.items()))
    earlier = await store.accountings_since(patient, now - timedelta(days=FREE_EVERY_DAYS))
    id_ = str(uuid4())
    report = Report(
        title=f"Accounting of disclosures for {patient}",
        columns=("date", "recipient", "address", "what", "purpose", "basis", "times"),
        rows=rows,
        facts={
            "id": id_,
            "since": first.date().isoformat(),
            "until": now.date().isoformat(),
            "disclosures": sum(len(events) for events in counted.values()),
            "free of charge": "yes" if earlier == 0 else f"no: {earlier} within twelve months",
        },
    )
    details = (("accounting", id_), ("digest", digest_of(plain(report)).hex()))
    event = event_of(gate, who, "audit.accounting", criteria, details=details)
    async with gate.database.change(event) as transaction:
        await store.keep_accounting(
            transaction,
            id_,
            patient,
            (first, now),
            by=who.agent,
            at=now,
            body=canonical_bytes(plain(report)),
        )
    return report


async def suspend_accounting(
    gate: Gate, who: Principal, patient: str, recipient: str, *, until: datetime, reason: str
) -> None:
    """Leaves a recipient out of the patient's accountings until then, as a law enforcement or
    oversight agency may ask for (45 CFR 164.528(a)(2)). Raises Denied, Invalid."""
    now = gate.clock()
    words = reason.strip()
    if not words or not words.isprintable() or len(words) > 200:
        raise Invalid("say which agency asked for it and in which statement, in one line")
    if until <= now:
        raise Invalid("a suspension ends at a time to come")
    criteria = Criteria(patient=_patient(patient))
    if not may_look(who):
        await note(gate, who, "audit.suspend", criteria)
    details = (("recipient", recipient), ("ends", until.isoformat()))
    event = event_of(gate, who, "audit.suspend", criteria, details=details)
    async with gate.database.change(event) as transaction:
        await AuditSearch(gate.database).suspend(
            transaction, patient, recipient, until=until, reason=words, by=who.agent, at=now
        )


async def kept_accounting(gate: Gate, who: Principal, id_: str) -> bytes:
    """An accounting as it was given, as canonical JSON. Raises Denied, NotFound."""
    await note(gate, who, "audit.accounting", Criteria(), details=(("accounting", id_),))
    try:
        body = await AuditSearch(gate.database).accounting(id_)
    except ValueError:
        raise Invalid("the id of an accounting is the UUID that stands in it") from None
    if body is None:
        raise NotFound("there is no accounting with that id")
    return body


async def access(
    gate: Gate, who: Principal, patient: str, *, since: datetime | None = None
) -> Report:
    """Who saw what of a patient, when and why: the access log of GDPR Art. 15 and EHDS."""
    criteria = Criteria(patient=_patient(patient), since=since or EVER)
    await note(gate, who, "audit.access", criteria)
    rows: list[tuple[Cell, ...]] = []
    async for found in everything(gate, criteria):
        event = found.event
        if event.action not in SEEING or event.outcome is not Outcome.SUCCESS:
            continue
        name, _ = recipient(gate, _recipient(event))
        emergency = "yes" if event.purpose == BREAK_GLASS else ""
        rows.append(
            (
                event.recorded.isoformat(timespec="seconds"),
                event.agent,
                name,
                _kinds(event),
                words_of(event.purpose),
                event.site or "",
                event.rule or "",
                emergency,
                found.seq if found.seq is not None else "",
            )
        )
    return Report(
        title=f"Who saw what of {patient}",
        columns=("when", "who", "for", "what", "purpose", "site", "rule", "emergency", "number"),
        rows=tuple(rows),
        facts={"accesses": len(rows)},
    )


async def breach(gate: Gate, who: Principal, agent: str, *, since: datetime) -> Report:
    """Patients whose data an agent was given since then: for the notices of 45 CFR 164.404."""
    criteria = Criteria(agent=agent, since=since)
    await note(gate, who, "audit.breach", criteria)
    seen: dict[str, list[AuditEvent]] = defaultdict(list)
    of_nobody: Counter[str] = Counter()
    async for found in everything(gate, criteria):
        event = found.event
        if event.outcome is not Outcome.SUCCESS or event.action not in SEEING:
            continue
        patients = event.patients or ((event.patient,) if event.patient else ())
        for each in patients:
            seen[each].append(event)
        if not patients:
            of_nobody.update(_types(event))
    rows = [
        (
            patient,
            len(events),
            min(e.recorded for e in events).isoformat(timespec="seconds"),
            max(e.recorded for e in events).isoformat(timespec="seconds"),
            ", ".join(sorted({kind for e in events for kind in _types(e)})),
        )
        for patient, events in sorted(seen.items())
    ]
    unknown = ", ".join(f"{kind} {count}" for kind, count in sorted(of_nobody.items()))
    return Report(
        title=f"Patients whose data {agent} was given since {since.isoformat(timespec='seconds')}",
        columns=("patient", "times", "first", "last", "what"),
        rows=tuple(rows),
        facts={"patients": len(rows)},
        notes=(f"of no known patient: {unknown}",) if unknown else (),
    )


async def denials(
    gate: Gate, who: Principal, *, since: datetime, until: datetime | None = None
) -> Report:
    """What was refused or failed, by reason, with the exception to information blocking that it
    may meet (45 CFR part 171), and the day by which an answer in writing is due."""
    span = Criteria(since=since, until=until or NEVER)
    await note(gate, who, "audit.denials", span)
    counted: dict[tuple[str, str, str], list[datetime]] = defaultdict(list)
    for outcome in (Outcome.DENIED, Outcome.FAILED):
        async for found in everything(gate, replace(span, outcome=outcome)):
            event = found.event
            if event.action.startswith(("fhir.", "proposal.", "token.", "web.", "notification.")):
                key = (event.action, outcome.value, _code(event.reason))
                counted[key].append(event.recorded)
    rows = []
    for (action, outcome_, reason), times in sorted(counted.items(), key=lambda i: -len(i[1])):
        meets = exception_class(reason)
        due = _business_days_after(max(times)) if meets == INFEASIBLE else ""
        rows.append((action, outcome_, reason, meets, len(times), due))
    return Report(
        title="What was refused or failed",
        columns=("action", "outcome", "reason", "exception", "times", "answer due"),
        rows=tuple(rows),
        facts={"refusals": sum(len(times) for times in counted.values())},
    )


def plain(report: Report) -> dict[str, object]:
    """A report as JSON."""
    rows = [dict(zip(report.columns, row, strict=True)) for row in report.rows]
    notes = {"notes": list(report.notes)} if report.notes else {}
    return {"title": report.title, **report.facts, "rows": rows, **notes}


def recipient(gate: Gate, agent: str) -> tuple[str, str]:
    """Name and address of who is behind an agent, as the registry has them."""
    kind, _, name = agent.partition(":")
    client = gate.config.clients.get(name) if kind == "client" else None
    vendor = gate.config.vendors.get(client.vendor) if client else None
    if vendor is None:
        return name or agent, ""
    return vendor.legal_name or vendor.name, vendor.address or vendor.contact


def _basis(event: AuditEvent, now: datetime) -> str:
    """Why a disclosure stands in the accounting; empty: it does not."""
    if event.outcome is not Outcome.SUCCESS or event.action not in LEAVING:
        return ""
    if event.purpose == BREAK_GLASS:
        return "emergency access"
    is_recent = event.recorded >= now - timedelta(days=PART_2_DAYS)
    if event.consent and is_recent and PART_2 & set(event.labels or ()):
        return "with consent (42 CFR part 2)"
    return "not for treatment, payment or operations" if is_accounted(event.purpose) else ""


def _accounted(
    gate: Gate, day: str, agent: str, purpose: str, basis: str, *, events: Sequence[AuditEvent]
) -> tuple[Cell, ...]:
    name, address = recipient(gate, agent)
    what = Counter(kind for event in events for kind in _types(event))
    described = ", ".join(f"{kind} ({count})" for kind, count in sorted(what.items()))
    return (day, name, address, described, words_of(purpose), basis, len(events))


def _recipient(event: AuditEvent) -> str:
    """Who got it: for a message that was sent, the destination, not our process."""
    said = dict(event.details)
    destination = said.get("destination")
    if event.action.startswith("outgoing.") and destination:
        return f"connection:{destination}"
    told = said.get("client")
    if event.action.startswith("notification.") and told:
        return f"client:{told}"
    return event.agent


def _types(event: AuditEvent) -> list[str]:
    """Types of what was shown, one for each resource; a proposal or message counts as such."""
    return [e.partition("/")[0] for e in event.entities if "/" in e] or ["nothing found"]


def _kinds(event: AuditEvent) -> str:
    shown = [e for e in event.entities if "/" in e]
    if len(shown) <= 3:
        return ", ".join(shown) or ACTIONS[event.action]
    counts = Counter(_types(event))
    return ", ".join(f"{kind} ({count})" for kind, count in sorted(counts.items()))


def _code(reason: str | None) -> str:
    """A reason that is a sentence is no code."""
    return reason if reason and " " not in reason else "(a sentence)" if reason else "(none)"


def _business_days_after(moment: datetime) -> str:
    day, left = moment.date(), ANSWER_WITHIN_BUSINESS_DAYS
    while left:
        day += timedelta(days=1)
        left -= day.weekday() < 5
    return day.isoformat()


def _patient(reference: str) -> str:
    if not reference.startswith("Patient/") or len(reference) > 200:
        raise Invalid('a patient is named by reference, e.g. "Patient/7"')
    return reference
