"""What stands, in a sentence: each reference is named once, under what became of it."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from chartgate.flows.partial import state_of_commit, state_of_rollback
from chartgate.model.write import Change, Effect, Prepared, Write
from chartgate.store.proposals import Attempt

AT = datetime(2026, 3, 2, tzinfo=UTC)


def attempt(count: int, done: int, *, backwards: bool = False) -> Attempt:
    numbers = range(count, 0, -1) if backwards else range(1, count + 1)
    references = [f"Slot/{number}" for number in numbers]
    changes = tuple(
        Change(interaction="patch", resource_type="Slot", reference=r, if_match="1")
        for r in references
    )
    effects = tuple(
        Effect(reference=r, version_before="1", version_after="2") for r in references[:done]
    )
    prepared = Prepared(write=Write(marker="m", changes=changes, apart=True), before=())
    return Attempt(number=1, prepared=prepared, started_at=AT, verdict=None, done=effects)


def test_what_was_created_has_no_name_before() -> None:
    one = attempt(1, 0)
    created = Change(interaction="create", resource_type="Appointment")
    write = Write(marker="m", changes=(created, *one.prepared.write.changes), apart=True)
    made = Attempt(
        number=1, prepared=Prepared(write=write, before=()), started_at=AT, verdict=None, done=()
    )
    assert "a new Appointment, Slot/1 were not written" in state_of_commit(made)


def test_what_is_next_may_be_in_doubt() -> None:
    assert state_of_commit(attempt(3, 1), unsure=True) == (
        "it was written in part: Slot/1 was written and stands; Slot/3 was not written; what became"
        " of Slot/2 could not be found out; look at the record"
    )
    assert state_of_commit(attempt(3, 3), attempt(3, 1, backwards=True), unsure=True) == (
        "it was written in part: Slot/1 was written and stands; Slot/3 was taken back; what became"
        " of Slot/2 could not be found out; look at the record"
    )
    assert state_of_rollback(attempt(2, 1), unsure=True) == (
        "it was taken back in part: Slot/1 was taken back; what became of Slot/2 could not be found"
        " out; look at the record"
    )


@given(st.integers(1, 9), st.data(), st.booleans())
def test_each_change_is_named_once(count: int, data: st.DataObject, unsure: bool) -> None:
    done = data.draw(st.integers(0, count))
    undone = data.draw(st.integers(0, done))
    undo = attempt(done, undone, backwards=True) if data.draw(st.booleans()) else None
    for said in (
        state_of_commit(attempt(count, done), undo, unsure=unsure),
        state_of_rollback(attempt(count, done), unsure=unsure),
    ):
        for number in range(1, count + 1):
            assert said.count(f"Slot/{number}") == 1
