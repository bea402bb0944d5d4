"""Sameness beyond what a server fills in by itself."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.adapters.fhir_r4.compare import differing_paths, patched, undone_operations
from chartgate.adapters.fhir_r4.dialect import load_dialect
from chartgate.adapters.fhir_r4.marks import MARKER_SYSTEM, bears_marker, marked, without_marker

SENT: dict[str, Any] = {
    "resourceType": "Appointment",
    "status": "booked",
    "participant": [{"status": "accepted"}, {"status": "accepted"}],
}
RESOURCES = st.dictionaries(
    st.sampled_from(["status", "text", "identifier_", "a", "b"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
        ),
        max_leaves=8,
    ),
)


def test_servers_own_elements_and_our_mark_do_not_count() -> None:
    stored = {
        **marked(SENT, "m-1", load_dialect("generic")),
        "id": "1",
        "meta": {"versionId": "1", "lastUpdated": "2026", "source": "#a"},
        "text": {"status": "generated"},
    }
    assert differing_paths(SENT, stored, ()) == []


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({"status": "pending"}, ["status"]),
        ({"comment": "added"}, ["comment"]),
        ({"participant": [{"status": "accepted"}]}, ["participant"]),
        (
            {"participant": [{"status": "accepted"}, {"status": "declined"}]},
            ["participant[1].status"],
        ),
        ({"meta": {"profile": ["http://x"]}}, ["meta"]),
    ],
)
def test_what_the_system_changed_is_named(change: dict[str, Any], paths: list[str]) -> None:
    assert differing_paths(SENT, {**SENT, **change}, ()) == paths


def test_what_the_dialect_names_is_passed_over() -> None:
    stored = {**SENT, "meta": {"project": "p", "profile": []}, "created": "2026"}
    assert differing_paths(SENT, stored, ("meta.project", "meta.profile", "created")) == []
    assert stored["meta"] == {"project": "p", "profile": []}, "the copy compared is not ours to cut"


def test_truth_is_not_a_number() -> None:
    assert differing_paths({"a": True}, {"a": 1}, ()) == ["a"]
    assert differing_paths({"a": 1}, {"a": 1.0}, ()) == []


@given(RESOURCES, RESOURCES)
def test_difference_is_symmetric_and_none_means_equal(
    left: dict[str, Any], right: dict[str, Any]
) -> None:
    before = deepcopy((left, right))
    forth, back = differing_paths(left, right, ()), differing_paths(right, left, ())
    assert forth == back
    assert not differing_paths(left, left, ())
    assert (left, right) == before


@given(RESOURCES, st.sampled_from(["identifier", "tag"]))
def test_mark_can_be_taken_off_again(resource: dict[str, Any], place: str) -> None:
    dialect = load_dialect("generic")
    kind = "Task" if place == "identifier" else "Composition"
    plain = {**resource, "resourceType": kind}
    bearing = marked(plain, "m-1", dialect)
    assert bears_marker(bearing, "m-1")
    assert not bears_marker(bearing, "m-2")
    assert not bears_marker(plain, "m-1")
    bare = without_marker(bearing)
    bare.pop("meta") if bare.get("meta") == {} else None
    assert bare == plain
    mine = "tag" if place == "tag" else "identifier"
    holder = bearing["meta"] if place == "tag" else bearing
    assert holder[mine][0]["system"] == MARKER_SYSTEM


@pytest.mark.parametrize(
    ("operation", "holds"),
    [
        ({"op": "replace", "path": "/status", "value": "booked"}, True),
        ({"op": "replace", "path": "/status", "value": "free"}, False),
        ({"op": "add", "path": "/comment", "value": "x"}, False),
        ({"op": "remove", "path": "/comment"}, True),
        ({"op": "remove", "path": "/status"}, False),
        ({"op": "add", "path": "/participant/-", "value": {"status": "accepted"}}, True),
        ({"op": "add", "path": "/participant/-", "value": {"status": "declined"}}, False),
        ({"op": "replace", "path": "/participant/1/status", "value": "accepted"}, True),
        ({"op": "replace", "path": "/participant/7/status", "value": "accepted"}, False),
        ({"op": "test", "path": "/status", "value": "free"}, True),
    ],
)
def test_patch_is_checked_where_it_wrote(operation: dict[str, Any], holds: bool) -> None:
    assert (undone_operations(SENT, [operation]) == []) == holds


def test_patch_that_does_not_apply_gives_nothing() -> None:
    assert patched(SENT, [{"op": "remove", "path": "/none"}]) is None
    assert patched(SENT, [{"op": "test", "path": "/status", "value": "x"}]) is None
    assert patched(SENT, [{"op": "nonsense", "path": "/status"}]) is None
    assert patched(SENT, [{"op": "replace", "path": "", "value": 3}]) is None
    changed = patched(SENT, [{"op": "replace", "path": "/status", "value": "free"}])
    assert changed == {**SENT, "status": "free"}
    assert SENT["status"] == "booked"
