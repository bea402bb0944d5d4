"""The MLLP server: messages from many connections, handed over many at once.

One batch is under way at a time, and what comes in meanwhile makes the next: commits group by
themselves, nothing waits on purpose, and messages of one connection keep their order. An answer
is written only when `accept` has given it; when the queue is full, reading stops, so that the
sender's answer is late and never a lie.
"""

import asyncio
import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from chartgate.adapters.hl7v2_mllp.connection import MllpProtocol
from chartgate.adapters.hl7v2_mllp.tls import ExpiryAlarm, Loaded, ServerTls
from chartgate.errors import ConfigError
from chartgate.formats.mllp import Frame
from chartgate.model.message import Received
from chartgate.model.ports import Admitted, Intake, ListenLimits, NotTaken

LOG = structlog.get_logger()
BACKLOG = 1024
SWEEP_INTERVAL_S = 1.0
QUEUED_MESSAGES_MAX = 5_000  # then reading stops; some seconds of work
QUEUED_BYTES_MAX = 64 * 1024 * 1024  # memory that waiting messages may hold
BATCH_BYTES_MAX = 16 * 1024 * 1024  # one commit stays small enough to be quick
RETRY_S = 1.0  # after a fault of ours
DRAIN_S = 5.0  # when we stop: for what has come in to be committed and answered
HANDSHAKE_S = 5.0  # of TLS; until then a connection is not counted


@dataclass(slots=True)
class _Waiting:
    protocol: MllpProtocol
    admitted: Admitted
    size_bytes: int
    closes: bool  # the connection ends with this answer


