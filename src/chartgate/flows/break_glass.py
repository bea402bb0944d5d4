"""Breaking the glass: a person opens one patient's chart in an emergency, says why, and somebody
else looks at it afterwards. An AI client cannot, whatever it says: its type is not a Person's.

It ends by itself and cannot be prolonged. Each event of it says purpose BTG.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID, uuid4

import structlog

from chartgate.errors import Denied, Invalid, InvalidTransition, NotFound
from chartgate.flows.people import BREAK_GLASS
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.break_glass import CODES, FINDINGS, PURPOSE, BreakGlass
from chartgate.model.principal import Person, Principal, Process
from chartgate.store.break_glass import BY_TIME, SAY_NOT_FOUND, BreakGlassStore
from chartgate.store.database import Connection, append_audit_events
from chartgate.store.governance import bump_epoch
from chartgate.store.people import PersonStore

PRIVACY_OFFICER = "privacy-officer"
PATIENT = re.compile(r"(?:Patient/)?([A-Za-z0-9\-.]{1,64})")
WORDS_MIN, WORDS_MAX = 10, 500  # characters
REMARK_MAX = 1_000
LIST_MAX = 200
A_DAY = timedelta(hours=24)
SAY_PEOPLE_ONLY = "only a person can break the glass, with a session of their own and a reason"
SAY_OPEN = (
    "you have this patient's chart open already; it cannot be prolonged, and once it has ended "
    "another one needs another reason"
)
SAY_SAME_WORDS = "you gave this very reason for this patient before; say why it is needed again"
SAY_OWN = "nobody reviews a break-glass of their own"
SAY_STILL_OPEN = "it is still open; it can be reviewed once it has ended"
SAY_REVIEWED = "it was reviewed already"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What somebody asks for."""

    site: str
    patient: str  # "Patient/7" or "7"
    code: str  # a row of CODES
    words: str
    minutes: int


async def open_glass(gate: Gate, principal: Principal, wanted: Wanted) -> BreakGlass:
    """Opens one patient's chart to a person from now on. Raises Denied, audited, or Invalid."""
    if not isinstance(principal, Person):
        raise await _refused(gate, principal, "not-a-person", SAY_PEOPLE_ONLY)
    if sentence := may_not_break(gate, principal):
        raise await _refused(gate, principal, "no-role", sentence)
    glass = _drafted(gate, principal, wanted)
    if glass.site not in principal.sites:
        sentence = f"you have no rights at the site {glass.site}"
        raise await _refused(gate, principal, "site", sentence)
    if principal.patient not in (None, glass.patient):
        sentence = "this session was opened from the EHR for another patient"
        raise await _refused(gate, principal, "other-patient", sentence)
    minutes = str(round((glass.ends_at - glass.opened_at).total_seconds() / 60))
    event = _event(
        gate,
        principal,
        "open",
        glass,
        reason=glass.code,
        details=(
            ("minutes", minutes),
            ("words", hashlib.sha256(glass.words.encode()).hexdigest()),
            ("sealed", "yes" if glass.sealed else "no"),
            ("mfa", "yes" if principal.mfa else "no"),
        ),
    )
    try:
        async with gate.database.change(event) as transaction:
            await _check_may_open(gate, transaction, glass)
            await BreakGlassStore(gate.database).insert(transaction, glass)
    except _NotNow as no:
        raise await _refused(gate, principal, no.reason, str(no), glass=glass) from None
    return glass


async def end_glass(gate: Gate, who: Person | Process, id_: str) -> BreakGlass:
    """Ends it before its time: whoever opened it, a privacy officer, or an operator at the command
    line. Raises NotFound, InvalidTransition."""
    glass = await _visible(gate, who, id_)
    at = gate.clock()
    event = _event(gate, who, "end", glass)
    async with gate.database.change(event) as transaction:
        done = glass.holds(at) and await BreakGlassStore(gate.database).end(
            transaction, glass.id, at=at, by=who.agent
        )
        if not done:
            raise InvalidTransition("it has ended already")
        await bump_epoch(transaction, gate.database.tenant)
    return await BreakGlassStore(gate.database).get(glass.id)


