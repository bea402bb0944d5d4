"""What each answer says of a write, and what is never sent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from chartgate.adapters.hl7v2_mllp.adapter import MllpFeed
from chartgate.adapters.hl7v2_mllp.sink import LANES
from chartgate.errors import OutcomeUnknown, Throttled, WriteRefused
from chartgate.formats.mllp import frame
from chartgate.model.ports import Messenger, Sink, Transmitter
from chartgate.model.resource import Copy
from chartgate.model.write import (
    Change,
    Receipt,
    Write,
    receipt_bytes,
    receipt_from,
    write_bytes,
    write_from,
)
from chartgate.testing.clock import FakeClock
from tests.flows.destinations import Receiver, ack, receiving, until
from tests.testing.sinks import opened, with_message
from tests.transform.hl7v2_out.told import appointment

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
Open = Callable[..., AbstractAsyncContextManager[tuple[MllpFeed, Receiver]]]


@pytest.fixture
def sink_to(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def opening(**options: Any) -> AsyncIterator[tuple[MllpFeed, Receiver]]:
        async with receiving(Receiver()) as receiver:
            async with opened(tmp_path, FakeClock(AT), receiver.port, **options) as sink:
                yield sink, receiver
            await receiver.hang_up()

    return opening


def booking(marker: str = "") -> Write:
    change = Change(interaction="create", resource_type="Appointment", resource=appointment())
    return with_message(Write(marker=marker or str(uuid4()), changes=(change,)), AT)


def application(code: str, *, asks: str = "AL") -> Callable[[bytes], bytes]:
    """CA, and then what the application says, as a message of its own."""

    def reply(raw: bytes) -> bytes:
        second = ack(code)(raw).replace(b"|P|2.5", f"|P|2.5|||{asks}|NE".encode())
        return ack("CA")(raw) + second

    return reply


async def test_adapter_is_a_sink_that_is_told_by_messages(sink_to: Open) -> None:
    async with sink_to() as (sink, _):
        assert isinstance(sink, Sink)
        assert isinstance(sink, Messenger)
        assert isinstance(sink, Transmitter)


async def test_aa_is_a_receipt_that_names_the_message(sink_to: Open) -> None:
    async with sink_to() as (sink, receiver):
        write = booking("p-1")
        receipt = await sink.commit(write)
        assert write.message is not None
        assert receiver.messages == [write.message.raw]
        [effect] = receipt.effects
        assert effect.reference == "Appointment?identifier=urn:chartgate:proposal|p-1"
        assert (effect.version_before, effect.version_after) == (None, write.message.control_id)
        assert (receipt.said, receipt.resolved, receipt.at) == ("AA", False, AT)
        assert sink.differences(write, receipt, ()) == []
        assert receipt_from(receipt_bytes(receipt)) == receipt
        assert write_from(write_bytes(write)) == write


@pytest.mark.parametrize("code", ["AE", "AR", "CE", "CR"])
@pytest.mark.parametrize("mode", ["original", "enhanced"])
async def test_refusal_is_told_by_its_codes_alone(sink_to: Open, code: str, mode: str) -> None:
    more = "ERR||PID^1^5|101^Required^HL70357|E||||Mrs O'Hara has no date of birth\r"
    async with sink_to(ack_mode=mode) as (sink, receiver):
        receiver.reply = ack(code, more=more)
        with pytest.raises(WriteRefused) as refused:
            await sink.commit(booking())
        assert f"refused SIU^S12 with {code} (101); nothing was written" in str(refused.value)
        assert "Hara" not in f"{refused.value}{refused.value.operator_detail}"


@pytest.mark.parametrize(
    ("code", "more"),
    [("CA", ""), ("ZZ", ""), ("", ""), ("aa", ""), ("AE", "ERR|||205\r"), ("AR", "ERR|||205\r")],
)
async def test_answer_that_does_not_say_whether_it_was_applied_is_no_receipt(
    sink_to: Open, code: str, more: str
) -> None:
    """205 is a number that is there already: it may be an earlier try of ours."""
    async with sink_to() as (sink, receiver):
        receiver.reply = ack(code, more=more)
        with pytest.raises(OutcomeUnknown, match="does not say whether it was applied"):
            await sink.commit(booking())


@pytest.mark.parametrize("asks", ["AL", "SU"])
async def test_application_is_heard_and_its_acknowledgement_is_acknowledged(
    sink_to: Open, asks: str
) -> None:
    async with sink_to(ack_mode="enhanced") as (sink, receiver):
        receiver.script = [application("AA", asks=asks)]
        assert (await sink.commit(booking())).said == "AA"
        await until(lambda: len(receiver.messages) == 2)
        assert b"MSA|CA|9" in receiver.messages[1]


async def test_application_that_asks_for_nothing_is_answered_nothing(sink_to: Open) -> None:
    async with sink_to(ack_mode="enhanced") as (sink, receiver):
        receiver.script = [application("AA", asks="NE"), application("AA", asks="NE")]
        first = booking()
        await sink.commit(first)
        await sink.commit(first)
        assert len(receiver.messages) == 2


async def test_application_may_say_so_at_once_and_many_writes_share_a_line(sink_to: Open) -> None:
    async with sink_to(ack_mode="enhanced") as (sink, receiver):
        receiver.script = [ack("AA"), application("AE", asks="NE"), application("AA", asks="NE")]
        receiver.reply = ack("CE")
        marker = str(uuid4())
        assert (await sink.commit(booking(marker))).said == "AA"
        with pytest.raises(WriteRefused, match="AE"):
            await sink.commit(booking(marker))
        assert (await sink.commit(booking(marker))).said == "AA"
        with pytest.raises(WriteRefused, match="CE"):
            await sink.commit(booking(marker))
        assert [what for what, _ in receiver.seen].count("open") == 1


async def test_safe_storage_without_the_application_is_not_known(sink_to: Open) -> None:
    async with sink_to(ack_mode="enhanced") as (sink, receiver):
        receiver.reply = ack("CA")
        with pytest.raises(OutcomeUnknown, match="it is in safe storage"):
            await sink.commit(booking())
        await until(lambda: ("closed", 1) in receiver.seen)


async def test_late_answer_of_another_write_is_not_taken_for_this_one(sink_to: Open) -> None:
    async with sink_to() as (sink, receiver):
        receiver.script = [lambda raw: ack("AA", of="ANOTHER")(raw) + ack("AE")(raw)]
        with pytest.raises(WriteRefused, match="AE"):
            await sink.commit(booking())


async def test_nothing_is_sent_again_where_that_is_not_agreed(sink_to: Open) -> None:
    async with sink_to(recognises_duplicates=False) as (sink, receiver):
        with pytest.raises(OutcomeUnknown, match="nothing is sent again"):
            await sink.settle(booking(), last_look=_fine)
        with pytest.raises(OutcomeUnknown, match="nothing can be read"):
            await sink.resolve(booking())
        assert receiver.messages == []


@pytest.mark.parametrize(
    ("code", "more", "found"),
    [("AA", "", "receipt"), ("AE", "", "none"), ("AR", "", "none"), ("AE", "ERR|||205\r", "unknown")],
)  # fmt: skip
async def test_same_message_again_tells_what_became_of_it(
    sink_to: Open, code: str, more: str, found: str
) -> None:
    async with sink_to() as (sink, receiver):
        receiver.reply = ack(code, more=more)
        if found == "unknown":
            with pytest.raises(OutcomeUnknown):
                await sink.settle(booking(), last_look=_fine)
            return
        receipt = await sink.settle(booking(), last_look=_fine)
        assert (receipt is not None) == (found == "receipt")
        assert receipt is None or receipt.resolved


async def test_write_without_a_message_or_a_destination_sends_nothing(
    sink_to: Open, tmp_path: Path
) -> None:
    async with sink_to() as (sink, receiver):
        bare = Write(marker="p", changes=booking().changes)
        with pytest.raises(WriteRefused, match="none was made of the write"):
            await sink.commit(bare)
        assert receiver.messages == []


async def test_many_writes_at_once_share_a_few_lines_and_each_gets_its_own_answer(
    sink_to: Open,
) -> None:
    async with sink_to() as (sink, receiver):
        writes = [booking() for _ in range(60)]
        receipts = await asyncio.gather(*(sink.commit(write) for write in writes))
        for write, receipt in zip(writes, receipts, strict=True):
            assert write.message is not None
            assert receipt.effects[0].version_after == write.message.control_id
        assert [what for what, _ in receiver.seen].count("open") <= LANES
        assert len(receiver.messages) == 60


async def test_write_that_would_wait_too_long_for_its_line_is_not_sent(
    sink_to: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chartgate.adapters.hl7v2_mllp.sink.LANE_WAIT_S", 0.05)
    async with sink_to(ack_timeout_s=5.0) as (sink, receiver):
        freed = asyncio.Event()

        async def busy(_: bytes) -> None:
            await freed.wait()

        receiver.on_message = busy
        marker = str(uuid4())
        first = asyncio.create_task(sink.commit(booking(marker)))
        await until(lambda: len(receiver.messages) == 1)
        with pytest.raises(Throttled, match="nothing was sent"):
            await sink.commit(booking(marker))
        freed.set()
        assert (await first).said == "AA"
        assert len(receiver.messages) == 1


async def test_compensation_calls_off_by_our_number_and_gives_former_values(
    sink_to: Open,
) -> None:
    async with sink_to() as (sink, receiver):
        made = Change(interaction="create", resource_type="Appointment", resource=appointment())
        body = b'{"id":"7","resourceType":"Patient"}'
        before = Copy(reference="Patient/7", version="3", digest=b"", body=body, as_of=AT)
        patched = Change(
            interaction="patch", resource_type="Patient", reference="Patient/7", if_match="3"
        )
        write = Write(marker="p-1", changes=(made, patched), through="north-v2")
        receipt = Receipt(effects=(), at=AT, said="AA")
        undo = await sink.compensation(write, receipt, (before,))
        first, second = undo.changes
        assert (undo.marker, undo.through, undo.message) == ("p-1.rollback", "north-v2", None)
        assert (first.interaction, first.reference) == ("update", "Patient/7")
        assert first.resource == {"resourceType": "Patient", "id": "7"}
        assert (second.interaction, second.reference) == ("delete", None)
        assert second.resource is not None
        assert second.resource["identifier"] == [{"system": "urn:chartgate:proposal", "value": "p-1.1"}]  # fmt: skip
        assert write_from(write_bytes(undo)) == undo
        assert receiver.messages == [], "a compensation sends nothing"


async def test_frame_is_the_message_and_nothing_else(sink_to: Open) -> None:
    async with sink_to() as (sink, receiver):
        write = booking()
        await sink.commit(write)
        assert write.message is not None
        assert frame(receiver.messages[0]) == b"\x0b" + write.message.raw + b"\x1c\r"


async def _fine() -> None:
    """Nothing is against it."""
