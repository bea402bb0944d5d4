"""Two people for whatever weakens a rule.

A change that makes a charter, a policy, a label rule, a stage or a setting weaker waits until two
different people, neither of whom asked for it, have approved exactly that change. Its digest covers
what it replaces and a serial that moves with each adoption: an approval works once, and never for
something else. What was adopted last runs on until then.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson

from chartgate.errors import ConfigError, Denied, Invalid, InvalidTransition, VersionConflict
from chartgate.flows.decided import note
from chartgate.formats.canonical import canonical_bytes
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.decision import Decision, Request
from chartgate.model.principal import Person, Principal
from chartgate.policy.cedar import ADMINISTER, EVERY_CHARTER
from chartgate.policy.config_weakening import config_weakenings, posture
from chartgate.policy.decide import decide
from chartgate.store.changes import Adopted, Change, ChangeStore, Kind
from chartgate.store.database import Connection
from chartgate.store.stages import StageStore

AGENT = "process:charters"
APPROVALS = 2
RACES_MAX = 5
SENTENCES_LENGTH_MAX = 2000  # characters in an audit event
REASON_MAX = 500  # characters
SAY_OWN = "who asks for a change does not approve it; two others do"
SAY_PEOPLE = "only a person may do this, with a sign-in of their own"
SAY_FACTOR = "this needs a sign-in with a second factor: sign in on the pages, and approve it there"


async def two_people_needed(gate: Gate) -> bool:
    """Whether two people are needed now: by the settings of this process, or by those adopted
    last, so that nobody is rid of it by a file of their own."""
    return gate.config.two_people_required or _needed(await _adopted_settings(gate))


async def ask_stage(gate: Gate, charter: str, stage: str, *, asked_by: str) -> Change:
    """Lets a step forward in a charter's rollout wait for two people."""
    return await ask(
        gate,
        "stage",
        subject=f"{charter} {stage}",
        before=await _stands(gate, charter),
        after=stage,
        sentences=[f"{charter} goes on to the stage {stage}"],
        asked_by=asked_by,
    )


async def ask(
    gate: Gate,
    kind: Kind,
    *,
    subject: str = "",
    before: object,
    after: object,
    sentences: Sequence[str],
    asked_by: str = AGENT,
) -> Change:
    """The change from `before` to `after` as it stands; it begins to wait if it was not asked for,
    or lapsed."""
    store, now = ChangeStore(gate.database), gate.clock()
    wanted = Change(
        digest=_identity(kind, subject, before, after, sentences),
        kind=kind,
        subject=subject,
        sentences=tuple(sentences),
        asked_by=asked_by,
        asked_at=now,
        expires_at=now + timedelta(hours=gate.config.people.change_within_h),
    )
    known = await store.find(wanted.digest)
    if known is not None and (known.status in ("refused", "adopted") or known.expires_at > now):
        return known
    event = _event(gate, "await", wanted, asked_by, reason=_told(wanted))
    async with gate.database.change(event) as transaction:
        await store.ask(transaction, wanted)
    return await store.get(wanted.digest)


def is_waiting(gate: Gate, change: Change) -> bool:
    """Whether people may still approve it."""
    return change.status == "waiting" and gate.clock() < change.expires_at


def is_approved(gate: Gate, change: Change) -> bool:
    """Whether it may be adopted now."""
    return change.status == "approved" and gate.clock() < change.expires_at


async def adopted(gate: Gate, transaction: Connection, change: Change) -> AuditEvent:
    """Uses the approval up, in the transaction that adopts; the event that belongs to it."""
    await ChangeStore(gate.database).move(transaction, change.digest, "approved", "adopted")
    return _event(gate, "adopt", change, AGENT, reason=_told(change))


async def listed(gate: Gate, who: Principal) -> tuple[Change, ...]:
    """All changes, the latest first. Raises Denied."""
    await _check(gate, who, "list")
    return await ChangeStore(gate.database).listed()


async def show(gate: Gate, who: Principal, digest: str) -> Change:
    """One change. Raises Denied, NotFound."""
    await _check(gate, who, "list", digest)
    return await ChangeStore(gate.database).get(digest)


