"""Messages are queued with their cause, and what an application says of them later is kept."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chartgate.flows import events, intake, outgoing
from chartgate.formats.hl7v2 import parse
from chartgate.gate import Gate
from chartgate.model.message import InboxStatus, Processed, Queued, Received
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt
from tests.flows.destinations import (
    PEER,
    SILENCE,
    Receiver,
    ack,
    audited,
    draft,
    queue,
    receiving,
    rows,
    sending_gate,
    work,
)

DEAF = "deaf"  # a connection that nothing can be sent to
REASON = "PID-7 is not a date"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving(Receiver()) as one:
        yield one


@pytest.fixture
async def gate(
    database: Database, clock: FakeClock, tmp_path: Path, receiver: Receiver
) -> AsyncIterator[Gate]:
    ports = {PEER: receiver.port, DEAF: 0}
    async with sending_gate(database, clock, tmp_path, ports) as opened:
        yield opened


def message(wanted: str, *, connection: str = PEER, id_: int = 7) -> Queued:
    return Queued(
        id=id_,
        connection=connection,
        message_type="ADT^A08",
        raw=adt("A08", f"theirs{id_}"),
        received_at=FakeClock()(),
        application_ack=wanted,
    )


async def ended(gate: Gate, received: Queued, status: InboxStatus) -> bool:
    """Processes a message; whether an application acknowledgement was queued."""
    reason = REASON if status is not InboxStatus.DELIVERED else None
    processed = Processed(id=received.id, status=status, reason=reason)
    async with gate.database.change_found() as (transaction, audit):
        event = await outgoing.queue_application_ack(gate, transaction, received, processed)
        audit.extend([event] if event else [])
    return event is not None


async def applied(gate: Gate, control_id: str, code: str, **options: Any) -> bool:
    async with gate.database.change_found() as (transaction, audit):
        event = await outgoing.applied(gate, transaction, control_id, code, **options)
        audit.extend([event] if event else [])
    return event is not None


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        ("AL", InboxStatus.DELIVERED, "AA"),
        ("AL", InboxStatus.FILTERED, "AA"),
        ("AL", InboxStatus.QUARANTINED, "AE"),
        ("ER", InboxStatus.DELIVERED, ""),
        ("ER", InboxStatus.QUARANTINED, "AE"),
        ("SU", InboxStatus.DELIVERED, "AA"),
        ("SU", InboxStatus.FILTERED, "AA"),
        ("SU", InboxStatus.QUARANTINED, ""),
        ("NE", InboxStatus.DELIVERED, ""),
        ("NE", InboxStatus.QUARANTINED, ""),
        ("", InboxStatus.DELIVERED, ""),
        ("", InboxStatus.QUARANTINED, ""),
    ],
)
async def test_application_ack_is_sent_when_the_sender_asked_for_it_on_that_outcome(
    gate: Gate, receiver: Receiver, wanted: str, status: InboxStatus, code: str
) -> None:
    assert await ended(gate, message(wanted), status) == bool(code)
    await work(gate)
    if not code:
        assert receiver.messages == []
        return
    [raw] = receiver.messages
    answer = parse(raw)
    assert (answer.value("MSA", 1), answer.value("MSA", 2)) == (code, "theirs7")
    assert (answer.value("MSH", 15), answer.value("MSH", 16)) == ("AL", "NE")
    assert answer.value("MSH", 10) != "theirs7"
    assert (REASON in answer.text) == (code == "AE")
    assert await rows(gate, "status") == ["acknowledged"]
    [event] = await audited(gate, "outgoing.queue")
    assert "Message/7" in event["entities"]


async def test_application_ack_is_queued_once_however_often_the_message_is_processed(
    gate: Gate, receiver: Receiver
) -> None:
    assert await ended(gate, message("AL"), InboxStatus.QUARANTINED)
    assert not await ended(gate, message("AL"), InboxStatus.DELIVERED)
    await work(gate)
    assert len(receiver.messages) == 1


async def test_application_ack_without_a_destination_fails_once_and_says_what_to_set(
    gate: Gate, receiver: Receiver
) -> None:
    assert await ended(gate, message("AL", connection=DEAF), InboxStatus.DELIVERED)
    assert await ended(gate, message("AL"), InboxStatus.DELIVERED)
    await work(gate)
    assert await rows(gate, "status") == ["failed", "acknowledged"]
    sentence = "[connections.deaf] needs the keys send_host and send_port: where to send to"
    assert await rows(gate, "reason") == [sentence, None]
    failed, _ = await audited(gate, "outgoing.queue")
    assert (failed["outcome"], failed["reason"]) == ("failed", sentence)
    deaf = next(one for one in await outgoing.status(gate) if one.destination == DEAF)
    assert (deaf.waiting, deaf.failed, deaf.last_failure) == (0, 1, sentence)


async def test_message_to_what_is_no_connection_is_kept_as_failed(gate: Gate) -> None:
    await queue(gate, draft(1, destination="nowhere"))
    assert await rows(gate, "reason") == [
        "the connection nowhere is none that messages can be sent to"
    ]


async def test_queued_message_is_gone_when_its_cause_is_rolled_back(gate: Gate) -> None:
    async def fail() -> None:
        async with gate.database.change_found() as (transaction, _):
            await outgoing.queue_in(gate, transaction, draft(1))
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await rows(gate, "id") == []


async def test_control_id_that_is_queued_already_is_left_alone(gate: Gate) -> None:
    await queue(gate, draft(1), draft(1))
    assert len(await rows(gate, "id")) == 1
    assert len(await audited(gate, "outgoing.queue")) == 1


async def test_commit_ack_and_later_application_ack_are_both_kept(
    gate: Gate, receiver: Receiver
) -> None:
    receiver.reply = ack("CA")
    await queue(gate, draft(1), draft(2))
    await work(gate)
    assert await applied(gate, "lab-1", "AA")
    assert await applied(gate, "lab-2", "AE", destination=PEER)
    assert await rows(gate, "applied") == ["AA", "AE"]
    assert await rows(gate, "status") == ["acknowledged", "failed"]
    assert (await rows(gate, "reason"))[1] == "the destination's application answered AE"
    first, second = await audited(gate, "outgoing.apply")
    assert (first["outcome"], second["outcome"]) == ("success", "failed")
    assert first["patient"] == "Patient/1"


async def test_application_ack_that_says_nothing_new_changes_nothing(
    gate: Gate, receiver: Receiver, clock: FakeClock
) -> None:
    receiver.script = [ack("CA"), SILENCE]
    await queue(gate, draft(1), draft(2), draft(3))
    await work(gate)
    assert await applied(gate, "lab-1", "AA")
    assert not await applied(gate, "lab-1", "AE"), "the first one counts"
    assert not await applied(gate, "lab-3", "AA"), "it was never sent"
    assert not await applied(gate, "lab-9", "AA"), "it is none of ours"
    assert not await applied(gate, "lab-2", "AA", destination=DEAF), "it went elsewhere"
    assert not await applied(gate, "lab-2", "ZZ"), "it is no code"
    assert await rows(gate, "status") == ["acknowledged", "sent", "queued"]


async def test_status_tells_age_attempts_and_error_of_each_destination(
    database: Database, clock: FakeClock, tmp_path: Path, receiver: Receiver
) -> None:
    async with receiving(Receiver(reply=SILENCE)) as dead:
        ports = {PEER: receiver.port, "dead": dead.port}
        async with sending_gate(database, clock, tmp_path, ports) as gate:
            await queue(gate, draft(1), draft(1, destination="dead"), draft(2, destination="dead"))
            await work(gate)
            clock.advance(60)
            silent, well = await outgoing.status(gate)
    assert (well.destination, well.waiting, well.oldest_at, well.age_s) == (PEER, 0, None, 0.0)
    assert (silent.destination, silent.waiting, silent.age_s) == ("dead", 2, 60.0)
    assert (silent.attempts, silent.failures) == (1, 1)
    assert silent.last_error == "no acknowledgement within 0.3 s"


async def test_status_of_a_connection_that_was_taken_out_says_so(
    gate: Gate, database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    await queue(gate, draft(1))
    async with sending_gate(database, clock, tmp_path, {}) as without:
        [found] = await outgoing.status(without)
    assert (found.waiting, found.last_error) == (1, "this connection is configured no more")


async def test_application_ack_that_comes_as_a_message_of_its_own_is_noted(
    gate: Gate, receiver: Receiver
) -> None:
    receiver.reply = ack("CA")
    await queue(gate, draft(1))
    await work(gate)
    said = (
        b"MSH|^~\\&|LAB|SOUTH|CHARTGATE|NORTH|20240102030405||ACK^A01^ACK|L7|P|2.5\rMSA|AA|lab-1\r"
    )
    assert await intake.accept(gate, [Received(connection=PEER, raw=said)])
    assert await events.process_next(gate) == 1
    assert await rows(gate, "applied") == ["AA"]
    [row] = await gate.database.fetch("SELECT status, reason FROM inbox WHERE tenant = $1")
    assert row["status"] == "filtered"
