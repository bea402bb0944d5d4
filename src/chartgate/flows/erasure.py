"""Erasing a patient, and the legal holds that forbid it.

begin: no hold, nothing under way → in one short transaction: keys deleted, proposals emptied, epoch
moved, audited. From then on nothing that was stored about the patient can be read, in no process.
finish: rows that are left are removed, messages about the patient emptied, and that is audited with
counts and a digest. A worker finishes what was interrupted.

What remains: ids, in audit events and in this erasure itself; frames of answers, which say that a
part was erased; backups, until the master key that was in force then is destroyed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import orjson

from chartgate.errors import ChartgateError, ConfigError, Denied, Invalid, InvalidTransition
from chartgate.flows.feeds import settings_for
from chartgate.flows.folding import Reading, read
from chartgate.formats.hl7v2 import MalformedMessage, parse
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.message import Queued
from chartgate.model.principal import Person, Process
from chartgate.model.resource import split_reference
from chartgate.store.budgets import forget_patient
from chartgate.store.consents import forget
from chartgate.store.database import Connection
from chartgate.store.erasures import Erasure, ErasureStore
from chartgate.store.governance import bump_epoch
from chartgate.store.holds import Hold, HoldStore
from chartgate.transform.hl7v2.identity import identity, resource_id
from chartgate.transform.hl7v2.settings import FeedSettings

WORKER = "process:worker"
REASON_MAX = 500  # characters
IDENTIFIED = ("PID", (3, 2)), ("MRG", (1, 4))  # fields that name a patient

Operator = Person | Process


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is stored about a patient, and what forbids its erasure."""

    patient: str
    connections: tuple[str, ...]
    keys: int
    versions: int
    references: int
    messages: int
    set_aside: int
    hindrances: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What was removed, by kind."""

    id: str
    counts: dict[str, int]


async def look(gate: Gate, site: str, patient: str) -> Found:
    """What an erasure would remove; changes nothing."""
    connections, patient = connections_of(gate, site), checked_patient(patient)
    store = ErasureStore(gate.database)
    async with gate.database.bookkeeping() as transaction:
        keys = await store.keys_in(transaction, connections, patient)
        hindrances = await _hindrances(gate, transaction, site, connections, patient)
    sealed = await store.sealed(keys)
    lanes = await store.lanes(connections, sorted(sealed.messages), patient)
    messages = await _messages(gate, connections, patient, lanes)
    waiting = await _messages(gate, connections, patient, lanes, only_queued=True)
    set_aside = await _set_aside(gate, connections, patient)
    return Found(
        patient=patient,
        connections=connections,
        keys=len(keys),
        versions=sealed.versions,
        references=len(sealed.references),
        messages=len(messages),
        set_aside=len(set_aside),
        hindrances=(*hindrances, *_waiting(len(waiting))),
    )


async def erase(gate: Gate, who: Operator, site: str, patient: str, *, reason: str) -> Erased:
    """Erases; also goes on with an erasure of this patient that was interrupted.

    Raises Invalid, ConfigError, InvalidTransition where a hold or work under way forbids it.
    """
    connections, patient = connections_of(gate, site), checked_patient(patient)
    words = checked_reason(reason)
    try:
        erasure = await _begin(gate, who, site, connections, patient, words)
    except InvalidTransition as error:
        event = _event(gate, who.agent, "vault.erase", site, patient, outcome=Outcome.DENIED)
        async with gate.database.change(event):
            pass  # nothing but that it was asked for
        raise InvalidTransition(str(error)) from None
    gate.database.vault.forget()
    return await finish(gate, erasure) or Erased(id=erasure.id, counts={})


async def finish_next(gate: Gate) -> int:
    """Goes on with an erasure that was interrupted; 0: there is none."""
    erasure = await ErasureStore(gate.database).next_open()
    if erasure is None:
        return 0
    return int(await finish(gate, erasure) is not None)


async def finish(gate: Gate, erasure: Erasure) -> Erased | None:
    """Removes what is left of it. None: somebody else has."""
    store = ErasureStore(gate.database)
    sealed = await store.sealed(erasure.keys)
    known = sorted(sealed.messages)
    lanes = await store.lanes(erasure.connections, known, erasure.patient)
    named = await _messages(gate, erasure.connections, erasure.patient, lanes)
    messages = sorted({*known, *named})
    set_aside = await _set_aside(gate, erasure.connections, erasure.patient)
    async with gate.database.change_found() as (transaction, events):
        counts = await store.remove_in(
            transaction,
            erasure,
            references=sorted({*sealed.references, erasure.patient}),
            messages=messages,
            set_aside=set_aside,
            at=gate.clock(),
        )
        if counts is None:
            return None
        await forget(
            transaction,
            gate.database.tenant,
            site=erasure.site,
            connections=sorted({*erasure.connections, gate.config.site(erasure.site).consent_from}),
            patient=erasure.patient,
        )
        await forget_patient(
            transaction, gate.database.tenant, erasure.connections, erasure.patient
        )
        text = orjson.dumps(counts).decode()
        await store.end_in(transaction, erasure, at=gate.clock(), counts=text)
        details = tuple((name, str(count)) for name, count in counts.items() if count)
        event = _event(
            gate,
            WORKER,
            "vault.erased",
            erasure.site,
            erasure.patient,
            details=(("digest", sealed.digest), ("erasure", erasure.id), *details),
        )
        events.append(event)
    return Erased(id=erasure.id, counts=counts)


async def place_hold(
    gate: Gate, who: Operator, *, patient: str | None, site: str | None, reason: str
) -> Hold:
    """Nothing that it covers is deleted or erased from now on. Raises Invalid."""
    hold = Hold(
        id=str(uuid4()),
        patient=checked_patient(patient) if patient else None,
        site=site,
        reason=checked_reason(reason),
        placed_by=who.agent,
        placed_at=gate.clock(),
    )
    event = _event(gate, who.agent, "hold.add", site, hold.patient, details=(("hold", hold.id),))
    async with gate.database.change(event) as transaction:
        await HoldStore(gate.database).place_in(transaction, hold)
    return hold


async def lift_hold(gate: Gate, who: Operator, id_: str, *, reason: str) -> None:
    """Lifting weakens: where two people are needed for that, it is not whoever placed it.

    Raises Invalid, NotFound, Denied.
    """
    words = checked_reason(reason)
    placed = {hold.id: hold.placed_by for hold in await HoldStore(gate.database).all()}
    if gate.config.two_people_required and placed.get(id_) == who.agent:
        raise Denied("whoever placed a hold does not lift it; somebody else does")
    event = _event(gate, who.agent, "hold.lift", None, None, details=(("hold", id_),))
    async with gate.database.change(event) as transaction:
        await HoldStore(gate.database).lift_in(
            transaction, id_, by=who.agent, at=gate.clock(), reason=words
        )


def connections_of(gate: Gate, site: str) -> tuple[str, ...]:
    """Every connection that tells of the site's patients. Raises ConfigError."""
    named = {c.sites[site] for c in gate.charters.charters.values() if site in c.sites}
    feeds = {name for name, c in gate.config.connections.items() if c.site == site}
    if not named | feeds:
        raise ConfigError(f"no charter and no connection names the site {site}")
    return tuple(sorted(named | feeds))


