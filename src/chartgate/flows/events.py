"""The walk of an event: a hospital's durable message becomes part of the record.

Before it, `intake.py` has taken the message in.
process_next: claim lanes → parse → transform → upsert the record, append events and numbered
notifications, end the messages; all in one transaction, or quarantine with the reason.
Deliveries are in `notifications.py`.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg
import orjson
import structlog

from chartgate.flows.intake import settings_of
from chartgate.flows.notifications import subscribers_of
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.formats.hl7v2 import MalformedMessage, parse
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.message import (
    Event,
    InboxStatus,
    Processed,
    Queued,
    Rejected,
)
from chartgate.model.resource import Copy, Resource
from chartgate.store.database import Connection
from chartgate.store.inbox import InboxStore
from chartgate.store.outbox import OutboxStore
from chartgate.store.quarantine import QuarantineStore
from chartgate.store.record import RecordStore
from chartgate.transform.hl7v2.datatypes import Unmappable
from chartgate.transform.hl7v2.engine import merged
from chartgate.transform.hl7v2.messages import SUPPORTED, Transformed, check_whole, transform

LOG = structlog.get_logger()
WORKER = "process:worker"
PROCESS_MAX = 100  # messages in one transaction: long enough to amortise, short enough to retry
# What the store says to one message's own content, however often it is tried.
REFUSALS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)
SAY_UNSUPPORTED = "trigger not supported"


async def process_next(gate: Gate) -> int:
    """Processes the oldest messages whose lanes are free; how many. Raises Unavailable."""
    inbox = InboxStore(gate.database)
    async with gate.database.change_found() as (transaction, audit):
        claimed = await inbox.claim(transaction, count_max=PROCESS_MAX)
        if not claimed:
            return 0
        outcomes = await _kept(gate, transaction, claimed)
        await inbox.end(transaction, [outcome.processed for outcome in outcomes])
        rejected = [outcome.rejected for outcome in outcomes if outcome.rejected]
        quarantine = QuarantineStore(gate.database)
        if rejected:
            await quarantine.add_in(transaction, rejected)
        passed = [o.processed.id for o in outcomes if not o.rejected]
        await quarantine.settle_in(transaction, passed, at=gate.clock(), by=WORKER)
        audit.extend(outcome.audit for outcome in outcomes)
    return len(claimed)


@dataclass(kw_only=True)
class _Outcome:
    """What one claimed message comes to, before anything is written."""

    message: Queued
    processed: Processed
    audit: AuditEvent
    event: Event | None = None
    copies: list[Copy] = field(default_factory=list)
    rejected: Rejected | None = None


async def _kept(gate: Gate, transaction: Connection, claimed: Sequence[Queued]) -> list[_Outcome]:
    """Writes what the messages say: all at once, or where the store refuses something, one by
    one, so that only the message that caused it goes to the quarantine."""
    try:
        async with transaction.transaction():
            return await _written(gate, transaction, claimed)
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if isinstance(error, asyncpg.PostgresConnectionError | asyncpg.OperatorInterventionError):
            raise
        LOG.warning("events.batch_refused", messages=len(claimed), error=type(error).__name__)
    outcomes: list[_Outcome] = []
    for message in claimed:
        try:
            async with transaction.transaction():
                outcomes += await _written(gate, transaction, [message])
        except REFUSALS as error:
            outcomes.append(_internal(gate, message, error))
        except asyncpg.InterfaceError as error:
            if transaction.is_closed():
                raise
            outcomes.append(_internal(gate, message, error))
    return outcomes


async def _written(
    gate: Gate, transaction: Connection, claimed: Sequence[Queued]
) -> list[_Outcome]:
    readings = [(message, _read(gate, message)) for message in claimed]
    held = await _held(gate, transaction, readings)
    outcomes = [
        reading
        if isinstance(reading, _Outcome)
        else _applied(gate, message, reading, held[message.connection])
        for message, reading in readings
    ]
    copies: dict[str, list[Copy]] = defaultdict(list)
    for outcome in outcomes:
        copies[outcome.message.connection] += outcome.copies
    for connection, some in sorted(copies.items()):
        await RecordStore(gate.database).keep_in(transaction, connection, some)
    events = [outcome.event for outcome in outcomes if outcome.event]
    kinds = {(event.site, event.kind) for event in events}
    subscribers = {key: subscribers_of(gate, site=key[0], kind=key[1]) for key in kinds}
    await OutboxStore(gate.database).append_in(transaction, events, subscribers, at=gate.clock())
    return outcomes


def _read(gate: Gate, message: Queued) -> Transformed | _Outcome:
    """What a message says; nothing that it holds can stop the worker."""
    if message.message_type not in SUPPORTED:
        ended = Processed(id=message.id, status=InboxStatus.FILTERED, reason=SAY_UNSUPPORTED)
        return _Outcome(message=message, processed=ended, audit=_audit(gate, message, ended))
    connection = gate.config.connections.get(message.connection)
    if connection is None:
        return _rejected(gate, message, "config", "its connection is configured no more", "")
    try:
        settings = settings_of(connection)
        return transform(parse(message.raw, charset_default=settings.charset), settings)
    except MalformedMessage as error:
        return _rejected(gate, message, error.kind, str(error), error.position)
    except Unmappable as error:
        return _rejected(gate, message, "content", str(error), error.position)
    except Exception as error:  # noqa: BLE001  one message must not stop those behind it
        return _internal(gate, message, error)


def _applied(gate: Gate, message: Queued, said: Transformed, held: dict[str, Resource]) -> _Outcome:
    """The new versions; `held` moves on with them, for the messages behind this one."""
    try:
        resources = [merged(held.get(draft.reference), draft) for draft in said.drafts]
        for resource in resources:
            check_whole(resource)
        bodies = [canonical_bytes(resource) for resource in resources]
    except Unmappable as error:
        return _rejected(gate, message, "content", str(error), error.position)
    except Exception as error:  # noqa: BLE001  as in _read
        return _internal(gate, message, error)
    copies = []
    for draft, resource, body in zip(said.drafts, resources, bodies, strict=True):
        held[draft.reference] = resource
        copies.append(
            Copy(
                reference=draft.reference,
                version="",
                digest=digest(body),
                body=body,
                as_of=message.received_at,
            )
        )
    event = Event(
        site=_site(gate, message),
        kind=message.message_type,
        focus=said.focus,
        occurred_at=said.occurred_at or message.received_at,
        message=message.id,
    )
    ended = Processed(id=message.id, status=InboxStatus.DELIVERED)
    audit = _audit(gate, message, ended, entities=said.focus, patient=said.patient)
    return _Outcome(message=message, processed=ended, audit=audit, event=event, copies=copies)


async def _held(
    gate: Gate,
    transaction: Connection,
    readings: Sequence[tuple[Queued, Transformed | _Outcome]],
) -> dict[str, dict[str, Resource]]:
    """What the record holds now of all that the messages speak of, by connection."""
    wanted: dict[str, set[str]] = {message.connection: set() for message, _ in readings}
    for message, reading in readings:
        if isinstance(reading, Transformed):
            wanted[message.connection].update(draft.reference for draft in reading.drafts)
    record = RecordStore(gate.database)
    held: dict[str, dict[str, Resource]] = {}
    for connection, references in wanted.items():
        bodies = await record.bodies_in(transaction, connection, sorted(references))
        held[connection] = {reference: orjson.loads(body) for reference, body in bodies.items()}
    return held


def _rejected(
    gate: Gate, message: Queued, reason_class: str, reason: str, position: str
) -> _Outcome:
    ended = Processed(id=message.id, status=InboxStatus.QUARANTINED, reason=reason)
    rejected = Rejected(
        connection=message.connection,
        inbox_id=message.id,
        reason_class=reason_class,
        reason=reason,
        position=position,
        raw=message.raw,
        seen_at=gate.clock(),
    )
    return _Outcome(
        message=message,
        processed=ended,
        audit=_audit(gate, message, ended, position=position),
        rejected=rejected,
    )


def _internal(gate: Gate, message: Queued, error: Exception) -> _Outcome:
    """A fault of ours: its text may hold what the message holds, so only its kind is kept."""
    LOG.error("events.internal", message=message.id, error=type(error).__name__)
    sentence = f"our own fault ({type(error).__name__})"
    return _rejected(gate, message, "internal", sentence, "")


def _audit(
    gate: Gate,
    message: Queued,
    ended: Processed,
    *,
    entities: tuple[str, ...] = (),
    patient: str | None = None,
    position: str = "",
) -> AuditEvent:
    quarantined = ended.status is InboxStatus.QUARANTINED
    details = [("status", ended.status.value), *([("position", position)] if position else [])]
    return AuditEvent(
        recorded=gate.clock(),
        action="message.quarantine" if quarantined else "message.process",
        agent=WORKER,
        outcome=Outcome.FAILED if quarantined else Outcome.SUCCESS,
        entities=(f"Message/{message.id}", *entities),
        patient=patient,
        site=_site(gate, message),
        reason=ended.reason,
        details=tuple(details),
    )


def _site(gate: Gate, message: Queued) -> str:
    connection = gate.config.connections.get(message.connection)
    return connection.site if connection else ""
