"""Proposals, each version of what they propose, and every attempt to write them.

Methods that take a `transaction` belong inside `Database.change`, next to the audit events that
stand for them. Claims and postponements move no status: they are bookkeeping of the workers.

What a proposal says is sealed under the key of the patient whom it is about; see sealed_proposal.py.
Of one that was erased, what it was, who decided and when stays; it is listed and claimed no more.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

import asyncpg

from chartgate.errors import InvalidTransition, NotFound, VersionConflict, mapped
from chartgate.formats.canonical import digest
from chartgate.model.audit import AuditEvent
from chartgate.model.proposal import Content, Proposal, Status, content_bytes, content_from
from chartgate.model.resource import references_in
from chartgate.model.write import Effect, Prepared, effects_bytes, prepared_bytes, prepared_from
from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries
from chartgate.store.sealed_proposals import ATTEMPT, CONTENT, SealedProposals
from chartgate.store.vault import CONNECTION_KEY, Key

QUERIES = load_queries("proposals.sql")
CLAIMED_MAX = 3  # statuses of one claim, as its query has it
SAY_NOT_FOUND = "there is no such proposal"  # the same whether it is not there or not theirs to see

SAY_KEY_USED = "this idempotency key was used for another proposal; take a new one"

SAY_CHANGED = "the proposal was changed by somebody else meanwhile; look at it again"

SAY_TAKEN_OVER = "another worker has taken over this proposal"

Direction = Literal["commit", "rollback", "compensation"]
Verdict = Literal["applied", "not-applied", "cannot-tell", "partly"]
Step = tuple[str, Sequence[Any]]  # as `Database.change_at_once` takes it


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One intent to send. Without a verdict its request may still arrive."""

    number: int
    prepared: Prepared
    started_at: datetime
    verdict: Verdict | None
    done: tuple[Effect, ...] = ()  # by its first changes, where they go one after the other


class LastLook(NamedTuple):
    """What stands against a write."""

    halted: str | None  # the reason of the halt in force
    waits: bool  # another write touches what this one touches, and goes first
    lease_until: datetime


