"""What a rollback stands on, looked up live: exactly what we left, or nothing is sent.

What we left stands still if the version of our write does, with what we wrote. It also stands, under
another number, where others of our own writes came on top and were all taken back again: then the
compensation is moved to that version. Everything else is a chart that moved on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import orjson

from chartgate.errors import NotFound, SourceRefused
from chartgate.flows.guards import together
from chartgate.flows.telling import moved_on
from chartgate.gate import Gate
from chartgate.model.ports import Source
from chartgate.model.proposal import Proposal, Status
from chartgate.model.resource import Copy
from chartgate.model.write import Change, Write
from chartgate.policy.regress import is_before
from chartgate.store.proposals import ProposalStore
from chartgate.store.written import WrittenStore

HISTORY_MAX = 100  # versions of one resource that are looked through
UNDONE_MAX = 500  # of our own writes that may have come on top


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a look at the chart found. At most one of the last three holds anything."""

    write: Write | None = None  # the compensation, on the versions that stand now
    waits: bool = False  # something of ours on top is being taken back right now
    moved_on: tuple[str, ...] = ()  # references that somebody changed or removed
    went_back: tuple[str, ...] = ()  # references that stand before our write


async def look(gate: Gate, proposal: Proposal) -> Ground:
    """One round trip where the chart is as we left it. Raises SourceUnreachable, Throttled."""
    source = gate.source(proposal.connection)
    references = undone_references(proposal)
    copies = await together([read_live(source, r) for r in references])
    return await ground_on(gate, proposal, dict(zip(references, copies, strict=True)))


async def ground_on(
    gate: Gate,
    proposal: Proposal,
    copies: Mapping[str, Copy | None],
    *,
    assumed: Mapping[str, str] | None = None,
) -> Ground:
    """As `look`, on what was read already. `assumed` are versions that will stand once newer
    writes have been taken back, by reference. Raises as `look`."""
    assert proposal.compensation is not None, "written without a compensation"
    if proposal.compensation.through:
        return await _ground_of_told(gate, proposal, copies)
    source = gate.source(proposal.connection)
    changes = proposal.compensation.changes
    assumed = assumed or {}
    now = {r: assumed.get(r) or (c.version if c else None) for r, c in copies.items()}
    if all(now[_reference(change)] == change.if_match for change in changes):
        read = [c for r, c in copies.items() if c is not None and r not in assumed]
        other = await _other_than_left(gate, proposal, read)
        return Ground(went_back=other) if other else Ground(write=proposal.compensation)
    versions = dict(
        zip(copies, await together([history_of(source, r) for r in copies]), strict=True)
    )
    back = tuple(
        r
        for change in changes
        if (r := _reference(change)) not in assumed and _is_before(change, copies[r], versions[r])
    )
    if back:
        return Ground(went_back=back)
    return await _on_top(gate, proposal, now, versions)


def undone_references(proposal: Proposal) -> tuple[str, ...]:
    """What taking it back would change; without what only a message can name."""
    assert proposal.compensation is not None, "written without a compensation"
    return tuple(dict.fromkeys(c.reference for c in proposal.compensation.changes if c.reference))


async def read_live(source: Source, reference: str) -> Copy | None:
    """The resource as it stands; None: it is gone, or its id is not known. Raises
    SourceUnreachable, Throttled."""
    if "?" in reference:
        return None
    try:
        copy = await source.read(reference)
    except NotFound:
        return None
    assert isinstance(copy, Copy), "not modified, without a version asked about"
    return copy


async def history_of(source: Source, reference: str) -> Sequence[Copy] | None:
    """Newest first; None: this system shows none."""
    try:
        return await source.history(reference, count_max=HISTORY_MAX)
    except NotFound:
        return ()
    except SourceRefused:
        return None


