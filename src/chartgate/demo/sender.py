"""Sends HL7 v2 messages over MLLP and waits for their acknowledgements.

A message without an answer in time is sent again with the same bytes, thus the same control id,
after the connection has been closed; so is what was under way when a connection broke. Acks come
in the order of the messages on their connection. `python -m chartgate.demo.sender --help` sends
from the sample hospital or from files; `send_all` is the same for tests and benchmarks.
"""

import argparse
import asyncio
import hashlib
import json
import sys
import time
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from datetime import time as day_time
from pathlib import Path
from typing import Any, cast

import uvloop

from chartgate.clock import utc_now
from chartgate.demo.hl7v2_render import Envelope, render_adt, render_siu
from chartgate.demo.hl7v2_stream import material_of, messages_of, renumbered, stream
from chartgate.demo.hospital.chart import Chart
from chartgate.demo.hospital.population import sample_patients
from chartgate.errors import ChartgateError

VT, END = b"\x0b", b"\x1c\r"
ACCEPTED = ("AA", "CA")
REFUSED = b"AR"
NONE_ASKED = "none asked"  # in the counts, beside the codes of answers
CONTROL_ID, ACCEPT_ACK, APPLICATION_ACK = 10, 15, 16  # of MSH
RECONNECT_S = (0.05, 0.1, 0.2, 0.5)  # then the last one again and again


@dataclass(frozen=True, slots=True)
class Ack:
    """One answer: MSA-2, MSA-1, and SHA-256 of the message it is for."""

    control_id: str
    code: str
    digest: str
    latency_s: float


@dataclass(slots=True, kw_only=True)
class SendReport:
    """What came of it. `acks` are (control id, code); latencies are in seconds, in ack order."""

    acks: list[tuple[bytes, bytes]] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    sent: int = 0  # messages, each once
    resent: int = 0
    refused: int = 0  # answers AR after which the message was sent again
    unanswered: int = 0
    elapsed_s: float = 0.0

    @property
    def accepted(self) -> int:
        return sum(self.codes[code] for code in ACCEPTED)

    def shown(self) -> dict[str, Any]:
        """The summary as JSON."""
        ordered = sorted(self.latencies)
        return {
            "sent": self.sent,
            "accepted": self.accepted,
            "codes": dict(sorted(self.codes.items())),
            "refused": self.refused,
            "unanswered": self.unanswered,
            "resent": self.resent,
            "elapsed_s": round(self.elapsed_s, 3),
            "per_s": round(len(ordered) / self.elapsed_s, 1) if self.elapsed_s else 0.0,
            "latency_ms": {
                name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 3)
                for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
                if ordered
            },
        }


@dataclass(slots=True, kw_only=True)
class Sending:
    """What all connections of one run share."""

    messages: Iterator[bytes]
    window: int
    timeout_s: float
    give_up_s: float
    pause_s: float  # between two messages of one connection; 0: none
    on_ack: Callable[[Ack], None] | None
    insist: bool
    report: SendReport
    heard_at: float = field(default_factory=time.perf_counter)  # any answer, on any connection


async def send_all(
    messages: Iterable[bytes],
    host: str,
    port: int,
    connections: int,
    window: int = 1,
    *,
    timeout_s: float = 10.0,
    give_up_s: float = 60.0,
    rate: float = 0.0,
    on_ack: Callable[[Ack], None] | None = None,
    insist: bool = False,
) -> SendReport:
    """Sends every message and waits for every answer.

    `window` is how many one connection has under way; `rate` is messages a second in all, 0 for as
    fast as it goes. After `give_up_s` without any answer what is left counts as unanswered. With
    `insist`, AR (the receiver cannot now) counts as none: the message goes again, on a new
    connection.
    """
    sending = Sending(
        messages=iter(messages),
        window=window,
        timeout_s=timeout_s,
        give_up_s=give_up_s,
        pause_s=connections / rate if rate else 0.0,
        on_ack=on_ack,
        insist=insist,
        report=SendReport(),
    )
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_run_line(sending, host, port))
    sending.report.elapsed_s = time.perf_counter() - started
    return sending.report


async def _run_line(sending: Sending, host: str, port: int) -> None:
    """One connection after another until nothing is left to send or to hear."""
    loop = asyncio.get_running_loop()
    unanswered: deque[bytes] = deque()
    attempt = 0
    while True:
        line = Line(sending, unanswered)
        try:
            async with asyncio.timeout(sending.timeout_s):
                await loop.create_connection(lambda line=line: line, host, port)  # type: ignore[misc]
            answered = await line.closed
            if line.exhausted and not line.under_way:
                return
            attempt = 0 if answered else attempt + 1
        except (OSError, TimeoutError):
            attempt += 1
        unanswered = line.left()
        if time.perf_counter() - sending.heard_at > sending.give_up_s:
            sending.report.unanswered += len(unanswered)
            return
        await asyncio.sleep(RECONNECT_S[min(attempt, len(RECONNECT_S) - 1)])


