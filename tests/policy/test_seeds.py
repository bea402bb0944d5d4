"""Known-bad versions: one mistake each, well-formed, in the same resources."""

import base64
from typing import Any

import pytest

from chartgate.model.write import Change
from chartgate.policy.content import check_resource
from chartgate.policy.seeds import NOBODY, SENTENCES, TEMPLATES, bad_versions


def create(resource: dict[str, Any]) -> Change:
    return Change(interaction="create", resource_type=resource["resourceType"], resource=resource)


DOSE = {
    "resourceType": "MedicationRequest",
    "status": "active",
    "intent": "order",
    "medicationCodeableConcept": {"text": "Metformin"},
    "subject": {"reference": "Patient/7"},
    "authoredOn": "2026-03-02T09:00:00Z",
    "dosageInstruction": [
        {
            "text": "Into the left eye",
            "doseAndRate": [
                {
                    "doseQuantity": {
                        "value": 500,
                        "unit": "mg",
                        "system": "http://unitsofmeasure.org",
                        "code": "mg",
                    }
                }
            ],
        }
    ],
}
NOTE = {
    "resourceType": "DocumentReference",
    "status": "current",
    "content": [
        {
            "attachment": {
                "contentType": "text/plain",
                "data": base64.b64encode(b"Pain in the Right knee.").decode(),
                "size": 23,
            }
        }
    ],
}
PATCH = Change(
    interaction="patch",
    resource_type="Task",
    reference="Task/1",
    patch=(
        {"op": "test", "path": "/status", "value": "requested"},
        {"op": "replace", "path": "/status", "value": "accepted"},
        {"op": "add", "path": "/executionPeriod", "value": {"start": "2026-03-02T09:00:00Z"}},
    ),
    if_match="3",
)


def made(*changes: Change) -> dict[str, tuple[Change, ...]]:
    return {seed.name: seed.changes for seed in bad_versions(changes)}


def test_every_template_has_a_sentence_for_the_reviewer() -> None:
    assert set(SENTENCES) == set(TEMPLATES)


def test_dose_is_wrong_by_unit_by_ten_by_side_by_day_or_by_state() -> None:
    found = made(create(DOSE))
    assert set(found) == {"unit", "tenfold", "side", "day", "status"}

    def dose(name: str) -> Any:
        return (found[name][0].resource or {})["dosageInstruction"][0]

    def quantity(name: str) -> Any:
        return dose(name)["doseAndRate"][0]["doseQuantity"]

    assert (quantity("unit")["unit"], quantity("unit")["code"]) == ("g", "g")
    assert quantity("unit")["value"] == 500
    assert quantity("tenfold") == {**quantity("side"), "value": 5000}
    assert dose("side")["text"] == "Into the right eye"
    assert found["day"][0].resource["authoredOn"] == "2027-03-01T09:00:00Z"  # type: ignore[index]
    assert found["status"][0].resource["status"] == "stopped"  # type: ignore[index]


def test_note_is_about_somebody_else_or_the_other_side() -> None:
    found = made(create(NOTE))
    assert set(found) == {"name", "side", "status"}

    def text(name: str) -> str:
        resource = found[name][0].resource
        assert resource is not None
        attachment = resource["content"][0]["attachment"]
        assert "size" not in attachment, "it would not be the text's"
        return base64.b64decode(attachment["data"]).decode()

    assert text("name") == f"{NOBODY}\nPain in the Right knee."
    assert text("side") == "Pain in the Left knee."


def test_patch_is_wrong_in_what_it_sets_and_right_in_what_it_tests() -> None:
    found = made(PATCH)
    assert set(found) == {"day", "status"}
    tested, changed, _ = found["status"][0].patch
    assert tested == PATCH.patch[0]
    assert changed["value"] == "rejected"
    assert found["day"][0].patch[2]["value"] == {"start": "2027-03-01T09:00:00Z"}
    assert found["day"][0].if_match == "3"


@pytest.mark.parametrize("changes", [(create(DOSE),), (create(NOTE),), (PATCH, create(DOSE))])
def test_one_change_alone_is_wrong_and_what_is_made_is_well_formed(
    changes: tuple[Change, ...],
) -> None:
    before = repr(changes)
    for seed in bad_versions(changes):
        wrong = [one for one, other in zip(seed.changes, changes, strict=True) if one != other]
        assert len(wrong) == 1, seed.name
        assert wrong[0].reference in {c.reference for c in changes}
        for change in seed.changes:
            if change.resource is not None:
                check_resource(change.resource)
    assert repr(changes) == before, "what was proposed stays as it is"


