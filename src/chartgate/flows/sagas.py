"""Several changes for a system that has nothing to hold them together: one after the other.

One intent holds them all. Each change is a write of its own, with its precondition, and is noted
before the next one is sent, so that at most one of them is ever in doubt; that one is resolved by
reading, and then it goes on. A change that is refused for good ends it: what was made is taken
back in reverse order. That this was decided is durable first, so that nothing goes forward any
more. What can be neither finished nor taken back is staff's, with what stands and what does not.

  commit, open          goes forward from what is noted
  compensation, open    goes back; the commit never goes forward again
"""

from collections.abc import Sequence
from dataclasses import replace

from chartgate.errors import (
    ChartgateError,
    OutcomeUnknown,
    VersionConflict,
    WriteRefused,
)
from chartgate.failpoints import failpoint
from chartgate.flows.handoffs import hand_off
from chartgate.flows.partial import state_of_commit, state_of_rollback
from chartgate.flows.permits import running_action
from chartgate.flows.proposal_events import event_of, written
from chartgate.flows.sending import (
    NOTHING_SENT,
    Held,
    find_effect,
    is_too_old,
    open_attempts,
    postpone,
    read_back_differences,
    retry_at,
    send,
    sink_of,
)
from chartgate.flows.undo_ground import read_live
from chartgate.flows.unsent import back
from chartgate.gate import Gate
from chartgate.model.audit import Outcome
from chartgate.model.handoff import Cause
from chartgate.model.ports import LastLook, Stepwise
from chartgate.model.proposal import Proposal, Status, moved
from chartgate.model.write import Effect, Prepared, Receipt, Write, steps_of
from chartgate.store.database import Connection
from chartgate.store.halts import HaltStore
from chartgate.store.proposals import Attempt, Direction, ProposalStore, Verdict

LONG = 30  # failures after which the back-off is at its longest
NOTHING = "; nothing was written"  # what a refusal says of itself, and not of those before it
SAY_CHANGED = "the record changed while it was written, one change after the other"
SAY_SHADOW = "the charter's stage became shadow while it was written"
SAY_TAKEN_BACK = "what was written of it was taken back"
SAY_DIFFERS = (
    "what was written of it was taken back, but the record is not what it was before, in: "
)


class Stopped(ChartgateError):
    """A change was refused for good after others were made: `attempt.done`. `unsure`: the chart
    holds it all the same, and whose doing that is cannot be told."""

    issue = "conflict"
    status = 409

    def __init__(self, attempt: Attempt, error: ChartgateError, *, unsure: bool = False) -> None:
        super().__init__(str(error))
        self.attempt = attempt
        self.error = error
        self.unsure = unsure


class Paused(OutcomeUnknown):
    """A halt came into force between two changes."""


async def as_sent(gate: Gate, proposal: Proposal, prepared: Prepared) -> Prepared:
    """The write as it goes out: `apart` where its system cannot take it as one. What was made and
    cancelled keeps its mark, so that what is made anew needs another; what was made and deleted
    must not have another, or a first request that comes late would make a second one."""
    write = prepared.write
    if write.through:
        return prepared
    sink = sink_of(gate, proposal, write)
    if isinstance(sink, Stepwise) and sink.goes_apart(write):
        write = replace(write, apart=True)
    if proposal.fence > 1 and any(c.interaction == "create" for c in write.changes):
        attempts = await ProposalStore(gate.database).attempts(proposal.id, "compensation")
        if undone := sum(a.verdict == "applied" and _cancels(a) for a in attempts):
            write = replace(write, marker=f"{write.marker}.again{undone}")
    return replace(prepared, write=write)


def _cancels(undo: Attempt) -> bool:
    """A patch is what cancels a create; what was there before is restored by an update."""
    return any(c.interaction == "patch" for c in undo.prepared.write.changes)


async def send_attempt(
    gate: Gate,
    proposal: Proposal,
    direction: Direction,
    number: int,
    prepared: Prepared,
    *,
    guards: LastLook | None = None,
) -> Receipt:
    """As `sending.send`, of an attempt that was just made durable; what it raises says that
    nothing was written, but for Stopped. OutcomeUnknown may come after some changes were made."""
    if not prepared.write.apart:
        return await send(gate, proposal, prepared.write, guards=guards)
    attempt = Attempt(number=number, prepared=prepared, started_at=gate.clock(), verdict=None)
    return await _steps(gate, proposal, direction, attempt, guards=guards)