def checked_patient(text: str) -> str:
    """ "Patient/7" of that or of "7". Raises Invalid."""
    reference = text if "/" in text else f"Patient/{text}"
    parts = split_reference(reference)
    if parts is None or parts[0] != "Patient":
        raise Invalid('a patient is named by the id that the record has, e.g. "Patient/7"')
    return reference


def checked_reason(text: str) -> str:
    """Raises Invalid."""
    words = text.strip()
    if not words or len(words) > REASON_MAX or not words.isprintable():
        raise Invalid(f"say why in 1 to {REASON_MAX} printable characters, without patient data")
    return words


async def _begin(
    gate: Gate, who: Operator, site: str, connections: Sequence[str], patient: str, reason: str
) -> Erasure:
    store = ErasureStore(gate.database)
    lanes = await _lanes(gate, connections, patient)  # takes long, so before all writers wait
    async with gate.database.change_found() as (transaction, events):
        await store.stop_writers_in(transaction)
        hindrances = await _hindrances(gate, transaction, site, connections, patient)
        waiting = await _messages(gate, connections, patient, lanes, only_queued=True)
        hindrances += _waiting(len(waiting))
        keys = await store.keys_in(transaction, connections, patient)
        if hindrances:
            raise InvalidTransition(f"not erased: {'; '.join(hindrances)}")
        erasure = Erasure(
            id=str(uuid4()),
            site=site,
            connections=tuple(connections),
            patient=patient,
            keys=keys,
            reason=reason,
            asked_by=who.agent,
            begun_at=gate.clock(),
        )
        proposals = await store.begin_in(transaction, erasure)
        await bump_epoch(transaction, gate.database.tenant)
        details = (
            ("erasure", erasure.id),
            ("keys", str(len(keys))),
            ("proposals", str(proposals)),
            ("reason", reason),
        )
        events.append(_event(gate, who.agent, "vault.erase", site, patient, details=details))
    return erasure


