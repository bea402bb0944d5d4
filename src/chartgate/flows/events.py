"""The walk of an event: a hospital's message becomes durable, then part of the record.

accept: check at the door → inbox, many in one commit → only then the ACKs.
process_next: claim lanes → parse → transform → upsert the record, append events and numbered
notifications, end the messages; all in one transaction, or quarantine with the reason.
Deliveries are in `notifications.py`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import partial
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import asyncpg
import orjson
import structlog

from chartgate.config import ConnectionConfig
from chartgate.errors import ConfigError, Unavailable
from chartgate.flows.notifications import subscribers_of
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.formats.hl7v2 import MalformedMessage, parse
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.message import (
    Arrival,
    Event,
    InboxStatus,
    Processed,
    Queued,
    Received,
    Rejected,
    Stored,
)
from chartgate.model.ports import Feed
from chartgate.model.resource import Copy, Resource
from chartgate.store.database import Connection
from chartgate.store.inbox import InboxStore
from chartgate.store.outbox import OutboxStore
from chartgate.store.record import RecordStore
from chartgate.transform.hl7v2.admission import Refused, admit, collided, storage_unavailable
from chartgate.transform.hl7v2.datatypes import Unmappable
from chartgate.transform.hl7v2.engine import merged
from chartgate.transform.hl7v2.messages import SUPPORTED, Transformed, check_whole, transform
from chartgate.transform.hl7v2.settings import FeedSettings

LOG = structlog.get_logger()
LISTENER = "process:listener"
WORKER = "process:worker"
PROCESS_MAX = 100  # messages in one transaction: long enough to amortise, short enough to retry
# What the store says to one message's own content, however often it is tried.
REFUSALS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)
SAY_UNSUPPORTED = "trigger not supported"


async def listen(
    gate: Gate, feeds: Mapping[str, Feed], *, ready: Callable[[str, int], None]
) -> None:
    """Serves all feeds until cancelled; `ready` is told each connection and its port.

    Raises ConfigError where one of them cannot.
    """
    for name in feeds:
        settings_of(gate.config.connections[name])  # a mistake stops here, not at each message
    try:
        async with asyncio.TaskGroup() as tasks:
            for name, feed in feeds.items():
                tasks.create_task(
                    feed.listen(MessageIntake(gate), gate.config.mllp, ready=partial(ready, name))
                )
    except* ConfigError as group:
        raise group.exceptions[0] from None


class MessageIntake:
    """Intake: the check at the door as each message comes, then many in one commit."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._settings: dict[str, FeedSettings] = {}

    def admit(self, received: Received) -> tuple[Received, Arrival | Refused]:
        """Raises ConfigError where the feed's options are wrong."""
        name = received.connection
        settings = self._settings.get(name)
        if settings is None:
            settings = settings_of(self._gate.config.connections[name])
            self._settings[name] = settings
        return received, admit(received, settings, self._gate.clock())

    async def commit(self, batch: Sequence[tuple[Received, Arrival | Refused]]) -> list[bytes]:
        """AA only for what is committed, or was before; b"" where there is nobody to answer.
        Where the store is gone every answer is AR: send it again later."""
        at = self._gate.clock()
        inbox = InboxStore(self._gate.database)
        arrivals = [one for _, one in batch if isinstance(one, Arrival)]
        event = AuditEvent(recorded=at, action="message.accept", agent=LISTENER)
        try:
            stored = iter(await inbox.accept(arrivals, event))
            settled = [
                one if isinstance(one, Refused) else _settled(received, one, next(stored), at)
                for received, one in batch
            ]
            refused = [one for one in settled if isinstance(one, Refused)]
            if refused:
                await inbox.quarantine([r.rejected for r in refused], *map(_rejection, refused))
        except Unavailable:
            LOG.error("intake.storage_unavailable", messages=len(batch))
            return [storage_unavailable(received, at) for received, _ in batch]
        return [one.answer if isinstance(one, Refused) else one for one in settled]


async def accept(gate: Gate, batch: Sequence[Received]) -> list[bytes]:
    """Both steps of `MessageIntake` at once: durable, then the answers, in order."""
    intake = MessageIntake(gate)
    return await intake.commit([intake.admit(received) for received in batch])


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
        if rejected:
            await inbox.quarantine_in(transaction, rejected)
        audit.extend(outcome.audit for outcome in outcomes)
    return len(claimed)


def settings_of(connection: ConnectionConfig) -> FeedSettings:
    """The settings of a feed, from its options. Raises ConfigError."""
    options = connection.options
    return FeedSettings(
        connection=connection.name,
        site=connection.site,
        processing_id=options.get("processing_id", "P"),
        charset=options.get("charset", ""),
        zone=_zone(connection.name, options.get("zone", "UTC")),
        ids_are_identifiers=options.get("id_from") == "identifier",
        systems=options.get("systems", {}),
        patient_system=options.get("patient_system", ""),
    )


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


def _settled(received: Received, arrival: Arrival, stored: Stored, at: datetime) -> bytes | Refused:
    """The answer that may be sent: the stored one, unless it was for another content."""
    return stored.ack if stored.digest == arrival.digest else collided(received, at)


def _rejection(refused: Refused) -> AuditEvent:
    rejected = refused.rejected
    details = [("class", rejected.reason_class), ("digest", digest(rejected.raw).hex())]
    return AuditEvent(
        recorded=rejected.seen_at,
        action="message.quarantine",
        agent=LISTENER,
        outcome=Outcome.FAILED,
        reason=rejected.reason,
        details=tuple(details),
    )


def _site(gate: Gate, message: Queued) -> str:
    connection = gate.config.connections.get(message.connection)
    return connection.site if connection else ""


def _zone(connection: str, name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f'[connections.{connection}] zone {name!r} is not known here; e.g. "Europe/Berlin"'
        ) from None
