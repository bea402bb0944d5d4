"""Who was shown what, since when, and what each person decided on it.

All of it hangs on a proposal and goes when that goes. It says nothing of a patient.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chartgate.errors import VersionConflict
from chartgate.model.proposal import Proposal
from chartgate.model.review import Approval, Decided
from chartgate.store.database import Connection, Database
from chartgate.store.proposals import SAY_CHANGED
from chartgate.store.queries import load_queries

QUERIES = load_queries("reviews.sql")


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is known of one person and one version of a proposal."""

    shown_at: datetime | None  # None: it was never shown to them
    early: int  # how often they wanted to approve too soon
    approved_at: datetime | None  # when they last approved anything


class ReviewStore:
    """Looks and decisions of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def shown(
        self, transaction: Connection, proposal: Proposal, person: str, *, at: datetime
    ) -> None:
        """Notes that this content was shown to them; the first time stays."""
        await transaction.execute(
            QUERIES["insert_look"], *self._place(proposal), proposal.content.digest, person, at
        )

    async def lock(self, transaction: Connection, proposal: Proposal, person: str) -> None:
        """Until the transaction ends nobody else decides on it, and they on nothing else. Raises
        VersionConflict if it is not what it was any more."""
        await transaction.execute(QUERIES["lock_person"], self._database.tenant, person)
        content = proposal.content
        found = await transaction.fetchval(
            QUERIES["lock_proposal"],
            self._database.tenant,
            proposal.id,
            proposal.status.value,
            content.version,
            content.digest,
        )
        if found is None:
            raise VersionConflict(SAY_CHANGED)

    async def look(self, connection: Connection, proposal: Proposal, person: str) -> Look:
        """Since when this person could look at this content."""
        row = await connection.fetchrow(
            QUERIES["select_look"], *self._place(proposal), person, proposal.content.digest
        )
        return Look(
            shown_at=row["shown_at"], early=row["early"] or 0, approved_at=row["approved_at"]
        )

    async def approvals(self, connection: Connection, proposal: Proposal) -> tuple[Approval, ...]:
        """Who approved exactly this content, in their order."""
        rows = await connection.fetch(
            QUERIES["select_approvals"], *self._place(proposal), proposal.content.digest
        )
        return tuple(
            Approval(person=r["person"], roles=tuple(r["roles"]), at=r["decided_at"]) for r in rows
        )

    async def approved_so_far(self, proposals: Sequence[str]) -> dict[str, int]:
        """How many approved each of these as it stands now; those that nobody did are left out."""
        rows = await self._database.fetch(QUERIES["count_approvals"], list(proposals))
        return {r["proposal"]: r["count"] for r in rows}

    async def decide(
        self,
        transaction: Connection,
        proposal: Proposal,
        decided: Decided,
    ) -> None:
        """Notes a decision on the proposal's content."""
        await transaction.execute(
            QUERIES["insert_decision"],
            *self._place(proposal),
            proposal.content.digest,
            decided.person,
            list(decided.roles),
            decided.verdict,
            decided.at,
            decided.dwell_s,
            decided.floor_s,
            decided.early,
            decided.asked,
            decided.acknowledged,
        )

    async def note_early(self, transaction: Connection, proposal: Proposal, person: str) -> None:
        """Counts an approval that came too soon."""
        await transaction.execute(QUERIES["note_early"], *self._place(proposal), person)

    async def decisions(
        self,
        *,
        since: datetime | None = None,
        charter: str | None = None,
        person: str | None = None,
        limit: int,
    ) -> tuple[Decided, ...]:
        """The newest first; None does not narrow."""
        rows = await self._database.fetch(
            QUERIES["select_decisions"], since, charter, person, limit
        )
        return tuple(
            Decided(
                proposal=r["proposal"],
                charter=r["charter"],
                action=r["action"],
                person=r["person"],
                roles=tuple(r["roles"]),
                verdict=r["verdict"],
                at=r["decided_at"],
                dwell_s=r["dwell_s"],
                floor_s=r["floor_s"],
                early=r["early"],
                edited=r["edited"],
                seed=r["seed"],
            )
            for r in rows
        )

    def _place(self, proposal: Proposal) -> Sequence[str | int]:
        return self._database.tenant, proposal.id, proposal.content.version
