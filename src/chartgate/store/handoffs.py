"""Work given back to staff: at most one handoff a proposal, ever."""

import uuid
from collections.abc import Sequence

from chartgate.errors import NotFound, VersionConflict
from chartgate.model.handoff import Handoff, HandoffStatus
from chartgate.store.database import Connection, Database, Row
from chartgate.store.queries import load_queries

QUERIES = load_queries("handoffs.sql")


class HandoffStore:
    """Handoffs of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, transaction: Connection, handoff: Handoff) -> None:
        """Opens a handoff, in the transaction that hands the proposal off."""
        await transaction.execute(
            QUERIES["insert_handoff"],
            self._database.tenant,
            handoff.id,
            handoff.proposal,
            handoff.worklist,
            handoff.site,
            handoff.reason,
            handoff.opened_at,
            handoff.due_at,
        )

    async def get(self, id_: str) -> Handoff:
        """Raises NotFound."""
        try:
            row = await self._database.fetch_row(QUERIES["select_handoff"], uuid.UUID(id_))
        except ValueError:
            row = None
        if row is None:
            raise NotFound(f"there is no handoff {id_}")
        return _handoff(row)

    async def of_proposal(self, proposal: str) -> Handoff | None:
        """The handoff of a proposal, if it was handed off."""
        row = await self._database.fetch_row(QUERIES["select_handoff_of"], proposal)
        return None if row is None else _handoff(row)

    async def listed(
        self, *, sites: Sequence[str], worklist: str | None, limit: int
    ) -> tuple[Handoff, ...]:
        """What is not closed, the most urgent first."""
        rows = await self._database.fetch(QUERIES["select_handoffs"], sites, worklist, limit)
        return tuple(_handoff(row) for row in rows)

    async def move(self, transaction: Connection, before: Handoff, after: Handoff) -> None:
        """Writes `after` over `before`. Raises VersionConflict if it is `before` no longer."""
        result = await transaction.execute(
            QUERIES["move_handoff"],
            self._database.tenant,
            before.id,
            before.status.value,
            after.status.value,
            after.taken_by,
            after.outcome,
            before.taken_by,
        )
        if result != "UPDATE 1":
            raise VersionConflict("somebody else has taken or closed this meanwhile")


def _handoff(row: Row) -> Handoff:
    return Handoff(
        id=str(row["id"]),
        proposal=str(row["proposal"]),
        worklist=row["worklist"],
        site=row["site"],
        reason=row["reason"],
        opened_at=row["opened_at"],
        due_at=row["due_at"],
        status=HandoffStatus(row["status"]),
        taken_by=row["taken_by"],
        outcome=row["outcome"],
    )
