"""Notes of what workers have in hand: whoever comes after a worker that ended finds them."""

from datetime import UTC, datetime

import pytest

from chartgate.model.audit import AuditEvent
from chartgate.model.message import Arrival, InboxStatus, Processed
from chartgate.store.batches import BatchStore
from chartgate.store.database import Database, open_database
from chartgate.store.inbox import InboxStore

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
EVENT = AuditEvent(recorded=AT, action="message.accept", agent="process:listener")


@pytest.fixture
def first(database: Database) -> BatchStore:
    return BatchStore(database, worker="w1")


@pytest.fixture
def second(database: Database) -> BatchStore:
    return BatchStore(database, worker="w2")


async def suspects(store: BatchStore, database: Database, *ids: int) -> dict[int, int]:
    async with database.connection() as connection, connection.transaction():
        return dict(await store.suspects_in(connection, ids))


async def test_note_of_another_worker_makes_suspects_and_ones_own_does_not(
    first: BatchStore, second: BatchStore, database: Database
) -> None:
    await first.note([1, 2, 3], tries=1, at=AT)
    assert await suspects(second, database, 2, 3, 4) == {2: 1, 3: 1}
    assert await suspects(first, database, 1, 2, 3) == {}


async def test_next_note_takes_the_place_of_the_last(
    first: BatchStore, second: BatchStore, database: Database
) -> None:
    await first.note([1, 2], tries=1, at=AT)
    await first.note([3], tries=1, at=AT)
    assert await suspects(second, database, 1, 2, 3) == {3: 1}


async def test_suspect_of_several_workers_counts_as_often_as_the_most(
    first: BatchStore, second: BatchStore, database: Database
) -> None:
    await first.note([1, 2], tries=1, at=AT)
    await second.note([2], tries=2, at=AT)
    third = BatchStore(database, worker="w3")
    assert await suspects(third, database, 1, 2) == {1: 1, 2: 2}


async def test_cleared_suspect_is_none_any_more_and_the_others_stay(
    first: BatchStore, second: BatchStore, database: Database
) -> None:
    await first.note([1, 2], tries=1, at=AT)
    async with database.connection() as connection, connection.transaction():
        await second.clear_in(connection, 1)
    assert await suspects(second, database, 1, 2) == {2: 1}


async def test_note_outlives_the_transaction_that_it_is_about(
    first: BatchStore, second: BatchStore, database: Database
) -> None:
    """It is what tells the next worker, so it must not go with the work that failed."""
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await first.note([1], tries=1, at=AT)
        await transaction.rollback()
    assert await suspects(second, database, 1) == {1: 1}


async def test_notes_of_others_are_forgotten_once_nothing_of_them_is_queued(
    first: BatchStore, second: BatchStore, database: Database
) -> None:
    inbox = InboxStore(database)
    arrival = Arrival(
        connection="adt", sender="A|B", control_id="1", message_type="ADT^A01", lane=1,
        merged_lane=None, digest=bytes(32), raw=b"1", ack=b"", received_at=AT,
    )  # fmt: skip
    await inbox.accept([arrival], EVENT)
    async with database.connection() as connection, connection.transaction():
        [message] = await inbox.claim(connection, count_max=1)
    await first.note([message.id], tries=1, at=AT)
    await second.forget_done()
    assert await suspects(second, database, message.id) == {message.id: 1}
    async with database.change(EVENT) as transaction:
        await inbox.end(transaction, [Processed(id=message.id, status=InboxStatus.DELIVERED)])
    await first.forget_done()
    assert await suspects(second, database, message.id) == {message.id: 1}  # its own it keeps
    await second.forget_done()
    assert await suspects(second, database, message.id) == {}


async def test_tenants_never_see_one_another(first: BatchStore, database_url: str) -> None:
    await first.note([1], tries=1, at=AT)
    other = await open_database(database_url, tenant="other")
    assert await suspects(BatchStore(other, worker="w2"), other, 1) == {}
    await other.close()
