"""The sender on real sockets: what counts as an answer, and what closes the connection."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chartgate.adapters.egress import AddressRules, address_rules
from chartgate.adapters.hl7v2_mllp.destination import Destination
from chartgate.adapters.hl7v2_mllp.sender import STRAYS_MAX, Sender
from chartgate.config import Config
from chartgate.errors import Denied, OutcomeUnknown, SourceUnreachable
from chartgate.testing.messages import adt
from tests.flows.destinations import SILENCE, Receiver, ack, receiving, says, until

EGRESS = address_rules(Config(folder=Path()))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving(Receiver()) as one:
        yield one


@pytest.fixture
async def sender(receiver: Receiver) -> AsyncIterator[Sender]:
    there = Destination(host="127.0.0.1", port=receiver.port, tls=False, ack_timeout_s=0.5)
    one = Sender("lab", there, egress=EGRESS)
    yield one
    await one.close()


async def send(sender: Sender, control_id: str, lane: str = "") -> bytes:
    return await sender.send(adt("A08", control_id), control_id=control_id, lane=lane)


async def test_connection_serves_many_messages_of_its_lane(
    sender: Sender, receiver: Receiver
) -> None:
    for number in range(5):
        assert f"MSA|AA|x{number}".encode() in await send(sender, f"x{number}")
    await send(sender, "y", lane="other")
    assert [one for one in receiver.seen if one[0] == "open"] == [("open", 1), ("open", 2)]


@pytest.mark.parametrize("cut", [2, 1])
async def test_answer_without_its_last_cr_counts_and_without_fs_does_not(
    sender: Sender, receiver: Receiver, cut: int
) -> None:
    receiver.script = [lambda raw: ack()(raw)[:-cut], ack()]
    if cut == 1:
        assert b"MSA|AA|x1" in await send(sender, "x1")
        assert b"MSA|AA|x2" in await send(sender, "x2")
        assert ("open", 2) not in receiver.seen
    else:
        with pytest.raises(OutcomeUnknown, match=r"within 0\.5 s"):
            await send(sender, "x1")


async def test_answer_in_pieces_is_put_together(sender: Sender, receiver: Receiver) -> None:
    async def most(raw: bytes) -> None:
        for writer in receiver.writers:
            for byte in ack()(raw)[:-1]:
                writer.write(bytes([byte]))
                await writer.drain()

    receiver.on_message = most
    receiver.script = [says(b"\r")]
    assert b"MSA|AA|x1" in await send(sender, "x1")


async def test_late_ack_of_an_earlier_message_is_not_taken_for_the_next(
    sender: Sender, receiver: Receiver
) -> None:
    """It comes twice: the second is there already when the next message is sent."""
    receiver.script = [lambda raw: ack()(raw) * 2, ack("AE")]
    await send(sender, "x1")
    assert b"MSA|AE|x2" in await send(sender, "x2")
    await until(lambda: len(receiver.messages) == 2)


async def test_peer_that_answers_everything_but_this_is_left(
    sender: Sender, receiver: Receiver
) -> None:
    receiver.script = [lambda raw: ack(of="other")(raw) * (STRAYS_MAX + 1)]
    with pytest.raises(OutcomeUnknown, match="too many"):
        await send(sender, "x1")
    assert sender.strays == STRAYS_MAX + 1
    await until(lambda: ("closed", 1) in receiver.seen)


async def test_time_out_closes_the_connection_before_it_is_told(
    sender: Sender, receiver: Receiver
) -> None:
    receiver.script = [SILENCE]
    with pytest.raises(OutcomeUnknown, match="no acknowledgement within"):
        await send(sender, "x1")
    await until(lambda: ("closed", 1) in receiver.seen)
    await send(sender, "x1")
    assert receiver.seen[-2:] == [("open", 2), ("got", 2)]


async def test_last_look_when_it_refuses_nothing_is_sent_and_its_error_comes_out(
    sender: Sender, receiver: Receiver
) -> None:
    async def halted() -> None:
        raise Denied("a halt is in force")

    with pytest.raises(Denied, match="halt"):
        await sender.send(adt("A08", "x1"), control_id="x1", lane="", last_look=halted)
    await send(sender, "x2")
    assert receiver.control_ids == ["x2"]


async def test_last_look_that_takes_so_long_that_the_peer_leaves_sends_nothing(
    sender: Sender, receiver: Receiver
) -> None:
    async def slow() -> None:
        await until(lambda: len(receiver.writers) == 1)
        await receiver.hang_up()

    with pytest.raises(SourceUnreachable, match="nothing was sent"):
        await sender.send(adt("A08", "x1"), control_id="x1", lane="", last_look=slow)
    assert receiver.messages == []


async def test_peer_that_is_not_there_is_unreachable() -> None:
    async with receiving(Receiver()) as gone:
        pass
    there = Destination(host="127.0.0.1", port=gone.port, tls=False)
    with pytest.raises(SourceUnreachable, match="cannot be reached"):
        await send(Sender("lab", there, egress=EGRESS), "x1")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "169.254.169.254", "10.0.0.9"])
async def test_an_inner_address_is_refused_before_a_connection(
    receiver: Receiver, host: str
) -> None:
    there = Destination(host=host, port=receiver.port, tls=False)
    with pytest.raises(SourceUnreachable, match=r"\[egress\] private"):
        await send(Sender("lab", there, egress=AddressRules()), "x1")
    assert receiver.seen == []