class ProposalStore:
    """Proposals of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sealed = SealedProposals(database.vault)

    async def get(self, id_: str) -> Proposal:
        """Raises NotFound, also as Erased."""
        row = await self._database.fetch_row(QUERIES["select_proposal"], _uuid(id_))
        if row is None:
            raise NotFound(SAY_NOT_FOUND)
        return self._sealed.proposal(row)

    async def by_key(self, author: str, key: str) -> tuple[str, str] | None:
        """Id and first content digest of what `author` submitted under an idempotency key."""
        row = await self._database.fetch_row(QUERIES["select_by_key"], author, key)
        return (str(row["id"]), row["first_digest"]) if row is not None else None

    async def listed(
        self,
        *,
        statuses: Sequence[Status] | None = None,
        author: str | None = None,
        charters: Sequence[str] | None = None,
        sites: Sequence[str] | None = None,
        limit: int,
    ) -> tuple[Proposal, ...]:
        """Newest first; None does not narrow."""
        rows = await self._database.fetch(
            QUERIES["select_listed"],
            None if statuses is None else [s.value for s in statuses],
            author,
            charters,
            sites,
            limit,
        )
        return tuple(self._sealed.proposal(row) for row in rows)

    async def contents(self, id_: str) -> tuple[Content, ...]:
        """Every version of what was proposed, oldest first."""
        uuid_ = _uuid(id_)
        rows = await self._database.fetch(QUERIES["select_contents"], uuid_)
        return tuple(
            content_from(
                self._sealed.content(str(uuid_), r["version"], r["body"], r),
                version=r["version"],
                digest=r["digest"],
                edited_by=r["edited_by"],
            )
            for r in rows
        )

    async def count_open(self, transaction: Connection, *, author: str, charter: str) -> int:
        """Undecided and unfinished proposals. Other submissions of `author` wait until the
        transaction ends, so that the count is exact."""
        tenant = self._database.tenant
        await transaction.execute(QUERIES["lock_author"], tenant, author)
        count: int = await transaction.fetchval(QUERIES["count_open"], tenant, author, charter)
        return count

    async def insert(
        self, transaction: Connection, proposal: Proposal, *, idempotency_key: str | None
    ) -> None:
        """Stores a new proposal with its first content. Raises VersionConflict if the
        idempotency key was used before."""
        whose = (proposal.connection, proposal.patient or CONNECTION_KEY)
        key = (await self._database.vault.keys_in(transaction, [whose]))[whose]
        with mapped({asyncpg.UniqueViolationError: VersionConflict}, SAY_KEY_USED):
            await self._insert_proposal(
                transaction, proposal, key=key, idempotency_key=idempotency_key
            )
        await self._insert_content(transaction, proposal, key=key, at=proposal.created_at)

    async def _insert_proposal(
        self, transaction: Connection, proposal: Proposal, *, key: Key, idempotency_key: str | None
    ) -> None:
        await transaction.execute(
            QUERIES["insert_proposal"],
            self._database.tenant,
            proposal.id,
            proposal.charter,
            proposal.charter_digest,
            proposal.action,
            proposal.site,
            proposal.connection,
            proposal.author,
            proposal.interaction,
            idempotency_key,
            proposal.stage,
            proposal.status.value,
            proposal.content.version,
            proposal.content.digest,
            proposal.confidence,
            self._sealed.seal(key, proposal.rationale.encode(), proposal.id, "rationale"),
            proposal.created_at,
            proposal.due_at,
            proposal.decided_by,
            proposal.decided_at,
            proposal.decided_digest,
            proposal.reason,
            proposal.patient,
            key.id,
            proposal.seed,
            proposal.replaces,
        )

    async def move(
        self,
        transaction: Connection,
        before: Proposal,
        after: Proposal,
        *,
        at: datetime,
        next_try_at: datetime | None = None,
        keep_lease: bool = False,
    ) -> None:
        """Writes `after` over `before`. Raises VersionConflict if it is `before` no longer."""
        key = await self._key(
            transaction, after, always=after.content.version != before.content.version
        )
        parameters = self._move_parameters(
            before, after, key, at=at, next_try_at=next_try_at, keep_lease=keep_lease
        )
        result = await transaction.execute(
            QUERIES["move_proposal"], self._database.tenant, *parameters
        )
        if result != "UPDATE 1":
            raise VersionConflict(SAY_CHANGED)
        if after.content.version != before.content.version:
            assert key is not None, "asked for"
            await self._insert_content(transaction, after, key=key, at=at)

    async def move_at_once(
        self,
        event: AuditEvent,
        before: Proposal,
        after: Proposal,
        *also: Step,
        at: datetime,
        keep_lease: bool = False,
    ) -> None:
        """As `move`, with its audit event, in one round trip; the content stays the same. `also`
        are further steps of that change, as `Database.change_at_once` takes them."""
        assert after.content.version == before.content.version, "its content would be lost"
        key = await self._key_at_hand(after)
        parameters = self._move_parameters(before, after, key, at=at, keep_lease=keep_lease)
        moving = (QUERIES["move_proposal"], parameters)
        await self._database.change_at_once(event, moving, *also, otherwise=SAY_CHANGED)

    async def intend(
        self,
        event: AuditEvent,
        before: Proposal,
        after: Proposal,
        direction: Direction,
        prepared: Prepared,
        *,
        at: datetime,
    ) -> int:
        """Makes the intent to send durable, in one round trip: the move, which keeps the lease,
        and the attempt, whose number it gives. Raises VersionConflict as `move`."""
        key = await self._key_at_hand(after, always=True)
        assert key is not None, "asked for"
        parameters = self._move_parameters(before, after, key, at=at, keep_lease=True)
        moving = (QUERIES["move_proposal"], parameters)
        place = (after.id, direction, str(after.fence))
        intent = self._sealed.seal(key, prepared_bytes(prepared), *place, table=ATTEMPT)
        attempt = [after.id, direction, after.fence, intent, at]
        number: int = await self._database.change_at_once(
            event, moving, (QUERIES["insert_attempt"], attempt), otherwise=SAY_CHANGED
        )
        return number

    async def _key_at_hand(self, proposal: Proposal, *, always: bool = False) -> Key | None:
        """As `_key`, for statements that look whether the key is still there."""
        known = self._sealed.known_key(proposal.id)
        if known is not None:
            return known if always or proposal.receipt or proposal.compensation else None
        async with self._database.connection() as connection:
            return await self._key(connection, proposal, always=always)

    async def _key(
        self, connection: Connection, proposal: Proposal, *, always: bool = False
    ) -> Key | None:
        """What the proposal is sealed by; None where there is nothing to seal. Raises Erased."""
        if not (always or proposal.receipt or proposal.compensation):
            return None
        row = await connection.fetchrow(QUERIES["select_key"], self._database.tenant, proposal.id)
        if row is None:
            raise NotFound(SAY_NOT_FOUND)
        return self._sealed.key(row)

    async def _insert_content(
        self, transaction: Connection, proposal: Proposal, *, key: Key, at: datetime
    ) -> None:
        content = proposal.content
        body = content_bytes(content.changes, content.differences, content.base)
        await transaction.execute(
            QUERIES["insert_content"],
            self._database.tenant,
            proposal.id,
            content.version,
            content.digest,
            self._sealed.seal(key, body, proposal.id, str(content.version), table=CONTENT),
            content.edited_by,
            at,
            sorted(_touched(proposal)),
        )

    async def claim(
        self, statuses: Sequence[Status], *, now: datetime, lease_until: datetime
    ) -> Proposal | None:
        """The next one to work on, with a new fence; nobody else gets it before the lease ends."""
        assert len(statuses) <= CLAIMED_MAX, "the query would pass the others over"
        row = await self._database.bookkeep_row(
            QUERIES["claim_proposal"], [s.value for s in statuses], now, lease_until
        )
        return None if row is None else self._sealed.proposal(row)

    async def postpone(self, proposal: Proposal, *, until: datetime, failed: bool) -> None:
        """Gives a claimed proposal back, to be tried again at `until`."""
        async with self._database.bookkeeping() as transaction:
            await transaction.execute(
                QUERIES["postpone_proposal"],
                self._database.tenant,
                proposal.id,
                proposal.fence,
                until,
                int(failed),
            )

    async def wake(self, transaction: Connection, scope: str) -> None:
        """What waited under a halt's scope is due at once."""
        await transaction.execute(QUERIES["wake_waiting"], self._database.tenant, scope)
        for kind in ("commit", "rollback"):
            await notify_work(transaction, kind)

    async def overdue(self, *, now: datetime) -> Proposal | None:
        """One that nobody decided in time, or that a status on the way to staff holds."""
        id_ = await self._database.fetch_value(QUERIES["select_overdue"], now)
        return None if id_ is None else await self.get(str(id_))

    async def last_look(
        self, proposal: Proposal, *, now: datetime, undoing: bool = False
    ) -> LastLook:
        """Whether a write may go out now. Raises InvalidTransition when the proposal is another
        worker's now, or not what was decided."""
        row = await self._database.fetch_row(
            QUERIES["select_may_send"],
            proposal.id,
            proposal.fence,
            now,
            proposal.status.value,
            proposal.content.digest,
            undoing,
        )
        if row is None or not row["ours"]:
            raise InvalidTransition(SAY_TAKEN_OVER)
        return LastLook(halted=row["halted"], waits=row["waits"], lease_until=row["lease_until"])

    async def end_attempt(
        self,
        transaction: Connection,
        proposal: Proposal,
        direction: Direction,
        number: int,
        verdict: Verdict,
        *,
        at: datetime,
    ) -> None:
        """Notes what became of one attempt."""
        await transaction.execute(
            QUERIES["end_attempt"],
            self._database.tenant,
            proposal.id,
            direction,
            number,
            verdict,
            at,
        )

    async def refuse_attempt(
        self, proposal: Proposal, direction: Direction, number: int, *, at: datetime
    ) -> None:
        """As `end_attempt` with a definite no, where the proposal itself does not move yet."""
        async with self._database.bookkeeping() as transaction:
            await self.end_attempt(transaction, proposal, direction, number, "not-applied", at=at)

    async def note_done(
        self, proposal: Proposal, direction: Direction, number: int, effects: Sequence[Effect]
    ) -> None:
        """Notes with an attempt what its first changes did. Raises InvalidTransition when the
        proposal is another worker's now."""
        async with self._database.connection() as connection:
            key = await self._key(connection, proposal, always=True)
        assert key is not None, "asked for"
        place = (proposal.id, direction, str(number), "done")
        done = self._sealed.seal(key, effects_bytes(effects), *place, table=ATTEMPT)
        row = await self._database.bookkeep_row(
            QUERIES["note_done"], proposal.id, direction, number, done, proposal.fence
        )
        if row is None:
            raise InvalidTransition(SAY_TAKEN_OVER)

    async def end_attempts(
        self,
        transaction: Connection,
        proposal: Proposal,
        direction: Direction,
        verdict: Verdict,
        *,
        at: datetime,
        applied: int | None = None,
    ) -> None:
        """Notes what became of all attempts that had no verdict yet; the one numbered `applied`
        was applied."""
        query, parameters = ending_attempts(proposal, direction, verdict, at=at, applied=applied)
        await transaction.execute(query, self._database.tenant, *parameters)

    async def attempts(self, id_: str, direction: Direction) -> tuple[Attempt, ...]:
        """All attempts, oldest first."""
        uuid_ = _uuid(id_)
        rows = await self._database.fetch(QUERIES["select_attempts"], uuid_, direction)
        return tuple(
            Attempt(
                number=r["attempt"],
                prepared=prepared_from(self._sealed.intent(str(uuid_), direction, r)),
                started_at=r["started_at"],
                verdict=r["verdict"],
                done=self._sealed.done(str(uuid_), direction, r),
            )
            for r in rows
        )

    def _move_parameters(
        self,
        before: Proposal,
        after: Proposal,
        key: Key | None,
        *,
        at: datetime,
        next_try_at: datetime | None = None,
        keep_lease: bool = False,
    ) -> list[Any]:
        return [
            before.id,
            before.status.value,
            before.fence,
            after.status.value,
            after.content.version,
            after.content.digest,
            after.due_at,
            after.decided_by,
            after.decided_at,
            after.decided_digest,
            after.reason,
            self._sealed.receipt(key, after),
            self._sealed.compensation(key, after),
            after.attempts,
            next_try_at,
            at,
            keep_lease,
            before.content.version,
            key.id if key else None,
        ]


def ending_attempts(
    proposal: Proposal,
    direction: Direction,
    verdict: Verdict,
    *,
    at: datetime,
    applied: int | None = None,
) -> Step:
    """`ProposalStore.end_attempts` as a step of a change."""
    return QUERIES["end_attempts"], [proposal.id, direction, applied, verdict, at]


async def notify_work(transaction: Connection, kind: str) -> None:
    """Wakes the workers once the transaction commits."""
    await transaction.execute(QUERIES["notify_work"], kind)


def _touched(proposal: Proposal) -> frozenset[int]:
    """Numbers of all that the proposal changes or names, its patient among it."""
    named = {proposal.patient} if proposal.patient else set()
    for change in proposal.content.changes:
        values = [operation.get("value") for operation in change.patch]
        named.update(value for value in values if isinstance(value, str) and "/" in value)
        named.update(references_in([change.resource, *values]))
        if change.reference:
            named.add(change.reference)
    return frozenset(
        int.from_bytes(digest(f"{proposal.connection} {one}".encode())[:8], signed=True)
        for one in named
    )


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise NotFound(SAY_NOT_FOUND) from None
