"""The checks a real EHR makes before it files a resource: enough to refuse nonsense.

Not a validator: required elements and status codes of the types the sample hospital uses, id and
reference shapes, and times in order. Source: https://hl7.org/fhir/R4/resourcelist.html
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from chartgate.demo.hospital.dates import parse_interval
from chartgate.demo.hospital.exchange import Refused
from chartgate.demo.hospital.parameters import PARAMETERS

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "Appointment": ("status", "participant"),
    "AllergyIntolerance": ("patient",),
    "CarePlan": ("status", "intent", "subject"),
    "Communication": ("status",),
    "Condition": ("subject",),
    "Consent": ("status", "scope", "category"),
    "Coverage": ("status", "beneficiary", "payor"),
    "DiagnosticReport": ("status", "code"),
    "DocumentReference": ("status", "content"),
    "Encounter": ("status", "class"),
    "Immunization": ("status", "vaccineCode", "patient"),
    "MedicationRequest": ("status", "intent", "subject"),
    "Observation": ("status", "code"),
    "Procedure": ("status", "subject"),
    "Schedule": ("actor",),
    "ServiceRequest": ("status", "intent", "subject"),
    "Slot": ("schedule", "status", "start", "end"),
    "Task": ("status", "intent"),
    "Basic": ("code",),
}
STATUSES: Mapping[str, frozenset[str]] = {
    name: frozenset(codes.split())
    for name, codes in {
        "Appointment": "proposed pending booked arrived fulfilled cancelled noshow"
        " entered-in-error checked-in waitlist",
        "Slot": "busy free busy-unavailable busy-tentative entered-in-error",
        "Task": "draft requested received accepted rejected ready cancelled in-progress on-hold"
        " failed completed entered-in-error",
        "Encounter": "planned arrived triaged in-progress onleave finished cancelled"
        " entered-in-error unknown",
        "DocumentReference": "current superseded entered-in-error",
        "ServiceRequest": "draft active on-hold revoked completed entered-in-error unknown",
        "Observation": "registered preliminary final amended corrected cancelled"
        " entered-in-error unknown",
    }.items()
}
LISTS = frozenset({"identifier", "participant", "content", "actor", "payor", "slot", "extension"})
GENDERS = frozenset({"male", "female", "other", "unknown"})


def check_type(resource_type: str) -> None:
    """Raises Refused for a type that the hospital does not keep."""
    if resource_type not in PARAMETERS:
        raise Refused(404, "not-supported", f"this server has no type {resource_type[:60]!r}")


def check_id(resource_id: str) -> None:
    """Raises Refused for what cannot be a resource id."""
    if not ID.fullmatch(resource_id):
        raise Refused(400, "value", "an id has 1 to 64 letters, digits, dashes and dots")


def check_resource(resource: Any, resource_type: str, *, codes: bool = True) -> Mapping[str, Any]:
    """The resource, if it may be filed as `resource_type`. Raises Refused with 400 or 422.

    Without `codes`, status codes are not looked at, as some servers do.
    """
    if not isinstance(resource, dict):
        raise Refused(400, "structure", "the body must be one JSON object")
    if resource.get("resourceType") != resource_type:
        raise Refused(400, "invalid", f"resourceType must be {resource_type}")
    for name in REQUIRED.get(resource_type, ()):
        if resource.get(name) in (None, "", [], {}):
            raise Refused(422, "required", f"{resource_type}.{name} is required")
    for name in LISTS & resource.keys():
        if not isinstance(resource[name], list):
            raise Refused(422, "structure", f"{resource_type}.{name} must be a list")
    if codes:
        _check_status(resource, resource_type)
    for path, value in _empty(resource, resource_type):
        raise Refused(422, "value", f"{path} is empty: {value!r}")
    _check_times(resource, resource_type)
    if resource_type == "Appointment":
        _check_participants(resource)
    return resource


def _check_status(resource: Mapping[str, Any], resource_type: str) -> None:
    codes = STATUSES.get(resource_type)
    if codes is not None and resource.get("status") not in codes:
        raise Refused(422, "code-invalid", f"{resource_type}.status is none of its codes")
    if resource_type == "Patient" and resource.get("gender", "unknown") not in GENDERS:
        raise Refused(422, "code-invalid", "Patient.gender is none of its codes")


def _check_times(resource: Mapping[str, Any], resource_type: str) -> None:
    if resource_type not in ("Slot", "Appointment"):
        return
    times = []
    for name in ("start", "end"):
        if name in resource:
            value = resource[name]
            interval = parse_interval(value) if isinstance(value, str) and "T" in value else None
            if interval is None:
                raise Refused(422, "value", f"{resource_type}.{name} must be an instant")
            times.append(interval[0])
    if len(times) == 2 and times[1] < times[0]:
        raise Refused(422, "invariant", f"{resource_type}.end is before its start")


def _check_participants(resource: Mapping[str, Any]) -> None:
    for participant in resource["participant"]:
        if not isinstance(participant, dict) or not participant.get("status"):
            raise Refused(422, "required", "Appointment.participant.status is required")
        if not participant.get("type") and not participant.get("actor"):
            raise Refused(422, "invariant", "app-1: a participant needs a type or an actor")
    timeless = resource["status"] in ("proposed", "cancelled", "waitlist")
    if not timeless and not ("start" in resource and "end" in resource):
        raise Refused(422, "invariant", "app-3: only proposed or cancelled ones may lack times")


def _empty(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Elements that are null or empty: FHIR allows neither."""
    if value == {} or value == [] or value == "":
        yield path, value
    elif isinstance(value, dict):
        for name, item in value.items():
            if item is None:
                yield f"{path}.{name}", item
            yield from _empty(item, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _empty(item, path)
