"""The two kinds of transaction, what is said when the store is gone, what holds tenants apart."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from chartgate.errors import Unavailable
from chartgate.model.audit import AuditEvent
from chartgate.store.database import Database, open_database
from chartgate.testing.clock import FakeClock

# A value of each type, for a row in a table of which nothing else is known.
VALUES = {
    "text": "'x'",
    "integer": "1",
    "smallint": "1",
    "bigint": "1",
    "bigint[]": "'{1}'",
    "boolean": "true",
    "double precision": "0.5",
    "bytea": "'\\x00'::bytea",
    "uuid": "'00000000-0000-0000-0000-000000000001'",
    "timestamp with time zone": "now()",
    "text[]": "'{x}'",
    "bytea[]": "'{}'::bytea[]",
    "date": "current_date",
    "xid8": "pg_current_xact_id()",
    "jsonb": "'{}'",
}
TABLES = """
SELECT c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS is_forced,
       (SELECT array_agg(DISTINCT a.attname::text)
          FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
         WHERE i.indrelid = c.oid) AS leading,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) AS has_key,
       (SELECT array_agg(pg_get_expr(p.polqual, c.oid) || pg_get_expr(p.polwithcheck, c.oid))
          FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
  FROM pg_class c
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'm', 'v', 'f')
   AND c.relname <> 'migration' ORDER BY 1"""
COLUMNS = """
SELECT attname AS name, format_type(atttypid, NULL) AS type
  FROM pg_attribute
 WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped
   AND attidentity = '' AND attgenerated = '' AND attname <> 'tenant'"""
UNRELATED = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f')"""


@pytest.fixture
def halted(clock: FakeClock) -> AuditEvent:
    """The event of a change."""
    return AuditEvent(recorded=clock(), action="charter.halt", agent="person:olu")


@pytest.fixture
async def other_tenant(database_url: str) -> AsyncIterator[Database]:
    """The same database, for another tenant."""
    opened = await open_database(database_url, tenant="other")
    yield opened
    await opened.close()


async def halt(connection: Any, clock: FakeClock, *, tenant: str = "main") -> None:
    query = "INSERT INTO halt VALUES ($1, '*', 'drill', 'person:olu', $2)"
    await connection.execute(query, tenant, clock())


async def halt_and(
    transaction: AbstractAsyncContextManager[Any],
    clock: FakeClock,
    then: Callable[[Any], Awaitable[None]],
) -> None:
    async with transaction as connection:
        await halt(connection, clock)
        await then(connection)


async def broken(connection: Any) -> None:
    raise LookupError


async def counts(database: Database) -> tuple[int, int]:
    return (
        await database.fetch_value("SELECT count(*) FROM halt WHERE tenant = $1"),
        await database.fetch_value("SELECT count(*) FROM audit_event WHERE tenant = $1"),
    )


async def test_change_when_it_commits_leaves_its_audit_events(
    database: Database, clock: FakeClock, halted: AuditEvent
) -> None:
    async with database.change(halted, halted) as connection:
        await halt(connection, clock)
    assert await counts(database) == (1, 2)
    row = await database.fetch_row("SELECT * FROM audit_event WHERE tenant = $1 LIMIT 1")
    assert row is not None
    assert (row["action"], row["agent"], row["recorded"]) == ("charter.halt", "person:olu", clock())


async def test_change_when_its_body_raises_leaves_neither(
    database: Database, clock: FakeClock, halted: AuditEvent
) -> None:
    with pytest.raises(LookupError):
        await halt_and(database.change(halted), clock, broken)
    assert await counts(database) == (0, 0)


async def test_change_without_an_audit_event_is_a_mistake(database: Database) -> None:
    with pytest.raises(AssertionError):
        async with database.change():
            pass


async def test_bookkeeping_leaves_no_audit_event(database: Database, clock: FakeClock) -> None:
    async with database.bookkeeping() as connection:
        await halt(connection, clock)
    assert await counts(database) == (1, 0)


async def test_a_pool_that_is_used_up_is_unavailable_in_time(database_url: str) -> None:
    database = await open_database(
        database_url, tenant="main", connections_max=1, acquire_timeout_s=0.05
    )
    async with database.connection():
        with pytest.raises(Unavailable, match="try again shortly"):
            await database.fetch_value("SELECT $1::text")
    assert await database.fetch_value("SELECT $1::text") == "main"
    await database.close()


async def test_a_connection_that_the_server_ends_is_unavailable_and_the_next_one_works(
    database: Database, postgres_admin: Any, clock: FakeClock, halted: AuditEvent
) -> None:
    async def terminated(connection: Any) -> None:
        backend = connection.get_server_pid()
        await postgres_admin.execute("SELECT pg_terminate_backend($1, 5000)", backend)
        await connection.execute("SELECT 1")

    with pytest.raises(Unavailable):
        await halt_and(database.change(halted), clock, terminated)
    assert await counts(database) == (0, 0)


