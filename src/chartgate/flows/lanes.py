"""Sending what waits: each lane of each destination has a task of its own.

A lane sends one message at a time, in order: intent durable → send → how it ended, in one
transaction with the next intent. A resend has the same control id and the same bytes, so that the
receiver can tell it. A dead destination is tried for ever, ever more rarely, and delays no other:
each has as many tasks as the config gives to one, whatever the others need.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from chartgate.errors import (
    ChartgateError,
    ConfigError,
    InvalidTransition,
    OutcomeUnknown,
    SourceUnreachable,
    Unavailable,
)
from chartgate.flows.outgoing import AGENT, site_of
from chartgate.formats.hl7v2_answer import Answer, read_answer
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.outgoing import (
    MEANINGS,
    Lane,
    Meaning,
    Outgoing,
    OutgoingStatus,
    Settled,
    retry_delay_s,
)
from chartgate.store.outgoing import OutgoingStore

LOG = structlog.get_logger()
IN_A_ROW_MAX = 1_000  # of one lane before another lane of its destination has a turn
LEASE_S = 10.0  # beyond one send, or one rest: for two commits
DRAIN_S = 5.0  # for sends under way when the worker ends
SAY_LATE = "the lease of the lane has run out; nothing was sent"


@dataclass(frozen=True)
class _Trouble:
    """A try that was no success; it is to be repeated later."""

    error: str  # without patient data
    refusal: bytes | None = None  # the ACK, where it says that the content is wrong


class Lanes:
    """The lanes that this worker holds, each with a task of its own. Opened by `open_lanes`."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._tasks: dict[asyncio.Task[None], Lane] = {}
        self._wake = asyncio.Event()
        self._stopping = False

    async def start_due(self) -> int:
        """Takes up lanes that are due and nobody's, and tells those that idle to look again; how
        many it took up. Raises Unavailable."""
        self._wake.set()
        self._wake = asyncio.Event()
        gate = self._gate
        busy = Counter(lane.destination for lane in self._tasks.values())
        room = {
            name: gate.config.worker.lanes_max - busy[name]
            for name, transmitter in gate.transmitters.items()
            if not transmitter.missing and busy[name] < gate.config.worker.lanes_max
        }
        if not room or self._stopping:
            return 0
        now = gate.clock()
        claimed = await OutgoingStore(gate.database).claim(
            room, at=now, lease_until=now + timedelta(seconds=gate.config.worker.lease_s)
        )
        for lane in claimed:
            task = asyncio.create_task(
                self._work_off(lane), name=f"outgoing {lane.destination} {lane.name}"
            )
            self._tasks[task] = lane
            task.add_done_callback(self._ended)
        return len(claimed)

    async def drain(self) -> None:
        """Waits until every lane that is held is let go."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Lets sends under way end, but not for long: what is cut off is sent again later."""
        self._stopping = True
        self._wake.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=DRAIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        lane = self._tasks.pop(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, ChartgateError):
            detail = error.operator_detail or str(error)
            LOG.warning("outgoing.lane", destination=lane.destination, error=detail)
        elif error is not None:
            LOG.error("outgoing.lane", destination=lane.destination, error=type(error).__name__)

    async def _work_off(self, lane: Lane) -> None:
        """Holds a lane until it is empty for a while, or a try has failed."""
        store = OutgoingStore(self._gate.database)
        try:
            try:
                await self._send_all(lane, store)
            finally:
                # Whoever holds the lane next has a connection of their own.
                await self._gate.transmitters[lane.destination].hang_up(lane.name)
        except Exception:
            with suppress(Unavailable):  # then it is free once the lease has run out
                await store.release(lane)
            raise
        await store.release(lane)

    async def _send_all(self, lane: Lane, store: OutgoingStore) -> None:
        """Sends what waits in a lane, one after the other, until nothing does or a try fails."""
        gate = self._gate
        settled: Settled | None = None
        for _ in range(IN_A_ROW_MAX):
            message = None if self._stopping else await store.head(lane, after=settled)
            if message is None and settled is not None:
                await _announced(gate, lane, settled, None)
                settled = None
                message = await self._awaited(lane, store)
            if message is None:
                return
            lease_until = await _announced(gate, lane, settled, message)
            if settled is not None:
                settled, lane = None, replace(lane, failures=0)
            if lease_until is None:
                continue
            tried = await _tried(gate, lane, message, lease_until)
            if isinstance(tried, _Trouble):
                await _put_off(gate, lane, message, tried)
                return
            settled = tried
        if settled is not None:
            await _announced(gate, lane, settled, None)

    async def _awaited(self, lane: Lane, store: OutgoingStore) -> Outgoing | None:
        """The next message, if one comes while the connection may be kept open for it."""
        until = asyncio.get_running_loop().time() + self._gate.config.worker.lane_idle_s
        while not self._stopping:
            wake = self._wake  # taken before looking, so that no message is missed
            message = await store.head(lane, after=None)
            if message is not None:
                return message
            try:
                async with asyncio.timeout_at(until):
                    await wake.wait()
            except TimeoutError:
                return None
        return None


