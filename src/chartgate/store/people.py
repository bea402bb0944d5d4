"""Staff who may sign in, and their sessions. Passwords and cookies are kept as hashes only."""

from dataclasses import dataclass
from datetime import datetime

from chartgate.model.principal import Person
from chartgate.store.database import Connection, Database, Row
from chartgate.store.queries import load_queries

QUERIES = load_queries("people.sql")


@dataclass(frozen=True, kw_only=True)
class Account:
    """A person with what it takes to check their password, or the secret of their seal."""

    person: Person
    password_hash: str | None
    locked_until: datetime | None
    removed_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A person as operators see them."""

    name: str
    roles: tuple[str, ...]
    sites: tuple[str, ...]
    issuer: str | None  # who vouches for them; None: an account of our own
    sealed: bool
    has_secret: bool  # a password, or a seal that is whole
    opened_at: datetime | None  # when the seal was broken
    removed_at: datetime | None
    sessions: int
    seen_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Whom a provider vouches for, as we know them."""

    name: str
    roles: tuple[str, ...]
    sites: tuple[str, ...]
    removed_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Session:
    """A session that holds now."""

    person: Person
    csrf: str
    seen_at: datetime


@dataclass(frozen=True, kw_only=True)
class NewSession:
    """What a session begins with."""

    person: Person
    session_hash: bytes
    csrf: str
    now: datetime
    expires_at: datetime
    idle_since: datetime  # sessions not used since then no longer hold


class PersonStore:
    """People of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tenant = database.tenant

    async def account(self, name: str) -> Account | None:
        """The account of a name, if there is one of our own."""
        row = await self._database.fetch_row(QUERIES["select_person"], name)
        if row is None or row["issuer"] is not None:
            return None
        person = Person(
            id=row["name"],
            roles=tuple(row["roles"]),
            sites=tuple(row["sites"]),
            sealed=row["sealed"],
        )
        return Account(
            person=person,
            password_hash=row["password_hash"],
            locked_until=row["locked_until"],
            removed_at=row["removed_at"],
        )

    async def listed(self, *, now: datetime, idle_since: datetime) -> tuple[Listed, ...]:
        """Everybody, also those who were removed, by name."""
        rows = await self._database.fetch(QUERIES["select_people"], now, idle_since)
        return tuple(
            Listed(**{**dict(r), "roles": tuple(r["roles"]), "sites": tuple(r["sites"])})
            for r in rows
        )

    async def put(self, transaction: Connection, person: Person, *, password_hash: str) -> bool:
        """Adds a person of our own, or sets their password, roles and sites anew and ends their
        sessions. False if a provider vouches for somebody of that name."""
        done = await transaction.fetchval(
            QUERIES["upsert_person"],
            self._tenant,
            person.id,
            password_hash,
            list(person.roles),
            list(person.sites),
            person.sealed,
        )
        await self.end_sessions(transaction, person.id)
        return done is not None

    async def subject(
        self, transaction: Connection, *, issuer: str, subject: str
    ) -> Subject | None:
        """Whom the issuer knows as `subject`; others who look wait for this transaction."""
        key = (self._tenant, issuer, subject)
        await transaction.execute(QUERIES["lock_subject"], *key)
        row = await transaction.fetchrow(QUERIES["select_subject"], *key)
        if row is None:
            return None
        return Subject(
            name=row["name"],
            roles=tuple(row["roles"]),
            sites=tuple(row["sites"]),
            removed_at=row["removed_at"],
        )

    async def insert_subject(
        self, transaction: Connection, person: Person, *, issuer: str, subject: str
    ) -> bool:
        """Somebody whom the issuer vouches for, for the first time. False: the name is taken."""
        done = await transaction.fetchval(
            QUERIES["insert_subject"],
            self._tenant,
            person.id,
            issuer,
            subject,
            list(person.roles),
            list(person.sites),
        )
        return done is not None

    async def update_subject(self, transaction: Connection, person: Person) -> None:
        """Sets roles and sites as the issuer says them now."""
        roles, sites = list(person.roles), list(person.sites)
        await transaction.execute(QUERIES["update_subject"], self._tenant, person.id, roles, sites)

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
            QUERIES["count_failure"], self._tenant, name, now, failures_max, locked_until
        )

    async def break_seal(
        self, transaction: Connection, name: str, *, secret_hash: str, now: datetime
    ) -> bool:
        """Uses up the secret of a sealed account. False: somebody else just did."""
        parameters = (self._tenant, name, secret_hash, now)
        return await transaction.fetchval(QUERIES["break_seal"], *parameters) is not None

    async def lock(self, transaction: Connection, name: str) -> bool:
        """Holds the person as they are until the transaction ends. False: they are removed."""
        return await transaction.fetchval(QUERIES["lock_person"], self._tenant, name) is not None

    async def remove(self, transaction: Connection, name: str, *, now: datetime) -> bool:
        """Nobody signs in by this account any more. False if there is none."""
        parameters = (self._tenant, name, now)
        done = await transaction.fetchval(QUERIES["remove_person"], *parameters)
        await self.end_sessions(transaction, name)
        return done is not None

    async def restore(self, transaction: Connection, name: str) -> bool:
        """Takes a removal back. False if the account is not removed."""
        done = await transaction.fetchval(QUERIES["restore_person"], self._tenant, name)
        return done is not None

    async def end_sessions(self, transaction: Connection, name: str) -> int:
        """Ends all sessions of a person; how many there were."""
        result: str = await transaction.execute(QUERIES["delete_sessions_of"], self._tenant, name)
        return int(result.rpartition(" ")[2])

    async def open_session(self, transaction: Connection, session: NewSession) -> None:
        """Opens a session, forgets failures, and sweeps out sessions that no longer hold."""
        person = session.person
        await transaction.execute(QUERIES["clear_failures"], self._tenant, person.id)
        await transaction.execute(
            QUERIES["delete_old_sessions"], self._tenant, session.now, session.idle_since
        )
        await transaction.execute(
            QUERIES["insert_session"],
            self._tenant,
            session.session_hash,
            person.id,
            session.csrf,
            list(person.roles),
            list(person.sites),
            person.mfa,
            person.sealed,
            person.patient,
            session.now,
            session.expires_at,
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
            await transaction.execute(QUERIES["touch_session"], self._tenant, session_hash, now)

    async def delete_session(self, transaction: Connection, session_hash: bytes) -> None:
        """Ends a session."""
        await transaction.execute(QUERIES["delete_session"], self._tenant, session_hash)


def _person(row: Row) -> Person:
    return Person(
        id=row["name"],
        roles=tuple(row["roles"]),
        sites=tuple(row["sites"]),
        mfa=row["mfa"],
        sealed=row["sealed"],
        patient=row["patient"],
    )
