"""The poison set through real sockets: each answered by the right code, its bytes kept where they
can be, audited once, and nobody else disturbed."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from chartgate.formats.mllp import frame
from chartgate.gate import Gate
from chartgate.store.database import Database
from chartgate.store.quarantine import QuarantineStore
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt, header, message, patient
from tests.flows.feeds import feed_gate
from tests.flows.sockets import CLOSED, sender_to, serving

MIB = 1024 * 1024
BHS = b"BHS|^~\\&|LAB|NORTH|CHARTGATE|HERE|20240102||||B1\r"


def altered(**changes: str) -> bytes:
    """An ADT whose header has these fields, e.g. m9=""; MSH-n is m{n}."""
    fields = header().split("|")
    for name, value in changes.items():
        fields[int(name[1:]) - 1] = value
    return message("|".join(fields), patient())


@dataclass(frozen=True)
class Poison:
    """What is sent, and what must come of it. `kept` are the bytes in the quarantine, of the
    class `reason_class`; "" for what is taken."""

    sent: bytes
    said: list[str]
    reason_class: str
    kept: bytes | None = None
    hang_up: bool = False


def framed(raw: bytes, said: str, reason_class: str = "") -> Poison:
    """One whole frame, whose connection stays open."""
    return Poison(frame(raw), [said], reason_class, raw)


def cut(raw: bytes, *, hang_up: bool) -> Poison:
    return Poison(b"\x0b" + raw, [CLOSED], "truncated", raw, hang_up)


HUGE = adt() + b"NTE|1||" + b"x" * (17 * MIB)
WIDE = "MSH|^~\\&|A".encode("utf-16-le")
NOISE = b"GET / HTTP/1.1\r\n\r\n" * 100

POISONS = {
    "truncated by hanging up": cut(adt()[:100], hang_up=True),
    "truncated and held open": cut(adt()[:100], hang_up=False),
    "truncated in its header": cut(b"MS", hang_up=True),
    "noise": Poison(NOISE, [CLOSED], "noise", NOISE.translate(None, b"\r\n")[:1024]),
    "17 MiB": Poison(frame(HUGE), ["AR", CLOSED], "too large", HUGE[: 64 * 1024]),
    "17 MiB without a header": Poison(
        frame(b"x" * (17 * MIB)), [CLOSED], "too large", b"x" * (64 * 1024)
    ),
    "17 MiB that never end": Poison(b"\x0b" + HUGE, ["AR", CLOSED], "too large", HUGE[: 64 * 1024]),
    "1e5 segments": framed(adt() + b"NTE|1||x\r" * 100_000, "AA"),
    "second header": framed(adt() + adt(control_id="2"), "AE", "structure"),
    "second header after a line feed": framed(adt() + b"\n" + adt(), "AE", "structure"),
    "second frame's start inside": framed(adt() + b"\x0b" + adt(), "AE", "structure"),
    "unterminated escapes": framed(adt().replace(b"Ada", rb"A\F\X0\Zd\a"), "AA"),
    "escapes that decode to a frame's end": framed(adt().replace(b"Ada", rb"A\X1C0D0B\a"), "AA"),
    "bytes of no character set": framed(adt().replace(b"Ada", b"\xc3("), "AE", "charset"),
    "unknown character set": framed(
        adt().replace(b"|P|2.5\r", b"|P|2.5||||||KLINGON\r"), "AE", "charset"
    ),
    "UTF-16": Poison(frame(WIDE), [CLOSED], "header", WIDE),
    "NUL": framed(adt().replace(b"Ada", b"A\x00a"), "AE", "structure"),
    "MSH-2 of letters": framed(altered(m2="ABCD"), "AE", "header"),
    "MSH-2 of one letter among marks": framed(altered(m2="^~\\A"), "AE", "header"),
    "MSH-1 of a letter": Poison(frame(b"MSHAB"), [CLOSED], "header", b"MSHAB"),
    "wrong trigger": framed(altered(m9="ADT^{A01}"), "AR", "header"),
    "wrong type": framed(altered(m9="{{message}}"), "AR", "header"),
    "no MSH-9": framed(altered(m9=""), "AR", "header"),
    "no MSH-10": framed(altered(m10=""), "AR", "header"),
    "neither MSH-9 nor MSH-10": framed(b"MSH|^~\\&\r", "AR", "header"),
    "MSH-10 of 200": framed(altered(m10="x" * 200), "AE", "header"),
    "T into P": framed(altered(m11="T"), "AR", "header"),
    "version 3": framed(altered(m12="3.0"), "AR", "header"),
    "empty frame": Poison(frame(b""), [CLOSED], "header", b""),
    "another protocol in a frame": Poison(frame(b"hello"), [CLOSED], "header", b"hello"),
    "empty batch": framed(BHS + b"BTS|0\r", "AE", "batch"),
    "batch that counts more": framed(BHS + adt() + b"BTS|2\r", "AE", "batch"),
    "batch that counts less": framed(BHS + adt() + adt() + b"BTS|1\r", "AE", "batch"),
    "batch without an end": framed(BHS + adt(), "AE", "batch"),
    "batch with one wrong message": Poison(
        frame(BHS + adt(control_id="b1") + altered(m10="") + b"BTS|2\r"),
        ["AA AR"],
        "header",
        altered(m10=""),
    ),
}


@pytest.fixture
def gate(database: Database, clock: FakeClock, tmp_path: Path) -> Gate:
    return feed_gate(database, clock, tmp_path)


@pytest.mark.parametrize("name", POISONS)
async def test_poison_is_answered_kept_and_audited_once(gate: Gate, name: str) -> None:
    """Two others go on: one that was there before, and one that comes right after."""
    poison = POISONS[name]
    async with serving(gate, idle_timeout_s=0.2) as port, sender_to(port) as other:
        assert await other.ask(adt(control_id="before")) == "AA"
        async with sender_to(port) as sender:
            assert await sender.send(poison.sent, hang_up=poison.hang_up) == poison.said
        assert await other.ask(adt(control_id="after")) == "AA"
        async with sender_to(port) as third:
            assert await third.ask(adt(control_id="new")) == "AA"
    rows = await gate.database.fetch(
        "SELECT id, reason_class, count, reason FROM quarantine WHERE tenant = $1"
    )
    audited = await gate.database.fetch_value(
        "SELECT count(*) FROM audit_event WHERE tenant = $1 AND action = 'message.quarantine'"
    )
    if not poison.reason_class:
        assert (rows, audited) == ([], 0)
        return
    [row] = rows
    assert (row["reason_class"], row["count"], audited) == (poison.reason_class, 1, 1)
    assert (await QuarantineStore(gate.database).get(row["id"])).raw == poison.kept
    assert row["reason"]
