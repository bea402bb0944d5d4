"""Guards: what must be the same, what must be found or not, what state a resource must be in."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from chartgate.errors import Unprocessable
from chartgate.model.charter import GuardRule
from chartgate.policy.action_parts import guard_rules
from chartgate.policy.guards import (
    VALUES_MAX,
    filled_query,
    found_breaks,
    found_wanted,
    parse_query,
    same_breaks,
    same_paths,
    state_holds,
    values_at,
)
from tests.policy.test_decide import BOOK

ACTION = BOOK.get("clinic-booking").proposes["book"]
SLOT = {"resourceType": "Slot", "status": "free", "start": "2026-03-03T09:00:00Z"}
APPOINTMENT: dict[str, Any] = {
    "resourceType": "Appointment",
    "start": "2026-03-03T09:00:00Z",
    "participant": [
        {"actor": {"reference": "Patient/7"}},
        {"actor": {"reference": "Practitioner/3"}},
        {"actor": {"reference": "Practitioner/4"}},
        {"actor": {"display": "nobody"}},
    ],
}


def query(text: str, *seen: dict[str, Any]) -> Any:
    return filled_query(GuardRule(kind="none", query=text), [APPOINTMENT], seen)


def test_same_paths_when_asked_then_they_are_those_of_the_type() -> None:
    assert same_paths(ACTION, "Slot/12") == ("status", "start", "end")
    assert same_paths(ACTION, "Patient/7") == ()
    deep = GuardRule(kind="same", paths=("Slot.meta.versionId", "Slot.status"))
    action = replace(ACTION, guards=(*ACTION.guards, deep))
    assert same_paths(action, "Slot/12") == ("status", "start", "end", "meta.versionId")


def test_same_breaks_when_an_element_changed_came_or_went_then_it_is_named() -> None:
    live = {**SLOT, "status": "busy", "end": "2026-03-03T09:30:00Z", "comment": "x"}
    assert same_breaks(("status", "start", "end"), SLOT, live) == ("status", "end")
    assert same_breaks(("status", "start", "end"), SLOT, dict(SLOT)) == ()
    assert same_breaks(("start",), SLOT, {}) == ("start",)


def test_same_breaks_when_a_list_has_another_order_then_it_broke() -> None:
    paths = ("participant.actor.reference",)
    turned = {**APPOINTMENT, "participant": APPOINTMENT["participant"][::-1]}
    assert same_breaks(paths, APPOINTMENT, turned) == paths


def test_filled_query_when_filled_then_references_are_picked_by_type() -> None:
    assert filled_query(ACTION.guards[1], [APPOINTMENT], [SLOT]) == (
        "Appointment",
        (
            ("actor", "Practitioner/3,Practitioner/4"),
            ("date", "2026-03-03T09:00:00Z"),
            ("status", "booked"),
        ),
    )


def test_variables_when_not_in_what_is_written_then_what_was_read_is_asked() -> None:
    found = query(
        "Slot?schedule={Slot.schedule}", {**SLOT, "schedule": {"reference": "Schedule/1"}}
    )
    assert found == ("Slot", (("schedule", "Schedule/1"),))
    assert query("Slot?start=ge{Appointment.start}")[1] == (("start", "ge2026-03-03T09:00:00Z"),)
    both = [{"reference": "Location/1"}, {"reference": "Device/2"}]
    read = {"resourceType": "Task", "focus": both}
    assert query("Slot?x={Task.focus[Device]}", read)[1] == (("x", "Device/2"),)


def test_variables_when_a_value_has_search_syntax_in_it_then_it_is_escaped() -> None:
    seen = {"resourceType": "Task", "description": "a,b|c$d\\e", "status": True, "priority": 3}
    assert query("Task?x={Task.description}", seen)[1] == (("x", "a\\,b\\|c\\$d\\\\e"),)
    assert query("Task?x={Task.status}&y={Task.priority}", seen)[1] == (("x", "true"), ("y", "3"))
    seen = {"resourceType": "Patient", "active": False, "given": [None, "Ann", ["x"]]}
    assert query("Patient?active={Patient.active}", seen)[1] == (("active", "false"),)
    assert query("Patient?given={Patient.given}", seen)[1] == (("given", "Ann"),)


def test_variables_when_there_is_no_value_then_the_guard_cannot_pass() -> None:
    with pytest.raises(Unprocessable, match=r"needs Slot\.schedule"):
        query("Slot?schedule={Slot.schedule}", SLOT)
    with pytest.raises(Unprocessable, match=r"needs Appointment\.participant"):
        query("Slot?x={Appointment.participant.actor[Location]}")


def test_variables_when_there_are_very_many_values_then_it_is_refused() -> None:
    actors = [{"actor": {"reference": f"Patient/{n}"}} for n in range(VALUES_MAX + 1)]
    many = {"resourceType": "Task", "participant": actors}
    with pytest.raises(Unprocessable, match="over 20 values"):
        query("Task?x={Task.participant.actor}", many)
    most = {**many, "participant": actors[1:]}
    ((_, alternatives),) = query("Task?x={Task.participant.actor}", most)[1]
    assert alternatives.count(",") == VALUES_MAX - 1


@pytest.mark.parametrize(
    "text",
    ["", "Slot", "Slot?", "Slot?status", "Slot?status=", "slot?a=b", "Slot?a={}", "Slot?a={x}",
     "Slot?a={Slot}", "Slot?a={Slot.x[]}", "Slot?a=b c", "Slot?a=b&&c=d", "Slot?a=b#c"],
)  # fmt: skip
def test_filled_query_when_malformed_then_it_does_not_parse(text: str) -> None:
    assert parse_query(text) is None


def test_values_when_a_choice_is_named_by_its_base_then_it_is_found() -> None:
    observation = {"valueQuantity": {"value": 5}, "valued": 1, "value_": 2}
    assert values_at(observation, "value.value") == [5]
    assert values_at({"value": 1}, "value.deeper") == []


@pytest.mark.parametrize("complete", [True, False])
def test_found_breaks_unless_the_guard_holds_for_any_number_that_there_may_be(
    complete: bool,
) -> None:
    """Law: a search tells the number, or, where not all of it was read, only the least that it is.
    A guard holds where it does for each number that this leaves open."""
    guards = [GuardRule(kind="none"), GuardRule(kind="some")]
    for least, most in product(range(4), (None, *range(4))):
        guards.append(GuardRule(kind="count", found_min=least, found_max=most))
    for guard, count in product(guards, range(6)):
        numbers = [count] if complete else range(count, 10)
        holds = all(allows(guard, n) for n in numbers)
        assert found_breaks(guard, count, complete=complete) is not holds, (guard, count)


def allows(guard: GuardRule, number: int) -> bool:
    """Whether a chart with so many matches, all of them known, is as the guard wants it."""
    if guard.kind == "count":
        return guard.found_min <= number <= (10 if guard.found_max is None else guard.found_max)
    return (number > 0) is (guard.kind == "some")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"none": "Slot?x=y"}, "none"),
        ({"some": "Slot?x=y"}, "some"),
        ({"count": {"query": "Slot?x=y", "min": 2}}, "at least 2"),
        ({"count": {"query": "Slot?x=y", "max": 2}}, "0 to 2"),
        ({"count": {"query": "Slot?x=y", "is": 2}}, "exactly 2"),
        ({"count": {"query": "Slot?x=y", "min": 1, "max": 2}}, "1 to 2"),
    ],
)
def test_found_wanted_says_how_many_as_a_person_would(rule: dict[str, Any], words: str) -> None:
    (guard,) = guard_rules(rule)
    assert found_wanted(guard) == words


TASK: dict[str, Any] = {
    "resourceType": "Task",
    "status": "requested",
    "restriction": {"repetitions": 1, "period": {"start": "2026-03-03"}},
    "input": [{"valueBoolean": False}, {"valueCode": "low"}, {"valueInteger": 0}],
}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"path": "Task.status", "is": ["requested"]}, True),
        ({"path": "Task.status", "is": ["received", "requested"]}, True),
        ({"path": "Task.status", "is": ["received"]}, False),
        ({"path": "Task.owner", "is": ["received"]}, False),  # it must be there
        ({"path": "Task.restriction.repetitions", "is": [1]}, True),
        ({"path": "Task.restriction.repetitions", "is": [True]}, False),  # 1 is not true
        ({"path": "Task.restriction.period.start", "is": ["2026-03-03"]}, True),
        ({"path": "Task.input.value", "is": [False, "low", 0]}, True),  # each of them
        ({"path": "Task.input.value", "is": [False, "low"]}, False),
        ({"path": "Task.status", "not": ["requested"]}, False),
        ({"path": "Task.status", "not": ["received"]}, True),
        ({"path": "Task.owner", "not": ["received"]}, True),  # what is not there is not it
        ({"path": "Task.input.value", "not": ["high", 1]}, True),
        ({"path": "Task.input.value", "not": ["low", 1]}, False),  # none of them
        ({"path": "Task.owner", "absent": True}, True),
        ({"path": "Task.status", "absent": True}, False),
        ({"path": "Task.restriction.period.end", "absent": True}, True),
        ({"path": "Task.restriction.period.start", "absent": True}, False),
        ({"path": "Task.input.value", "absent": True}, False),  # one of them says more than false
        ({"path": "Task.input.valueBoolean", "absent": True}, True),
        ({"path": "Task.input.valueInteger", "absent": True}, False),  # nought is not false
    ],
    ids=str,
)
def test_state_holds_when_all_that_the_path_leads_to_is_as_asked(
    rule: dict[str, Any], expected: bool
) -> None:
    (guard,) = guard_rules({"state": rule})
    assert state_holds(guard, TASK) is expected