async def end_all_of(
    gate: Gate, transaction: Connection, name: str, *, by: Person | Process
) -> None:
    """Ends what a person has open, as part of a change that takes their rights away."""
    ended = await BreakGlassStore(gate.database).end_all_of(
        transaction, name, at=gate.clock(), by=by.agent
    )
    events = [_event(gate, by, "end", glass) for glass in ended]
    if events:
        await append_audit_events(transaction, gate.database.tenant, events)


async def review(gate: Gate, who: Principal, id_: str, *, finding: str, remark: str) -> BreakGlass:
    """What a privacy officer makes of it, once and for all; never whoever opened it. Raises
    Denied, NotFound, Invalid, InvalidTransition."""
    if not isinstance(who, Person | Process):
        raise await _refused(gate, who, "not-a-person", SAY_PEOPLE_ONLY, action="review")
    if finding not in FINDINGS:
        raise Invalid(f"finding must be one of {', '.join(FINDINGS)}")
    words = remark.strip()
    if not words or len(words) > REMARK_MAX or "\0" in words:
        raise Invalid(f"say what you looked at and found, in 1 to {REMARK_MAX} characters")
    glass = await _visible(gate, who, id_)
    if sentence := may_not_review(gate, who, glass):
        raise await _refused(gate, who, "review", sentence, action="review", glass=glass)
    await settle_next(gate)  # so that its end is noted before its review
    at = gate.clock()
    event = _event(gate, who, "review", glass, details=(("finding", finding),))
    async with gate.database.change(event) as transaction:
        done = await BreakGlassStore(gate.database).review(
            transaction, glass.id, at=at, by=who.agent, finding=finding, remark=words
        )
        if not done:
            raise InvalidTransition(SAY_STILL_OPEN if glass.holds(at) else SAY_REVIEWED)
    return await BreakGlassStore(gate.database).get(glass.id)


async def own(gate: Gate, person: Person) -> tuple[BreakGlass, ...]:
    """What this person opened, the newest first; in an EHR launch, for its patient only."""
    found = await BreakGlassStore(gate.database).listed(person=person.id, limit=LIST_MAX)
    return tuple(glass for glass in found if person.patient in (None, glass.patient))


async def tasks(gate: Gate, person: Person) -> tuple[BreakGlass, ...]:
    """What waits for this person's review."""
    if not is_privacy_officer(person):
        return ()
    found = await BreakGlassStore(gate.database).listed(
        sites=person.sites, to_review=True, limit=LIST_MAX
    )
    return tuple(glass for glass in found if glass.person != person.id)


async def settle_next(gate: Gate) -> int:
    """Notes the end of those whose time is over, and raises an alarm for those that nobody has
    reviewed in time. None of this is needed for one to end."""
    now = gate.clock()
    store = BreakGlassStore(gate.database)
    async with gate.database.change_found() as (transaction, events):
        ended = await store.end_due(transaction, now=now)
        late = await store.note_overdue(transaction, now=now)
        rule = Process(id="break-glass")
        events += [_event(gate, rule, "end", glass, reason=BY_TIME) for glass in ended]
        events += [_event(gate, rule, "overdue", g, outcome=Outcome.FAILED) for g in late]
    for glass in late:
        structlog.get_logger().critical("break-glass not reviewed in time", id=glass.id)
    return len(ended) + len(late)


def may_not_break(gate: Gate, person: Person) -> str:
    """Why this person cannot break the glass; empty: they can."""
    allowed = {BREAK_GLASS, *gate.config.people.break_glass_roles}
    if allowed & set(person.roles):
        return ""
    return f"to break the glass you need one of the roles {', '.join(sorted(allowed))}"


def may_not_review(gate: Gate, who: Person | Process, glass: BreakGlass) -> str:
    """Why this one may not review it; empty: they may."""
    name = who.id.rpartition("/")[2] if isinstance(who, Process) else who.id
    if name == glass.person:
        return SAY_OWN
    if isinstance(who, Person):
        if not is_privacy_officer(who):
            return f"this is for people with the role {PRIVACY_OFFICER}"
        if gate.config.mfa_required and not who.mfa:
            return (
                "this needs a sign-in with a second factor: sign in again with one, and come back"
            )
    return SAY_STILL_OPEN if glass.holds(gate.clock()) else ""


def is_privacy_officer(person: Person) -> bool:
    """Whether reviews are for this person. Nobody is one by a sealed account or from an EHR."""
    return PRIVACY_OFFICER in person.roles and not person.sealed and person.patient is None


