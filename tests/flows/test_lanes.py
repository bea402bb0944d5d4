"""Sending: in order, one at a time in a lane, the same bytes until they are taken, and nobody waits
for a destination of others."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from chartgate.errors import Unavailable
from chartgate.flows import lanes, outgoing
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import Killed, kill_around
from tests.flows.destinations import (
    PEER,
    RESET,
    SILENCE,
    Receiver,
    ack,
    audited,
    draft,
    queue,
    receiving,
    rows,
    says,
    sending_gate,
    until,
    work,
)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving(Receiver()) as one:
        yield one


@pytest.fixture
async def gate(
    database: Database, clock: FakeClock, tmp_path: Path, receiver: Receiver
) -> AsyncIterator[Gate]:
    async with sending_gate(database, clock, tmp_path, {PEER: receiver.port}) as opened:
        yield opened


async def test_messages_go_out_in_order_over_one_connection(gate: Gate, receiver: Receiver) -> None:
    await queue(gate, *map(draft, range(20)))
    await work(gate)
    assert receiver.control_ids == [f"lab-{n}" for n in range(20)]
    await until(lambda: receiver.seen[-1] == ("closed", 1))
    assert receiver.seen.count(("open", 1)) == 1
    assert set(await rows(gate, "status")) == {"acknowledged"}
    assert all(b"MSA|AA" in one for one in await rows(gate, "ack"))


async def test_nothing_leaves_before_its_audit_event_is_durable(
    gate: Gate, receiver: Receiver
) -> None:
    known: list[int] = []

    async def look(raw: bytes) -> None:
        known.append(len(await audited(gate, "outgoing.send")))

    receiver.on_message = look
    receiver.script = [ack(), SILENCE]
    await queue(gate, *map(draft, range(3)))
    await work(gate, steps=1)
    assert known == [1, 2]
    event = (await audited(gate, "outgoing.send"))[1]
    assert event["patient"] == "Patient/1"
    assert event["details"] == {"attempt": "1", "destination": PEER}
    assert len(await audited(gate, "outgoing.queue")) == 3
    assert len(await audited(gate, "outgoing.acknowledge")) == 1


async def test_m02_1441_socket_when_the_ack_is_lost_is_closed_before_the_resend(
    gate: Gate, receiver: Receiver, clock: FakeClock
) -> None:
    receiver.script = [SILENCE]
    await queue(gate, draft(1), draft(2))
    await work(gate)
    await until(lambda: ("closed", 1) in receiver.seen)
    assert receiver.seen == [("open", 1), ("got", 1), ("closed", 1)]
    clock.advance(301)
    await work(gate)
    assert receiver.control_ids == ["lab-1", "lab-1", "lab-2"]
    assert receiver.seen[3:6] == [("open", 2), ("got", 2), ("got", 2)]


async def test_m03_1314_resend_has_the_same_control_id_and_the_very_same_bytes(
    gate: Gate, receiver: Receiver, clock: FakeClock
) -> None:
    receiver.script = [SILENCE, says(RESET), ack("AR"), ack("AE")]
    await queue(gate, draft(1))
    await work(gate, clock, steps=5)
    assert receiver.messages == [draft(1).raw] * 5
    assert await rows(gate, "attempts") == [5]
    assert await rows(gate, "status") == ["acknowledged"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (SILENCE, "no acknowledgement within 0.3 s"),
        (says(RESET), "closed the connection without"),
        (says(b"\x0bhello\x1c\r"), "is no acknowledgement"),
        (says(b"\x0bMSH|^~\\&|B\rMSA|AA|lab-1\r"), "no acknowledgement within"),
        (ack("AA", of="lab-9"), "1 came for other messages"),
        (ack("ZZ"), "no code that HL7 knows"),
        (ack("CR"), "answered CR"),
    ],
    ids=["silence", "reset", "garbage", "no FS", "other MSA-2", "unknown code", "not now"],
)
async def test_answer_when_it_is_none_leads_to_another_try_on_a_new_connection(
    gate: Gate, receiver: Receiver, clock: FakeClock, reply: Any, error: str
) -> None:
    receiver.script = [reply]
    await queue(gate, draft(1))
    await work(gate)
    [found] = await outgoing.status(gate)
    assert error in found.last_error
    assert (found.waiting, found.attempts, found.failures) == (1, 1, 1)
    assert found.next_try_at is not None
    await until(lambda: ("closed", 1) in receiver.seen)
    await work(gate, clock, steps=2)
    assert receiver.messages == [draft(1).raw] * 2
    [found] = await outgoing.status(gate)
    assert (found.waiting, found.failures, found.last_error) == (0, 0, "")


async def test_ack_when_another_came_before_it_is_still_waited_for(
    gate: Gate, receiver: Receiver
) -> None:
    receiver.script = [lambda raw: ack("AE", of="lab-0")(raw) + ack("AA")(raw)]
    await queue(gate, draft(1))
    with capture_logs() as logs:
        await work(gate)
    assert await rows(gate, "status") == ["acknowledged"]
    assert [one["event"] for one in logs] == ["mllp.stray_acknowledgement"]


async def test_content_that_is_refused_five_times_fails_and_the_next_goes_out(
    gate: Gate, receiver: Receiver, clock: FakeClock
) -> None:
    error = "ERR||PID^1^5|101^missing^HL70357|E||||Canary\r"
    receiver.script = [ack("AE", more=error)] * 5
    await queue(gate, draft(1), draft(2))
    with capture_logs() as logs:
        await work(gate, clock, steps=4)
        assert await rows(gate, "status") == ["sent", "queued"]
        await work(gate, clock)
    assert receiver.control_ids == ["lab-1"] * 5 + ["lab-2"]
    assert await rows(gate, "status") == ["failed", "acknowledged"]
    assert (await rows(gate, "reason"))[0] == "answered AE (101), 5 times"
    assert await rows(gate, "refusals") == [5, 0]
    [found] = await outgoing.status(gate)
    assert (found.waiting, found.failed) == (0, 1)
    assert found.last_failure == "answered AE (101), 5 times"
    [event] = await audited(gate, "outgoing.fail")
    assert event["outcome"] == "failed"
    assert "Canary" not in repr(logs) + repr(event), "the words of an answer may name a patient"


async def test_receiver_that_cannot_now_is_never_given_up(
    gate: Gate, receiver: Receiver, clock: FakeClock
) -> None:
    receiver.script = [ack("AR")] * 12
    await queue(gate, draft(1))
    await work(gate, clock, steps=12)
    assert await rows(gate, "status") == ["sent"]
    await work(gate, clock)
    assert await rows(gate, "status") == ["acknowledged"]


async def test_dead_link_is_tried_for_ever_and_ever_more_rarely(
    gate: Gate, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.random", lambda: 1.0)
    async with receiving(Receiver()) as gone:
        pass  # its port answers nobody now
    there = gate.config.connections[PEER]
    there = replace(there, options={**there.options, "send_port": gone.port})
    async with sending_gate(gate.database, clock, gate.config.folder, {PEER: gone.port}) as dead:
        await queue(dead, draft(1))
        waits: list[float] = []
        for _ in range(40):
            before = clock()
            await work(dead)
            [found] = await outgoing.status(dead)
            assert found.next_try_at is not None
            waits.append((found.next_try_at - before).total_seconds())
            clock.advance(waits[-1])
        assert waits[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
        assert set(waits[10:]) == {300}
        assert (found.attempts, found.failures, found.waiting) == (40, 40, 1)
        assert found.age_s > 9_000
        assert "cannot be reached (ConnectionRefusedError)" in found.last_error
        async with receiving(gone):
            await work(dead)
        assert gone.messages == [draft(1).raw]
        assert await rows(dead, "status") == ["acknowledged"]


async def test_order_holds_through_every_kind_of_retry(
    gate: Gate, receiver: Receiver, clock: FakeClock
) -> None:
    receiver.script = [
        ack(), SILENCE, ack("AE"), ack(), says(RESET), ack("AR"), ack("CE"), ack(), ack(),
    ]  # fmt: skip
    await queue(gate, *map(draft, range(6)))
    await work(gate, clock, steps=8)
    first = list(dict.fromkeys(receiver.control_ids))
    assert first == [f"lab-{n}" for n in range(6)]
    assert receiver.control_ids == sorted(receiver.control_ids), "none before its predecessor"
    assert set(await rows(gate, "status")) == {"acknowledged"}


async def test_destination_when_dead_delays_no_other(
    database: Database, clock: FakeClock, tmp_path: Path, receiver: Receiver
) -> None:
    async with receiving(Receiver(reply=SILENCE)) as dead:
        ports = {"dead": dead.port, PEER: receiver.port}
        slow = {"ack_timeout_s": 60.0}
        async with sending_gate(database, clock, tmp_path, ports, options=slow) as gate:
            some = [draft(n, destination="dead", lane=f"{n}") for n in range(10)]
            await queue(gate, *some, *map(draft, range(20)))
            held = lanes.Lanes(gate)
            assert await held.start_due() == gate.config.worker.lanes_max + 1
            await until(lambda: len(receiver.messages) == 20)
            assert await held.start_due() == 0, "the dead one has no more room"
            await until(lambda: len(dead.messages) == gate.config.worker.lanes_max)
            lanes.DRAIN_S, before = 0.0, lanes.DRAIN_S
            try:
                await held.close()
            finally:
                lanes.DRAIN_S = before
    assert len(dead.messages) == 4


async def test_lanes_of_one_destination_do_not_wait_for_each_other(
    gate: Gate, receiver: Receiver
) -> None:
    receiver.delay_s = 0.05
    await queue(gate, *(draft(n, lane=lane) for n in range(3) for lane in "ab"))
    await work(gate)
    assert receiver.most_under_way == 2
    for lane in "ab":
        sent = [one for one in receiver.control_ids if one.startswith(f"lab-{lane}")]
        assert sent == [f"lab-{lane}{n}" for n in range(3)]


async def test_two_workers_never_send_in_one_lane_at_the_same_time(
    gate: Gate, receiver: Receiver, database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    await queue(gate, *map(draft, range(30)))
    async with sending_gate(database, clock, tmp_path, {PEER: receiver.port}) as other:

        async def worker(one: Gate) -> None:
            while "queued" in await rows(one, "status") or "sent" in await rows(one, "status"):
                await work(one)

        receiver.delay_s = 0.005
        await asyncio.gather(worker(gate), worker(other), worker(gate))
    assert receiver.most_under_way == 1
    assert receiver.control_ids == [f"lab-{n}" for n in range(30)]


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_worker_when_killed_around_a_commit_loses_nothing_and_changes_no_byte(
    gate: Gate, receiver: Receiver, clock: FakeClock, number: int, place: str
) -> None:
    await queue(gate, draft(0), draft(1))
    with pytest.MonkeyPatch.context() as patch:
        kill_around(patch, number, place)
        died = await _work_to_the_death(gate)
    assert died, "the test kills nobody"
    clock.advance(30)
    await work(gate)
    clock.advance(60)
    await work(gate)
    assert await rows(gate, "status") == ["acknowledged"] * 2
    assert set(receiver.messages) == {draft(0).raw, draft(1).raw}
    assert receiver.control_ids == sorted(receiver.control_ids)
    assert len(receiver.messages) <= 3, "at most the one under way is sent again"
    assert receiver.most_under_way == 1


async def _work_to_the_death(gate: Gate) -> bool:
    """A worker whose lane may die; whether it did."""
    deaths: list[BaseException] = []

    class Mortal(lanes.Lanes):
        def _ended(self, task: asyncio.Task[None]) -> None:
            self._tasks.pop(task)
            if isinstance(error := task.exception(), Killed):
                deaths.append(error)

    held = Mortal(gate)
    await held.start_due()
    await held.drain()
    return bool(deaths)


async def test_worker_that_lost_its_lane_writes_nothing_down_and_sends_nothing(
    gate: Gate, receiver: Receiver, clock: FakeClock
) -> None:
    """It stood still between its answer and its next commit, and another took over."""
    stopped, go_on = asyncio.Event(), asyncio.Event()

    async def stop(raw: bytes) -> None:
        if not stopped.is_set():
            stopped.set()
            await go_on.wait()

    receiver.on_message = stop
    await queue(gate, draft(1), draft(2))
    async with sending_gate(
        gate.database, clock, gate.config.folder, {PEER: receiver.port},
        options={"ack_timeout_s": 20.0},
    ) as slow:  # fmt: skip
        first = lanes.Lanes(slow)
        await first.start_due()
        await stopped.wait()
        clock.advance(600)
        await work(gate)
        assert receiver.control_ids == ["lab-1", "lab-1", "lab-2"]
        go_on.set()
        with capture_logs() as logs:
            await first.drain()
    assert [one["error"] for one in logs] == ["the lane has passed to another worker"]
    assert receiver.control_ids == ["lab-1", "lab-1", "lab-2"]
    assert len(await audited(gate, "outgoing.acknowledge")) == 2


async def test_nothing_is_sent_after_the_lease_has_run_out(
    gate: Gate, receiver: Receiver, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = Database.change

    def late(database: Database, *events: AuditEvent) -> Any:
        clock.advance(120)
        return change(database, *events)

    await queue(gate, draft(1))
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(Database, "change", late)
        await work(gate)
    assert receiver.messages == []
    assert [one["error"] for one in logs] == [lanes.SAY_LATE]
    await work(gate)
    assert receiver.messages == [draft(1).raw]


async def test_lane_is_free_at_once_when_the_store_was_away_for_a_moment(
    gate: Gate, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(database: Database, *events: AuditEvent) -> Any:
        raise Unavailable("the store cannot be reached")

    await queue(gate, draft(1))
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(Database, "change", away)
        await work(gate)
    assert receiver.messages == [], "nothing leaves without its audit event"
    assert [one["error"] for one in logs] == ["the store cannot be reached"]
    await work(gate)
    assert receiver.messages == [draft(1).raw]


async def test_message_that_is_acknowledged_meanwhile_is_not_sent_again(
    gate: Gate, receiver: Receiver, clock: FakeClock
) -> None:
    """The commit's acknowledgement was lost, and the application's came by its own way."""
    receiver.script = [SILENCE]
    await queue(gate, draft(1), draft(2))
    await work(gate, clock)
    async with gate.database.change_found() as (transaction, audit):
        event = await outgoing.applied(gate, transaction, "lab-1", "AA")
        assert event is not None
        audit.append(event)
    await work(gate)
    assert receiver.control_ids == ["lab-1", "lab-2"]
    assert await rows(gate, "status") == ["acknowledged"] * 2


async def test_connection_stays_open_for_what_comes_next(
    database: Database, clock: FakeClock, tmp_path: Path, receiver: Receiver
) -> None:
    async with (
        sending_gate(database, clock, tmp_path, {PEER: receiver.port}, lane_idle_s=60.0) as gate,
        lanes.open_lanes(gate) as held,
    ):
        for number in range(3):
            await queue(gate, draft(number))
            await held.start_due()
            await until(lambda count=number + 1: len(receiver.messages) == count)  # type: ignore[misc]
        assert ("closed", 1) not in receiver.seen
    await until(lambda: ("closed", 1) in receiver.seen)
    assert ("open", 2) not in receiver.seen


async def test_connection_that_the_peer_closed_in_a_rest_costs_no_try(
    database: Database, clock: FakeClock, tmp_path: Path, receiver: Receiver
) -> None:
    async with (
        sending_gate(database, clock, tmp_path, {PEER: receiver.port}, lane_idle_s=60.0) as gate,
        lanes.open_lanes(gate) as held,
    ):
        await queue(gate, draft(1))
        await held.start_due()
        await until(lambda: len(receiver.messages) == 1 and not receiver.under_way)
        await receiver.hang_up()
        await queue(gate, draft(2))
        await held.start_due()
        await until(lambda: len(receiver.messages) == 2)
    assert await rows(gate, "attempts") == [1, 1]
