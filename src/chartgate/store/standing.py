"""How things stand, counted: for `chartgate status`. Reads only."""

from dataclasses import dataclass
from datetime import datetime

from chartgate.store.database import Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("standing.sql")


@dataclass(frozen=True, kw_only=True)
class Queue:
    """One kind of waiting work."""

    name: str
    waiting: int
    oldest: datetime | None


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What the probe found on one connection."""

    connection: str
    holding: int
    tried: int
    probed_at: datetime


class StandingStore:
    """Counts over the store of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def queues(self, *, at: datetime) -> tuple[Queue, ...]:
        """Every queue, also the empty ones."""
        rows = await self._database.fetch(QUERIES["select_queues"], at)
        return tuple(Queue(name=r["queue"], waiting=r["waiting"], oldest=r["oldest"]) for r in rows)

    async def proposals(self) -> dict[str, int]:
        """Proposals by status."""
        rows = await self._database.fetch(QUERIES["select_proposal_counts"])
        return {r["status"]: r["count"] for r in rows}

    async def probed(self) -> tuple[Probed, ...]:
        """Connections that were probed."""
        rows = await self._database.fetch(QUERIES["select_write_rights"])
        return tuple(
            Probed(
                connection=r["connection"],
                holding=r["holding"],
                tried=r["tried"],
                probed_at=r["probed_at"],
            )
            for r in rows
        )
