"""What contradicts itself, or what was read, is refused whatever the charter allows."""

from typing import Any

import pytest

from chartgate.errors import Unprocessable
from chartgate.model.write import Change
from chartgate.policy.coded import UCUM, is_quantity, unit_contradicts, unit_said
from chartgate.policy.consistency import check_consistency
from chartgate.policy.content import parse_changes
from chartgate.policy.differences import after_images

LOINC = "http://loinc.org"
GLUCOSE = {"coding": [{"system": LOINC, "code": "2339-0", "display": "Glucose"}]}
SODIUM = {"coding": [{"system": LOINC, "code": "2951-2", "display": "Sodium"}]}


def measured(value: Any, code: str, unit: str = "", of: Any = GLUCOSE) -> dict[str, Any]:
    quantity = {"value": value, "unit": unit or code, "code": code, "system": UCUM}
    return {"resourceType": "Observation", "status": "final", "code": of, "valueQuantity": quantity}


def check(
    resource: dict[str, Any], *read: dict[str, Any], before: dict[str, Any] | None = None
) -> None:
    raw: dict[str, Any] = {"interaction": "create", "resource": resource}
    held = {}
    if before is not None:
        raw = {"interaction": "update", "resource": {**resource, "id": "1"}, "ifMatch": "1"}
        held = {"Observation/1": {**before, "id": "1"}}
    changes = parse_changes([raw])
    bodies = {f"Observation/r{n}": body for n, body in enumerate(read)}
    check_consistency(changes, after_images(changes, held), held, {**bodies, **held})


@pytest.mark.parametrize(
    ("code", "unit"),
    [("mg", "mg"), ("mg", "MG"), ("ug", "mcg"), ("ug", "µg"), ("/min", "bpm"), ("mm[Hg]", "mmHg")],
)
def test_unit_that_is_shown_by_its_name_passes(code: str, unit: str) -> None:
    check(measured(5, code, unit))


@pytest.mark.parametrize(
    ("code", "unit"),
    [("g", "mg"), ("mg", "g"), ("mg", "mcg"), ("mmol/L", "mg/dL"), ("mg/dL", "mmol/l"),
     ("Mg", "mg"), ("[lb_av]", "kg"), ("ng", "ug")],
)  # fmt: skip
def test_unit_that_is_shown_is_not_another_than_its_code(code: str, unit: str) -> None:
    with pytest.raises(Unprocessable, match="not the unit of the code"):
        check(measured(5, code, unit))


def test_contradiction_that_stands_in_the_chart_is_not_held_against_a_change_beside_it() -> None:
    wrong = measured(5, "g", "mg")
    check({**wrong, "status": "amended"}, before=wrong)


def test_unit_does_not_change_under_the_same_number() -> None:
    before = measured(126, "mg/dL")
    check(measured(7, "mmol/L"), before=before)
    check(measured(130, "mg/dL"), before=before)
    check(measured(126, "mg/dL", "mg/dl"), before=before)
    for after in (measured(126, "mmol/L"), measured(126, "g/L")):
        with pytest.raises(Unprocessable, match="the unit would change and the number would not"):
            check(after, before=before)


def test_unit_in_words_alone_does_not_change_under_the_same_number() -> None:
    before = measured(5, "mg")
    before["valueQuantity"] = {"value": 5, "unit": "mg"}
    after = {**before, "valueQuantity": {"value": 5, "unit": "g"}}
    with pytest.raises(Unprocessable, match="the unit would change"):
        check(after, before=before)


