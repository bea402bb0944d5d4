"""A patient who objects stops what an AI proposes about them, up to the last moment."""

from dataclasses import replace
from typing import Any

import pytest

from chartgate.config import SiteConfig
from chartgate.errors import Denied, SourceUnreachable
from chartgate.flows import commits
from chartgate.flows.consent_records import bring_in
from chartgate.flows.consented import SAY_NO_CONSENT
from chartgate.flows.proposals import submit
from chartgate.gate import Gate
from chartgate.model.principal import Process
from chartgate.model.proposal import Status
from tests.flows.clinics import PICKER, SITE, Clinic

CLI = Process(id="cli")


def dissent(patient: str) -> dict[str, Any]:
    scope = {"system": "http://terminology.hl7.org/CodeSystem/consentscope"}
    return {
        "resourceType": "Consent",
        "id": "no",
        "status": "active",
        "scope": {"coding": [{**scope, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": patient},
        "dateTime": "2026-01-01T00:00:00Z",
        "policy": [{"uri": "http://example.org/policy"}],
        "provision": {"type": "deny"},
    }


async def object_to_it(clinic: Clinic) -> None:
    patient = clinic.hospital.scenario.booking_patient
    await bring_in(clinic.gate, CLI, SITE, [dissent(patient)])


async def test_patient_who_objects_is_proposed_nothing_about(clinic: Clinic) -> None:
    submission = await clinic.booking()
    await object_to_it(clinic)
    with pytest.raises(Denied, match=SAY_NO_CONSENT):
        await submit(clinic.gate, PICKER, submission)
    (refused,) = [e for e in await clinic.audited("proposal.submit") if e["outcome"] == "denied"]
    assert refused["reason"] == "forbidden"


async def test_objection_after_the_approval_stops_the_write(clinic: Clinic) -> None:
    approved = await clinic.approved()
    await object_to_it(clinic)
    assert await commits.commit_next(clinic.gate, "w1")
    after = await clinic.get(approved)
    assert (after.status, after.reason) == (Status.HANDED_OFF, SAY_NO_CONSENT)
    assert clinic.effects(approved) == 0
    assert clinic.sink.sent == []


async def test_consents_out_of_reach_delay_the_write_and_refuse_a_proposal(clinic: Clinic) -> None:
    approved = await clinic.approved()
    submission = await clinic.booking(clinic.hospital.scenario.free_slots[1])
    gate = asking(clinic.gate, "away")
    with pytest.raises(SourceUnreachable):
        await submit(gate, PICKER, submission)
    assert await commits.commit_next(gate, "w1")
    waiting = await clinic.get(approved)
    assert waiting.status is Status.APPROVED
    assert clinic.effects(approved) == 0
    clinic.clock.advance(31)
    assert await commits.commit_next(clinic.gate, "w1")
    assert (await clinic.get(approved)).status is Status.VERIFIED


def asking(gate: Gate, connection: str) -> Gate:
    """The same gate, where consent is needed and held by a system that is not there."""
    site = SiteConfig(name=SITE, consent="opt-in", consent_from=connection)
    sources = {**gate.sources, connection: Away()}
    return replace(gate, config=replace(gate.config, sites={SITE: site}), sources=sources)


class Away:
    """A Source that never answers."""

    async def read(self, reference: str, *, if_none_match: str | None = None) -> Any:
        raise SourceUnreachable("away")

    async def search(self, resource_type: str, criteria: Any, *, count_max: int) -> Any:
        raise SourceUnreachable("away")

    async def history(self, reference: str, *, count_max: int) -> Any:
        raise SourceUnreachable("away")
