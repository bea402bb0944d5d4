"""Allergies, diagnoses, procedures and living wills."""

import pytest

from chartgate.testing.messages import header, message, patient
from tests.transform.hl7v2.made import admission, all_of, fields, laid, only


def test_allergy_has_its_category_criticality_and_reaction() -> None:
    found = only(
        laid(admission("AL1|1|DA|PEN^Penicillin^L|SV|Rash~Hives|2020")), "AllergyIntolerance"
    )
    assert (found["category"], found["type"], found["criticality"]) == (
        ["medication"],
        "allergy",
        "high",
    )
    [reaction] = found["reaction"]
    assert reaction["severity"] == "severe"
    assert [m["text"] for m in reaction["manifestation"]] == ["Rash", "Hives"]
    assert found["clinicalStatus"]["coding"][0]["code"] == "active"


def test_allergy_in_two_kinds_of_segment_is_one() -> None:
    first = admission("AL1|1|DA|PEN^Penicillin^L|SV")
    second = admission(fields("IAM", _1="1", _2="DA", _3="PEN^Penicillin^L", _4="MO", _6="A", _7="77"),
                       trigger="A60")  # fmt: skip
    found = only(laid(first, second), "AllergyIntolerance")
    assert found["criticality"] == "unable-to-assess"
    assert found["identifier"][0]["value"] == "77"


def test_allergy_that_is_deleted_stays_as_entered_in_error_until_it_is_said_again() -> None:
    said, deleted = ("AL1|1|DA|PEN^Penicillin^L", "IAM|1|DA|PEN^Penicillin^L|||D")
    gone = only(laid(admission(said), admission(deleted)), "AllergyIntolerance")
    assert gone["verificationStatus"]["coding"][0]["code"] == "entered-in-error"
    assert "clinicalStatus" not in gone
    again = laid(admission(said), admission(deleted), admission(said))
    assert "verificationStatus" not in only(again, "AllergyIntolerance")
    assert "clinicalStatus" in only(again, "AllergyIntolerance")


@pytest.mark.parametrize(
    ("code", "clinical", "certainty"),
    [("I", "inactive", None), ("C", "active", "confirmed"), ("S", "active", "unconfirmed")],
)
def test_clinical_status_of_an_allergy_says_how_it_stands(
    code: str, clinical: str, certainty: str | None
) -> None:
    iam = fields("IAM", _1="1", _3="PEN", _6="A", _17=code)
    found = only(laid(admission(iam)), "AllergyIntolerance")
    assert found["clinicalStatus"]["coding"][0]["code"] == clinical
    said = found.get("verificationStatus", {"coding": [{"code": None}]})
    assert said["coding"][0]["code"] == certainty


@pytest.mark.parametrize(
    ("relation", "kind"), [("", "Practitioner"), ("SEL", "Patient"), ("MTH", "RelatedPerson")]
)
def test_recorder_of_an_allergy_is_who_the_relation_says(relation: str, kind: str) -> None:
    iam = fields("IAM", _1="1", _3="PEN", _14="Teller^Tess", _15=relation, _27="7980^^RXNORM")
    found = only(laid(admission(iam)), "AllergyIntolerance")
    assert found["recorder"] == {"type": kind, "display": "Tess Teller"}
    assert [c["code"] for c in found["code"]["coding"]] == ["PEN", "7980"]


def test_allergy_without_an_allergen_makes_nothing() -> None:
    assert all_of(laid(admission("AL1|1|DA||SV")), "AllergyIntolerance") == []


DIAGNOSIS = fields("DG1", _1="1", _3="I10^Hypertension^I10", _5="20240101", _6="A", _15="1")


def test_diagnosis_is_a_condition_of_the_visit() -> None:
    record = laid(admission(DIAGNOSIS))
    condition, encounter = only(record, "Condition"), only(record, "Encounter")
    [link] = encounter["diagnosis"]
    assert link["condition"]["reference"] == f"Condition/{condition['id']}"
    assert (link["rank"], link["use"]["coding"][0]["code"]) == (1, "AD")
    assert condition["encounter"]["reference"] == f"Encounter/{encounter['id']}"
    assert "verificationStatus" not in condition


def test_diagnosis_that_is_deleted_is_an_error_and_no_longer_of_the_visit() -> None:
    other = "DG1|2||J45^Asthma^I10||20240101|W|||||||||0"
    deleted = fields("DG1", _1="1", _3="I10^Hypertension^I10", _5="20240101", _21="D")
    record = laid(admission(DIAGNOSIS, other), admission(deleted))
    status = [c.get("verificationStatus") for c in all_of(record, "Condition")]
    assert status[1] is None
    assert status[0] is not None
    assert status[0]["coding"][0]["code"] == "entered-in-error"
    [left] = only(record, "Encounter")["diagnosis"]
    assert left["condition"]["reference"].endswith(all_of(record, "Condition")[1]["id"])
    assert "rank" not in left


def test_diagnosis_of_an_episode_makes_the_episode() -> None:
    pv1 = fields("PV1", _1="1", _2="I", _19="V1", _53="Physio", _54="E1")
    record = laid(message(header(), patient(), pv1, DIAGNOSIS))
    episode, encounter = only(record, "EpisodeOfCare"), only(record, "Encounter")
    assert episode["diagnosis"][0]["rank"] == 1
    assert encounter["episodeOfCare"][0]["reference"] == f"EpisodeOfCare/{episode['id']}"
    assert episode["type"][0]["text"] == "Physio"


def test_diagnosis_under_an_order_is_not_one_of_the_visit() -> None:
    order = ["ORC|NW|P1|F1", "OBR|1|P1|F1|GLU^Glucose^L"]
    raw = admission(*order, DIAGNOSIS).replace(b"ADT^A01", b"ORM^O01")
    record = laid(raw)
    assert only(record, "Condition")["code"]["coding"][0]["code"] == "I10"
    assert "diagnosis" not in only(record, "Encounter")


def test_procedure_has_its_period_modifiers_and_people() -> None:
    pr1 = fields("PR1", _1="1", _3="43239^Endoscopy^CPT", _5="202401021000", _7="45", _8="1^Sleep^Sam",
                 _11="2^Knife^Kim", _16="59~RT", _19="PR9")  # fmt: skip
    found = only(laid(admission(pr1)), "Procedure")
    assert found["performedPeriod"] == {
        "start": "2024-01-02T10:00:00+00:00",
        "end": "2024-01-02T10:45:00+00:00",
    }
    assert found["code"]["coding"][0]["code"] == "43239:59:RT"
    assert [p["function"]["coding"][0]["display"] for p in found["performer"]] == [
        "Anesthesiologist",
        "Surgeon",
    ]
    assert found["status"] == "completed"


@pytest.mark.parametrize(
    ("time", "action", "status"),
    [("", "", "unknown"), ("2024", "", "completed"), ("2024", "D", "entered-in-error")],
)
def test_procedure_has_the_status_that_can_be_known(time: str, action: str, status: str) -> None:
    pr1 = fields("PR1", _1="1", _3="43239", _5=time, _19="PR9", _20=action)
    assert only(laid(admission(pr1)), "Procedure")["status"] == status


def test_living_will_is_an_observation() -> None:
    found = only(laid(message(header(), patient(), "PD1|||||||Y")), "Observation")
    assert found["valueCodeableConcept"]["coding"][0]["code"] == "Y"
    assert found["code"]["coding"][0]["code"] == "75320-2"
