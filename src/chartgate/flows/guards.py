"""Looks at the live system whether what a proposal stands on still holds: one round trip.

Three things must hold. `same`: the guarded elements of what the AI saw (or a person was shown
since) are unchanged. `none`: a search finds nothing. And always: what the proposal changes would
change in exactly the way that was shown; a change elsewhere in the resource does not matter,
except to an `update`, which replaces the whole of it.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import orjson

from chartgate.errors import ChartgateError, Invalid, NotFound, Unprocessable
from chartgate.flows.grounds import Grounds, touched_by
from chartgate.gate import Gate
from chartgate.model.charter import ActionRule
from chartgate.model.ports import Source
from chartgate.model.proposal import Content, Difference, Proposal
from chartgate.model.resource import Copy
from chartgate.model.write import Change
from chartgate.policy.differences import after_images, differences
from chartgate.policy.guards import none_query, same_breaks, same_paths

WATCHED_MAX = 50  # resources that the `same` guards of one proposal look at
FOUND_MAX = 20  # matches of a `none` guard that are looked at, beside our own resources

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class GuardResult:
    """One guard, and whether it holds now."""

    guard: str  # "same: Slot.status", "none: Appointment?…", "as shown: Task/3"
    holds: bool | None  # None: the system of record did not answer
    sentence: str  # without patient data


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a look at the live system found."""

    results: tuple[GuardResult, ...]
    live: dict[str, Copy]  # what is changed or guarded; without what is gone
    gone: tuple[str, ...]

    @property
    def broken(self) -> tuple[GuardResult, ...]:
        return tuple(r for r in self.results if r.holds is False)


async def look(gate: Gate, proposal: Proposal, action: ActionRule, grounds: Grounds) -> Standing:
    """Reads and searches at once. Raises SourceUnreachable, Throttled."""
    source = gate.source(proposal.connection)
    content = proposal.content
    references = tuple(dict.fromkeys([*targets(content), *watched(action, content, grounds)]))
    queries = none_queries(action, content, grounds)
    reads = [_read_live(source, reference) for reference in references]
    searches = [_found(source, content, *query) for _, query in queries]
    copies, found = await asyncio.gather(together(reads), together(searches))
    live = {c.reference: c for c in copies if c is not None}
    results = [
        *_same_results(action, content, grounds, live),
        *(_none_result(text, count) for (text, _), count in zip(queries, found, strict=True)),
        *_shown_results(content, live),
    ]
    gone = tuple(r for r in references if r not in live)
    return Standing(results=tuple(results), live=live, gone=gone)


def cannot_tell(action: ActionRule, sentence: str) -> tuple[GuardResult, ...]:
    """The results of a look that did not come back."""
    names = [g.query or ", ".join(g.paths) for g in action.guards]
    kinds = [g.kind for g in action.guards]
    return tuple(
        GuardResult(guard=f"{kind}: {name}", holds=None, sentence=sentence)
        for kind, name in zip(kinds, names, strict=True)
    )


def check_guardable(action: ActionRule, content: Content, grounds: Grounds) -> None:
    """Raises Unprocessable where a guard could never be checked: its ground was not read."""
    watched(action, content, grounds)
    none_queries(action, content, grounds)


def targets(content: Content) -> tuple[str, ...]:
    """What the content changes and must therefore be there."""
    return tuple(c.reference for c in content.changes if c.reference)


def watched(action: ActionRule, content: Content, grounds: Grounds) -> tuple[str, ...]:
    """Which of the seen resources the `same` guards mean: those of the guarded type that the
    proposal changes or refers to; where it does neither, all of that type. Raises Unprocessable."""
    touched = set(touched_by(content.changes))
    chosen: list[str] = []
    for path in dict.fromkeys(p for g in action.guards if g.kind == "same" for p in g.paths):
        kind = path.partition(".")[0]
        seen = [r for r in grounds.bodies if r.partition("/")[0] == kind]
        near = [r for r in seen if r in touched] or seen
        if not near:
            raise Unprocessable(
                f"the guard same: {path} needs a {kind} that this interaction has read"
            )
        chosen += near
    watched_ = tuple(dict.fromkeys(chosen))
    if len(watched_) > WATCHED_MAX:
        raise Unprocessable(
            f"the guards would look at {len(watched_)} resources, more than {WATCHED_MAX}; refer "
            "to the ones that are meant"
        )
    return watched_