async def rest_of(
    gate: Gate,
    proposal: Proposal,
    direction: Direction,
    attempt: Attempt,
    found: Receipt,
    agent: str,
    *,
    forward: bool = True,
) -> Receipt | None:
    """The receipt of the whole of what was found: the changes that are missing are made now, or
    with `forward` off what was made is taken back. None: it is not whole, and what follows from
    that is done."""
    if len(found.effects) == len(attempt.prepared.write.changes):
        return found
    again = len(found.effects) == len(attempt.done)
    attempt = await _noted(gate, proposal, direction, attempt, found.effects)
    try:
        if direction == "commit" and not (forward and _is_as_approved(proposal, attempt)):
            raise Stopped(attempt, VersionConflict(SAY_CHANGED))
        receipt = await _steps(gate, proposal, direction, attempt, again=again)
    except Stopped as stopped:
        await (take_back if direction == "commit" else stop_rollback)(
            gate, proposal, stopped, agent
        )
    except Paused:
        await _wait(gate, proposal)
    except OutcomeUnknown:
        await _try_later(gate, proposal, direction, attempt, agent)
    else:
        return replace(receipt, resolved=True)
    return None


async def take_back(gate: Gate, committing: Proposal, stopped: Stopped, agent: str) -> None:
    """Takes back what was made of a commit; before the first request goes out, that this was
    decided is durable."""
    attempt = stopped.attempt
    if stopped.unsure:
        await _give_up(gate, committing, attempt, None, agent, unsure=True)
        return
    write, at = attempt.prepared.write, gate.clock()
    made = replace(write, changes=write.changes[: len(attempt.done)])
    receipt = Receipt(effects=attempt.done, at=at)
    before = attempt.prepared.before[: sum(c.interaction != "create" for c in made.changes)]
    try:
        undo = await sink_of(gate, committing, write).compensation(made, receipt, before)
    except WriteRefused:
        await _give_up(gate, committing, attempt, None, agent)
        return
    conflict = isinstance(stopped.error, VersionConflict)
    why = SAY_CHANGED if conflict else str(stopped.error).replace(NOTHING, "")
    prepared = Prepared(write=replace(undo, apart=True), before=())
    event = event_of(
        gate,
        committing,
        "proposal.compensate",
        agent,
        at=at,
        outcome=Outcome.FAILED,
        reason="conflict" if conflict else "refused",
        details=written(receipt, made.changes),
    )
    after = replace(committing, reason=why)
    store = ProposalStore(gate.database)
    number = await store.intend(event, committing, after, "compensation", prepared, at=at)
    failpoint("c17.undo")
    undoing = Attempt(number=number, prepared=prepared, started_at=at, verdict=None)
    await _undo(gate, after, attempt, undoing, agent, again=False)


async def goes_back(gate: Gate, committing: Proposal, agent: str) -> bool:
    """Goes on taking back what was made of a commit. False: that was not decided."""
    undoing = await open_attempts(gate, committing, "compensation")
    if not undoing:
        return False
    attempts = await open_attempts(gate, committing, "commit")
    made = next(a for a in attempts if a.done)
    await _undo(gate, committing, made, undoing[0], agent, again=True)
    return True


async def stop_rollback(gate: Gate, proposal: Proposal, stopped: Stopped, agent: str) -> None:
    """A rollback whose rest was refused: staff's, with what stands."""
    reason = state_of_rollback(stopped.attempt, unsure=stopped.unsure)
    await hand_off(
        gate,
        proposal,
        moved(proposal, Status.HANDED_OFF, reason=reason),
        running_action(gate, proposal),
        agent=agent,
        direction="rollback",
        verdict="cannot-tell" if stopped.unsure else "partly",
        cause=Cause.AMBIGUOUS if stopped.unsure else Cause.PARTLY,
    )


async def _steps(
    gate: Gate,
    proposal: Proposal,
    direction: Direction,
    attempt: Attempt,
    *,
    guards: LastLook | None = None,
    again: bool = False,
) -> Receipt:
    """Makes the changes that are not noted yet. `again`: the first of them may have been sent."""
    resolved = again
    for step in steps_of(attempt.prepared.write)[len(attempt.done) :]:
        first = not attempt.done
        try:
            receipt = await _step(
                gate, proposal, direction, step, guards if first else None, first, again
            )
        except _Unsure as error:
            raise Stopped(attempt, error, unsure=True) from error
        except (VersionConflict, WriteRefused) as error:
            if first:
                raise
            raise Stopped(attempt, error) from error
        except Held as error:
            if first:
                raise
            if direction == "commit" and not await _is_halted(gate, proposal):
                raise Stopped(attempt, WriteRefused(SAY_SHADOW)) from error
            raise Paused(str(error)) from error
        except NOTHING_SENT as error:
            if first and not again:
                raise
            raise OutcomeUnknown("the system of record cannot be reached any more") from error
        failpoint("c17.answered")
        effects = (*attempt.done, *receipt.effects)
        attempt = await _noted(gate, proposal, direction, attempt, effects)
        failpoint("c17.noted")
        again, resolved = False, resolved or receipt.resolved
    return Receipt(effects=attempt.done, at=gate.clock(), resolved=resolved)


