"""The commit: an approved proposal is written to the live system of record, at most once.

intact and still allowed? → guards live → intent durable → the last look (halt, lease) → one
conditional write → receipt and compensation durable → read back. A crash after any line leaves
a status from which the next worker goes on:

  APPROVED    nothing is under way (or only what its own precondition keeps harmless): start over
  COMMITTING  a write may have gone out: find out by reading, then COMMITTED or APPROVED
  COMMITTED   it was written: read back, then VERIFIED or MISMATCHED

A guard that no longer holds makes it CONFLICTED. What was proposed is then worked out anew on the
live record: if it still passes all rules it goes back to review, with what changed and with
differences on the record as it is now; if it cannot be any more (the slot is gone, the rule
fails) it is handed off. Both within one transaction, so that CONFLICTED never lingers.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from chartgate.errors import (
    ChartgateError,
    Invalid,
    OutcomeUnknown,
    SourceRefused,
    VersionConflict,
    WriteRefused,
)
from chartgate.failpoints import failpoint
from chartgate.flows.conflicts import settle
from chartgate.flows.consented import why_not_consented
from chartgate.flows.crews import Trade, take_next
from chartgate.flows.drafts import check_still_in_bounds
from chartgate.flows.grounds import Grounds, grounds_of
from chartgate.flows.guards import Standing, look, moved_elsewhere
from chartgate.flows.handoffs import hand_off
from chartgate.flows.impasses import SAY_CANNOT_TELL
from chartgate.flows.partial import going_apart, state_of_commit
from chartgate.flows.permissions import SAY_TAMPERED
from chartgate.flows.permits import can_write, running_action
from chartgate.flows.proposal_events import event_of, written
from chartgate.flows.proposals import RULE_AUTO, can_decide_itself
from chartgate.flows.provenances import due_steps
from chartgate.flows.regress import alarm, hold, older_than_seen
from chartgate.flows.review_care import why_not_reviewed
from chartgate.flows.sagas import (
    Stopped,
    as_sent,
    goes_back,
    rest_of,
    send_attempt,
    take_back,
)
from chartgate.flows.seeded import SAY_SEED
from chartgate.flows.sending import (
    NOTHING_SENT,
    WENT_BACK,
    Held,
    doubtful,
    find_effect,
    open_attempts,
    postpone,
    read_back_differences,
    retry_at,
    sink_of,
)
from chartgate.flows.telling import tightest, told
from chartgate.flows.unsent import back, taken_up, wait_or_hand_off
from chartgate.gate import Gate
from chartgate.model.audit import Outcome
from chartgate.model.charter import STAGES, ActionRule
from chartgate.model.ports import LastLook
from chartgate.model.proposal import (
    Proposal,
    Status,
    can_move,
    is_intact,
    moved,
)
from chartgate.model.write import Prepared, Receipt, Write
from chartgate.store.proposals import Attempt, ProposalStore, ending_attempts
from chartgate.store.stages import StageStore

REASON_MAX = 1_000  # characters
FIRST_FENCE = 1  # of a proposal that is taken up for the first time
SAY_NO_CHARTER = "the running charter does not propose this any more"
SAY_SHADOW = "the charter's stage is shadow now, in which nothing is written"
SAY_NEVER_ARRIVES = (
    "it was sent several times and did not arrive; it may still come late: look at the record"
)
SAY_KEEPS_CHANGING = "the record kept changing while it was written"
SAY_NOT_ITSELF = "the stage or the charter asks for a person now, and a rule alone had approved it"
EARLIER_VERSION = "all of it: an earlier version of the proposal arrived after it was changed"
SAY_MISMATCH = "the record is not what was approved, in: "


async def commit_next(gate: Gate, worker: str) -> bool:
    """Takes one approved proposal as far as it will go now. False: there was none."""
    return await take_next(gate, COMMITS, worker)


async def verify_next(gate: Gate, worker: str) -> bool:
    """Reads back one write whose read-back was interrupted. False: there was none."""
    return await take_next(gate, VERIFICATIONS, worker)


async def _carry_on(gate: Gate, proposal: Proposal, agent: str) -> None:
    failpoint("c06")
    try:
        if proposal.status is Status.COMMITTING:
            await _resume(gate, proposal, agent)
        else:
            await _commit(gate, proposal, agent)
    except (Invalid, WriteRefused) as error:
        await _give_up(gate, proposal, agent, error)


async def _verify(gate: Gate, proposal: Proposal, agent: str) -> None:
    attempts = await ProposalStore(gate.database).attempts(proposal.id, "commit")
    applied = next(a for a in attempts if a.verdict == "applied")
    assert proposal.receipt is not None, "committed without a receipt"
    paths = await _differences(gate, proposal, applied.prepared, proposal.receipt)
    await _verified(gate, proposal, paths, agent)


COMMITS = Trade(
    name="commits",
    statuses=(Status.APPROVED, Status.COMMITTING),
    direction="commit",
    carry_on=_carry_on,
)
VERIFICATIONS = Trade(
    name="verifications",
    statuses=(Status.COMMITTED,),
    direction="commit",
    carry_on=_verify,
)


async def _commit(gate: Gate, proposal: Proposal, agent: str) -> None:
    action = running_action(gate, proposal)
    content = proposal.content
    never, grounds = await asyncio.gather(
        _why_never(gate, proposal, action),
        grounds_of(gate, proposal.connection, proposal.interaction, content.base),
    )
    if never is None:
        never = await why_not_consented(gate, proposal, grounds.bodies)
    if never or action is None:
        after = moved(proposal, Status.HANDED_OFF, reason=never)
        await hand_off(gate, proposal, after, action, agent=agent)
        return
    standing = await look(gate, proposal, action, grounds)
    failpoint("c07")
    if older := older_than_seen(grounds, standing):
        await hold(gate, proposal, older, agent)
        return
    check_still_in_bounds(action, content, grounds)
    if standing.broken:
        await _conflict(gate, proposal, action, grounds, standing, agent)
        return
    if proposal.fence > FIRST_FENCE and await _is_there(gate, proposal, agent, guards_hold=True):
        return
    prepared = await told(gate, proposal, action, _prepared(proposal, standing))
    prepared = await as_sent(gate, proposal, prepared)
    elsewhere = moved_elsewhere(grounds, standing)
    committing, number = await _intend(gate, proposal, prepared, agent, elsewhere)
    failpoint("c08")
    guards = tightest(gate, proposal, action, grounds, prepared.write)
    await _send(gate, committing, action, number, prepared, guards, agent)


async def _send(
    gate: Gate,
    committing: Proposal,
    action: ActionRule,
    number: int,
    prepared: Prepared,
    guards: LastLook | None,
    agent: str,
) -> None:
    """What follows from each kind of answer."""
    try:
        receipt = await send_attempt(gate, committing, "commit", number, prepared, guards=guards)
        failpoint("c11")
    except Stopped as stopped:
        await take_back(gate, committing, stopped, agent)
    except (VersionConflict, WriteRefused) as error:
        await _refused(gate, committing, action, number, error, agent)
    except Held:
        await back(gate, committing, number, "halt", agent, again=None)
    except NOTHING_SENT as error:
        again = retry_at(gate, committing.attempts)
        await back(gate, committing, number, error.issue, agent, again=again)
    except OutcomeUnknown:
        await postpone(gate, committing)
    else:
        await _landed(gate, committing, prepared, number, receipt, agent)


async def _why_never(gate: Gate, proposal: Proposal, action: ActionRule | None) -> str | None:
    """Why this may not be written at all, whatever the record says."""
    if proposal.seed:
        return SAY_SEED
    decided_on = proposal.decided_digest == proposal.content.digest
    if not (is_intact(proposal.content) and decided_on and proposal.decided_by):
        return SAY_TAMPERED
    if action is None or not can_write(gate, proposal, action):
        return SAY_NO_CHARTER
    stage = await StageStore(gate.database).current(gate.charters.get(proposal.charter))
    if stage == STAGES[0]:
        return SAY_SHADOW
    confidence = proposal.confidence
    if proposal.decided_by == RULE_AUTO and not can_decide_itself(
        action, stage=stage, confidence=confidence
    ):
        return SAY_NOT_ITSELF
    return await why_not_reviewed(gate, proposal, action)


def _prepared(proposal: Proposal, standing: Standing) -> Prepared:
    """The write, on the versions that the guards were just checked on."""
    changes = tuple(
        replace(c, if_match=standing.live[c.reference].version) if c.reference else c
        for c in proposal.content.changes
    )
    before = tuple(standing.live[c.reference] for c in changes if c.reference)
    return Prepared(write=Write(marker=proposal.id, changes=changes), before=before)


async def _intend(
    gate: Gate,
    proposal: Proposal,
    prepared: Prepared,
    agent: str,
    elsewhere: Sequence[str],
) -> tuple[Proposal, int]:
    """Intent first: a crash after this leaves a proposal to resume, never a lost write. What
    changed since it was seen, where no guard looks, is no conflict and is noted."""
    at = gate.clock()
    after = moved(proposal, Status.COMMITTING)
    details = (("elsewhere", " ".join(elsewhere)),) if elsewhere else ()
    event = event_of(gate, after, "proposal.send", agent, at=at, details=details)
    number = await ProposalStore(gate.database).intend(
        event, proposal, after, "commit", prepared, at=at
    )
    return after, number


async def _refused(
    gate: Gate,
    committing: Proposal,
    action: ActionRule,
    number: int,
    error: VersionConflict | WriteRefused,
    agent: str,
) -> None:
    """A definite no to this attempt. An earlier one whose answer was lost may be the reason:
    then the record already is what we wanted."""
    attempts = await open_attempts(gate, committing, "commit")
    this = doubtful(attempts, number, error)
    try:
        found = await find_effect(gate, committing, [a for a in attempts if a.number != number])
        is_there = found is None and await find_effect(gate, committing, this) is not None
    except (OutcomeUnknown, *NOTHING_SENT):
        if not this:
            store = ProposalStore(gate.database)
            await store.refuse_attempt(committing, "commit", number, at=gate.clock())
        await postpone(gate, committing)
        return
    if found is not None:
        await _found(gate, committing, *found, agent)
    elif is_there:
        apart = going_apart(this)
        reason = state_of_commit(apart, unsure=True) if apart else SAY_CANNOT_TELL
        after = moved(committing, Status.HANDED_OFF, reason=reason)
        await hand_off(
            gate, committing, after, action, agent=agent, direction="commit", verdict="cannot-tell"
        )
    elif isinstance(error, WriteRefused):
        after = moved(moved(committing, Status.APPROVED), Status.HANDED_OFF, reason=str(error))
        await hand_off(
            gate, committing, after, action, agent=agent, direction="commit", verdict="not-applied"
        )
    elif number >= gate.config.worker.attempts_max:
        after = moved(committing, Status.HANDED_OFF, reason=SAY_KEEPS_CHANGING)
        await hand_off(
            gate, committing, after, action, agent=agent, direction="commit", verdict="not-applied"
        )
    else:
        await back(gate, committing, number, "conflict", agent, again=None)


async def _resume(gate: Gate, committing: Proposal, agent: str) -> None:
    """A write may have gone out and its answer is not known: reading tells."""
    if await goes_back(gate, committing, agent):
        return
    action = running_action(gate, committing)
    attempts = await open_attempts(gate, committing, "commit")
    try:
        found = await find_effect(gate, committing, attempts)
    except (OutcomeUnknown, *NOTHING_SENT):
        await wait_or_hand_off(gate, committing, attempts, agent)
        return
    if found is not None:
        await _found(gate, committing, *found, agent)
    elif len(attempts) >= gate.config.worker.attempts_max:
        after = moved(committing, Status.HANDED_OFF, reason=SAY_NEVER_ARRIVES)
        await hand_off(
            gate, committing, after, action, agent=agent, direction="commit", verdict="cannot-tell"
        )
    else:
        # The attempt stays without a verdict: its request may still arrive, and then it has
        # been guarded by its own precondition.
        again = retry_at(gate, committing.attempts)
        await back(gate, committing, None, "did-not-arrive", agent, again=again)


async def _give_up(gate: Gate, claimed: Proposal, agent: str, error: ChartgateError) -> None:
    """Something is wrong that trying again does not mend: staff do it by hand."""
    current = await ProposalStore(gate.database).get(claimed.id)
    if current.fence != claimed.fence or not can_move(current, Status.HANDED_OFF):
        return
    after = moved(current, Status.HANDED_OFF, reason=str(error)[:REASON_MAX])
    with suppress(VersionConflict):
        await hand_off(gate, current, after, running_action(gate, current), agent=agent)


async def _found(
    gate: Gate,
    committing: Proposal,
    attempt: Attempt,
    receipt: Receipt,
    agent: str,
    *,
    forward: bool = True,
) -> None:
    """An attempt that was made, or of which a part was. `forward`: the guards held for it."""
    whole = await rest_of(gate, committing, "commit", attempt, receipt, agent, forward=forward)
    if whole is not None:
        await _landed(gate, committing, attempt.prepared, attempt.number, whole, agent)


async def _landed(
    gate: Gate, before: Proposal, prepared: Prepared, number: int, receipt: Receipt, agent: str
) -> None:
    """The system of record has it: keep what it answered and what would undo it, while it is
    read back."""
    paths, stored = await asyncio.gather(
        _differences(gate, before, prepared, receipt),  # first on its way: it is what takes time
        _store_receipt(gate, before, prepared, number, receipt, agent),
        return_exceptions=True,
    )
    if isinstance(stored, BaseException):
        raise stored
    failpoint("c12")
    if isinstance(paths, NOTHING_SENT) and not isinstance(paths, SourceRefused):
        await postpone(gate, stored)
    elif isinstance(paths, BaseException):
        raise paths
    else:
        await _verified(gate, stored, paths, agent)


async def _differences(
    gate: Gate, proposal: Proposal, prepared: Prepared, receipt: Receipt
) -> list[str]:
    """As `read_back_differences`. A late attempt may have written what was proposed before an
    edit: it stands in the record as it was sent, and is still not what was approved."""
    sent, approved = (
        [replace(c, if_match=None) for c in changes]
        for changes in (prepared.write.changes, proposal.content.changes)
    )
    if sent != approved:
        return [EARLIER_VERSION]
    return await read_back_differences(gate, proposal, prepared, receipt)


async def _store_receipt(
    gate: Gate, before: Proposal, prepared: Prepared, number: int, receipt: Receipt, agent: str
) -> Proposal:
    sink = sink_of(gate, before, prepared.write)
    undo = await sink.compensation(prepared.write, receipt, prepared.before)
    after = moved(before, Status.COMMITTED, receipt=receipt, compensation=undo, attempts=0)
    at = gate.clock()
    event = event_of(
        gate,
        after,
        "proposal.commit",
        agent,
        at=at,
        details=(
            ("resolved", str(receipt.resolved).lower()),
            *written(receipt, before.content.changes),
        ),
    )
    ended = ending_attempts(before, "commit", "not-applied", at=at, applied=number)
    store = ProposalStore(gate.database)
    await store.move_at_once(event, before, after, ended, at=at, keep_lease=True)
    return after


async def _verified(gate: Gate, committed: Proposal, paths: Sequence[str], agent: str) -> None:
    """The end, or staff's at once where the read-back differs in `paths`."""
    if paths:
        await _mismatch(gate, committed, paths, agent)
        return
    at = gate.clock()
    after = moved(committed, Status.VERIFIED, attempts=0)
    event = event_of(gate, after, "proposal.verify", agent, at=at)
    failpoint("c13")
    also = due_steps(running_action(gate, committed), after, at=at)
    await ProposalStore(gate.database).move_at_once(event, committed, after, *also, at=at)
    failpoint("c14")


