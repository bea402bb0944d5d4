"""What Chartgate wrote into charts, by who and when: for taking back more than one thing.

When something was written is known to lie between the durable intent to send it and the end of that
attempt; the time itself is sealed with the receipt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chartgate.model.proposal import Proposal
from chartgate.store.database import Database
from chartgate.store.queries import load_queries
from chartgate.store.sealed_proposals import SealedProposals

QUERIES = load_queries("written.sql")


@dataclass(frozen=True, kw_only=True)
class Written:
    """A proposal whose write reached the chart, or may have."""

    proposal: Proposal
    started_at: datetime  # the intent; what one write stands on always began before it
    ended_at: datetime


class WrittenStore:
    """Writes of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sealed = SealedProposals(database.vault)

    async def within(
        self,
        *,
        author: str | None = None,
        charter: str | None = None,
        stage: str | None = None,
        since: datetime,
        until: datetime,
        limit: int,
    ) -> tuple[Written, ...]:
        """Newest first, without what was taken back already; None does not narrow."""
        rows = await self._database.fetch(
            QUERIES["select_written"], author, charter, stage, since, until, limit
        )
        return tuple(
            Written(
                proposal=self._sealed.proposal(row),
                started_at=row["started_at"],
                ended_at=row["ended_at"],
            )
            for row in rows
        )

    async def under_way(
        self, *, author: str | None = None, charter: str | None = None, stage: str | None = None
    ) -> int:
        """How many are approved or being written now."""
        count: int = await self._database.fetch_value(
            QUERIES["count_under_way"], author, charter, stage
        )
        return count

    async def undone(self, connection: str, *, since: datetime, limit: int) -> Sequence[Proposal]:
        """What was, or is being, taken back on one connection since then; the latest first."""
        rows = await self._database.fetch(QUERIES["select_undone"], connection, since, limit)
        return [self._sealed.proposal(row) for row in rows]
