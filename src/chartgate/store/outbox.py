"""Events, and the numbered notifications of them on their way to subscribers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chartgate.model.audit import AuditEvent
from chartgate.model.message import Event, Notification
from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("outbox.sql")

Subscription = tuple[str, str]  # client, charter


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """A destination that does not take what it is sent."""

    client: str
    charter: str
    waiting: int  # notifications not delivered
    number: int  # of the first of them
    attempts: int
    since: datetime
    last_error: str


class OutboxStore:
    """Events and notifications of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append_in(
        self,
        transaction: Connection,
        events: Sequence[Event],
        subscribers: Mapping[tuple[str, str], Sequence[Subscription]],
        *,
        at: datetime,
    ) -> None:
        """Adds events, and a notification for each of `subscribers[site, kind]`, numbered without
        gaps for each subscription in the order of the events."""
        if not events:
            return
        tenant = self._database.tenant
        rows = await transaction.fetch(
            QUERIES["insert_events"],
            tenant,
            [e.site for e in events],
            [e.kind for e in events],
            [" ".join(e.focus) for e in events],
            [e.occurred_at for e in events],
            [e.message for e in events],
        )
        ids = {row["inbox_id"]: row["id"] for row in rows}
        wanted = [
            (subscription, ids[event.message])
            for event in events
            for subscription in subscribers.get((event.site, event.kind), ())
        ]
        if not wanted:
            return
        numbers = await self._take_numbers(transaction, Counter(s for s, _ in wanted))
        numbered: list[tuple[str, str, int, int]] = []
        for subscription, event_id in wanted:
            numbers[subscription] += 1
            numbered.append((*subscription, numbers[subscription], event_id))
        await transaction.execute(
            QUERIES["insert_notifications"],
            tenant,
            *(list(column) for column in zip(*numbered, strict=True)),
            at,
        )
        await transaction.execute(QUERIES["notify_work"], tenant)

    async def tell_in(
        self,
        transaction: Connection,
        subscription: Subscription,
        *,
        site: str,
        kind: str,
        focus: str,
        at: datetime,
    ) -> None:
        """Adds an event of our own, which no message brought, and its one notification."""
        tenant = self._database.tenant
        event_id = await transaction.fetchval(
            QUERIES["insert_own_event"], tenant, site, kind, [focus], at
        )
        numbers = await self._take_numbers(transaction, Counter([subscription]))
        client, charter = subscription
        number = numbers[subscription] + 1
        await transaction.execute(
            QUERIES["insert_notifications"], tenant, [client], [charter], [number], [event_id], at
        )
        await transaction.execute(QUERIES["notify_work"], tenant)

    async def claim(
        self, *, at: datetime, lease_until: datetime, count_max: int
    ) -> tuple[tuple[Notification, ...], ...]:
        """Of each subscription with something due, up to `count_max` notifications in their
        order, leased to the caller: other workers leave them alone until `lease_until`."""
        async with self._database.bookkeeping() as transaction:
            rows = await transaction.fetch(
                QUERIES["claim_due"], self._database.tenant, at, lease_until, count_max
            )
        claimed: dict[Subscription, list[Notification]] = {}
        for row in rows:
            if row["number"] == row["head"] or (row["client"], row["charter"]) in claimed:
                claimed.setdefault((row["client"], row["charter"]), []).append(_notification(row))
        for row in rows:  # another worker has the first of them: what is behind it is not ours
            if (row["client"], row["charter"]) not in claimed:
                await self.release(_notification(row), lease_until=lease_until)
        return tuple(tuple(some) for some in claimed.values())

    async def release(self, notification: Notification, *, lease_until: datetime) -> None:
        """Lets go of this notification and of those behind it."""
        async with self._database.bookkeeping() as transaction:
            await transaction.execute(
                QUERIES["release"],
                self._database.tenant,
                notification.client,
                notification.charter,
                notification.number,
                lease_until,
            )

    async def delivered(
        self, notification: Notification, audit: AuditEvent, *, at: datetime
    ) -> None:
        """Marks it delivered; the next number may then go out."""
        async with self._database.change(audit) as transaction:
            await transaction.execute(
                QUERIES["mark_delivered"],
                self._database.tenant,
                notification.client,
                notification.charter,
                notification.number,
                at,
            )

    async def failed(
        self, notification: Notification, *, next_try_at: datetime, error: str
    ) -> None:
        """Notes a try that failed; `error` holds no patient data."""
        async with self._database.bookkeeping() as transaction:
            await transaction.execute(
                QUERIES["mark_failed"],
                self._database.tenant,
                notification.client,
                notification.charter,
                notification.number,
                next_try_at,
                error,
            )

    async def stuck(self) -> tuple[Stuck, ...]:
        """Destinations whose last try failed, the longest waiting first."""
        rows = await self._database.fetch(QUERIES["select_stuck"])
        return tuple(Stuck(**row) for row in rows)

    async def _take_numbers(
        self, transaction: Connection, counts: Mapping[Subscription, int]
    ) -> dict[Subscription, int]:
        """The last number used so far, for each subscription."""
        ordered = sorted(counts)  # one order everywhere: no deadlock
        rows = await transaction.fetch(
            QUERIES["take_numbers"],
            self._database.tenant,
            [client for client, _ in ordered],
            [charter for _, charter in ordered],
            [counts[key] for key in ordered],
        )
        last = {(row["client"], row["charter"]): row["last_number"] for row in rows}
        return {key: last[key] - counts[key] for key in ordered}


def _notification(row: Any) -> Notification:
    return Notification(
        client=row["client"],
        charter=row["charter"],
        number=row["number"],
        attempts=row["attempts"],
        event=Event(
            site=row["site"],
            kind=row["kind"],
            focus=tuple(row["focus"]),
            occurred_at=row["occurred_at"],
            message=row["inbox_id"],
        ),
    )