class _NotNow(Exception):
    """The store has something against it; `reason` is the audit's code."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


async def _check_may_open(gate: Gate, transaction: Connection, glass: BreakGlass) -> None:
    """Whoever is asked about in this transaction is held: two at once are counted one by one."""
    store = BreakGlassStore(gate.database)
    if not await PersonStore(gate.database).lock(transaction, glass.person):
        raise _NotNow("your account was removed", reason="removed")
    if await store.has_open(transaction, glass):
        raise _NotNow(SAY_OPEN, reason="already-open")
    if await store.has_same_words(transaction, glass):
        raise _NotNow(SAY_SAME_WORDS, reason="same-words")
    most = gate.config.people.break_glass_per_day
    if await store.opened_since(transaction, glass.person, glass.opened_at - A_DAY) >= most:
        raise _NotNow(
            f"you have broken the glass {most} times within a day, which is the most; ask a "
            "colleague to, or a privacy officer",
            reason="too-many",
        )


def _drafted(gate: Gate, person: Person, wanted: Wanted) -> BreakGlass:
    """Raises Invalid."""
    settings = gate.config.people
    patient = PATIENT.fullmatch(wanted.patient)
    words = wanted.words.strip()
    if patient is None:
        raise Invalid('name one patient, e.g. "Patient/7"')
    if wanted.code not in CODES:
        raise Invalid(f"the reason's code must be one of {', '.join(CODES)}")
    if not WORDS_MIN <= len(words) <= WORDS_MAX or not words.isprintable():
        raise Invalid(f"say why in one line of {WORDS_MIN} to {WORDS_MAX} characters")
    if not 1 <= wanted.minutes <= settings.break_glass_minutes_max:
        raise Invalid(f"minutes must be from 1 to {settings.break_glass_minutes_max}")
    now = gate.clock()
    return BreakGlass(
        id=str(uuid4()),
        person=person.id,
        site=wanted.site,
        patient=f"Patient/{patient[1]}",
        code=wanted.code,
        words=words,
        sealed=person.sealed,
        opened_at=now,
        ends_at=now + timedelta(minutes=wanted.minutes),
        review_due_at=now + timedelta(hours=settings.break_glass_review_within_h),
    )


async def _visible(gate: Gate, who: Person | Process, id_: str) -> BreakGlass:
    """Raises NotFound, also for what this person may not know of."""
    try:
        glass = await BreakGlassStore(gate.database).get(str(UUID(id_)))
    except ValueError:
        raise NotFound(SAY_NOT_FOUND) from None
    if isinstance(who, Process) or who.id == glass.person:
        return glass
    if not is_privacy_officer(who) or glass.site not in who.sites:
        raise NotFound(SAY_NOT_FOUND)
    return glass


async def _refused(
    gate: Gate,
    who: Principal,
    reason: str,
    sentence: str,
    *,
    action: Literal["open", "review"] = "open",
    glass: BreakGlass | None = None,
) -> Denied:
    """Notes a refusal; the error to raise."""
    event = AuditEvent(
        recorded=gate.clock(),
        action="break-glass.alarm" if reason == "too-many" else f"break-glass.{action}",
        agent=who.agent,
        outcome=Outcome.DENIED,
        entities=(f"BreakGlass/{glass.id}",) if glass and action == "review" else (),
        patient=glass.patient if glass else None,
        site=glass.site if glass else None,
        purpose=PURPOSE,
        reason=reason,
    )
    await gate.audit.record(event)
    if reason == "too-many":
        structlog.get_logger().critical("glass broken too often", agent=who.agent)
    return Denied(sentence)


def _event(
    gate: Gate,
    who: Person | Process,
    action: Literal["open", "end", "review", "overdue"],
    glass: BreakGlass,
    *,
    outcome: Outcome = Outcome.SUCCESS,
    reason: str | None = None,
    details: tuple[tuple[str, str], ...] = (),
) -> AuditEvent:
    return AuditEvent(
        recorded=gate.clock(),
        action=f"break-glass.{action}",
        agent=who.agent,
        outcome=outcome,
        entities=(f"BreakGlass/{glass.id}",),
        patient=glass.patient,
        site=glass.site,
        purpose=PURPOSE,
        reason=reason,
        details=details,
    )