class _Unsure(VersionConflict):
    """Refused, and the chart holds it all the same."""


async def _step(
    gate: Gate,
    proposal: Proposal,
    direction: Direction,
    step: Write,
    guards: LastLook | None,
    first: bool,
    again: bool,
) -> Receipt:
    """One change. A refusal is the answer to the request that was just sent; an earlier one, or
    its double, may have been made."""
    undoing = direction == "compensation"
    try:
        return await send(gate, proposal, step, guards=guards, undoing=undoing)
    except (VersionConflict, WriteRefused) as error:
        change = step.changes[0]
        doubled = isinstance(error, VersionConflict) and change.interaction != "create"
        if not again and (not doubled or (first and not undoing)):
            raise  # a first change that was refused is looked for by who asked for it
        try:
            found = await sink_of(gate, proposal, step).resolve(step)
            if found is not None and not again and not undoing:
                raise _Unsure(str(error)) from error
            if found is not None:
                return found
            if again and not await _is_dead(gate, proposal, step):
                raise OutcomeUnknown("an earlier request of it may still arrive") from error
        except NOTHING_SENT as unread:
            raise OutcomeUnknown("whether it was written cannot be read now") from unread
        raise


async def _is_dead(gate: Gate, proposal: Proposal, step: Write) -> bool:
    """Whether an earlier request of a change can do nothing any more: what it stood on is gone."""
    change = step.changes[0]
    if change.reference is None:
        return False
    live = await read_live(gate.source(proposal.connection), change.reference)
    return live is None or live.version != change.if_match


async def _is_halted(gate: Gate, proposal: Proposal) -> bool:
    return bool(await HaltStore(gate.database).in_force(proposal.charter))


async def _noted(
    gate: Gate,
    proposal: Proposal,
    direction: Direction,
    attempt: Attempt,
    effects: Sequence[Effect],
) -> Attempt:
    """The attempt with what its changes did so far, which is durable then. Raises
    InvalidTransition where the proposal is another worker's now."""
    if len(effects) > len(attempt.done):
        store = ProposalStore(gate.database)
        await store.note_done(proposal, direction, attempt.number, effects)
    return replace(attempt, done=tuple(effects))


def _is_as_approved(proposal: Proposal, attempt: Attempt) -> bool:
    sent, approved = (
        [replace(change, if_match=None) for change in changes]
        for changes in (attempt.prepared.write.changes, proposal.content.changes)
    )
    return sent == approved


async def _undo(
    gate: Gate, committing: Proposal, made: Attempt, undo: Attempt, agent: str, *, again: bool
) -> None:
    """`again`: what is next may have been sent by a worker that is gone."""
    try:
        if again:
            found = await find_effect(gate, committing, [undo])
            effects = found[1].effects if found else ()
            again = len(effects) == len(undo.done)
            undo = await _noted(gate, committing, "compensation", undo, effects)
        receipt = await _steps(gate, committing, "compensation", undo, again=again)
        undo = replace(undo, done=receipt.effects)
        paths = await read_back_differences(gate, committing, undo.prepared, receipt)
    except Stopped as stopped:
        await _give_up(gate, committing, made, stopped.attempt, agent, unsure=stopped.unsure)
    except (VersionConflict, WriteRefused):
        await _give_up(gate, committing, made, undo, agent)
    except (Held, Paused):
        await _wait(gate, committing)
    except (OutcomeUnknown, *NOTHING_SENT):
        await _try_later(gate, committing, "compensation", undo, agent, made=made)
    else:
        await _taken_back(gate, committing, made, undo, receipt, paths, agent)


