"""Which resources the demo's story plays on.

The hospital works it out when it fills its chart, from its own patients or from anyone's bundles;
GET /control/scenario shows it as JSON with the same names.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """References such as "Patient/N1004"; "" or () where the loaded chart has nothing of the kind."""

    clinic: str  # Organization
    practitioner: str  # whose schedule the booking story is about
    schedule: str
    free_slots: tuple[str, ...]  # of that schedule, not before tomorrow, soonest first
    booking_patient: str  # has a phone and a birth date, and no appointment yet
    unreachable_patient: str  # birth date missing
    visit: str  # Encounter, finished, without a note
    visit_patient: str
    authorisation: str  # Task, prior authorisation, requested
    misrouted_task: str  # its owner is not who should do it
    duplicates: tuple[str, ...]  # one person, registered twice
    patients: tuple[str, ...]
