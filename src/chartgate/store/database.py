"""The pool, and the two kinds of transaction.

`change` is the only way to change state, and it takes the audit events that stand for the
change: they commit together or not at all (invariant 10). `bookkeeping` is for leases, counters
of attempts and caches of what a system of record said, which change no state of ours.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from chartgate.errors import Unavailable, VersionConflict, mapped
from chartgate.model.audit import AuditEvent
from chartgate.store.origin import leaf_of, spaced
from chartgate.store.queries import chained, load_queries
from chartgate.store.refusals import Refusals
from chartgate.store.vault import Vault
from chartgate.store.vault_keys import MasterKeys

QUERIES = load_queries("audit.sql")

Connection = Any  # asyncpg's proxy of a connection: it has no types of its own
Row = Any  # asyncpg.Record

GONE = {
    asyncpg.PostgresConnectionError: Unavailable,
    asyncpg.InterfaceError: Unavailable,
    asyncpg.InternalClientError: Unavailable,  # its answer to a goodbye between two statements
    asyncpg.OperatorInterventionError: Unavailable,
    asyncpg.InsufficientResourcesError: Unavailable,
    asyncpg.PostgresSystemError: Unavailable,  # its disk fails
    asyncpg.InternalServerError: Unavailable,  # a file fails in a way without a class
    ConnectionError: Unavailable,
    TimeoutError: Unavailable,
    OSError: Unavailable,
}
SAY_GONE = "the store cannot be reached; nothing was done; try again shortly"
OWN_ACTIONS = "ledger."  # of the ledger about itself: what says why it is not proven
WAIT_MAX_S = 2.0  # how long a request that must be answered waits for the store


@asynccontextmanager
async def promptly(wait_max_s: float = WAIT_MAX_S) -> AsyncIterator[None]:
    """Raises Unavailable where the store hangs rather than answers or fails."""
    with mapped({TimeoutError: Unavailable}, SAY_GONE):
        async with asyncio.timeout(wait_max_s):
            yield


class Spared(asyncpg.Connection):
    """A connection that is swept on its way back to the pool only where something was executed on
    it: a setting, a lock, a transaction. A query that gives rows leaves nothing behind, and is
    spared the round trip."""

    _told = False

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """As asyncpg's."""
        self._told = query != super().get_reset_query()
        done: str = await super().execute(query, *args, timeout=timeout)
        return done

    def get_reset_query(self) -> str:
        """As asyncpg's; empty where there is nothing to sweep."""
        query: str = super().get_reset_query()
        return query if self._told else ""