def test_where_nothing_can_be_wrong_there_is_no_version() -> None:
    assert bad_versions([create({"resourceType": "Basic", "code": {"text": "x"}})]) == ()
    zero = {"resourceType": "Observation", "valueQuantity": {"value": 0, "unit": "beats"}}
    assert bad_versions([create(zero)]) == ()


@pytest.mark.parametrize(
    "value", ["2026", "2026-03", "20260302", "not a date", "9999-12-31", 7, None]
)
def test_time_that_cannot_be_moved_is_left_alone(value: Any) -> None:
    assert bad_versions([create({"resourceType": "Basic", "date": value})]) == ()


def wrong(element: str, value: Any) -> dict[str, Any]:
    """The wrong values of one element, by the name of the mistake."""
    changes = made(create({"resourceType": "Basic", element: value}))
    return {name: (each[0].resource or {})[element] for name, each in changes.items()}


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ({"value": 1, "unit": "mg"}, {"value": 1, "unit": "g"}),
        ({"value": 1, "code": "mg"}, {"value": 1, "code": "g"}),
        ({"value": 2, "unit": "milligrams", "code": "mg"}, {"unit": "milligrams", "code": "g"}),
        ({"value": 2, "unit": "mL", "extension": [{"url": "x"}]}, {"unit": "L"}),
        ({"value": 2, "unit": "beats"}, None),  # of which there is no thousandth
        ({"value": 0, "unit": "mg"}, None),
        ({"value": True, "unit": "mg"}, None),
        ({"value": "5", "unit": "mg"}, None),
        ({"value": 5, "currency": "EUR"}, None),  # of money, nothing is given to a patient
    ],
)
def test_amount_is_wrong_by_a_unit_that_somebody_could_take_for_it(
    quantity: Any, expected: Any
) -> None:
    found = wrong("amount", quantity)
    assert found.get("unit") == (None if expected is None else {**quantity, **expected})
    of_ten = expected or quantity.get("unit") == "beats"
    assert found.get("tenfold") == (
        {**quantity, "value": quantity["value"] * 10} if of_ten else None
    )


def test_date_is_moved_by_almost_a_year_to_the_same_day_of_the_week() -> None:
    assert wrong("date", "2026-03-02") == {"day": "2027-03-01"}
    assert wrong("birthDate", "2026-03-02") == {}


@pytest.mark.parametrize("value", ["active", "completed"])
def test_only_a_state_is_turned_into_its_opposite(value: str) -> None:
    assert set(wrong("status", value)) == {"status"}
    assert wrong("intent", value) == {}
    assert wrong("status", {"value": value}) == {}


def test_comment_is_about_somebody_else_and_the_text_of_a_code_is_not() -> None:
    assert wrong("comment", "Fasting") == {"name": f"{NOBODY}\nFasting"}
    assert wrong("comment", ["Fasting"]) == {"name": [f"{NOBODY}\nFasting"]}
    assert wrong("code", {"text": "Fasting"}) == {}


@pytest.mark.parametrize("path", ["/comment", "/comment/0", "/comment/-", "/x/0/comment"])
def test_value_of_a_patch_goes_by_the_name_in_its_path(path: str) -> None:
    patch = ({"op": "add", "path": path, "value": "left"},)
    change = Change(
        interaction="patch", resource_type="Task", reference="Task/1", patch=patch, if_match="3"
    )
    found = made(change)
    assert set(found) == {"name", "side"}
    assert found["side"][0].patch == ({**patch[0], "value": "right"},)


@pytest.mark.parametrize("path", ["", "/", "/0", "/-"])
def test_path_without_a_name_is_no_reason_to_fail(path: str) -> None:
    patch = ({"op": "add", "path": path, "value": "left"}, {"op": "remove", "path": path})
    assert made(Change(interaction="patch", resource_type="Task", patch=patch)) == {}


LEFT = base64.b64encode(b"left").decode()
RIGHT = base64.b64encode(b"right").decode()


def test_attachment_with_another_text_has_no_hash_and_no_size_of_the_right_one() -> None:
    """They would give it away, or make it invalid."""
    whole = {
        "contentType": "text/plain; charset=utf-8",
        "data": LEFT,
        "size": 4,
        "hash": "aGFzaA==",
    }
    kept = {"contentType": whole["contentType"], "data": RIGHT}
    assert wrong("attachment", whole)["side"] == kept


@pytest.mark.parametrize(
    "attachment",
    [
        {"contentType": "text/plain", "data": f"{LEFT}@@"},
        {"contentType": "text/plain", "data": base64.b64encode(b"left \xff").decode()},
        {"contentType": "application/pdf", "data": LEFT},
        {"data": LEFT},
        {"contentType": "text/plain"},
    ],
)
def test_attachment_that_is_no_plain_text_is_left_alone(attachment: Any) -> None:
    assert wrong("attachment", attachment) == {}
