"""The MLLP server: frames from many connections, handed over many at once.

One batch is under way at a time, and what comes in meanwhile makes the next: commits group by
themselves, nothing waits on purpose, and messages of one connection keep their order. An answer
is written only when `accept` has given it; when the queue is full, reading stops, so that the
sender's answer is late and never a lie.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import structlog

from chartgate.errors import ConfigError
from chartgate.formats.mllp import Deframer, Frame, frame
from chartgate.model.message import Received
from chartgate.model.ports import Admitted, Intake, ListenLimits

LOG = structlog.get_logger()
BACKLOG = 1024
SWEEP_INTERVAL_S = 1.0
QUEUED_MESSAGES_MAX = 5_000  # then reading stops; some seconds of work
QUEUED_BYTES_MAX = 64 * 1024 * 1024  # memory that waiting messages may hold
BATCH_BYTES_MAX = 16 * 1024 * 1024  # one commit stays small enough to be quick
IN_FLIGHT_MAX = 256  # unanswered messages of one connection, for senders that do not wait
LINGER_S = 2.0  # for a sender to read an answer that ends the connection
RETRY_S = 1.0  # after a fault of ours


@dataclass(slots=True)
class _Waiting:
    protocol: "MllpProtocol"
    admitted: Admitted
    size_bytes: int
    closes: bool  # the connection ends with this answer


class MllpProtocol(asyncio.Protocol):
    """One connection. Frames are cut here; everything else is the listener's."""

    def __init__(self, listener: "Listener") -> None:
        self._listener = listener
        self._deframer = Deframer(size_bytes_max=listener.limits.message_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.paused = False
        self.in_flight = 0
        self.begun_at: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's in all but their base class.
        self._transport = cast(asyncio.Transport, transport)
        if not self._listener.admit(self):
            transport.close()

    def data_received(self, data: bytes) -> None:
        found = self._deframer.feed(data)
        for each in found:
            self._submit(each)
        if not self._deframer.begun:
            self.begun_at = None
        elif found or self.begun_at is None:
            self.begun_at = self._loop.time()

    def eof_received(self) -> bool:
        self.finish()
        return True  # what is queued still gets its answer; then `answered` closes

    def connection_lost(self, exc: Exception | None) -> None:
        self.finish()
        self._transport = None
        self._listener.forget(self)

    def finish(self) -> None:
        """No more bytes will come: what is left is a part, or lacks only its CR."""
        for found in self._deframer.finish():
            self._submit(found, closes=True)
        self._deframer.broken = True
        self.begun_at = None
        if self.in_flight == 0:
            self.close()

    def answered(self, answer: bytes, *, closes: bool) -> None:
        """Sends one answer; an empty one closes without."""
        self.in_flight -= 1
        if self._transport is None:
            return
        if answer:
            self._transport.write(frame(answer))
        if closes and answer:
            self._hang_up()
        elif closes or not answer or (self._deframer.broken and self.in_flight == 0):
            self.close()

    def close(self) -> None:
        """Closes once what was written has left."""
        self._deframer.broken = True
        if self._transport is not None:
            self._transport.close()

    def _hang_up(self) -> None:
        """Closes our side, and reads on for a while: to close at once on a sender who is still
        writing would take our answer from them."""
        self._deframer.broken = True
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()
            self._loop.call_later(LINGER_S, self.close)
        else:
            self.close()

    def pause(self) -> None:
        """Stops reading; the sender feels it as a late answer."""
        if self._transport is not None and not self.paused and not self._transport.is_closing():
            self.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads on."""
        if self._transport is not None and self.paused and not self._transport.is_closing():
            self.paused = False
            self._transport.resume_reading()
            if self.begun_at is not None:  # the pause was ours, not the sender's
                self.begun_at = self._loop.time()

    def _submit(self, found: Frame, *, closes: bool = False) -> None:
        self.in_flight += 1
        self._listener.submit(self, found, closes=closes or bool(found.flaw))


class Listener:
    """All connections of one port, and the one task that hands their messages over."""

    def __init__(self, connection: str, intake: Intake, limits: ListenLimits) -> None:
        self.connection = connection
        self.limits = limits
        self._intake = intake
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._protocols: set[MllpProtocol] = set()
        self._full = False

    async def serve(self, host: str, port: int, *, ready: Callable[[int], None]) -> None:
        """Serves until cancelled. Raises ConfigError where the port cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: MllpProtocol(self), host, port, backlog=BACKLOG
            )
        except OSError as error:
            raise ConfigError(
                f"{host}:{port} cannot be listened on ({error.strerror or error}); is another "
                "listener running, or should [mllp] port be another?"
            ) from error
        ready(server.sockets[0].getsockname()[1])
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hand_over())
                tasks.create_task(self._sweep())
        finally:
            server.close()
            for protocol in tuple(self._protocols):
                protocol.close()

    def admit(self, protocol: MllpProtocol) -> bool:
        """False over the limit of connections."""
        if len(self._protocols) >= self.limits.connections_max:
            LOG.warning("mllp.too_many_connections", connection=self.connection)
            return False
        self._protocols.add(protocol)
        if self._full:
            protocol.pause()
        return True

    def forget(self, protocol: MllpProtocol) -> None:
        """The connection is gone; its queued messages are still taken."""
        self._protocols.discard(protocol)

    def submit(self, protocol: MllpProtocol, found: Frame, *, closes: bool) -> None:
        """Queues one message, and stops reading where there are too many."""
        received = Received(connection=self.connection, raw=found.content, flaw=found.flaw)
        try:
            admitted = self._intake.admit(received)
        except Exception as error:  # noqa: BLE001  a fault of ours must not end the listener
            self._failed(error)
            protocol.close()
            return
        self._queue.append(_Waiting(protocol, admitted, len(found.content), closes))
        self._queued_bytes += len(found.content)
        self._wake.set()
        if protocol.in_flight >= IN_FLIGHT_MAX:
            protocol.pause()
        over = len(self._queue) >= QUEUED_MESSAGES_MAX or self._queued_bytes >= QUEUED_BYTES_MAX
        if over and not self._full:
            self._full = True
            for other in self._protocols:
                other.pause()

    async def _hand_over(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(0)  # lets the other sockets that are ready be read first
            batch = self._next_batch()
            try:
                answers = await self._intake.commit([waiting.admitted for waiting in batch])
            except Exception as error:  # noqa: BLE001  the top of the loop: one fault must not end it
                self._failed(error)
                answers = [b""] * len(batch)
                await asyncio.sleep(RETRY_S)
            for waiting, answer in zip(batch, answers, strict=True):
                waiting.protocol.answered(answer, closes=waiting.closes)
            self._resume(batch)

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size_bytes = 0
        while self._queue and len(batch) < self.limits.batch_max:
            size_bytes += self._queue[0].size_bytes
            if batch and size_bytes > BATCH_BYTES_MAX:
                break
            waiting = self._queue.popleft()
            self._queued_bytes -= waiting.size_bytes
            batch.append(waiting)
        if not self._queue:
            self._wake.clear()
        return batch

    def _resume(self, batch: list[_Waiting]) -> None:
        if self._full:
            if len(self._queue) > QUEUED_MESSAGES_MAX // 2:
                return
            if self._queued_bytes > QUEUED_BYTES_MAX // 2:
                return
            self._full = False
            for protocol in self._protocols:
                protocol.resume()
            return
        for waiting in batch:
            if waiting.protocol.in_flight < IN_FLIGHT_MAX:
                waiting.protocol.resume()

    def _failed(self, error: Exception) -> None:
        """Its text may hold what a message holds, so only its kind is told."""
        LOG.error("mllp.failed", connection=self.connection, error=type(error).__name__)

    async def _sweep(self) -> None:
        """Ends frames that began too long ago, however slowly their bytes still trickle in."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(SWEEP_INTERVAL_S, self.limits.idle_timeout_s / 2))
            oldest = loop.time() - self.limits.idle_timeout_s
            for protocol in tuple(self._protocols):
                begun_at = protocol.begun_at
                if begun_at is not None and begun_at < oldest and not protocol.paused:
                    protocol.finish()
