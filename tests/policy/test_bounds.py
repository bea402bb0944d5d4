"""What an action's rules of elements and values refuse, each beside what they let pass."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.errors import ChartgateError, TooLarge, Unprocessable
from chartgate.formats.canonical import canonical_bytes
from chartgate.model.charter import ActionRule, ValueRule, WriteRule
from chartgate.model.write import change_json
from chartgate.policy.bounds import check_bounds, check_size, plain_path
from chartgate.policy.content import check_changes, parse_changes
from chartgate.policy.differences import after_images, differences
from tests.policy.test_decide import BOOK

UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"
PULSE = {"coding": [{"system": LOINC, "code": "8867-4", "display": "Heart rate"}]}
ACTION = replace(
    BOOK.get("clinic-booking").proposes["book"],
    name="measure",
    rules=(),
    writes=tuple(
        WriteRule(interaction=verb, resource_type=kind)
        for verb in ("create", "update", "patch")
        for kind in ("Observation", "Task", "DocumentReference", "Slot")
    ),
)
SLOT: dict[str, Any] = {"resourceType": "Slot", "id": "1", "status": "free", "comment": "old"}


def dose(value: Any = 5, unit: Any = "mg", code: Any = "mg", **more: Any) -> dict[str, Any]:
    return {"value": value, "unit": unit, "code": code, "system": UCUM, **more}


def observation(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": PULSE, **more}


def check(action: ActionRule, *raw: dict[str, Any], before: dict[str, Any] | None = None) -> None:
    held = before or {}
    changes = parse_changes(list(raw))
    check_changes(action, changes)
    afters = after_images(changes, held)
    check_bounds(action, changes, afters, differences(changes, held))


def create(resource: dict[str, Any]) -> dict[str, Any]:
    return {"interaction": "create", "resource": resource}


def patch(path: str, value: Any, reference: str = "Slot/1") -> dict[str, Any]:
    operation = {"op": "add", "path": path, "value": value}
    return {"interaction": "patch", "reference": reference, "patch": [operation]}


IN_MG = replace(ACTION, values=(ValueRule(path="Observation.value", unit="mg", least=1, most=10),))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"valueQuantity": dose()}, None),
        ({"valueQuantity": dose(1.0)}, None),
        ({"valueQuantity": dose(unit="milligram")}, None),
        ({"valueQuantity": dose(10, unit=None) | {"unit": "mg"}}, None),
        ({}, None),
        ({"valueQuantity": dose(code="g", unit="g")}, "must be in mg"),
        ({"valueQuantity": dose(code="mg", unit="g")}, "must be in mg"),
        ({"valueQuantity": dose(code="g", unit="mg")}, "must be in mg"),
        ({"valueQuantity": dose(code="Mg", unit="mg")}, "must be in mg"),
        ({"valueQuantity": dose(system="http://example.org")}, "must be in mg"),
        ({"valueQuantity": dose(unit="spoons")}, "must be in mg"),
        ({"valueQuantity": {"value": 5, "unit": "mg"}}, "must be in mg"),
        ({"valueQuantity": dose(0.5)}, "below 1"),
        ({"valueQuantity": dose(10.5)}, "above 10"),
        ({"valueQuantity": dose(5e9)}, "above 10"),
        ({"valueQuantity": dose(True)}, "must hold a number"),
        ({"valueQuantity": dose("5")}, "must hold a number"),
        ({"valueQuantity": dose(comparator=">")}, "comparator"),
        ({"valueString": "5000 mg"}, "must be a quantity"),
        ({"valueInteger": 5}, "must be a quantity"),
        ({"valueRange": {"low": dose(), "high": dose(9000)}}, "must be in mg"),
    ],
    ids=str,
)
def test_number_is_in_its_unit_and_its_range(value: dict[str, Any], sentence: str | None) -> None:
    if sentence is None:
        check(IN_MG, create(observation(**value)))
        return
    with pytest.raises(Unprocessable, match=sentence):
        check(IN_MG, create(observation(**value)))


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (PULSE, None),
        ({"coding": [{"system": LOINC, "code": "8867-4", "display": "heart  RATE"}]}, None),
        ({**PULSE, "text": "Heart rate"}, None),
        ({"coding": [{"system": LOINC, "code": "8867-4"}]}, None),
        ({**PULSE, "text": "Blood pressure"}, "a text that is not the name"),
        (
            {"coding": [{"system": LOINC, "code": "8867-4", "display": "Blood pressure"}]},
            "a name that is not the name",
        ),
        (
            {"coding": [{"system": LOINC, "code": "8480-6", "display": "Heart rate"}]},
            "not in the charter's table",
        ),
        ({"coding": [{"code": "8867-4", "display": "Heart rate"}]}, "not in the charter's table"),
        (
            {"coding": [*PULSE["coding"], {"system": "x", "code": "y"}]},
            "not in the charter's table",
        ),
        ({"text": "Heart rate"}, "not in the charter's table"),
    ],
    ids=str,
)
def test_name_is_that_of_its_code(code: dict[str, Any], sentence: str | None) -> None:
    table = ((f"{LOINC}|8867-4", ("Heart rate",)),)
    action = replace(ACTION, values=(ValueRule(path="Observation.code", names=table),))
    raw = create(observation() | {"code": code})
    if sentence is None:
        check(action, raw)
        return
    with pytest.raises(Unprocessable, match=sentence):
        check(action, raw)


def test_value_is_one_of_those_that_are_listed() -> None:
    codes = ValueRule(path="Observation.code", one_of=(f"{LOINC}|8867-4",))
    status = ValueRule(path="Observation.status", one_of=("final", "preliminary"))
    action = replace(ACTION, values=(codes, status))
    check(action, create(observation()))
    with pytest.raises(Unprocessable, match=r"Observation\.code is none"):
        check(action, create(observation() | {"code": {"text": "Heart rate"}}))
    with pytest.raises(Unprocessable, match=r"Observation\.status is none"):
        check(action, create(observation() | {"status": "amended"}))


def test_rule_of_a_value_speaks_only_where_the_proposal_changes_it() -> None:
    """What a person wrote long ago is not held against a change beside it."""
    action = replace(ACTION, values=(ValueRule(path="Slot.comment", one_of=("new",)),))
    check(action, patch("/status", "busy"), before={"Slot/1": SLOT})
    check(action, patch("/comment", "new"), before={"Slot/1": SLOT})
    with pytest.raises(Unprocessable, match="none of the values"):
        check(action, patch("/comment", "other"), before={"Slot/1": SLOT})


def test_rule_of_a_part_speaks_where_the_whole_is_written() -> None:
    rule = ValueRule(path="Observation.component.value", unit="mg", most=10)
    action = replace(ACTION, values=(rule,))
    parts = [{"code": PULSE, "valueQuantity": dose()}, {"code": PULSE, "valueQuantity": dose(99)}]
    check(action, create(observation(component=parts[:1])))
    with pytest.raises(Unprocessable, match="above 10"):
        check(action, create(observation(component=parts)))


def test_fixed_element_is_there_and_is_what_the_charter_says() -> None:
    action = replace(ACTION, fixed=(("Slot.status", "busy"),))
    check(action, patch("/status", "busy"), before={"Slot/1": SLOT})
    for raw in (patch("/status", "busy-tentative"), patch("/comment", "x")):
        with pytest.raises(Unprocessable, match=r"Slot\.status must be busy"):
            check(action, raw, before={"Slot/1": SLOT})
    check(action, create(observation()))  # of another type


def test_fixed_true_is_not_one() -> None:
    action = replace(ACTION, fixed=(("Slot.overbooked", True),))
    check(action, patch("/overbooked", True), before={"Slot/1": SLOT})
    with pytest.raises(Unprocessable):
        check(action, patch("/overbooked", 1), before={"Slot/1": SLOT})


@pytest.mark.parametrize(
    ("path", "value"),
    [("/comment", "x"), ("/_comment", {"extension": [{"url": "x", "valueString": "y"}]})],
)
def test_element_that_may_never_change_does_not(path: str, value: Any) -> None:
    action = replace(ACTION, never=("Slot.comment",))
    check(action, patch("/status", "busy"), before={"Slot/1": SLOT})
    with pytest.raises(Unprocessable, match=r"may not change Slot\.comment"):
        check(action, patch(path, value), before={"Slot/1": SLOT})


def test_choice_that_may_never_change_does_not_in_any_of_its_types() -> None:
    action = replace(ACTION, never=("Observation.value",))
    check(action, create(observation()))
    for value in ({"valueString": "x"}, {"valueQuantity": dose()}):
        with pytest.raises(Unprocessable, match="may not change"):
            check(action, create(observation(**value)))


@pytest.mark.parametrize(
    ("resource", "element"),
    [
        ({"resourceType": "DocumentReference", "author": [{"display": "Dr X"}]}, "author"),
        ({"resourceType": "DocumentReference", "authenticator": {"display": "X"}}, "authenticator"),
        ({"resourceType": "Task", "requester": {"display": "Dr X"}}, "requester"),
        (observation(performer=[{"display": "Dr X"}]), "performer"),
    ],
    ids=lambda v: str(v),
)
def test_authorship_is_written_only_where_the_charter_names_it(
    resource: dict[str, Any], element: str
) -> None:
    kind = resource["resourceType"]
    with pytest.raises(Unprocessable, match="says who did or asked for it"):
        check(ACTION, create(resource))
    named = WriteRule(interaction="create", resource_type=kind, named=(element,))
    check(replace(ACTION, writes=(named,)), create(resource))


def test_authorship_that_the_charter_fixes_is_its_own() -> None:
    raw = create({"resourceType": "Task", "requester": {"display": "Desk"}})
    check(replace(ACTION, fixed=(("Task.requester.display", "Desk"),)), raw)
    with pytest.raises(Unprocessable, match="says who did or asked for it"):
        check(replace(ACTION, fixed=(("Task.owner.display", "Desk"),)), raw)


def test_authorship_that_stands_is_no_obstacle_to_a_change_beside_it() -> None:
    task = {"resourceType": "Task", "id": "1", "requester": {"display": "X"}, "status": "draft"}
    check(ACTION, patch("/status", "ready", "Task/1"), before={"Task/1": task})
    with pytest.raises(Unprocessable, match="says who"):
        check(ACTION, patch("/requester/display", "Y", "Task/1"), before={"Task/1": task})


def test_modifier_extension_at_any_depth_is_refused() -> None:
    component = {"code": PULSE, "modifierExtension": [{"url": "x", "valueBoolean": True}]}
    with pytest.raises(Unprocessable, match="modifier extension"):
        check(ACTION, create(observation(component=[component])))


def test_entered_in_error_needs_a_charter_that_says_so() -> None:
    raw = patch("/status", "entered-in-error")
    with pytest.raises(Unprocessable, match="entered in error"):
        check(ACTION, raw, before={"Slot/1": SLOT})
    cancel = WriteRule(interaction="cancel", resource_type="Slot")
    for action in (
        replace(ACTION, writes=(cancel,)),
        replace(ACTION, fixed=(("Slot.status", "entered-in-error"),)),
        replace(
            ACTION, values=(ValueRule(path="Slot.status", one_of=("busy", "entered-in-error")),)
        ),
    ):
        check(action, raw, before={"Slot/1": SLOT})


@pytest.mark.parametrize(
    "action",
    [
        replace(ACTION, fixed=(("Slot.status", "busy"),)),
        replace(ACTION, fixed=(("Slot.comment", "entered-in-error"),)),
        replace(ACTION, values=(ValueRule(path="Slot.status", one_of=("busy", "free")),)),
        replace(ACTION, values=(ValueRule(path="Slot.comment", one_of=("entered-in-error",)),)),
    ],
    ids=["another fixed value", "fixed elsewhere", "other values", "listed elsewhere"],
)
def test_entered_in_error_is_not_let_in_by_a_rule_of_something_else(action: ActionRule) -> None:
    with pytest.raises(Unprocessable, match="entered in error"):
        check(action, patch("/status", "entered-in-error"), before={"Slot/1": SLOT})


def test_cancel_lets_nothing_else_of_the_status_be_written() -> None:
    cancel = WriteRule(interaction="cancel", resource_type="Slot")
    action = replace(ACTION, writes=(cancel,))
    two = patch("/status", "entered-in-error")
    two["patch"].append({"op": "add", "path": "/comment", "value": "x"})
    for raw in (patch("/status", "busy"), patch("/comment", "x"), two):
        with pytest.raises(Unprocessable, match="does not let"):
            check(action, raw, before={"Slot/1": SLOT})


def test_status_and_cancel_become_patches_of_the_status() -> None:
    (status,) = parse_changes([{"interaction": "status", "reference": "Slot/1", "status": "busy"}])
    assert status.patch == ({"op": "add", "path": "/status", "value": "busy"},)
    raw = [{"interaction": "cancel", "reference": "Slot/1", "ifMatch": "3"}]
    (cancel,) = parse_changes(raw, {"Slot": ("status", "entered-in-error")})
    assert (cancel.interaction, cancel.if_match) == ("patch", "3")
    assert cancel.patch == ({"op": "add", "path": "/status", "value": "entered-in-error"},)
    with pytest.raises(ChartgateError, match="no status that stands for a cancelled Slot"):
        parse_changes(raw)
    with pytest.raises(ChartgateError, match="status must be the new status"):
        parse_changes([{"interaction": "status", "reference": "Slot/1"}])


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"changes": 1}, "at most 1 changes"),
        ({"bytes": 120}, "at most 120 bytes"),
        ({"elements": 5}, "at most 5 elements"),
    ],
)
def test_proposal_over_a_limit_is_refused(limits: dict[str, int], sentence: str) -> None:
    raw = [create(observation()), create(observation())]
    check(replace(ACTION, limits={key: limit * 100 for key, limit in limits.items()}), *raw)
    with pytest.raises(TooLarge, match=sentence):
        check(replace(ACTION, limits=limits), *raw)


@given(count=st.integers(1, 8), most=st.integers(1, 8))
def test_limit_of_changes_is_exact(count: int, most: int) -> None:
    changes = parse_changes([create(observation())] * count)
    action = replace(ACTION, limits={"changes": most})
    if count <= most:
        check_size(action, changes)
    else:
        with pytest.raises(TooLarge):
            check_size(action, changes)


def test_limit_of_bytes_is_exact() -> None:
    changes = parse_changes([create(observation())])
    size_bytes = len(canonical_bytes([change_json(change) for change in changes]))
    check_size(replace(ACTION, limits={"bytes": size_bytes}), changes)
    with pytest.raises(TooLarge):
        check_size(replace(ACTION, limits={"bytes": size_bytes - 1}), changes)


def test_plain_path_has_no_places_and_choices_by_their_base() -> None:
    assert plain_path("Observation", "valueQuantity.value") == "value.value"
    assert plain_path("Observation", "component[2].valueQuantity._unit") == "component.value.unit"
    assert plain_path("Task", "statusReason.text") == "statusReason.text"
