"""Row-level security as the second wall, with the first one turned off.

Every table and every named query is found by looking, so that a new one cannot be forgotten. Both
tenants have a row in every table, made of values by type; constraints are dropped for that in the
test's own database. Each query of the code is then run by a session of ours with its tenant filter
satisfied by the other tenant's name: it must do what it does for a tenant that has nothing.
"""

import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, date, datetime
from importlib import resources
from typing import Any

import asyncpg
import pytest

from chartgate.errors import ConfigError
from chartgate.store.embedded import EmbeddedServer
from chartgate.store.migrate import QUERIES as MIGRATE
from chartgate.store.migrate import check_facts, check_store
from chartgate.store.queries import load_queries
from tests.conftest import at_database

OURS, THEIRS, NOBODY = "main", "theirs", "nobody"
TABLES = """
    SELECT c.relname FROM pg_class c
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
      AND c.relname <> 'migration' ORDER BY 1"""
COLUMNS = """
    SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type, a.attidentity <> '' AS identity
    FROM pg_attribute a WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped"""
CONSTRAINTS = """
    SELECT conrelid::regclass::text AS "table", conname AS name FROM pg_constraint
    WHERE contype IN ('c', 'f') AND connamespace = 'public'::regnamespace
    ORDER BY contype DESC"""
VALUES: dict[str, Any] = {
    "text": "value",
    "bytea": b"\x01" * 32,
    "bigint": 7,
    "integer": 7,
    "smallint": 7,
    "double precision": 0.7,
    "boolean": True,
    "timestamp with time zone": datetime(2026, 1, 2, tzinfo=UTC),
    "date": date(2026, 1, 2),
    "uuid": uuid.UUID(int=7),
    "xid8": 7,
}
NAMES = {  # of types, as asyncpg calls them
    "timestamptz": "timestamp with time zone", "int8": "bigint", "int4": "integer",
    "int2": "smallint", "bool": "boolean", "float8": "double precision",
}  # fmt: skip


def value_of(type_: str) -> Any:
    """One value of a type; of an array, an array of one."""
    if type_.endswith("[]"):
        return [value_of(type_[:-2])]
    return VALUES[NAMES.get(type_, type_)]


def named_queries() -> list[tuple[str, str]]:
    """File and name of every query whose first parameter is the tenant."""
    folder = resources.files("chartgate.store")
    files = sorted(
        f.name for f in folder.iterdir()
        if f.name.endswith(".sql") and f.name not in ("schema.sql", "migrate.sql")
    )  # fmt: skip
    return [
        (file, name) for file in files for name, text in load_queries(file).items() if "$1" in text
    ]


@pytest.fixture(scope="module")
async def crowded(
    postgres: EmbeddedServer, postgres_admin: Any, template: str
) -> AsyncIterator[str]:
    """A database in which both tenants have one row in every table; the name of it."""
    name = "test_tenants"
    await postgres_admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER chartgate")
    admin = await asyncpg.connect(at_database(postgres.admin_url, name))
    for row in await admin.fetch(CONSTRAINTS):
        await admin.execute(f'ALTER TABLE {row["table"]} DROP CONSTRAINT "{row["name"]}"')
    for row in await admin.fetch(TABLES):
        table = row["relname"]
        columns = await admin.fetch(COLUMNS, table)
        names = ", ".join(column["name"] for column in columns)
        marks = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        for tenant in (OURS, THEIRS):
            values = [tenant if c["name"] == "tenant" else value_of(c["type"]) for c in columns]
            await admin.execute(
                f"INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE VALUES ({marks})",  # noqa: S608
                *values,
            )
    await admin.close()
    yield name
    await postgres_admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def session(postgres: EmbeddedServer, crowded: str) -> AsyncIterator[Any]:
    """Connected as the application is, for our tenant."""
    connection = await asyncpg.connect(
        at_database(postgres.url, crowded), server_settings={"chartgate.tenant": OURS}
    )
    yield connection
    await connection.close()


@pytest.fixture
async def admin(postgres: EmbeddedServer, crowded: str) -> AsyncIterator[Any]:
    """Whom no wall holds: shows that there is something behind it."""
    connection = await asyncpg.connect(
        at_database(postgres.admin_url, crowded), server_settings={"chartgate.tenant": OURS}
    )
    yield connection
    await connection.close()


async def tables(connection: Any) -> list[str]:
    return [row["relname"] for row in await connection.fetch(TABLES)]


