"""Newest first, and never one before what stands on it: whatever the clocks said."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from chartgate.model.write import Effect
from chartgate.policy.undo_order import Landed, newest_first
from chartgate.testing.clock import START


def landed(id_: str, at_s: float, *effects: tuple[str, int | None, int]) -> Landed:
    return Landed(
        id=id_,
        started_at=START + timedelta(seconds=at_s),
        effects=tuple(
            Effect(
                reference=reference,
                version_before=None if before is None else str(before),
                version_after=str(after),
            )
            for reference, before, after in effects
        ),
    )


def test_writes_of_different_charts_go_by_time() -> None:
    writes = [landed("old", 1, ("Slot/1", 1, 2)), landed("new", 2, ("Slot/2", 1, 2))]
    assert newest_first(writes) == ("new", "old")


def test_what_stands_on_another_goes_first_although_its_clock_was_slow() -> None:
    ground = landed("ground", 9, ("Task/1", 1, 2))
    on_top = landed("on-top", 1, ("Task/1", 2, 3))
    assert newest_first([ground, on_top]) == ("on-top", "ground")


def test_versions_in_a_circle_do_not_lose_a_write() -> None:
    writes = [landed("a", 1, ("Task/1", 1, 2)), landed("b", 2, ("Task/1", 2, 1))]
    assert newest_first(writes) == ("b", "a")


@given(st.data())
def test_every_write_is_there_once_and_after_all_that_stands_on_it(data: st.DataObject) -> None:
    versions = dict.fromkeys(("Task/1", "Task/2", "Slot/3"), 1)
    writes = []
    for number in range(data.draw(st.integers(0, 12))):
        touched = data.draw(st.sets(st.sampled_from(sorted(versions)), min_size=1))
        effects = [(r, versions[r], versions[r] + 1) for r in sorted(touched)]
        versions |= {r: after for r, _, after in effects}
        writes.append(landed(f"w{number}", data.draw(st.floats(-9, 9)), *effects))
    order = newest_first(data.draw(st.permutations(writes)))
    assert sorted(order) == sorted(w.id for w in writes)
    place = {id_: n for n, id_ in enumerate(order)}
    for write in writes:
        for other in writes:
            stands = any(
                e.reference == o.reference and o.version_before == e.version_after
                for e in write.effects
                for o in other.effects
            )
            assert not stands or place[other.id] < place[write.id]