async def _mismatch(gate: Gate, committed: Proposal, paths: Sequence[str], agent: str) -> None:
    reason = (SAY_MISMATCH + ", ".join(paths))[:REASON_MAX]
    mismatched = moved(committed, Status.MISMATCHED, reason=reason)
    event = event_of(
        gate,
        mismatched,
        "proposal.verify",
        agent,
        at=gate.clock(),
        outcome=Outcome.FAILED,
        reason=reason,
    )
    older = tuple(path.partition(" ")[0] for path in paths if path.endswith(WENT_BACK))
    events = [event, await alarm(gate, mismatched, older, agent)] if older else [event]
    action = running_action(gate, committed)
    after = moved(mismatched, Status.HANDED_OFF)
    await hand_off(gate, committed, after, action, agent=agent, events=events)


async def _conflict(
    gate: Gate,
    proposal: Proposal,
    action: ActionRule,
    grounds: Grounds,
    standing: Standing,
    agent: str,
) -> None:
    """A guard no longer holds. If that is the doing of an earlier attempt of ours, it landed."""
    if not await _is_there(gate, proposal, agent, guards_hold=False):
        await settle(gate, proposal, action, grounds, standing, agent)


async def _is_there(gate: Gate, proposal: Proposal, agent: str, *, guards_hold: bool) -> bool:
    """Whether an earlier attempt landed after all, which goes on from there, or may have, which is
    waited for. Asked once the charts were looked at: what comes later meets another version."""
    earlier = await open_attempts(gate, proposal, "commit")
    if guards_hold:  # a message is known again by its control id, and nothing can be read
        earlier = tuple(a for a in earlier if a.prepared.write.message is None)
    try:
        found = await find_effect(gate, proposal, earlier)
    except OutcomeUnknown:
        await wait_or_hand_off(gate, proposal, earlier, agent)
        return True
    if found is None:
        return False
    committing = await taken_up(gate, proposal, agent)
    await _found(gate, committing, *found, agent, forward=guards_hold)
    return True
