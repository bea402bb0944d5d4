"""Work given back to staff: opened with the move that hands a proposal off, taken, closed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import uuid4

from chartgate.errors import Invalid, InvalidTransition, NotFound
from chartgate.flows.contexts import in_context
from chartgate.flows.grounds import patient_of_proposal
from chartgate.flows.permits import check_person, request_on
from chartgate.flows.proposal_events import event_of
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.model.charter import ActionRule
from chartgate.model.decision import Decision
from chartgate.model.handoff import Handoff, HandoffStatus
from chartgate.model.principal import Person, Principal
from chartgate.model.proposal import Proposal, Status, moved
from chartgate.policy.decide import decide
from chartgate.store.handoffs import HandoffStore
from chartgate.store.proposals import Direction, ProposalStore, Verdict

WORKLIST_UNROUTED = "operators"  # where work goes whose charter is gone
WITHIN_UNROUTED_S = 1800.0
LIST_MAX = 500
OUTCOME_MAX = 2_000  # characters


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """One item of a worklist, as a person sees it."""

    handoff: Handoff
    proposal: Proposal
    take: Decision
    close: Decision


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
) -> Proposal:
    """Moves a proposal to HANDED_OFF and opens its handoff, both or neither; with `verdict`,
    that is also what became of its attempts. `say` stands in for a reason in a person's words,
    which may be about a patient. `events` say what led to it."""
    assert after.status is Status.HANDED_OFF
    assert after.reason, "a handoff says why"
    at = gate.clock()
    handoff = opened(after, action, reason=say or after.reason, at=at)
    event = event_of(
        gate,
        after,
        "handoff.open",
        agent,
        at=at,
        patient=await patient_of_proposal(gate, after),
        reason=handoff.reason,
        details=(("worklist", handoff.worklist), ("handoff", handoff.id)),
    )
    store = ProposalStore(gate.database)
    async with gate.database.change(*events, event) as transaction:
        await store.move(transaction, before, after, at=at)
        await HandoffStore(gate.database).insert(transaction, handoff)
        if direction and verdict:
            await store.end_attempts(transaction, after, direction, verdict, at=at)
    return after


def opened(proposal: Proposal, action: ActionRule | None, *, reason: str, at: datetime) -> Handoff:
    """A new item of the worklist that the charter names, due when the charter says."""
    within_s = action.handoff_within_s if action else WITHIN_UNROUTED_S
    return Handoff(
        id=str(uuid4()),
        proposal=proposal.id,
        worklist=action.handoff_to if action else WORKLIST_UNROUTED,
        site=proposal.site,
        reason=reason,
        opened_at=at,
        due_at=at + timedelta(seconds=within_s),
    )


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
    shown = []
    for handoff in found:
        proposal = await proposals.get(handoff.proposal)
        may = {
            verb: decide(gate.charters, request_on(proposal, person, verb))
            for verb in ("show", "take", "close")
        }
        if may["show"].permitted and await in_context(gate, person, proposal):
            shown.append(
                Waiting(handoff=handoff, proposal=proposal, take=may["take"], close=may["close"])
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


async def take(gate: Gate, principal: Principal, id_: str) -> Handoff:
    """A person takes it on. Raises NotFound, Denied, VersionConflict, InvalidTransition."""
    handoff, proposal, person = await _for(gate, principal, id_, "take")
    if handoff.status is not HandoffStatus.OPEN:
        raise InvalidTransition(f"this handoff is {handoff.status.value} already")
    after = replace(handoff, status=HandoffStatus.TAKEN, taken_by=person.agent)
    event = event_of(
        gate,
        proposal,
        "handoff.take",
        person.agent,
        at=gate.clock(),
        patient=await patient_of_proposal(gate, proposal),
        details=(("handoff", handoff.id),),
    )
    async with gate.database.change(event) as transaction:
        await HandoffStore(gate.database).move(transaction, handoff, after)
    return after


async def close(gate: Gate, principal: Principal, id_: str, outcome: str) -> Handoff:
    """Closes it with what was done by hand; the proposal is closed with it. Raises Invalid, and
    as `take`."""
    if not outcome.strip() or len(outcome) > OUTCOME_MAX or "\0" in outcome:
        raise Invalid(f"say in 1 to {OUTCOME_MAX} characters what was done")
    handoff, proposal, person = await _for(gate, principal, id_, "close")
    if handoff.status is HandoffStatus.CLOSED:
        raise InvalidTransition("this handoff is closed already")
    after = replace(
        handoff,
        status=HandoffStatus.CLOSED,
        taken_by=handoff.taken_by or person.agent,
        outcome=outcome.strip(),
    )
    at = gate.clock()
    closed = moved(proposal, Status.CLOSED)
    event = event_of(
        gate,
        closed,
        "handoff.close",
        person.agent,
        at=at,
        patient=await patient_of_proposal(gate, proposal),
        details=(("handoff", handoff.id),),
    )
    async with gate.database.change(event) as transaction:
        await HandoffStore(gate.database).move(transaction, handoff, after)
        await ProposalStore(gate.database).move(transaction, proposal, closed, at=at)
    return after


async def _for(
    gate: Gate, principal: Principal, id_: str, verb: str
) -> tuple[Handoff, Proposal, Person]:
    handoff = await HandoffStore(gate.database).get(id_)
    proposal = await ProposalStore(gate.database).get(handoff.proposal)
    if not await in_context(gate, principal, proposal):
        raise NotFound(f"there is no handoff {id_}")
    request = request_on(proposal, principal, verb)
    person, _ = await check_person(gate, principal, request, proposal=proposal.id)
    return handoff, proposal, person
