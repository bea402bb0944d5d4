"""Work given back to staff: at most one handoff a proposal, ever, and what lists outside show of it.

A handoff moves only from the revision that was seen; the move, its audit event and the wake-up of
its item outside are one transaction.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime

from chartgate.errors import InvalidTransition, NotFound, VersionConflict
from chartgate.model.handoff import (
    Cause,
    Handoff,
    HandoffFigures,
    HandoffItem,
    HandoffStatus,
    ItemState,
)
from chartgate.store.database import Connection, Database, Row
from chartgate.store.queries import load_queries

QUERIES = load_queries("handoffs.sql")
SAY_MOVED = "somebody else has taken or closed this meanwhile"


class HandoffStore:
    """Handoffs of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(
        self, transaction: Connection, handoff: Handoff, item: HandoffItem | None = None
    ) -> None:
        """Opens a handoff, in the transaction that hands the proposal off; with `item` it is also
        to be put on a list outside."""
        tenant = self._database.tenant
        await transaction.execute(
            QUERIES["insert_handoff"],
            tenant,
            handoff.id,
            handoff.proposal,
            handoff.worklist,
            handoff.site,
            handoff.reason,
            handoff.opened_at,
            handoff.due_at,
            handoff.cause.value,
            handoff.assigned_to,
            handoff.escalate_at,
        )
        if item is not None:
            await transaction.execute(
                QUERIES["insert_item"],
                tenant,
                item.handoff,
                item.connection,
                item.kind,
                handoff.opened_at,
            )
            await transaction.execute(QUERIES["notify_handoff"])

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

    async def unfinished(self, *, limit: int) -> tuple[Handoff, ...]:
        """As `listed`, of all sites."""
        rows = await self._database.fetch(QUERIES["select_unfinished"], limit)
        return tuple(_handoff(row) for row in rows)

    async def move(
        self, transaction: Connection, before: Handoff, after: Handoff, *, at: datetime
    ) -> None:
        """Writes `after` over `before`, and wakes its item outside. Raises VersionConflict if it
        is `before` no longer."""
        count = await transaction.fetchval(
            QUERIES["move_handoff"],
            self._database.tenant,
            before.id,
            before.revision,
            after.status.value,
            after.worklist,
            after.assigned_to,
            after.taken_by,
            after.outcome,
            after.step,
            after.escalate_at,
            after.taken_at,
            after.closed_at,
            after.overdue_at,
            at,
        )
        if count != 1:
            raise VersionConflict(SAY_MOVED)
        await transaction.execute(QUERIES["notify_handoff"])

    async def to_escalate(self, *, now: datetime) -> Handoff | None:
        """One that nobody took on in time, the longest first."""
        row = await self._database.fetch_row(QUERIES["select_to_escalate"], now)
        return None if row is None else _handoff(row)

    async def not_noticed(self, *, now: datetime) -> Handoff | None:
        """One that is overdue, of which nobody has been told yet."""
        row = await self._database.fetch_row(QUERIES["select_not_noticed"], now)
        return None if row is None else _handoff(row)

    async def stalled(
        self,
        *,
        connections: Sequence[str],
        actions: Sequence[str],
        decided_before: datetime,
        now: datetime,
    ) -> str | None:
        """The id of an approved proposal of "charter/action" that could not be sent."""
        found = await self._database.fetch_value(
            QUERIES["select_stalled"], decided_before, connections, actions, now
        )
        return None if found is None else str(found)

    async def count_open_of(
        self, transaction: Connection, *, author: str, charter: str, causes: Sequence[Cause]
    ) -> int:
        """How many handoffs of one author staff have for these causes; others wait until the
        transaction ends."""
        tenant = self._database.tenant
        await transaction.execute(QUERIES["lock_handoffs_of"], tenant, author)
        count: int = await transaction.fetchval(
            QUERIES["count_open_of"],
            tenant,
            author,
            charter,
            [cause.value for cause in causes],
        )
        return count

    async def figures(self, *, now: datetime, since: datetime) -> tuple[HandoffFigures, ...]:
        """How the worklists stand, and how soon work was taken on since then."""
        rows = await self._database.fetch(QUERIES["select_figures"], now, since)
        return tuple(HandoffFigures(**row) for row in rows)

    async def items_behind(self) -> dict[str, int]:
        """Items that could not be put on a list outside yet, by its connection."""
        rows = await self._database.fetch(QUERIES["select_items_behind"])
        return {row["connection"]: row["waiting"] for row in rows}

    async def item(self, handoff: str) -> HandoffItem | None:
        """What a list outside shows of it; None: it is only here."""
        row = await self._database.fetch_row(QUERIES["select_item"], uuid.UUID(handoff))
        return None if row is None else _item(row)

    async def items(self, handoffs: Sequence[str]) -> dict[str, HandoffItem]:
        """As `item`, by handoff."""
        rows = await self._database.fetch(
            QUERIES["select_items"], [uuid.UUID(handoff) for handoff in handoffs]
        )
        return {item.handoff: item for item in map(_item, rows)}

    async def are_items(self, connection: str, references: Sequence[str]) -> bool:
        """Whether any of these resources is an item of a list outside."""
        if not references:
            return False
        found = await self._database.fetch_value(
            QUERIES["select_are_items"], connection, references
        )
        return bool(found)

    async def claim_items(
        self, *, now: datetime, lease_until: datetime, count_max: int
    ) -> tuple[HandoffItem, ...]:
        """Items that are due and nobody's, leased to the caller."""
        async with self._database.bookkeeping() as transaction:
            rows = await transaction.fetch(
                QUERIES["claim_items"], self._database.tenant, now, lease_until, count_max
            )
        return tuple(_item(row) for row in rows)

    async def intend_in(
        self, transaction: Connection, item: HandoffItem, charter: str, *, at: datetime
    ) -> bool:
        """Directly before a write: notes that it may go out. True: a halt is in force. Raises
        InvalidTransition where the caller does not hold the item any more."""
        halted = await transaction.fetchval(
            QUERIES["intend_item"],
            self._database.tenant,
            item.handoff,
            item.fence,
            at,
            charter,
        )
        if halted is None:
            raise InvalidTransition("the lease of the item has run out; nothing was sent")
        return bool(halted)

    async def settle_in(
        self, transaction: Connection, item: HandoffItem, *, at: datetime, next_look_at: datetime
    ) -> None:
        """Writes down how the item stands now, and lets go of it. Raises VersionConflict where
        another worker holds it."""
        row = await transaction.fetchrow(
            QUERIES["settle_item"],
            self._database.tenant,
            item.handoff,
            item.fence,
            item.state.value,
            item.reference,
            item.version,
            item.shown,
            item.last_error,
            at,
            next_look_at,
        )
        if row is None:
            raise VersionConflict("another worker has taken this item up meanwhile")

    async def settle(self, item: HandoffItem, *, at: datetime, next_look_at: datetime) -> None:
        """As `settle_in`, where nothing of ours changes by it."""
        async with self._database.bookkeeping() as transaction:
            await self.settle_in(transaction, item, at=at, next_look_at=next_look_at)

    async def put_off(self, item: HandoffItem, *, until: datetime, error: str) -> None:
        """Lets go of it, to be tried again then; `error` holds no patient data."""
        async with self._database.bookkeeping() as transaction:
            await transaction.execute(
                QUERIES["put_off_item"],
                self._database.tenant,
                item.handoff,
                item.fence,
                until,
                error,
            )


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
        cause=Cause(row["cause"]),
        assigned_to=row["assigned_to"],
        step=row["step"],
        escalate_at=row["escalate_at"],
        taken_at=row["taken_at"],
        closed_at=row["closed_at"],
        overdue_at=row["overdue_at"],
        revision=row["revision"],
    )


def _item(row: Row) -> HandoffItem:
    return HandoffItem(
        handoff=str(row["handoff"]),
        connection=row["connection"],
        kind=row["kind"],
        state=ItemState(row["state"]),
        reference=row["reference"],
        version=row["version"],
        shown=row["shown"],
        sent_at=row["sent_at"],
        attempts=row["attempts"],
        last_error=row["last_error"],
        fence=row["fence"],
    )
