"""Receivers of HL7 v2 on real sockets, whose answers a test chooses, and a gate that sends to them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from chartgate.adapters.loader import load_connections
from chartgate.config import ConnectionConfig
from chartgate.flows import lanes, outgoing
from chartgate.formats.mllp import Deframer, frame
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.model.outgoing import Draft
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt
from tests.flows.clinics import SITE
from tests.flows.feeds import feed_gate

PEER = "lab"
RESET = b"reset"  # instead of bytes: the receiver cuts the connection
Reply = Callable[[bytes], bytes]  # the raw message to the raw bytes on the wire


def control_id(raw: bytes) -> str:
    return raw.split(b"|")[9].decode()


def ack(code: str = "AA", *, of: str = "", more: str = "") -> Reply:
    """An acknowledgement of the message, or of another."""

    def reply(raw: bytes) -> bytes:
        msa = f"MSA|{code}|{of or control_id(raw)}"
        return frame(f"MSH|^~\\&|B|B|A|A|20260302||ACK|9|P|2.5\r{msa}\r{more}".encode())

    return reply


def says(content: bytes) -> Reply:
    """These bytes, whatever was sent; b"" is silence."""
    return lambda raw: content


SILENCE = says(b"")


@dataclass(kw_only=True)
class Receiver:
    """Answers by its script, one reply a message, and when that has ended by `reply`."""

    port: int = 0
    script: list[Reply] = field(default_factory=list)
    reply: Reply = field(default_factory=ack)
    delay_s: float = 0.0
    seen: list[tuple[str, int]] = field(default_factory=list)  # "open" "got" "closed", connection
    messages: list[bytes] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    on_message: Callable[[bytes], Awaitable[None]] | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def hang_up(self) -> None:
        """Closes every connection, as a receiver that restarts."""
        for writer in tuple(self.writers):
            writer.close()
        await until(lambda: not self.writers)

    @property
    def control_ids(self) -> list[str]:
        return [control_id(raw) for raw in self.messages]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 1 + sum(1 for what, _ in self.seen if what == "open")
        self.seen.append(("open", number))
        self.writers.add(writer)
        deframer = Deframer(size_bytes_max=1_000_000)
        with suppress(OSError):
            while chunk := await reader.read(65536):
                for found in deframer.feed(chunk):
                    await self._take(found.content, number, writer)
        self.seen.append(("closed", number))
        self.writers.discard(writer)
        writer.close()

    async def _take(self, raw: bytes, number: int, writer: asyncio.StreamWriter) -> None:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.seen.append(("got", number))
        self.messages.append(raw)
        if self.on_message is not None:
            await self.on_message(raw)
        await asyncio.sleep(self.delay_s)
        reply = self.script.pop(0) if self.script else self.reply
        self.under_way -= 1
        said = reply(raw)
        if said == RESET:
            writer.transport.abort()
        else:
            writer.write(said)


@asynccontextmanager
async def receiving(receiver: Receiver, **options: Any) -> AsyncIterator[Receiver]:
    """The receiver on a port of its own, or again on the one it had."""
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", receiver.port, **options)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


@asynccontextmanager
async def sending_gate(
    database: Database,
    clock: FakeClock,
    folder: Path,
    ports: Mapping[str, int],
    *,
    options: Mapping[str, Any] | None = None,
    **worker: Any,
) -> AsyncIterator[Gate]:
    """A gate with a destination at each of these ports; 0: a connection without one."""
    gate = feed_gate(database, clock, folder)
    send = {"send_host": "127.0.0.1", "ack_timeout_s": 0.3, **(options or {})}
    connections = {
        name: ConnectionConfig(
            name=name,
            adapter="hl7v2_mllp",
            site=SITE,
            options={**send, "send_port": port} if port else {},
        )
        for name, port in ports.items()
    }
    settings = replace(gate.config.worker, **{"lane_idle_s": 0.0, **worker})
    config = replace(gate.config, connections=connections, worker=settings)
    async with load_connections(config, clock=clock, verdicts={}) as opened:
        yield replace(gate, config=config, transmitters=opened.transmitters)


def draft(number: int, *, destination: str = PEER, lane: str = "") -> Draft:
    id_ = f"{destination}-{lane}{number}"
    raw = adt("A08", id_)
    return Draft(
        destination=destination, lane=lane, control_id=id_, cause="Message/1", raw=raw,
        patient="Patient/1",
    )  # fmt: skip


async def queue(gate: Gate, *drafts: Draft) -> None:
    """Each in a transaction of its own, like causes that follow one another."""
    for one in drafts:
        async with gate.database.change_found() as (transaction, audit):
            event = await outgoing.queue_in(gate, transaction, one)
            audit.extend([event] if isinstance(event, AuditEvent) else [])


async def work(gate: Gate, clock: FakeClock | None = None, *, steps: int = 1) -> None:
    """A worker that takes up what is due, and goes on after each wait."""
    async with lanes.open_lanes(gate) as held:
        for _ in range(steps):
            await held.start_due()
            await held.drain()
            if clock is not None:
                clock.advance(301)


async def rows(gate: Gate, column: str) -> list[Any]:
    """One column of the outgoing messages, in order."""
    found = await gate.database.fetch("SELECT * FROM outgoing WHERE tenant = $1 ORDER BY id")
    return [row[column] for row in found]


async def audited(gate: Gate, action: str) -> list[dict[str, Any]]:
    found = await gate.database.fetch(
        "SELECT body FROM audit_event WHERE tenant = $1 AND action = $2 ORDER BY id", action
    )
    return [orjson.loads(row["body"]) for row in found]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)