async def test_open_database_when_nobody_listens_is_unavailable(open_folder: Path) -> None:
    with pytest.raises(Unavailable, match="is PostgreSQL running"):
        await open_database(f"postgresql://chartgate@/x?host={open_folder}", tenant="main")


async def test_every_table_leads_with_the_tenant_and_is_held_apart_by_it(
    database: Database,
) -> None:
    async with database.connection() as connection:
        tables = await connection.fetch(TABLES)
    assert len(tables) > 20
    for table in tables:
        assert table["is_forced"], table["name"]
        assert table["has_key"], table["name"]
        assert table["leading"] == ["tenant"], f"an index of {table['name']} does not lead with it"
        assert len(table["policies"]) == 1, table["name"]
        held = "(tenant = current_setting('chartgate.tenant'::text))"
        assert table["policies"][0] == held * 2, table["name"]


async def test_a_tenant_never_meets_a_row_of_another_in_any_table(
    database: Database, other_tenant: Database
) -> None:
    """Not by reading, changing, removing, adding or giving away."""
    async with database.connection() as mine, other_tenant.connection() as theirs:
        for statement in await mine.fetch(UNRELATED):  # so that any row will do
            await mine.execute(statement[0])
        for table in await mine.fetch(TABLES):
            name = table["name"]
            await theirs.execute(await insert_of(theirs, name, tenant="other"))
            await check_apart(mine, name)
            assert await theirs.fetchval(f"SELECT count(*) FROM {name}") == 1  # noqa: S608


async def insert_of(connection: Any, table: str, *, tenant: str) -> str:
    columns = await connection.fetch(COLUMNS, table)
    names = ", ".join(["tenant", *(f'"{c["name"]}"' for c in columns)])
    values = ", ".join([f"'{tenant}'", *(VALUES[c["type"]] for c in columns)])
    return f"INSERT INTO {table} ({names}) VALUES ({values})"  # noqa: S608


async def check_apart(mine: Any, table: str) -> None:
    assert await mine.fetchval(f"SELECT count(*) FROM {table}") == 0, table  # noqa: S608
    assert await mine.execute(f"UPDATE {table} SET tenant = 'main'") == "UPDATE 0"  # noqa: S608
    assert await mine.execute(f"DELETE FROM {table}") == "DELETE 0"  # noqa: S608
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await mine.execute(await insert_of(mine, table, tenant="other"))
    await mine.execute(await insert_of(mine, table, tenant="main"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await mine.execute(f"UPDATE {table} SET tenant = 'other'")  # noqa: S608


async def test_a_connection_without_a_tenant_reads_nothing(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        with pytest.raises(asyncpg.UndefinedObjectError, match=r"chartgate\.tenant"):
            await connection.fetch("SELECT * FROM halt")
    finally:
        await connection.close()


async def test_query_for_rows_spares_the_sweep_and_a_lock_does_not(database_url: str) -> None:
    asked = "SELECT query FROM pg_stat_activity WHERE pid = $2 AND $1 <> ''"
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = $2 AND $1 <> ''"
    watching = await open_database(database_url, tenant="main", connections_max=1)
    database = await open_database(database_url, tenant="main", connections_max=1)
    pid = await database.fetch_value("SELECT pg_backend_pid() + 0 * length($1)")
    assert (await watching.fetch_value(asked, pid)).startswith("SELECT pg_backend_pid()")
    async with database.connection() as connection:
        await connection.execute("SELECT pg_advisory_lock(7)")
        assert await watching.fetch_value(locks, pid) == 1
    assert await watching.fetch_value(locks, pid) == 0
    await database.fetch_value("SELECT 1 + 0 * length($1)")
    assert (await watching.fetch_value(asked, pid)).startswith("SELECT 1 ")
    for each in (watching, database):
        await each.close()


async def test_the_tenant_of_a_pool_stays_after_each_use(database_url: str) -> None:
    """What a connection was told for one use does not leak into the next."""
    database = await open_database(database_url, tenant="main", connections_max=1)
    async with database.connection() as connection:
        await connection.execute("SET chartgate.tenant = 'other'")
    tenant = "SELECT current_setting('chartgate.tenant') || left($1, 0)"
    assert await database.fetch_value(tenant) == "main"
    await database.close()


@pytest.mark.parametrize("sqlstate", ["53100", "58030", "XX000", "57P01"])
async def test_store_that_fails_in_a_statement_is_unavailable(
    database: Database, sqlstate: str
) -> None:
    """A full disk, one that fails, a file that cannot grow, and a goodbye."""
    failing = f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{sqlstate}'; END $$"
    with pytest.raises(Unavailable):
        async with database.bookkeeping() as transaction:
            await transaction.execute(failing)
    assert await database.fetch_value("SELECT $1::text") == database.tenant