@asynccontextmanager
async def open_lanes(gate: Gate) -> AsyncIterator[Lanes]:
    """The lanes of one worker, none of them taken up yet."""
    lanes = Lanes(gate)
    try:
        yield lanes
    finally:
        await lanes.close()


async def _announced(
    gate: Gate, lane: Lane, settled: Settled | None, message: Outgoing | None
) -> datetime | None:
    """One commit: how the last message ended, and that the next one is about to be sent. Gives
    the end of the lease; None where the next one must not be sent any more.

    Raises InvalidTransition where the lane has passed to another worker.
    """
    at = gate.clock()
    keep_s = gate.config.worker.lane_idle_s
    if message is not None:
        keep_s = gate.transmitters[lane.destination].timeout_s
    lease_until = at + timedelta(seconds=keep_s + LEASE_S)
    events = [_ending(gate, lane, settled, at)] if settled is not None else []
    if message is not None:
        events.append(_sending(gate, message, at))
    went = await OutgoingStore(gate.database).advance(
        lane, *events, settled=settled, sending=message, at=at, lease_until=lease_until
    )
    if went:
        return lease_until
    if settled is not None:  # an answer came by another way: then that alone
        await _announced(gate, lane, settled, None)
    return None


async def _tried(
    gate: Gate, lane: Lane, message: Outgoing, lease_until: datetime
) -> Settled | _Trouble:
    """Sends a message whose intent is durable.

    Raises InvalidTransition where the lease has run out before anything was sent.
    """
    transmitter = gate.transmitters[lane.destination]
    send_until = lease_until - timedelta(seconds=transmitter.timeout_s)

    async def last_look() -> None:
        if gate.clock() > send_until:
            raise InvalidTransition(SAY_LATE)

    try:
        async with asyncio.timeout(transmitter.timeout_s + LEASE_S / 2):
            ack = await transmitter.send(
                message.raw, control_id=message.control_id, lane=lane.name, last_look=last_look
            )
    except TimeoutError:
        return _Trouble("the destination did not answer in time")
    except (SourceUnreachable, OutcomeUnknown, ConfigError) as error:
        return _Trouble(str(error))
    answer = read_answer(ack)
    meaning = MEANINGS.get(answer.code) if answer else None
    if answer is None or meaning is None:
        await transmitter.hang_up(lane.name)
        return _Trouble("what the destination answered has no code that HL7 knows")
    if meaning is Meaning.TAKEN:
        return Settled(id=message.id, status=OutgoingStatus.ACKNOWLEDGED, ack=ack)
    if meaning is Meaning.NOT_NOW:
        return _Trouble(_said(answer))
    refusals = message.refusals + 1
    if refusals < gate.config.worker.attempts_max:
        return _Trouble(_said(answer), refusal=ack)
    reason = f"{_said(answer)}, {refusals} times"
    return Settled(id=message.id, status=OutgoingStatus.FAILED, ack=ack, reason=reason)


async def _put_off(gate: Gate, lane: Lane, message: Outgoing, trouble: _Trouble) -> None:
    """Lets go of the lane for longer each time, and for ever: a dead link, or they cannot now,
    counts with the lane; a refusal of the content with the message, since the link works."""
    LOG.warning(
        "outgoing.put_off",
        destination=message.destination,
        message=message.id,
        attempts=message.attempts + 1,
        error=trouble.error,
    )
    refused = trouble.refusal is not None
    failures = 0 if refused else lane.failures + 1
    await OutgoingStore(gate.database).put_off(
        lane,
        until=_retry_at(gate, message.refusals + 1 if refused else failures),
        failures=failures,
        error=trouble.error,
        refused=(message.id, trouble.refusal) if trouble.refusal is not None else None,
    )


def _said(answer: Answer) -> str:
    """Only codes: the text of an answer may hold what the message holds."""
    return f"answered {answer.code}" + (f" ({answer.trouble})" if answer.trouble else "")


def _retry_at(gate: Gate, failures: int) -> datetime:
    worker = gate.config.worker
    delay_s = retry_delay_s(
        failures,
        base_s=worker.backoff_base_s,
        cap_s=worker.backoff_cap_s,
        share=random.random(),
    )
    return gate.clock() + timedelta(seconds=delay_s)


def _sending(gate: Gate, message: Outgoing, at: datetime) -> AuditEvent:
    return AuditEvent(
        recorded=at,
        action="outgoing.send",
        agent=AGENT,
        entities=(f"Outgoing/{message.id}", message.cause),
        patient=message.patient,
        site=site_of(gate, message.destination),
        details=(("attempt", str(message.attempts + 1)), ("destination", message.destination)),
    )


def _ending(gate: Gate, lane: Lane, settled: Settled, at: datetime) -> AuditEvent:
    taken = settled.status is OutgoingStatus.ACKNOWLEDGED
    return AuditEvent(
        recorded=at,
        action="outgoing.acknowledge" if taken else "outgoing.fail",
        agent=AGENT,
        outcome=Outcome.SUCCESS if taken else Outcome.FAILED,
        entities=(f"Outgoing/{settled.id}",),
        site=site_of(gate, lane.destination),
        reason=settled.reason,
        details=(("destination", lane.destination),),
    )
