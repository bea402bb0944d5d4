"""Commits that came to no end: back to be tried again, waited for, or given to staff."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from chartgate.flows.handoffs import hand_off
from chartgate.flows.impasses import SAY_CANNOT_TELL
from chartgate.flows.partial import going_apart, state_of_commit
from chartgate.flows.permits import running_action
from chartgate.flows.proposal_events import Details, event_of
from chartgate.flows.sending import is_too_old, postpone
from chartgate.gate import Gate
from chartgate.model.audit import Outcome
from chartgate.model.proposal import Proposal, Status, moved
from chartgate.store.database import Connection
from chartgate.store.proposals import Attempt, ProposalStore, notify_work


async def back(
    gate: Gate,
    committing: Proposal,
    number: int | None,
    reason: str,
    agent: str,
    *,
    again: datetime | None,
    details: Details = (),
    also: Callable[[Connection], Awaitable[None]] | None = None,
) -> None:
    """Nothing was written as far as it can be known: to be tried again, guards first. `also` is
    done in the same transaction."""
    at = gate.clock()
    after = moved(committing, Status.APPROVED, attempts=committing.attempts + 1)
    event = event_of(
        gate,
        after,
        "proposal.not-sent",
        agent,
        at=at,
        outcome=Outcome.FAILED,
        reason=reason,
        details=details,
    )
    store = ProposalStore(gate.database)
    async with gate.database.change(event) as transaction:
        await store.move(transaction, committing, after, at=at, next_try_at=again)
        if number is not None:
            await store.end_attempt(transaction, committing, "commit", number, "not-applied", at=at)
        if also is not None:
            await also(transaction)
        if again is None:
            await notify_work(transaction, "commit")


async def wait_or_hand_off(
    gate: Gate, proposal: Proposal, attempts: Sequence[Attempt], agent: str
) -> None:
    """Reading could not tell. It is tried again for a while, then a person has to look."""
    if not is_too_old(gate, attempts):
        await postpone(gate, proposal)
        return
    apart = going_apart(attempts)
    reason = state_of_commit(apart, unsure=True) if apart else SAY_CANNOT_TELL
    after = moved(proposal, Status.HANDED_OFF, reason=reason)
    await hand_off(
        gate,
        proposal,
        after,
        running_action(gate, proposal),
        agent=agent,
        direction="commit",
        verdict="cannot-tell",
    )


async def taken_up(gate: Gate, proposal: Proposal, agent: str) -> Proposal:
    """An earlier attempt turned out to have landed after the proposal had gone back."""
    at = gate.clock()
    after = moved(proposal, Status.COMMITTING)
    event = event_of(gate, after, "proposal.send", agent, at=at, reason="earlier-attempt")
    async with gate.database.change(event) as transaction:
        await ProposalStore(gate.database).move(
            transaction, proposal, after, at=at, keep_lease=True
        )
    return after
