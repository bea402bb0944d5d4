"""Records rebuilt from the inbox beside the running ones, until one takes the other's place.

The rebuilt record of a connection lies in the same tables under a name of its own.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chartgate.errors import Erased
from chartgate.model.audit import AuditEvent
from chartgate.model.message import Queued
from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries
from chartgate.store.record import opened_body
from chartgate.store.sealed_messages import queued

QUERIES = load_queries("rebuilds.sql")
LONG_S = 3600.0  # statements over a whole record; others are given up after seconds
PAGE = 500  # differences fetched at a time


@dataclass(frozen=True, kw_only=True)
class Rebuild:
    """How far one has come."""

    connection: str
    revision: str  # of the tables that it goes by
    overrides: str | None  # the site's file, as it was when it began; None: the running one
    cursor: int  # how far into the inbox it has come
    folded: int  # messages that are in it
    filtered: int  # messages that these tables leave out
    refused: int  # messages that these tables cannot take
    examples: tuple[int, ...]  # of those, the first
    started_by: str
    started_at: datetime

    @property
    def shadow(self) -> str:
        """The connection under whose name the rebuilt record lies; no config can have it."""
        return f"{self.connection}~rebuild"

    @property
    def looked_at(self) -> int:
        """Messages."""
        return self.folded + self.filtered + self.refused


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What became of the messages of one batch, by id."""

    folded: tuple[int, ...]
    filtered: tuple[int, ...]
    refused: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One resource that the two records do not hold alike; None: one of them lacks it."""

    resource_type: str
    id: str
    before: bytes | None
    after: bytes | None

    @property
    def reference(self) -> str:
        """ "Patient/…"."""
        return f"{self.resource_type}/{self.id}"


class RebuildStore:
    """The rebuilds of one tenant: at most one for each connection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, rebuild: Rebuild, audit: AuditEvent) -> bool:
        """False where one of that connection has begun already."""
        async with self._database.change_found() as (transaction, events):
            begun = await transaction.fetchval(
                QUERIES["insert_rebuild"],
                self._database.tenant,
                rebuild.connection,
                rebuild.revision,
                rebuild.overrides,
                rebuild.started_by,
                rebuild.started_at,
            )
            events.extend([audit] if begun else [])
        return begun is not None

    async def get(self, connection: str) -> Rebuild | None:
        """That of a connection."""
        row = await self._database.fetch_row(QUERIES["select_rebuild"], connection)
        return _rebuild(row) if row else None

    async def lock_in(self, transaction: Connection, connection: str) -> Rebuild | None:
        """As `get`, for this transaction alone until it ends."""
        tenant = self._database.tenant
        row = await transaction.fetchrow(QUERIES["lock_rebuild"], tenant, connection)
        return _rebuild(row) if row else None

    async def all(self) -> tuple[Rebuild, ...]:
        """All that have begun."""
        return tuple(map(_rebuild, await self._database.fetch(QUERIES["select_rebuilds"])))

    async def remaining(self, rebuild: Rebuild) -> int:
        """How many delivered messages it has not looked at yet."""
        found: int = await self._database.fetch_value(
            QUERIES["count_delivered"], rebuild.connection
        )
        return max(0, found - rebuild.looked_at)

    async def next_in(
        self, transaction: Connection, rebuild: Rebuild, *, past_waiting: bool, count_max: int
    ) -> tuple[Queued, ...]:
        """The next delivered messages, in the order in which they came; where there are none,
        those that were delivered behind it. `past_waiting`: also beyond one that still waits,
        for when none is processed meanwhile."""
        names = (self._database.tenant, rebuild.connection, rebuild.cursor, count_max)
        rows = await transaction.fetch(QUERIES["select_delivered"], *names, past_waiting)
        if not rows:
            rows = await transaction.fetch(QUERIES["select_behind"], *names, timeout=LONG_S)
        return tuple(queued(self._database, row) for row in rows)

    async def messages(self, ids: Sequence[int]) -> tuple[Queued, ...]:
        """Messages of the inbox by id."""
        rows = await self._database.fetch(QUERIES["select_messages"], list(ids))
        return tuple(queued(self._database, row) for row in rows)

    async def advance_in(self, transaction: Connection, rebuild: Rebuild, looked: Looked) -> None:
        """Notes what it has looked at."""
        ids = [*looked.folded, *looked.filtered, *looked.refused]
        await transaction.execute(
            QUERIES["advance"],
            self._database.tenant,
            rebuild.connection,
            ids,
            max(ids),
            len(looked.folded),
            len(looked.filtered),
            looked.refused,
        )

    async def hold_processing(self, transaction: Connection) -> None:
        """Waits for batches under way; none begins until the transaction ends."""
        await transaction.execute(QUERIES["hold_processing"], self._database.tenant, timeout=LONG_S)

    async def differences(self, rebuild: Rebuild) -> AsyncIterator[Difference]:
        """All resources that differ, in no order; as they are at one moment."""
        names = (self._database.tenant, rebuild.connection, rebuild.shadow)
        async with self._database.connection() as connection, connection.transaction():
            cursor = await connection.cursor(QUERIES["select_differences"], *names, timeout=LONG_S)
            while rows := await cursor.fetch(PAGE, timeout=LONG_S):
                for row in rows:
                    yield Difference(
                        resource_type=row["resource_type"],
                        id=row["id"],
                        before=self._body(rebuild, row, "before"),
                        after=self._body(rebuild, row, "after"),
                    )

    def _body(self, rebuild: Rebuild, row: Any, side: str) -> bytes | None:
        """None also for what was erased."""
        body: bytes | None = row[side]
        if body is None:
            return None
        where = (rebuild.connection, row["resource_type"], row["id"])
        try:
            return opened_body(
                self._database.vault,
                where,
                row[f"{side}_digest"],
                body,
                row[f"{side}_key"],
                row[f"{side}_wrapped"],
            )
        except Erased:
            return None

    async def copy_versions_in(self, transaction: Connection, rebuild: Rebuild) -> None:
        """Gives the running record what the rebuilt one holds, as versions that are not current.
        Much of a switch, done before it."""
        await self._over_all(transaction, rebuild, "copy_versions")

    async def switch_in(self, transaction: Connection, rebuild: Rebuild) -> None:
        """The rebuilt record takes the running one's place; old versions stay."""
        for query in ("copy_versions", "copy_current", "delete_missing"):
            await self._over_all(transaction, rebuild, query)
        await self.drop_in(transaction, rebuild)

    async def drop_in(self, transaction: Connection, rebuild: Rebuild) -> None:
        """Forgets a rebuilt record."""
        tenant = self._database.tenant
        for query in ("drop_current", "drop_versions"):
            await transaction.execute(QUERIES[query], tenant, rebuild.shadow, timeout=LONG_S)
        await transaction.execute(
            QUERIES["delete_rebuild"], tenant, rebuild.connection, timeout=LONG_S
        )

    async def _over_all(self, transaction: Connection, rebuild: Rebuild, query: str) -> None:
        names = (self._database.tenant, rebuild.connection, rebuild.shadow)
        await transaction.execute(QUERIES[query], *names, timeout=LONG_S)


def _rebuild(row: Any) -> Rebuild:
    values = dict(row)
    return Rebuild(**{**values, "examples": tuple(values["examples"])})
