"""The sequencer: 0, 1, 2 … over exactly the committed events, whatever happens around it."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from chartgate.errors import LedgerRewound, Unavailable
from chartgate.formats.merkle import Frontier, leaf_hash
from chartgate.model.audit import AuditEvent
from chartgate.store.database import Database, append_audit_events
from chartgate.store.ledger import QUERIES, LedgerStore

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def event(n: int) -> AuditEvent:
    return AuditEvent(
        recorded=START + timedelta(seconds=n), action="web.refuse", agent="process:t", reason=str(n)
    )


async def add_events(database: Database, count: int) -> None:
    async with database.change(*(event(n) for n in range(count))):
        pass


async def drain(store: LedgerStore, *, batch_max: int = 2000) -> int:
    """Sequences until nothing is left."""
    total = 0
    while count := (await store.sequence(batch_max=batch_max)).count:
        total += count
    return total


async def assert_whole(database: Database) -> int:
    """Numbers are 0..n-1, each event has one, and tree and cursor are right; n."""
    leaves = await database.fetch(
        "SELECT l.seq, l.event_id, l.hash, e.body FROM ledger_leaf l LEFT JOIN audit_event e"
        " ON e.tenant = $1 AND e.id = l.event_id WHERE l.tenant = $1 ORDER BY l.seq"
    )
    ids = await database.fetch("SELECT id FROM audit_event WHERE tenant = $1")
    assert [leaf["seq"] for leaf in leaves] == list(range(len(leaves)))
    assert sorted(leaf["event_id"] for leaf in leaves) == sorted(row["id"] for row in ids)
    frontier = Frontier()
    nodes = {}
    for leaf in leaves:
        assert leaf["hash"] == leaf_hash(leaf["body"])
        nodes.update({(n.level, n.idx): n.hash for n in frontier.append(leaf["hash"])})
    stored = await database.fetch("SELECT level, idx, hash FROM ledger_node WHERE tenant = $1")
    assert {(row["level"], row["idx"]): row["hash"] for row in stored} == nodes
    async with database.connection() as connection:
        loaded = await LedgerStore(database).frontier(connection, len(leaves))
    assert loaded.root() == frontier.root()
    return len(leaves)


async def test_sequence_of_nothing_does_nothing(database: Database) -> None:
    assert (await LedgerStore(database).sequence(batch_max=10)).count == 0
    assert await assert_whole(database) == 0


@pytest.mark.parametrize("batch_max", [1, 7, 256, 2000])
async def test_sequence_in_batches_of_any_size_numbers_every_event(
    database: Database, batch_max: int
) -> None:
    await add_events(database, 300 if batch_max < 10 else 700)
    store = LedgerStore(database)
    first = await store.sequence(batch_max=batch_max)
    assert first.oldest == START
    await drain(store, batch_max=batch_max)
    await add_events(database, 5)
    assert await drain(store, batch_max=batch_max) == 5
    assert await assert_whole(database) in (305, 705)


async def test_sequence_past_a_long_transaction_waits_for_it_and_leaves_no_event_out(
    database: Database,
) -> None:
    """Its events have lower ids than those committed meanwhile: numbering by id would skip it."""
    store = LedgerStore(database)
    await drain(store)
    async with database.bookkeeping() as long:
        await append_audit_events(long, database.tenant, [event(0)])
        await add_events(database, 3)
        assert await drain(store) == 0
        async with database.connection() as connection:
            assert (await store.waiting(connection)).waiting == 3
    assert await drain(store) == 4
    assert await assert_whole(database) == 4


class RolledBackError(Exception):
    """Ends a transaction of `write_at_random`."""


async def write_at_random(database: Database, dice: random.Random) -> None:
    """One transaction that adds events, now and then slow, now and then rolled back."""
    abort = dice.random() < 0.3
    try:
        async with database.bookkeeping() as connection:
            await append_audit_events(
                connection, database.tenant, [event(n) for n in range(dice.randrange(1, 4))]
            )
            await asyncio.sleep(dice.choice([0, 0, 0.002, 0.03]))
            if dice.random() < 0.3:
                async with connection.transaction():  # a savepoint: another transaction id inside
                    await append_audit_events(connection, database.tenant, [event(9)])
            if abort:
                raise RolledBackError
    except RolledBackError:
        pass


async def test_sequence_beside_many_transactions_numbers_each_committed_event_once(
    database: Database,
) -> None:
    """Three sequencers compete, and are cancelled and started anew, while writers write."""
    dice = random.Random(7)
    writing = asyncio.Event()

    async def sequence_until_done() -> None:
        while not writing.is_set():
            task = asyncio.create_task(LedgerStore(database).sequence(batch_max=5))
            await asyncio.wait([task], timeout=dice.choice([0.0005, 0.003, 1]))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def write_many() -> None:
        for _ in range(40):
            await write_at_random(database, dice)

    async with asyncio.TaskGroup() as group:
        sequencers = [group.create_task(sequence_until_done()) for _ in range(3)]
        writers = [group.create_task(write_many()) for _ in range(6)]
        await asyncio.wait(writers)
        writing.set()
        await asyncio.wait(sequencers)
    await drain(LedgerStore(database))
    assert await assert_whole(database) > 200


async def test_sequence_while_another_leads_does_nothing(database: Database) -> None:
    await add_events(database, 3)
    store = LedgerStore(database)
    async with store.lead() as connection:
        assert connection is not None
        assert (await store.sequence(batch_max=10)).count == 0
    assert (await store.sequence(batch_max=10)).count == 3


async def test_sequence_when_its_connection_is_killed_leaves_nothing_half_done(
    database: Database, postgres_admin: Any
) -> None:
    await add_events(database, 20)
    store = LedgerStore(database)
    with pytest.raises(Unavailable):
        await lead_until_killed(store, database, postgres_admin)
    assert await drain(store) == 20
    assert await assert_whole(database) == 20


async def lead_until_killed(store: LedgerStore, database: Database, admin: Any) -> None:
    async with store.lead() as connection:
        assert connection is not None
        await connection.execute(
            "INSERT INTO ledger_leaf SELECT $1, 0, 1, decode(repeat('00', 32), 'hex')",
            database.tenant,
        )
        await admin.fetch("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        await connection.execute("SELECT 1")


@pytest.mark.parametrize("change", ["cluster", "reset"])
async def test_sequence_in_a_restored_cluster_leaves_no_event_out_and_doubles_none(
    database: Database, change: str
) -> None:
    """There, transaction ids begin anew: rows of the old cluster lie far ahead of new ones."""
    store = LedgerStore(database)
    await add_events(database, 10)
    assert await drain(store) == 10
    await add_events(database, 4)  # not numbered when the copy was made
    far = 10**9
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE audit_event SET xid = (xid::text::bigint + $1)::text::xid8", far
        )
        await connection.execute(
            "UPDATE ledger_cursor SET xid = (xid::text::bigint + $1)::text::xid8", far
        )
        if change == "cluster":
            await connection.execute("UPDATE ledger_cursor SET system_identifier = '7'")
    await add_events(database, 3)  # new, with low transaction ids
    assert await drain(store, batch_max=2) == 7
    await add_events(database, 2)
    assert await drain(store, batch_max=2) == 2
    assert await assert_whole(database) == 19
    # In the end the new ids come to where the old ones lie: those rows must be passed over.
    async with database.connection() as connection:
        await connection.execute("UPDATE audit_event SET xid = '3'::xid8 WHERE id <= 10")
        await connection.execute("UPDATE ledger_cursor SET xid = '2'::xid8")
    assert await drain(store) == 0
    await add_events(database, 1)
    assert await drain(store) == 1
    assert await assert_whole(database) == 20


async def test_sequence_on_a_tree_with_a_missing_leaf_stops_and_says_so(
    database: Database,
) -> None:
    store = LedgerStore(database)
    await add_events(database, 10)
    await drain(store)
    async with database.connection() as connection:
        await connection.execute("DELETE FROM ledger_leaf WHERE seq = 4")
    await add_events(database, 1)
    with pytest.raises(LedgerRewound, match="chartgate ledger verify"):
        await store.sequence(batch_max=10)


async def test_sequence_of_one_tenant_leaves_another_alone(
    database: Database, database_url: str
) -> None:
    await add_events(database, 3)
    other = await asyncpg.connect(database_url, server_settings={"chartgate.tenant": "other"})
    await append_audit_events(other, "other", [event(0)])
    await drain(LedgerStore(database))
    assert await other.fetchval("SELECT count(*) FROM ledger_leaf") == 0
    await other.close()
    assert await assert_whole(database) == 3


async def test_sequence_and_its_queries_use_the_indexes(database: Database) -> None:
    """At a size at which a look at all rows would show: the plan, not the time, is compared."""
    await add_events(database, 3000)
    store = LedgerStore(database)
    await drain(store)
    await add_events(database, 3)
    async with database.connection() as connection:
        await connection.execute("ANALYZE")
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        rows = await connection.fetch(f"EXPLAIN {settled_query()}")
    plan = "\n".join(row[0] for row in rows)
    assert "audit_event_settled" in plan
    assert "Seq Scan" not in plan


def settled_query() -> str:
    """`read_settled` with constants in place of parameters, for EXPLAIN."""

    query = QUERIES["read_settled"].partition("SELECT")[2]
    constants = {"$1": "'main'", "$2": "900", "$3": "0", "$4": "999999", "$5": "100"}
    for parameter, constant in constants.items():
        query = query.replace(parameter, constant)
    return f"SELECT {query}"
