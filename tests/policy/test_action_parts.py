"""Guards and rules of elements, from a charter's YAML, and what is wrong with them."""

from typing import Any

import pytest

from chartgate.errors import ConfigError
from chartgate.model.charter import ActionRule, GuardRule, ValueRule, WriteRule
from chartgate.policy.charters import parse_charter
from tests.policy.test_charters import read_model

CHARTER = """
charter: c
revision: 1
purpose_of_use: TREAT
sites: {{north: ehr}}
clients: [picker]
model: models/slot-picker.yaml
reads:
  Slot: {{elements: [status], search: [status]}}
  Encounter: {{elements: [status]}}
  Patient: {{elements: [name]}}
  ServiceRequest: {{elements: [status]}}
proposes:
  act:
    writes: {writes}
    {more}
    review: {{by: scheduler, within: 15m}}
    otherwise: {{handoff: desk, within: 30m}}
rollout:
  - {{stage: shadow}}
"""
WRITES = "[patch Slot.status, create Observation]"


def action(more: str, *, writes: str = WRITES) -> ActionRule:
    text = CHARTER.format(more=more, writes=writes)
    return parse_charter(text.encode(), file="c.yaml", read_model=read_model).proposes["act"]


def guards(text: str) -> tuple[GuardRule, ...]:
    return action(f"guards: [{text}]").guards


def test_guards_of_each_kind_become_records() -> None:
    assert guards('some: "Slot?status=free"') == (GuardRule(kind="some", query="Slot?status=free"),)
    assert guards('count: {query: "Slot?status=free", min: 2}') == (
        GuardRule(kind="count", query="Slot?status=free", found_min=2),
    )
    assert guards('count: {query: "Slot?status=free", is: 2}') == (
        GuardRule(kind="count", query="Slot?status=free", found_min=2, found_max=2),
    )
    assert guards('count: {query: "Slot?status=free", max: 0}') == (
        GuardRule(kind="count", query="Slot?status=free", found_max=0),
    )
    assert guards("fresh: {feed: adt, within: 5m}") == (
        GuardRule(kind="fresh", feed="adt", within_s=300.0),
    )
    assert guards("state: {path: Encounter.status, is: [arrived]}") == (
        GuardRule(kind="state", paths=("Encounter.status",), allowed=("arrived",)),
    )
    assert guards("state: {path: Slot.overbooked, not: [true]}") == (
        GuardRule(kind="state", paths=("Slot.overbooked",), denied=(True,)),
    )


def test_named_states_are_what_they_say() -> None:
    assert [g.paths[0] for g in guards("state: patient-usable")] == [
        "Patient.active", "Patient.deceased", "Patient.link.type",
    ]  # fmt: skip
    (opened,) = guards("state: encounter-open")
    assert "in-progress" in opened.allowed
    assert not {"finished", "cancelled", "entered-in-error", "planned"} & set(opened.allowed)
    (order,) = guards("state: order-active")
    assert (order.paths, order.allowed) == (("ServiceRequest.status",), ("active",))


def test_rules_of_elements_become_records() -> None:
    found = action(
        "fixed: {Slot.status: busy}\n    never: [Observation.note]\n"
        "    values: {Observation.value: {unit: mg, min: 1, max: 2.5},"
        ' Observation.code: {names: {"s|c": [Name, Other]}}}\n'
        "    links: [https://portal.example.org/]\n"
        "    limits: {changes: 2}\n    on_conflict: re-propose"
    )
    assert found.fixed == (("Slot.status", "busy"),)
    assert found.never == ("Observation.note",)
    assert found.values == (
        ValueRule(path="Observation.value", unit="mg", least=1, most=2.5),
        ValueRule(path="Observation.code", names=(("s|c", ("Name", "Other")),)),
    )
    assert found.links == ("https://portal.example.org/",)
    assert (found.limits, found.on_conflict) == ({"changes": 2}, "re-propose")


def test_what_is_left_out_is_as_before() -> None:
    plain = action("rules: []")
    assert (plain.fixed, plain.never, plain.values, plain.links) == ((), (), (), ())
    assert (plain.limits, plain.on_conflict, plain.review_each) == ({}, "review", False)


