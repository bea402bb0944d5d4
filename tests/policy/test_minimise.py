"""Minimisation: nothing unlisted leaves, and what leaves is valid."""

import time
from copy import deepcopy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chartgate.errors import Denied
from chartgate.formats import r4
from chartgate.formats.r4_structure import structure_findings
from chartgate.model.charter import ReadRule
from chartgate.policy.minimise import (
    META_KEPT,
    kept_elements,
    listable_elements,
    minimise,
)

CANARY = "CANARY"
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "7",
    "meta": {
        "versionId": "3",
        "lastUpdated": "2026-03-02T09:00:00Z",
        "source": CANARY,
        "profile": [f"http://x/{CANARY}"],
        "security": [{"system": "http://s", "code": "R"}],
        "tag": [{"system": "http://t", "code": "keep"}],
    },
    "text": {"status": "generated", "div": f"<div>{CANARY}</div>"},
    "contained": [{"resourceType": "Organization", "id": "o", "name": CANARY}],
    "extension": [{"url": f"http://x/{CANARY}", "valueString": CANARY}],
    "active": True,
    "identifier": [{"system": "http://mrn", "value": CANARY}],
    "name": [
        {
            "id": CANARY,
            "family": "Test",
            "given": ["A", "B"],
            "_given": [None, {"extension": [{"url": "u", "valueString": CANARY}]}],
            "extension": [{"url": "u", "valueString": CANARY}],
            "unheardOf": CANARY,
        }
    ],
    "birthDate": "1970-01-01",
    "_birthDate": {"extension": [{"url": "http://time", "valueDateTime": "1970-01-01T04:05:06Z"}]},
    "generalPractitioner": [
        {
            "reference": "Practitioner/1",
            "display": CANARY,
            "identifier": {"system": "http://mrn", "value": CANARY},
        }
    ],
    "address": [{"city": CANARY}],
}


def shown(resource: dict[str, Any], *elements: str) -> dict[str, Any]:
    return minimise(resource, ReadRule(elements=elements))


def test_minimise_when_elements_are_listed_then_only_they_are_shown() -> None:
    kept = shown(PATIENT, "name", "birthDate", "generalPractitioner")
    assert CANARY not in orjson.dumps(kept).decode()
    assert kept == {
        "resourceType": "Patient",
        "id": "7",
        "active": True,
        "name": [{"family": "Test", "given": ["A", "B"]}],
        "birthDate": "1970-01-01",
        "generalPractitioner": [{"reference": "Practitioner/1"}],
        "meta": {
            "versionId": "3",
            "lastUpdated": "2026-03-02T09:00:00Z",
            "security": [{"system": "http://s", "code": "R"}],
            "tag": [
                {"system": "http://t", "code": "keep"},
                {
                    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
                    "code": "SUBSETTED",
                },
            ],
        },
    }


def test_minimise_when_run_then_what_was_given_is_left_alone() -> None:
    before = deepcopy(PATIENT)
    shown(PATIENT, "name")
    assert before == PATIENT


def test_minimise_when_run_twice_then_once_was_enough() -> None:
    once = shown(PATIENT, "name", "generalPractitioner")
    assert shown(once, "name", "generalPractitioner") == once


def test_minimise_when_there_is_no_meta_then_it_is_marked_all_the_same() -> None:
    assert shown({"resourceType": "Patient"}, "name")["meta"]["tag"][0]["code"] == "SUBSETTED"


def test_modifier_elements_when_unlisted_then_they_stay_for_safety() -> None:
    slot = {"resourceType": "Appointment", "status": "cancelled", "comment": "x"}
    assert shown(slot, "start")["status"] == "cancelled"


def test_required_elements_when_unlisted_then_they_are_there_and_say_nothing() -> None:
    note = {
        "resourceType": "DocumentReference",
        "status": "current",
        "content": [{"attachment": {"contentType": "text/plain", "data": "Q0FOQVJZ"}}],
    }
    kept = shown(note, "date")
    assert "Q0FOQVJZ" not in orjson.dumps(kept).decode()
    assert kept["content"][0]["attachment"]["extension"][0]["valueCode"] == "masked"
    assert list(structure_findings(kept)) == []


