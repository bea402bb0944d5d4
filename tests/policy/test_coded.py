"""Codes and quantities as they stand in a resource: what they are called, and what they mean."""

from typing import Any

import pytest

from chartgate.errors import Unprocessable
from chartgate.policy.coded import (
    KNOWN_CODES,
    UCUM,
    code_key,
    codings,
    plain_name,
    quantities,
    unit_of,
    unit_said,
)
from chartgate.policy.consistency import check_consistency
from chartgate.policy.content import parse_changes
from chartgate.policy.differences import after_images

CVX = "http://hl7.org/fhir/sid/cvx"


def quantity(value: float, unit: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "code": unit, "system": UCUM}


def coded(code: str) -> dict[str, Any]:
    return {"coding": [{"system": CVX, "code": code}]}


@pytest.mark.parametrize(
    ("coding", "key"),
    [
        ({"system": CVX, "code": "08", "display": "Hep B"}, f"{CVX}|08"),
        ({"code": "08"}, "|08"),
        ({"system": CVX, "display": "Hep B"}, f"{CVX}|"),
        ({}, "|"),
    ],
)
def test_code_is_named_as_a_charter_lists_it(coding: dict[str, Any], key: str) -> None:
    """What is missing is empty, so that no list of a charter takes it for a code."""
    assert code_key(coding) == key


def test_codings_are_those_of_a_concept_or_the_one_that_it_is() -> None:
    alone = {"system": CVX, "code": "08"}
    assert codings({"coding": [alone, "odd"], "text": "Hep B"}) == [alone]
    assert codings(alone) == [alone]
    assert codings({"text": "Hep B"}) == codings({"display": "Hep B"}) == codings("08") == []


def test_names_are_compared_without_case_and_white_space() -> None:
    assert plain_name(" Heart  RATE\n") == "heart rate"
    assert plain_name("heartrate") != plain_name("heart rate")


@pytest.mark.parametrize("code", sorted(KNOWN_CODES))
def test_code_of_a_unit_that_is_shown_stands_for_itself(code: str) -> None:
    """A unit may be shown by its UCUM code, "[lb_av]", and that is case sensitive."""
    assert unit_said(f" {code}") == code
    assert unit_of({"value": 1, "unit": code}) == code


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        ({"unit": "milligrams"}, "mg"),
        ({"unit": "spoons"}, None),
        ({"unit": "g", "code": "mg"}, "mg"),
        ({"unit": "mg", "code": "258684004", "system": "http://snomed.info/sct"}, None),
        ({"code": "Mg", "system": UCUM}, "Mg"),
        ({"unit": "mg", "code": 7}, None),
    ],
)
def test_unit_is_that_of_its_code_and_without_one_that_of_its_text(
    written: dict[str, Any], unit: str | None
) -> None:
    assert unit_of({"value": 1, **written}) == unit


def test_quantities_are_found_at_any_depth_with_what_they_measure() -> None:
    """The nearest code above says it; a place in a list does not matter."""
    whole, own = f"{CVX}|1", f"{CVX}|2"
    resource = {
        "code": coded("1"),
        "valueQuantity": quantity(1, "mg"),
        "referenceRange": [{"low": quantity(2, "mg")}, {"low": quantity(3, "mg")}],
        "component": [{"code": coded("2"), "valueQuantity": quantity(4, "mg")}],
    }
    assert [(path, sorted(of), q["value"]) for path, of, q in quantities(resource)] == [
        ("valueQuantity", [whole], 1),
        ("referenceRange.low", [whole], 2),
        ("referenceRange.low", [whole], 3),
        ("component.valueQuantity", [own], 4),
    ]


def order(drug: dict[str, Any], dose: dict[str, Any]) -> dict[str, Any]:
    dosage = {"doseAndRate": [{"doseQuantity": dose}]}
    return {
        "resourceType": "MedicationRequest",
        "medicationCodeableConcept": drug,
        "dosageInstruction": [dosage],
    }


def shot(vaccine: dict[str, Any], dose: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Immunization", "vaccineCode": vaccine, "doseQuantity": dose}


def specimen(kind: dict[str, Any], taken: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Specimen", "type": kind, "collection": {"quantity": taken}}


def observation(code: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Observation", "code": code, "valueQuantity": value}


def propose(resource: dict[str, Any], *read: dict[str, Any]) -> None:
    changes = parse_changes([{"interaction": "create", "resource": resource}])
    bodies = {f"{body['resourceType']}/{n}": body for n, body in enumerate(read)}
    check_consistency(changes, after_images(changes, {}), {}, bodies)


@pytest.mark.parametrize("resource_of", [order, shot, specimen, observation])
def test_number_of_the_same_thing_does_not_come_back_in_another_unit(resource_of: Any) -> None:
    """5 mg of a drug that was read is not proposed as 5 mL of it, whatever element names it."""
    read = resource_of(coded("1"), quantity(5, "mg"))
    propose(resource_of(coded("1"), quantity(5, "mg")), read)
    propose(resource_of(coded("1"), quantity(2, "mL")), read)
    propose(resource_of(coded("2"), quantity(5, "mL")), read)
    with pytest.raises(Unprocessable, match="it repeats a number that was read, in another unit"):
        propose(resource_of(coded("1"), quantity(5, "mL")), read)


def test_things_that_are_named_in_words_alone_are_not_taken_for_one_another() -> None:
    read = observation({"text": "Glucose"}, quantity(5, "mg"))
    propose(observation({"text": "Sodium"}, quantity(5, "mL")), read)
