"""The conformance kit: what any adapter must do that is Source and Sink, beyond what every sink
must (conformance_sinks.py).

Run each of `CHECKS` against a `Target`; a failed promise is an AssertionError. The checks write
synthetic resources to the target's system, and undo what they wrote. A fake that passes may
stand in for a real system, because it does what the kit asks of a real one.
"""

from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass
from uuid import uuid4

from chartgate.errors import (
    ChartgateError,
    InvalidTransition,
    NotFound,
    OutcomeUnknown,
    VersionConflict,
    WriteRefused,
)
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.model.resource import Copy, NotModified, SearchPage
from chartgate.model.write import Change, Write
from chartgate.testing.conformance_bench import (
    GROUP_SYSTEM,
    Bench,
    Target,
    body,
    copy_of,
    creation,
    plain,
    without_meta,
)

__all__ = ["CHECKS", "Check", "Target"]

FEW = 20


@dataclass(frozen=True)
class Check:
    """One promise. `run` raises AssertionError if the target breaks it."""

    name: str
    promise: str
    _steps: Callable[[Bench], Awaitable[None]]

    async def run(self, target: Target) -> None:
        """Tries it, then undoes what it wrote."""
        bench = Bench(target)
        try:
            await self._steps(bench)
        finally:
            await bench.clean_up()


async def _read_gives_what_was_created(bench: Bench) -> None:
    group = uuid4().hex
    sent = bench.fresh(group)
    _, receipt = await bench.commit(creation(sent))
    copy = await bench.read(receipt.effects[0].reference)
    assert copy.version == receipt.effects[0].version_after, "receipt and read differ in version"
    assert copy.body == canonical_bytes(body(copy)), "the body is not canonical"
    assert copy.digest == digest(copy.body), "the digest is not that of the body"
    assert bench.text(copy) == sent[bench.target.text_element], "the text was not kept"


async def _conditional_read_of_current_version_is_not_modified(bench: Bench) -> None:
    copy = await bench.create()
    again = await bench.adapter.read(copy.reference, if_none_match=copy.version)
    assert isinstance(again, NotModified), "the current version was sent again"
    assert again.version == copy.version, "another version is said to be current"


async def _conditional_read_of_old_version_gives_the_new_one(bench: Bench) -> None:
    copy = await bench.create()
    await bench.commit(bench.edited(copy, "second"))
    again = await bench.adapter.read(copy.reference, if_none_match=copy.version)
    assert isinstance(again, Copy), "a change was said to be none"
    assert bench.text(again) == "second", "an old version was read"


async def _read_of_unknown_id_is_not_found(bench: Bench) -> None:
    resource_type = bench.fresh()["resourceType"]
    try:
        await bench.adapter.read(f"{resource_type}/{uuid4()}")
    except NotFound:
        return
    raise AssertionError("a resource was read that cannot be there")


async def _search_finds_all_and_only_matches(bench: Bench) -> None:
    group = uuid4().hex
    made = {(await bench.create(group)).reference for _ in range(5)}
    await bench.create(uuid4().hex)
    page = await _search(bench, group, count_max=FEW)
    found = [copy.reference for copy in page.copies]
    assert set(found) == made, f"{len(found)} found of {len(made)}"
    assert len(found) == len(made), "a match was given twice"
    assert page.complete, "a search that found all says that there is more"


async def _search_stops_at_its_limit(bench: Bench) -> None:
    group = uuid4().hex
    for _ in range(4):
        await bench.create(group)
    page = await _search(bench, group, count_max=3)
    assert len(page.copies) == 3, f"{len(page.copies)} matches at a limit of 3"
    assert not page.complete, "a search that was cut off says that it is complete"


async def _create_twice_with_one_marker_creates_once(bench: Bench) -> None:
    group = uuid4().hex
    write = Write(marker=f"conformance-{uuid4()}", changes=(creation(bench.fresh(group)),))
    first, second = await bench.send(write), await bench.send(write)
    assert first.effects == second.effects, "the second create has another receipt"
    page = await _search(bench, group, count_max=FEW)
    assert len(page.copies) == 1, f"{len(page.copies)} resources after two creates"


async def _update_makes_a_new_version(bench: Bench) -> None:
    copy = await bench.create()
    _, receipt = await bench.commit(bench.edited(copy, "updated"))
    after = await bench.read(copy.reference)
    effect = receipt.effects[0]
    assert effect.version_before == copy.version, "the receipt names another version before"
    assert effect.version_after == after.version, "the receipt names another version after"
    assert after.version != copy.version, "a change did not change the version"
    assert bench.text(after) == "updated", "the update was not kept"


async def _stale_update_is_refused(bench: Bench) -> None:
    copy = await bench.create()
    await bench.commit(bench.edited(copy, "theirs"))
    await _must_conflict(bench, bench.edited(copy, "ours"))
    assert bench.text(await bench.read(copy.reference)) == "theirs", "a later edit was lost"


