"""What became of a write whose answer was lost, found out by reading alone.

Each change leaves evidence: a create its marker, an update or patch the version that follows the
one it stood on, a delete an absence. All must agree; if they do not, or reading cannot tell, a
person has to look (OutcomeUnknown).

"Not applied" cannot rule out that the lost request is still on its way. That is safe all the
same: whoever sends it again sends the same preconditions, so at most one of the two succeeds.
"""

from collections.abc import Callable
from datetime import datetime
from enum import Enum

import orjson

from chartgate.adapters.fhir_r4.compare import differing_paths, patched
from chartgate.adapters.fhir_r4.dialect import Habits
from chartgate.adapters.fhir_r4.marks import bears_marker, marker_criteria
from chartgate.adapters.fhir_r4.reader import Reader
from chartgate.errors import NotFound, OutcomeUnknown
from chartgate.model.resource import Copy, Resource
from chartgate.model.write import Change, Effect, Receipt, Write, create_marks

HISTORY_MAX = 100  # versions looked through; an EHR that made more since then needs a person
MARKED_MAX = 10  # more than one is already too many


class Missing(Enum):
    """A change that was not applied."""

    UNTOUCHED = "untouched"  # what it stood on still stands
    OVERTAKEN = "overtaken"  # somebody else changed it first: it cannot be applied any more


Evidence = Effect | Missing


async def resolve(
    reader: Reader, write: Write, habits: Habits, clock: Callable[[], datetime]
) -> Receipt | None:
    """As Sink.resolve."""
    effects = await applied_effects(reader, write, habits)
    return Receipt(effects=effects, at=clock(), resolved=True) if effects else None


async def applied_effects(
    reader: Reader, write: Write, habits: Habits
) -> tuple[Effect, ...] | None:
    """What the write did, in the order of its changes; None: it did nothing.

    Raises OutcomeUnknown, Throttled, SourceUnreachable.
    """
    evidence = [
        await _evidence(reader, change, mark, habits)
        for change, mark in zip(write.changes, create_marks(write), strict=True)
    ]
    effects = tuple(found for found in evidence if isinstance(found, Effect))
    if len(effects) == len(evidence):
        return effects
    if effects:
        raise _cannot_tell("partial: some of the changes are there, others are not")
    if Missing.OVERTAKEN not in evidence and not habits.holds("read_your_writes"):
        raise _cannot_tell("nothing to see, but this system shows its writes late")
    return None


async def created_effects(
    reader: Reader, write: Write, habits: Habits
) -> tuple[Effect, ...] | None:
    """As `applied_effects`, asked by the marks of what the write creates: they are ours alone.
    None if nothing bears them, whatever else the chart says."""
    for change, mark in zip(write.changes, create_marks(write), strict=True):
        if mark is not None:
            evidence = await _create_evidence(reader, change, mark, habits)
            if isinstance(evidence, Effect):
                return await applied_effects(reader, write, habits)
    return None


async def _evidence(reader: Reader, change: Change, mark: str | None, habits: Habits) -> Evidence:
    if change.interaction == "create":
        assert mark is not None
        return await _create_evidence(reader, change, mark, habits)
    assert change.reference is not None
    try:
        current = await reader.current(change.reference)
    except NotFound:
        current = None
    if current is not None and current.version == change.if_match:
        return Missing.UNTOUCHED
    if change.interaction == "delete":
        if current is not None:
            return Missing.OVERTAKEN
        return Effect(
            reference=change.reference, version_before=change.if_match, version_after=None
        )
    if not habits.holds("history"):
        return _without_history(change, current, habits)
    return await _next_version(reader, change, habits)


async def _create_evidence(reader: Reader, change: Change, mark: str, habits: Habits) -> Evidence:
    """What bears the mark. A create that was applied and then deleted leaves nothing to find."""
    criteria = marker_criteria(change.resource_type, mark, habits.dialect)
    page = await reader.search(change.resource_type, criteria, count_max=MARKED_MAX)
    ours = [copy for copy in page.copies if bears_marker(orjson.loads(copy.body), mark)]
    if len(ours) > 1:
        raise _cannot_tell("more than one resource bears our mark")
    if not ours:
        if not page.complete:
            raise _cannot_tell("the search for our mark finds too much")
        return Missing.UNTOUCHED
    return Effect(
        reference=ours[0].reference,
        version_before=None,
        version_after=await _first_version(reader, ours[0], habits),
    )


async def _first_version(reader: Reader, current: Copy, habits: Habits) -> str:
    """What we left: somebody may have edited it since."""
    if not habits.holds("history"):
        return current.version
    try:
        versions = await reader.history(current.reference, count_max=HISTORY_MAX)
    except NotFound:
        versions = ()
    if not versions or len(versions) == HISTORY_MAX:
        raise _cannot_tell("the history of what bears our mark has no beginning")
    return versions[-1].version


def _without_history(change: Change, current: Copy | None, habits: Habits) -> Evidence:
    """Only the version that stands now can be looked at; a patch needs its pre-image too."""
    if current is None or change.resource is None:
        raise _cannot_tell("the system shows no history")
    ignored = habits.dialect.ignored(change.resource_type)
    if differing_paths(change.resource, orjson.loads(current.body), ignored):
        raise _cannot_tell("the system shows no history, and another version stands")
    return _effect(change, current)


async def _next_version(reader: Reader, change: Change, habits: Habits) -> Evidence:
    """Compares the version that follows ours with what we sent."""
    assert change.reference is not None
    try:
        versions = await reader.history(change.reference, count_max=HISTORY_MAX)
    except NotFound:
        versions = ()
    place = next((i for i, v in enumerate(versions) if v.version == change.if_match), 0)
    if place == 0:
        # The version we stood on is not there, or is shown as the newest while another stands:
        # the system was restored from a backup, or its replicas disagree.
        raise _cannot_tell("history does not show the version that the write stood on")
    base: Resource = orjson.loads(versions[place].body)
    follower: Resource = orjson.loads(versions[place - 1].body)
    intended = change.resource if change.resource is not None else patched(base, change.patch)
    if intended is None:
        return Missing.OVERTAKEN  # a patch that cannot be applied was not
    ignored = habits.dialect.ignored(change.resource_type)
    if not differing_paths(intended, follower, ignored):
        return _effect(change, versions[place - 1])
    if _shares_a_change(base, intended, follower, ignored):
        raise _cannot_tell("the next version holds a part of what was sent")
    return Missing.OVERTAKEN


def _shares_a_change(
    base: Resource, intended: Resource, follower: Resource, ignored: tuple[str, ...]
) -> bool:
    """Whether `follower` has anything of what we meant to change: then it may be ours, altered
    by the system on its way in."""
    ours = set(differing_paths(base, intended, ignored))
    kept = set(differing_paths(follower, intended, ignored))
    return bool(ours - kept)


def _effect(change: Change, copy: Copy) -> Effect:
    return Effect(
        reference=copy.reference, version_before=change.if_match, version_after=copy.version
    )


def _cannot_tell(detail: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        "reading cannot tell whether the write was applied; a person has to look",
        operator_detail=detail,
    )