def test_choice_when_its_base_is_listed_then_each_type_is_shown() -> None:
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "valueQuantity": {"value": 1.5, "unit": "kg"},
    }
    assert shown(observation, "value")["valueQuantity"] == {"value": 1.5, "unit": "kg"}
    assert "valueQuantity" not in shown(observation, "code")


def test_required_reference_that_only_says_a_name_when_shown_then_it_is_masked() -> None:
    encounter = {
        "resourceType": "Encounter",
        "id": "9",
        "status": "finished",
        "class": {"system": "s", "code": "AMB"},
        "diagnosis": [{"condition": {"display": CANARY}, "rank": 1}],
    }
    kept = shown(encounter, "class", "diagnosis")
    assert CANARY.encode() not in orjson.dumps(kept)
    assert kept["diagnosis"][0]["condition"]["extension"][0]["valueCode"] == "masked"
    assert list(structure_findings(kept)) == []


def test_codeable_text_and_coding_display_when_listed_then_they_are_shown() -> None:
    """Only narrative and the display of references are dropped below a listed element."""
    code = {"coding": [{"system": "s", "code": "c", "display": "d"}], "text": "t"}
    condition = {"resourceType": "Condition", "code": code, "subject": {"reference": "Patient/1"}}
    assert shown(condition, "code")["code"] == code


@pytest.mark.parametrize(
    "where",
    [
        {"modifierExtension": [{"url": "u", "valueBoolean": True}]},
        {"contact": [{"modifierExtension": [{"url": "u", "valueBoolean": True}]}]},
    ],
)
def test_modifier_extension_when_unlisted_then_the_resource_is_refused(
    where: dict[str, Any],
) -> None:
    """A modifier extension may negate what it is on: https://hl7.org/fhir/R4/extensibility.html"""
    with pytest.raises(Denied, match="modifier extension"):
        shown({"resourceType": "Patient", **where}, "name", "contact")


def test_modifier_extension_when_on_what_is_dropped_then_it_does_not_matter() -> None:
    contact = [{"modifierExtension": [{"url": "u", "valueBoolean": True}]}]
    assert "contact" not in shown({"resourceType": "Patient", "contact": contact}, "name")


def test_extensions_when_listed_then_they_stay() -> None:
    kept = shown(PATIENT, "extension", "birthDate", "modifierExtension")
    assert kept["extension"] == PATIENT["extension"]
    assert kept["_birthDate"] == PATIENT["_birthDate"]
    assert "_deceasedBoolean" not in kept


def test_contained_when_listed_then_its_narrative_is_still_dropped() -> None:
    inner = {"resourceType": "Organization", "id": "o", "name": "N", "text": {"div": CANARY}}
    kept = shown({"resourceType": "Patient", "contained": [inner]}, "contained")
    assert kept["contained"] == [{"resourceType": "Organization", "id": "o", "name": "N"}]


def test_lists_when_items_are_emptied_then_indexes_still_match() -> None:
    """A patch names items by index: what is shown and what is stored must agree."""
    name = [{"extension": [{"url": "u", "valueString": CANARY}]}, {"family": "Test"}]
    kept = shown({"resourceType": "Patient", "name": name}, "name")
    assert len(kept["name"]) == 2
    assert kept["name"][1] == {"family": "Test"}
    given = {"given": [None, "B"], "_given": [{"extension": [{"url": CANARY}]}, None]}
    kept = shown({"resourceType": "Patient", "name": [given]}, "name")
    assert kept["name"][0]["given"] == [None, "B"]
    assert kept["name"][0]["_given"][0]["extension"][0]["valueCode"] == "masked"
    assert CANARY not in orjson.dumps(kept).decode()


