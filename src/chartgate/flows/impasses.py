"""Work that gets no further: tried again a bounded number of times, then given to staff.

A dead link is no impasse, and is tried for ever. An impasse is a read that the system of record
refuses, or a fault of ours: trying again for ever would hide the work from everybody. What was
sent and is not resolved stays with the worker until reading had its time to tell.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from chartgate.errors import SourceRefused, VersionConflict
from chartgate.flows.handoffs import hand_off
from chartgate.flows.partial import going_apart, state_of_commit, state_of_rollback
from chartgate.flows.permits import running_action
from chartgate.flows.proposal_events import event_of
from chartgate.flows.sending import is_too_old, open_attempts, postpone
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.proposal import Proposal, Status, can_move, moved
from chartgate.store.database import Connection
from chartgate.store.proposals import Attempt, Direction, ProposalStore, Verdict

SAY_CANNOT_TELL = (
    "it was sent, and whether it was applied could not be found out; look at the record"
)
SAY_NOT_READ_BACK = "it was written, but it could not be read back; look at the record"
SAY_FAULT = "it failed several times through a fault of Chartgate's own; nothing was written"
SAY_NOT_UNDONE = "it was not taken back, what was committed stands: "


async def no_progress(
    gate: Gate, claimed: Proposal, direction: Direction, agent: str, error: Exception
) -> None:
    """Counts a claim that ended in an impasse: tried again later, or handed off."""
    current = await ProposalStore(gate.database).get(claimed.id)
    if current.fence != claimed.fence:
        return  # another worker has it
    attempts = (
        () if current.status is Status.COMMITTED else await open_attempts(gate, current, direction)
    )
    often = current.attempts + 1 >= gate.config.worker.attempts_max
    if not often or (attempts and not is_too_old(gate, attempts)):
        await postpone(gate, current)
        return
    events: tuple[AuditEvent, ...] = ()
    before = current
    if current.status is Status.COMMITTED:
        before = moved(current, Status.MISMATCHED, reason=SAY_NOT_READ_BACK)
        events = (await _not_verified(gate, before, agent, at=gate.clock()),)
    if not can_move(before, Status.HANDED_OFF):
        return
    verdict: Verdict | None = "cannot-tell" if attempts else None
    undo = await open_attempts(gate, current, "compensation")
    after = moved(before, Status.HANDED_OFF, reason=_reason(before, attempts, undo, error))

    async def undoing_ended(transaction: Connection) -> None:
        store, at = ProposalStore(gate.database), gate.clock()
        await store.end_attempts(transaction, current, "compensation", "cannot-tell", at=at)

    with suppress(VersionConflict):
        await hand_off(
            gate,
            current,
            after,
            running_action(gate, current),
            agent=agent,
            events=events,
            direction=direction,
            verdict=verdict,
            also=undoing_ended if undo else None,
        )


def _reason(
    proposal: Proposal, attempts: Sequence[Attempt], undo: Sequence[Attempt], error: Exception
) -> str:
    if proposal.status is Status.MISMATCHED:
        return SAY_NOT_READ_BACK
    if apart := going_apart(attempts):
        if proposal.status is Status.ROLLING_BACK:
            return state_of_rollback(apart, unsure=True)
        return state_of_commit(apart, undo[0] if undo else None, unsure=True)
    if attempts:
        return SAY_CANNOT_TELL
    said = str(error) if isinstance(error, SourceRefused) else SAY_FAULT
    return SAY_NOT_UNDONE + said if proposal.status is Status.ROLLING_BACK else said


async def _not_verified(
    gate: Gate, mismatched: Proposal, agent: str, *, at: datetime
) -> AuditEvent:
    return event_of(
        gate,
        mismatched,
        "proposal.verify",
        agent,
        at=at,
        outcome=Outcome.FAILED,
        reason=SAY_NOT_READ_BACK,
    )
