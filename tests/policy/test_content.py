"""What a proposal may hold."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chartgate.errors import ChartgateError, Invalid, TooLarge, Unprocessable
from chartgate.model.charter import WriteRule
from chartgate.model.write import change_json
from chartgate.policy.content import check_changes, check_resource, parse_changes
from tests.policy.test_decide import BOOK

APPOINTMENT: dict[str, Any] = {
    "resourceType": "Appointment",
    "status": "booked",
    "participant": [{"actor": {"reference": "Patient/7"}, "status": "accepted"}],
}
SLOT: dict[str, Any] = {
    "resourceType": "Slot",
    "id": "12",
    "schedule": {"reference": "Schedule/1"},
    "status": "free",
    "start": "2026-03-03T09:00:00Z",
    "end": "2026-03-03T09:30:00Z",
}
ACTION = BOOK.get("clinic-booking").proposes["book"]
TASK_ACTION = BOOK.get("prior-authorisation").proposes["update-status"]


def patch(*operations: dict[str, Any], reference: str = "Slot/12") -> dict[str, Any]:
    return {"interaction": "patch", "reference": reference, "patch": list(operations)}


def replaced(path: str, value: Any = "busy") -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def test_changes_when_parsed_then_their_json_form_comes_back() -> None:
    raw = [
        {"interaction": "create", "resource": APPOINTMENT},
        {**patch(replaced("/status")), "ifMatch": "3"},
        {"interaction": "update", "resource": SLOT, "ifMatch": "3"},
    ]
    changes = parse_changes(raw)
    assert [change_json(c) for c in changes] == raw
    assert [c.reference for c in changes] == [None, "Slot/12", "Slot/12"]
    assert [c.resource_type for c in changes] == ["Appointment", "Slot", "Slot"]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (None, "a list of at least one"),
        ([], "a list of at least one"),
        (["x"], "must be an object"),
        ([{"interaction": "delete", "reference": "Slot/1"}], "may not delete"),
        ([{"interaction": "upsert"}], "create, update, patch, status or cancel"),
        ([{}], "create, update, patch, status or cancel"),
        ([{"interaction": "create", "resource": APPOINTMENT, "ifmatch": "1"}], "no key ifmatch"),
        ([{"interaction": "create", "resource": APPOINTMENT, "ifMatch": "1"}], "no key ifMatch"),
        ([{"interaction": "create"}], "must be a FHIR R4 resource"),
        ([{"interaction": "create", "resource": {"resourceType": "Foo"}}], "FHIR R4 resource"),
        ([{"interaction": "create", "resource": {**APPOINTMENT, "id": "1"}}], "gives a new"),
        ([{"interaction": "update", "resource": APPOINTMENT}], "the id of what is updated"),
        ([{"interaction": "update", "resource": {**SLOT, "id": "../x"}}], "the id of what"),
        ([{"interaction": "update", "resource": SLOT, "ifMatch": 3}], "as a text"),
        ([patch(reference="Slot")], "must be like Slot/12"),
        ([patch(reference="Foo/1")], "must be like Slot/12"),
        ([patch(reference="http://x/Slot/1")], "must be like Slot/12"),
        ([patch()], "at least one RFC 6902"),
        ([patch({"op": "move", "from": "/a", "path": "/b"})], "must be one of add, remove"),
        ([patch({"op": "copy", "from": "/a", "path": "/b"})], "must be one of add, remove"),
        ([patch({"op": "add", "path": "/status"})], "must have the keys op, path, value"),
        ([patch({"op": "remove", "path": "/status", "value": 1})], "must have the keys op, path"),
        ([patch(replaced(""))], "a JSON Pointer"),
        ([patch(replaced("status"))], "a JSON Pointer"),
        ([patch(replaced("/status~2"))], "a JSON Pointer"),
    ],
)
def test_changes_when_malformed_then_the_sentence_says_where(raw: Any, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        parse_changes(raw)


@pytest.mark.parametrize(
    "raw",
    [
        [{"interaction": "create", "resource": APPOINTMENT}] * 21,
        [patch(*[replaced("/status")] * 101)],
        [{"interaction": "create", "resource": {**APPOINTMENT, "comment": "x" * 1_000_001}}],
    ],
)
def test_changes_when_more_than_a_person_can_review_then_too_large(raw: Any) -> None:
    with pytest.raises(TooLarge):
        parse_changes(raw)


def test_booking_when_it_stays_inside_its_charter_then_it_passes() -> None:
    raw = [{"interaction": "create", "resource": APPOINTMENT}, patch(replaced("/status"))]
    check_changes(ACTION, parse_changes(raw))


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"interaction": "update", "resource": SLOT}, "book may not update Slot"),
        (patch(replaced("/status"), reference="Task/1"), "book may not patch Task"),
        (patch(replaced("/start")), "does not let Slot.start be written"),
        (patch(replaced("/status"), replaced("/comment")), "Slot.comment"),
        (patch({"op": "test", "path": "/comment", "value": "x"}), "Slot.comment"),
        (patch(replaced("/meta/versionId")), "Slot.meta may not be written"),
        (patch(replaced("/id")), "Slot.id may not be written"),
        (patch({"op": "remove", "path": "/text"}), "Slot.text may not be written"),
        (patch(replaced("/modifierExtension/0")), "modifierExtension may not be written"),
        (patch(replaced("/st~0atus")), "does not let"),
        (
            {"interaction": "create", "resource": {**APPOINTMENT, "meta": {"tag": []}}},
            "Appointment.meta may not be written",
        ),
        (
            {"interaction": "create", "resource": {**APPOINTMENT, "text": {"div": "x"}}},
            "Appointment.text may not be written",
        ),
        (
            {"interaction": "create", "resource": {**APPOINTMENT, "contained": []}},
            "Appointment.contained may not be written",
        ),
        (
            {
                "interaction": "create",
                "resource": {**APPOINTMENT, "identifier": [{"system": "urn:chartgate:proposal"}]},
            },
            "Chartgate's own",
        ),
        (
            {
                "interaction": "create",
                "resource": {**APPOINTMENT, "extension": [{"url": " URN:chartgate:x"}]},
            },
            "Chartgate's own",
        ),
        (patch(replaced("/status", "urn:chartgate:x")), "Chartgate's own"),
    ],
)
def test_change_when_it_leaves_its_charter_then_it_is_refused(
    raw: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Unprocessable, match=sentence):
        check_changes(ACTION, parse_changes([raw]))


def test_patient_when_a_patch_would_change_whom_it_is_about_then_it_is_refused() -> None:
    action = replace(TASK_ACTION, writes=(WriteRule(interaction="patch", resource_type="Task"),))
    raw = [patch(replaced("/for/reference", "Patient/8"), reference="Task/1")]
    with pytest.raises(Unprocessable, match="whom it is about"):
        check_changes(action, parse_changes(raw))


def test_test_operation_when_any_element_may_be_written_then_it_cannot_ask_questions() -> None:
    action = replace(TASK_ACTION, writes=(WriteRule(interaction="patch", resource_type="Task"),))
    raw = [patch({"op": "test", "path": "/description", "value": "x"}, reference="Task/1")]
    with pytest.raises(Unprocessable, match="could tell"):
        check_changes(action, parse_changes(raw))


def test_update_when_it_sends_back_a_minimised_copy_then_it_is_refused() -> None:
    """It would lose what the AI was not shown."""
    action = replace(ACTION, writes=(WriteRule(interaction="update", resource_type="Slot"),))
    check_changes(action, parse_changes([{"interaction": "update", "resource": SLOT}]))
    shown = {**SLOT, "meta": {"tag": [{"code": "SUBSETTED"}]}}
    with pytest.raises(Unprocessable, match="would lose the rest"):
        check_changes(action, parse_changes([{"interaction": "update", "resource": shown}]))


def test_choice_when_its_base_is_listed_then_its_types_may_be_written() -> None:
    rule = WriteRule(
        interaction="create", resource_type="Observation", elements=("status", "value")
    )
    action = replace(ACTION, writes=(rule,))
    raw = {"resourceType": "Observation", "status": "final", "valueString": "x"}
    check_changes(action, parse_changes([{"interaction": "create", "resource": raw}]))
    coded = parse_changes([{"interaction": "create", "resource": {**raw, "code": {}}}])
    with pytest.raises(Unprocessable, match=r"Observation\.code"):
        check_changes(action, coded)


def test_resource_when_it_was_already_so_then_a_change_is_not_blamed() -> None:
    messy = {**SLOT, "status": "old-code"}
    with pytest.raises(Unprocessable, match=r"Slot\.status"):
        check_resource(messy)
    check_resource({**messy, "comment": "x"}, before=messy)
    with pytest.raises(Unprocessable, match=r"Slot\.comment"):
        check_resource({**messy, "comment": 5}, before=messy)


def test_resource_when_much_is_wrong_then_the_first_places_are_named() -> None:
    wrong = {"resourceType": "Slot", **{f"x{n}": 1 for n in range(9)}}
    with pytest.raises(Unprocessable, match="and 8 more"):
        check_resource(wrong)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
changes_like = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "interaction": st.sampled_from(["create", "update", "patch", "delete", 5]),
            "resource": st.sampled_from([APPOINTMENT, SLOT]) | json_values,
            "reference": st.sampled_from(["Slot/12", "x", None]) | json_values,
            "patch": st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "op": st.sampled_from(["add", "remove", "replace", "test", "move", 1]),
                        "path": st.sampled_from(["/status", "/meta/tag", "", "/a~1b"])
                        | json_values,
                        "value": json_values,
                    },
                ),
                max_size=3,
            )
            | json_values,
            "ifMatch": st.sampled_from(["1", "", 3]),
        },
    )
    | json_values,
    max_size=3,
)


@settings(max_examples=300, deadline=None)
@given(raw=changes_like)
def test_any_json_is_taken_or_refused_by_one_of_our_errors(raw: Any) -> None:
    try:
        check_changes(ACTION, parse_changes(raw))
    except ChartgateError:
        return
    assert isinstance(raw, list)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/comment", "Slot.comment"),
        ("/_comment/extension", "Slot.comment"),
        ("/a~1b~0c/deeper", "Slot.a/b~c"),
        ("/a~01", "Slot.a~1"),
        (f"/{'x' * 70}", f"Slot.{'x' * 64}"),
    ],
)
def test_patch_of_what_is_not_listed_is_told_by_its_element(path: str, named: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        check_changes(ACTION, parse_changes([patch(replaced(path))]))
    assert str(caught.value) == f"changes[0]: the charter does not let {named} be written"


def test_patch_may_write_the_types_of_a_choice_that_is_listed() -> None:
    rule = WriteRule(interaction="patch", resource_type="Observation", elements=("value",))
    action = replace(ACTION, writes=(rule,))
    written = patch(replaced("/valueString"), reference="Observation/1")
    check_changes(action, parse_changes([written]))


def test_test_operation_on_what_is_listed_passes() -> None:
    tested = {"op": "test", "path": "/status", "value": "free"}
    check_changes(ACTION, parse_changes([patch(tested, replaced("/status"))]))


@pytest.mark.parametrize(("count", "more"), [(5, ""), (6, "; and 1 more"), (7, "; and 2 more")])
def test_resource_that_is_wrong_is_told_with_five_places_at_most(count: int, more: str) -> None:
    five = {"resourceType": "Schedule", "actor": [{"reference": "Location/1"}]}
    with pytest.raises(Unprocessable) as caught:
        check_resource({**five, **{f"x{n}": 1 for n in range(count)}})
    sentence = str(caught.value)
    assert sentence.startswith("not well-formed FHIR R4: ")
    assert sentence.count("; ") == min(count, 5) - 1 + bool(more)
    assert sentence.endswith(more)
    assert ("more" in sentence) == bool(more)