async def _ground_of_told(
    gate: Gate, proposal: Proposal, copies: Mapping[str, Copy | None]
) -> Ground:
    """Of what was told by a message, which has no version: by what it changed."""
    attempts = await ProposalStore(gate.database).attempts(proposal.id, "commit")
    applied = next(a for a in attempts if a.verdict == "applied")
    others = moved_on(applied.prepared, copies)
    return Ground(moved_on=others) if others else Ground(write=proposal.compensation)


async def _on_top(
    gate: Gate,
    proposal: Proposal,
    now: Mapping[str, str | None],
    versions: Mapping[str, Sequence[Copy] | None],
) -> Ground:
    """Follows what others of our writes, and their undoing, made of what we left."""
    assert proposal.decided_at is not None, "written without a decision"
    assert proposal.compensation is not None, "looked at before"
    undone = await WrittenStore(gate.database).undone(
        proposal.connection, since=proposal.decided_at, limit=UNDONE_MAX
    )
    others = [other for other in undone if other.id != proposal.id]
    found, moved_on = [], []
    for change in proposal.compensation.changes:
        reference, version = _reference(change), change.if_match
        while version is not None and version != now[reference]:
            other = _next(others, reference, version)
            if other is not None and other.status is Status.ROLLING_BACK:
                return Ground(waits=True)
            version = await _undone_at(gate, other, reference, versions[reference] or ())
            others = [o for o in others if o is not other]  # each once, so that this ends
        if version is None:
            moved_on.append(reference)
        found.append(replace(change, if_match=version))
    if moved_on:
        return Ground(moved_on=tuple(moved_on))
    return Ground(write=replace(proposal.compensation, changes=tuple(found)))


def _next(others: Sequence[Proposal], reference: str, version: str) -> Proposal | None:
    """Which of them stood on this version."""
    for other in others:
        for effect in other.receipt.effects if other.receipt else ():
            if (effect.reference, effect.version_before) == (reference, version):
                return other
    return None


async def _undone_at(
    gate: Gate, other: Proposal | None, reference: str, versions: Sequence[Copy]
) -> str | None:
    """The version that the undoing of `other` left: the one after that on which it stood."""
    if other is None:
        return None
    attempts = await ProposalStore(gate.database).attempts(other.id, "rollback")
    applied = next((a for a in reversed(attempts) if a.verdict == "applied"), None)
    changes = applied.prepared.write.changes if applied else ()
    stood = next((c.if_match for c in changes if c.reference == reference), None)
    numbers = [copy.version for copy in versions]  # newest first
    place = numbers.index(stood) if stood in numbers else 0
    return numbers[place - 1] if place else None


async def _other_than_left(
    gate: Gate, proposal: Proposal, copies: Sequence[Copy]
) -> tuple[str, ...]:
    """References whose version is ours and whose content is not: the number was given anew, as
    happens in a system that was restored from a backup."""
    attempts = await ProposalStore(gate.database).attempts(proposal.id, "commit")
    applied = next((a for a in attempts if a.verdict == "applied"), None)
    if applied is None or proposal.receipt is None:
        return ()
    paths = gate.sink(proposal.connection).differences(
        applied.prepared.write, proposal.receipt, copies, applied.prepared.before
    )
    found = dict.fromkeys(path.partition(" ")[0] for path in paths)
    return tuple(reference for reference in found if any(reference == c.reference for c in copies))


def _is_before(change: Change, copy: Copy | None, versions: Sequence[Copy] | None) -> bool:
    """Whether the chart stands before our write: not at a later version, but at an earlier one."""
    assert change.if_match is not None, "a compensation stands on a version"
    if any(
        each.version == change.if_match for each in (*(versions or ()), *([copy] if copy else ()))
    ):
        return False
    if copy is None:
        return versions is not None and not versions
    return is_before(change.if_match, None, copy.version, orjson.loads(copy.body))


def _reference(change: Change) -> str:
    assert change.reference is not None, "nothing is undone by a create"
    return change.reference
