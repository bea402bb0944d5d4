"""Minimisation of values in odd places: beside others, one in another, of the wrong shape."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from chartgate.errors import Denied
from chartgate.model.charter import ReadRule
from chartgate.policy.deidentify import ViewSettings, deidentify
from chartgate.policy.marks import masked
from chartgate.policy.minimise import DEPTH_MAX, minimise

CANARY = "CANARY"
LISTED = "http://x/listed"
HIDDEN = {"extension": [{"url": "http://x/hidden", "valueString": CANARY}]}
SHOWN = {"extension": [{"url": LISTED, "valueCode": "c"}]}
IDENTIFIER = {
    "system": "http://npi",
    "value": "1",
    "assigner": {"reference": "Organization/1"},
}


def named(rule: ReadRule, **name: Any) -> dict[str, Any]:
    kept = minimise({"resourceType": "Patient", "name": [name]}, rule)
    assert CANARY not in orjson.dumps(kept).decode()
    first: dict[str, Any] = kept["name"][0]
    return first


# What stands beside primitives.


def test_beside_a_list_only_what_is_not_shown_is_marked() -> None:
    """A mark says that something is hidden there; beside a value that is shown, nothing is."""
    rule = ReadRule(elements=("name",))
    assert named(rule, given=[None, "B"], _given=[HIDDEN, None]) == {
        "given": [None, "B"],
        "_given": [masked(), None],
    }


def test_list_that_has_only_extensions_keeps_its_length() -> None:
    for rule in (ReadRule(elements=("name",)), ReadRule(elements=("name",), extensions=())):
        assert named(rule, _given=[HIDDEN, HIDDEN]) == {"_given": [masked(), masked()]}
    by_url = ReadRule(elements=("name",), extensions=(LISTED,))
    assert named(by_url, _given=[SHOWN, HIDDEN]) == {"_given": [SHOWN, masked()]}
    # A single value where a list belongs stands beside none of them.
    assert named(by_url, given="B", _given=[SHOWN, HIDDEN])["_given"] == [SHOWN, masked()]


def test_beside_values_that_are_all_shown_nothing_stands_if_no_extension_is_listed() -> None:
    """A list of nothing but nulls is not valid."""
    rule = ReadRule(elements=("name",), extensions=(LISTED,))
    assert named(rule, given=["A", "B"], _given=[HIDDEN, None]) == {"given": ["A", "B"]}


def test_extension_with_a_relative_url_counts_only_inside_of_one_that_is_listed() -> None:
    """Only there its name says what it is: https://hl7.org/fhir/R4/extensibility.html"""
    relative = [{"url": "part", "valueString": CANARY}]
    rule = ReadRule(elements=("birthDate", "modifierExtension"), extensions=(LISTED,))
    patient = {
        "resourceType": "Patient",
        "birthDate": "1970",
        "_birthDate": {"extension": relative},
    }
    assert "_birthDate" not in minimise(patient, rule)
    with pytest.raises(Denied, match="does not name"):
        minimise({"resourceType": "Patient", "modifierExtension": relative}, rule)


def test_required_texts_in_a_list_are_masked_one_by_one() -> None:
    dependent = [{"name": "other", "variable": [CANARY, CANARY]}]
    group = [{"name": "g", "rule": [{"name": "r", "dependent": dependent}]}]
    kept = minimise(
        {"resourceType": "StructureMap", "group": group}, ReadRule(elements=("group",), text="cut")
    )
    assert kept["group"][0]["rule"][0]["dependent"] == [
        {"name": "other", "_variable": [masked(), masked()]}
    ]


# Values of the wrong shape.


@pytest.mark.parametrize("value", [CANARY, 7, True, [], None])
def test_element_with_parts_that_has_none_is_left_out(value: Any) -> None:
    kept = minimise({"resourceType": "Patient", "name": value}, ReadRule(elements=("name",)))
    assert "name" not in kept


NO_TYPES = ["Unheard", ["Patient"], {"Patient": 1}, 7, None]


@pytest.mark.parametrize("resource_type", NO_TYPES)
def test_what_is_no_resource_is_refused(resource_type: Any) -> None:
    with pytest.raises(Denied, match="is no FHIR R4 resource"):
        minimise({"resourceType": resource_type}, ReadRule(elements=("status",)))