def test_status_is_a_patch_and_cancel_is_its_own() -> None:
    found = action("rules: []", writes="[status Slot, cancel Slot, create Observation.performer]")
    assert found.writes == (
        WriteRule(
            interaction="patch", resource_type="Slot", elements=("status",), named=("status",)
        ),
        WriteRule(interaction="cancel", resource_type="Slot"),
        WriteRule(
            interaction="create",
            resource_type="Observation",
            elements=("performer",),
            named=("performer",),
        ),
    )


def test_element_that_is_named_beside_any_element_stays_named() -> None:
    found = action("rules: []", writes="[create Observation, create Observation.performer]")
    (write,) = found.writes
    assert (write.elements, write.named) == ((), ("performer",))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("guards: [{some: x}]", "must be like"),
        ('guards: [{some: "Slot?nope=1"}]', "no search parameter nope"),
        ('guards: [{count: {query: "Slot?status=x", is: 1, max: 2}}]', "leave min and max out"),
        ('guards: [{count: {query: "Slot?status=x", min: 3, max: 2}}]', "min is above max"),
        ('guards: [{count: {query: "Slot?status=x"}}]', "with the keys query and is"),
        ("guards: [{fresh: {feed: adt}}]", "within"),
        ("guards: [{state: open}]", "encounter-open"),
        ("guards: [{state: {path: Encounter.nope, is: [x]}}]", "there is no Encounter.nope"),
        ("guards: [{state: {path: Task.status, is: [x]}}]", "needs Task under reads"),
        ("guards: [{state: {path: Encounter.status}}]", "one of is, not, absent"),
        ("guards: [{same: [Slot.status], some: x}]", "one of the keys"),
        ("fixed: {Slot.nope: x}", "there is no Slot.nope"),
        ("fixed: {Encounter.status: x}", "needs Encounter under writes"),
        ("fixed: {Observation.code: x}", "more than one value"),
        ("never: [Nope.status]", "no resource type Nope"),
        ("values: {Observation.value: {min: 3, max: 1}}", "min is above max"),
        ("values: {Observation.value: {unit: mg, one_of: [x]}}", "are for numbers"),
        ("values: {Observation.status: {unit: mg}}", "no number and no quantity"),
        ('values: {Observation.status: {names: {"a|b": [c]}}}', "is not coded"),
        ("values: {Observation.code: {near: 1}}", "there is no key near"),
        ("links: [http://portal.example.org/]", "an https address"),
        ("links: [https://portal.example.org]", "an https address"),
        ("limits: {changes: 0}", "a whole number from 1"),
        ("on_conflict: ignore", "review, re-propose or hand-off"),
    ],
)
def test_mistake_is_told_where_it_stands(more: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        action(more)


def test_rule_that_decides_alone_decides_on_no_single_change() -> None:
    change = "each: true, auto: {min_confidence: 0.9, from_stage: shadow}, within: 15m"
    text = CHARTER.replace("within: 15m", change.replace("{", "{{").replace("}", "}}"), 1)
    with pytest.raises(ConfigError, match="leave auto or each out"):
        parse_charter(
            text.format(more="rules: []", writes=WRITES).encode(),
            file="c.yaml",
            read_model=read_model,
        )


@pytest.mark.parametrize(
    ("writes", "sentence"),
    [
        ("[cancel Slot.status]", "names no element"),
        ("[status Patient]", "a type with a status"),
        ("[cancel Task]", "reads does not list"),
        ("[delete Slot]", "may not propose to delete"),
    ],
)
def test_write_that_cannot_be_is_told(writes: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        action("rules: []", writes=writes)


@pytest.mark.parametrize("kind", ["none", "some"])
def test_search_of_a_guard_takes_variables_of_what_is_written(kind: str) -> None:
    found: Any = guards(f'{kind}: "Slot?status={{Observation.status}}"')
    assert found[0].kind == kind
    with pytest.raises(ConfigError, match="variables come from what is known"):
        guards(f'{kind}: "Slot?status={{Task.status}}"')
