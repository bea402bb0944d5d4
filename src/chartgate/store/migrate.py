"""Brings the schema up to date, and refuses a store that does not keep what it is given.

migrations/NNNN_name.sql are applied in order, each in a transaction of its own with its row in
`migration`. A file that was applied is never changed: its digest is kept, and checked.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import asyncpg

from chartgate.errors import ConfigError, ErrorMap, mapped
from chartgate.failpoints import failpoint
from chartgate.store.database import GONE
from chartgate.store.queries import load_queries

QUERIES = load_queries("migrate.sql")
FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
CONNECT_TIMEOUT_S = 10.0
STATEMENT_TIMEOUT_S = 600.0  # a migration may rewrite a large table, or wait for another's
SAY_UNREACHABLE = "the store cannot be reached; is PostgreSQL running, and database_url right?"
SAY_INTERRUPTED = "the store went away while its schema was brought up to date; start again"
NOT_ALLOWED: ErrorMap = {asyncpg.InsufficientPrivilegeError: ConfigError}
SAY_NOT_ALLOWED = "the role of database_url may not make tables; make it the owner of its database"

SERVER_VERSION_MIN = 150_000
# "local" would not wait for a standby that the hospital keeps in step on purpose.
SYNCHRONOUS_COMMIT_SAFE = ("on", "remote_write", "remote_apply")


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One file of migrations/."""

    version: int
    name: str
    script: str

    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.script.encode()).hexdigest()


async def migrate(url: str) -> int:
    """Applies what is missing, and returns the version. Raises ConfigError, Unavailable.

    Safe to run from many processes at once: they queue for an advisory lock.
    """
    return await apply_migrations(url, load_migrations())


async def apply_migrations(url: str, migrations: Sequence[Migration]) -> int:
    """As `migrate`, with the migrations given."""
    connection = await _connect(url)
    try:
        with mapped(GONE, SAY_INTERRUPTED), mapped(NOT_ALLOWED, SAY_NOT_ALLOWED):
            await _apply_missing(connection, migrations)
    finally:
        await connection.close(timeout=CONNECT_TIMEOUT_S)  # which gives the lock back
    return len(migrations)


def load_migrations() -> tuple[Migration, ...]:
    """The files of migrations/, in order: 1, 2, 3 …"""
    folder = resources.files("chartgate.store") / "migrations"
    files = {f.name: f for f in folder.iterdir() if f.name.endswith(".sql")}
    migrations = []
    for number, name in enumerate(sorted(files), start=1):
        parts = FILE_NAME.fullmatch(name)
        assert parts is not None, f"{name} is not named NNNN_name.sql"
        assert int(parts[1]) == number, f"{name} is not number {number}"
        script = files[name].read_text(encoding="utf-8")
        migrations.append(Migration(version=number, name=parts[2], script=script))
    return tuple(migrations)


def check_applied(applied: Mapping[int, str], migrations: Sequence[Migration]) -> None:
    """Raises ConfigError when the database did not come from these migrations."""
    known = {m.version: m for m in migrations}
    newest = max(applied, default=0)
    if newest > len(migrations):
        raise ConfigError(
            f"the database is at schema version {newest}, and this Chartgate knows "
            f"{len(migrations)}; start the newer Chartgate that migrated it"
        )
    for version, digest in applied.items():
        if known[version].digest != digest:
            raise ConfigError(
                f"migration {version} ({known[version].name}) is not the one that this database "
                "was made with; start the Chartgate release that made it, or an empty database"
            )


async def check_store(url: str) -> None:
    """Raises ConfigError when the store could lose or mix up what it holds. Says what to change.

    The settings are those that our own role gets on this database, as its connections see them.
    """
    connection = await _connect(url)
    try:
        with mapped(GONE, SAY_UNREACHABLE):
            facts = await connection.fetchrow(QUERIES["read_store_facts"])
    finally:
        await connection.close(timeout=CONNECT_TIMEOUT_S)
    check_facts(facts)


def check_facts(facts: Mapping[str, Any]) -> None:
    """As `check_store`, of what the query `read_store_facts` found."""
    if facts["server_version_num"] < SERVER_VERSION_MIN:
        raise ConfigError(
            f"PostgreSQL {facts['server_version']} is too old; Chartgate needs 15 or newer"
        )
    for name in ("fsync", "full_page_writes"):
        if facts[name] != "on":
            raise ConfigError(
                f"{name} is {facts[name]}: a crash can lose what was acknowledged; "
                f"set {name} = on in postgresql.conf and reload"
            )
    if facts["synchronous_commit"] not in SYNCHRONOUS_COMMIT_SAFE:
        raise ConfigError(
            f"synchronous_commit is {facts['synchronous_commit']} for role {facts['role']}: a "
            "crash can lose what was acknowledged; set it to on, also where ALTER ROLE or "
            "ALTER DATABASE turned it off"
        )
    _check_role(facts)
    if facts["unlogged"]:
        raise ConfigError(
            f"the tables {', '.join(facts['unlogged'])} are unlogged: a crash empties them; "
            "run ALTER TABLE … SET LOGGED on each"
        )


def _check_role(facts: Mapping[str, Any]) -> None:
    if facts["is_superuser"] or facts["bypasses_rls"]:
        power = "a superuser" if facts["is_superuser"] else "BYPASSRLS"
        raise ConfigError(
            f"role {facts['role']} is {power}, so row-level security does not hold it; "
            "use a role made with NOSUPERUSER NOBYPASSRLS in database_url"
        )


async def _apply_missing(connection: Any, migrations: Sequence[Migration]) -> None:
    await connection.execute(QUERIES["lock_migrations"])
    await connection.execute(QUERIES["create_migration_table"])
    rows = await connection.fetch(QUERIES["list_migrations"])
    check_applied({row["version"]: row["digest"] for row in rows}, migrations)
    for migration in migrations[len(rows) :]:
        async with connection.transaction():
            await connection.execute(migration.script)
            await connection.execute(
                QUERIES["insert_migration"], migration.version, migration.name, migration.digest
            )
            failpoint("c16.migration")


async def _connect(url: str) -> Any:
    wrong: ErrorMap = {
        asyncpg.InvalidAuthorizationSpecificationError: ConfigError,
        asyncpg.InvalidCatalogNameError: ConfigError,
        asyncpg.ClientConfigurationError: ConfigError,
        ValueError: ConfigError,  # a port that is no number
    }
    with (
        mapped(GONE, SAY_UNREACHABLE),
        mapped(wrong, "database_url names a role, password or database that PostgreSQL refuses"),
    ):
        return await asyncpg.connect(
            url, timeout=CONNECT_TIMEOUT_S, command_timeout=STATEMENT_TIMEOUT_S
        )
