"""The ledger's tables: numbers events, keeps the tree over them and its signed heads.

Events are written without a number, so that writers never queue behind one another. One leader
at a time gives settled events their gap-free numbers, in the order of (transaction id, event id).
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from chartgate.errors import LedgerRewound, mapped
from chartgate.formats.merkle import Frontier, Node, Span, frontier_of, leaf_hash, spans
from chartgate.store.database import Connection, Database, Row
from chartgate.store.queries import load_queries

QUERIES = load_queries("ledger.sql")

FULL_LOOK_S = 900.0  # for queries that look at every event there is

SAY_TORN = "the ledger's own tables contradict one another; run `chartgate ledger verify`"


@dataclass(frozen=True, kw_only=True)
class Sequenced:
    """What one round of the sequencer did."""

    count: int
    oldest: datetime | None  # when the first of them was recorded


@dataclass(frozen=True, kw_only=True)
class Head:
    """A signed tree head."""

    size: int
    root: bytes
    signed_at: datetime
    checkpoint: str  # C2SP signed note


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """Events that have no number."""

    waiting: int
    passed: int  # behind the sequencer's cursor: that should be none
    oldest: datetime | None


class LedgerStore:
    """Reads and extends the ledger of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tenant = database.tenant

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[Connection | None]:
        """A transaction as the one leader; None if another leads just now."""
        async with self._database.bookkeeping() as connection:
            leads = await connection.fetchval(QUERIES["take_lead"], self._tenant)
            with mapped({asyncpg.UniqueViolationError: LedgerRewound}, SAY_TORN):
                yield connection if leads else None

    async def sequence(self, *, batch_max: int) -> Sequenced:
        """Numbers up to `batch_max` settled events, if this process can lead now."""
        async with self.lead() as connection:
            if connection is None:
                return Sequenced(count=0, oldest=None)
            position = await connection.fetchrow(QUERIES["read_position"], self._tenant)
            events = await self._unnumbered(connection, position, batch_max=batch_max)
            drained = len(events) < batch_max
            if not events and not (_is_elsewhere(position) and drained):
                return Sequenced(count=0, oldest=None)
            await self._append(connection, position, events, drained=drained)
        return Sequenced(
            count=len(events), oldest=min((e["recorded"] for e in events), default=None)
        )

    async def size(self, connection: Connection) -> int:
        """How many events have a number."""
        position = await connection.fetchrow(QUERIES["read_position"], self._tenant)
        return int(position["size"])

    async def frontier(self, connection: Connection, size: int) -> Frontier:
        """The tree's right edge when it had `size` leaves. Raises LedgerRewound."""
        nodes = await self.nodes(connection, spans(0, size))
        try:
            return frontier_of(0, size, nodes)
        except KeyError:
            raise LedgerRewound(SAY_TORN) from None

    async def nodes(
        self, connection: Connection, wanted: Iterable[Span]
    ) -> Mapping[tuple[int, int], bytes]:
        """The hashes of the spans that are there, by (level, idx)."""
        wanted = tuple(wanted)
        leaves = [span for span in wanted if span.level == 0]
        inner = [span for span in wanted if span.level > 0]
        rows = await connection.fetch(
            QUERIES["read_nodes"],
            self._tenant,
            [span.first for span in leaves],
            [span.end for span in leaves],
            [span.level for span in inner],
            [span.first for span in inner],
            [span.end for span in inner],
        )
        return {(level, idx): hash_ for level, idx, hash_ in rows}

    async def newest_head(self, connection: Connection) -> Head | None:
        """The signed head with the most events."""
        row = await connection.fetchrow(QUERIES["read_newest_head"], self._tenant)
        return _head(row) if row else None

    async def heads(self, connection: Connection, *, above: int, up_to: int) -> list[Head]:
        """Heads of sizes over `above`, at most `up_to`, smaller first."""
        rows = await connection.fetch(QUERIES["read_heads"], self._tenant, above, up_to)
        return [_head(row) for row in rows]

    async def keep_head(self, connection: Connection, head: Head) -> None:
        """Stores a head that was just signed."""
        await connection.execute(
            QUERIES["insert_head"],
            self._tenant,
            head.size,
            head.root,
            head.signed_at,
            head.checkpoint,
        )

    async def leaves(
        self, connection: Connection, *, first: int, end: int, count_max: int
    ) -> Sequence[Row]:
        """seq, hash and the event's own columns (None if it is gone) from number `first` up to
        but without `end`."""
        rows: list[Row] = await connection.fetch(
            QUERIES["read_leaves"], self._tenant, first, end, count_max
        )
        return rows

    async def recorded_between(
        self,
        connection: Connection,
        *,
        first: int,
        end: int,
        since: datetime,
        until: datetime,
        count_max: int,
    ) -> Sequence[Row]:
        """seq, hash and body of numbered events of a span, from number `first` on."""
        rows: list[Row] = await connection.fetch(
            QUERIES["read_recorded_between"],
            self._tenant,
            first,
            end,
            since,
            until,
            count_max,
            timeout=FULL_LOOK_S,
        )
        return rows

    async def backlog(self, connection: Connection) -> Backlog:
        """Counts every event without a number; looks at all events."""
        row = await connection.fetchrow(
            QUERIES["count_unnumbered"], self._tenant, timeout=FULL_LOOK_S
        )
        return Backlog(**row)

    async def waiting(self, connection: Connection) -> Backlog:
        """Counts the events that the sequencer has not come to yet."""
        row = await connection.fetchrow(QUERIES["count_waiting"], self._tenant)
        return Backlog(passed=0, **row)

    async def _unnumbered(
        self, connection: Connection, position: Row, *, batch_max: int
    ) -> Sequence[Row]:
        if _is_elsewhere(position):
            rows: list[Row] = await connection.fetch(
                QUERIES["read_unnumbered"], self._tenant, batch_max, timeout=FULL_LOOK_S
            )
            return rows
        rows = await connection.fetch(
            QUERIES["read_settled"],
            self._tenant,
            position["cursor_xid"],
            position["cursor_event"],
            position["horizon"],
            batch_max,
        )
        return rows

    async def _append(
        self, connection: Connection, position: Row, events: Sequence[Row], *, drained: bool
    ) -> None:
        """Leaves, nodes and cursor. The cursor moves to the horizon once all below it is done;
        in a restored cluster it moves only then."""
        size = position["size"]
        frontier = await self.frontier(connection, size)
        hashes = [leaf_hash(event["body"]) for event in events]
        nodes: list[Node] = []
        for hash_ in hashes:
            nodes += frontier.append(hash_)
        if drained:
            cursor = (position["horizon"], 0, position["cluster"])
        elif _is_elsewhere(position):
            cursor = (0, 0, "")  # stays elsewhere until the full look has come to its end
        else:
            cursor = (events[-1]["xid"], events[-1]["id"], position["cluster"])
        await connection.execute(
            QUERIES["append_leaves"],
            self._tenant,
            range(size, size + len(events)),
            [event["id"] for event in events],
            hashes,
            [node.level for node in nodes],
            [node.idx for node in nodes],
            [node.hash for node in nodes],
            *cursor,
        )


def _is_elsewhere(position: Row) -> bool:
    """Whether the cursor's transaction ids mean nothing here: there is none yet, the store was
    restored into another cluster, or the transaction ids were reset."""
    return bool(
        position["cursor_cluster"] != position["cluster"]
        or position["cursor_xid"] > position["horizon"]
    )


def _head(row: Row) -> Head:
    return Head(
        size=row["tree_size"],
        root=row["root"],
        signed_at=row["signed_at"],
        checkpoint=row["checkpoint"],
    )
