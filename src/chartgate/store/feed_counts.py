"""How many messages came, where they stand, and which came last: without reading the inbox.

Each transaction that adds or moves messages inserts what it adds to the counts (`inbox_change`);
a worker folds these into `inbox_count`. The sum of both is exact at every moment, and costs the
same for a million messages as for a thousand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from chartgate.store.database import Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("feed_counts.sql")
HEARD_AMONG = 10_000  # of the last messages, in which a feed is looked for by the moment
FOLD_MAX = 20_000  # rows in one transaction
QUEUE_LOOK_MAX = 2_000  # of the queue's first messages, for the age of the oldest
WAITING_COUNT_MAX = 100_000  # beyond it a subscription's backlog is only said to be that long
TAIL_IDS_MAX = 100_000


@dataclass(frozen=True, kw_only=True)
class FeedCount:
    """Messages of one connection and, of those filtered, one reason. In = the rest."""

    connection: str
    reason: str
    received: int
    queued: int
    delivered: int
    quarantined: int
    filtered: int
    flagged: int  # something was odd about them when they were processed
    late: int  # of these: newer ones of the patient had been processed before
    received_short: int  # within the last `short_s`
    received_long: int
    delivered_short: int
    delivered_long: int
    short_s: float  # 60 to 120
    long_s: float  # 3600 to 3660


@dataclass(frozen=True, kw_only=True)
class Recounted:
    """The count of one connection and status, and the rows that there are."""

    connection: str
    status: str
    counted: int
    kept: int


@dataclass(frozen=True, kw_only=True)
class OldestQueued:
    """When the oldest that waits came, by connection. One that is not in it but has something
    queued came after `last`."""

    by_connection: Mapping[str, datetime]
    last: datetime | None


@dataclass(frozen=True, kw_only=True)
class SubscriptionStanding:
    """How one subscription stands."""

    client: str
    charter: str
    last_number: int
    waiting: int  # at most WAITING_COUNT_MAX
    number: int | None  # of the first that waits
    attempts: int  # of it
    last_error: str | None
    since: datetime | None  # it waits
    last_delivered_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class TailLine:
    """One message, without what it says."""

    id: int
    received_at: datetime
    ended_at: datetime | None
    connection: str
    sender: str
    message_type: str
    control_id: str
    status: str
    reason: str | None
    edited_from: int | None


class FeedCountStore:
    """Counts over the feeds of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def last_heard(self, connection: str) -> datetime | None:
        """When it last brought a message in, never too late; None: not within two hours."""
        at: datetime | None = await self._database.fetch_value(
            QUERIES["select_last_heard"], connection, HEARD_AMONG
        )
        return at

    async def fold(self) -> int:
        """Adds what transactions left to the counts; how many rows that were."""
        async with self._database.bookkeeping() as transaction:
            count: int = await transaction.fetchval(
                QUERIES["fold_changes"], self._database.tenant, FOLD_MAX
            )
        return count

    async def counts(self) -> tuple[FeedCount, ...]:
        """By connection and reason of what was filtered, "" for all else; of one moment."""
        rows = await self._database.fetch(QUERIES["select_counts"])
        return tuple(FeedCount(**row) for row in rows)

    async def recounted(self) -> tuple[Recounted, ...]:
        """The counts beside the rows themselves. Reads the whole inbox."""
        rows = await self._database.fetch(QUERIES["recount"])
        return tuple(Recounted(**row) for row in rows)

    async def oldest_queued(self) -> OldestQueued:
        """Among the first QUEUE_LOOK_MAX of the queue."""
        rows = await self._database.fetch(QUERIES["select_oldest_queued"], QUEUE_LOOK_MAX)
        return OldestQueued(
            by_connection={row["connection"]: row["oldest"] for row in rows},
            last=rows[0]["last"] if rows else None,
        )

    async def subscriptions(self) -> tuple[SubscriptionStanding, ...]:
        """How each subscription stands."""
        rows = await self._database.fetch(QUERIES["select_subscriptions"], WAITING_COUNT_MAX)
        return tuple(SubscriptionStanding(**row) for row in rows)

    async def tail(self, *, connection: str | None, count: int) -> tuple[TailLine, ...]:
        """The last messages, the newest last."""
        rows = await self._database.fetch(QUERIES["select_tail"], connection, count, TAIL_IDS_MAX)
        return tuple(TailLine(**row) for row in reversed(rows))
