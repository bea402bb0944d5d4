"""What each kind of write needs; knowing less never permits more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.adapters.fhir_r4.dialect import PROBED, Habits, load_dialect
from chartgate.adapters.fhir_r4.preconditions import (
    ALONE,
    COMMON,
    SAY_APART,
    TOGETHER,
    goes_apart,
    lines_missing,
    why_off,
    write_rights,
)
from chartgate.adapters.fhir_r4.remedies import REMEDIES, remedy
from chartgate.model.verdict import Verdicts
from chartgate.model.write import Change, Write
from chartgate.testing.builders import task

GENERIC = load_dialect("generic")
# Lines that say how a system is best spoken to, and permit nothing by themselves.
TOLD = {
    "etag_weak",
    "conditional_read",
    "read_your_writes",
    "history",
    "if_match_in_batch",
    "wait_told",
    "clock_agrees",
}
GATING = sorted(set(PROBED) - TOLD)
CREATE = Write(
    marker="m", changes=(Change(interaction="create", resource_type="Task", resource=task()),)
)


def habits(*failing: str) -> Habits:
    return Habits(GENERIC, {line: (line not in failing, "seen") for line in PROBED})


def on(found: Habits) -> set[str]:
    return {right.kind for right in write_rights("north-ehr", found) if right.on}


def test_all_is_on_where_all_holds_and_nothing_where_nothing_is_known() -> None:
    assert len(on(habits())) == 8
    assert on(Habits(GENERIC, {})) == set()
    assert "nothing is known of it yet" in why_off("north-ehr", CREATE, Habits(GENERIC, {}))


@pytest.mark.parametrize("line", sorted(COMMON))
def test_what_every_write_needs_turns_all_of_them_off(line: str) -> None:
    assert on(habits(line)) == set()


@pytest.mark.parametrize("line", GATING)
def test_line_that_counts_turns_something_off_or_has_another_way(line: str) -> None:
    alone = {"if_match_on_patch", "patch_test", "patch_in_transaction"}
    if line == "cancel":
        assert lines_missing(CREATE, habits(line)) == ("cancel",)
    elif line in alone:
        assert len(on(habits(line))) == 8, "there is another way"
    else:
        assert len(on(habits(line))) < 8
    assert line in REMEDIES or remedy(line)


@pytest.mark.parametrize("line", sorted(TOLD))
def test_line_that_only_tells_turns_nothing_off(line: str) -> None:
    assert len(on(habits(line))) == 8


BOOKING = Write(
    marker="m",
    changes=(
        Change(interaction="create", resource_type="Task", resource=task()),
        Change(
            interaction="patch",
            resource_type="Slot",
            reference="Slot/1",
            patch=({"op": "replace", "path": "/status", "value": "busy"},),
            if_match="1",
        ),
    ),
)


def test_changes_go_apart_only_where_they_cannot_go_as_one() -> None:
    assert not goes_apart(BOOKING, habits())
    assert goes_apart(BOOKING, habits("transaction_atomic"))
    assert not goes_apart(CREATE, habits("transaction_atomic")), "it is one"
    assert not goes_apart(BOOKING, Habits(GENERIC, {})), "nothing is known"


@pytest.mark.parametrize(
    "line",
    [
        *sorted(COMMON),
        "if_none_exist",
        "if_none_exist_race",
        "marker_survives",
        "cancel",
        "if_match_on_put",
    ],
)
def test_changes_that_could_not_go_alone_or_be_taken_back_are_not_begun(line: str) -> None:
    assert not goes_apart(BOOKING, habits("transaction_atomic", line))


def test_what_only_a_delete_takes_back_needs_one_that_is_guarded() -> None:
    plan = Change(interaction="create", resource_type="Basic", resource={"resourceType": "Basic"})
    assert "Basic" not in GENERIC.stand_ins
    write = Write(marker="m", changes=(plan, plan))
    assert goes_apart(write, habits("transaction_atomic"))
    assert not goes_apart(write, habits("transaction_atomic", "if_match_on_delete"))
    undo = Change(interaction="delete", resource_type="Basic", reference="Basic/1", if_match="1")
    assert not goes_apart(Write(marker="m", changes=(undo, undo)), habits("transaction_atomic"))


def test_rights_say_that_several_go_one_after_the_other() -> None:
    rights = {r.kind: r for r in write_rights("north-ehr", habits("transaction_atomic"))}
    right = rights["update, several together"]
    assert not right.on
    assert right.sentence.endswith(SAY_APART)
    rights = {r.kind: r for r in write_rights("north-ehr", habits("etag_present"))}
    assert SAY_APART not in rights["update, several together"].sentence


def test_patch_is_off_once_none_of_its_ways_holds() -> None:
    failing = habits("if_match_on_patch", "patch_test", "if_match_on_put")
    assert "patch" not in on(failing)


def test_sentence_names_the_line_what_was_seen_and_what_to_do() -> None:
    sentence = why_off("north-ehr", CREATE, habits("if_none_exist"))
    assert sentence == (
        "writes of this kind to north-ehr are off: `chartgate probe north-ehr` has not shown"
        " if_none_exist: a second create with the same If-None-Exist creates nothing (seen). Have"
        " conditional create (If-None-Exist) switched on there, or let staff create by hand, then"
        " run `chartgate probe north-ehr` again"
    )


def test_sentence_of_a_system_that_does_nothing_right_stays_short() -> None:
    sentence = why_off("north-ehr", CREATE, habits(*PROBED))
    assert len(sentence) < 700
    assert "; and 6 more" in sentence
    assert "create: a create is answered with 201" in sentence, "what it all hangs on comes first"


@given(
    st.dictionaries(st.sampled_from(list(PROBED)), st.booleans()),
    st.sampled_from(list(PROBED)),
)
def test_failing_one_line_more_never_turns_a_write_on(known: dict[str, bool], line: str) -> None:
    before: Verdicts = {name: (holds, "") for name, holds in known.items()}
    after: Verdicts = {**before, line: (False, "")}
    assert on(Habits(GENERIC, after)) <= on(Habits(GENERIC, before))
    missing = lines_missing(CREATE, Habits(GENERIC, before))
    assert set(missing) <= set(lines_missing(CREATE, Habits(GENERIC, after)))


def test_tables_name_lines_that_there_are() -> None:
    for table in (ALONE, TOGETHER):
        for ways in table.values():
            assert all(way <= PROBED.keys() for way in ways)
    assert REMEDIES.keys() <= PROBED.keys()
