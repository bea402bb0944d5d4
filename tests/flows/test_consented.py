"""A patient who objects stops what an AI proposes about them, up to the last moment."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chartgate.config import SiteConfig
from chartgate.errors import Denied, SourceUnreachable
from chartgate.flows import commits, consented
from chartgate.flows.consent_records import bring_in
from chartgate.flows.consented import SAY_CANNOT_ASK, SAY_NO_CONSENT, why_not_consented
from chartgate.flows.consents import Asked
from chartgate.flows.proposals import submit
from chartgate.formats.compartment import SOMEBODY
from chartgate.gate import Gate
from chartgate.model.consent import ConsentAnswer
from chartgate.model.principal import Process
from chartgate.model.proposal import Proposal, Status
from chartgate.model.resource import Resource
from chartgate.policy.consent_question import question_about
from chartgate.policy.content import parse_changes
from chartgate.policy.labels import labels_of
from tests.flows.clinics import PICKER, SITE, Clinic
from tests.policy.test_decide import BOOK

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


# What is asked, and what becomes of the answers, without a store.

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
SLOT: Resource = {"resourceType": "Slot", "id": "12", "status": "free"}
VISIT: Resource = {
    "resourceType": "Appointment", "id": "5", "status": "booked",
    "participant": [{"actor": {"reference": "Patient/a"}}, {"actor": {"reference": "Patient/b"}}],
}  # fmt: skip
OF_HIV: Resource = {
    "resourceType": "Condition", "subject": {"reference": "Patient/c"},
    "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "B20"}]},
}  # fmt: skip
CANCEL = [{"op": "replace", "path": "/status", "value": "cancelled"}]
MISSING, YES = ("missing", False), ("Consent/1#0", True)


class Consents:
    """Stands for `decide_for`: notes what it was asked, and answers as it is told to."""

    def __init__(self, *answers: tuple[str, bool]) -> None:
        self.answers, self.calls = answers, list[Any]()

    async def __call__(
        self, gate: Gate, site: str, client: str, asked: Sequence[Asked], *, at: datetime
    ) -> tuple[ConsentAnswer, ...]:
        self.calls.append((site, client, list(asked), at))
        return tuple(
            ConsentAnswer(permitted=permitted, rule=rule, sentence="", digest="")
            for rule, permitted in self.answers
        )


async def why_not(patch: pytest.MonkeyPatch, consents: Consents, *raw: Any) -> str | None:
    patch.setattr(consented, "decide_for", consents)
    content = SimpleNamespace(changes=parse_changes(list(raw)))
    proposal = SimpleNamespace(
        charter="clinic-booking", site=SITE, author="client:slot-picker", content=content
    )
    gate = cast(Gate, SimpleNamespace(charters=BOOK, clock=lambda: AT))
    bodies = {"Slot/12": SLOT, "Appointment/5": VISIT}
    return await why_not_consented(gate, cast(Proposal, proposal), bodies)


def create(resource: Resource) -> Any:
    return {"interaction": "create", "resource": resource}


def cancelled(reference: str) -> Any:
    return {"interaction": "patch", "reference": reference, "patch": CANCEL}


def asked_about(resource: Resource, *patients: str) -> Asked:
    question = question_about(
        resource,
        patient="",
        purpose="TREAT",
        actors=frozenset(),
        labels=labels_of(resource, BOOK.labels),
        at=AT,
    )
    return Asked(patients=frozenset(patients), question=question)


async def test_every_patient_of_what_is_made_and_of_what_is_changed_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consents = Consents(YES)
    raw = (create(OF_HIV), cancelled("Appointment/5"), cancelled("Slot/12"))
    assert await why_not(monkeypatch, consents, *raw) is None
    asked = [
        asked_about(OF_HIV, "Patient/c"),
        asked_about(VISIT, "Patient/a", "Patient/b"),
    ]
    assert asked[0].question.labels.sensitivities == {"HIV"}
    assert consents.calls == [(SITE, "slot-picker", asked, AT)]


async def test_what_does_not_say_whom_it_is_about_is_somebodys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consents = Consents(YES)
    basic: Resource = {"resourceType": "Basic"}
    await why_not(monkeypatch, consents, create(basic))
    assert consents.calls == [(SITE, "slot-picker", [asked_about(basic, SOMEBODY)], AT)]


async def test_what_is_about_no_patient_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    consents = Consents(("mode", False))
    raw = (cancelled("Slot/12"), cancelled("Slot/unread"))
    assert await why_not(monkeypatch, consents, *raw) is None
    assert consents.calls == []


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([YES], None),
        ([YES, YES], None),
        ([("Consent/1#0", False)], SAY_NO_CONSENT),
        ([YES, ("mode", False)], SAY_NO_CONSENT),
        ([MISSING, ("mode", False)], SAY_NO_CONSENT),
        ([("mode", False), MISSING], SAY_NO_CONSENT),
    ],
)
async def test_one_no_is_enough(
    monkeypatch: pytest.MonkeyPatch, answers: list[tuple[str, bool]], why: str | None
) -> None:
    assert await why_not(monkeypatch, Consents(*answers), create(OF_HIV)) == why


@pytest.mark.parametrize("answers", [[MISSING], [YES, MISSING], [MISSING, MISSING]])
async def test_no_that_came_of_not_knowing_is_to_be_asked_again(
    monkeypatch: pytest.MonkeyPatch, answers: list[tuple[str, bool]]
) -> None:
    with pytest.raises(SourceUnreachable, match=SAY_CANNOT_ASK):
        await why_not(monkeypatch, Consents(*answers), create(OF_HIV))
