"""Guards: what must be the same, what must not be found."""

from typing import Any

import pytest

from chartgate.errors import Unprocessable
from chartgate.model.charter import GuardRule
from chartgate.policy.guards import filled_query, parse_query, same_breaks, same_paths, values_at
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


def test_variables_when_a_value_has_search_syntax_in_it_then_it_is_escaped() -> None:
    seen = {"resourceType": "Task", "description": "a,b|c$d\\e", "status": True, "priority": 3}
    assert query("Task?x={Task.description}", seen)[1] == (("x", "a\\,b\\|c\\$d\\\\e"),)
    assert query("Task?x={Task.status}&y={Task.priority}", seen)[1] == (("x", "true"), ("y", "3"))


def test_variables_when_there_is_no_value_then_the_guard_cannot_pass() -> None:
    with pytest.raises(Unprocessable, match=r"needs Slot\.schedule"):
        query("Slot?schedule={Slot.schedule}", SLOT)
    with pytest.raises(Unprocessable, match=r"needs Appointment\.participant"):
        query("Slot?x={Appointment.participant.actor[Location]}")


def test_variables_when_there_are_very_many_values_then_it_is_refused() -> None:
    actors = [{"actor": {"reference": f"Patient/{n}"}} for n in range(21)]
    many = {"resourceType": "Task", "participant": actors}
    with pytest.raises(Unprocessable, match="over 20 values"):
        query("Task?x={Task.participant.actor}", many)


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
