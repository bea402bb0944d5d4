"""Schema drift: what each feed's messages look like, and the changes that were found in them.

A finding is open until somebody acknowledges it; of each change there is at most one that is.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from chartgate.model.drift import DriftFinding, FeedKey
from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("drift.sql")


class DriftStore:
    """Profiles and findings of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def profiles(self, feeds: Sequence[FeedKey]) -> Mapping[FeedKey, bytes]:
        """The profiles of those feeds that have one."""
        columns = ([feed[column] for feed in feeds] for column in range(3))
        rows = await self._database.fetch(QUERIES["select_profiles"], *columns)
        return {_feed(row): row["body"] for row in rows if row["body"]}

    async def lock_profile(self, transaction: Connection, feed: FeedKey) -> bytes:
        """A profile, which nobody else can then change until the transaction ends; empty if
        there was none."""
        tenant = self._database.tenant
        await transaction.execute(QUERIES["insert_profile"], tenant, *feed)
        body: bytes = await transaction.fetchval(QUERIES["lock_profile"], tenant, *feed)
        return body

    async def put_profile(self, transaction: Connection, feed: FeedKey, body: bytes) -> None:
        """Replaces a profile that is locked."""
        await transaction.execute(QUERIES["update_profile"], self._database.tenant, *feed, body)

    async def open(self, transaction: Connection, finding: DriftFinding) -> int:
        """Keeps a finding, or adds to the one that is open; the id of it."""
        number: int = await transaction.fetchval(
            QUERIES["open_finding"],
            self._database.tenant,
            *finding.feed,
            finding.position,
            finding.kind,
            finding.detail,
            finding.was,
            finding.now,
            finding.count,
            list(finding.examples),
            finding.first_seen_at,
            finding.last_seen_at,
        )
        return number

    async def count(
        self,
        transaction: Connection,
        feed: FeedKey,
        *,
        position: str,
        kind: str,
        detail: str,
        more: int,
        at: datetime,
    ) -> None:
        """Adds to an open finding; to one that was acknowledged meanwhile, nothing."""
        await transaction.execute(
            QUERIES["count_finding"],
            self._database.tenant,
            *feed,
            position,
            kind,
            detail,
            more,
            at,
        )

    async def listed(self, *, with_acknowledged: bool, limit: int) -> tuple[DriftFinding, ...]:
        """The findings, those seen last first."""
        rows = await self._database.fetch(QUERIES["select_findings"], with_acknowledged, limit)
        return tuple(_finding(row) for row in rows)

    async def finding(self, number: int) -> DriftFinding | None:
        """One finding."""
        row = await self._database.fetch_row(QUERIES["select_finding"], number)
        return _finding(row) if row else None

    async def acknowledge(
        self, transaction: Connection, number: int, *, by: str, at: datetime
    ) -> bool:
        """Closes a finding. False if it is not open."""
        result: str = await transaction.execute(
            QUERIES["acknowledge_finding"], self._database.tenant, number, by, at
        )
        return result == "UPDATE 1"


def _feed(row: Any) -> FeedKey:
    return FeedKey(row["connection"], row["sender"], row["message_type"])


def _finding(row: Any) -> DriftFinding:
    columns = dict(row)
    feed = FeedKey(*(columns.pop(name) for name in FeedKey._fields))
    return DriftFinding(feed=feed, **{**columns, "examples": tuple(columns["examples"])})
