"""Synthetic resources, about nobody, for tests and for the conformance kit."""

from chartgate.model.resource import Resource

NOTE = "Made by a test, about nobody. It may be deleted."


def task(description: str = "conformance") -> Resource:
    """A Task without a patient, which any FHIR server should take."""
    return {
        "resourceType": "Task",
        "status": "draft",
        "intent": "proposal",
        "description": description,
        "note": [{"text": NOTE}],
    }


def slot(schedule: str, *, start: str, end: str, status: str = "free") -> Resource:
    """A Slot of e.g. "Schedule/1"."""
    return {
        "resourceType": "Slot",
        "schedule": {"reference": schedule},
        "status": status,
        "start": start,
        "end": end,
    }


def appointment(patient: str, practitioner: str, *, slot: str, start: str, end: str) -> Resource:
    """A booked Appointment in one slot."""
    return {
        "resourceType": "Appointment",
        "status": "booked",
        "slot": [{"reference": slot}],
        "start": start,
        "end": end,
        "participant": [
            {"actor": {"reference": reference}, "status": "accepted"}
            for reference in (patient, practitioner)
        ],
    }
