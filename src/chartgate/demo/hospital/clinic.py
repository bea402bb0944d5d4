"""Opens a clinic around patients: places, roles, schedules, slots, appointments, tasks, a visit.

Used for the sample population and for anyone's bundles, so that the demo's walk has what it needs
whatever was loaded. The same arguments give the same clinic. Hours are UTC.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from chartgate.demo.hospital.chart import Chart
from chartgate.demo.hospital.scenario import Scenario

CLINIC = "north-clinic"
DAYS = 14
HOURS = ((9, 12), (13, 16))
SLOT = timedelta(minutes=30)
BUSY_SHARE = 0.35
CLINICIANS_MAX = 4
SERVICE = {"text": "General practice"}
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
TASK_CODES = "https://north-clinic.example/task-codes"
Resource = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Opening:
    """What a clinic is opened with, and what has been put up so far."""

    chart: Chart
    patients: Sequence[str]  # ids
    clinicians: Sequence[str]  # ids
    today: date
    dice: random.Random
    booking_patient: str
    free: dict[str, list[str]] = field(default_factory=dict)  # slots by clinician

    def put(self, resource: Resource) -> str:
        """Files a resource under its own id; its reference."""
        reference = f"{resource['resourceType']}/{resource['id']}"
        self.chart.put(reference, resource, method="POST")
        return reference


def open_clinic(
    chart: Chart,
    *,
    patients: Sequence[str],
    clinicians: Sequence[str],
    today: date,
    seed: int,
    booking_patient: str,
    unreachable_patient: str = "",
    duplicates: tuple[str, ...] = (),
) -> Scenario:
    """Puts it all into the chart; `patients` and `clinicians` are ids that are there already."""
    opening = Opening(
        chart=chart,
        patients=[p for p in patients if p != booking_patient] or list(patients),
        clinicians=list(clinicians)[:CLINICIANS_MAX],
        today=today,
        dice=random.Random(seed),
        booking_patient=booking_patient,
    )
    _places(opening)
    for clinician in opening.clinicians:
        _schedule(opening, clinician)
    authorisation, misrouted = _tasks(opening)
    visit, visitor = _visit(opening)
    first = opening.clinicians[0]
    return Scenario(
        clinic=f"Organization/{CLINIC}",
        practitioner=f"Practitioner/{first}",
        schedule=f"Schedule/schedule-{first}",
        free_slots=tuple(opening.free[first]),
        booking_patient=f"Patient/{booking_patient}",
        unreachable_patient=f"Patient/{unreachable_patient}" if unreachable_patient else "",
        visit=visit,
        visit_patient=visitor,
        authorisation=authorisation,
        misrouted_task=misrouted,
        duplicates=duplicates,
        patients=tuple(f"Patient/{p}" for p in patients),
    )


def reference_to(resource_type: str, resource_id: str) -> Resource:
    """A Reference."""
    return {"reference": f"{resource_type}/{resource_id}"}


def _places(opening: Opening) -> None:
    opening.put(
        {"resourceType": "Organization", "id": CLINIC, "active": True, "name": "North Clinic"}
    )
    for name, title in (("rooms", "Consulting rooms"), ("desk", "Front desk")):
        opening.put(
            {
                "resourceType": "Location",
                "id": f"{CLINIC}-{name}",
                "status": "active",
                "name": f"North Clinic, {title}",
                "managingOrganization": reference_to("Organization", CLINIC),
            }
        )
    for team in ("authorisations", "billing"):
        opening.put(
            {
                "resourceType": "Organization",
                "id": f"{CLINIC}-{team}",
                "active": True,
                "name": f"North Clinic, {team}",
                "partOf": reference_to("Organization", CLINIC),
            }
        )
    for clinician in opening.clinicians:
        opening.put(
            {
                "resourceType": "PractitionerRole",
                "id": f"role-{clinician}"[:64],
                "active": True,
                "practitioner": reference_to("Practitioner", clinician),
                "organization": reference_to("Organization", CLINIC),
                "location": [reference_to("Location", f"{CLINIC}-rooms")],
                "specialty": [SERVICE],
            }
        )


def _schedule(opening: Opening, clinician: str) -> None:
    schedule_id = f"schedule-{clinician}"[:64]
    opening.put(
        {
            "resourceType": "Schedule",
            "id": schedule_id,
            "active": True,
            "serviceType": [SERVICE],
            "actor": [
                reference_to("Practitioner", clinician),
                reference_to("Location", f"{CLINIC}-rooms"),
            ],
            "planningHorizon": {
                "start": opening.today.isoformat(),
                "end": (opening.today + timedelta(days=DAYS)).isoformat(),
            },
        }
    )
    opening.free[clinician] = []
    tomorrow = opening.today + timedelta(days=1)
    for start in _starts(opening.today):
        slot_id = f"{clinician}-{start:%m%d-%H%M}"[-64:]
        busy = opening.dice.random() < BUSY_SHARE
        opening.put(
            {
                "resourceType": "Slot",
                "id": slot_id,
                "serviceType": [SERVICE],
                "schedule": reference_to("Schedule", schedule_id),
                "status": "busy" if busy else "free",
                "start": _instant(start),
                "end": _instant(start + SLOT),
            }
        )
        if busy:
            _appointment(opening, clinician, slot_id, start)
        elif start.date() >= tomorrow:
            opening.free[clinician].append(f"Slot/{slot_id}")


def _appointment(opening: Opening, clinician: str, slot_id: str, start: datetime) -> None:
    patient = opening.dice.choice(opening.patients)
    opening.put(
        {
            "resourceType": "Appointment",
            "id": f"appt-{slot_id}"[-64:],
            "status": "booked",
            "serviceType": [SERVICE],
            "slot": [reference_to("Slot", slot_id)],
            "start": _instant(start),
            "end": _instant(start + SLOT),
            "created": opening.today.isoformat(),
            "participant": [
                {"actor": reference_to("Patient", patient), "status": "accepted"},
                {"actor": reference_to("Practitioner", clinician), "status": "accepted"},
            ],
        }
    )


def _tasks(opening: Opening) -> tuple[str, str]:
    """Prior authorisations in several states; one went to billing, where nobody will do it."""
    states = ("requested", "requested", "accepted", "in-progress", "completed", "requested")
    references = []
    for number, status in enumerate(states, start=1):
        patient = opening.patients[(number * 7) % len(opening.patients)]
        clinician = opening.clinicians[number % len(opening.clinicians)]
        authored = opening.today - timedelta(days=number)
        order = opening.put(
            {
                "resourceType": "ServiceRequest",
                "id": f"order-{number}",
                "status": "active",
                "intent": "order",
                "code": {"text": "MRI of the lumbar spine"},
                "subject": reference_to("Patient", patient),
                "requester": reference_to("Practitioner", clinician),
                "authoredOn": authored.isoformat(),
            }
        )
        team = "billing" if number == len(states) else "authorisations"
        coding = {"system": TASK_CODES, "code": "prior-authorisation"}
        references.append(
            opening.put(
                {
                    "resourceType": "Task",
                    "id": f"auth-{number}",
                    "status": status,
                    "intent": "order",
                    "code": {"coding": [coding], "text": "Prior authorisation"},
                    "focus": {"reference": order},
                    "for": reference_to("Patient", patient),
                    "authoredOn": _instant(_at(authored, 9)),
                    "lastModified": _instant(_at(authored, 9)),
                    "requester": reference_to("Practitioner", clinician),
                    "owner": reference_to("Organization", f"{CLINIC}-{team}"),
                }
            )
        )
    return references[0], references[-1]


def _visit(opening: Opening) -> tuple[str, str]:
    """A visit of yesterday that is over and has no note yet."""
    patient = opening.patients[len(opening.patients) // 2]
    clinician = opening.clinicians[0]
    yesterday = opening.today - timedelta(days=1)
    visit = opening.put(
        {
            "resourceType": "Encounter",
            "id": "visit-without-note",
            "status": "finished",
            "class": {"system": ACT, "code": "AMB", "display": "ambulatory"},
            "subject": reference_to("Patient", patient),
            "participant": [{"individual": reference_to("Practitioner", clinician)}],
            "period": {"start": _instant(_at(yesterday, 10)), "end": _instant(_at(yesterday, 11))},
            "reasonCode": [{"text": "Follow-up of blood pressure"}],
            "location": [{"location": reference_to("Location", f"{CLINIC}-rooms")}],
            "serviceProvider": reference_to("Organization", CLINIC),
        }
    )
    return visit, f"Patient/{patient}"


def _starts(today: date) -> Iterator[datetime]:
    for offset in range(DAYS):
        day = today + timedelta(days=offset)
        if day.weekday() < 5:
            for opens, closes in HOURS:
                start = _at(day, opens)
                while start < _at(day, closes):
                    yield start
                    start += SLOT


def _at(day: date, hour: int) -> datetime:
    return datetime.combine(day, time(hour), tzinfo=UTC)


def _instant(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
