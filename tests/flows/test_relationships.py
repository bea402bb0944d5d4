"""Who is known to care for a patient: exact references in active resources, and nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chartgate.config import Config, PeopleConfig
from chartgate.errors import Invalid, NotFound, SourceUnreachable, Throttled
from chartgate.flows.relationships import FRESH_FOR, relationships_of
from chartgate.gate import Gate, Running
from chartgate.model.charter import RELATIONSHIPS
from chartgate.model.ports import Criteria
from chartgate.model.principal import Client, Person, Principal
from chartgate.model.resource import SearchPage
from chartgate.policy.charters import compile_book
from chartgate.store.audit import AuditWriter
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from chartgate.testing.gates import MemorySource

OSEI = Person(id="osei", roles=("clinician",), sites=("north",))
STRANGER = Person(id="stranger", roles=("clinician",), sites=("north",))
SCRIBE = Client(id="scribe", charter="visit-note")
HELPER = Client(id="helper", charter="visit-note")
PATIENT = "Patient/7"
IDENTITIES = {"osei": "Practitioner/12", "client:helper": "Organization/5"}


class Ehr(MemorySource):
    """Gives back all that it has of a type, whatever was asked: a system that ignores criteria,
    or leaks what is of other patients."""

    async def search(self, resource_type: str, criteria: Criteria, *, count_max: int) -> SearchPage:
        assert ("patient", PATIENT) in criteria
        return await super().search(resource_type, [], count_max=count_max)


@pytest.fixture
def ehr(clock: FakeClock) -> Ehr:
    return Ehr(clock)


@pytest.fixture
def gate(database: Database, clock: FakeClock, tmp_path: Path, ehr: Ehr) -> Gate:
    audit = AuditWriter(database)
    return Gate(
        config=Config(folder=tmp_path, people=PeopleConfig(identities=IDENTITIES)),
        clock=clock,
        database=database,
        audit=audit,
        running=Running(charters=compile_book(())),
        sources={"ehr": ehr},
        sinks={},
    )


async def known(gate: Gate, who: Principal = OSEI, patient: str = PATIENT) -> frozenset[str]:
    return await relationships_of(gate, "ehr", patient, who, RELATIONSHIPS)


def named(reference: str) -> dict[str, str]:
    return {"reference": reference}


def care_team(**changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "CareTeam",
        "id": "1",
        "status": "active",
        "subject": named(PATIENT),
        "participant": [{"member": named("Practitioner/12")}],
        **changes,
    }


def encounter(**changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "id": "1",
        "status": "in-progress",
        "subject": named(PATIENT),
        "participant": [{"individual": named("Practitioner/12")}],
        **changes,
    }


def appointment(**changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "Appointment",
        "id": "1",
        "status": "booked",
        "start": "2999-01-01T09:00:00Z",
        "end": "2999-01-01T09:15:00Z",
        "participant": [
            {"actor": named(PATIENT), "status": "accepted"},
            {"actor": named("Practitioner/12"), "status": "accepted"},
        ],
        **changes,
    }


async def test_relationships_when_active_resources_name_both_then_they_hold(
    gate: Gate, ehr: Ehr
) -> None:
    for resource in (care_team(), encounter(), appointment()):
        ehr.put(resource)
    assert await known(gate) == {"care-team", "encounter", "appointment"}
    assert await known(gate, STRANGER) == frozenset()
    assert await relationships_of(gate, "ehr", PATIENT, OSEI, ["encounter"]) == {"encounter"}
    assert await relationships_of(gate, "ehr", PATIENT, OSEI, ["friend"]) == frozenset()


@pytest.mark.parametrize(
    "resource",
    [
        care_team(status="proposed"),
        care_team(status=None),
        care_team(subject=named("Patient/77")),
        care_team(subject=named("https://other/Patient/7")),
        care_team(subject=None),
        care_team(participant=[]),
        care_team(participant=[{"member": named("Practitioner/123")}]),
        care_team(participant=[{"member": named("practitioner/12")}]),
        care_team(participant=[{"member": named("Practitioner/12/_history/1")}]),
        care_team(participant=[{"member": {"display": "Practitioner/12"}}]),
        care_team(participant=[{"onBehalfOf": named("Practitioner/12")}]),
        care_team(
            participant=[{"member": named("Practitioner/12"), "period": {"end": "2001-01-01"}}]
        ),
        care_team(period={"start": "2999-01-01"}),
        care_team(period="soon"),
        care_team(participant="Practitioner/12"),
        {**care_team(), "resourceType": "Group"},
        encounter(status="finished"),
        encounter(status="planned"),
        encounter(subject=named("Patient/77")),
        encounter(participant=[{"individual": named("Practitioner/1")}]),
        encounter(period={"end": "2001-01-01"}),
        encounter(period={"start": "when it suits"}),
        appointment(status="cancelled"),
        appointment(status="noshow"),
        appointment(start="2001-01-01T09:00:00Z", end="2001-01-01T09:15:00Z"),
        appointment(start=None, end=None),
        appointment(participant=[{"actor": named("Practitioner/12"), "status": "accepted"}]),
        appointment(
            participant=[
                {"actor": named(PATIENT), "status": "accepted"},
                {"actor": named("Practitioner/12"), "status": "declined"},
            ]
        ),
    ],
)
async def test_resource_when_it_is_not_exactly_that_then_it_is_no_relationship(
    gate: Gate, ehr: Ehr, resource: dict[str, Any]
) -> None:
    ehr.put(resource)
    assert await known(gate) == frozenset()


async def test_care_team_when_it_is_of_another_patient_then_members_gain_nothing(
    gate: Gate, ehr: Ehr
) -> None:
    """A system that answers with teams of other patients, as one is known to, opens no door."""
    ehr.put(care_team(subject=named("Patient/8")))
    ehr.put({**care_team(participant=[{"member": named("Practitioner/99")}]), "id": "2"})
    assert await known(gate) == frozenset()


async def test_client_when_it_has_no_name_there_then_the_patients_care_counts_but_no_team(
    gate: Gate, ehr: Ehr
) -> None:
    for resource in (care_team(), encounter(), appointment()):
        ehr.put(resource)
    assert await known(gate, SCRIBE) == {"encounter", "appointment"}
    assert await known(gate, HELPER) == frozenset()
    ehr.put(care_team(participant=[{"member": named("Organization/5")}]))
    gate.relationships.clear()
    assert await known(gate, HELPER) == {"care-team"}


@pytest.mark.parametrize(
    "fault",
    [
        SourceUnreachable("away"),
        Throttled("slow down", retry_after_s=1),
        NotFound("no"),
        Invalid("what"),
    ],
)
async def test_source_when_it_does_not_answer_then_there_is_none_and_none_is_remembered(
    gate: Gate, ehr: Ehr, fault: Any
) -> None:
    ehr.put(encounter())
    ehr.fault = fault
    assert await known(gate) == frozenset()
    ehr.fault = None
    assert await known(gate) == {"encounter"}
    assert await relationships_of(gate, "gone", PATIENT, OSEI, RELATIONSHIPS) == frozenset()


@pytest.mark.parametrize("patient", ["", "Patient/", "Group/7", "Patient/7?x=1", "Patient/7,8"])
async def test_patient_when_it_is_no_reference_then_nothing_is_asked(
    gate: Gate, ehr: Ehr, patient: str
) -> None:
    assert await known(gate, patient=patient) == frozenset()
    assert ehr.asked == []


async def test_answer_when_it_is_seconds_old_then_it_is_asked_anew(
    gate: Gate, ehr: Ehr, clock: FakeClock
) -> None:
    ehr.put(encounter())
    assert await known(gate) == {"encounter"}
    asked = len(ehr.asked)
    ehr.put(encounter(status="finished"))
    assert await known(gate) == {"encounter"}
    assert len(ehr.asked) == asked
    clock.advance(FRESH_FOR.total_seconds())
    assert await known(gate) == frozenset()


async def test_identity_when_a_connection_has_its_own_then_that_one_counts(
    gate: Gate, ehr: Ehr
) -> None:
    ehr.put(encounter())
    people = PeopleConfig(identities={**IDENTITIES, "osei@ehr": "Practitioner/1"})
    elsewhere = replace(gate, config=replace(gate.config, people=people))
    assert await known(elsewhere) == frozenset()
