"""Which messages each worker has in hand, so that one that ends its worker is found and set apart.

A batch is noted before it is processed. Whoever claims a message that another worker's note still
names holds its lanes, so that worker has gone, or its transaction has: the message is a suspect.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("batches.sql")


class BatchStore:
    """The notes of one worker, and those that others left."""

    def __init__(self, database: Database, *, worker: str) -> None:
        self._database = database
        self._worker = worker

    async def note(self, ids: Sequence[int], *, tries: int, at: datetime) -> None:
        """What this worker takes in hand now; `tries` counts the times that it ended others."""
        await self._database.bookkeep_row(QUERIES["note_batch"], self._worker, ids, tries, at)

    async def suspects_in(self, transaction: Connection, ids: Sequence[int]) -> Mapping[int, int]:
        """Of these, the messages that others had in hand, with how often."""
        rows = await transaction.fetch(
            QUERIES["select_suspects"], self._database.tenant, self._worker, ids
        )
        return {row["id"]: row["tries"] for row in rows}

    async def clear_in(self, transaction: Connection, message: int) -> None:
        """One suspect has been dealt with."""
        tenant = self._database.tenant
        await transaction.execute(QUERIES["clear_suspect"], tenant, self._worker, message)

    async def forget_done(self) -> None:
        """Deletes what workers that are gone have left, once nothing of it is queued."""
        await self._database.bookkeep_row(QUERIES["delete_done"], self._worker)
