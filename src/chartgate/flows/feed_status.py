"""How the feeds stand, in one look that costs the same for a million messages as for a thousand."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from chartgate.flows import drift, outgoing
from chartgate.gate import Gate
from chartgate.model.outgoing import DestinationStatus
from chartgate.observe.metrics import QuarantineFigures
from chartgate.store.database import promptly
from chartgate.store.feed_counts import (
    FeedCount,
    FeedCountStore,
    OldestQueued,
    Recounted,
    SubscriptionStanding,
    TailLine,
)
from chartgate.store.quarantine import OpenCount, QuarantineStore

FOLD_EVERY = timedelta(seconds=5)
DEAD_AFTER = timedelta(minutes=5)  # of tries that failed


@dataclass(frozen=True, kw_only=True)
class QuarantineClass:
    """Open rows of one class."""

    reason_class: str
    rows: int
    times: int  # with repeats
    last_hour: int
    oldest_s: float


@dataclass(frozen=True, kw_only=True)
class FeedStatus:
    """How one connection stands. Rates are messages a second."""

    connection: str
    received: int = 0
    delivered: int = 0
    queued: int = 0
    quarantined: int = 0
    filtered: int = 0
    flagged: int = 0  # something was odd about them
    late: int = 0  # of these: they came after newer ones of their patient
    conserved: bool = True  # received = the other four
    received_per_s_minute: float = 0.0  # over the last one to two minutes
    received_per_s_hour: float = 0.0
    delivered_per_s_minute: float = 0.0
    delivered_per_s_hour: float = 0.0
    oldest_queued_s: float | None = None
    oldest_queued_is_less: bool = False  # it is not among the first of the queue: less than that
    filtered_by_reason: dict[str, int] = field(default_factory=dict)
    quarantine: tuple[QuarantineClass, ...] = ()  # open rows, also of what was never a message
    drift: int = 0  # open findings, of at most drift.LISTED_MAX in all


@dataclass(frozen=True, kw_only=True)
class SubscriptionStatus:
    """How the notifications of one subscription stand."""

    client: str
    charter: str
    waiting: int
    oldest_s: float | None
    last_delivered_at: datetime | None
    attempts: int  # of the first that waits
    last_error: str
    dead: bool  # tries have failed for more than DEAD_AFTER


@dataclass(frozen=True, kw_only=True)
class Feeds:
    """Everything about what comes in and goes out."""

    feeds: tuple[FeedStatus, ...]
    subscriptions: tuple[SubscriptionStatus, ...]
    destinations: tuple[DestinationStatus, ...]

    @property
    def conserved(self) -> bool:
        """In = delivered + queued + quarantined + filtered."""
        return all(feed.conserved for feed in self.feeds)


async def feed_status(gate: Gate) -> Feeds:
    """Reads the store. Raises Unavailable."""
    at = gate.clock()
    store = FeedCountStore(gate.database)
    counts = await store.counts()
    oldest = await store.oldest_queued()
    classes = await QuarantineStore(gate.database).summary(at=at)
    findings = await drift.findings(gate, with_acknowledged=False, limit=drift.LISTED_MAX)
    drifts = Counter(finding.feed.connection for finding in findings)
    names = sorted({*(c.connection for c in counts), *(c.connection for c in classes)})
    return Feeds(
        feeds=tuple(
            _feed(
                name,
                [c for c in counts if c.connection == name],
                [c for c in classes if c.connection == name],
                oldest,
                at,
                drifts=drifts[name],
            )
            for name in names
        ),
        subscriptions=tuple(_subscription(s, at) for s in await store.subscriptions()),
        destinations=await outgoing.status(gate),
    )


async def recount(gate: Gate) -> tuple[Recounted, ...]:
    """The counts that `feed_status` shows beside the messages themselves. Reads them all."""
    return await FeedCountStore(gate.database).recounted()


async def quarantine_figures(gate: Gate) -> tuple[QuarantineFigures, ...]:
    """Ages and rates of what is open in the quarantine, for metrics. Raises Unavailable."""
    at = gate.clock()
    async with promptly():
        found = await QuarantineStore(gate.database).summary(at=at)
    return tuple(
        QuarantineFigures(
            connection=one.connection,
            reason_class=one.reason_class,
            rows=one.rows,
            last_hour=one.last_hour,
            oldest_s=age_s(one.oldest, at),
        )
        for one in found
    )


async def tail(gate: Gate, *, connection: str | None, count: int) -> tuple[TailLine, ...]:
    """The last messages, the newest last; nothing of what they say."""
    return await FeedCountStore(gate.database).tail(connection=connection, count=count)


class Folding:
    """A worker's step: adds up now and then what transactions left to the counts."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._folded_at: datetime | None = None

    async def fold_next(self) -> int:
        """Folds, unless it just did. Never says that there is more to do: it is in no hurry."""
        at = self._gate.clock()
        if self._folded_at is None or at - self._folded_at >= FOLD_EVERY:
            self._folded_at = at
            await FeedCountStore(self._gate.database).fold()
        return 0


def age_s(since: datetime, now: datetime) -> float:
    """Seconds, never negative: clocks of two machines may differ."""
    return max(0.0, (now - since).total_seconds())


def _feed(
    name: str,
    counts: Sequence[FeedCount],
    classes: Sequence[OpenCount],
    oldest: OldestQueued,
    at: datetime,
    *,
    drifts: int,
) -> FeedStatus:
    def total(what: str) -> int:
        return sum(getattr(count, what) for count in counts)

    received, queued = total("received"), total("queued")
    rest = total("delivered") + queued + total("quarantined") + total("filtered")
    short_s, long_s = (counts[0].short_s, counts[0].long_s) if counts else (1.0, 1.0)
    since = oldest.by_connection.get(name, oldest.last) if queued else None
    return FeedStatus(
        connection=name,
        received=received,
        delivered=total("delivered"),
        queued=queued,
        quarantined=total("quarantined"),
        filtered=total("filtered"),
        flagged=total("flagged"),
        late=total("late"),
        conserved=received == rest,
        received_per_s_minute=round(total("received_short") / short_s, 4),
        received_per_s_hour=round(total("received_long") / long_s, 4),
        delivered_per_s_minute=round(total("delivered_short") / short_s, 4),
        delivered_per_s_hour=round(total("delivered_long") / long_s, 4),
        oldest_queued_s=age_s(since, at) if since else None,
        oldest_queued_is_less=bool(since) and name not in oldest.by_connection,
        filtered_by_reason={c.reason: c.filtered for c in counts if c.filtered},
        quarantine=tuple(
            QuarantineClass(
                reason_class=c.reason_class,
                rows=c.rows,
                times=c.times,
                last_hour=c.last_hour,
                oldest_s=age_s(c.oldest, at),
            )
            for c in classes
        ),
        drift=drifts,
    )


def _subscription(standing: SubscriptionStanding, at: datetime) -> SubscriptionStatus:
    oldest_s = age_s(standing.since, at) if standing.since else None
    failing = standing.attempts > 0 and oldest_s is not None
    return SubscriptionStatus(
        client=standing.client,
        charter=standing.charter,
        waiting=standing.waiting,
        oldest_s=oldest_s,
        last_delivered_at=standing.last_delivered_at,
        attempts=standing.attempts,
        last_error=standing.last_error or "",
        dead=failing and (oldest_s or 0) > DEAD_AFTER.total_seconds(),
    )
