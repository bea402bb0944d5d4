"""Taking a verified write back: the stored compensation, which never overwrites a later edit.

VERIFIED → ROLLING_BACK when a person asks, with a reason; from there as a commit: a look at what it
stands on (undo_ground.py), the last look, one conditional write, read-back. If the chart has moved
on nothing is sent, or the system of record refuses it by its precondition: the proposal is VERIFIED
again and says so, and its page shows what changed since. Where other writes of ours came on top and
are being taken back, it waits for them.
A halt holds rollbacks too, because it stops every write. To undo while an AI use is to do
nothing, set its stage to shadow and resume.
"""

from collections.abc import Sequence

from chartgate.errors import (
    Invalid,
    InvalidTransition,
    OutcomeUnknown,
    VersionConflict,
    WriteRefused,
)
from chartgate.failpoints import failpoint
from chartgate.flows.contexts import proposal_for
from chartgate.flows.crews import Trade, take_next
from chartgate.flows.handoffs import hand_off
from chartgate.flows.impasses import SAY_NOT_UNDONE
from chartgate.flows.partial import going_apart, state_of_rollback
from chartgate.flows.permissions import why_not
from chartgate.flows.permits import (
    check_person,
    relationship_on,
    request_on,
    running_action,
)
from chartgate.flows.proposal_events import event_of, written
from chartgate.flows.regress import LOOKS, SAY_WENT_BACK, alarm
from chartgate.flows.sagas import Stopped, as_sent, rest_of, send_attempt, stop_rollback
from chartgate.flows.sending import (
    NOTHING_SENT,
    WENT_BACK,
    Held,
    doubtful,
    find_effect,
    is_too_old,
    open_attempts,
    postpone,
    read_back_differences,
    retry_at,
)
from chartgate.flows.telling import told_undo
from chartgate.flows.undo_ground import Ground, look
from chartgate.gate import Gate
from chartgate.model.audit import Outcome
from chartgate.model.principal import Principal
from chartgate.model.proposal import Proposal, Status, moved
from chartgate.model.write import Prepared, Receipt
from chartgate.store.halts import HaltStore
from chartgate.store.proposals import Attempt, ProposalStore, notify_work

REASON_MAX = 2_000  # characters
SAY_MOVED_ON = "not rolled back: the chart moved on, somebody changed it after the commit"
SAY_REFUSED = "not rolled back: "
SAY_CANNOT_TELL = "whether the rollback was applied could not be found out; look at the record"
SAY_NEVER_ARRIVES = (
    "not rolled back: it was sent several times and did not arrive; it may still come late: look"
    " at the record"
)
SAY_DIFFERS = "rolled back, but the record is not what it was before, in: "


async def request_rollback(gate: Gate, principal: Principal, id_: str, *, reason: str) -> Proposal:
    """A person asks to take it back; a worker does it.

    Raises NotFound, Denied, Invalid (no reason), InvalidTransition (it is not verified, or is
    being rolled back already), VersionConflict.
    """
    before = await proposal_for(gate, principal, id_)
    related = await relationship_on(gate, before, principal)
    request = request_on(before, principal, "rollback", relationship=related)
    person, decision = await check_person(gate, principal, request, proposal=before.id)
    words = reason.strip()
    if not words or len(words) > REASON_MAX or "\0" in words:
        raise Invalid(f"say in 1 to {REASON_MAX} characters why it is rolled back")
    if hindrance := why_not(before, "rollback", now=gate.clock()):
        raise InvalidTransition(hindrance)
    after = moved(before, Status.ROLLING_BACK, reason=words, attempts=0)
    at = gate.clock()
    event = event_of(
        gate,
        after,
        "proposal.rollback",
        person.agent,
        at=at,
        decision=decision,
    )
    async with gate.database.change(event) as transaction:
        await ProposalStore(gate.database).move(transaction, before, after, at=at)
        await notify_work(transaction, "rollback")
    return after


async def rollback_next(gate: Gate, worker: str) -> bool:
    """Takes one rollback as far as it will go now. False: there was none."""
    return await take_next(gate, ROLLBACKS, worker)


