"""What the AI saw, what it proposes, what is there now."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chartgate.model.proposal import Difference
from chartgate.policy.seen_proposed_now import seen_proposed_now


def changed(path: str, before: Any, after: Any) -> Difference:
    return Difference(reference="Slot/1", path=path, before=before, after=after)


def test_each_element_says_who_changes_it_and_conflicts_come_first() -> None:
    lines = seen_proposed_now(
        [changed("status", "free", "busy"), changed("start", 1, 2), changed("end", 5, 6)],
        [changed("start", 1, 3), changed("comment", None, "x"), changed("end", 5, 6)],
    )
    assert [(x.path, x.kind, x.seen, x.proposed, x.now) for x in lines] == [
        ("start", "conflict", 1, 2, 3),
        ("comment", "moved", None, None, "x"),
        ("status", "proposed", "free", "busy", "free"),
        ("end", "agreed", 5, 6, 6),
    ]


def test_part_of_what_the_chart_changed_is_a_conflict() -> None:
    for ours, theirs in (("code.text", "code"), ("code", "code.text"), ("slot", "slot[0].display")):
        kinds = {
            x.path: x.kind
            for x in seen_proposed_now([changed(ours, 1, 2)], [changed(theirs, 1, 3)])
        }
        assert kinds == {ours: "conflict", theirs: "moved"}
    (line, _) = seen_proposed_now([changed("status", 1, 2)], [changed("statusReason", 1, 3)])
    assert {line.kind} == {"moved"}


def test_true_is_not_one() -> None:
    (line,) = seen_proposed_now([changed("a", 0, 1)], [changed("a", 0, True)])
    assert line.kind == "conflict"


CHANGES = st.dictionaries(
    st.sampled_from(["status", "start", "end", "comment"]), st.integers(0, 3), max_size=4
)


@given(CHANGES, CHANGES)
def test_every_change_of_either_side_is_a_line_once(
    ours: dict[str, int], theirs: dict[str, int]
) -> None:
    lines = seen_proposed_now(
        [changed(p, None, v) for p, v in ours.items()],
        [changed(p, None, v) for p, v in theirs.items()],
    )
    assert sorted(x.path for x in lines) == sorted({*ours, *theirs})
    for line in lines:
        both = line.path in ours and line.path in theirs
        assert (line.kind in ("conflict", "agreed")) == both
        assert line.now == theirs.get(line.path)
