"""Whom a resource is about."""

from collections.abc import Callable
from typing import Any

import pytest

from chartgate.formats import r4
from chartgate.formats.compartment import (
    DEPTH_MAX,
    SOMEBODY,
    WITHOUT_PATIENTS,
    is_unattributed,
    owner_of,
    patient_of,
    patients_named,
)

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
        ({"resourceType": "Flag", "subject": {"reference": "Patient/a/_history/3"}}, "Patient/a"),
        ({"resourceType": "Observation", "subject": {"reference": "Group/1"}}, None),
        ({"resourceType": "Observation", "subject": {"display": "A"}}, None),
        ({"resourceType": "Observation", "subject": "Patient/a"}, None),
        ({"resourceType": "Flag", "subject": {"reference": "Patient/../a"}}, "Patient/../a"),
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


@pytest.mark.parametrize(
    ("resource", "named"),
    [
        ({"resourceType": "Patient", "id": "a", "link": [{"other": BOB}]}, {"Patient/a"}),
        ({"resourceType": "Patient"}, {SOMEBODY}),
        ({"resourceType": "Group", "member": [{"entity": ALICE}, {"entity": BOB}]}, "ab"),
        ({"resourceType": "List", "subject": ALICE, "entry": [{"item": BOB}]}, "ab"),
        ({"resourceType": "CareTeam", "participant": [{"member": BOB}]}, "b"),
        ({"resourceType": "Provenance", "target": [ALICE]}, "a"),
        ({"resourceType": "AuditEvent", "entity": [{"what": ALICE}]}, "a"),
        ({"resourceType": "Communication", "recipient": [BOB], "subject": ALICE}, "ab"),
        ({"resourceType": "Observation", "focus": [BOB], "subject": ALICE}, "ab"),
        ({"resourceType": "Basic", "extension": [{"url": "x", "valueReference": ALICE}]}, "a"),
        ({"resourceType": "Task", "input": [{"valueReference": BOB}]}, "b"),
        ({"resourceType": "Task", "extension": [{"extension": [{"valueReference": BOB}]}]}, "b"),
        ({"resourceType": "Task", "requester": {"reference": "Practitioner/1"}}, set()),
        ({"resourceType": "Task", "focus": {"reference": "Patience/1"}}, set()),
        (
            {"resourceType": "Flag", "subject": {"reference": "https://ehr/fhir/Patient/a"}},
            "a",
        ),
        ({"resourceType": "Flag", "subject": {"reference": "Patient/a/_history/3"}}, "a"),
        ({"resourceType": "Flag", "subject": {"reference": "Patient?identifier=1"}}, {SOMEBODY}),
        ({"resourceType": "Flag", "subject": {"reference": "Patient/../a"}}, {SOMEBODY}),
        ({"resourceType": "Flag", "subject": {"type": "Patient", "identifier": {}}}, {SOMEBODY}),
        (
            {"resourceType": "Flag", "contained": [{"resourceType": "Patient", "id": "p"}]},
            {SOMEBODY},
        ),
        (
            {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient"}}]},
            {SOMEBODY},
        ),
        ({"resourceType": "Slot", "comment": "Patient/a"}, set()),
        ({"resourceType": "Observation", "subject": {"reference": "Group/1"}}, set()),
        ({"resourceType": "Observation", "subject": "Patient/a"}, set()),
    ],
)
def test_every_patient_that_is_named_is_found(
    resource: dict[str, Any], named: str | set[str]
) -> None:
    expected = {f"Patient/{c}" for c in named} if isinstance(named, str) else named
    assert patients_named(resource) == expected


def test_each_type_is_without_patients_or_must_name_one() -> None:
    types = r4.resource_types()
    assert types >= WITHOUT_PATIENTS
    nameless = {t for t in types if is_unattributed({"resourceType": t}, frozenset())}
    assert nameless == types - WITHOUT_PATIENTS
    assert {"Group", "List", "Appointment", "CareTeam", "Provenance", "AuditEvent", "Communication",
            "Task", "QuestionnaireResponse", "Binary", "Bundle", "Basic", "Device", "Person",
            "RelatedPerson", "Specimen", "Parameters", "MessageHeader"} <= nameless  # fmt: skip


def test_type_that_r4_does_not_know_must_name_a_patient() -> None:
    assert is_unattributed({"resourceType": "Patients"}, frozenset())
    assert is_unattributed({}, frozenset())


@pytest.mark.parametrize("nested", [lambda inner: {"x": inner}, lambda inner: [inner]])
def test_what_nests_too_deep_is_refused(nested: Callable[[Any], Any]) -> None:
    """To the last level that is looked at a patient is found; one more is no answer at all."""
    value: Any = ALICE
    for _ in range(DEPTH_MAX - 2):
        value = nested(value)
    assert patients_named({"resourceType": "Basic", "y": value}) == {"Patient/a"}
    with pytest.raises(ValueError, match="deep"):
        patients_named({"resourceType": "Basic", "y": nested(value)})
    assert owner_of({"resourceType": "Basic", "y": nested(value)}) == ""


@pytest.mark.parametrize(
    ("resource", "owner"),
    [
        ({"resourceType": "Slot"}, None),
        ({"resourceType": "Location", "extension": [{"valueReference": ALICE}]}, None),
        ({"resourceType": "Patient", "id": "a"}, "Patient/a"),
        ({"resourceType": "Patient"}, ""),
        ({"resourceType": "Observation", "subject": ALICE, "focus": [BOB]}, "Patient/a"),
        ({"resourceType": "Flag", "subject": {"reference": "Patient/a/_history/3"}}, "Patient/a"),
        ({"resourceType": "Flag", "subject": {"reference": "https://ehr/Patient/a"}}, "Patient/a"),
        ({"resourceType": "Group", "member": [{"entity": ALICE}]}, "Patient/a"),
        ({"resourceType": "Group", "member": [{"entity": ALICE}, {"entity": BOB}]}, ""),
        ({"resourceType": "Flag", "subject": {"reference": "Patient?identifier=1"}}, ""),
        ({"resourceType": "Basic"}, ""),
        ({}, ""),
    ],
)
def test_owner_is_the_patient_whose_erasure_must_reach_it(
    resource: dict[str, Any], owner: str | None
) -> None:
    assert owner_of(resource) == owner
