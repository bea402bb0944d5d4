"""What nobody takes on goes to the next, and what is overdue is said: each once, by the clock.

The chain is the charter's, else the roster's for its worklist. A step moves the handoff from the
revision that was seen, so that two workers, or a worker and whoever takes it on, make one move.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from chartgate.errors import Erased, VersionConflict
from chartgate.flows.at_once import SAY_BREAKER_OPEN, is_away
from chartgate.flows.handoffs import details_of, event_on, hand_off
from chartgate.flows.permits import running_action
from chartgate.flows.proposal_events import Details
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.charter import ActionRule
from chartgate.model.handoff import Cause, Handoff, HandoffStatus
from chartgate.model.proposal import Proposal, Status, moved
from chartgate.policy.roster import escalated, steps_of
from chartgate.store.handoffs import HandoffStore
from chartgate.store.proposals import ProposalStore

SAY_NOBODY = "nobody took it on in time"
SAY_OVERDUE = "it is not closed, and its time is over"


async def escalate_next(gate: Gate, worker: str) -> bool:
    """Takes one step: escalates, or says that something is overdue, or gives staff what cannot be
    written because the EHR is away. False: there was nothing to do. Raises Unavailable."""
    agent, now = f"process:{worker}", gate.clock()
    store = HandoffStore(gate.database)
    if (handoff := await store.to_escalate(now=now)) is not None:
        with suppress(VersionConflict):  # somebody took it on, or another worker was quicker
            await _escalate(gate, handoff, agent, at=now)
        return True
    if (handoff := await store.not_noticed(now=now)) is not None:
        with suppress(VersionConflict):
            after = replace(handoff, overdue_at=now, revision=handoff.revision + 1)
            await _move(gate, handoff, after, "handoff.overdue", agent, SAY_OVERDUE, at=now)
        return True
    return await _give_back_stalled(gate, agent, now)


def released(gate: Gate, handoff: Handoff, action: ActionRule | None, *, at: datetime) -> Handoff:
    """The handoff, waiting again: the next step of its chain is due at once, if there is one."""
    more = action is not None and len(steps_of(gate.charters.roster, action)) > handoff.step
    return replace(
        handoff,
        status=HandoffStatus.OPEN,
        taken_by=None,
        taken_at=None,
        escalate_at=at if more else None,
        revision=handoff.revision + 1,
    )


async def _escalate(gate: Gate, handoff: Handoff, agent: str, *, at: datetime) -> None:
    roster = gate.charters.roster
    action = await _action_of(gate, handoff)
    steps = steps_of(roster, action) if action else ()
    if action is None or handoff.step >= len(steps):
        # The charter or the roster has a shorter chain by now: this one ends here.
        after = replace(handoff, escalate_at=None, revision=handoff.revision + 1)
        await _move(gate, handoff, after, "handoff.escalate", agent, "the chain ends here", at=at)
        return
    step, rest = steps[handoff.step], steps[handoff.step + 1 :]
    target = escalated(
        roster, step, handoff.worklist, at, allowed=(*action.worklists, *action.reviewers)
    )
    after = replace(
        handoff,
        worklist=target.worklist,
        assigned_to=target.person or None,
        step=handoff.step + 1,
        escalate_at=at + timedelta(seconds=rest[0].after_s) if rest else None,
        revision=handoff.revision + 1,
    )
    details = (("step", str(after.step)), ("from", handoff.worklist), *_asked(after))
    await _move(gate, handoff, after, "handoff.escalate", agent, SAY_NOBODY, at=at, details=details)


def _asked(handoff: Handoff) -> Details:
    return (("asked", handoff.assigned_to),) if handoff.assigned_to else ()


async def _action_of(gate: Gate, handoff: Handoff) -> ActionRule | None:
    try:
        return running_action(gate, await ProposalStore(gate.database).get(handoff.proposal))
    except Erased:
        return None


async def _move(
    gate: Gate,
    before: Handoff,
    after: Handoff,
    action: str,
    agent: str,
    reason: str,
    *,
    at: datetime,
    details: Details = (),
) -> None:
    event = await _event(gate, after, action, agent, reason, at=at, details=details)
    async with gate.database.change(event) as transaction:
        await HandoffStore(gate.database).move(transaction, before, after, at=at)


async def _event(
    gate: Gate,
    handoff: Handoff,
    action: str,
    agent: str,
    reason: str,
    *,
    at: datetime,
    details: Details,
) -> AuditEvent:
    try:
        proposal = await ProposalStore(gate.database).get(handoff.proposal)
    except Erased:
        return AuditEvent(
            recorded=at,
            action=action,
            agent=agent,
            outcome=Outcome.FAILED,
            entities=(f"Proposal/{handoff.proposal}",),
            site=handoff.site,
            reason=reason,
            details=(*details_of(handoff), *details),
        )
    return await event_on(
        gate, handoff, proposal, action, agent, at=at, reason=reason, details=details
    )


async def _give_back_stalled(gate: Gate, agent: str, now: datetime) -> bool:
    """An approved proposal whose EHR is away goes to staff, where the charter says so. What may
    still arrive there does not: it is resolved by reading first."""
    actions = [
        f"{charter.name}/{action.name}"
        for charter in gate.charters.charters.values()
        for action in charter.proposes.values()
        if Cause.BREAKER_OPEN.value in action.handoff_when
    ]
    away = [name for name in gate.sinks if is_away(gate, name)] if actions else []
    if not away:
        return False
    id_ = await HandoffStore(gate.database).stalled(
        connections=away,
        actions=actions,
        decided_before=now - timedelta(seconds=gate.config.worker.resolve_within_s),
        now=now,
    )
    if id_ is None:
        return False
    before: Proposal = await ProposalStore(gate.database).get(id_)
    after = moved(before, Status.HANDED_OFF, reason=SAY_BREAKER_OPEN)
    action = running_action(gate, before)
    with suppress(VersionConflict):  # a worker took it up after all
        await hand_off(gate, before, after, action, agent=agent, cause=Cause.BREAKER_OPEN)
    return True
