"""What the tests of reads and searches share: a client, and what it reads of."""

from typing import Any

import orjson

from chartgate.model.principal import Client
from chartgate.store.database import Database

SCOPES = ("system/Appointment.rs", "system/Patient.r", "system/Slot.rs")
CLIENT = Client(id="slot-picker", charter="clinic-booking", scopes=SCOPES)
PATIENT = {
    "resourceType": "Patient",
    "id": "7",
    "name": [{"family": "Test"}],
    "birthDate": "1970-01-01",
    "address": [{"city": "Testville"}],
}
SLOT: dict[str, Any] = {
    "resourceType": "Slot",
    "id": "12",
    "schedule": {"reference": "Schedule/1"},
    "status": "free",
    "start": "2026-03-03T09:00:00Z",
    "end": "2026-03-03T09:30:00Z",
    "comment": "not for the client",
}
APPOINTMENT = {
    "resourceType": "Appointment",
    "id": "3",
    "status": "booked",
    "participant": [{"actor": {"reference": "Patient/7"}, "status": "accepted"}],
}


async def audited(database: Database) -> list[dict[str, Any]]:
    rows = await database.fetch("SELECT body FROM audit_event WHERE tenant = $1 ORDER BY id")
    return [orjson.loads(row["body"]) for row in rows]