async def approve(gate: Gate, who: Principal, digest: str) -> Change:
    """One person's approval of exactly this change; the second puts it in force, a stage at once
    and files within a second. Raises Denied, NotFound, InvalidTransition, VersionConflict."""
    person, decision = await _check(gate, who, "approve", digest)
    store = ChangeStore(gate.database)
    change = await store.get(digest)
    if change.asked_by == person.agent:
        await _record_denied(gate, person.agent, "approve", digest, decision)
        raise Denied(SAY_OWN)
    _check_waits(gate, change)
    if change.kind == "stage":
        await _check_stands(gate, change)
    if person.agent in change.approved_by:
        return change
    now = gate.clock()
    event = _event(gate, "approve", change, person.agent, decision=decision)
    async with gate.database.change_found() as (transaction, events):
        events.append(event)
        count = await store.approve(transaction, digest, person.agent, at=now)
        if count >= APPROVALS:
            await store.move(transaction, digest, "waiting", "approved")
            if change.kind == "stage":
                events.append(await _move_stage(gate, transaction, change))
    return await store.get(digest)


async def refuse(gate: Gate, who: Principal, digest: str, *, reason: str) -> Change:
    """One person is enough to refuse. Raises as `approve`, and Invalid."""
    person, decision = await _check(gate, who, "refuse", digest)
    words = reason.strip()
    if not words or len(words) > REASON_MAX or not words.isprintable():
        raise Invalid(f"say why, in one line of at most {REASON_MAX} characters")
    store = ChangeStore(gate.database)
    change = await store.get(digest)
    _check_waits(gate, change)
    event = _event(gate, "refuse", change, person.agent, decision=decision, reason=words)
    async with gate.database.change(event) as transaction:
        await store.move(transaction, digest, "waiting", "refused")
    return await store.get(digest)


async def settle_config(gate: Gate) -> None:
    """At start: settings weaker than those adopted last do not start before they are approved.

    Raises ConfigError with the digest to approve, Unavailable.
    """
    for _ in range(RACES_MAX):
        try:
            change = await config_change(gate)
        except VersionConflict:
            continue  # another process starts at the same moment
        if change is None:
            return
        weaker = "\n".join(f"  {sentence}" for sentence in change.sentences)
        raise ConfigError(
            f"chartgate.toml is weaker than it was, and that is {change.status}:\n{weaker}\n"
            f"two people must approve it: `chartgate change approve {change.digest}`; "
            "until then put the settings back as they were"
        )
    raise ConfigError("other processes keep adopting other settings; start them one by one")


async def asked_config(gate: Gate) -> Change | None:
    """The change that these settings wait for, without adopting any; None: they need none."""
    last = await ChangeStore(gate.database).adopted("config")
    after = posture(gate.config)
    digest = hashlib.sha256(canonical_bytes(after)).hexdigest()
    if last is None or last.digest == digest:
        return None
    before = orjson.loads(last.body)
    sentences = config_weakenings(before, after)
    if not sentences or not await two_people_needed(gate):
        return None
    return await ask(gate, "config", before=before_of(last), after=digest, sentences=sentences)


async def config_change(gate: Gate) -> Change | None:
    """Adopts the settings if they may be; else the change that they wait for. Raises
    VersionConflict."""
    store = ChangeStore(gate.database)
    last, after = await store.adopted("config"), posture(gate.config)
    body = canonical_bytes(after)
    digest = hashlib.sha256(body).hexdigest()
    if last is not None and last.digest == digest:
        return None
    change = await asked_config(gate)
    if change is not None and not is_approved(gate, change):
        return change
    sentences = config_weakenings(orjson.loads(last.body), after) if last else ()
    async with gate.database.change_found() as (transaction, events):
        events.append(_config_event(gate, digest, sentences))
        if change is not None:
            events.append(await adopted(gate, transaction, change))
        await store.adopt(transaction, "config", last, digest=digest, body=body, at=gate.clock())
    return None


async def _adopted_settings(gate: Gate) -> dict[str, Any]:
    last = await ChangeStore(gate.database).adopted("config")
    settings: dict[str, Any] = orjson.loads(last.body) if last else {}
    return settings


def _needed(settings: Mapping[str, Any]) -> bool:
    return _is_strict(settings, "two_people")


def _is_strict(settings: Mapping[str, Any], key: str) -> bool:
    people = settings.get("people", {})
    return bool(settings.get("production")) or people.get(key) == "required"