class Database:
    """One tenant's view of the store. Raises Unavailable when PostgreSQL does not answer."""

    def __init__(
        self, pool: Any, *, tenant: str, acquire_timeout_s: float, masters: MasterKeys | None = None
    ) -> None:
        """Without `masters` nothing can be sealed, so nothing about a patient can be stored."""
        self.tenant = tenant
        self.vault = Vault(masters or MasterKeys(None), tenant=tenant)
        self.refusals = Refusals()
        self._pool = pool
        self._acquire_timeout_s = acquire_timeout_s
        self._standing: Connection | None = None
        self._standing_lock = asyncio.Lock()
        # Raises Unavailable where nothing may be answered or changed now; set by who serves.
        self.proven: Callable[[], Awaitable[None]] | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection outside any transaction, for reading."""
        with mapped(GONE, SAY_GONE):
            async with self._pool.acquire(timeout=self._acquire_timeout_s) as connection:
                try:
                    yield connection
                except (asyncio.CancelledError, TimeoutError):
                    # Cut off midway: giving it back would wait for a server that may hang.
                    # Where the server closed it already, that fails, and must not stand for this.
                    with suppress(asyncpg.InterfaceError):
                        connection.terminate()
                    raise

    @asynccontextmanager
    async def change(self, *events: AuditEvent) -> AsyncIterator[Connection]:
        """A transaction that leaves these audit events. Never empty."""
        assert events, "a change without an audit event"
        if self.proven and not all(e.action.startswith(OWN_ACTIONS) for e in events):
            await self.proven()
        async with self.bookkeeping() as connection:
            yield connection
            await append_audit_events(connection, self.tenant, events)
        self.refusals.note(events)

    @asynccontextmanager
    async def change_found(self) -> AsyncIterator[tuple[Connection, list[AuditEvent]]]:
        """As `change`, where the events are known only once rows have been claimed: the caller
        adds them to the list. Nothing is kept of a transaction that adds none."""
        if self.proven:
            await self.proven()
        async with self.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            events: list[AuditEvent] = []
            try:
                yield connection, events
                if events:
                    await append_audit_events(connection, self.tenant, events)
            except BaseException:
                await transaction.rollback()
                raise
            await (transaction.commit() if events else transaction.rollback())
        self.refusals.note(events)

    async def change_at_once(
        self, event: AuditEvent, *steps: tuple[str, Sequence[Any]], otherwise: str
    ) -> Any:
        """A change in one round trip: statements that return one value, with their parameters
        after the tenant. Gives the value of the last one. Raises VersionConflict with the
        sentence `otherwise` where the first changes no row; then nothing was done."""
        if self.proven:
            await self.proven()
        query = chained(*(query for query, _ in steps), QUERIES["insert_audit_events"])
        parameters = [parameter for _, each in steps for parameter in each]
        parameters += _audit_columns(self.tenant, [event])
        async with self.connection() as connection:
            with mapped({asyncpg.DivisionByZeroError: VersionConflict}, otherwise):
                value = await connection.fetchval(query, self.tenant, *parameters, column=1)
        self.refusals.note([event])
        return value

    @asynccontextmanager
    async def bookkeeping(self) -> AsyncIterator[Connection]:
        """A transaction that changes no state of ours: leases, attempts, copies, read sets."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def bookkeep_row(self, query: str, *parameters: Any) -> Row | None:
        """As `bookkeeping`, of one statement in one round trip; the tenant is $1."""
        return await self.fetch_row(query, *parameters)

    async def fetch(self, query: str, *parameters: Any) -> list[Row]:
        """All rows of a reading query; the tenant is $1."""
        async with self.connection() as connection:
            rows: list[Row] = await connection.fetch(query, self.tenant, *parameters)
            return rows

    async def fetch_row(self, query: str, *parameters: Any) -> Row | None:
        """The first row, if any; the tenant is $1."""
        async with self.connection() as connection:
            return await connection.fetchrow(query, self.tenant, *parameters)

    async def fetch_value(self, query: str, *parameters: Any) -> Any:
        """The first column of the first row; the tenant is $1."""
        async with self.connection() as connection:
            return await connection.fetchval(query, self.tenant, *parameters)

    @asynccontextmanager
    async def standing(self) -> AsyncIterator[Connection]:
        """A connection outside any transaction that is kept between uses, one use at a time.

        For a path that commits all the time: it spares the round trip by which the pool clears a
        connection that comes back. After an error the next use has a new one.
        """
        async with self._standing_lock:
            with mapped(GONE, SAY_GONE):
                if self._standing is None:
                    self._standing = await self._pool.acquire(timeout=self._acquire_timeout_s)
                try:
                    yield self._standing
                except BaseException:
                    await self._let_standing_go()
                    raise

    async def _let_standing_go(self) -> None:
        connection, self._standing = self._standing, None
        if connection is not None:
            # One that was lost has gone back to the pool by itself, and says so when touched.
            with suppress(asyncpg.InterfaceError):
                connection.terminate()  # it may have been cut off midway
            await self._pool.release(connection)

    async def close(self) -> None:
        """Waits for what is under way, at most as long as one acquire may take."""
        try:
            async with asyncio.timeout(self._acquire_timeout_s):
                await self._let_standing_go()
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()


async def append_audit_events(
    connection: Connection, tenant: str, events: Sequence[AuditEvent]
) -> None:
    """Inserts the events; they count once the transaction of `connection` commits."""
    columns = _audit_columns(tenant, events)
    await connection.execute(QUERIES["insert_audit_events"], tenant, *columns)


def _audit_columns(tenant: str, events: Sequence[AuditEvent]) -> list[Any]:
    return [
        [e.recorded for e in events],
        [e.action for e in events],
        [e.agent for e in events],
        [e.patient for e in events],
        [e.outcome.value for e in events],
        [leaf_of(e, tenant=tenant) for e in events],
        [e.site for e in events],
        [spaced(e.patients) for e in events],
    ]


async def open_database(
    url: str,
    *,
    tenant: str,
    connections_max: int = 10,
    acquire_timeout_s: float = 5.0,
    masters: MasterKeys | None = None,
) -> Database:
    """Opens a pool on `url` for one tenant. Raises Unavailable."""
    with mapped(
        GONE, "the store cannot be reached; is PostgreSQL running, and database_url right?"
    ):
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=connections_max,
            command_timeout=30,
            timeout=acquire_timeout_s,
            connection_class=Spared,
            server_settings={"chartgate.tenant": tenant, "application_name": "chartgate"},
        )
    return Database(pool, tenant=tenant, acquire_timeout_s=acquire_timeout_s, masters=masters)