async def _carry_on(gate: Gate, proposal: Proposal, agent: str) -> None:
    failpoint("c15.06")
    attempts = await open_attempts(gate, proposal, "rollback")
    if attempts:
        await _resume(gate, proposal, attempts, agent)
    else:
        await _roll_back(gate, proposal, agent)


ROLLBACKS = Trade(
    name="rollbacks",
    statuses=(Status.ROLLING_BACK,),
    direction="rollback",
    carry_on=_carry_on,
)


async def _roll_back(gate: Gate, proposal: Proposal, agent: str) -> None:
    assert proposal.compensation is not None, "verified without a compensation"
    if await HaltStore(gate.database).in_force(proposal.charter):
        raise Held("a halt is in force; nothing was sent")
    ground = await look(gate, proposal)
    if ground.write is None:
        await _not_sent(gate, proposal, ground, agent)
        return
    try:
        write = await told_undo(gate, proposal, ground.write)
    except WriteRefused as error:
        await _stays(gate, proposal, f"{SAY_REFUSED}{error}", agent)
        return
    prepared = await as_sent(gate, proposal, Prepared(write=write, before=()))
    at = gate.clock()
    event = event_of(gate, proposal, "proposal.send-rollback", agent, at=at)
    store = ProposalStore(gate.database)
    failpoint("c15.07")
    number = await store.intend(event, proposal, proposal, "rollback", prepared, at=at)
    failpoint("c15.08")
    try:
        receipt = await send_attempt(gate, proposal, "rollback", number, prepared)
        failpoint("c15.11")
    except Stopped as stopped:
        await stop_rollback(gate, proposal, stopped, agent)
    except (VersionConflict, WriteRefused) as error:
        await _refused(gate, proposal, number, error, agent)
    except NOTHING_SENT:
        await store.refuse_attempt(proposal, "rollback", number, at=gate.clock())
        await postpone(gate, proposal)
    except OutcomeUnknown:
        await postpone(gate, proposal)
    else:
        await _landed(gate, proposal, number, prepared, receipt, agent)


async def _not_sent(gate: Gate, proposal: Proposal, ground: Ground, agent: str) -> None:
    """There is nothing that it could stand on now."""
    if ground.waits:
        until = retry_at(gate, 0)
        await ProposalStore(gate.database).postpone(proposal, until=until, failed=False)
    elif ground.moved_on:
        await _moved_on(gate, proposal, agent)
    elif proposal.attempts < LOOKS:
        await postpone(gate, proposal)  # it may be a replica that lags behind
    else:
        attempts = await open_attempts(gate, proposal, "rollback")
        after = moved(proposal, Status.HANDED_OFF, reason=SAY_NOT_UNDONE + SAY_WENT_BACK)
        await hand_off(
            gate,
            proposal,
            after,
            running_action(gate, proposal),
            agent=agent,
            events=[await alarm(gate, proposal, ground.went_back, agent)],
            direction="rollback" if attempts else None,
            verdict="cannot-tell" if attempts else None,
        )


async def _moved_on(gate: Gate, proposal: Proposal, agent: str) -> None:
    """Somebody changed it, or a request of ours arrived since it was looked for."""
    attempts = await open_attempts(gate, proposal, "rollback")
    try:
        found = await find_effect(gate, proposal, attempts)
    except OutcomeUnknown:
        await postpone(gate, proposal)
        return
    if found is not None:
        await _found(gate, proposal, *found, agent)
    else:
        await _stays(gate, proposal, SAY_MOVED_ON, agent)


async def _resume(gate: Gate, proposal: Proposal, attempts: Sequence[Attempt], agent: str) -> None:
    """A rollback may have gone out and its answer is not known: reading tells."""
    try:
        found = await find_effect(gate, proposal, attempts)
    except (OutcomeUnknown, *NOTHING_SENT):
        if not is_too_old(gate, attempts):
            await postpone(gate, proposal)
            return
        await _cannot_tell(gate, proposal, agent, _unsure(attempts))
        return
    if found is not None:
        await _found(gate, proposal, *found, agent)
    elif len(attempts) >= gate.config.worker.attempts_max:
        await _cannot_tell(gate, proposal, agent, SAY_NEVER_ARRIVES)
    else:
        await _roll_back(gate, proposal, agent)


