"""What commits and rollbacks share: claims, the last look before a write, and finding out.

The one rule: a sent write whose answer is not known is resolved by reading, never guessed. Until
it is resolved its attempt has no verdict, because the request may still be on its way.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from chartgate.errors import (
    ChartgateError,
    NotFound,
    OutcomeUnknown,
    SourceUnreachable,
    Throttled,
    VersionConflict,
)
from chartgate.flows.guards import together
from chartgate.flows.telling import settled
from chartgate.gate import Gate
from chartgate.model.ports import LastLook, Sink, Source
from chartgate.model.proposal import Proposal, Status
from chartgate.model.resource import Copy
from chartgate.model.write import Change, Effect, Prepared, Receipt, Write, steps_of
from chartgate.policy.regress import is_before
from chartgate.store.proposals import Attempt, Direction, ProposalStore

HISTORY_MAX = 20  # versions that may have followed ours between write and read-back
LOOKS = 3  # at what stands before our write, until that is no replica that lags behind
WENT_BACK = "all of it: the record stands before the write, as after a restore from a backup"


class Held(ChartgateError):
    """A halt is in force: nothing was sent."""

    issue = "transient"
    status = 503


class Overlaps(ChartgateError):
    """Another write that touches the same goes first: nothing was sent."""

    issue = "conflict"
    status = 409


NOTHING_SENT = (SourceUnreachable, Throttled, Held, Overlaps)


async def claim(gate: Gate, *statuses: Status) -> Proposal | None:
    """The next proposal in one of these statuses, leased to the caller."""
    now = gate.clock()
    lease_until = now + timedelta(seconds=gate.config.worker.lease_s)
    return await ProposalStore(gate.database).claim(statuses, now=now, lease_until=lease_until)


async def postpone(gate: Gate, proposal: Proposal) -> None:
    """Gives it back, to be tried again after a while that grows."""
    until = retry_at(gate, proposal.attempts)
    await ProposalStore(gate.database).postpone(proposal, until=until, failed=True)


def retry_at(gate: Gate, attempts: int) -> datetime:
    """Next try after `attempts` failures: exponential, capped."""
    worker = gate.config.worker
    delay_s = min(worker.backoff_cap_s, worker.backoff_base_s * 2 ** min(attempts, 30))
    return gate.clock() + timedelta(seconds=delay_s)


async def send(
    gate: Gate,
    proposal: Proposal,
    write: Write,
    *,
    guards: LastLook | None = None,
    undoing: bool = False,
) -> Receipt:
    """Sends a write whose intent is durable. `guards` are looked at directly before, where the
    write itself cannot hold them; `undoing` says that it takes back a part of a commit. Raises Held, InvalidTransition (the lease passed to another),
    what `guards` raises, and as `Sink.commit`."""
    sink = sink_of(gate, proposal, write)
    try:
        async with asyncio.timeout(gate.config.worker.lease_s) as limit:
            look = _last_look(gate, proposal, limit, guards, undoing=undoing)
            return await sink.commit(write, last_look=look)
    except TimeoutError:
        raise OutcomeUnknown("the system of record did not answer in time") from None


def sink_of(gate: Gate, proposal: Proposal, write: Write) -> Sink:
    """Where a write goes. Raises ConfigError."""
    return gate.sink(write.through or proposal.connection)


def _last_look(
    gate: Gate,
    proposal: Proposal,
    limit: asyncio.Timeout,
    guards: LastLook | None = None,
    *,
    undoing: bool = False,
) -> LastLook:
    """What is asked directly before bytes go out; they may take as long as the lease lasts."""

    async def look() -> None:
        if guards is not None:
            await guards()
        now = gate.clock()
        store = ProposalStore(gate.database)
        found = await store.last_look(proposal, now=now, undoing=undoing)
        if found.halted is not None:
            raise Held("a halt is in force; nothing was sent")
        if found.waits:
            raise Overlaps("another write to the same chart is under way; nothing was sent")
        left_s = (found.lease_until - now).total_seconds()
        limit.reschedule(asyncio.get_running_loop().time() + left_s)

    return look


async def find_effect(
    gate: Gate, proposal: Proposal, attempts: Sequence[Attempt]
) -> tuple[Attempt, Receipt] | None:
    """Which of these attempts was applied, found by reading; None: none of them was. Of one whose
    changes go one after the other the receipt may be shorter than the write.

    Raises OutcomeUnknown, SourceUnreachable, Throttled.
    """
    asked: list[Write] = []
    for attempt in sorted(attempts, key=lambda a: (bool(a.done), a.number), reverse=True):
        write = attempt.prepared.write
        if write in asked:
            continue
        asked.append(write)
        try:
            async with asyncio.timeout(gate.config.worker.lease_s) as limit:
                receipt = await _resolved(gate, proposal, attempt, limit)
        except TimeoutError:
            raise SourceUnreachable("the system of record did not answer in time") from None
        if receipt is not None:
            return attempt, receipt
    return None


async def _resolved(
    gate: Gate, proposal: Proposal, attempt: Attempt, limit: asyncio.Timeout
) -> Receipt | None:
    """By reading; where nothing can be read, by the same message once more, while it is young and
    its write is still what is under way."""
    write = attempt.prepared.write
    if write.apart:
        return await _resolved_apart(gate, proposal, attempt)
    if write.message is None:
        return await sink_of(gate, proposal, write).resolve(write)
    look = _last_look(gate, proposal, limit)

    async def may_send_again() -> None:
        under_way = proposal.status in (Status.COMMITTING, Status.ROLLING_BACK)
        if not under_way or is_too_old(gate, [attempt]):
            raise OutcomeUnknown("it was sent too long ago to be sent again unseen")
        await look()

    return await settled(gate, write, last_look=may_send_again)


async def _resolved_apart(gate: Gate, proposal: Proposal, attempt: Attempt) -> Receipt | None:
    """What is noted was made. The change after it may have been sent, and none after that."""
    write, effects = attempt.prepared.write, attempt.done
    for step in steps_of(write)[len(effects) :][:1]:
        receipt = await sink_of(gate, proposal, write).resolve(step)
        effects += receipt.effects if receipt else ()
    return Receipt(effects=effects, at=gate.clock(), resolved=True) if effects else None


async def open_attempts(
    gate: Gate, proposal: Proposal, direction: Direction, *, but: int | None = None
) -> tuple[Attempt, ...]:
    """Attempts whose request may still arrive, or may have arrived unseen."""
    attempts = await ProposalStore(gate.database).attempts(proposal.id, direction)
    return tuple(a for a in attempts if a.verdict is None and a.number != but)


def doubtful(
    attempts: Sequence[Attempt], number: int, error: ChartgateError
) -> tuple[Attempt, ...]:
    """The attempt of that number, if it may have been written although it was refused.

    Where its version does not stand any more, somebody on the way may have sent it twice, and the
    refusal is the answer to the second; or somebody else was first. What creates something is
    known by its mark, which the adapter looked for already.
    """
    refused = (a for a in attempts if a.number == number and isinstance(error, VersionConflict))
    return tuple(a for a in refused if all(c.interaction != "create" for c in _refused(a)))


def _refused(attempt: Attempt) -> tuple[Change, ...]:
    write = attempt.prepared.write
    return write.changes[:1] if write.apart else write.changes


async def read_back_differences(
    gate: Gate, proposal: Proposal, prepared: Prepared, receipt: Receipt
) -> list[str]:
    """Element paths in which the record is not what was sent; empty: it is.

    Raises SourceUnreachable, also for a record that stands before our write, while that may be
    a replica that lags behind; Throttled.
    """
    if prepared.write.message is not None:  # nothing can be read there: its answer says it all
        sink = sink_of(gate, proposal, prepared.write)
        return sink.differences(prepared.write, receipt, (), prepared.before)
    source = gate.source(proposal.connection)
    copies = await together([_at_version(source, effect) for effect in receipt.effects])
    after = [copy for copy in copies if copy is not None]
    old = [e.reference for e in receipt.effects if _is_older(e, after)]
    found = {copy.reference for copy in after}
    missing = [e for e in receipt.effects if e.version_after and e.reference not in found]
    if (old or missing) and proposal.attempts < LOOKS:
        raise SourceUnreachable("the system of record shows an older version than it wrote")
    if old:
        return [f"{reference} {WENT_BACK}" for reference in old]
    sink = gate.sink(proposal.connection)
    return sink.differences(prepared.write, receipt, after, prepared.before)


async def _at_version(source: Source, effect: Effect) -> Copy | None:
    """A later edit or deletion by somebody else, or a stale read, must not be taken for a
    mismatch."""
    copy: Copy | None = None
    with suppress(NotFound):
        found = await source.read(effect.reference)
        assert isinstance(found, Copy), "not modified, without a version asked about"
        copy = found
    if not effect.version_after or (copy and copy.version == effect.version_after):
        return copy
    try:
        versions = await source.history(effect.reference, count_max=HISTORY_MAX)
    except NotFound:
        return copy
    return next((c for c in versions if c.version == effect.version_after), copy)


def _is_older(effect: Effect, copies: Sequence[Copy]) -> bool:
    """Whether what was read back is before what was written."""
    if not effect.version_after:
        return False
    return any(
        copy.reference == effect.reference
        and is_before(effect.version_after, None, copy.version, {})
        for copy in copies
    )


def is_too_old(gate: Gate, attempts: Sequence[Attempt]) -> bool:
    """Whether an unknown outcome has been unknown for so long that a person must look."""
    limit = timedelta(seconds=gate.config.worker.resolve_within_s)
    return bool(attempts) and gate.clock() - attempts[0].started_at > limit
