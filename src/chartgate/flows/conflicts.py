"""What follows when a guard no longer holds: the chart moved on between the decision and the write.

What was proposed is worked out anew on the record as it is now, and a person decides on it, with
what changed. Where the charter says `re-propose`, the AI client is told as well, and may submit a
successor that takes its place; where it says `hand-off`, staff do it by hand. Nothing is written.
"""

from dataclasses import replace
from datetime import timedelta

from chartgate.errors import Invalid, InvalidTransition, NotFound
from chartgate.flows.drafts import content_on_live
from chartgate.flows.grounds import Grounds
from chartgate.flows.guards import Standing
from chartgate.flows.handoffs import hand_off
from chartgate.flows.proposal_events import event_of
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.charter import ActionRule
from chartgate.model.proposal import Content, Proposal, Status, moved
from chartgate.store.database import Connection
from chartgate.store.outbox import OutboxStore
from chartgate.store.proposals import ProposalStore
from chartgate.store.record import RecordStore

KIND = "proposal.conflict"  # of the event that AI clients are told of
REASON_MAX = 1_000  # characters
ALIKE = ("author", "charter", "action", "site", "connection", "patient")  # of both
SAY_ASKED = "its AI client was asked to propose anew"
SAY_REPLACED = "its AI client proposed anew"
SAY_NO_SUCCESSOR = (
    "only a proposal of your own that waits for a decision, under the same action and for the "
    "same patient, can be replaced, and only where its charter says on_conflict: re-propose"
)


async def settle(
    gate: Gate,
    proposal: Proposal,
    action: ActionRule,
    grounds: Grounds,
    standing: Standing,
    agent: str,
) -> None:
    """Moves a proposal on from a conflict, in one transaction with the event that tells of it."""
    reason = "; ".join(result.sentence for result in standing.broken)[:REASON_MAX]
    at = gate.clock()
    conflicted = moved(proposal, Status.CONFLICTED, reason=reason)
    event = event_of(
        gate,
        conflicted,
        "proposal.conflict",
        agent,
        at=at,
        outcome=Outcome.FAILED,
        reason="guard",
        details=(("on_conflict", action.on_conflict),),
    )
    content, hindrance = _anew(proposal, action, grounds, standing)
    if content is None:
        said = f"{reason}; {hindrance}" if hindrance else reason
        after = moved(conflicted, Status.HANDED_OFF, reason=said[:REASON_MAX])
        await hand_off(gate, proposal, after, action, agent=agent, events=[event])
        return
    if action.on_conflict == "re-propose":
        conflicted = replace(conflicted, reason=f"{reason}; {SAY_ASKED}"[:REASON_MAX])
    after = moved(
        conflicted,
        Status.PENDING_REVIEW,
        content=content,
        due_at=at + timedelta(seconds=action.review_within_s),
        decided_by=None,
        decided_at=None,
        decided_digest=None,
        attempts=0,
    )
    async with gate.database.change(event) as transaction:
        live = list(standing.live.values())
        await RecordStore(gate.database).keep_in(transaction, proposal.connection, live)
        await ProposalStore(gate.database).move(transaction, proposal, after, at=at)
        if action.on_conflict == "re-propose":
            await _tell(gate, transaction, after)


async def replaced_by(gate: Gate, action: ActionRule, successor: Proposal) -> Proposal | None:
    """The proposal whose place this one takes; None: it names none. Raises InvalidTransition
    where it may not, in one sentence for what is not there and what is not its own."""
    if successor.replaces is None:
        return None
    try:
        earlier = await ProposalStore(gate.database).get(successor.replaces)
    except NotFound:
        raise InvalidTransition(SAY_NO_SUCCESSOR) from None
    alike = all(getattr(earlier, name) == getattr(successor, name) for name in ALIKE)
    waits = earlier.status is Status.PENDING_REVIEW and earlier.seed is None
    if not (alike and waits and action.on_conflict == "re-propose"):
        raise InvalidTransition(SAY_NO_SUCCESSOR)
    return earlier


async def replaced_event(gate: Gate, earlier: Proposal, successor: Proposal) -> AuditEvent:
    """Says that one proposal took the place of another."""
    return event_of(
        gate,
        _withdrawn(earlier),
        "proposal.withdraw",
        successor.author,
        at=successor.created_at,
        details=(("successor", successor.id),),
    )


async def withdraw_replaced(
    gate: Gate, transaction: Connection, earlier: Proposal, successor: Proposal
) -> None:
    """Takes the earlier one back, in the transaction that stores the other. Raises
    VersionConflict where somebody decided on it meanwhile."""
    await ProposalStore(gate.database).move(
        transaction, earlier, _withdrawn(earlier), at=successor.created_at
    )


def _withdrawn(earlier: Proposal) -> Proposal:
    return moved(earlier, Status.WITHDRAWN, reason=SAY_REPLACED)


def _anew(
    proposal: Proposal, action: ActionRule, grounds: Grounds, standing: Standing
) -> tuple[Content | None, str]:
    """What a person may decide on now; None: nothing, and what hinders."""
    if action.on_conflict == "hand-off":
        return None, ""
    try:
        return content_on_live(proposal.content, action, grounds, standing), ""
    except Invalid as error:
        # It cannot be made any more; a successor can be, so that it waits for one.
        kept = proposal.content if action.on_conflict == "re-propose" else None
        return kept, str(error)


async def _tell(gate: Gate, transaction: Connection, proposal: Proposal) -> None:
    """A client without a place to be told at finds it in its list of proposals."""
    client = proposal.author.removeprefix("client:")
    config = gate.config.clients.get(client)
    if config is not None and config.notify_url:
        await OutboxStore(gate.database).tell_in(
            transaction,
            (client, proposal.charter),
            site=proposal.site,
            kind=KIND,
            focus=f"Proposal/{proposal.id}",
            at=gate.clock(),
        )
