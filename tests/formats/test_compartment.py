"""Whom a resource is about."""

from typing import Any

import pytest

from chartgate.formats.compartment import patient_of

ALICE, BOB = {"reference": "Patient/a"}, {"reference": "Patient/b"}


@pytest.mark.parametrize(
    ("resource", "patient"),
    [
        ({"resourceType": "Patient", "id": "a"}, "Patient/a"),
        ({"resourceType": "Patient"}, None),
        ({"resourceType": "Observation", "subject": ALICE}, "Patient/a"),
        ({"resourceType": "Immunization", "patient": ALICE}, "Patient/a"),
        ({"resourceType": "Task", "for": ALICE}, "Patient/a"),
        ({"resourceType": "Coverage", "beneficiary": ALICE}, "Patient/a"),
        ({"resourceType": "Observation", "subject": {"reference": "Group/1"}}, None),
        ({"resourceType": "Observation", "subject": {"display": "A"}}, None),
        ({"resourceType": "Observation", "subject": "Patient/a"}, None),
        (
            {
                "resourceType": "Appointment",
                "participant": [{"actor": {"reference": "Practitioner/1"}}, {"actor": ALICE}],
            },
            "Patient/a",
        ),
        ({"resourceType": "Appointment", "participant": [{"actor": ALICE}, {"actor": BOB}]}, None),
        ({"resourceType": "Appointment", "participant": "x"}, None),
        ({"resourceType": "Slot"}, None),
    ],
)
def test_patient_is_the_one_that_is_named(resource: dict[str, Any], patient: str | None) -> None:
    assert patient_of(resource) == patient
