"""Changes to tell, and who is named in them."""

import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from chartgate.formats.hl7v2 import Message, parse
from chartgate.model.write import WireMessage
from chartgate.transform.hl7v2_out.compose import compose
from chartgate.transform.hl7v2_out.settings import SendSettings
from chartgate.transform.hl7v2_out.subject import Told

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MARKER = "3e0b7c52-2c0f-4d4e-9a51-6a2f6c1d7b11"
MRN = "urn:north:mrn"
SETTINGS = SendSettings(
    connection="north-v2",
    writes=("SIU", "OML", "ORM", "MDM", "ORU", "ADT"),
    facility="NORTH",
    receiving_application="SCHED",
    receiving_facility="NORTH",
    systems={MRN: "NORTH", "urn:north:staff": "STAFF"},
    filler_system="urn:north:filler",
)
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "7",
    "identifier": [
        {"system": MRN, "value": "4711"},
        {"system": "http://hl7.org/fhir/sid/us-ssn", "value": "999-99-9999"},
    ],
    "name": [{"use": "official", "family": "O'Hara|Q", "given": ["Ann", "B"]}],
    "birthDate": "1970-02-03",
    "gender": "female",
    "telecom": [
        {"system": "phone", "use": "home", "value": "+1 555 0100"},
        {"system": "phone", "use": "work", "value": "+1 555 0199"},
        {"system": "email", "value": "ann@example.org"},
    ],
    "address": [{"use": "home", "line": ["1 Hill Rd"], "city": "Ulm", "postalCode": "89073"}],
}
DOCTOR: dict[str, Any] = {
    "resourceType": "Practitioner",
    "id": "d1",
    "identifier": [{"system": "urn:north:staff", "value": "77"}],
    "name": [{"family": "Doctor", "given": ["Dora"], "prefix": ["Dr."]}],
}
ROOM: dict[str, Any] = {"resourceType": "Location", "id": "r1", "name": "Room 4"}
ENCOUNTER: dict[str, Any] = {
    "resourceType": "Encounter",
    "id": "e1",
    "class": {"code": "IMP"},
    "identifier": [{"system": MRN, "value": "V-9"}],
}
NAMED = {
    "Patient/7": PATIENT,
    "Practitioner/d1": DOCTOR,
    "Location/r1": ROOM,
    "Encounter/e1": ENCOUNTER,
}
NOTE = "Seen today.\n\nPain | less ~ than ^ before."


def appointment(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Appointment",
        "status": "booked",
        "slot": [{"reference": "Slot/1"}],
        "serviceType": [{"coding": [{"system": "urn:x", "code": "CHK", "display": "Check-up"}]}],
        "start": "2026-03-03T08:00:00Z",
        "end": "2026-03-03T08:30:00Z",
        "minutesDuration": 30,
        "participant": [
            {"actor": {"reference": "Patient/7"}, "status": "accepted"},
            {"actor": {"reference": "Practitioner/d1"}, "status": "accepted"},
            {"actor": {"reference": "Location/r1"}, "status": "accepted"},
        ],
        **more,
    }


def order(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "priority": "stat",
        "code": {"coding": [{"system": "http://loinc.org", "code": "24323-8"}]},
        "subject": {"reference": "Patient/7"},
        "requester": {"reference": "Practitioner/d1"},
        "authoredOn": "2026-03-02T08:55:00Z",
        "note": [{"text": "fasting"}],
        **more,
    }


def note(text: str = NOTE, **more: Any) -> dict[str, Any]:
    data = base64.b64encode(text.encode()).decode()
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "docStatus": "preliminary",
        "type": {"coding": [{"system": "http://loinc.org", "code": "11506-3"}]},
        "subject": {"reference": "Patient/7"},
        "date": "2026-03-02T08:50:00Z",
        "content": [{"attachment": {"contentType": "text/plain", "data": data}}],
        "context": {"encounter": [{"reference": "Encounter/e1"}]},
        **more,
    }


def observation(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {
            "coding": [{"system": "http://loinc.org", "code": "2345-7", "display": "Glucose"}]
        },
        "subject": {"reference": "Patient/7"},
        "effectiveDateTime": "2026-03-02T08:00:00Z",
        "valueQuantity": {
            "value": 92.5,
            "unit": "mg/dL",
            "system": "http://unitsofmeasure.org",
            "code": "mg/dL",
        },
        **more,
    }


def create(resource: dict[str, Any], *, marker: str = MARKER) -> Told:
    return Told(kind="create", after=resource, marker=marker)


def change(before: dict[str, Any], **after: Any) -> Told:
    held = {"id": "x1", **before}
    changed = {k: v for k, v in {**held, **after}.items() if v is not None}
    return Told(kind="change", before=held, after=changed, marker=MARKER)


def undo(resource: dict[str, Any]) -> Told:
    mark = {"system": "urn:chartgate:proposal", "value": MARKER}
    return Told(kind="undo", before={**resource, "identifier": [mark]}, marker=f"{MARKER}.rollback")


def wire(*changes: Told, **settings: Any) -> WireMessage:
    return compose(changes, NAMED, replace(SETTINGS, **settings), marker=MARKER, at=AT)


def told(*changes: Told, **settings: Any) -> Message:
    return parse(wire(*changes, **settings).raw)
