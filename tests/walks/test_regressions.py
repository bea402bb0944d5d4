"""What other engines got wrong, held against the intake: each test is named after the report."""

import asyncio
from pathlib import Path

import pytest

from chartgate.formats.hl7v2_batch import split_batch
from chartgate.formats.mllp import frame
from chartgate.gate import Gate
from chartgate.store.database import Database
from chartgate.store.inbox import InboxStore
from chartgate.store.quarantine import QuarantineStore
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt, header, message, patient
from tests.flows.feeds import feed_gate
from tests.flows.sockets import CLOSED, code, sender_to, serving


@pytest.fixture
def gate(database: Database, clock: FakeClock, tmp_path: Path) -> Gate:
    return feed_gate(database, clock, tmp_path)


async def control_ids(gate: Gate) -> list[str]:
    query = "SELECT control_id FROM inbox WHERE tenant = $1 ORDER BY id"
    return [row["control_id"] for row in await gate.database.fetch(query)]


async def test_m01_mirth_2027_answer_waits_for_the_commit(gate: Gate) -> None:
    """No byte of an answer while the insert cannot commit; and then the row is there."""
    async with serving(gate) as port, sender_to(port) as sender:
        async with gate.database.connection() as holder, holder.transaction():
            await holder.execute("LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE")
            sender.writer.write(frame(adt(control_id="1")))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await sender.reader.read(1)
        assert code(await sender.answer()) == "AA"
        assert await control_ids(gate) == ["1"]


async def test_m02_mirth_1441_sender_that_gave_up_and_sent_again_is_taken_once(gate: Gate) -> None:
    """The first answer comes when nobody waits for it any more; the second is the same."""
    async with serving(gate) as port:
        async with gate.database.connection() as holder, holder.transaction():
            await holder.execute("LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE")
            async with sender_to(port) as first:
                first.writer.write(frame(adt(control_id="1")))
                await first.writer.drain()
            async with sender_to(port) as second:
                second.writer.write(frame(adt(control_id="1")))
                await second.writer.drain()
        async with sender_to(port) as third:
            assert await third.ask(adt(control_id="1")) == "AA"
    assert await control_ids(gate) == ["1"]


async def test_m03_mirth_1314_same_control_id_gets_the_same_answer(
    gate: Gate, clock: FakeClock
) -> None:
    async with serving(gate) as port, sender_to(port) as sender:
        sender.writer.write(frame(adt(control_id="1")))
        first = await sender.answer()
        clock.advance(86_400 * 40)
        sender.writer.write(frame(adt(control_id="1")))
        assert await sender.answer() == first
        assert await sender.ask(adt(control_id="1", mrn="2002")) == "AE"
    assert await control_ids(gate) == ["1"]


async def test_m04_mirth_1682_message_that_is_refused_holds_up_none_behind_it(gate: Gate) -> None:
    """On its own connection, with all sent before the first answer is read."""
    refused = message(header(control_id=""), patient())
    stream = [adt(control_id="1"), refused, adt(control_id="2"), refused, adt(control_id="3")]
    async with serving(gate) as port, sender_to(port) as sender:
        sender.writer.write(b"".join(map(frame, stream)))
        codes = [code(await sender.answer()) for _ in stream]
    assert codes == ["AA", "AR", "AA", "AR", "AA"]
    assert await control_ids(gate) == ["1", "2", "3"]


async def test_m05_mirth_1664_sender_that_reads_nothing_holds_up_no_other(gate: Gate) -> None:
    async with serving(gate, in_flight_max=4) as port, sender_to(port) as deaf:
        deaf.writer.write(b"".join(frame(adt(control_id=f"d{n}")) for n in range(1000)))
        async with sender_to(port) as other:
            for number in range(20):
                assert await other.ask(adt(control_id=f"o{number}")) == "AA"


async def test_m06_mirth_3410_messages_of_one_connection_keep_their_order(gate: Gate) -> None:
    """Through many commits, beside others who send at the same time."""

    async def send(port: int, name: str) -> None:
        async with sender_to(port) as sender:
            stream = [frame(adt(control_id=f"{name}{n:04}", mrn=name)) for n in range(300)]
            sender.writer.write(b"".join(stream))
            for _ in stream:
                assert code(await sender.answer()) == "AA"

    async with serving(gate, batch_max=7) as port:
        await asyncio.gather(*(send(port, name) for name in "abcd"))
    found = await control_ids(gate)
    for name in "abcd":
        own = [one for one in found if one.startswith(name)]
        assert own == sorted(own)
        assert len(own) == 300