async def _hindrances(
    gate: Gate, transaction: Connection, site: str, connections: Sequence[str], patient: str
) -> tuple[str, ...]:
    """Why it may not be erased, in sentences."""
    holds = await HoldStore(gate.database).on_in(transaction, patient=patient, site=site)
    waiting = await ErasureStore(gate.database).under_way_in(transaction, connections, patient)
    found = [f"the legal hold {id_} is in force" for id_ in holds]
    if waiting["proposals"]:
        found.append(f"{waiting['proposals']} proposals about this patient are not at an end")
    if waiting["outgoing"]:
        found.append(f"{waiting['outgoing']} messages about this patient are on their way out")
    return tuple(found)


def _waiting(count: int) -> tuple[str, ...]:
    if not count:
        return ()
    return (f"{count} messages about this patient wait to be processed; try again shortly",)


async def _lanes(gate: Gate, connections: Sequence[str], patient: str) -> tuple[int, ...]:
    """Lanes that the patient's messages take."""
    store = ErasureStore(gate.database)
    async with gate.database.bookkeeping() as transaction:
        keys = await store.keys_in(transaction, connections, patient)
    sealed = await store.sealed(keys)
    return await store.lanes(connections, sorted(sealed.messages), patient)


async def _messages(
    gate: Gate,
    connections: Sequence[str],
    patient: str,
    lanes: Sequence[int],
    *,
    only_queued: bool = False,
) -> list[int]:
    """Ids of messages of these lanes that are about the patient."""
    store = ErasureStore(gate.database)
    found: list[int] = []
    after = 0
    while lanes and (
        page := await store.of_lanes(connections, lanes, after=after, only_queued=only_queued)
    ):
        found += [message.id for message in page if is_about(gate, message, patient)]
        after = page[-1].id
    return found


async def _set_aside(gate: Gate, connections: Sequence[str], patient: str) -> list[int]:
    """Rows of the quarantine about the patient, as far as their bytes tell."""
    store = ErasureStore(gate.database)
    found: list[int] = []
    after = 0
    while page := await store.set_aside(connections, after=after):
        found += [message.id for message in page if is_about(gate, message, patient)]
        after = page[-1].id
    return found


def is_about(gate: Gate, message: Queued, patient: str) -> bool:
    """Whether it names the patient, by what it turns into or by its own identifiers."""
    try:
        settings = settings_for(gate, message.connection)
    except ChartgateError:  # of a connection that is no feed any more
        return False
    reading = read(message, settings)
    if isinstance(reading, Reading) and any(
        draft.reference == patient for draft in reading.said.drafts
    ):
        return True
    return patient in _named(message.raw, settings)


def _named(raw: bytes, settings: FeedSettings) -> set[str]:
    """Patients whose identifiers stand in it, also where it could not be transformed."""
    try:
        message = parse(raw, charset_default=settings.charset)
    except MalformedMessage:
        return set()
    return {
        f"Patient/{resource_id(settings, 'Patient', found)}"
        for name, fields in IDENTIFIED
        for segment in message.segments(name)
        for field in fields
        for cx in segment.repetitions(field)
        if (found := identity(cx))
    }


def _event(
    gate: Gate,
    agent: str,
    action: str,
    site: str | None,
    patient: str | None,
    *,
    outcome: Outcome = Outcome.SUCCESS,
    details: tuple[tuple[str, str], ...] = (),
) -> AuditEvent:
    return AuditEvent(
        recorded=gate.clock(),
        action=action,
        agent=agent,
        outcome=outcome,
        patient=patient,
        site=site,
        details=details,
    )
