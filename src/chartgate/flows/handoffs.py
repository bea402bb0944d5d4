"""Work given back to staff: opened with the move that hands a proposal off, taken, closed.

Each move is one transaction with its audit event and with what keeps the lists outside in line:
handoff_tasks.py brings it there and back, escalations.py passes on what nobody takes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import uuid4

from chartgate.errors import Invalid, InvalidTransition, NotFound
from chartgate.flows.contexts import in_context
from chartgate.flows.permits import check_person, request_on
from chartgate.flows.proposal_events import Details, event_of
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.charter import ActionRule
from chartgate.model.decision import Decision
from chartgate.model.handoff import (
    Cause,
    Handoff,
    HandoffFigures,
    HandoffItem,
    HandoffStatus,
    ItemState,
)
from chartgate.model.principal import Person, Principal
from chartgate.model.proposal import Proposal, Status, moved
from chartgate.policy.decide import decide
from chartgate.policy.roster import routed, steps_of
from chartgate.store.database import Connection
from chartgate.store.handoffs import HandoffStore
from chartgate.store.proposals import Direction, ProposalStore, Verdict

WORKLIST_UNROUTED = "operators"  # where work goes whose charter is gone
WITHIN_UNROUTED_S = 1800.0
LIST_MAX = 500
OUTCOME_MAX = 2_000  # characters
ACKNOWLEDGED_WITHIN = timedelta(days=1)  # what the time to acknowledge is told of
CAUSES = {  # by what led to it
    "proposal.conflict": Cause.CONFLICT,
    "proposal.verify": Cause.MISMATCH,
    "proposal.expire": Cause.DEADLINE,
    "proposal.review": Cause.HANDED_BACK,
}
PASSING = {  # by where it stood
    Status.CONFLICTED: Cause.CONFLICT,
    Status.MISMATCHED: Cause.MISMATCH,
    Status.EXPIRED: Cause.DEADLINE,
}


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """One item of a worklist, as a person sees it."""

    handoff: Handoff
    proposal: Proposal
    take: Decision
    close: Decision
    item: HandoffItem | None = None  # what a list outside shows of it


async def hand_off(
    gate: Gate,
    before: Proposal,
    after: Proposal,
    action: ActionRule | None,
    *,
    agent: str,
    say: str | None = None,
    events: Sequence[AuditEvent] = (),
    direction: Direction | None = None,
    verdict: Verdict | None = None,
    cause: Cause | None = None,
    also: Callable[[Connection], Awaitable[None]] | None = None,
) -> Proposal:
    """Moves a proposal to HANDED_OFF and opens its handoff, both or neither; with `verdict`,
    that is also what became of its attempts. `say` stands in for a reason in a person's words,
    which may be about a patient. `events` say what led to it, and so the cause, if none is given.
    `also` is done in the same transaction.
    """
    assert after.status is Status.HANDED_OFF
    assert after.reason, "a handoff says why"
    at = gate.clock()
    cause = cause or _cause_of(before, events, verdict)
    handoff, item = opened(gate, after, action, cause=cause, reason=say or after.reason, at=at)
    event = event_of(
        gate,
        after,
        "handoff.open",
        agent,
        at=at,
        reason=handoff.reason,
        details=details_of(handoff),
    )
    store = ProposalStore(gate.database)
    async with gate.database.change(*events, event) as transaction:
        await store.move(transaction, before, after, at=at)
        await HandoffStore(gate.database).insert(transaction, handoff, item)
        if direction and verdict:
            await store.end_attempts(transaction, after, direction, verdict, at=at)
        if also:
            await also(transaction)
    return after


def opened(
    gate: Gate,
    proposal: Proposal,
    action: ActionRule | None,
    *,
    cause: Cause,
    reason: str,
    at: datetime,
) -> tuple[Handoff, HandoffItem | None]:
    """A new item of the worklist that the charter names, or of the one that has it then by the
    roster, due when the charter says; and its place on a list outside, where the charter wants
    one."""
    roster = gate.charters.roster
    handoff = Handoff(
        id=str(uuid4()),
        proposal=proposal.id,
        worklist=WORKLIST_UNROUTED,
        site=proposal.site,
        reason=reason,
        cause=cause,
        opened_at=at,
        due_at=at + timedelta(seconds=WITHIN_UNROUTED_S),
    )
    if action is None:
        return handoff, None
    target = routed(roster, action.handoff_to, at, allowed=action.worklists)
    steps = steps_of(roster, action)
    handoff = replace(
        handoff,
        worklist=target.worklist,
        assigned_to=target.person or None,
        due_at=at + timedelta(seconds=action.handoff_within_s),
        escalate_at=at + timedelta(seconds=steps[0].after_s) if steps else None,
    )
    if action.handoff_as == "console":
        return handoff, None
    return handoff, HandoffItem(
        handoff=handoff.id,
        connection=proposal.connection,
        kind=action.handoff_as,
        state=ItemState.WAITING,
    )


async def event_on(
    gate: Gate,
    handoff: Handoff,
    proposal: Proposal,
    action: str,
    agent: str,
    *,
    at: datetime,
    reason: str | None = None,
    details: Details = (),
) -> AuditEvent:
    """The event of one step of a handoff; a `reason` says why what it tells of failed."""
    return event_of(
        gate,
        proposal,
        action,
        agent,
        at=at,
        outcome=Outcome.FAILED if reason else Outcome.SUCCESS,
        reason=reason,
        details=(*details_of(handoff), *details),
    )


def details_of(handoff: Handoff) -> Details:
    """What each audit event of a handoff says beside its proposal."""
    return (
        ("worklist", handoff.worklist),
        ("handoff", handoff.id),
        ("cause", handoff.cause.value),
    )


def _cause_of(before: Proposal, events: Sequence[AuditEvent], verdict: Verdict | None) -> Cause:
    if verdict == "cannot-tell":
        return Cause.AMBIGUOUS
    for event in events:
        if event.action in CAUSES:
            return CAUSES[event.action]
    return PASSING.get(before.status, Cause.REFUSED)


async def listed(gate: Gate, person: Person, worklist: str | None = None) -> tuple[Handoff, ...]:
    """What waits for staff at this person's sites and may be shown to them, the most urgent
    first; `due_at` in the past means overdue."""
    return tuple(item.handoff for item in await waiting(gate, person, worklist))


async def waiting(gate: Gate, person: Person, worklist: str | None = None) -> tuple[Waiting, ...]:
    """As `listed`, with the proposals and what this person may do."""
    found = await HandoffStore(gate.database).listed(
        sites=person.sites, worklist=worklist, limit=LIST_MAX
    )
    proposals = ProposalStore(gate.database)
    items = await HandoffStore(gate.database).items([handoff.id for handoff in found])
    shown = []
    for handoff in found:
        proposal = await proposals.get(handoff.proposal)
        may = {
            verb: decide(gate.charters, request_on(proposal, person, verb))
            for verb in ("show", "take", "close")
        }
        if may["show"].permitted and in_context(person, proposal):
            shown.append(
                Waiting(
                    handoff=handoff,
                    proposal=proposal,
                    take=may["take"],
                    close=may["close"],
                    item=items.get(handoff.id),
                )
            )
    await gate.audit.record(
        AuditEvent(
            recorded=gate.clock(),
            action="handoff.list",
            agent=person.agent,
            entities=tuple(f"Proposal/{item.proposal.id}" for item in shown),
        )
    )
    return tuple(shown)


async def show(gate: Gate, principal: Principal, id_: str) -> Waiting:
    """One handoff, for a person who may see it. Raises NotFound, Denied."""
    handoff, proposal, person = await _for(gate, principal, id_, "show")
    may = {
        verb: decide(gate.charters, request_on(proposal, person, verb))
        for verb in ("take", "close")
    }
    at = gate.clock()
    await gate.audit.record(
        await event_on(gate, handoff, proposal, "handoff.show", person.agent, at=at)
    )
    return Waiting(
        handoff=handoff,
        proposal=proposal,
        take=may["take"],
        close=may["close"],
        item=await HandoffStore(gate.database).item(handoff.id),
    )


async def take(gate: Gate, principal: Principal, id_: str) -> Handoff:
    """A person takes it on. Raises NotFound, Denied, VersionConflict, InvalidTransition."""
    handoff, proposal, person = await _for(gate, principal, id_, "take")
    async with taking(gate, handoff, proposal, by=person.agent, agent=person.agent) as (_, after):
        pass
    return after


async def close(gate: Gate, principal: Principal, id_: str, outcome: str) -> Handoff:
    """Closes it with what was done by hand; the proposal is closed with it. Raises Invalid, and
    as `take`."""
    if not outcome.strip() or len(outcome) > OUTCOME_MAX or "\0" in outcome:
        raise Invalid(f"say in 1 to {OUTCOME_MAX} characters what was done")
    handoff, proposal, person = await _for(gate, principal, id_, "close")
    async with closing(
        gate, handoff, proposal, outcome=outcome.strip(), by=person.agent, agent=person.agent
    ) as (_, after):
        pass
    return after


@asynccontextmanager
async def taking(
    gate: Gate, handoff: Handoff, proposal: Proposal, *, by: str, agent: str, details: Details = ()
) -> AsyncIterator[tuple[Connection, Handoff]]:
    """The transaction in which `by` takes it on, and the handoff as it is then. Raises
    InvalidTransition, VersionConflict."""
    if handoff.status is not HandoffStatus.OPEN:
        raise InvalidTransition(f"this handoff is {handoff.status.value} already")
    at = gate.clock()
    after = replace(
        handoff,
        status=HandoffStatus.TAKEN,
        taken_by=by,
        taken_at=at,
        escalate_at=None,
        revision=handoff.revision + 1,
    )
    event = await event_on(gate, handoff, proposal, "handoff.take", agent, at=at, details=details)
    async with gate.database.change(event) as transaction:
        await HandoffStore(gate.database).move(transaction, handoff, after, at=at)
        yield transaction, after


@asynccontextmanager
async def closing(
    gate: Gate,
    handoff: Handoff,
    proposal: Proposal,
    *,
    outcome: str,
    by: str,
    agent: str,
    details: Details = (),
) -> AsyncIterator[tuple[Connection, Handoff]]:
    """The transaction in which `by` closes it, and the handoff as it is then. Raises as
    `taking`."""
    if handoff.status is HandoffStatus.CLOSED:
        raise InvalidTransition("this handoff is closed already")
    at = gate.clock()
    after = replace(
        handoff,
        status=HandoffStatus.CLOSED,
        taken_by=handoff.taken_by or by,
        taken_at=handoff.taken_at or at,
        closed_at=at,
        escalate_at=None,
        outcome=outcome,
        revision=handoff.revision + 1,
    )
    closed = moved(proposal, Status.CLOSED)
    event = await event_on(gate, handoff, closed, "handoff.close", agent, at=at, details=details)
    async with gate.database.change(event) as transaction:
        await HandoffStore(gate.database).move(transaction, handoff, after, at=at)
        await ProposalStore(gate.database).move(transaction, proposal, closed, at=at)
        yield transaction, after


async def figures(gate: Gate) -> tuple[tuple[HandoffFigures, ...], dict[str, int]]:
    """How the worklists stand, with what was taken on within a day; and how many handoffs could
    not be put on a list outside yet, by its connection. Raises Unavailable."""
    now = gate.clock()
    store = HandoffStore(gate.database)
    return await store.figures(now=now, since=now - ACKNOWLEDGED_WITHIN), await store.items_behind()


async def _for(
    gate: Gate, principal: Principal, id_: str, verb: str
) -> tuple[Handoff, Proposal, Person]:
    handoff = await HandoffStore(gate.database).get(id_)
    proposal = await ProposalStore(gate.database).get(handoff.proposal)
    if not in_context(principal, proposal):
        raise NotFound(f"there is no handoff {id_}")
    request = request_on(proposal, principal, verb)
    person, _ = await check_person(gate, principal, request, proposal=proposal.id)
    return handoff, proposal, person