class Listener:
    """All connections of one port, and the one task that hands their messages over."""

    def __init__(
        self,
        connection: str,
        intake: Intake,
        limits: ListenLimits,
        *,
        tls: ServerTls | None = None,
    ) -> None:
        self.connection = connection
        self.limits = limits
        self.tls = tls
        self._loaded: Loaded | None = None
        self._alarm = ExpiryAlarm()
        self._intake = intake
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._protocols: set[MllpProtocol] = set()
        self._peers: Counter[str] = Counter()
        self._turned_away: Counter[str] = Counter()
        self._told_of = 0
        self._full = False
        self._stopping = False
        self._emptied = asyncio.Event()

    @property
    def turned_away(self) -> Mapping[str, int]:
        """Connections that were closed at once since the start, by the limit they were over."""
        return self._turned_away

    async def serve(self, host: str, port: int, *, ready: Callable[[int], None]) -> None:
        """Serves until cancelled; then what has come in is still committed and answered. Raises
        ConfigError where the port cannot be had, or TLS not be served."""
        await self._open(host, port)
        handing = asyncio.create_task(self._hand_over())
        sweeping = asyncio.create_task(self._sweep())
        try:
            ready(self._servers[0].sockets[0].getsockname()[1])
            done, _ = await asyncio.wait((handing, sweeping), return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                ended.result()  # neither ends by itself
        except asyncio.CancelledError:
            await self._drain(handing)
            raise
        finally:
            handing.cancel()
            sweeping.cancel()
            for server in self._servers:
                server.close()
            for protocol in tuple(self._protocols):
                protocol.close()

    def admit(self, protocol: MllpProtocol) -> bool:
        """False over a limit of connections: it is to be closed, and is counted."""
        over = self._over(protocol)
        if over:
            self._turned_away[over] += 1
            return False
        self._protocols.add(protocol)
        self._peers[protocol.peer] += 1
        if self._full:
            protocol.pause()
        return True

    def unchoked(self, protocol: MllpProtocol) -> None:
        """The sender reads its answers again."""
        if not self._full and not self._stopping:
            protocol.resume()

    def forget(self, protocol: MllpProtocol) -> None:
        """The connection is gone; its queued messages are still taken."""
        if protocol in self._protocols:
            self._protocols.discard(protocol)
            self._peers[protocol.peer] -= 1
            if not self._peers[protocol.peer]:
                del self._peers[protocol.peer]
        if not self._protocols:
            self._emptied.set()

    def submit(self, protocol: MllpProtocol, found: Frame, *, closes: bool) -> None:
        """Queues one message, and stops reading where there are too many."""
        received = Received(
            connection=self.connection,
            raw=found.content,
            flaw=found.flaw,
            senders=protocol.senders,
        )
        try:
            admitted = self._intake.admit(received)
        except Exception as error:  # noqa: BLE001  a fault of ours must not end the listener
            self._failed(error)
            protocol.close()
            return
        self._queue.append(_Waiting(protocol, admitted, len(found.content), closes))
        self._queued_bytes += len(found.content)
        self._wake.set()
        if protocol.in_flight >= self.limits.in_flight_max:
            protocol.pause()
        over = len(self._queue) >= QUEUED_MESSAGES_MAX or self._queued_bytes >= QUEUED_BYTES_MAX
        if over and not self._full:
            self._full = True
            for other in self._protocols:
                other.pause()

    async def _open(self, host: str, port: int) -> None:
        self._loaded = self.tls.load() if self.tls else None
        try:
            server = await asyncio.get_running_loop().create_server(
                lambda: MllpProtocol(self),
                host,
                port,
                backlog=BACKLOG,
                **_tls_arguments(self._loaded),
            )
        except OSError as error:
            raise ConfigError(
                f"{host}:{port} cannot be listened on ({error.strerror or error}); is another "
                "listener running, or should [mllp] port be another?"
            ) from error
        self._servers = [server]
        self._warn()

    async def _renew(self) -> None:
        """Takes up files that changed: the same port with another certificate. The connections
        that are open go on with theirs."""
        if self.tls is None or self._loaded is None:
            return
        self._warn()
        stamp = self.tls.stamp()
        if stamp in ((), self._loaded.stamp):
            return
        try:
            loaded = self.tls.load()
            await self._replace_servers(loaded)
        except (ConfigError, OSError) as error:
            self._loaded = replace(self._loaded, stamp=stamp)  # told once, not each second
            LOG.error("mllp.certificate_kept", connection=self.connection, reason=str(error))
            return
        self._loaded = loaded
        LOG.info("mllp.certificate_renewed", connection=self.connection)

    async def _replace_servers(self, loaded: Loaded) -> None:
        """New servers on the sockets of the old, so that nobody is turned away between them."""
        added: list[asyncio.Server] = []
        try:
            for listening in [one for server in self._servers for one in server.sockets]:
                twin = socket.socket(fileno=os.dup(listening.fileno()))
                added.append(
                    await asyncio.get_running_loop().create_server(
                        lambda: MllpProtocol(self),
                        sock=twin,
                        backlog=BACKLOG,
                        **_tls_arguments(loaded),
                    )
                )
        except OSError:
            for server in added:
                server.close()
            raise
        old, self._servers = self._servers, added
        for server in old:
            server.close()

    def _warn(self) -> None:
        if self.tls is None or self._loaded is None:
            return
        until = self._loaded.expires_at
        days = self._alarm.days_to_tell(until, self.tls.clock())
        if days is not None:
            LOG.warning(
                "mllp.certificate_expires", connection=self.connection, days=days, until=str(until)
            )

    def _over(self, protocol: MllpProtocol) -> str:
        """The limit that a new connection is over; empty: none."""
        if len(self._protocols) >= self.limits.connections_max:
            return "connections_max"
        if self._peers.get(protocol.peer, 0) >= self.limits.connections_per_peer_max:
            return "connections_per_peer_max"
        if self.tls and self._loaded and self.tls.clock() >= self._loaded.expires_at:
            return "certificate_expired"
        return ""

    async def _hand_over(self) -> None:
        while self._queue or not self._stopping:
            await self._wake.wait()
            await asyncio.sleep(0)  # lets the other sockets that are ready be read first
            batch = self._next_batch()
            answers = await self._committed(batch)
            for waiting, answer in zip(batch, answers, strict=True):
                waiting.protocol.answered(answer, closes=waiting.closes)
            self._resume(batch)

    async def _committed(self, batch: list[_Waiting]) -> Sequence[bytes | None]:
        try:
            return await self._intake.commit([waiting.admitted for waiting in batch])
        except NotTaken as refused:
            self._end_lines(batch)
            return refused.answers
        except Exception as error:  # noqa: BLE001  the top of the loop: one fault must not end it
            self._failed(error)
            self._end_lines(batch)
            await asyncio.sleep(RETRY_S)
            return [b""] * len(batch)

    def _end_lines(self, batch: list[_Waiting]) -> None:
        """These lines end with these answers, and what they sent behind is not taken: it would
        overtake what they will send again."""
        ending = {waiting.protocol: waiting for waiting in batch}  # the last of each
        for protocol, waiting in ending.items():
            waiting.closes = True
            protocol.take_no_more()
        dropped = [waiting for waiting in self._queue if waiting.protocol in ending]
        for waiting in dropped:
            self._queue.remove(waiting)
            self._queued_bytes -= waiting.size_bytes
        if not self._queue:
            self._wake.clear()

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
            waiting.protocol.resume()

    def _failed(self, error: Exception) -> None:
        """Its text may hold what a message holds, so only its kind is told."""
        LOG.error("mllp.failed", connection=self.connection, error=type(error).__name__)

    async def _sweep(self) -> None:
        """Ends frames that began too long ago, however slowly their bytes still trickle in; takes
        up new certificates; tells of connections that were turned away."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(SWEEP_INTERVAL_S, self.limits.idle_timeout_s / 2))
            oldest = loop.time() - self.limits.idle_timeout_s
            for protocol in tuple(self._protocols):
                begun_at = protocol.begun_at
                if begun_at is not None and begun_at < oldest and not protocol.paused:
                    protocol.finish()
            await self._renew()
            if self._turned_away.total() > self._told_of:
                self._told_of = self._turned_away.total()
                LOG.warning(
                    "mllp.turned_away", connection=self.connection, **dict(self._turned_away)
                )

    async def _drain(self, handing: asyncio.Task[None]) -> None:
        """Finishes what has come in, as far as DRAIN_S goes; whoever is not answered sends it
        again, to nobody's harm."""
        self._stopping = True
        for server in self._servers:
            server.close()
        for protocol in tuple(self._protocols):
            protocol.stop()
        self._wake.set()
        try:
            async with asyncio.timeout(DRAIN_S):
                await handing
                while self._protocols:
                    self._emptied.clear()
                    await self._emptied.wait()
        except TimeoutError:
            LOG.warning("mllp.stopped_early", connection=self.connection, queued=len(self._queue))


def _tls_arguments(loaded: Loaded | None) -> dict[str, Any]:
    if loaded is None:
        return {}
    return {"ssl": loaded.context, "ssl_handshake_timeout": HANDSHAKE_S}
