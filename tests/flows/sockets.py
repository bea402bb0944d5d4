"""A feed on a real socket before a real store, and a sender that says what it got."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from chartgate.adapters.loader import load_feeds
from chartgate.config import MllpConfig
from chartgate.flows import intake
from chartgate.formats.hl7v2_batch import is_batch, split_batch
from chartgate.formats.mllp import frame
from chartgate.gate import Gate

ANSWER_WITHIN_S = 20.0
CLOSED = "closed"


@dataclass(kw_only=True)
class Sender:
    """One connection to the feed."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, raw: bytes) -> str:
        """MSA-1 of the answer to one message."""
        self.writer.write(frame(raw))
        return code(await self.answer())

    async def answer(self) -> bytes:
        """The next answer; b"" once the feed has closed."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return (await self.reader.readuntil(b"\x1c\r"))[1:-2]
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def send(self, *chunks: bytes, hang_up: bool = False) -> list[str]:
        """Sends bytes as they are, then hears the feed out: the codes of its answers, and CLOSED
        where it ends the connection. An answer that keeps it open is the last that is awaited."""
        for chunk in chunks:
            self.writer.write(chunk)
        if hang_up:
            self.writer.write_eof()
        found: list[str] = []
        while True:
            answer = await self.answer()
            if not answer:
                return [*found, CLOSED]
            found.append(code(answer))
            if not hang_up and not await self._is_closed():
                return found

    async def _is_closed(self) -> bool:
        """Told by a good message, which only an open connection answers."""
        self.writer.write(frame(PROBE))
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return not await self.reader.readuntil(b"\x1c\r")
        except (asyncio.IncompleteReadError, ConnectionError):
            return True

    def close(self) -> None:
        self.writer.close()


PROBE = b"MSH|^~\\&|ADT1|NORTH|CHARTGATE|NORTH|20240102030405||ADT^A01|PROBE|P|2.5\rPID|1||1\r"


def code(answer: bytes) -> str:
    """MSA-1 of an ACK; of a batch of them all, joined."""
    if is_batch(answer):
        return " ".join(code(one) for one in split_batch(answer).messages)
    [line] = [line for line in answer.split(b"\r") if line.startswith(b"MSA")]
    return line.split(line[3:4])[1].decode()


@asynccontextmanager
async def serving(gate: Gate, **limits: float) -> AsyncIterator[int]:
    """The feeds of the gate on a port of their own."""
    mllp = MllpConfig(**{"port": 0, **limits})  # type: ignore[arg-type]
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    served = replace(gate, config=replace(gate.config, mllp=mllp))
    async with load_feeds(gate.config, clock=gate.clock) as feeds:
        task = asyncio.create_task(
            intake.listen(served, feeds, ready=lambda _, number: port.set_result(number))
        )
        try:
            yield await port
        finally:
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def sender_to(port: int) -> AsyncIterator[Sender]:
    """One connection, closed at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sender = Sender(reader=reader, writer=writer)
    try:
        yield sender
    finally:
        sender.close()
