"""The counts of the inbox: exact at every moment, at a cost that does not grow with it."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from chartgate.model.message import InboxStatus, Processed
from chartgate.store import feed_counts
from chartgate.store.database import Database, open_database
from chartgate.store.feed_counts import QUERIES, FeedCountStore
from chartgate.store.inbox import InboxStore
from tests.store.plans import pages_read
from tests.store.test_quarantine import AT, EVENT, end, requeue, taken


@pytest.fixture
def counts(database: Database) -> FeedCountStore:
    return FeedCountStore(database)


async def totals(counts: FeedCountStore) -> dict[str, int]:
    found: Counter[str] = Counter()
    for row in await counts.counts():
        for name in ("received", "queued", "delivered", "quarantined", "filtered"):
            found[name] += getattr(row, name)
    return {name: count for name, count in found.items() if count}


async def check_exact(counts: FeedCountStore) -> None:
    assert all(row.counted == row.kept for row in await counts.recounted())


async def test_counts_follow_every_move_of_a_message(
    counts: FeedCountStore, database: Database
) -> None:
    ids = await taken(database, "a", "b", "c", "d")
    await taken(database, "a")  # again: it is there already
    await end(database, InboxStatus.DELIVERED, ids[0])
    await end(database, InboxStatus.QUARANTINED, *ids[1:3])
    await end(database, InboxStatus.FILTERED, ids[3])
    one_each = {"received": 4, "delivered": 1, "quarantined": 2, "filtered": 1}
    assert await totals(counts) == one_each
    assert {row.reason: row.filtered for row in await counts.counts()} == {"": 0, "no date": 1}
    assert await counts.fold() > 0
    assert await totals(counts) == one_each
    assert await requeue(database, *ids) == tuple(ids[1:])
    assert await totals(counts) == {"received": 4, "queued": 3, "delivered": 1}
    await check_exact(counts)


async def test_counts_are_exact_after_a_storm_with_folds_in_between(
    counts: FeedCountStore, database: Database
) -> None:
    dice = random.Random(3)
    stopping = asyncio.Event()

    async def fold() -> None:
        while not stopping.is_set():
            await counts.fold()

    async def feed(connection: str) -> None:
        for round_ in range(12):
            names = [f"{connection}-{round_}-{n}" for n in range(dice.randint(1, 6))]
            ids = await taken(database, *names, connection=connection)
            await end(database, dice.choice(list(InboxStatus)[1:]), *ids)
            await requeue(database, *ids)

    folding = [asyncio.create_task(fold()) for _ in range(2)]
    await asyncio.gather(*(feed(f"feed{n}") for n in range(4)))
    stopping.set()
    await asyncio.gather(*folding)
    await check_exact(counts)
    found = await totals(counts)
    assert found["received"] == sum(found.values()) - found["received"]


async def test_count_that_does_not_conserve_is_refused_by_the_store(database: Database) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await database.fetch(
            "INSERT INTO inbox_change (tenant, connection, received) VALUES ($1, 'adt', 1)"
        )


async def test_recount_finds_a_row_that_was_lost(
    counts: FeedCountStore, database: Database
) -> None:
    await taken(database, "a", "b")
    await database.fetch("DELETE FROM inbox WHERE tenant = $1 AND control_id = 'a'")
    [row] = await counts.recounted()
    assert (row.status, row.counted, row.kept) == ("queued", 2, 1)


async def test_rates_are_of_the_last_minute_and_hour_and_old_minutes_are_let_go(
    counts: FeedCountStore, database: Database
) -> None:
    await taken(database, "a", "b")
    await database.fetch(
        "INSERT INTO inbox_change (tenant, connection, at, received, delivered)"
        " VALUES ($1, 'adt', now() - interval '30 minutes', 5, 5),"
        " ($1, 'adt', now() - interval '3 hours', 7, 7)"
    )

    async def check() -> None:
        [row] = await counts.counts()
        assert (row.received, row.received_short, row.received_long) == (14, 2, 7)
        assert (row.delivered, row.delivered_short, row.delivered_long) == (12, 0, 5)
        assert 60 <= row.short_s < 120
        assert 3600 <= row.long_s < 3660

    await check()
    assert await counts.fold() == 3
    await check()
    minutes = "SELECT count(*) FROM inbox_count WHERE tenant = $1 AND minute > '-infinity'"
    assert await database.fetch_value(minutes) == 2
    await database.fetch(
        "UPDATE inbox_count SET minute = minute - interval '5 hours'"
        " WHERE tenant = $1 AND minute > '-infinity'"
    )
    assert await counts.fold() == 0
    assert await database.fetch_value(minutes) == 0
    assert (await totals(counts))["received"] == 14


async def test_oldest_of_each_connection_is_looked_for_among_the_first(
    counts: FeedCountStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await counts.oldest_queued()).last is None
    await taken(database, "a", "b")
    await taken(database, "a", connection="other")
    assert (await counts.oldest_queued()).by_connection == {"adt": AT, "other": AT}
    monkeypatch.setattr(feed_counts, "QUEUE_LOOK_MAX", 2)
    found = await counts.oldest_queued()
    assert (dict(found.by_connection), found.last) == ({"adt": AT}, AT)


async def test_subscription_stands_as_its_first_waiting_notification(
    counts: FeedCountStore, database: Database
) -> None:
    [message] = await taken(database, "a")
    await end(database, InboxStatus.DELIVERED, message)
    at = datetime(2026, 3, 2, 10, tzinfo=UTC)
    for statement in (
        "INSERT INTO subscription VALUES ($1, 'ai', 'booking', 3), ($1, 'ai', 'notes', 1)",
        (
            "INSERT INTO event (tenant, site, kind, focus, occurred_at, inbox_id)"
            " SELECT $1, 's', 'k', '{}', now(), id FROM inbox WHERE tenant = $1"
        ),
        (
            "INSERT INTO notification (tenant, client, charter, number, event_id, attempts,"
            " next_try_at, delivered_at, last_error)"
            " SELECT $1, 'ai', c, n, e.id, a, now(), d, l FROM event e, (VALUES"
            " ('booking', 1, 0, '2026-03-02T10:00Z'::timestamptz, NULL),"
            " ('booking', 2, 4, NULL, 'no answer'), ('booking', 3, 0, NULL, NULL),"
            " ('notes', 1, 0, '2026-03-02T10:00Z', NULL)) AS v (c, n, a, d, l)"
        ),
    ):
        await database.fetch(statement)
    waits, done = await counts.subscriptions()
    assert (waits.waiting, waits.number, waits.attempts) == (2, 2, 4)
    assert (waits.last_error, waits.last_delivered_at) == ("no answer", at)
    assert waits.since is not None
    assert (done.waiting, done.number, done.since, done.last_delivered_at) == (0, None, None, at)


async def test_tail_is_the_last_messages_in_order(
    counts: FeedCountStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await taken(database, "a", connection="silent")
    ids = await taken(database, "b", "c", "d")
    lines = await counts.tail(connection=None, count=2)
    assert [line.control_id for line in lines] == ["c", "d"]
    [line] = await counts.tail(connection="silent", count=2)
    assert (line.status, line.ended_at, line.sender) == ("queued", None, "ADT1|NORTH")
    monkeypatch.setattr(feed_counts, "TAIL_IDS_MAX", len(ids))
    assert await counts.tail(connection="silent", count=2) == ()


async def test_tenants_count_for_themselves(database: Database, database_url: str) -> None:
    await taken(database, "a")
    other = await open_database(database_url, tenant="other")
    try:
        assert await FeedCountStore(other).counts() == ()
        assert await FeedCountStore(other).fold() == 0
    finally:
        await other.close()


async def test_cost_of_a_look_does_not_grow_with_the_inbox(
    counts: FeedCountStore, database: Database
) -> None:
    """Ten times the messages, the same pages, within what an index is deeper."""
    insert = (
        "WITH taken AS (INSERT INTO inbox (tenant, connection, sender, control_id, message_type,"
        " lane, digest, raw, ack, received_at, status, reason)"
        " SELECT $1, 'adt', 's', n::text, 't', 1, sha256(n::text::bytea), 'raw', 'ack', now(),"
        " CASE WHEN n % 3 = 0 THEN 'filtered' ELSE 'delivered' END, 'why'"
        " FROM generate_series($2::int, $3::int) n RETURNING status)"
        " INSERT INTO inbox_change (tenant, connection, reason, received, delivered, filtered)"
        " SELECT $1, 'adt', 'why', count(*), count(*) FILTER (WHERE status = 'delivered'),"
        " count(*) FILTER (WHERE status = 'filtered') FROM taken"
    )
    asked: list[tuple[str, tuple[Any, ...]]] = [
        ("select_counts", ()),
        ("select_oldest_queued", (2_000,)),
        ("select_subscriptions", (100_000,)),
        ("select_tail", (None, 20, 100_000)),
    ]
    pages = []
    for first, last in ((1, 3_000), (3_001, 30_000)):
        await database.fetch(insert, first, last)
        await counts.fold()
        await database.fetch("SELECT $1")
        pages.append([await pages_read(database, QUERIES[name], *given) for name, given in asked])
    for (name, _), before, after in zip(asked, *pages, strict=True):
        assert after <= before + 20, f"{name}: {before} pages, then {after}"
    await check_exact(counts)


async def test_flagged_messages_are_counted_until_they_are_queued_again(
    counts: FeedCountStore, database: Database
) -> None:
    ids = await taken(database, "a", "b", "c")
    async with database.change(EVENT) as transaction:
        ended = [
            Processed(id=ids[0], status=InboxStatus.DELIVERED, flags=("late",)),
            Processed(id=ids[1], status=InboxStatus.FILTERED, reason="x", flags=("charset",)),
            Processed(id=ids[2], status=InboxStatus.DELIVERED),
        ]
        await InboxStore(database).end(transaction, ended)

    async def flagged() -> tuple[int, int]:
        rows = await counts.counts()
        return sum(row.flagged for row in rows), sum(row.late for row in rows)

    assert await flagged() == (2, 1)
    await counts.fold()
    assert await flagged() == (2, 1)
    await requeue(database, *ids)
    assert await flagged() == (1, 1)


async def test_feed_that_never_spoke_was_not_heard(
    counts: FeedCountStore, database: Database
) -> None:
    await taken(database, "a")
    assert await counts.last_heard("another") is None


async def test_feed_was_last_heard_when_its_last_message_came(
    counts: FeedCountStore, database: Database
) -> None:
    await taken(database, "a", "b")
    connection = (await database.fetch("SELECT connection FROM inbox WHERE tenant = $1"))[0][0]
    last = await database.fetch_value("SELECT max(received_at) FROM inbox WHERE tenant = $1")
    assert await counts.last_heard(connection) == last


async def test_feed_behind_many_messages_of_others_is_known_to_the_minute(
    counts: FeedCountStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never later than it was: what guards a write errs to silence."""
    await taken(database, "a")
    connection = (await database.fetch("SELECT connection FROM inbox WHERE tenant = $1"))[0][0]
    monkeypatch.setattr(feed_counts, "HEARD_AMONG", 0)
    assert await counts.last_heard(connection) is None  # not folded yet
    await counts.fold()
    heard = await counts.last_heard(connection)
    assert heard is not None
    assert heard.second == heard.microsecond == 0
    now = await database.fetch_value("SELECT now() WHERE $1 <> ''")
    assert heard <= now