SNOMED = "http://snomed.info/sct"
MG = {"unit": "mg", "code": "mg", "system": UCUM}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"unit": "mg"}, {"unit": "milligram"}),
        ({"unit": "mg"}, MG),
        ({"unit": "mg"}, {"code": "mg"}),
        (MG, {"unit": "mg"}),
        (MG, {"code": "mg", "system": UCUM}),
        ({"unit": "spoons"}, {"unit": "spoons"}),
        (
            {"unit": "mg", "code": "258684004", "system": SNOMED},
            {"unit": "mg", "code": "258684004", "system": SNOMED},
        ),
    ],
)
def test_unit_that_is_said_in_another_way_is_the_same_unit(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    before = {**measured(5, "mg"), "valueQuantity": {"value": 5, **old}}
    check({**before, "valueQuantity": {"value": 5, **new}}, before=before)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"unit": "spoons"}, {"unit": "cups"}),
        ({"unit": "spoons"}, {"unit": "mg"}),
        ({"unit": "mg"}, {"unit": "spoons"}),
        (
            {"unit": "mg", "code": "258684004", "system": SNOMED},
            {"unit": "g", "code": "258684004", "system": SNOMED},
        ),
        (
            {"unit": "mg", "code": "258684004", "system": SNOMED},
            {"unit": "mg", "code": "258682000", "system": SNOMED},
        ),
        (MG, {**MG, "system": SNOMED}),
        ({**MG, "system": SNOMED}, MG),
    ],
)
def test_unit_does_not_turn_into_another_under_the_same_number(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    """Also a unit that cannot be told by UCUM."""
    before = {**measured(5, "mg"), "valueQuantity": {"value": 5, **old}}
    after = {**before, "valueQuantity": {"value": 5, **new}}
    with pytest.raises(Unprocessable, match="the unit would change and the number would not"):
        check(after, before=before)
    check({**after, "valueQuantity": {"value": 6, **new}}, before=before)


@pytest.mark.parametrize("old", [MG, {"unit": "mg"}, {"code": "mg"}, {"unit": "spoons"}])
def test_unit_does_not_go_and_leave_its_number(old: dict[str, Any]) -> None:
    """5 mg does not become a mere 5, to which the next change could give any unit."""
    before = {**measured(5, "mg"), "valueQuantity": {"value": 5, **old}}
    after = {**before, "valueQuantity": {"value": 5}}
    with pytest.raises(Unprocessable, match="the unit would change and the number would not"):
        check(after, before=before)
    check({**after, "valueQuantity": {"value": 6}}, before=before)
    check({k: v for k, v in after.items() if k != "valueQuantity"}, before=before)


def test_unit_that_was_missing_may_be_written() -> None:
    before = {**measured(5, "mg"), "valueQuantity": {"value": 5}}
    check(measured(5, "mg"), before=before)


def pressures(*quantities: dict[str, Any]) -> dict[str, Any]:
    """An Observation with a component for each quantity, of codes of their own."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "component": [
            {"code": {"coding": [{"system": LOINC, "code": f"{n}-0"}]}, "valueQuantity": quantity}
            for n, quantity in enumerate(quantities, 8480)
        ],
    }


def test_units_are_looked_at_in_every_part_and_the_sentence_says_where() -> None:
    high, low = {**MG, "value": 120}, {**MG, "value": 80}
    before = pressures(high, low)
    grams = {**low, "unit": "g", "code": "g"}
    with pytest.raises(Unprocessable) as caught:
        check(pressures(high, grams), before=before)
    assert str(caught.value) == (
        "Observation/1: component.valueQuantity:"
        " the unit would change and the number would not"
    )  # fmt: skip
    with pytest.raises(Unprocessable) as caught:
        check({**measured(126, "mg/dL"), "valueQuantity": {**grams, "unit": "mg"}})
    assert str(caught.value) == (
        "Observation (new): valueQuantity: the unit that is shown is not the unit of the code"
    )
    with pytest.raises(Unprocessable) as caught:
        check(pressures(high, grams), before)
    assert str(caught.value) == (
        "Observation (new): component.valueQuantity:"
        " it repeats a number that was read, in another unit"
    )


def test_what_comes_or_goes_beside_a_quantity_is_no_change_of_its_unit() -> None:
    one, two = {**MG, "value": 120}, {**MG, "value": 80}
    check({**pressures(one, two), "issued": "2026-03-02T09:00:00Z"}, before=pressures(one))
    check(pressures(one), before={**pressures(one, two), "issued": "2026-03-02T09:00:00Z"})
    for odd in (7, "two", {"value": 5}):  # not as R4 has it, and it stands in the chart
        check(pressures(one), before={**pressures(), "component": odd})
        check({**pressures(), "component": odd}, before=pressures(one))


def test_number_that_was_read_does_not_come_back_in_another_unit() -> None:
    read = measured(126, "mg/dL")
    check(measured(7, "mmol/L"), read)
    check(measured(126, "mg/dL"), read)
    check(measured(126, "mmol/L", of=SODIUM), read)  # of something else
    check(measured(126, "mmol/L"), read, measured(126, "mmol/L"))  # that was read, too
    check(measured(0, "mmol/L"), measured(0, "mg/dL"))
    with pytest.raises(Unprocessable, match="a number that was read, in another unit"):
        check(measured(126, "mmol/L"), read)


def test_code_does_not_take_the_name_of_another_that_was_read() -> None:
    read = [measured(1, "mg/dL"), measured(1, "mmol/L", of=SODIUM)]
    check(measured(2, "mg/dL"), *read)
    swapped = {"coding": [{"system": LOINC, "code": "2339-0", "display": "sodium "}]}
    with pytest.raises(Unprocessable, match="the name that what was read gives to another code"):
        check(measured(2, "mmol/L", of=swapped), *read)
    check(measured(2, "mmol/L", of=swapped))  # nobody can tell from nothing


def test_code_does_not_change_its_name_for_that_of_another_in_an_update() -> None:
    read = measured(1, "mmol/L", of=SODIUM)
    swapped = {"coding": [{**GLUCOSE["coding"][0], "display": "Sodium"}]}
    with pytest.raises(Unprocessable, match="the name that what was read gives to another code"):
        check(measured(1, "mg/dL", of=swapped), read, before=measured(1, "mg/dL"))


def test_what_stands_in_the_chart_is_not_held_against_a_change_beside_it() -> None:
    """A name or a unit that was there before is no new one, also where that version of the
    resource is not among what was read."""
    swapped = {"coding": [{**GLUCOSE["coding"][0], "display": "Sodium"}]}
    read = {"Observation/r": measured(126, "mg/dL"), "Observation/s": measured(9, "g", of=SODIUM)}
    for of in (GLUCOSE, swapped):
        held = {"Observation/1": {**measured(126, "mmol/L", of=of), "id": "1"}}
        after = {**held["Observation/1"], "status": "amended"}
        raw = {"interaction": "update", "resource": after, "ifMatch": "1"}
        changes = parse_changes([raw])
        check_consistency(changes, after_images(changes, held), held, read)
        with pytest.raises(Unprocessable):
            check(measured(126, "mmol/L", of=of), *read.values())


def test_each_change_is_looked_at_also_after_one_that_deletes() -> None:
    undo = Change(interaction="delete", resource_type="Observation", reference="Observation/9")
    wrong = parse_changes([{"interaction": "create", "resource": measured(5, "g", "mg")}])
    changes = (undo, *wrong)
    with pytest.raises(Unprocessable, match="not the unit of the code"):
        check_consistency(changes, after_images(changes, {}), {}, {})
    with pytest.raises(ValueError, match="shorter"):
        check_consistency(changes, after_images([undo], {}), {}, {})


def test_resource_is_about_one_patient() -> None:
    one = {**measured(1, "mg"), "subject": {"reference": "Patient/a"}}
    check(one)
    for other in (
        {"performer": [{"reference": "Patient/b"}]},
        {"extension": [{"url": "x", "valueReference": {"reference": "Patient/b"}}]},
        {"focus": [{"type": "Patient", "identifier": {"value": "7"}}]},
    ):
        with pytest.raises(Unprocessable, match="more than one patient"):
            check({**one, **other})
        check({**one, **other, "status": "amended"}, before={**one, **other})


def test_texts_of_units_are_read_in_any_case_and_codes_in_theirs() -> None:
    assert (unit_said("MG/DL"), unit_said("Mg"), unit_said("mL ")) == ("mg/dL", "mg", "mL")
    assert unit_said("spoons") is None
    assert not unit_contradicts({"unit": "spoons", "code": "mg", "system": UCUM})
    assert not unit_contradicts({"unit": "mg", "code": "258684004", "system": "http://snomed"})
    assert not is_quantity({"value": True, "unit": "mg"})
