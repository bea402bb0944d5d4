"""Before our write, as we wrote it, and now: each element that differs, once."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chartgate.policy.three_way import ThreeWay, three_way

BEFORE = {"resourceType": "Slot", "id": "1", "meta": {"versionId": "1"}, "status": "free"}
WRITTEN = {**BEFORE, "meta": {"versionId": "2"}, "status": "busy"}


def test_chart_that_stands_shows_only_what_was_written() -> None:
    now = {**WRITTEN, "meta": {"versionId": "9"}}
    (line,) = three_way(BEFORE, WRITTEN, now)
    assert line == ThreeWay(path="status", before="free", written="busy", now="busy")
    assert not line.moved_on


def test_what_somebody_changed_since_comes_first() -> None:
    now = {**WRITTEN, "comment": "by the window"}
    first, second = three_way(BEFORE, WRITTEN, now)
    assert (first.path, first.written, first.now) == ("comment", None, "by the window")
    assert first.moved_on
    assert second.path == "status"
    assert not second.moved_on


def test_what_was_created_has_no_before_and_what_is_gone_no_now() -> None:
    (line,) = three_way(None, {"resourceType": "Slot"}, None)
    assert (line.before, line.written, line.now) == (None, "Slot", None)


def test_true_is_not_one() -> None:
    (line,) = three_way({"a": 1}, {"a": 1}, {"a": True})
    assert line.moved_on


RESOURCES = st.dictionaries(
    st.sampled_from(["status", "comment", "participant"]),
    st.one_of(st.integers(0, 2), st.lists(st.dictionaries(st.just("x"), st.integers(0, 2)))),
)


@given(RESOURCES, RESOURCES, RESOURCES)
def test_lines_are_there_exactly_where_something_differs(
    before: dict[str, Any], written: dict[str, Any], now: dict[str, Any]
) -> None:
    lines = three_way(before, written, now)
    assert len({line.path for line in lines}) == len(lines)
    assert bool(lines) == (not before == written == now)
    assert any(line.moved_on for line in lines) == (written != now)
