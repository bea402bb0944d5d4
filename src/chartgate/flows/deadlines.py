"""What nobody decided in time goes to staff, and so does whatever was on its way to them."""

from contextlib import suppress

from chartgate.errors import VersionConflict
from chartgate.flows.handoffs import hand_off
from chartgate.flows.permits import running_action
from chartgate.flows.proposal_events import event_of
from chartgate.flows.seeded import lapse
from chartgate.gate import Gate
from chartgate.model.proposal import Status, moved
from chartgate.store.proposals import ProposalStore

SAY_EXPIRED = "nobody decided in time"


async def expire_next(gate: Gate, worker: str) -> bool:
    """Hands off one proposal whose time has run out. True if there was one."""
    before = await ProposalStore(gate.database).overdue(now=gate.clock())
    if before is None:
        return False
    agent = f"process:{worker}"
    if before.seed:
        await lapse(gate, before, agent)
        return True
    expired, events = before, []
    if before.status is Status.PENDING_REVIEW:
        expired = moved(before, Status.EXPIRED, reason=SAY_EXPIRED)
        events = [event_of(gate, expired, "proposal.expire", agent, at=gate.clock())]
    after = moved(expired, Status.HANDED_OFF, reason=expired.reason or before.status.value)
    action = running_action(gate, before)
    # Somebody may decide at the last moment, or another worker be quicker.
    with suppress(VersionConflict):
        await hand_off(gate, before, after, action, agent=agent, events=events)
    return True