@pytest.mark.parametrize("resource_type", NO_TYPES)
def test_what_is_no_resource_is_not_shown_inside_of_one(resource_type: Any) -> None:
    inner = {"resourceType": resource_type, "id": CANARY, "status": CANARY}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": inner}]}
    kept = minimise(bundle, ReadRule(elements=("type", "entry")))
    assert kept["entry"] == [masked()], "and no resource of no type"


def test_contained_resource_shows_its_texts_if_the_rule_keeps_them() -> None:
    inner = {"resourceType": "Observation", "status": "final", "valueString": "as it was said"}
    rule = ReadRule(elements=("contained",))
    kept = minimise({"resourceType": "Condition", "contained": [inner]}, rule)
    assert kept["contained"] == [inner]
    cut = ReadRule(elements=("contained",), text="structured-only")
    kept = minimise({"resourceType": "Condition", "contained": [inner]}, cut)
    assert kept["contained"] == [{"resourceType": "Observation", "status": "final"}]


def test_section_of_a_composition_is_shown_but_for_its_narrative() -> None:
    """Whatever the order in which its parts stand, or are known."""
    section = {
        "title": "Plan",
        "mode": "working",
        "text": {"status": "generated", "div": CANARY},
        "entry": [{"reference": "Condition/1"}],
        "section": [{"title": "Inner"}],
    }
    composition = {"resourceType": "Composition", "section": [section]}
    kept = minimise(composition, ReadRule(elements=("section",)))
    assert kept["section"] == [{k: v for k, v in section.items() if k != "text"}]


# How deep.


def items(depth: int) -> dict[str, Any]:
    """Depth counts what is between the resource and the innermost object, with that."""
    item: dict[str, Any] = {"linkId": "1"}
    for _ in range(depth - 1):
        item = {"linkId": "1", "item": [item]}
    return {"resourceType": "QuestionnaireResponse", "status": "completed", "item": [item]}


def contained_items(depth: int) -> dict[str, Any]:
    return {"resourceType": "Basic", "contained": [items(depth - 1)]}


def bundles(depth: int) -> dict[str, Any]:
    """By twos, an entry and what it holds, with an address's period at the end."""
    address = {"use": "home", "period": {"start": "2001"}}
    inner: dict[str, Any] = {"resourceType": "Patient", "address": [address]}
    if depth % 2:
        inner = {"resourceType": "Patient", "contact": [{"address": address}]}
    for _ in range(depth // 2 - 1):
        entry = [{"resource": inner}]
        inner = {"resourceType": "Bundle", "type": "collection", "entry": entry}
    return inner


def extensions(depth: int, **value: Any) -> dict[str, Any]:
    inner: dict[str, Any] = {"url": LISTED, **(value or {"valueBoolean": True})}
    for _ in range(depth - 1):
        inner = {"url": LISTED, "extension": [inner]}
    return {"resourceType": "Patient", "extension": [inner]}


def identifiers(depth: int) -> dict[str, Any]:
    return extensions(depth - 2, valueIdentifier=IDENTIFIER)


def addresses(depth: int) -> dict[str, Any]:
    return extensions(depth - 2, valueAddress={"use": "home", "period": {"start": "2001"}})


RULE = ReadRule(
    elements=("type", "item", "contained", "entry", "extension"),
    extensions=(LISTED,),
    identifiers=("http://npi",),
)
Nested = Callable[[int], dict[str, Any]]


@pytest.mark.parametrize(
    "nested", [items, contained_items, bundles, extensions, identifiers, addresses]
)
def test_each_step_inwards_counts_once_whatever_it_is(nested: Nested) -> None:
    for depth in (DEPTH_MAX - 2, DEPTH_MAX - 1):
        kept = minimise(nested(depth), RULE)
        assert {**kept, "meta": None} == {**nested(depth), "meta": None}
    for depth in (DEPTH_MAX, DEPTH_MAX + 1):
        with pytest.raises(Denied, match="too deep"):
            minimise(nested(depth), RULE)


@pytest.mark.parametrize("nested", [items, contained_items, bundles, extensions, addresses])
def test_each_step_inwards_counts_once_in_a_view_too(nested: Nested) -> None:
    settings = ViewSettings(year=2026, key=b"k" * 32)
    for depth in (DEPTH_MAX - 2, DEPTH_MAX - 1):
        assert deidentify(nested(depth), "limited", settings)
    for depth in (DEPTH_MAX, DEPTH_MAX + 1):
        with pytest.raises(Denied, match="too deep"):
            deidentify(nested(depth), "limited", settings)
