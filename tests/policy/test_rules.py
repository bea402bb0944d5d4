"""The checks that a charter can name; allowed and refused share one set-up."""

import base64
from itertools import combinations
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


def test_slot_counts_as_it_would_stand() -> None:
    longer = {**SLOT, "end": "2026-03-03T11:00:00Z"}
    late = {**APPOINTMENT, "end": "2026-03-03T10:45:00Z"}
    checked("appointment-within-slot", longer, late)
    with pytest.raises(Unprocessable, match="not within"):
        checked("appointment-within-slot", late)
    with pytest.raises(Unprocessable, match="not within"):
        checked("appointment-within-slot", {**SLOT, "end": "2026-03-03T09:10:00Z"}, APPOINTMENT)


BOB: dict[str, Any] = {"resourceType": "Patient", "id": "8"}
NAMING = ("subject", "patient", "for", "beneficiary", "individual", "participant")


@pytest.mark.parametrize(("one", "other"), list(combinations(NAMING, 2)))
def test_two_patients_under_whatever_names_are_more_than_one(one: str, other: str) -> None:
    def naming(**who: str) -> dict[str, Any]:
        named: dict[str, Any] = {name: {"reference": r} for name, r in who.items()}
        if "participant" in named:
            named["participant"] = [{"actor": named["participant"]}]
        return {"resourceType": "Basic", **named}

    checked("same-patient", naming(**{one: "Patient/7", other: "Patient/7"}), seen=[PATIENT, BOB])
    with pytest.raises(Unprocessable, match=r"same-patient: .*more than one"):
        checked(
            "same-patient", naming(**{one: "Patient/7", other: "Patient/8"}), seen=[PATIENT, BOB]
        )


def test_what_names_no_patient_is_no_other_one() -> None:
    checked("same-patient", APPOINTMENT, SLOT, None)
    odd = {"resourceType": "Basic", "subject": {"reference": 7}, "patient": "Patient/8"}
    checked("same-patient", APPOINTMENT, odd)


@pytest.mark.parametrize(
    ("first", "then", "in_order"),
    [
        ("2026-03-03", "2026-03-03", True),
        ("2026-03-03", "2026-03-04", True),
        ("2026-03-04", "2026-03-03", False),
        ("2026-03", "2026-03-01", True),  # may be the same day
        ("2026-03-31", "2026-03", True),
        ("2026-04", "2026-03-31", False),
        ("2026-03-03", "2026-03-03T08:00:00Z", True),
        ("2026-03-03T09:00:00", "2026-03-03T08:00:00Z", True),  # without a zone it cannot be told
        ("2026-03-03T09:00:00Z", "2026-03-03T08:00:00Z", False),
        ("2026-03-03T09:00:00Z", "2026-03-03T10:00:00+02:00", False),
        ("2026-03-03T09:00:00Z", None, True),
        (None, "2026-03-03", True),
        (7, "2026-03-03", True),
    ],
)
def test_time_is_later_only_where_that_is_certain(first: Any, then: Any, in_order: bool) -> None:
    for task in (
        {"executionPeriod": {"start": first, "end": then}},
        {"authoredOn": first, "lastModified": then},
    ):
        if in_order:
            checked("task-times-in-order", {"resourceType": "Task", **task})
            continue
        with pytest.raises(Unprocessable, match="must follow"):
            checked("task-times-in-order", {"resourceType": "Task", **task})


@pytest.mark.parametrize(
    ("attachment", "has_text"),
    [
        ({"data": base64.b64encode(b"He is well.").decode()}, True),
        ({"data": " SGUgaXM\ngd2VsbC4=\r\n"}, True),  # white space within is no content
        ({"data": base64.b64encode(b" \n").decode()}, False),
        ({"data": "no base64!"}, False),
        ({"data": 7}, False),
        ({}, False),
        ("data", False),
        (None, False),
    ],
)
def test_text_of_a_note_is_what_its_bytes_say(attachment: Any, has_text: bool) -> None:
    note = {"resourceType": "DocumentReference", "content": [{"attachment": attachment}]}
    if has_text:
        checked("note-has-text", note)
        return
    with pytest.raises(Unprocessable, match="note-has-text"):
        checked("note-has-text", note)
