"""A sample system that takes HL7 v2 messages and keeps a journal of what they did to it.

It books, orders, files and reports by the placer's number, answers in original or enhanced mode,
knows a control id again if it is told to, and can fail on demand. A sink is judged by its journal.

    python -m chartgate.demo.receiver --port 2576 --fault say_nothing
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256

from chartgate.clock import Clock, utc_now
from chartgate.formats.hl7v2 import MalformedMessage, Message, parse, read_header
from chartgate.formats.hl7v2_ack import (
    REQUIRED_MISSING,
    UNSUPPORTED_EVENT,
    AckCode,
    Complaint,
    acknowledge,
    application_ack,
    conditions_of,
    control_id_of,
)
from chartgate.formats.hl7v2_answer import read_answer
from chartgate.formats.mllp import Deframer, frame

# Where each message names what it is about: a segment and a field.
NUMBERS = {
    "SIU": ("SCH", 1),
    "OML": ("ORC", 2),
    "ORM": ("ORC", 2),
    "MDM": ("TXA", 12),
    "ORU": ("OBR", 3),
    "ADT": ("PID", 3),
}
CALLS_OFF = frozenset({"SIU^S15", "MDM^T11"})
MESSAGE_BYTES_MAX = 1024 * 1024
FAULTS = (
    "refuse",  # AE, and nothing is done
    "reject",  # AR, and nothing is done
    "lose_message",  # the connection is cut before anything is done
    "lose_answer",  # it is done, and the connection is cut without an answer
    "say_nothing",  # it is done, and nothing is said
    "only_take",  # enhanced: safe storage is acknowledged, and the application says nothing
    "answer_another",  # it is done, and the acknowledgement names another message
    "babble",  # it is done, and the answer is no acknowledgement
    "duplicate_key",  # AE for a number that is there already
)


@dataclass(frozen=True, kw_only=True)
class Applied:
    """One thing that a message did."""

    kind: str  # "SIU^S12"
    number: str  # of the placer, or the patient's
    control_id: str
    called_off: bool


@dataclass(kw_only=True)
class MessageReceiver:
    """What it holds, and how it behaves."""

    clock: Clock
    port: int = 0
    recognises: bool = True  # a control id that it had before, and the answer that it gave then
    faults: list[str] = field(default_factory=list)  # of FAULTS, one a message, in order
    journal: list[Applied] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    accepted: list[str] = field(
        default_factory=list
    )  # control ids of our own that came to be known
    on_applied: Callable[[Applied], None] | None = None
    standing: dict[str, str] = field(default_factory=dict)  # by number, the last message about it
    _answers: dict[bytes, bytes] = field(default_factory=dict)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _ended: set[asyncio.Event] = field(default_factory=set)

    def applied(self, number: str, kind: str = "") -> list[Applied]:
        """What was done to one thing, by any message or by one kind."""
        return [one for one in self.journal if one.number == number and kind in ("", one.kind)]

    def stands(self, number: str) -> bool:
        """Whether it is there and was not called off."""
        return number in self.standing and self.standing[number] == ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        deframer = Deframer(size_bytes_max=MESSAGE_BYTES_MAX)
        ended = asyncio.Event()
        self._writers.add(writer)
        self._ended.add(ended)
        with suppress(OSError):
            while chunk := await reader.read(65_536):
                for found in deframer.feed(chunk):
                    if not self._take(found.content, writer):
                        writer.transport.abort()
        self._writers.discard(writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        self._ended.discard(ended)
        ended.set()

    async def hang_up(self) -> None:
        """Cuts every connection; they are gone on return."""
        for writer in tuple(self._writers):
            writer.transport.abort()
        for ended in tuple(self._ended):
            await ended.wait()

    def _take(self, raw: bytes, writer: asyncio.StreamWriter) -> bool:
        """False: the connection is to be cut."""
        if (answer := read_answer(raw)) is not None:
            self.accepted.append(answer.control_id.decode())
            return True
        self.received.append(raw)
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "lose_message":
            return False
        answers = self._answered(raw, fault)
        if fault == "lose_answer":
            return False
        if fault == "babble":
            answers = [b"MSH|^~\\&|what|is|this\r"]
        if fault == "answer_another":
            control_id = _header(raw, 10)
            answers = [one.replace(control_id, b"ANOTHER") for one in answers]
        if fault == "only_take":
            answers = answers[:1]
        if fault != "say_nothing":
            for one in answers:
                writer.write(frame(one))
        return True

    def _answered(self, raw: bytes, fault: str) -> Sequence[bytes]:
        header = read_header(raw)
        assert header is not None, "the sink writes headers"
        control_id = header.field(10)
        conditions = conditions_of(header)
        if self.recognises and control_id in self._answers:
            last = self._answers[control_id]
        else:
            code, complaint = self._apply(raw, fault)
            made = {"control_id": control_id_of(sha256(raw).digest()), "at": self.clock()}
            if conditions is None:
                last = acknowledge(header, code, complaint=complaint, **made)  # type: ignore[arg-type]
            else:
                assert code in ("AA", "AE", "AR")
                last = application_ack(
                    header, code, digest=sha256(raw).digest(), at=self.clock(), complaint=complaint
                )
            self._answers[control_id] = last
        if conditions is None:
            return [last]
        first = acknowledge(
            header,
            "CA",
            control_id=control_id_of(sha256(b"accept" + raw).digest()),
            at=self.clock(),
            complaint=None,
        )
        return [first, last]

    def _apply(self, raw: bytes, fault: str) -> tuple[AckCode, Complaint | None]:
        if fault == "refuse":
            return "AE", Complaint(code=REQUIRED_MISSING, sentence="it is refused on demand")
        if fault == "reject":
            return "AR", None
        if fault == "duplicate_key":
            return "AE", Complaint(code="205", sentence="it is there already")
        try:
            message = parse(raw)
        except MalformedMessage:
            return "AE", Complaint(code=REQUIRED_MISSING, sentence="it cannot be read")
        kind = message.message_type
        place = NUMBERS.get(kind.partition("^")[0])
        if place is None:
            return "AR", Complaint(code=UNSUPPORTED_EVENT, sentence="it is not for this system")
        number = message.value(*place) or _filler(message, place)
        if not number:
            return "AE", Complaint(code=REQUIRED_MISSING, sentence="it names nothing")
        called_off = kind in CALLS_OFF or _calls_off(message)
        control_id = message.value("MSH", 10) or ""
        done = Applied(kind=kind, number=number, control_id=control_id, called_off=called_off)
        self.journal.append(done)
        if self.on_applied is not None:
            self.on_applied(done)
        self.standing[number] = kind if called_off else ""
        return "AA", None


@asynccontextmanager
async def running_receiver(receiver: MessageReceiver) -> AsyncIterator[MessageReceiver]:
    """The receiver on a port of this machine, or again on the one that it had."""
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", receiver.port)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.hang_up()


def main() -> int:
    """Takes messages until Ctrl-C, and says what each did."""
    parser = argparse.ArgumentParser(prog="python -m chartgate.demo.receiver")
    parser.add_argument("--port", type=int, default=2576, help="on this machine; default: 2576")
    parser.add_argument("--forget", action="store_true", help="apply a control id each time again")
    parser.add_argument(
        "--fault", action="append", choices=FAULTS, default=[], help="one a message"
    )
    arguments = parser.parse_args()
    receiver = MessageReceiver(
        clock=utc_now,
        port=arguments.port,
        recognises=not arguments.forget,
        faults=arguments.fault,
        on_applied=lambda done: print(f"{done.kind} {done.control_id}: applied", flush=True),
    )
    try:
        asyncio.run(_take_until_stopped(receiver))
    except OSError as error:
        print(f"port {arguments.port} cannot be had: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


async def _take_until_stopped(receiver: MessageReceiver) -> None:
    async with running_receiver(receiver):
        print(f"takes HL7 v2 on port {receiver.port}", flush=True)
        await asyncio.Event().wait()


def _header(raw: bytes, number: int) -> bytes:
    header = read_header(raw)
    return header.field(number) if header else b""


def _filler(message: Message, place: tuple[str, int]) -> str | None:
    """The number of our own, where the placer's is not there."""
    segment, number = place
    return message.value(segment, number + 1) if segment in ("SCH", "ORC") else None


def _calls_off(message: Message) -> bool:
    results = [segment.value(11) for segment in message.segments("OBX")]
    withdrawn = message.message_type.startswith("ORU") and results and set(results) <= {"D", "W"}
    return message.value("ORC", 1) == "CA" or bool(withdrawn)


if __name__ == "__main__":
    sys.exit(main())