async def _patch_changes_what_it_names(bench: Bench) -> None:
    copy = await bench.create()
    await bench.commit(bench.patched(copy, "patched"))
    after = await bench.read(copy.reference)
    assert bench.text(after) == "patched", "the patch was not kept"
    assert plain(after, bench) == plain(copy, bench), "a patch changed more than it names"


async def _stale_patch_is_refused(bench: Bench) -> None:
    copy = await bench.create()
    await bench.commit(bench.edited(copy, "theirs"))
    await _must_conflict(bench, bench.patched(copy, "ours"))
    assert bench.text(await bench.read(copy.reference)) == "theirs", "a later edit was lost"


async def _transaction_applies_all(bench: Bench) -> None:
    left, right = await bench.create(), await bench.create()
    _, receipt = await bench.commit(
        creation(bench.fresh()), bench.patched(left, "both"), bench.edited(right, "both")
    )
    made = await bench.read(receipt.effects[0].reference)
    assert made.version == receipt.effects[0].version_after, "a version is not the receipt's"
    for copy, effect in ((left, receipt.effects[1]), (right, receipt.effects[2])):
        after = await bench.read(copy.reference)
        assert effect.reference == copy.reference, "effects are not in the order of the changes"
        assert effect.version_after == after.version, "a version is not the receipt's"
        assert bench.text(after) == "both", "an entry was not applied"


async def _transaction_applies_all_or_nothing(bench: Bench) -> None:
    group = uuid4().hex
    left, right = await bench.create(), await bench.create()
    await bench.commit(bench.edited(right, "theirs"))
    await _must_conflict(
        bench,
        creation(bench.fresh(group)),
        bench.edited(left, "ours"),
        bench.patched(right, "ours"),
    )
    assert (await bench.read(left.reference)).version == left.version, "one entry was applied"
    assert not (await _search(bench, group, count_max=FEW)).copies, "one entry was created"


async def _refusal_at_the_last_look_sends_nothing(bench: Bench) -> None:
    async def refusing() -> None:
        raise InvalidTransition("halted")

    copy = await bench.create()
    for change in (bench.patched(copy, "halted"), bench.edited(copy, "halted")):
        write = Write(marker=f"conformance-{uuid4()}", changes=(change,))
        try:
            await bench.adapter.commit(write, last_look=refusing)
        except InvalidTransition:
            assert (await bench.read(copy.reference)).version == copy.version, (
                "it was written all the same"
            )
        else:
            raise AssertionError("the last look was not taken, or not heeded")


async def _history_is_newest_first(bench: Bench) -> None:
    first = await bench.create()
    await bench.commit(bench.edited(first, "second"))
    second = await bench.read(first.reference)
    await bench.commit(bench.edited(second, "third"))
    third = await bench.read(first.reference)
    told = [v.version for v in await bench.adapter.history(first.reference, count_max=FEW)]
    assert told == [third.version, second.version, first.version], f"{len(told)} versions told"
    short = await bench.adapter.history(first.reference, count_max=2)
    assert [v.version for v in short] == told[:2], "the limit cuts off the newest"


async def _compensation_restores_exactly(bench: Bench) -> None:
    left, right = await bench.create(), await bench.create()
    write, receipt = await bench.commit(bench.edited(left, "new"), bench.patched(right, "new"))
    undo = await bench.adapter.compensation(write, receipt, (left, right))
    await bench.send(undo)
    for copy in (left, right):
        after = await bench.read(copy.reference)
        assert without_meta(after) == without_meta(copy), "not the content from before"


async def _compensation_of_create_leaves_nothing_standing(bench: Bench) -> None:
    write, receipt = await bench.commit(creation(bench.fresh()))
    before = await bench.read(receipt.effects[0].reference)
    await bench.adapter.commit(await bench.adapter.compensation(write, receipt, ()))
    try:
        after = await bench.read(before.reference)
    except NotFound:
        return
    assert body(after).get("status") != body(before).get("status"), "it still stands"


async def _compensation_is_refused_after_a_foreign_edit(bench: Bench) -> None:
    copy = await bench.create()
    write, receipt = await bench.commit(bench.edited(copy, "ours"))
    await bench.commit(bench.edited(await bench.read(copy.reference), "theirs"))
    undo = await bench.adapter.compensation(write, receipt, (copy,))
    await _must_conflict(bench, *undo.changes)
    assert bench.text(await bench.read(copy.reference)) == "theirs", "a later edit was undone"


async def _resolve_of_what_was_never_sent_is_none(bench: Bench) -> None:
    copy = await bench.create()
    for changes in (
        (creation(bench.fresh()),),
        (bench.edited(copy, "never"),),
        (creation(bench.fresh()), bench.patched(copy, "never")),
    ):
        write = Write(marker=f"conformance-{uuid4()}", changes=changes)
        assert await bench.adapter.resolve(write) is None, "a write was found that was not sent"