async def _refused(
    gate: Gate, proposal: Proposal, number: int, error: VersionConflict | WriteRefused, agent: str
) -> None:
    """A definite no to this attempt; an earlier one whose answer was lost may be the reason."""
    attempts = await open_attempts(gate, proposal, "rollback")
    this = doubtful(attempts, number, error)
    try:
        found = await find_effect(gate, proposal, [a for a in attempts if a.number != number])
        is_there = found is None and await find_effect(gate, proposal, this) is not None
    except (OutcomeUnknown, *NOTHING_SENT):
        if not this:
            store = ProposalStore(gate.database)
            await store.refuse_attempt(proposal, "rollback", number, at=gate.clock())
        await postpone(gate, proposal)
        return
    if found is not None:
        await _found(gate, proposal, *found, agent)
        return
    if is_there:
        await _cannot_tell(gate, proposal, agent, _unsure(this))
        return
    moved_on = isinstance(error, VersionConflict)
    await _stays(gate, proposal, SAY_MOVED_ON if moved_on else f"{SAY_REFUSED}{error}", agent)


def _unsure(attempts: Sequence[Attempt]) -> str:
    apart = going_apart(attempts)
    return state_of_rollback(apart, unsure=True) if apart else SAY_CANNOT_TELL


async def _cannot_tell(gate: Gate, proposal: Proposal, agent: str, reason: str) -> None:
    """A person has to look whether it was undone."""
    after = moved(proposal, Status.HANDED_OFF, reason=reason)
    await hand_off(
        gate,
        proposal,
        after,
        running_action(gate, proposal),
        agent=agent,
        direction="rollback",
        verdict="cannot-tell",
    )


async def _stays(gate: Gate, proposal: Proposal, reason: str, agent: str) -> None:
    """Nothing was undone: what was committed stands."""
    at = gate.clock()
    after = moved(proposal, Status.VERIFIED, reason=reason, attempts=0)
    event = event_of(
        gate,
        after,
        "proposal.not-rolled-back",
        agent,
        at=at,
        outcome=Outcome.FAILED,
        reason=reason,
    )
    store = ProposalStore(gate.database)
    async with gate.database.change(event) as transaction:
        await store.move(transaction, proposal, after, at=at)
        await store.end_attempts(transaction, proposal, "rollback", "not-applied", at=at)


async def _found(
    gate: Gate, proposal: Proposal, attempt: Attempt, receipt: Receipt, agent: str
) -> None:
    """An attempt that was made, or of which a part was."""
    whole = await rest_of(gate, proposal, "rollback", attempt, receipt, agent)
    if whole is not None:
        await _landed(gate, proposal, attempt.number, attempt.prepared, whole, agent)


async def _landed(
    gate: Gate, proposal: Proposal, number: int, prepared: Prepared, receipt: Receipt, agent: str
) -> None:
    """It was undone: read back, then the end. Until that is stored, reading finds it again."""
    paths = await read_back_differences(gate, proposal, prepared, receipt)
    if paths:
        after = moved(proposal, Status.HANDED_OFF, reason=(SAY_DIFFERS + ", ".join(paths)))
        older = tuple(path.partition(" ")[0] for path in paths if path.endswith(WENT_BACK))
        await hand_off(
            gate,
            proposal,
            after,
            running_action(gate, proposal),
            agent=agent,
            events=[await alarm(gate, proposal, older, agent)] if older else [],
            direction="rollback",
            verdict="applied",
        )
        return
    at = gate.clock()
    after = moved(proposal, Status.ROLLED_BACK, attempts=0)
    event = event_of(
        gate,
        after,
        "proposal.rolled-back",
        agent,
        at=at,
        details=(("resolved", str(receipt.resolved).lower()), *written(receipt)),
    )
    store = ProposalStore(gate.database)
    failpoint("c15.13")
    async with gate.database.change(event) as transaction:
        await store.move(transaction, proposal, after, at=at)
        await store.end_attempts(
            transaction, proposal, "rollback", "not-applied", at=at, applied=number
        )
        await notify_work(transaction, "rollback")  # what waited for this one
    failpoint("c15.14")
