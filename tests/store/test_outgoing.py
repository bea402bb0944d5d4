"""Lanes are held by one worker at a time, and what an earlier holder writes is refused."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from chartgate.errors import InvalidTransition
from chartgate.model.audit import AuditEvent
from chartgate.model.outgoing import Draft, Lane, OutgoingStatus, Settled
from chartgate.store.database import Database
from chartgate.store.outgoing import OutgoingStore

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LATER = AT + timedelta(seconds=30)
AUDIT = AuditEvent(recorded=AT, action="outgoing.send", agent="process:worker")


@pytest.fixture
def store(database: Database) -> OutgoingStore:
    return OutgoingStore(database)


async def queue(
    store: OutgoingStore, database: Database, *ids: str, destination: str = "lab", lane: str = ""
) -> None:
    drafts = [
        Draft(destination=destination, lane=lane, control_id=i, cause="Message/1", raw=b"MSH|")
        for i in ids
    ]
    async with database.change(AUDIT) as transaction:
        await store.queue_in(transaction, drafts, at=AT)


async def claim(store: OutgoingStore, *, at: datetime = AT, **room: int) -> tuple[Lane, ...]:
    return await store.claim(room, at=at, lease_until=at + timedelta(seconds=30))


async def send_head(store: OutgoingStore, lane: Lane, settled: Settled | None = None) -> bool:
    head = await store.head(lane, after=settled)
    return await store.advance(lane, AUDIT, settled=settled, sending=head, at=AT, lease_until=LATER)


def taken(id_: int) -> Settled:
    return Settled(id=id_, status=OutgoingStatus.ACKNOWLEDGED, ack=b"MSA|AA")


async def test_lane_is_given_to_one_worker_only_until_its_lease_ends(
    store: OutgoingStore, database: Database
) -> None:
    await queue(store, database, "1", "2")
    claims = await asyncio.gather(*(claim(store, lab=5) for _ in range(8)))
    assert [len(some) for some in claims if some] == [1]
    assert await claim(store, at=LATER - timedelta(seconds=1), lab=5) == ()
    [again] = await claim(store, at=LATER, lab=5)
    assert again.fence == 2


async def test_no_more_lanes_are_given_than_a_destination_has_room_for(
    store: OutgoingStore, database: Database
) -> None:
    for number in range(5):
        await queue(store, database, f"{number}", lane=f"l{number}")
        await queue(store, database, f"{number}", destination="ris", lane=f"l{number}")
    found = await claim(store, lab=2, ris=3, pacs=4)
    assert sorted(lane.destination for lane in found) == ["lab"] * 2 + ["ris"] * 3
    assert len({(lane.destination, lane.name) for lane in found}) == 5


async def test_holder_that_was_overtaken_writes_nothing(
    store: OutgoingStore, database: Database
) -> None:
    await queue(store, database, "1")
    [old] = await claim(store, lab=1)
    assert await send_head(store, old)
    head = await store.head(old, after=None)
    assert head is not None
    [new] = await claim(store, at=LATER, lab=1)
    with pytest.raises(InvalidTransition, match="another worker"):
        await send_head(store, old, taken(head.id))
    await store.put_off(old, until=LATER, failures=9, error="x", refused=(head.id, b""))
    await store.release(old)
    assert await claim(store, at=LATER, lab=1) == (), "it is the new one's still"
    again = await store.head(new, after=None)
    assert again is not None
    assert (again.attempts, again.refusals) == (1, 0)


async def test_message_that_commits_late_under_a_smaller_id_waits_for_the_one_on_its_way(
    store: OutgoingStore, database: Database
) -> None:
    await queue(store, database, "first")
    [lane] = await claim(store, lab=1)
    assert await send_head(store, lane)
    await store.release(lane)
    late = Draft(destination="lab", control_id="late", cause="Message/1", raw=b"MSH|")
    async with database.change(AUDIT) as transaction:
        await store.queue_in(transaction, [late], at=AT)
        await queue(store, database, "soon")  # commits before it
        [lane] = await claim(store, lab=1)
        first = await store.head(lane, after=None)
        assert first is not None
        assert await send_head(store, lane, taken(first.id))
    head = await store.head(lane, after=None)
    assert head is not None
    assert head.control_id == "late", "it is the lane's first now"
    assert await claim(store, lab=1) == (), "and nobody else may send it meanwhile"


async def test_put_off_lane_is_due_when_its_time_has_come(
    store: OutgoingStore, database: Database
) -> None:
    await queue(store, database, "1")
    [lane] = await claim(store, lab=1)
    assert await send_head(store, lane)
    await store.put_off(lane, until=LATER, failures=3, error="closed")
    assert await claim(store, lab=1) == ()
    [lane] = await claim(store, at=LATER, lab=1)
    assert lane.failures == 3


async def test_lane_with_nothing_to_send_is_given_to_nobody(
    store: OutgoingStore, database: Database
) -> None:
    await queue(store, database, "1")
    [lane] = await claim(store, lab=1)
    assert await send_head(store, lane)
    head = await store.head(lane, after=None)
    assert head is not None
    assert await store.advance(
        lane, AUDIT, settled=taken(head.id), sending=None, at=AT, lease_until=LATER
    )
    await store.release(lane)
    assert await claim(store, lab=1) == ()


async def test_same_control_id_to_two_destinations_is_two_messages(
    store: OutgoingStore, database: Database
) -> None:
    await queue(store, database, "1")
    await queue(store, database, "1", destination="ris")
    for lane in await claim(store, lab=1, ris=1):
        assert await send_head(store, lane)
    async with database.change(AUDIT) as transaction:
        assert await store.applied_in(transaction, "1", "AA", at=AT) is None, "which of them?"
        found = await store.applied_in(transaction, "1", "AA", at=AT, destination="ris")
    assert found is not None
    assert (found.destination, found.is_new) == ("ris", True)