async def test_every_table_has_its_wall_forced_and_leads_with_the_tenant(admin: Any) -> None:
    query = """
        SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS walled,
               (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies,
               (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = 1) AS first
        FROM pg_class c WHERE c.relkind IN ('r', 'p')
          AND c.relnamespace = 'public'::regnamespace AND c.relname <> 'migration'"""
    rows = await admin.fetch(query)
    assert len(rows) > 50
    assert [r["relname"] for r in rows if not r["walled"] or r["policies"] != 1] == []
    assert [r["relname"] for r in rows if r["first"] != "tenant"] == []


async def test_without_any_filter_each_table_shows_our_row_alone(session: Any, admin: Any) -> None:
    for table in await tables(admin):
        every = f"SELECT tenant FROM {table} ORDER BY 1"  # noqa: S608
        assert [r["tenant"] for r in await admin.fetch(every)] == [OURS, THEIRS], table
        assert [r["tenant"] for r in await session.fetch(every)] == [OURS], table


async def test_without_any_filter_nothing_of_theirs_is_changed_deleted_or_added(
    session: Any, admin: Any
) -> None:
    for table in await tables(admin):
        transaction = session.transaction()
        await transaction.start()
        assert await session.execute(f"UPDATE {table} SET tenant = tenant") == "UPDATE 1", table  # noqa: S608
        assert await session.execute(f"DELETE FROM {table}") == "DELETE 1", table  # noqa: S608
        await transaction.rollback()
        theirs = f'jsonb_populate_record(t, \'{{"tenant": "{THEIRS}"}}\')'
        moved = f"SELECT (r).* FROM (SELECT {theirs} AS r FROM {table} t) AS moved"  # noqa: S608
        for change in (
            f"UPDATE {table} SET tenant = '{THEIRS}'",  # noqa: S608
            f"INSERT INTO {table} {moved}",
        ):
            with pytest.raises(asyncpg.PostgresError) as refused:
                await session.execute(change)
            expected = (asyncpg.InsufficientPrivilegeError, asyncpg.GeneratedAlwaysError)
            assert isinstance(refused.value, expected), (table, refused.value)


async def test_session_that_names_no_tenant_sees_and_does_nothing(
    postgres: EmbeddedServer, crowded: str, admin: Any
) -> None:
    bare = await asyncpg.connect(at_database(postgres.url, crowded))
    for table in await tables(admin):
        with pytest.raises(asyncpg.UndefinedObjectError):
            await bare.fetch(f"SELECT * FROM {table}")  # noqa: S608
    await bare.close()


@pytest.mark.parametrize(("file", "name"), named_queries())
async def test_query_with_another_tenants_name_does_what_it_does_for_nobody(
    session: Any, file: str, name: str
) -> None:
    query = load_queries(file)[name]
    assert await outcome(session, query, THEIRS) == await outcome(session, query, NOBODY)


async def test_the_same_queries_find_a_lot_where_no_wall_stands(admin: Any) -> None:
    """Else the test above would pass for looking at nothing."""
    found = 0
    for file, name in named_queries():
        query = load_queries(file)[name]
        found += await outcome(admin, query, THEIRS) != await outcome(admin, query, NOBODY)
    assert found > 100


async def outcome(connection: Any, query: str, tenant: str) -> tuple[Any, ...]:
    """What a query gives and how many rows it touches, undone again; or the kind of its error,
    where it writes rows for a tenant that is not the session's."""
    statement = await connection.prepare(query)
    parameters = [value_of(parameter.name) for parameter in statement.get_parameters()]
    if not parameters or not isinstance(parameters[0], str):
        return ()
    transaction = connection.transaction()
    await transaction.start()
    try:
        rows = await statement.fetch(tenant, *parameters[1:])
        return tuple(map(tuple, rows)), statement.get_statusmsg()
    except asyncpg.PostgresError as error:
        return (type(error).__name__,)
    finally:
        with suppress(asyncpg.PostgresError):
            await transaction.rollback()


async def test_the_applications_role_is_held_by_the_wall(postgres: EmbeddedServer) -> None:
    """Also that of a PostgreSQL of our own, which has a superuser beside it."""
    await check_store(postgres.url)
    with pytest.raises(ConfigError, match="superuser"):
        await check_store(postgres.admin_url)


@pytest.mark.parametrize(
    ("power", "said"), [("is_superuser", "superuser"), ("bypasses_rls", "BYPASSRLS")]
)
async def test_role_that_passes_through_the_wall_is_refused_at_start(
    session: Any, power: str, said: str
) -> None:
    facts = dict(await session.fetchrow(MIGRATE["read_store_facts"]))
    check_facts(facts)
    with pytest.raises(ConfigError, match=said):
        check_facts({**facts, power: True})
