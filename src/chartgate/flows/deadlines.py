"""What nobody decided in time goes to staff, and so does whatever was on its way to them."""

from chartgate.errors import VersionConflict
from chartgate.flows.handoffs import hand_off
from chartgate.flows.permits import running_action
from chartgate.gate import Gate
from chartgate.model.proposal import Status, moved
from chartgate.store.proposals import ProposalStore

SAY_EXPIRED = "nobody decided in time"


async def expire_next(gate: Gate, worker: str) -> bool:
    """Hands off one proposal whose time has run out. True if there was one."""
    before = await ProposalStore(gate.database).overdue(now=gate.clock())
    if before is None:
        return False
    after = before
    if before.status is Status.PENDING_REVIEW:
        after = moved(before, Status.EXPIRED, reason=SAY_EXPIRED)
    after = moved(after, Status.HANDED_OFF, reason=after.reason or before.status.value)
    try:
        await hand_off(gate, before, after, running_action(gate, before), agent=f"process:{worker}")
    except VersionConflict:
        pass  # somebody decided at the last moment, or another worker was quicker
    return True
