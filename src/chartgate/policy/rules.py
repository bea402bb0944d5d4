"""Checks that a charter can name: what must be true of a proposal beside FHIR's own rules."""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from chartgate.errors import Unprocessable
from chartgate.formats.compartment import PATIENT_ELEMENTS, patient_of
from chartgate.model.resource import Resource
from chartgate.model.write import Change
from chartgate.policy.guards import values_at

Images = Sequence[Resource | None]
Rule = Callable[[Sequence[Change], Images, Sequence[Resource]], str | None]


def check_rules(
    names: Sequence[str], changes: Sequence[Change], afters: Images, seen: Sequence[Resource]
) -> None:
    """Raises Unprocessable with the rule's name and what it found."""
    for name in names:
        finding = RULES[name](changes, afters, seen)
        if finding is not None:
            raise Unprocessable(f"{name}: {finding}")


def _appointment_within_slot(
    changes: Sequence[Change], afters: Images, seen: Sequence[Resource]
) -> str | None:
    slots = {_own_reference(r): r for r in [*seen, *_written(afters, "Slot")] if _is(r, "Slot")}
    for appointment in _written(afters, "Appointment"):
        references = values_at(appointment, "slot.reference")
        if not references:
            return "the appointment names no slot"
        if any(r not in slots for r in references):
            return "the appointment names a slot that was not read"
        named = [slots[r] for r in references]
        starts, ends = _times(named, "start"), _times(named, "end")
        start, end = _times([appointment], "start"), _times([appointment], "end")
        if not (start and end and len(starts) == len(ends) == len(named)):
            return "the appointment and its slots need a start and an end"
        if not (min(starts) <= start[0] < end[0] <= max(ends)):
            return "the appointment is not within its slots"
    return None


def _slot_is_free(
    changes: Sequence[Change], afters: Images, seen: Sequence[Resource]
) -> str | None:
    """As it stands before the change: after a conflict that is the live chart, so that a slot
    which somebody took meanwhile is never booked a second time, whoever approves it."""
    states = {_own_reference(r): r.get("status") for r in seen if _is(r, "Slot")}
    for appointment in _written(afters, "Appointment"):
        named = values_at(appointment, "slot.reference")
        if any(states.get(r) != "free" for r in named):
            return "the appointment's slot is not free"
    return None


def _same_patient(
    changes: Sequence[Change], afters: Images, seen: Sequence[Resource]
) -> str | None:
    named = {p for after in afters if after for p in _patients(after)}
    if len(named) > 1:
        return "the proposal is about more than one patient"
    known = {p for resource in seen for p in _patients(resource)}
    if named and not named <= known:
        return "the proposal is about a patient whom this interaction has not read"
    return None


def _note_has_text(
    changes: Sequence[Change], afters: Images, seen: Sequence[Resource]
) -> str | None:
    for note in _written(afters, "DocumentReference"):
        attachments = values_at(note, "content.attachment")
        if not attachments or not all(_has_text(a) for a in attachments):
            return "a note needs content.attachment.data with text in it"
    return None


def _task_times_in_order(
    changes: Sequence[Change], afters: Images, seen: Sequence[Resource]
) -> str | None:
    for task in _written(afters, "Task"):
        period = task.get("executionPeriod") or {}
        if _is_after(period.get("start"), period.get("end")) or _is_after(
            task.get("authoredOn"), task.get("lastModified")
        ):
            return "a time of the task lies before the one that it must follow"
    return None


RULES: Mapping[str, Rule] = {
    "appointment-within-slot": _appointment_within_slot,
    "slot-is-free": _slot_is_free,
    "same-patient": _same_patient,
    "note-has-text": _note_has_text,
    "task-times-in-order": _task_times_in_order,
}


def _is(resource: Resource, resource_type: str) -> bool:
    return resource.get("resourceType") == resource_type


def _written(afters: Images, resource_type: str) -> Iterator[Resource]:
    return (a for a in afters if a is not None and _is(a, resource_type))


def _own_reference(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource.get('id', '')}"


def _patients(resource: Resource) -> set[str]:
    """Every patient that the resource is or names as whom it is about."""
    one = patient_of(resource)
    paths = (*PATIENT_ELEMENTS, "participant.actor")
    named = (r for p in paths for r in values_at(resource, f"{p}.reference"))
    found = {r for r in named if isinstance(r, str) and r.startswith("Patient/")}
    return found | {one} if one else found


def _times(resources: Sequence[Any], name: str) -> list[datetime]:
    """The moments under that name; what is no time with a zone is left out."""
    found = (_time(r.get(name)) for r in resources if isinstance(r, dict))
    return [t for t in found if t is not None]


def _time(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else None


def _is_after(first: Any, then: Any) -> bool:
    """Whether one FHIR dateTime is certainly later; dates are compared as far as both are told."""
    moments = _time(first), _time(then)
    if moments[0] and moments[1]:
        return moments[0] > moments[1]
    if not isinstance(first, str) or not isinstance(then, str):
        return False
    told = min(len(first.partition("T")[0]), len(then.partition("T")[0]))
    return first[:told] > then[:told]


def _has_text(attachment: Any) -> bool:
    data = attachment.get("data") if isinstance(attachment, dict) else None
    if not isinstance(data, str):
        return False
    try:
        content = base64.b64decode("".join(data.split()), validate=True)
    except binascii.Error:
        return False
    return bool(content.strip())