def _identity(
    kind: Kind, subject: str, before: object, after: object, sentences: Sequence[str]
) -> str:
    asked = canonical_bytes([kind, subject, before, after, list(sentences)])
    return hashlib.sha256(asked).hexdigest()


async def _stands(gate: Gate, charter: str) -> list[object]:
    """Where the charter's rollout stands, and since when."""
    standing = await StageStore(gate.database).standing(charter)
    return [standing[0], standing[1].isoformat()] if standing else []


async def _check_stands(gate: Gate, change: Change) -> None:
    """A charter whose stage was set since is not moved by what was asked before. Raises
    InvalidTransition."""
    charter, _, stage = change.subject.partition(" ")
    now = await _stands(gate, charter)
    if _identity("stage", change.subject, now, stage, change.sentences) != change.digest:
        raise InvalidTransition("the stage was set since this was asked; ask for it anew")


async def _move_stage(gate: Gate, transaction: Connection, change: Change) -> AuditEvent:
    charter, _, stage = change.subject.partition(" ")
    await ChangeStore(gate.database).move(transaction, change.digest, "approved", "adopted")
    await StageStore(gate.database).put(
        transaction, charter, stage, set_by=change.asked_by, at=gate.clock()
    )
    event = _event(gate, "adopt", change, AGENT, reason=stage)
    return replace(event, action="charter.promote", entities=(f"Charter/{charter}",))


async def _check(
    gate: Gate, who: Principal, verb: str, digest: str = ""
) -> tuple[Person, Decision]:
    """Only people with the office may; what they are refused is audited. Raises Denied."""
    request = Request(principal=who, action=ADMINISTER, charter=EVERY_CHARTER, site="")
    decision = note(decide(gate.charters, request))
    sentence = "" if decision.permitted else decision.sentence
    if not isinstance(who, Person):
        sentence = sentence or SAY_PEOPLE
    elif not who.mfa and not sentence:
        adopted_strict = _is_strict(await _adopted_settings(gate), "mfa")
        sentence = SAY_FACTOR if gate.config.mfa_required or adopted_strict else ""
    if sentence:
        await _record_denied(gate, who.agent, verb, digest, decision)
        raise Denied(sentence)
    assert isinstance(who, Person), "checked above"
    return who, decision


async def _record_denied(
    gate: Gate, agent: str, verb: str, digest: str, decision: Decision
) -> None:
    await gate.audit.record(
        AuditEvent(
            recorded=gate.clock(),
            action=f"change.{verb}",
            agent=agent,
            outcome=Outcome.DENIED,
            entities=(f"Change/{digest}",) if len(digest) == 64 and digest.isalnum() else (),
            rule=decision.rule,
            decision=decision.id,
            reason="policy" if not decision.permitted else "own-change",
        )
    )


def _check_waits(gate: Gate, change: Change) -> None:
    if change.status != "waiting":
        raise InvalidTransition(f"this change is {change.status}; it waits for nobody")
    if gate.clock() >= change.expires_at:
        raise InvalidTransition("this change lapsed; it must be asked for anew")


def _event(
    gate: Gate,
    verb: str,
    change: Change,
    agent: str,
    *,
    decision: Decision | None = None,
    reason: str | None = None,
) -> AuditEvent:
    return AuditEvent(
        recorded=gate.clock(),
        action=f"change.{verb}",
        agent=agent,
        entities=(f"Change/{change.digest}",),
        rule=decision.rule if decision else None,
        decision=decision.id if decision else None,
        reason=reason,
        details=(("kind", change.kind), ("subject", change.subject)),
    )


def _config_event(gate: Gate, digest: str, sentences: Sequence[str]) -> AuditEvent:
    return AuditEvent(
        recorded=gate.clock(),
        action="config.adopt",
        agent=AGENT,
        reason=_cut("; ".join(sentences)) or None,
        details=(("settings", digest),),
    )


def _told(change: Change) -> str:
    return _cut("; ".join(change.sentences))


def _cut(text: str) -> str:
    return text if len(text) <= SENTENCES_LENGTH_MAX else text[: SENTENCES_LENGTH_MAX - 1] + "…"


def before_of(last: Adopted) -> list[object]:
    """What an approval is bound to, beside what comes after."""
    return [last.serial, last.digest]