async def _resolve_tells_ours_from_a_foreign_edit(bench: Bench) -> None:
    copy = await bench.create()
    await bench.commit(bench.edited(copy, "theirs"))
    write = Write(marker=f"conformance-{uuid4()}", changes=(bench.patched(copy, "ours"),))
    assert await bench.adapter.resolve(write) is None, "a foreign edit was taken for ours"


async def _resolve_finds_what_was_applied(bench: Bench) -> None:
    left, right = await bench.create(), await bench.create()
    write, receipt = await bench.commit(
        creation(bench.fresh()), bench.patched(left, "found"), bench.edited(right, "found")
    )
    # Edits that came later must not hide it, nor become part of its receipt.
    await bench.commit(bench.edited(await bench.read(left.reference), "later"))
    resolved = await bench.adapter.resolve(write)
    assert resolved is not None, "an applied write was not found"
    assert resolved.resolved, "a receipt that was found by reading does not say so"
    assert resolved.effects == receipt.effects, "the receipt found by reading differs"


async def _lost_answer_is_told_and_resolved(bench: Bench) -> None:
    if bench.target.lost_answers is None:
        return
    copy = await bench.create()
    for changes in (
        (creation(bench.fresh()),),
        (bench.edited(copy, "lost"), creation(bench.fresh())),
    ):
        write = Write(marker=f"conformance-{uuid4()}", changes=changes)
        async with bench.target.lost_answers():
            try:
                await bench.send(write)
            except OutcomeUnknown:
                pass
            except ChartgateError as error:
                raise AssertionError(f"a lost answer became {type(error).__name__}") from None
            else:
                raise AssertionError("an answer that was lost became a receipt")
        receipt = await bench.adapter.resolve(write)
        assert receipt is not None, "an applied write was not found"
        bench.remember(write, receipt)


async def _honest_write_shows_no_differences(bench: Bench) -> None:
    left, right = await bench.create(), await bench.create()
    write, receipt = await bench.commit(
        creation(bench.fresh()), bench.patched(left, "kept"), bench.edited(right, "kept")
    )
    after = [await bench.read(effect.reference) for effect in receipt.effects]
    for before in ((), (left, right)):
        found = bench.adapter.differences(write, receipt, after, before)
        assert not found, f"an honest write shows differences: {found}"


async def _altered_read_back_shows_its_path(bench: Bench) -> None:
    copy = await bench.create()
    write, receipt = await bench.commit(bench.edited(copy, "sent"))
    altered = deepcopy(body(await bench.read(copy.reference)))
    altered[bench.target.text_element] = "altered"
    after = copy_of(altered, like=copy)
    found = bench.adapter.differences(write, receipt, (after,), (copy,))
    assert any(bench.target.text_element in path for path in found), "an alteration went unseen"
    assert bench.adapter.differences(write, receipt, (), (copy,)), "an absence went unseen"


async def _must_conflict(bench: Bench, *changes: Change) -> None:
    write = Write(marker=f"conformance-{uuid4()}", changes=changes)
    try:
        await bench.send(write)
    except VersionConflict:
        return
    except WriteRefused as error:
        raise AssertionError(f"a stale write was refused, but not as a conflict: {error}") from None
    raise AssertionError("a stale write was taken")


async def _search(bench: Bench, group: str, *, count_max: int) -> SearchPage:
    resource_type = bench.fresh()["resourceType"]
    criteria = [("identifier", f"{GROUP_SYSTEM}|{group}")]
    return await bench.adapter.search(resource_type, criteria, count_max=count_max)


def _check(steps: Callable[[Bench], Awaitable[None]]) -> Check:
    name = steps.__name__.removeprefix("_")
    return Check(name, name.replace("_", " "), steps)


CHECKS: tuple[Check, ...] = tuple(
    _check(steps)
    for steps in (
        _read_gives_what_was_created,
        _conditional_read_of_current_version_is_not_modified,
        _conditional_read_of_old_version_gives_the_new_one,
        _read_of_unknown_id_is_not_found,
        _search_finds_all_and_only_matches,
        _search_stops_at_its_limit,
        _create_twice_with_one_marker_creates_once,
        _update_makes_a_new_version,
        _stale_update_is_refused,
        _patch_changes_what_it_names,
        _stale_patch_is_refused,
        _transaction_applies_all,
        _transaction_applies_all_or_nothing,
        _refusal_at_the_last_look_sends_nothing,
        _history_is_newest_first,
        _compensation_restores_exactly,
        _compensation_of_create_leaves_nothing_standing,
        _compensation_is_refused_after_a_foreign_edit,
        _resolve_of_what_was_never_sent_is_none,
        _resolve_tells_ours_from_a_foreign_edit,
        _resolve_finds_what_was_applied,
        _lost_answer_is_told_and_resolved,
        _honest_write_shows_no_differences,
        _altered_read_back_shows_its_path,
    )
)
