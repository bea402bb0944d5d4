"""Trials of single requests: creates, guards of one write, histories and conditional reads."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Protocol

import orjson

from chartgate.adapters.fhir_r4.bodies import parse_etag, parse_location
from chartgate.adapters.fhir_r4.compare import differing_paths
from chartgate.adapters.fhir_r4.link import Answer
from chartgate.adapters.fhir_r4.marks import bears_marker
from chartgate.adapters.fhir_r4.probe_bench import Bench, version_test
from chartgate.errors import ChartgateError
from chartgate.model.resource import Copy, NotModified

REFUSALS = frozenset({400, 409, 412, 422, 423, 428})
HISTORY_MAX = 20
LAG_TRIED_S = 3.0  # what is not seen after this long counts as never
LAG_STEP_S = 0.02
LAG_MAX_S = 1.0  # longer, and what a guard reads says too little about what stands
RACES = 3  # of two creates each
PATHS_SHOWN = 5
ALL_OF_IT, OUR_MARK = OURS = ("all of it", "our identifier")
# What a system calls its elements is its own text, and stands in our store and on our pages.
PATH = re.compile(r"[A-Za-z][A-Za-z0-9_.\[\]]{0,79}")


class Say(Protocol):
    """Takes one verdict down."""

    def __call__(self, line: str, *, holds: bool, detail: str) -> None: ...


async def try_create(bench: Bench, say: Say) -> bool:
    """Whether anything can be made here at all; says why not."""
    answer = await bench.create(bench.mark())
    kind = bench.sample.kind
    if answer.status != 201:
        detail = (
            f"a {kind} could not be created: HTTP {answer.status}; writes stay off. If it lets"
            f" something else be created, name that in probe_file"
        )
        say("create", holds=False, detail=detail)
        return False
    bench.note_made(answer)
    return True


async def try_lag(bench: Bench, say: Say) -> None:
    """How long until a create and a change are seen, by read and by search."""
    mark = bench.mark()
    answer = await bench.create(mark)
    made = bench.note_made(answer)
    lags = [await _lag_s(lambda: _is_there(bench, made))]
    if lags[0] is not None:
        lags.append(await _lag_s(lambda: _is_found(bench, mark, made)))
    copy = await bench.seen(made, at_once=True)
    say("create", holds=copy is not None, detail=f"a {bench.sample.kind} was made, then read")
    if copy is not None:
        changed = await bench.put(copy, copy.version, "lag")
        if changed.status in (200, 201):
            lags.append(await _lag_s(lambda: _says(bench, made, "lag")))
    known = [lag for lag in lags if lag is not None]
    never = len(known) < len(lags)
    worst_s = max(known, default=0.0)
    detail = "at once" if not worst_s else f"after {worst_s * 1000:.0f} ms"
    if never:
        detail = f"not within {LAG_TRIED_S:.0f} s"
    elif worst_s <= LAG_MAX_S:
        bench.pause_s = worst_s * 2
    say("read_your_writes", holds=not never and not worst_s, detail=detail)
    say("reads_catch_up", holds=not never and worst_s <= LAG_MAX_S, detail=detail)


async def try_marker(bench: Bench, say: Say) -> None:
    """What becomes of what was sent, and of a second create with the same mark."""
    mark = bench.mark()
    made = bench.note_made(await bench.create(mark))
    copy = await bench.seen(made)
    say("etag_present", holds=bool(copy and copy.version), detail="create, then read")
    kept = copy is not None and bears_marker(orjson.loads(copy.body), mark)
    found = await bench.found(mark)
    detail = f"kept on save: {kept}; found by search: {len(found)}"
    say("marker_survives", holds=kept and found == [made], detail=detail)
    paths = _changed(bench, copy, mark, "made")
    _say_stored(say, paths, "created")
    again = await bench.create(mark)
    second = parse_location(again.headers.get("Location"))
    if again.status == 201 and second:
        bench.made.append(second[0])
    matching = await bench.found(mark)
    say(
        "if_none_exist",
        holds=again.status in (200, 304) and matching == [made],
        detail=f"second create: HTTP {again.status}; matches: {len(matching)}",
    )


async def try_race(bench: Bench, say: Say) -> None:
    """Two creates at once with one mark, a few times: a race that was won once proves little."""
    doubled = 0
    for _ in range(RACES):
        mark = bench.mark()
        answers = await asyncio.gather(
            bench.create(mark), bench.create(mark), return_exceptions=True
        )
        given = [a for a in answers if isinstance(a, Answer)]
        if not given:
            raise next(a for a in answers if isinstance(a, BaseException))
        references = {bench.note_made(a) for a in given if a.status == 201}
        matching = await bench.found(mark)
        bench.made.extend(r for r in matching if r not in bench.made)
        doubled += len({*references, *matching}) != 1
    detail = f"{RACES} pairs at once; {doubled} of them did not make exactly one"
    say("if_none_exist_race", holds=not doubled, detail=detail)


async def try_conditional_reads(bench: Bench, say: Say) -> None:
    """If-None-Match of the current version, and of one that is past."""
    first = await bench.make()
    told = await bench.reader.read(first.reference, if_none_match=first.version or "0")
    held = isinstance(told, NotModified) and bool(first.version)
    say("conditional_read", holds=held, detail="If-None-Match of the current version")
    answer = await bench.put(first, first.version, "changed")
    past = first.version or "0"
    if answer.status not in (200, 201):
        past = "not-a-version-of-it"  # it takes no change: what never was is past as well
    headers = {"If-None-Match": bench.etag(past), "Cache-Control": "no-cache"}
    asked = await bench.asked(first.reference, headers)
    say(
        "unmodified_is_true",
        holds=asked.status == 200,
        detail=f"If-None-Match of another version: HTTP {asked.status}",
    )


async def try_put(bench: Bench, say: Say) -> None:
    """PUT on the version that stands, then on the one before."""
    first = await bench.make()
    good = await bench.put(first, first.version, "put-good")
    second = await bench.seen(first.reference)
    moved = second is not None and second.version not in ("", first.version)
    worked = good.status in (200, 201) and bench.text_of(second) == "put-good"
    if good.status in (200, 201) and not moved:
        say("etag_present", holds=False, detail="a change does not change the version")
    told = parse_etag(good.headers.get("ETag"))
    if worked and moved and second is not None and told not in (None, second.version):
        detail = "the ETag of the answer is not that of the version it made"
        say("etag_present", holds=False, detail=detail)
    stale = await bench.put(first, first.version, "put-stale")
    third = await bench.seen(first.reference)
    refused = stale.status in REFUSALS and bench.text_of(third) == "put-good"
    detail = f"good: HTTP {good.status}; stale: HTTP {stale.status}, refused: {refused}"
    say("if_match_on_put", holds=worked and moved and refused, detail=detail)
    if worked:
        _say_stored(say, _differences(bench, first, second, "put-good"), "updated")


async def try_patch(bench: Bench, say: Say) -> None:
    """PATCH on the version that stands, then on the one before."""
    first = await bench.make()
    good = await bench.patch(first, [bench.say_text("patch-good")], if_match=first.version)
    second = await bench.seen(first.reference)
    worked = 200 <= good.status < 300 and bench.text_of(second) == "patch-good"
    stale = await bench.patch(first, [bench.say_text("patch-stale")], if_match=first.version)
    third = await bench.seen(first.reference)
    refused = stale.status in REFUSALS and bench.text_of(third) == "patch-good"
    detail = f"good: HTTP {good.status}; stale: HTTP {stale.status}, refused: {refused}"
    say("if_match_on_patch", holds=worked and refused, detail=detail)
    if worked:
        _say_stored(say, _differences(bench, first, second, "patch-good"), "patched")


async def try_patch_test(bench: Bench, say: Say) -> None:
    """PATCH behind a test of the version that holds, then behind one that does not."""
    first = await bench.make()
    guard = version_test(first.version)
    good = await bench.patch(first, [guard, bench.say_text("test-good")], if_match=None)
    second = await bench.seen(first.reference)
    worked = 200 <= good.status < 300 and bench.text_of(second) == "test-good"
    stale = await bench.patch(first, [guard, bench.say_text("test-stale")], if_match=None)
    third = await bench.seen(first.reference)
    refused = 400 <= stale.status < 500 and bench.text_of(third) == "test-good"
    detail = f"good: HTTP {good.status}; failing: HTTP {stale.status}, refused: {refused}"
    say("patch_test", holds=worked and refused, detail=detail)


async def try_history(bench: Bench, say: Say) -> None:
    """Two versions, both listed."""
    first = await bench.make()
    await bench.put(first, first.version, "history")
    second = await bench.seen(first.reference)
    try:
        versions = await bench.reader.history(first.reference, count_max=HISTORY_MAX)
    except ChartgateError as error:
        say("history", holds=False, detail=error.operator_detail or str(error))
        return
    told = [version.version for version in versions]
    expected = [second.version if second else "", first.version]
    say("history", holds=told == expected, detail=f"{len(told)} versions of 2 told")


async def try_cancel(bench: Bench, say: Say) -> None:
    """The status by which its dialect cancels, as PUT."""
    stand_in = bench.dialect.stand_ins.get(bench.sample.kind)
    if stand_in is None:
        detail = f"its dialect names no status that stands in for a delete of {bench.sample.kind}"
        say("cancel", holds=False, detail=detail)
        return
    element, value = stand_in
    first = await bench.make()
    resource = {**orjson.loads(first.body), element: value}
    answer = await bench.put_as_is(first.reference, first.version, resource)
    after = await bench.seen(first.reference)
    held = after is not None and orjson.loads(after.body).get(element) == value
    say("cancel", holds=held, detail=f"{element} = {value}: HTTP {answer.status}; kept: {held}")


async def try_delete(bench: Bench, say: Say) -> None:
    """DELETE on the version before, then on the one that stands."""
    first = await bench.make()
    await bench.put(first, first.version, "delete")
    second = await bench.seen(first.reference)
    stale = await bench.delete(first.reference, first.version)
    third = await bench.seen(first.reference)
    good = await bench.delete(first.reference, second.version if second else None)
    gone = await bench.seen(first.reference) is None
    deleted = good.status in (200, 204) and gone
    say("delete", holds=deleted, detail=f"HTTP {good.status}; gone: {gone}")
    # Where PUT is refused too, nothing was stale, and so nothing was shown.
    moved = second is not None and second.version != first.version
    held = deleted and moved and stale.status in REFUSALS and third is not None
    say("if_match_on_delete", holds=held, detail=f"stale: HTTP {stale.status}")


async def _is_there(bench: Bench, reference: str) -> bool:
    return await bench.seen(reference, at_once=True) is not None


async def _is_found(bench: Bench, mark: str, reference: str) -> bool:
    return reference in await bench.found(mark, at_once=True)


async def _says(bench: Bench, reference: str, text: str) -> bool:
    return bench.text_of(await bench.seen(reference, at_once=True)) == text


async def _lag_s(shown: Callable[[], Awaitable[bool]]) -> float | None:
    """Seconds until `shown` is true: 0 at the first look, None for never."""
    clock = asyncio.get_running_loop().time
    started = clock()
    first = True
    while True:
        if await shown():
            return 0.0 if first else clock() - started
        if clock() - started > LAG_TRIED_S:
            return None
        first = False
        await asyncio.sleep(LAG_STEP_S)


def _changed(bench: Bench, copy: Copy | None, mark: str, text: str) -> list[str]:
    """Paths that are not as they were sent."""
    if copy is None:
        return [ALL_OF_IT]
    sent = bench.resource(text, mark)
    actual = orjson.loads(copy.body)
    paths = differing_paths(sent, actual, bench.dialect.ignored(bench.sample.kind))
    if not bears_marker(actual, mark):
        paths.append(OUR_MARK)
    return paths


def _differences(bench: Bench, before: Copy, after: Copy | None, text: str) -> list[str]:
    """Paths in which a change is not what was meant."""
    if after is None:
        return [ALL_OF_IT]
    meant = bench.saying(orjson.loads(before.body), text)
    ignored = bench.dialect.ignored(bench.sample.kind)
    return differing_paths(meant, orjson.loads(after.body), ignored)


def _plain(path: str) -> str:
    return path if path in OURS or PATH.fullmatch(path) else "an element that FHIR does not have"


def _say_stored(say: Say, paths: list[str], how: str) -> None:
    more = f" and {len(paths) - PATHS_SHOWN} more" if len(paths) > PATHS_SHOWN else ""
    told = ", ".join(map(_plain, paths[:PATHS_SHOWN])) + more
    detail = f"changed or dropped when {how}: {told}" if paths else f"{how}, then read"
    say("stored_as_sent", holds=not paths, detail=detail)
