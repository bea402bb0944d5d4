"""The walk of an event: a hospital's durable message becomes part of the record.

Before it, `intake.py` has taken the message in.
process_next: claim lanes → note them → read and fold (`folding.py`) → upsert the record, append
events and numbered notifications, end the messages; all in one transaction, or quarantine with
the reason. Deliveries are in `notifications.py`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import structlog

from chartgate.errors import ConfigError
from chartgate.failpoints import failpoint
from chartgate.flows.drift import DriftWatch
from chartgate.flows.feeds import settings_for
from chartgate.flows.folding import (
    Filtered,
    Folded,
    Held,
    Reading,
    Refusal,
    fold,
    held_of,
    own_fault,
    read,
    wanted,
)
from chartgate.flows.notifications import subscribers_of
from chartgate.flows.outgoing import applied, queue_application_ack
from chartgate.formats.hl7v2 import Message
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.message import Event, InboxStatus, Processed, Queued, Rejected
from chartgate.model.resource import Copy
from chartgate.store.batches import BatchStore
from chartgate.store.database import Connection
from chartgate.store.inbox import InboxStore
from chartgate.store.outbox import OutboxStore
from chartgate.store.quarantine import QuarantineStore
from chartgate.store.record import RecordStore

LOG = structlog.get_logger()
WORKER = "process:worker"
PROCESS_MAX = 100  # messages in one transaction: long enough to amortise, short enough to retry
ENDED_WORKERS_MAX = 3  # a message that ended so many workers is set aside
# What the store says to one message's own content, however often it is tried.
REFUSALS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.InterfaceError,  # a value that cannot even be sent
)
DOUBTFUL_FOR = timedelta(minutes=1)
Read = Reading | Filtered | Refusal


@dataclass(kw_only=True)
class _Outcome:
    """What one claimed message comes to, before it is ended."""

    message: Queued
    processed: Processed
    event: Event | None = None
    copies: tuple[Copy, ...] = ()
    rejected: Rejected | None = None
    answers: tuple[str, str] | None = None  # of an acknowledgement: MSA-2 and MSA-1


async def process_next(gate: Gate, worker: str = "worker", watch: DriftWatch | None = None) -> int:
    """Processes the oldest messages whose lanes are free; how many. Raises Unavailable.

    `worker` tells this process from others; `watch` is shown every message that could be parsed.
    """
    inbox = InboxStore(gate.database)
    batches = BatchStore(gate.database, worker=worker)
    parsed: list[tuple[Queued, Message]] = []
    async with gate.database.change_found() as (transaction, audit):
        claimed = await inbox.claim(transaction, count_max=PROCESS_MAX)
        if not claimed:
            return 0
        suspects = await batches.suspects_in(transaction, [message.id for message in claimed])
        tries = suspects.get(claimed[0].id, 0)
        if suspects:
            claimed = _apart(claimed, suspects)
        await batches.note([m.id for m in claimed], tries=tries + 1, at=gate.clock())
        if tries >= ENDED_WORKERS_MAX:
            outcomes = [_refused(gate, claimed[0], _ended_workers())]
        else:
            outcomes = await _kept(gate, transaction, claimed, parsed)
        await _end(gate, transaction, outcomes, audit)
        if tries:
            await batches.clear_in(transaction, claimed[0].id)
    if watch is not None:
        watch.observe(parsed)
    return len(claimed)


async def forget_workers(gate: Gate, worker: str) -> None:
    """Deletes what workers that are gone had in hand, once all of it is done."""
    failpoint("c16.start")
    await BatchStore(gate.database, worker=worker).forget_done()


def _apart(claimed: Sequence[Queued], suspects: Mapping[int, int]) -> tuple[Queued, ...]:
    """A message that another worker had in hand when it ended is processed by itself; what stands
    before it goes first."""
    if claimed[0].id in suspects:
        return (claimed[0],)
    first = next(n for n, message in enumerate(claimed) if message.id in suspects)
    return tuple(claimed[:first])


async def _end(
    gate: Gate, transaction: Connection, outcomes: Sequence[_Outcome], audit: list[AuditEvent]
) -> None:
    await InboxStore(gate.database).end(transaction, [o.processed for o in outcomes])
    quarantine = QuarantineStore(gate.database)
    rejected = [o.rejected for o in outcomes if o.rejected]
    if rejected:
        await quarantine.add_in(transaction, rejected)
    passed = [o.processed.id for o in outcomes if not o.rejected]
    await quarantine.settle_in(transaction, passed, at=gate.clock(), by=WORKER)
    audit.extend(_refusal_event(gate, o) for o in outcomes if o.rejected)
    audit.extend(_passed_events(gate, [o for o in outcomes if not o.rejected]))
    for outcome in outcomes:
        if outcome.message.application_ack:
            queued = await queue_application_ack(
                gate, transaction, outcome.message, outcome.processed
            )
            audit.extend([queued] if queued else [])
        if outcome.answers:
            control_id, code = outcome.answers
            noted = await applied(gate, transaction, control_id, code)
            audit.extend([noted] if noted else [])


async def _kept(
    gate: Gate,
    transaction: Connection,
    claimed: Sequence[Queued],
    parsed: list[tuple[Queued, Message]],
) -> list[_Outcome]:
    """Writes what the messages say: all at once, those of patients whose messages the store has
    refused of late by themselves. What it refuses now goes to the quarantine alone."""
    now = gate.clock()
    readings = [(message, _read(gate, message, parsed)) for message in claimed]
    usual: list[tuple[Queued, Read]] = []
    doubtful: list[tuple[Queued, Read]] = []
    for message, reading in readings:
        until = gate.doubtful_lanes.get(message.lane)
        if until is not None and until < now:
            del gate.doubtful_lanes[message.lane]
        (doubtful if until is not None and until >= now else usual).append((message, reading))
    outcomes = await _halved(gate, transaction, usual) if usual else []
    for one in doubtful:
        outcomes += await _halved(gate, transaction, [one])
    return outcomes


async def _halved(
    gate: Gate, transaction: Connection, readings: Sequence[tuple[Queued, Read]]
) -> list[_Outcome]:
    """All of them, or where the store refuses something, each half of them by itself."""
    try:
        async with transaction.transaction():
            return await _written(gate, transaction, readings)
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if transaction.is_closed() or not isinstance(error, REFUSALS):
            raise
        message = readings[0][0]
        if len(readings) == 1:
            gate.doubtful_lanes[message.lane] = gate.clock() + DOUBTFUL_FOR
            return [_refused(gate, message, own_fault(message, error))]
        LOG.warning("events.batch_refused", messages=len(readings), error=type(error).__name__)
    middle = len(readings) // 2
    first = await _halved(gate, transaction, readings[:middle])
    return first + await _halved(gate, transaction, readings[middle:])


def _read(gate: Gate, message: Queued, parsed: list[tuple[Queued, Message]]) -> Read:
    try:
        settings = settings_for(gate, message.connection)
    except ConfigError as error:
        return Refusal(reason_class="config", reason=str(error))
    return read(message, settings, parsed=parsed)


async def _written(
    gate: Gate, transaction: Connection, readings: Sequence[tuple[Queued, Read]]
) -> list[_Outcome]:
    held = await _held(gate, transaction, readings)
    outcomes = [
        _folded(gate, message, reading, held[message.connection]) for message, reading in readings
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


async def _held(
    gate: Gate, transaction: Connection, readings: Sequence[tuple[Queued, Read]]
) -> dict[str, Held]:
    """What the record holds now of all that the messages speak of, by connection."""
    by_connection: dict[str, list[Read]] = defaultdict(list)
    for message, reading in readings:
        by_connection[message.connection].append(reading)
    record = RecordStore(gate.database)
    held: dict[str, Held] = {}
    for connection, some in by_connection.items():
        copies = await record.copies_in(transaction, connection, sorted(wanted(some)))
        held[connection] = held_of(copies)
    return held


def _folded(gate: Gate, message: Queued, reading: Read, held: Held) -> _Outcome:
    if isinstance(reading, Filtered):
        ended = Processed(id=message.id, status=InboxStatus.FILTERED, reason=reading.reason)
        return _Outcome(message=message, processed=ended, answers=reading.answers)
    if isinstance(reading, Refusal):
        return _refused(gate, message, reading)
    folded = fold(message, reading, held)
    if isinstance(folded, Refusal):
        return _refused(gate, message, folded)
    return _delivered(gate, message, reading, folded)


def _delivered(gate: Gate, message: Queued, reading: Reading, folded: Folded) -> _Outcome:
    said = reading.said
    event = Event(
        site=_site(gate, message),
        kind=message.message_type,
        focus=said.focus,
        occurred_at=said.occurred_at or message.received_at,
        message=message.id,
    )
    ended = Processed(id=message.id, status=InboxStatus.DELIVERED, flags=folded.flags)
    return _Outcome(message=message, processed=ended, event=event, copies=folded.copies)


def _refused(gate: Gate, message: Queued, refusal: Refusal) -> _Outcome:
    ended = Processed(id=message.id, status=InboxStatus.QUARANTINED, reason=refusal.reason)
    rejected = Rejected(
        connection=message.connection,
        inbox_id=message.id,
        reason_class=refusal.reason_class,
        reason=refusal.reason,
        position=refusal.position,
        raw=message.raw,
        seen_at=gate.clock(),
    )
    return _Outcome(message=message, processed=ended, rejected=rejected)


def _ended_workers() -> Refusal:
    return Refusal(
        reason_class="internal",
        reason=f"{ENDED_WORKERS_MAX} workers ended while they had this message in hand",
    )


def _refusal_event(gate: Gate, outcome: _Outcome) -> AuditEvent:
    ended, rejected = outcome.processed, outcome.rejected
    position = rejected.position if rejected else ""
    return AuditEvent(
        recorded=gate.clock(),
        action="message.quarantine",
        agent=WORKER,
        outcome=Outcome.FAILED,
        entities=(f"Message/{ended.id}",),
        site=_site(gate, outcome.message),
        reason=ended.reason,
        details=(
            ("status", ended.status.value),
            *((("position", position),) if position else ()),
        ),
    )


def _passed_events(gate: Gate, outcomes: Sequence[_Outcome]) -> Iterator[AuditEvent]:
    """One event for each site: which messages were processed, and what became of them. Each
    version in the record names its message."""
    by_site: dict[str, list[_Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_site[_site(gate, outcome.message)].append(outcome)
    for site, some in by_site.items():
        ended = [outcome.processed for outcome in some]
        counts = Counter([e.status.value for e in ended] + [f for e in ended for f in e.flags])
        reasons = {e.reason for e in ended}
        yield AuditEvent(
            recorded=gate.clock(),
            action="message.process",
            agent=WORKER,
            entities=tuple(f"Message/{e.id}" for e in ended),
            site=site,
            reason=next(iter(reasons)) if len(reasons) == 1 else None,
            details=tuple((name, str(count)) for name, count in sorted(counts.items())),
        )


def _site(gate: Gate, message: Queued) -> str:
    connection = gate.config.connections.get(message.connection)
    return connection.site if connection else ""
