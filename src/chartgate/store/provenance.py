"""Which writes have still to leave a Provenance in the system of record. Leases are bookkeeping."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from chartgate.errors import InvalidTransition
from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("provenance.sql")

Ended = Literal["written", "refused"]


@dataclass(frozen=True, kw_only=True)
class Due:
    """One that a worker has in hand."""

    proposal: str
    fence: int
    attempts: int


@dataclass(frozen=True, kw_only=True)
class Stands:
    """What became of one."""

    status: Literal["due", "written", "refused"]
    reference: str | None
    reason: str | None


def due_step(proposal: str, *, at: datetime) -> tuple[str, Sequence[Any]]:
    """The step that makes one due, for the change that moves its proposal to verified."""
    return QUERIES["insert_provenance_due"], [proposal, at]


class ProvenanceStore:
    """Provenances of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, *, now: datetime, lease_until: datetime) -> Due | None:
        """The next one to write, leased to the caller."""
        row = await self._database.bookkeep_row(QUERIES["claim_provenance"], now, lease_until)
        if row is None:
            return None
        return Due(proposal=str(row["proposal"]), fence=row["fence"], attempts=row["attempts"])

    async def postpone(self, due: Due, *, until: datetime) -> None:
        """Gives it back, to be tried again at `until`."""
        async with self._database.bookkeeping() as transaction:
            await transaction.execute(
                QUERIES["postpone_provenance"],
                self._database.tenant,
                due.proposal,
                due.fence,
                until,
            )

    async def end(
        self,
        transaction: Connection,
        due: Due,
        status: Ended,
        *,
        at: datetime,
        reference: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Raises InvalidTransition if another worker has it, or it ended."""
        ended = await transaction.fetchval(
            QUERIES["end_provenance"],
            self._database.tenant,
            due.proposal,
            due.fence,
            status,
            reference,
            reason,
            at,
        )
        if ended is None:
            raise InvalidTransition("another worker has taken over this provenance")

    async def of_proposal(self, proposal: str) -> Stands | None:
        """None: none was asked for."""
        row = await self._database.fetch_row(QUERIES["select_provenance"], proposal)
        if row is None:
            return None
        return Stands(status=row["status"], reference=row["reference"], reason=row["reason"])
