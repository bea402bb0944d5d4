"""Resources and differences as rows: readable, and complete."""

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chartgate.model.proposal import Difference
from chartgate.policy.differences import TEXT_LENGTH_MAX, TEXT_VIEW, leaf_changes
from chartgate.web.console.present import (
    ROWS_MAX,
    SAY_CUT,
    DiffRow,
    Row,
    attachment_text,
    groups_of,
    label_of,
    line_of,
    rows_of,
)

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(max_size=20)
    | st.just("2026-03-03")
)
NAMES = st.sampled_from(["status", "code", "coding", "system", "display", "text", "reference"])
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)


def difference(path: str, before: Any, after: Any, *, reference: str = "Task/1") -> Difference:
    return Difference(reference=reference, path=path, before=before, after=after)


def test_resource_is_shown_without_braces() -> None:
    rows = rows_of(
        {
            "resourceType": "Task",
            "id": "1",
            "meta": {"versionId": "3"},
            "status": "requested",
            "for": {"reference": "Patient/7"},
            "note": [{"text": "one"}, {"text": "two"}],
            "_intent": {"extension": [{"url": "x", "valueCode": "masked"}]},
        },
        {"Patient/7": "Ana Li"},
    )
    assert rows == (
        Row(label="Status", text="requested"),
        Row(label="For", text="Ana Li (Patient/7)"),
        Row(label="Note 1", text="one"),
        Row(label="Note 2", text="two"),
        Row(label="Intent", text="not shown by the charter"),
    )


def test_resource_with_very_many_elements_is_cut_and_says_so() -> None:
    rows = rows_of({"resourceType": "List", "x": [str(n) for n in range(ROWS_MAX + 5)]}, {})
    assert len(rows) == ROWS_MAX + 1
    assert rows[-1].text == "more elements are not shown here"


def test_line_says_when_there_is_more() -> None:
    assert line_of({"resourceType": "Slot", "status": "free"}, {}) == "free"
    assert line_of({"resourceType": "List", "x": [str(n) for n in range(20)]}, {}).endswith("· …")


def test_labels_are_words() -> None:
    assert label_of("executionPeriod.start") == "Execution period · start"
    assert label_of("slot[0].reference") == "Slot"
    assert label_of("participant[1].actor.reference") == "Participant 2 · actor"
    assert label_of("content[0].attachment.data (text)") == "Text"


def test_places_in_a_list_are_numbered_where_there_are_several() -> None:
    (group,) = groups_of(
        [difference(f"participant[{n}].status", None, "accepted") for n in (0, 1)], {}
    )
    assert [row.label for row in group.rows] == ["Participant 1 · status", "Participant 2 · status"]


def test_change_addition_and_removal_are_told_apart() -> None:
    (group,) = groups_of(
        [
            difference("status", "requested", "accepted"),
            difference("priority", None, "urgent"),
            difference("description", "x", None),
        ],
        {"Task/1": "Prior authorisation"},
    )
    assert (group.title, group.name, group.reference) == ("Task", "Prior authorisation", "Task/1")
    assert [row.kind for row in group.rows] == ["changed", "added", "removed"]
    assert group.kind == "changed"


def test_new_resource_is_called_new_and_its_type_is_not_said_twice() -> None:
    found = [
        difference("resourceType", None, "DocumentReference", reference="DocumentReference (new)"),
        difference("status", None, "current", reference="DocumentReference (new)"),
        difference("status", None, "current", reference="DocumentReference (new 2)"),
    ]
    first, second = groups_of(found, {})
    assert (first.title, first.kind, first.reference) == ("New document reference", "new", "")
    assert [row.label for row in first.rows] == ["Status"]
    assert second.title == "New document reference 2"


def test_coding_is_one_row_whichever_of_its_parts_change() -> None:
    (group,) = groups_of(
        [
            difference("type.coding[0].system", None, "http://loinc.org"),
            difference("type.coding[0].code", "11506-3", "18842-5"),
        ],
        {},
    )
    assert group.rows == (
        DiffRow(
            label="Type",
            before="11506-3",
            after="Discharge summary (LOINC 18842-5)",
            kind="changed",
        ),
    )


def test_second_coding_is_a_row_of_its_own() -> None:
    (group,) = groups_of([difference(f"code.coding[{n}].code", None, "a") for n in (0, 1)], {})
    assert [row.label for row in group.rows] == ["Code · code 1", "Code · code 2"]


def test_text_stands_in_for_its_base64_and_stays_whole() -> None:
    text = "line\n" * 3_000
    path = "content[0].attachment.data"
    (group,) = groups_of(
        [difference(path, None, "bGluZQ=="), difference(path + TEXT_VIEW, None, text)], {}
    )
    assert [(row.label, row.after) for row in group.rows] == [("Text", text)]


def test_text_that_was_cut_says_so() -> None:
    text = "x" * TEXT_LENGTH_MAX
    (group,) = groups_of([difference("a.data" + TEXT_VIEW, None, text)], {})
    assert group.rows[0].after.endswith(SAY_CUT)


def test_two_values_in_the_same_words_are_shown_as_data() -> None:
    (group,) = groups_of(
        [
            difference("start", "2026-03-03T09:00:00Z", "2026-03-03T09:00:00+00:00"),
            difference("active", True, "yes"),
        ],
        {},
    )
    assert [(row.before, row.after) for row in group.rows] == [
        ('"2026-03-03T09:00:00Z"', '"2026-03-03T09:00:00+00:00"'),
        ("true", '"yes"'),
    ]


@given(JSON, JSON)
def test_every_difference_is_seen(before: Any, after: Any) -> None:
    """No row looks the same on both sides, and each changed leaf has a row."""
    found = [
        difference(path, old, new)
        for path, old, new in leaf_changes({"element": before}, {"element": after})
    ]
    rows = [row for group in groups_of(found, {}) for row in group.rows]
    assert all(row.before != row.after for row in rows)
    assert bool(rows) == bool(found)
    assert len(rows) <= len(found)


def test_first_plain_text_is_the_note() -> None:
    def holding(*attachments: Any) -> dict[str, Any]:
        return {"content": [{"attachment": a} for a in attachments]}

    pdf = {"contentType": "application/pdf", "data": "JVBERi0="}
    text = {"contentType": "text/plain; charset=utf-8", "data": base64.b64encode(b"hi").decode()}
    assert attachment_text(holding(pdf, text)) == "hi"
    assert attachment_text(holding(text | {"data": "aGk\n="})) == "hi"
    for broken in (
        None,
        {},
        {"content": "x"},
        {"content": [7, {"attachment": 7}]},
        holding(pdf),
        holding(text | {"data": "%%"}),
        holding(text | {"data": "/w=="}),
    ):
        assert attachment_text(broken) is None