@pytest.mark.parametrize("resource", [{}, {"resourceType": "Foo"}, {"resourceType": "Element"}])
def test_minimise_when_it_is_no_r4_resource_then_it_is_refused(resource: dict[str, Any]) -> None:
    with pytest.raises(Denied):
        shown(resource, "name")


def test_minimise_when_nested_without_end_then_it_is_refused() -> None:
    item: dict[str, Any] = {"linkId": "1"}
    for _ in range(200):
        item = {"linkId": "1", "item": [item]}
    with pytest.raises(Denied, match="too deep"):
        shown(
            {"resourceType": "QuestionnaireResponse", "status": "completed", "item": [item]}, "item"
        )


def values_of(element: r4.Element, depth: int) -> st.SearchStrategy[Any]:
    """Any value of an element, with canaries wherever a text can stand."""
    if r4.is_primitive(element.type):
        one: st.SearchStrategy[Any] = st.just(f"{CANARY}-{element.base}")
    elif depth == 0 or element.type == "Resource":
        one = st.just({})
    else:
        one = objects_of(element.type, depth - 1)
    return st.lists(one, min_size=1, max_size=2) if element.many else one


def objects_of(owner: str, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    known = {n: e for n, e in r4.elements(owner).items() if n != "modifierExtension"}
    names = st.lists(st.sampled_from(sorted(known)), max_size=4, unique=True)
    return names.flatmap(
        lambda chosen: st.fixed_dictionaries({n: values_of(known[n], depth) for n in chosen})
    )


TYPES = ("Patient", "Slot", "Appointment", "Task", "DocumentReference", "Observation", "Encounter")


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[str, ...]]:
    resource_type = draw(st.sampled_from(TYPES))
    resource = {**draw(objects_of(resource_type, 2)), "resourceType": resource_type}
    names = sorted(listable_elements(resource_type) - {"meta", "id"})
    return resource, tuple(draw(st.lists(st.sampled_from(names), max_size=3, unique=True)))


@settings(max_examples=300, deadline=None)
@given(case=cases())
def test_what_is_shown_is_a_part_of_what_is_stored_and_of_what_is_listed(
    case: tuple[dict[str, Any], tuple[str, ...]],
) -> None:
    resource, elements = case
    resource_type = resource["resourceType"]
    kept = minimise(resource, ReadRule(elements=elements))
    allowed = set(elements) | kept_elements(resource_type)
    known = r4.elements(resource_type)
    for name, value in kept.items():
        if name in ("resourceType", "meta") or not is_said(value):
            continue
        assert known[name].base in allowed
        assert is_part(value, resource[name])
    assert set(kept["meta"]) <= set(META_KEPT)
    bases = {known[n.removeprefix("_")].base for n in kept if n != "resourceType"}
    assert r4.mandatory_bases(resource_type) - allowed <= bases


def is_said(value: Any) -> bool:
    """Whether there is anything but masks in it."""
    return CANARY in orjson.dumps(value).decode()


def is_part(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return all(not is_said(v) or (k in whole and is_part(v, whole[k])) for k, v in part.items())
    if isinstance(part, list):
        return len(part) == len(whole) and all(
            not is_said(p) or is_part(p, w) for p, w in zip(part, whole, strict=True)
        )
    return bool(part == whole)


def test_minimise_when_timed_then_small_resources_take_microseconds() -> None:
    """Measured at some 100,000 a second; the limit here is ten times slower, not to waver."""
    slot = {
        "resourceType": "Slot",
        "id": "12",
        "meta": {"versionId": "1"},
        "schedule": {"reference": "Schedule/1"},
        "status": "free",
        "start": "2026-03-03T09:00:00Z",
        "end": "2026-03-03T09:30:00Z",
    }
    rule = ReadRule(elements=("schedule", "status", "start", "end"))
    minimise(slot, rule)
    started = time.perf_counter()
    for _ in range(5_000):
        minimise(slot, rule)
    assert time.perf_counter() - started < 0.5