class Line(asyncio.Protocol):
    """One MLLP connection. `closed` tells how many answers it had when it ends."""

    def __init__(self, sending: Sending, again: deque[bytes]) -> None:
        self.sending = sending
        self.again = again
        self.under_way: deque[tuple[bytes, float]] = deque()
        self.exhausted = False
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers = 0
        self._unawaited: set[bytes] = set()
        self._refused = False  # what comes behind an answer AR is not listened to
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next_at = 0.0

    def left(self) -> deque[bytes]:
        """What has no answer yet, oldest first."""
        return deque([*(message for message, _ in self.under_way), *self.again])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._look()
        self._pump()

    def data_received(self, data: bytes) -> None:
        frames = (self._buffer + data).split(END)
        self._buffer = frames.pop()
        for frame in frames:
            if not self._refused:
                self._answered(frame)
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        for handle in (self._watch, self._timer):
            if handle is not None:
                handle.cancel()
        if not self.closed.done():
            self.closed.set_result(self._answers)

    def _pump(self) -> None:
        """Sends as long as the window has room; hangs up when all is said and answered."""
        assert self._transport is not None
        sending = self.sending
        if self._refused or (sending.pause_s and not self._is_time()):
            return
        written = []
        while len(self.under_way) < sending.window:
            if self.again:
                message = self.again.popleft()
                sending.report.resent += 1
            else:
                following = next(sending.messages, None)
                if following is None:
                    self.exhausted = True
                    break
                message = following
                sending.report.sent += 1
            written.append(VT + message + END)
            if asks_for_an_answer(message):
                self.under_way.append((message, time.perf_counter()))
            else:
                self._not_awaited(message)
            if sending.pause_s:
                break
        if written:
            self._transport.write(b"".join(written))
        elif self.exhausted and not self.under_way:
            self._transport.close()

    def _not_awaited(self, message: bytes) -> None:
        """Its sender asks for no answer, or only for a bad one: it is not waited for."""
        self._unawaited.add(_field(message, CONTROL_ID))
        self.sending.heard_at = time.perf_counter()
        self.sending.report.codes[NONE_ASKED] += 1

    def _is_time(self) -> bool:
        """Whether the rate allows a message now; wakes up again when it does."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        due = now >= self._next_at
        if due:
            self._next_at = max(self._next_at + self.sending.pause_s, now)
        if self._timer is None:
            self._timer = loop.call_at(self._next_at, self._wake)
        return due

    def _wake(self) -> None:
        self._timer = None
        if not self.closed.done():
            self._pump()

    def _answered(self, frame: bytes) -> None:
        now = time.perf_counter()
        at = frame.find(b"\rMSA")
        fields = frame[at + 4 : frame.find(b"\r", at + 1)].split(frame[at + 4 : at + 5] or b"|")
        if at < 0 or len(fields) < 3:
            return  # no acknowledgement: the time-out will tell
        code, control_id = fields[1], fields[2]
        if control_id in self._unawaited:
            self.sending.report.codes[NONE_ASKED] -= 1
            self.sending.report.codes[code.decode("ascii", "replace")] += 1
            return
        if not self.under_way:
            return
        message, sent_at = self.under_way.popleft()
        report = self.sending.report
        if code == REFUSED and self.sending.insist:
            report.refused += 1
            self._refused = True
            self.under_way.appendleft((message, sent_at))  # first again: messages keep their order
            assert self._transport is not None
            self._transport.abort()
            return
        self._answers += 1
        self.sending.heard_at = now
        report.latencies.append(now - sent_at)
        report.acks.append((control_id, code))
        report.codes[code.decode("ascii", "replace")] += 1
        if self.sending.on_ack is not None:
            digest = hashlib.sha256(message).hexdigest()
            text = control_id.decode("latin-1")
            self.sending.on_ack(Ack(text, code.decode("latin-1"), digest, now - sent_at))

    def _look(self) -> None:
        """Hangs up if the oldest message has waited too long; it is then sent again."""
        timeout_s = self.sending.timeout_s
        now = time.perf_counter()
        if self.under_way and now - self.under_way[0][1] > timeout_s:
            assert self._transport is not None
            self._transport.abort()
            return
        self._watch = asyncio.get_running_loop().call_later(timeout_s / 4, self._look)


def asks_for_an_answer(message: bytes) -> bool:
    """Whether an answer will come in any case: original mode, or enhanced with MSH-15 AL.
    Source: HL7 v2.9 section 2.9.3."""
    accept, application = _field(message, ACCEPT_ACK), _field(message, APPLICATION_ACK)
    return accept == b"AL" or not (accept or application)


def _field(message: bytes, number: int) -> bytes:
    """MSH-`number` of a message, as it stands there."""
    fields = message.lstrip().partition(b"\r")[0].split(message.lstrip()[3:4] or b"|")
    return fields[number - 1] if number <= len(fields) else b""


@contextmanager
def ack_journal(file: Path) -> Iterator[Callable[[Ack], None]]:
    """Appends each answer to a file as a JSON line, written before the next message goes."""
    with file.open("a", encoding="utf-8", buffering=1) as out:

        def note(ack: Ack) -> None:
            line = {"control_id": ack.control_id, "code": ack.code, "sha256": ack.digest}
            out.write(json.dumps(line) + "\n")

        yield note


def one_of_hospital(url: str, trigger: str, reference: str, *, control_id: str) -> bytes:
    """One message about a resource of a running sample hospital.

    A01, A04, A08: `reference` is a Patient or Encounter; A03: an Encounter; S12, S14, S15: an
    Appointment. Without one, the scenario's: the booking patient, or the visit for A03.
    """
    scenario = _control(url, "scenario") or {}
    if not reference:
        reference = scenario["visit" if trigger == "A03" else "booking_patient"]
    envelope = Envelope(control_id=control_id, at=utc_now())
    resource = _control(url, f"resource?reference={reference}")
    if resource["resourceType"] == "Patient":
        return render_adt(trigger, resource, envelope=envelope)
    links = [p.get("actor") or {} for p in resource.get("participant", ())]
    links.append(resource.get("subject") or {})
    people = [link.get("reference", "") for link in links]
    owner = next((r for r in people if r.startswith("Patient/")), "")
    patient = _control(url, f"resource?reference={owner}")
    if resource["resourceType"] == "Appointment":
        return render_siu(trigger, resource, patient, envelope=envelope)
    return render_adt(trigger, patient, envelope=envelope, encounter=resource)


def _control(url: str, path: str) -> Any:
    with urllib.request.urlopen(f"{url}/control/{path}", timeout=10) as answer:
        return json.load(answer)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a summary as JSON. Exit status 0 if every message was answered."""
    options = parse(arguments)
    try:
        messages = chosen(options)
    except (ChartgateError, OSError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    with ack_journal(options.journal) if options.journal else nullcontext() as on_ack:
        report = uvloop.run(
            send_all(
                messages,
                options.host,
                options.port,
                options.connections,
                options.window,
                timeout_s=options.timeout,
                give_up_s=options.give_up,
                rate=options.rate,
                on_ack=on_ack,
                insist=options.insist,
            )
        )
    print(json.dumps(report.shown()))
    return 1 if report.unanswered else 0


def chosen(options: argparse.Namespace) -> Iterable[bytes]:
    """The messages that the command line asks for. Raises ConfigError."""
    if options.file:
        messages = [message for path in options.file for message in messages_of(path)]
        return renumbered(messages) if options.renumber else messages
    if options.trigger:
        control_id = options.control_id or f"{options.trigger}-{time.time_ns()}"
        reference = options.reference
        return [
            one_of_hospital(options.hospital, options.trigger, reference, control_id=control_id)
        ]
    chart = Chart(clock=utc_now)
    sample_patients(today=options.today, seed=options.seed)(chart)
    day = options.today or utc_now().date()
    at = datetime.combine(day, day_time(8), tzinfo=UTC)
    prefix = options.prefix
    return stream(material_of(chart), count=options.count, at=at, seed=options.seed, prefix=prefix)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m chartgate.demo.sender", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--window", type=int, default=1, help="messages under way a connection")
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second; 0: all it can")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds to wait for an answer")
    parser.add_argument("--give-up", type=float, default=60.0, help="seconds without any answer")
    parser.add_argument("--insist", action="store_true", help="send again what is answered AR")
    parser.add_argument("--journal", type=Path, help="append each answer to this file")
    parser.add_argument("--count", type=int, default=100, help="messages of the sample hospital")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prefix", default="", help="of the control ids")
    parser.add_argument("--today", type=date.fromisoformat, help="the clinic's day, YYYY-MM-DD")
    parser.add_argument(
        "--file", type=Path, action="append", help=".jsonl, .hl7 or .txt, or a folder of them"
    )
    parser.add_argument(
        "--renumber", action="store_true", help="give each message of a file its own control id"
    )
    parser.add_argument("--trigger", choices=("A01", "A03", "A04", "A08", "S12", "S14", "S15"))
    parser.add_argument("--hospital", default="http://127.0.0.1:8490", help="for --trigger")
    parser.add_argument("--reference", default="", help='for --trigger, e.g. "Patient/N1004"')
    parser.add_argument("--control-id", default="", help="for --trigger")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
