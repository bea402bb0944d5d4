"""A write comes back as it was stored, and its steps are the whole, one by one."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chartgate.model.write import (
    Change,
    Effect,
    Write,
    create_marks,
    effects_bytes,
    effects_from,
    steps_of,
    write_bytes,
    write_from,
)

CREATE = Change(
    interaction="create", resource_type="Task", resource={"resourceType": "Task", "status": "draft"}
)
PATCH = Change(
    interaction="patch",
    resource_type="Slot",
    reference="Slot/1",
    patch=({"op": "replace", "path": "/status", "value": "busy"},),
    if_match="1",
)
WRITES = st.builds(
    Write,
    marker=st.sampled_from(["p-1", "p-1.again1"]),
    changes=st.lists(st.sampled_from([CREATE, PATCH]), min_size=1, max_size=6).map(tuple),
    through=st.sampled_from(["", "lab"]),
    apart=st.booleans(),
)
EFFECTS = st.builds(
    Effect,
    reference=st.sampled_from(["Slot/1", "Task/9"]),
    version_before=st.sampled_from([None, "1"]),
    version_after=st.sampled_from([None, "2"]),
)


@given(WRITES)
def test_write_comes_back_as_it_was_stored(write: Write) -> None:
    assert write_from(write_bytes(write)) == write


def test_write_that_goes_as_one_is_stored_as_before() -> None:
    """What older versions stored is read, and the other way round."""
    write = Write(marker="p-1", changes=(PATCH,))
    assert b"apart" not in write_bytes(write)
    assert b"apart" in write_bytes(replace(write, apart=True))


@given(WRITES)
def test_steps_are_the_whole_with_the_marks_that_it_has(write: Write) -> None:
    steps = steps_of(write)
    assert tuple(step.changes[0] for step in steps) == write.changes
    assert all(len(step.changes) == 1 and not step.apart for step in steps)
    assert all(step.through == write.through for step in steps)
    marks = [mark for step in steps for mark in create_marks(step)]
    assert marks == list(create_marks(write))
    ours = [mark for mark in marks if mark is not None]
    assert len(set(ours)) == len(ours), "each create has one of its own"


@given(st.lists(EFFECTS))
def test_effects_come_back_as_they_were_stored(effects: list[Effect]) -> None:
    assert effects_from(effects_bytes(effects)) == tuple(effects)
