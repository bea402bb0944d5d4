"""Staff who may sign in, and their sessions. Passwords and cookies are kept as hashes only."""

from dataclasses import dataclass
from datetime import datetime

from chartgate.model.principal import Person
from chartgate.store.database import Connection, Database, Row
from chartgate.store.queries import load_queries

QUERIES = load_queries("people.sql")


@dataclass(frozen=True, kw_only=True)
class Account:
    """A person with what it takes to check their password."""

    person: Person
    password_hash: str
    locked_until: datetime | None


@dataclass(frozen=True, kw_only=True)
class Session:
    """A session that holds now."""

    person: Person
    csrf: str
    seen_at: datetime


class PersonStore:
    """People of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def account(self, name: str) -> Account | None:
        """The account of a name, if there is one."""
        row = await self._database.fetch_row(QUERIES["select_person"], name)
        if row is None:
            return None
        return Account(
            person=_person(row),
            password_hash=row["password_hash"],
            locked_until=row["locked_until"],
        )

    async def put(
        self,
        transaction: Connection,
        person: Person,
        *,
        password_hash: str,
    ) -> None:
        """Adds a person, or sets their password, roles and sites anew and ends their sessions."""
        tenant = self._database.tenant
        roles, sites = list(person.roles), list(person.sites)
        await transaction.execute(
            QUERIES["upsert_person"], tenant, person.id, password_hash, roles, sites
        )
        await transaction.execute(QUERIES["delete_sessions_of"], tenant, person.id)

    async def count_failure(
        self,
        transaction: Connection,
        name: str,
        *,
        now: datetime,
        failures_max: int,
        locked_until: datetime,
    ) -> None:
        """Counts a wrong password; at the limit the account is locked until then."""
        await transaction.execute(
            QUERIES["count_failure"],
            self._database.tenant,
            name,
            now,
            failures_max,
            locked_until,
        )

    async def open_session(
        self,
        transaction: Connection,
        name: str,
        *,
        session_hash: bytes,
        csrf: str,
        now: datetime,
        expires_at: datetime,
        idle_since: datetime,
    ) -> None:
        """Opens a session, forgets failures, and sweeps out sessions that no longer hold."""
        tenant = self._database.tenant
        await transaction.execute(QUERIES["clear_failures"], tenant, name)
        await transaction.execute(QUERIES["delete_old_sessions"], tenant, now, idle_since)
        await transaction.execute(
            QUERIES["insert_session"], tenant, session_hash, name, csrf, now, expires_at
        )

    async def session(
        self, session_hash: bytes, *, now: datetime, idle_since: datetime
    ) -> Session | None:
        """The session, unless it has expired or was idle since before `idle_since`."""
        row = await self._database.fetch_row(
            QUERIES["select_session"], session_hash, now, idle_since
        )
        if row is None:
            return None
        return Session(person=_person(row), csrf=row["csrf"], seen_at=row["seen_at"])

    async def touch_session(self, session_hash: bytes, *, now: datetime) -> None:
        """Notes that the session is in use."""
        async with self._database.bookkeeping() as transaction:
            await transaction.execute(
                QUERIES["touch_session"], self._database.tenant, session_hash, now
            )

    async def delete_session(self, transaction: Connection, session_hash: bytes) -> None:
        """Ends a session."""
        await transaction.execute(QUERIES["delete_session"], self._database.tenant, session_hash)


def _person(row: Row) -> Person:
    return Person(id=row["name"], roles=tuple(row["roles"]), sites=tuple(row["sites"]))
