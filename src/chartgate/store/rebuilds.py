"""Records rebuilt from the inbox beside the running ones, until one takes the other's place.

The rebuilt record of a connection lies in the same tables under a name of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chartgate.model.audit import AuditEvent
from chartgate.model.message import Queued
from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("rebuilds.sql")


@dataclass(frozen=True, kw_only=True)
class Rebuild:
    """How far one has come."""

    connection: str
    revision: str  # of the tables that it goes by
    overrides: str  # the site's file, as it was when it began
    cursor: int  # the last message of the inbox that is in it
    folded: int  # messages
    refused: int  # messages that these tables cannot take
    examples: tuple[int, ...]  # of those, the first
    started_by: str
    started_at: datetime

    @property
    def shadow(self) -> str:
        """The connection under whose name the rebuilt record lies."""
        return f"{self.connection}~rebuild"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One resource that the two records do not hold alike; None: one of them lacks it."""

    resource_type: str
    id: str
    before: bytes | None  # digest
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

    async def get_in(self, transaction: Connection, connection: str) -> Rebuild | None:
        """As `get`, as the transaction sees it."""
        tenant = self._database.tenant
        row = await transaction.fetchrow(QUERIES["select_rebuild"], tenant, connection)
        return _rebuild(row) if row else None

    async def all(self) -> tuple[Rebuild, ...]:
        """All that have begun."""
        return tuple(map(_rebuild, await self._database.fetch(QUERIES["select_rebuilds"])))

    async def remaining(self, rebuild: Rebuild) -> int:
        """How many delivered messages are not in it yet."""
        found: int = await self._database.fetch_value(
            QUERIES["count_delivered"], rebuild.connection, rebuild.cursor
        )
        return found

    async def next_in(
        self, transaction: Connection, rebuild: Rebuild, *, count_max: int
    ) -> tuple[Queued, ...]:
        """The next delivered messages, in the order in which they came."""
        rows = await transaction.fetch(
            QUERIES["select_delivered"],
            self._database.tenant,
            rebuild.connection,
            rebuild.cursor,
            count_max,
        )
        return tuple(Queued(**row) for row in rows)

    async def advance_in(
        self, transaction: Connection, rebuild: Rebuild, *, to: int, folded: int, refused: list[int]
    ) -> None:
        """Notes how far it has come."""
        await transaction.execute(
            QUERIES["advance"],
            self._database.tenant,
            rebuild.connection,
            to,
            folded,
            len(refused),
            refused[:20],
        )

    async def hold_processing(self, transaction: Connection) -> None:
        """Waits for batches under way; none begins until the transaction ends."""
        await transaction.execute(QUERIES["hold_processing"], self._database.tenant)

    async def differences(
        self, rebuild: Rebuild, *, after: tuple[str, str] = ("", ""), count_max: int
    ) -> tuple[Difference, ...]:
        """The next resources that differ, by type and id."""
        rows = await self._database.fetch(
            QUERIES["select_differences"], rebuild.connection, rebuild.shadow, *after, count_max
        )
        return tuple(Difference(**row) for row in rows)

    async def switch_in(self, transaction: Connection, rebuild: Rebuild) -> None:
        """The rebuilt record takes the running one's place; old versions stay."""
        names = (self._database.tenant, rebuild.connection, rebuild.shadow)
        for query in ("copy_versions", "copy_current", "delete_missing"):
            await transaction.execute(QUERIES[query], *names)
        await self.drop_in(transaction, rebuild)

    async def drop_in(self, transaction: Connection, rebuild: Rebuild) -> None:
        """Forgets a rebuilt record."""
        tenant = self._database.tenant
        for query in ("drop_current", "drop_versions"):
            await transaction.execute(QUERIES[query], tenant, rebuild.shadow)
        await transaction.execute(QUERIES["delete_rebuild"], tenant, rebuild.connection)


def _rebuild(row: object) -> Rebuild:
    values = dict(row)  # type: ignore[call-overload]
    examples: Sequence[int] = values.pop("examples")
    return Rebuild(**values, examples=tuple(examples))
