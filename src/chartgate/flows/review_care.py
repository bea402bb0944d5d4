"""Whether somebody who approves has looked: what they were shown and when, what they ticked off,
and who else agrees.

Time counts from when this very content was shown to this very person, by the page or the API, and
anew after each approval of theirs: who opens fifty proposals at once does not look at fifty at
once. What is too early is answered with how long there is to look, and may be sent again.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from chartgate.errors import InvalidTransition, Throttled, Unprocessable, VersionConflict
from chartgate.flows.permits import running_action
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.model.charter import ActionRule
from chartgate.model.principal import Person, Principal
from chartgate.model.proposal import Difference, Proposal, Status
from chartgate.model.review import Approval, Decided
from chartgate.policy.reviewing import (
    ACKNOWLEDGE_MAX,
    SAY_TOO_MANY,
    Missing,
    Pace,
    floor_s,
    missing,
    to_acknowledge,
    whole_seconds,
)
from chartgate.store.database import Connection
from chartgate.store.reviews import Look, ReviewStore

SAY_NOT_SHOWN = "you have not been shown this content; open the proposal, then decide"
SAY_NOT_ENOUGH = "the charter asks for more approvals of exactly this content than there are"


@dataclass(frozen=True, kw_only=True)
class ReviewStanding:
    """How the review of a waiting proposal stands, for one person."""

    people: int  # who must approve
    approvals: tuple[Approval, ...]  # so far
    still: str  # who is still asked for: "a pharmacist"
    floor_s: float  # what looking at it takes at least
    wait_s: float  # how much of that is left for this person
    acknowledge: tuple[str, ...]  # keys of the differences that must be ticked off
    hindrance: str | None  # why this person cannot approve it, or why that would add nothing


async def show_recorded(
    gate: Gate, principal: Principal, proposal: Proposal, event: AuditEvent
) -> ReviewStanding | None:
    """Records that it is about to be shown. Gives how its review stands, to a person whom it
    waits for."""
    action = running_action(gate, proposal)
    waits = proposal.status is Status.PENDING_REVIEW and action is not None
    if not isinstance(principal, Person) or action is None or not waits:
        await gate.audit.record(event)
        return None
    store = ReviewStore(gate.database)
    async with gate.database.change(event) as transaction:
        await store.shown(transaction, proposal, principal.agent, at=event.recorded)
        look = await store.look(transaction, proposal, principal.agent)
        approvals = await store.approvals(transaction, proposal)
    return _standing(gate, principal, proposal, action, look, approvals, at=event.recorded)


async def approvals_so_far(gate: Gate, proposals: Sequence[Proposal]) -> dict[str, tuple[int, int]]:
    """Of those for which the charter asks for several people: how many approved, of how many."""
    several = {
        p.id: action.review_people
        for p in proposals
        if (action := running_action(gate, p)) and action.review_people > 1
    }
    found = await ReviewStore(gate.database).approved_so_far(list(several)) if several else {}
    return {id_: (found.get(id_, 0), people) for id_, people in several.items()}


async def check_approval(
    gate: Gate,
    transaction: Connection,
    proposal: Proposal,
    person: Person,
    action: ActionRule,
    acknowledged: Collection[str],
    *,
    at: datetime,
) -> tuple[Decided, Missing]:
    """The decision to note, and what is missing even with it. Until the transaction ends nobody
    else decides on it.

    Raises VersionConflict (it changed, or was not shown), Throttled (too early), InvalidTransition
    (their approval would add nothing), Unprocessable (something is not ticked off).
    """
    store = ReviewStore(gate.database)
    await store.lock(transaction, proposal, person.agent)
    look = await store.look(transaction, proposal, person.agent)
    approvals = await store.approvals(transaction, proposal)
    standing = _standing(gate, person, proposal, action, look, approvals, at=at)
    if standing.hindrance:
        raise InvalidTransition(standing.hindrance)
    if standing.floor_s > 0 and look.shown_at is None:
        raise VersionConflict(SAY_NOT_SHOWN)
    _check_acknowledged(standing.acknowledge, acknowledged)
    if standing.wait_s > 0:
        left = whole_seconds(standing.wait_s)
        raise Throttled(
            f"look at it for another {left} second{'s' if left > 1 else ''}, then approve; what it "
            "would change cannot be read in less",
            retry_after_s=left,
        )
    decided = Decided(
        proposal=proposal.id,
        charter=proposal.charter,
        action=proposal.action,
        person=person.agent,
        roles=roles_in(action, person),
        verdict="approve",
        at=at,
        dwell_s=_looked_s(look, at),
        floor_s=standing.floor_s,
        early=look.early,
        edited=proposal.content.edited_by is not None,
        seed=proposal.seed,
        asked=len(standing.acknowledge),
        acknowledged=len(standing.acknowledge),
    )
    return decided, _missing_with(action, approvals, person)


async def decided_otherwise(
    gate: Gate,
    transaction: Connection,
    proposal: Proposal,
    person: Person,
    verdict: str,
    *,
    at: datetime,
) -> Decided:
    """Notes a decision that is no approval, which may come as fast as it likes."""
    store = ReviewStore(gate.database)
    look = await store.look(transaction, proposal, person.agent)
    action = running_action(gate, proposal)
    decided = Decided(
        proposal=proposal.id,
        charter=proposal.charter,
        action=proposal.action,
        person=person.agent,
        roles=roles_in(action, person),
        verdict=verdict,
        at=at,
        dwell_s=_looked_s(look, at),
        floor_s=_floor_s(gate, proposal, action),
        early=look.early,
        seed=proposal.seed,
    )
    await store.decide(transaction, proposal, decided)
    return decided


async def why_not_reviewed(gate: Gate, proposal: Proposal, action: ActionRule) -> str | None:
    """What the approvals of its content lack for it to be written; None: nothing. One approval
    stands in the proposal itself."""
    if action.review_people <= 1 and not action.review_roles:
        return None
    async with gate.database.connection() as connection:
        approvals = await ReviewStore(gate.database).approvals(connection, proposal)
    held = {a.person: a.roles for a in approvals}
    return None if missing(action, held).none else SAY_NOT_ENOUGH


async def approvers_of(gate: Gate, proposal: Proposal) -> tuple[str, ...]:
    """Who approved the content that it has, in their order."""
    async with gate.database.connection() as connection:
        approvals = await ReviewStore(gate.database).approvals(connection, proposal)
    return tuple(a.person for a in approvals)


def roles_in(action: ActionRule | None, person: Person) -> tuple[str, ...]:
    """The roles of this person that review."""
    return tuple(r for r in person.roles if action and r in action.reviewers)


def _standing(
    gate: Gate,
    person: Person,
    proposal: Proposal,
    action: ActionRule,
    look: Look,
    approvals: Sequence[Approval],
    *,
    at: datetime,
) -> ReviewStanding:
    floor = _floor_s(gate, proposal, action)
    now = missing(action, {a.person: a.roles for a in approvals})
    return ReviewStanding(
        people=action.review_people,
        approvals=tuple(approvals),
        still=now.words,
        floor_s=floor,
        wait_s=max(0.0, floor - _looked_s(look, at)),
        acknowledge=to_acknowledge(action, proposal.content.differences),
        hindrance=_why_not(action, approvals, person, now, proposal.content.differences),
    )


def _why_not(
    action: ActionRule,
    approvals: Sequence[Approval],
    person: Person,
    now: Missing,
    differences: Sequence[Difference],
) -> str | None:
    if len(to_acknowledge(action, differences)) > ACKNOWLEDGE_MAX:
        return SAY_TOO_MANY
    if any(a.person == person.agent for a in approvals):
        return f"you have approved it already; it waits for {now.words}"
    if action.review_people > 1 and _missing_with(action, approvals, person).people >= now.people:
        return f"it waits for {now.words}, and you are none of those"
    return None


def _missing_with(action: ActionRule, approvals: Sequence[Approval], person: Person) -> Missing:
    held = {a.person: a.roles for a in approvals}
    return missing(action, {**held, person.agent: roles_in(action, person)})


def _floor_s(gate: Gate, proposal: Proposal, action: ActionRule | None) -> float:
    review = gate.config.review
    pace = Pace(least_s=review.dwell_s, word_s=review.word_s, field_s=review.field_s)
    least_s = action.review_dwell_s if action else 0.0
    return floor_s(proposal.content.differences, pace, least_s=least_s)


def _looked_s(look: Look, at: datetime) -> float:
    """Seconds that this person can have spent on it: one look counts for one approval."""
    if look.shown_at is None:
        return 0.0
    since = max(look.shown_at, look.approved_at) if look.approved_at else look.shown_at
    return max(0.0, (at - since).total_seconds())


def _check_acknowledged(asked: Sequence[str], given: Collection[str]) -> None:
    """Raises Unprocessable unless each was ticked off, and nothing that is not there."""
    left = len(set(asked) - set(given))
    if left:
        raise Unprocessable(
            f"{left} of {len(asked)} differences that the charter calls high-risk are not "
            "acknowledged; look at each and tick it off"
        )
    if not set(given) <= set(asked):
        raise Unprocessable(
            "something was acknowledged that is no high-risk difference of this content; send "
            "the keys under review.acknowledge of the proposal"
        )