def none_queries(
    action: ActionRule, content: Content, grounds: Grounds
) -> list[tuple[str, tuple[str, Sequence[tuple[str, str]]]]]:
    """The `none` guards with their filled searches. Raises Unprocessable."""
    rules = [g for g in action.guards if g.kind == "none"]
    if not rules:
        return []
    afters = [a for a in after_images(content.changes, grounds.bodies) if a is not None]
    near = grounds.near(content.changes)
    return [(rule.query, none_query(rule, afters, near)) for rule in rules]


async def together(awaitables: Sequence[Awaitable[Answer]]) -> list[Answer]:
    """All at once; the first error is raised when all have ended."""
    answers = await asyncio.gather(*awaitables, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [a for a in answers if not isinstance(a, BaseException)]


async def _read_live(source: Source, reference: str) -> Copy | None:
    try:
        copy = await source.read(reference)
    except NotFound:
        return None
    assert isinstance(copy, Copy), "not modified, without a version asked about"
    return copy


async def _found(
    source: Source, content: Content, resource_type: str, criteria: Sequence[tuple[str, str]]
) -> int:
    own = targets(content)
    page = await source.search(resource_type, criteria, count_max=FOUND_MAX + len(own))
    return sum(c.resource_type == resource_type and c.reference not in own for c in page.copies)


def _same_results(
    action: ActionRule, content: Content, grounds: Grounds, live: dict[str, Copy]
) -> list[GuardResult]:
    results = []
    for reference in watched(action, content, grounds):
        paths = same_paths(action, reference)
        guard = f"same: {', '.join(paths)} of {reference}"
        if reference not in live:
            sentence = f"{reference} is no longer there"
            results.append(GuardResult(guard=guard, holds=False, sentence=sentence))
            continue
        breaks = same_breaks(paths, grounds.bodies[reference], orjson.loads(live[reference].body))
        sentence = (
            f"{', '.join(breaks)} of {reference} changed in the record since it was read"
            if breaks
            else f"{', '.join(paths)} of {reference} are as they were"
        )
        results.append(GuardResult(guard=guard, holds=not breaks, sentence=sentence))
    return results


def _none_result(query: str, count: int) -> GuardResult:
    kind = query.partition("?")[0]
    sentence = (
        f"there is {kind} in the record that must not be there: {query}"
        if count
        else f"there is still no such {kind}"
    )
    return GuardResult(guard=f"none: {query}", holds=not count, sentence=sentence)


def _shown_results(content: Content, live: dict[str, Copy]) -> list[GuardResult]:
    """Whether each change would do exactly what was shown."""
    results = []
    for change in content.changes:
        reference = change.reference
        if reference is None:
            continue
        holds, sentence = True, f"{reference} would change as shown"
        if reference not in live:
            holds, sentence = False, f"{reference} is no longer there"
        elif not _changes_as_shown(change, content, live[reference]):
            holds = False
            sentence = f"what is to change in {reference} is not as it was shown any more"
        results.append(GuardResult(guard=f"as shown: {reference}", holds=holds, sentence=sentence))
    return results


def _changes_as_shown(change: Change, content: Content, live: Copy) -> bool:
    if change.interaction == "update" and change.if_match != live.version:
        return False
    before = {live.reference: orjson.loads(live.body)}
    shown = [d for d in content.differences if d.reference == live.reference]
    try:
        found = differences([change], before)
    except Invalid:
        return False
    # What is stored has its keys in canonical order; what was submitted had them in the client's.
    return sorted(found, key=_path) == sorted(shown, key=_path)


def _path(difference: Difference) -> str:
    return difference.path


async def look_bounded(
    gate: Gate, proposal: Proposal, action: ActionRule, grounds: Grounds, *, timeout_s: float
) -> Standing | None:
    """As `look`, for a page that will not wait; None: it cannot be told."""
    try:
        async with asyncio.timeout(timeout_s):
            return await look(gate, proposal, action, grounds)
    except (ChartgateError, TimeoutError):
        return None
