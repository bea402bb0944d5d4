"""The checks that a charter can name; allowed and refused share one set-up."""

import base64
from typing import Any

import pytest

from chartgate.errors import Unprocessable
from chartgate.policy.rules import RULES, check_rules

SLOT: dict[str, Any] = {
    "resourceType": "Slot",
    "id": "12",
    "start": "2026-03-03T09:00:00Z",
    "end": "2026-03-03T09:30:00Z",
}
NEXT: dict[str, Any] = {
    **SLOT,
    "id": "13",
    "start": "2026-03-03T09:30:00Z",
    "end": "2026-03-03T10:00:00Z",
}
PATIENT: dict[str, Any] = {"resourceType": "Patient", "id": "7"}
APPOINTMENT: dict[str, Any] = {
    "resourceType": "Appointment",
    "start": "2026-03-03T10:00:00+01:00",
    "end": "2026-03-03T09:30:00Z",
    "slot": [{"reference": "Slot/12"}],
    "participant": [{"actor": {"reference": "Patient/7"}}],
}


def checked(name: str, *afters: dict[str, Any] | None, seen: Any = (SLOT, NEXT, PATIENT)) -> None:
    check_rules([name], [], afters, seen)


def test_appointment_when_within_its_slots_then_it_passes() -> None:
    checked("appointment-within-slot", APPOINTMENT)
    both = {**APPOINTMENT, "slot": [{"reference": "Slot/12"}, {"reference": "Slot/13"}]}
    checked("appointment-within-slot", {**both, "end": "2026-03-03T10:00:00Z"}, None)
    checked("appointment-within-slot", PATIENT)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"start": "2026-03-03T08:59:00Z"}, "not within"),
        ({"end": "2026-03-03T09:31:00Z"}, "not within"),
        ({"end": "2026-03-03T09:00:00Z"}, "not within"),
        ({"start": "2026-03-03T09:00:00"}, "need a start and an end"),
        ({"start": None}, "need a start and an end"),
        ({"slot": []}, "names no slot"),
        ({"slot": [{"reference": "Slot/99"}]}, "not read"),
    ],
)
def test_appointment_when_outside_its_slot_then_it_is_refused(
    change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Unprocessable, match=f"appointment-within-slot: .*{sentence}"):
        checked("appointment-within-slot", {**APPOINTMENT, **change})


def test_patient_when_it_is_the_one_that_was_read_then_it_passes() -> None:
    checked(
        "same-patient", APPOINTMENT, {"resourceType": "Task", "for": {"reference": "Patient/7"}}
    )
    checked("same-patient", SLOT)


def test_patient_when_there_are_two_then_it_is_refused() -> None:
    other = {"resourceType": "Task", "for": {"reference": "Patient/8"}}
    with pytest.raises(Unprocessable, match="more than one patient"):
        checked("same-patient", APPOINTMENT, other)
    crowd = {**APPOINTMENT, "participant": [{"actor": {"reference": f"Patient/{n}"}} for n in "78"]}
    with pytest.raises(Unprocessable, match="more than one patient"):
        checked("same-patient", crowd)


def test_patient_when_nobody_read_it_then_it_is_refused() -> None:
    with pytest.raises(Unprocessable, match="has not read"):
        checked("same-patient", APPOINTMENT, seen=[SLOT])


def note(*data: Any) -> dict[str, Any]:
    content = [{"attachment": {"contentType": "text/plain", "data": d}} for d in data]
    return {"resourceType": "DocumentReference", "content": content}


def test_note_when_it_has_text_then_it_passes() -> None:
    checked("note-has-text", note(base64.b64encode(b"Seen today.").decode()))


@pytest.mark.parametrize("data", [(), ("",), ("ICAg",), ("no base64!",), (None,), (5,)])
def test_note_when_it_has_no_text_then_it_is_refused(data: tuple[Any, ...]) -> None:
    with pytest.raises(Unprocessable, match="with text in it"):
        checked("note-has-text", note(*data))


@pytest.mark.parametrize(
    ("task", "passes"),
    [
        ({}, True),
        ({"executionPeriod": {"start": "2026-03-03T09:00:00Z"}}, True),
        ({"executionPeriod": {"start": "2026-03-03T09:00:00Z", "end": "2026-03-04"}}, True),
        (
            {"executionPeriod": {"start": "2026-03-03T09:00:00Z", "end": "2026-03-03T08:00:00Z"}},
            False,
        ),
        ({"executionPeriod": {"start": "2026-03-03", "end": "2026-03-02"}}, False),
        ({"authoredOn": "2026-03-03", "lastModified": "2026-03-02T10:00:00Z"}, False),
        ({"authoredOn": "2026-03-03T09:00:00Z", "lastModified": "2026-03-03T09:00:00Z"}, True),
    ],
)
def test_task_when_its_times_are_out_of_order_then_it_is_refused(
    task: dict[str, Any], passes: bool
) -> None:
    if passes:
        checked("task-times-in-order", {"resourceType": "Task", **task})
        return
    with pytest.raises(Unprocessable, match="lies before"):
        checked("task-times-in-order", {"resourceType": "Task", **task})


def test_rules_when_listed_then_they_are_the_ones_a_charter_can_name() -> None:
    assert sorted(RULES) == [
        "appointment-within-slot",
        "note-has-text",
        "same-patient",
        "slot-is-free",
        "task-times-in-order",
    ]


@pytest.mark.parametrize("status", ["busy", "busy-unavailable", "entered-in-error", None])
def test_appointment_in_a_slot_that_is_not_free_is_refused(status: str | None) -> None:
    checked(
        "slot-is-free", APPOINTMENT, {**SLOT, "status": "busy"}, seen=[SLOT | {"status": "free"}]
    )
    with pytest.raises(Unprocessable, match=r"slot-is-free: .*not free"):
        checked("slot-is-free", APPOINTMENT, seen=[SLOT | {"status": status}])
    with pytest.raises(Unprocessable, match=r"slot-is-free: .*not free"):
        checked("slot-is-free", APPOINTMENT, seen=[PATIENT])