@pytest.mark.parametrize(
    "raw",
    [
        b"MSH|^~\\&\r",
        b"MSH|^~\\&|A",
        b"MSH|\r",
        b"MSH|||||||||\r",
        b"MSH|^~\\&|A|B|C|D|1||ADT^A01|7|P|9\r",
        b"MSH|ABCD|A|B|C|D|1||ADT^A01|7|P|2.5\r",
        b"MSH#^~\\&#A#B#C#D#1##ADT^A01##P#2.5\r",
    ],
)
@pytest.mark.parametrize("report", ["m07_mirth_4382", "m08_mirth_2894"])
async def test_broken_header_is_answered_all_the_same(gate: Gate, raw: bytes, report: str) -> None:
    """m07: the answer is never missing nor empty. m08: what was wrong is kept for a person."""
    async with serving(gate) as port, sender_to(port) as sender:
        assert await sender.ask(raw) in ("AR", "AE")
        assert await sender.ask(adt(control_id="good")) == "AA"
    if report == "m08_mirth_2894":
        assert (await QuarantineStore(gate.database).get(1)).raw == raw


async def test_m09_mirth_510_line_feeds_between_frames_are_no_noise(gate: Gate) -> None:
    stream = b"".join(frame(adt(control_id=f"{n}")) + b"\n" for n in range(2000))
    async with serving(gate) as port, sender_to(port) as sender:
        sender.writer.write(stream)
        codes = {code(await sender.answer()) for _ in range(2000)}
    assert codes == {"AA"}


async def test_m09_mirth_1309_framing_bytes_inside_data_end_no_frame(gate: Gate) -> None:
    raw = adt().replace(b"Ada", b"A\x1cd\x0ba")
    async with serving(gate) as port, sender_to(port) as sender:
        assert await sender.ask(raw) == "AA"
    assert await InboxStore(gate.database).raw(1) == raw


async def test_m11_medplum_8122_frame_without_an_end_is_not_kept_in_silence(gate: Gate) -> None:
    """The next message, on a new connection, is not glued to it."""
    async with serving(gate, idle_timeout_s=0.2) as port:
        async with sender_to(port) as sender:
            assert await sender.send(frame(adt())[:-2]) == [CLOSED]
        async with sender_to(port) as sender:
            assert await sender.ask(adt(control_id="2")) == "AA"
    assert await control_ids(gate) == ["2"]
    kept = await QuarantineStore(gate.database).get(1)
    assert (kept.reason_class, kept.raw) == ("truncated", adt())


async def test_batch_when_the_storage_is_gone_is_acknowledged_in_no_part(gate: Gate) -> None:
    raw = b"BHS|^~\\&|LAB|N|US|H|1||||B1\r" + adt(control_id="1") + adt(control_id="2") + b"BTS|2\r"
    async with serving(gate) as port, sender_to(port) as sender:
        sender.writer.write(frame(raw))
        answer = await sender.answer()
        assert [code(one) for one in split_batch(answer).messages] == ["AA", "AA"]
        await gate.database.close()
        assert await sender.ask(raw) == "AR"


async def test_numbered_feed_stops_at_a_gap_over_the_socket(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    def numbered(number: int) -> bytes:
        return adt(control_id=f"n{number}").replace(b"|P|2.5\r", b"|P|2.5|%d\r" % number)

    gate = feed_gate(database, clock, tmp_path, sequence=True)
    async with serving(gate) as port, sender_to(port) as sender:
        assert [await sender.ask(numbered(n)) for n in (1, 2, 4, 3, 4)] == [
            "AA",
            "AA",
            "AE",
            "AA",
            "AA",
        ]
    assert await InboxStore(gate.database).counts() == {"queued": 4}
    query = "SELECT reason_class FROM quarantine WHERE tenant = $1"
    assert [row["reason_class"] for row in await gate.database.fetch(query)] == ["sequence"]