async def _taken_back(
    gate: Gate,
    committing: Proposal,
    made: Attempt,
    undo: Attempt,
    receipt: Receipt,
    paths: Sequence[str],
    agent: str,
) -> None:
    """Nothing of it stands: to be tried again on the record as it is, or staff's with the reason."""
    why = committing.reason or SAY_CHANGED
    at = gate.clock()
    settled = _settled_with(made, undo, await open_attempts(gate, committing, "commit"))

    async def ended(transaction: Connection) -> None:
        store = ProposalStore(gate.database)
        await store.end_attempts(transaction, committing, "compensation", "applied", at=at)
        for number in settled:
            await store.end_attempt(transaction, committing, "commit", number, "not-applied", at=at)

    if paths:
        await _to_staff(
            gate, committing, made, agent, SAY_DIFFERS + ", ".join(paths), "partly", Cause.MISMATCH
        )
    elif why == SAY_CHANGED and made.number < gate.config.worker.attempts_max:
        fresh = replace(committing, reason=None)
        await back(
            gate, fresh, made.number, "conflict", agent,
            again=None, details=written(receipt, undo.prepared.write.changes), also=ended,
        )  # fmt: skip
    else:
        references = ", ".join(effect.reference for effect in receipt.effects)
        after = moved(
            committing, Status.HANDED_OFF, reason=f"{why}; {SAY_TAKEN_BACK}: {references}"
        )
        await hand_off(
            gate, committing, after, running_action(gate, committing), agent=agent,
            direction="commit", verdict="not-applied", also=ended,
        )  # fmt: skip


def _settled_with(made: Attempt, undo: Attempt, others: Sequence[Attempt]) -> tuple[int, ...]:
    """Open attempts that began with a change which was made and taken back: a request of theirs
    can do nothing any more, and what reading finds of it is no work of theirs. What was taken
    back by a delete may still be made anew, by a request that comes late."""
    deleted = {c.reference for c in undo.prepared.write.changes if c.interaction == "delete"}
    steps = zip(steps_of(made.prepared.write), made.done, strict=False)
    spent = {_ground(step) for step, effect in steps if effect.reference not in deleted}
    return tuple(
        other.number
        for other in others
        if any(_ground(step) in spent for step in _may_be_sent(other.prepared.write))
    )


def _may_be_sent(write: Write) -> tuple[Write, ...]:
    return steps_of(write)[:1] if write.apart else steps_of(write)


def _ground(step: Write) -> tuple[str | None, str | None]:
    """What a change can be made on once: the version that it stands on, or its mark."""
    change = step.changes[0]
    if change.interaction == "create":
        return None, step.marker
    return change.reference, change.if_match


async def _give_up(
    gate: Gate,
    committing: Proposal,
    made: Attempt,
    undo: Attempt | None,
    agent: str,
    *,
    unsure: bool = False,
) -> None:
    """A part of it stands and cannot be taken back, or whether it does cannot be told."""
    said = state_of_commit(made, undo, unsure=unsure)
    verdict: Verdict = "cannot-tell" if unsure else "partly"
    cause = Cause.AMBIGUOUS if unsure else Cause.PARTLY
    await _to_staff(gate, committing, made, agent, said, verdict, cause)


async def _to_staff(
    gate: Gate,
    committing: Proposal,
    made: Attempt,
    agent: str,
    reason: str,
    verdict: Verdict,
    cause: Cause,
) -> None:
    at = gate.clock()
    store = ProposalStore(gate.database)

    async def ended(transaction: Connection) -> None:
        await store.end_attempt(transaction, committing, "commit", made.number, verdict, at=at)
        await store.end_attempts(transaction, committing, "commit", "cannot-tell", at=at)
        await store.end_attempts(transaction, committing, "compensation", verdict, at=at)

    after = moved(committing, Status.HANDED_OFF, reason=reason)
    action = running_action(gate, committing)
    await hand_off(gate, committing, after, action, agent=agent, cause=cause, also=ended)


async def _wait(gate: Gate, proposal: Proposal) -> None:
    """Until the halt ends, which wakes it, or for a long while."""
    until = retry_at(gate, LONG)
    await ProposalStore(gate.database).postpone(proposal, until=until, failed=False)


async def _try_later(
    gate: Gate,
    proposal: Proposal,
    direction: Direction,
    attempt: Attempt,
    agent: str,
    *,
    made: Attempt | None = None,
) -> None:
    """Tried again for a while and a few times, then a person has to look at what is known."""
    often = proposal.attempts >= gate.config.worker.attempts_max
    if not (often and is_too_old(gate, [attempt])):
        await postpone(gate, proposal)
        return
    stored = await ProposalStore(gate.database).attempts(proposal.id, direction)
    latest = next(a for a in stored if a.number == attempt.number)
    if direction == "rollback":
        stopped = Stopped(latest, OutcomeUnknown("it cannot be found out"), unsure=True)
        await stop_rollback(gate, proposal, stopped, agent)
    else:
        commit, undo = (made, latest) if made is not None else (latest, None)
        await _give_up(gate, proposal, commit, undo, agent, unsure=True)
