"""Profiles and findings: one row a change while it is open, and a new one after that."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from chartgate.model.drift import DriftFinding, FeedKey
from chartgate.store.database import Database
from chartgate.store.drift import DriftStore

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FEED = FeedKey("adt", "A|B", "ADT^A08")
FINDING = DriftFinding(
    id=0,
    feed=FEED,
    position="PID-8",
    kind="new-code",
    detail="X",
    was="F, M",
    now="X",
    count=3,
    examples=(7, 8, 9),
    first_seen_at=AT,
    last_seen_at=AT,
)


@pytest.fixture
def store(database: Database) -> DriftStore:
    return DriftStore(database)


async def test_profile_is_empty_until_it_is_written(store: DriftStore, database: Database) -> None:
    async with database.bookkeeping() as transaction:
        assert await store.lock_profile(transaction, FEED) == b""
    assert await store.profiles([FEED]) == {}
    async with database.bookkeeping() as transaction:
        await store.lock_profile(transaction, FEED)
        await store.put_profile(transaction, FEED, b"{}")
    other = FEED._replace(sender="C|D")
    assert await store.profiles([FEED, other]) == {FEED: b"{}"}


async def test_open_finding_when_it_comes_again_counts_and_stays_one_row(
    store: DriftStore, database: Database
) -> None:
    later = AT + timedelta(hours=1)
    async with database.bookkeeping() as transaction:
        first = await store.open(transaction, FINDING)
        again = replace(FINDING, count=2, examples=(11,), last_seen_at=later)
        assert await store.open(transaction, again) == first
        await store.count(
            transaction, FEED, position="PID-8", kind="new-code", detail="X", more=5, at=AT
        )
    [one] = await store.listed(with_acknowledged=False, limit=10)
    assert one == replace(FINDING, id=first, count=10, last_seen_at=later)
    assert await store.finding(first) == one


async def test_acknowledged_finding_is_closed_once_and_its_return_is_another(
    store: DriftStore, database: Database
) -> None:
    async with database.bookkeeping() as transaction:
        first = await store.open(transaction, FINDING)
        assert await store.acknowledge(transaction, first, by="person:ada", at=AT)
        assert not await store.acknowledge(transaction, first, by="person:bob", at=AT)
        await store.count(
            transaction, FEED, position="PID-8", kind="new-code", detail="X", more=5, at=AT
        )
        second = await store.open(transaction, FINDING)
    assert second != first
    assert [one.id for one in await store.listed(with_acknowledged=False, limit=9)] == [second]
    closed = await store.finding(first)
    assert closed is not None
    assert (closed.acknowledged_by, closed.count) == ("person:ada", 3)


async def test_finding_of_an_unknown_kind_is_refused(store: DriftStore, database: Database) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        async with database.bookkeeping() as transaction:
            await store.open(transaction, replace(FINDING, kind="odd"))


async def test_finding_that_is_not_there_is_none(store: DriftStore) -> None:
    assert await store.finding(1) is None
