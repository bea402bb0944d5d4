"""What the checks of an action's guards and rules of elements tell: what is wrong, and where it
stands in the charter, so that whoever wrote it finds the line."""

import pytest

from chartgate.errors import ConfigError
from tests.policy.test_action_parts import action

WRITES = "[patch Slot.status, create Observation, create Encounter]"
NAMES = 'names: {"http://loinc.org|8867-4": [Heart rate]}'
NO_ROOM = "min is above max, so that nothing could ever be written"
IS_ALL = "is says it all; leave min and max out"
FOR_READS = "Task.status needs Task under reads"
FOR_WRITES = "Task.status needs Task under writes: it is about what is written"
SOURCES = "variables come from what is known"
APART = "unit, min and max are for numbers; one_of and names are for codes"
ONE_TABLE = "names says already which codes may stand there; leave one_of out"


def told(more: str) -> list[str]:
    """The findings about an action with these keys, without what every one begins with."""
    try:
        action(more, writes=WRITES)
    except ConfigError as error:
        return [line.removeprefix("c.yaml: proposes.act.") for line in str(error).splitlines()]
    return []


@pytest.mark.parametrize(
    ("guard", "finding"),
    [
        ("same: [Nope.status]", ": FHIR R4 has no resource type Nope"),
        ("same: [Task.status]", f": {FOR_READS}: guards look at what is read"),
        ("same: [Slot.statu]", ": there is no Slot.statu; did you mean status?"),
        ("none: x", '.none must be like "Appointment?actor={…}&status=booked"'),
        (
            'some: "Slott?status=x&no=y"',
            ".some: FHIR R4 has no resource type Slott; did you mean Slot?",
        ),
        (
            'some: "Slot?status=x&statuss:not=y"',
            ".some: Slot has no search parameter statuss:not; did you mean status?",
        ),
        ('none: "Slot?status={Task.status}"', f".none: {FOR_READS}: {SOURCES}"),
        (
            'count: {query: "Slot?status={Task.status}", min: 1}',
            f".count: {FOR_READS}: {SOURCES}",
        ),
        (
            'some: "Slot?schedule={Slot.schedule[Schedul]}"',
            ".some: FHIR R4 has no resource type Schedul; did you mean Schedule?",
        ),
        ('count: {query: "Slot?status=x", is: 1, min: 1}', f".count: {IS_ALL}"),
        ('count: {query: "Slot?status=x", is: 1, max: 1}', f".count: {IS_ALL}"),
        ('count: {query: "Slot?status=x", min: 3, max: 2}', f".count: {NO_ROOM}"),
        (
            "state: {path: Task.status, is: [x]}",
            f".state: {FOR_READS}: guards look at what is read",
        ),
    ],
)
def test_mistake_in_a_guard_is_told_once_and_with_its_place(guard: str, finding: str) -> None:
    assert told(f"guards: [{{{guard}}}]") == [f"guards[0]{finding}"]


@pytest.mark.parametrize(
    "guard",
    [
        "same: [Slot.status]",
        'none: "Slot?status:not=x"',
        'some: "Slot?schedule={Slot.schedule[Schedule]}"',
        'count: {query: "Slot?status={Observation.status}", min: 2, max: 2}',
        'count: {query: "Slot?status=x", max: 0}',
        'count: {query: "Slot?status=x", is: 0}',
        "state: {path: Observation.status, is: [final]}",
    ],
)
def test_guard_that_can_be_asked_passes(guard: str) -> None:
    """Modifiers of a search parameter, variables of what is written, a range of one number."""
    assert told(f"guards: [{{{guard}}}]") == []


@pytest.mark.parametrize(
    ("keys", "finding"),
    [
        ("fixed: {Task.status: x}", f"fixed: {FOR_WRITES}"),
        ("never: [Task.status]", f"never: {FOR_WRITES}"),
        ("values: {Task.status: {one_of: [x]}}", f"values: {FOR_WRITES}"),
        (
            "fixed: {Observation.statu.code: x}",
            "fixed: there is no Observation.statu.code; did you mean status?",
        ),
        (
            "fixed: {Observation.code.coding: x}",
            "fixed: Observation.code.coding holds more than one value; name the one that is meant",
        ),
    ],
)
def test_path_that_an_action_cannot_be_about_is_told_with_its_key(keys: str, finding: str) -> None:
    assert told(keys) == [finding]


@pytest.mark.parametrize(
    ("path", "rule", "finding"),
    [
        ("Observation.value", "min: 3, max: 1", NO_ROOM),
        ("Observation.value", "min: 3, one_of: [x]", APART),
        ("Observation.value", "max: 3, one_of: [x]", APART),
        ("Observation.value", f"unit: mg, {NAMES}", APART),
        ("Observation.code", f"one_of: [x], {NAMES}", ONE_TABLE),
        ("Observation.status", "unit: mg", "{path} is no number and no quantity"),
        ("Observation.code.coding.system", "unit: mg", "{path} is no number and no quantity"),
        ("Observation.referenceRange.text", "max: 2", "{path} is no number and no quantity"),
        ("Observation.referenceRange.low", NAMES, "{path} is not coded"),
    ],
)
def test_rule_of_values_that_cannot_hold_is_told(path: str, rule: str, finding: str) -> None:
    """Also of elements that lie deeper, where the type is that of the part that is named."""
    assert told(f"values: {{{path}: {{{rule}}}}}") == [
        f"values.{path}: {finding.format(path=path)}"
    ]


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("Observation.value", "min: 3, max: 3"),
        ("Observation.code", "one_of: [x]"),
        ("Observation.code", NAMES),
        ("Observation.code.coding", NAMES),
        ("Encounter.class", NAMES),
        ("Observation.referenceRange.low", "unit: mg, min: 1"),
        ("Observation.referenceRange.low.value", "max: 1"),
        ("Observation.valueQuantity.value", "max: 1"),
        ("Observation.component.value", "unit: mg"),
    ],
)
def test_rule_of_values_that_fits_its_element_passes(path: str, rule: str) -> None:
    assert told(f"values: {{{path}: {{{rule}}}}}") == []


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("Observation.component.valu", "; did you mean value?"),
        ("Observation.code.codin.code", "; did you mean coding?"),
        ("Observation.status.code", ""),
    ],
)
def test_hint_is_about_the_step_that_is_wrong(path: str, hint: str) -> None:
    """Not about one before it, which is right."""
    assert told(f"never: [{path}]") == [f"never: there is no {path}{hint}"]
