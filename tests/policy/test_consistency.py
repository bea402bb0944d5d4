"""What contradicts itself, or what was read, is refused whatever the charter allows."""

from typing import Any

import pytest

from chartgate.errors import Unprocessable
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
