"""Migrations arrive at schema.sql, and a store that could lose what it holds is refused."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from chartgate.errors import ConfigError, Unavailable
from chartgate.store import embedded
from chartgate.store.embedded import EmbeddedServer, start_embedded
from chartgate.store.embedded_account import own_account, run_as
from chartgate.store.migrate import (
    Migration,
    apply_migrations,
    check_facts,
    check_store,
    load_migrations,
    migrate,
)

SAFE = {
    "server_version_num": 150_000,
    "server_version": "15.0",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "role": "chartgate",
    "is_superuser": False,
    "bypasses_rls": False,
    "unlogged": [],
}
FIRST = Migration(version=1, name="first", script="CREATE TABLE one (n int)")
SECOND = Migration(version=2, name="second", script="ALTER TABLE one ADD m int")


@pytest.fixture
async def empty_url(postgres: EmbeddedServer, postgres_admin: Any) -> AsyncIterator[str]:
    """URL of a database with nothing in it."""
    await postgres_admin.execute("CREATE DATABASE empty OWNER chartgate")
    yield postgres.url.replace("/chartgate?", "/empty?")
    await postgres_admin.execute("DROP DATABASE empty WITH (FORCE)")


async def run(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def dumped(postgres: EmbeddedServer, url: str) -> str:
    """The schema as pg_dump says it, without what differs between two runs."""
    options = ["--schema-only", "--exclude-table=migration"]
    dump: list[str | Path] = [postgres.programs / "pg_dump", *options, url]
    done = run_as(own_account(), dump)
    assert done.returncode == 0, done.stderr
    return re.sub(r"^\\(un)?restrict .*$", "", done.stdout, flags=re.MULTILINE)


async def test_migrations_arrive_at_schema_sql(
    postgres: EmbeddedServer, empty_url: str, database_url: str
) -> None:
    schema = (resources.files("chartgate.store") / "schema.sql").read_text(encoding="utf-8")
    await run(empty_url, schema)
    assert dumped(postgres, database_url) == dumped(postgres, empty_url)


async def test_migrate_again_changes_nothing(postgres: EmbeddedServer, database_url: str) -> None:
    before = dumped(postgres, database_url)
    assert await migrate(database_url) == len(load_migrations())
    assert dumped(postgres, database_url) == before


async def test_migrate_from_many_processes_at_once_applies_each_once(empty_url: str) -> None:
    versions = await asyncio.gather(*(migrate(empty_url) for _ in range(4)))
    assert set(versions) == {len(load_migrations())}


async def test_only_what_is_missing_is_applied(empty_url: str) -> None:
    assert await apply_migrations(empty_url, [FIRST]) == 1
    assert await apply_migrations(empty_url, [FIRST, SECOND]) == 2
    await run(empty_url, "SELECT n, m FROM one")


async def test_a_migration_that_fails_leaves_the_one_before_it(empty_url: str) -> None:
    broken = Migration(version=2, name="broken", script="CREATE TABLE two (n int); SELECT nothing")
    with pytest.raises(asyncpg.UndefinedColumnError):
        await apply_migrations(empty_url, [FIRST, broken])
    with pytest.raises(asyncpg.UndefinedTableError):
        await run(empty_url, "SELECT 1 FROM two")
    assert await apply_migrations(empty_url, [FIRST, SECOND]) == 2


async def test_a_database_newer_than_the_code_is_refused(empty_url: str) -> None:
    await apply_migrations(empty_url, [FIRST, SECOND])
    with pytest.raises(ConfigError, match="at schema version 2, and this Chartgate knows 1"):
        await apply_migrations(empty_url, [FIRST])


async def test_a_migration_that_was_changed_after_it_was_applied_is_refused(
    empty_url: str,
) -> None:
    await apply_migrations(empty_url, [FIRST])
    changed = Migration(version=1, name="first", script=FIRST.script + " ")
    with pytest.raises(ConfigError, match=r"migration 1 \(first\) is not the one"):
        await apply_migrations(empty_url, [changed])


async def test_a_role_that_may_make_no_tables_is_refused(
    postgres_admin: Any, empty_url: str
) -> None:
    await postgres_admin.execute("CREATE ROLE guest LOGIN PASSWORD 'x'")
    guest = re.sub(r"//chartgate@(.*)&passfile=.*", r"//guest:x@\1", empty_url)
    try:
        with pytest.raises(ConfigError, match="make it the owner of its database"):
            await migrate(guest)
    finally:
        await postgres_admin.execute("DROP ROLE guest")


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
async def test_a_server_that_runs_with_an_unsafe_setting_is_refused(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(embedded, "SETTINGS", {**embedded.SETTINGS, name: "off"})
    server = start_embedded(open_folder / name)
    try:
        with pytest.raises(ConfigError, match=f"{name} is off.* set {name} = on"):
            await check_store(server.url)
    finally:
        server.stop()
        shutil.rmtree(open_folder / name)


@pytest.mark.parametrize("whose", ["ROLE late", "DATABASE {database}"])
@pytest.mark.parametrize("value", ["off", "local"])
async def test_unsafe_synchronous_commit_of_a_role_or_a_database_is_refused(
    postgres_admin: Any, database_url: str, whose: str, value: str
) -> None:
    """SHOW in another session would say `on`."""
    database = re.findall(r"/(test_\d+)\?", database_url)[0]
    late = re.sub(r"//chartgate@(.*)&passfile=.*", r"//late:x@\1", database_url)
    await postgres_admin.execute("CREATE ROLE late LOGIN PASSWORD 'x'")
    target = whose.format(database=database)
    try:
        await check_store(late)
        await postgres_admin.execute(f"ALTER {target} SET synchronous_commit = {value}")
        with pytest.raises(ConfigError, match=f"synchronous_commit is {value} for role late"):
            await check_store(late)
    finally:
        await postgres_admin.execute("DROP ROLE late")


async def test_an_unlogged_table_is_refused(database_url: str) -> None:
    await run(database_url, "CREATE UNLOGGED TABLE quick (n int)")
    with pytest.raises(ConfigError, match=r"the tables quick are unlogged.*SET LOGGED"):
        await check_store(database_url)


async def test_a_superuser_is_refused(postgres: EmbeddedServer) -> None:
    with pytest.raises(ConfigError, match="role postgres is a superuser"):
        await check_store(postgres.admin_url)


async def test_a_role_that_bypasses_row_level_security_is_refused(
    postgres_admin: Any, database_url: str
) -> None:
    await postgres_admin.execute("CREATE ROLE passer LOGIN BYPASSRLS PASSWORD 'x'")
    passer = re.sub(r"//chartgate@(.*)&passfile=.*", r"//passer:x@\1", database_url)
    try:
        with pytest.raises(ConfigError, match="role passer is BYPASSRLS"):
            await check_store(passer)
    finally:
        await postgres_admin.execute("DROP ROLE passer")


async def test_the_store_of_the_wheel_is_accepted(database_url: str) -> None:
    await check_store(database_url)


def test_an_old_server_is_refused() -> None:
    check_facts(SAFE)
    with pytest.raises(ConfigError, match=r"PostgreSQL 14.9 is too old; Chartgate needs 15"):
        check_facts({**SAFE, "server_version_num": 140_009, "server_version": "14.9"})


async def test_a_server_that_is_not_there_is_unavailable(open_folder: Path) -> None:
    for ask in (check_store, migrate):
        with pytest.raises(Unavailable, match="is PostgreSQL running"):
            await ask(f"postgresql://chartgate@/chartgate?host={open_folder}")


@pytest.mark.parametrize("wrong", ["//nobody:x@", "//chartgate:x@"])
async def test_a_role_or_password_that_is_wrong_says_so(
    postgres: EmbeddedServer, wrong: str
) -> None:
    url = re.sub(r"//chartgate@(.*)&passfile=.*", rf"{wrong}\1", postgres.url)
    with pytest.raises(ConfigError, match="database_url names a role, password or database"):
        await check_store(url)


@pytest.mark.parametrize("url", ["mysql://x/y", "", "postgresql://h:port/x", "not a url"])
async def test_a_url_that_is_none_says_so(url: str) -> None:
    with pytest.raises((ConfigError, Unavailable), match="database_url"):
        await check_store(url)


@pytest.mark.skipif(not Path("/usr/lib/postgresql/15/bin").is_dir(), reason="no PostgreSQL 15")
async def test_postgresql_15_takes_the_same_schema(open_folder: Path) -> None:
    """The oldest that is supported, where the system has one."""
    data_dir = open_folder / "fifteen"
    server = start_embedded(data_dir, postgres_bin="/usr/lib/postgresql/15/bin")
    try:
        await migrate(server.url)
        await check_store(server.url)
    finally:
        server.stop()
        shutil.rmtree(data_dir)
    assert not os.path.exists(data_dir)
