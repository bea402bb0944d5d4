"""Looks at the live system whether what a proposal stands on still holds, in one or two round trips.

`same`: the guarded elements of what the AI saw (or a person was shown since) are unchanged.
`none`, `some`, `count`: a search finds as many as it must. `fresh`: a feed is not silent. `state`:
what the proposal writes or refers to is in a state that allows it. And always: what the proposal
changes would change in exactly the way that was shown; a change elsewhere in the resource does
not matter, except to an `update`, which replaces the whole of it.

What is written needs no late look: its version rides in the write itself, which the system of
record refuses if it is another by then. Of the rest, searches and feeds come first, and then,
directly before the write, the reads of what is guarded and not written.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import orjson

from chartgate.errors import ChartgateError, Invalid, NotFound, Unprocessable
from chartgate.flows.feed_status import age_s
from chartgate.flows.grounds import Grounds, touched_by
from chartgate.gate import Gate
from chartgate.model.charter import ActionRule, GuardRule
from chartgate.model.ports import Source
from chartgate.model.proposal import Content, Difference, Proposal
from chartgate.model.resource import Copy, Resource, references_in
from chartgate.model.write import Change
from chartgate.policy.differences import after_images, differences
from chartgate.policy.guards import (
    Criteria,
    filled_query,
    found_breaks,
    found_wanted,
    same_breaks,
    same_paths,
    state_holds,
)
from chartgate.store.feed_counts import FeedCountStore

WATCHED_MAX = 50  # resources that the `same` guards, or one `state` guard, of a proposal look at
FOUND_MAX = 20  # matches of a search that are looked at, beside our own resources
SEARCHING = ("none", "some", "count")

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
    """Reads and searches at once, and what no precondition covers last. Raises SourceUnreachable,
    Throttled, Unprocessable."""
    source = gate.source(proposal.connection)
    content = proposal.content
    written = targets(content)
    states = state_grounds(action, content, grounds)
    unwritten = [*watched(action, content, grounds), *(r for _, near in states for r in near)]
    last = [r for r in dict.fromkeys(unwritten) if r not in written]
    queries = searches_of(action, content, grounds)
    feeds = [rule for rule in action.guards if rule.kind == "fresh"]
    # With nothing to wait for, all can be asked at once.
    early = list(written) if queries or feeds else [*written, *last]
    copies, found, heard = await asyncio.gather(
        together([_read_live(source, reference) for reference in early]),
        together([_found(source, content, rule, *query) for rule, query in queries]),
        together([_heard(gate, rule) for rule in feeds]),
    )
    late = [r for r in last if r not in early]
    copies += await together([_read_live(source, reference) for reference in late])
    live = {c.reference: c for c in copies if c is not None}
    results = [
        *_same_results(action, content, grounds, live),
        *(_found_result(rule, *counted) for (rule, _), counted in zip(queries, found, strict=True)),
        *(_fresh_result(rule, silent) for rule, silent in zip(feeds, heard, strict=True)),
        *(_state_result(rule, reference, live) for rule, near in states for reference in near),
        *_shown_results(content, live),
    ]
    gone = tuple(r for r in dict.fromkeys([*written, *last]) if r not in live)
    return Standing(results=tuple(results), live=live, gone=gone)


def moved_elsewhere(grounds: Grounds, standing: Standing) -> tuple[str, ...]:
    """What changed since it was seen, in elements that no guard speaks of: no conflict, but noted."""
    return tuple(
        reference
        for reference, copy in standing.live.items()
        if (seen := grounds.seen.get(reference)) is not None and seen.digest != copy.digest
    )


def cannot_tell(action: ActionRule, sentence: str) -> tuple[GuardResult, ...]:
    """The results of a look that did not come back."""
    return tuple(
        GuardResult(
            guard=f"{rule.kind}: {rule.query or rule.feed or ', '.join(rule.paths)}",
            holds=None,
            sentence=sentence,
        )
        for rule in action.guards
    )


def check_guardable(action: ActionRule, content: Content, grounds: Grounds) -> None:
    """Raises Unprocessable where a guard could never be checked: its ground was not read."""
    watched(action, content, grounds)
    searches_of(action, content, grounds)
    state_grounds(action, content, grounds)


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


def searches_of(
    action: ActionRule, content: Content, grounds: Grounds
) -> list[tuple[GuardRule, tuple[str, Criteria]]]:
    """The guards that search, with their filled searches. Raises Unprocessable."""
    rules = [g for g in action.guards if g.kind in SEARCHING]
    if not rules:
        return []
    near = grounds.near(content.changes)
    return [(rule, filled_query(rule, _afters(content, grounds), near)) for rule in rules]


def state_grounds(
    action: ActionRule, content: Content, grounds: Grounds
) -> list[tuple[GuardRule, tuple[str, ...]]]:
    """The guards on a state, each with the resources that it means: those of its type that the
    proposal writes or refers to. Raises Unprocessable: one that means none would guard nothing."""
    rules = [g for g in action.guards if g.kind == "state"]
    if not rules:
        return []
    near = (*targets(content), *references_in(_afters(content, grounds)))
    found = []
    for rule in rules:
        kind = rule.paths[0].partition(".")[0]
        meant = tuple(dict.fromkeys(r for r in near if r.partition("/")[0] == kind))
        if not meant:
            raise Unprocessable(
                f"the guard state: {rule.paths[0]} needs a {kind} that the proposal refers to"
            )
        if len(meant) > WATCHED_MAX:
            raise Unprocessable(f"the proposal refers to more than {WATCHED_MAX} of {kind}")
        found.append((rule, meant))
    return found


def _afters(content: Content, grounds: Grounds) -> list[Resource]:
    return [a for a in after_images(content.changes, grounds.bodies) if a is not None]


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
    source: Source,
    content: Content,
    rule: GuardRule,
    resource_type: str,
    criteria: Criteria,
) -> tuple[int, bool]:
    """How many matches there are, and whether that is all. What the proposal itself changes is no
    match of a `none`; `some` and `count` are of the chart as it stands."""
    own = targets(content) if rule.kind == "none" else ()
    most = rule.found_max if rule.found_max is not None else rule.found_min
    count_max = max(FOUND_MAX, most + 1) + len(own)
    page = await source.search(resource_type, criteria, count_max=count_max)
    count = sum(c.resource_type == resource_type and c.reference not in own for c in page.copies)
    return count, page.complete


async def _heard(gate: Gate, rule: GuardRule) -> float | None:
    """For how long a feed has been silent; None: it was never heard."""
    at = await FeedCountStore(gate.database).last_heard(rule.feed)
    return None if at is None else age_s(at, gate.clock())


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


def _found_result(rule: GuardRule, count: int, complete: bool) -> GuardResult:
    kind = rule.query.partition("?")[0]
    broken = found_breaks(rule, count, complete=complete)
    if rule.kind == "none" and broken and not count:
        sentence = f"the record has more of {kind} than was looked at: {rule.query}"
    elif rule.kind == "none":
        sentence = (
            f"there is {kind} in the record that must not be there: {rule.query}"
            if broken
            else f"there is still no such {kind}"
        )
    elif broken:
        wanted = found_wanted(rule)
        sentence = f"the record must have {wanted} of {kind}, and does not: {rule.query}"
    else:
        sentence = f"the record has {found_wanted(rule)} of {kind}"
    return GuardResult(guard=f"{rule.kind}: {rule.query}", holds=not broken, sentence=sentence)


def _fresh_result(rule: GuardRule, silent_s: float | None) -> GuardResult:
    holds = silent_s is not None and silent_s <= rule.within_s
    sentence = (
        f"{rule.feed} was heard within the last {rule.within_s:g} s"
        if holds
        else f"{rule.feed} has been silent for more than {rule.within_s:g} s, so that nobody can "
        "tell what changed"
    )
    return GuardResult(guard=f"fresh: {rule.feed}", holds=holds, sentence=sentence)


def _state_result(rule: GuardRule, reference: str, live: dict[str, Copy]) -> GuardResult:
    path = rule.paths[0].partition(".")[2]
    guard = f"state: {path} of {reference}"
    if reference not in live:
        return GuardResult(guard=guard, holds=False, sentence=f"{reference} is no longer there")
    holds = state_holds(rule, orjson.loads(live[reference].body))
    sentence = (
        f"{path} of {reference} allows it" if holds else f"{path} of {reference} rules it out now"
    )
    return GuardResult(guard=guard, holds=holds, sentence=sentence)


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
