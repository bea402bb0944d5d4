"""Attacks inside of a proposal: whom it is about, in which unit, under which name, how much of it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from chartgate.flows.proposals import Submission, submit
from chartgate.model.proposal import Status
from chartgate.policy.charters import compile_book
from tests.attacks.chart import OTHER
from tests.attacks.contract import refused
from tests.attacks.test_agents import body_of
from tests.flows.clinics import CHARTERS, SCRIBE, sample_charter
from tests.web.front_desk import FrontDesk

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
READS = (
    "\nproposes:\n",
    "\n  Observation: {elements: [status, code, subject, value], fresh: live}\n\nproposes:\n",
)
RECORD = (
    "\nproposes:\n",
    """
proposes:
  record:
    writes: [create Observation, patch Observation.value, patch Observation.status]
    guards: [{state: patient-usable}, {state: encounter-open}]
    values:
      Observation.code: {names: {"http://loinc.org|2339-0": [Glucose]}}
      Observation.value: {unit: mg/dL, min: 10, max: 1000}
    never: [Observation.interpretation]
    limits: {changes: 3, bytes: 6000, elements: 60}
    review: {by: clinician, within: 12h}
    otherwise: {handoff: documentation, within: 24h}
""",
)
READER = replace(SCRIBE, scopes=("system/Encounter.r", "system/Patient.r", "system/Observation.r"))
READING = "Observation/glucose"


def glucose(value: Any = 140, unit: str = "mg/dL", code: str = "mg/dL") -> dict[str, Any]:
    return {"value": value, "unit": unit, "code": code, "system": UCUM}


@pytest.fixture(scope="module", autouse=True)
async def recording(desk: FrontDesk) -> AsyncIterator[None]:
    """The scribe's charter lets readings be recorded; one was, and its visit is open."""
    hospital, running = desk.clinic.hospital, desk.gate.running
    patient = hospital.resource(hospital.scenario.visit)["subject"]["reference"]
    code = {"coding": [{"system": LOINC, "code": "2339-0", "display": "Glucose"}]}
    hospital.edit(
        {
            "resourceType": "Observation",
            "id": "glucose",
            "status": "final",
            "code": code,
            "subject": {"reference": patient},
            "valueQuantity": glucose(126),
        }
    )
    hospital.edit(hospital.resource(hospital.scenario.visit) | {"status": "in-progress"})
    book = running.charters
    change = {"visit-note": [READS, RECORD]}
    charters = [sample_charter(name, change=change.get(name, ())) for name in CHARTERS]
    running.charters = compile_book(charters)
    yield
    running.charters = book


async def reading(desk: FrontDesk, **more: Any) -> Submission:
    """A reading that may be recorded, with some of it as an attacker has it."""
    visit = desk.clinic.hospital.scenario.visit
    patient = desk.clinic.hospital.resource(visit)["subject"]["reference"]
    interaction = await desk.clinic.see(READER, visit, patient, READING)
    resource = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "2339-0", "display": "Glucose"}]},
        "subject": {"reference": patient},
        "encounter": {"reference": visit},
        "valueQuantity": glucose(),
    } | more
    resource = {key: value for key, value in resource.items() if value is not None}
    return Submission(
        site="north-clinic",
        action="record",
        interaction=interaction,
        changes=[{"interaction": "create", "resource": resource}],
        confidence=0.9,
        rationale="Read off the meter.",
    )


async def attack(
    desk: FrontDesk,
    headers: dict[str, str],
    submission: Submission,
    sentence: str,
    status: int = 422,
) -> None:
    """Refused by the contract, with the sentence that says why."""
    way = lambda: desk.ask("POST", "/v1/proposals", headers=headers, json=body_of(submission))
    answer = await refused(desk, way, status=status, action="proposal.submit")
    assert sentence in answer.text


async def test_reading_as_it_should_be_is_taken(desk: FrontDesk, scribe: dict[str, str]) -> None:
    """What all the others differ from."""
    proposal = await submit(desk.gate, SCRIBE, await reading(desk))
    assert proposal.status is Status.PENDING_REVIEW
    await desk.ask("POST", f"/v1/proposals/{proposal.id}/withdraw", headers=scribe)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"valueQuantity": glucose(140, "mmol/L", "mmol/L")}, "must be in mg/dL"),
        ({"valueQuantity": glucose(140, "mg/dL", "mmol/L")}, "must be in mg/dL"),
        ({"valueQuantity": glucose(140, "mmol/L", "mg/dL")}, "must be in mg/dL"),
        ({"valueQuantity": glucose(140, "g/dL", "g/dL")}, "must be in mg/dL"),
        ({"valueQuantity": {"value": 140, "unit": "mg/dL"}}, "must be in mg/dL"),
        ({"valueQuantity": {**glucose(), "comparator": "<"}}, "comparator"),
        ({"valueQuantity": None, "valueString": "140 g"}, "must be a quantity in mg/dL"),
        ({"valueQuantity": glucose(14000)}, "above 1000"),
        ({"valueQuantity": glucose(0.14)}, "below 10"),
    ],
    ids=str,
)
async def test_W_12_unit_or_number_that_is_not_what_it_seems(
    desk: FrontDesk, scribe: dict[str, str], value: dict[str, Any], sentence: str
) -> None:
    await attack(desk, scribe, await reading(desk, **value), sentence)


async def test_W_12_unit_under_the_same_number_without_any_rule_of_the_charter(
    desk: FrontDesk, scribe: dict[str, str]
) -> None:
    """126 mg/dL was read; 126 mmol/L comes back, in a component that no rule speaks of."""
    code = {"coding": [{"system": LOINC, "code": "2339-0", "display": "Glucose"}]}
    component = [{"code": code, "valueQuantity": glucose(126, "mmol/L", "mg/dL")}]
    submission = await reading(desk, valueQuantity=None, component=component)
    await attack(desk, scribe, submission, "the unit that is shown is not the unit of the code")


async def test_W_12_unit_that_changes_where_the_number_stays(
    desk: FrontDesk, scribe: dict[str, str]
) -> None:
    operations = [
        {"op": "replace", "path": "/valueQuantity/unit", "value": "mmol/L"},
        {"op": "replace", "path": "/valueQuantity/code", "value": "mmol/L"},
    ]
    change = {"interaction": "patch", "reference": READING, "patch": operations}
    submission = replace(await reading(desk), changes=[change])
    await attack(desk, scribe, submission, "must be in mg/dL")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ({"code": "2951-2", "display": "Glucose"}, "not in the charter's table of names"),
        ({"code": "2339-0", "display": "Sodium"}, "not the name of its code"),
        ({"code": "2339-0", "display": "Gluсose"}, "not the name of its code"),
    ],
    ids=str,
)
async def test_L_23_name_that_is_not_the_name_of_its_code(
    desk: FrontDesk, scribe: dict[str, str], code: dict[str, str], sentence: str
) -> None:
    coded = {"coding": [{"system": LOINC, **code}]}
    await attack(desk, scribe, await reading(desk, code=coded), sentence)


async def test_L_23_text_that_is_not_the_name_of_its_code(
    desk: FrontDesk, scribe: dict[str, str]
) -> None:
    coding = {"system": LOINC, "code": "2339-0", "display": "Glucose"}
    coded = {"coding": [coding], "text": "Glucose, no treatment needed"}
    await attack(desk, scribe, await reading(desk, code=coded), "not the name of its code")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"subject": {"reference": OTHER}}, "was not read in this interaction"),
        ({"performer": [{"reference": OTHER}]}, "says who did or asked for it"),
        ({"focus": [{"reference": OTHER}]}, "more than one patient"),
        ({"derivedFrom": [{"reference": "Observation/canary"}]}, "belongs to another patient"),
        ({"subject": {"reference": "https://evil.example/Patient/1"}}, "link or markup"),
        ({"note": [{"text": "see https://evil.example/?q=1"}]}, "link or markup"),
        ({"modifierExtension": [{"url": "urn:x", "valueBoolean": True}]}, "may not be written"),
        ({"contained": [{"resourceType": "Patient", "id": "x"}]}, "may not be written"),
        ({"meta": {"security": [{"code": "N"}]}}, "may not be written"),
        ({"status": "entered-in-error"}, "entered in error"),
        ({"interpretation": [{"text": "normal"}]}, "may not change Observation.interpretation"),
        ({"performer": [{"display": "Dr Osei"}]}, "says who did or asked for it"),
        (
            {
                "component": [
                    {
                        "code": {"text": "x"},
                        "modifierExtension": [{"url": "urn:x", "valueString": "x"}],
                    }
                ]
            },
            "modifier extension",
        ),
    ],
    ids=str,
)
async def test_L_06_L_18_W_11_what_does_not_belong_into_this_chart(
    desk: FrontDesk, scribe: dict[str, str], more: dict[str, Any], sentence: str
) -> None:
    """Another patient, by subject or beside it; a link; what hides, changes sense or speaks for
    somebody else."""
    submission = await reading(desk, **more)
    visit = desk.clinic.hospital.scenario.visit
    patient = desk.clinic.hospital.resource(visit)["subject"]["reference"]
    if "derivedFrom" in more:
        interaction = await desk.clinic.see(READER, visit, patient, READING, "Observation/canary")
        submission = replace(submission, interaction=interaction)
    await attack(desk, scribe, submission, sentence)


async def test_L_21_change_hidden_among_others(desk: FrontDesk, scribe: dict[str, str]) -> None:
    """Two that are right do not carry a third that is not; four are more than the charter takes."""
    submission = await reading(desk)
    right = submission.changes[0]
    wrong = {**right, "resource": {**right["resource"], "valueQuantity": glucose(99_000)}}
    hidden = replace(submission, changes=[right, wrong, right])
    await attack(desk, scribe, hidden, "above 1000")
    await attack(desk, scribe, replace(submission, changes=[right] * 4), "at most 3 changes", 413)


async def test_L_21_more_than_anybody_can_look_at(desk: FrontDesk, scribe: dict[str, str]) -> None:
    long = await reading(desk, note=[{"text": "x" * 6000}])
    await attack(desk, scribe, long, "at most 6000 bytes", 413)
    many = await reading(desk, category=[{"text": f"c{n}"} for n in range(80)])
    await attack(desk, scribe, many, "at most 60 elements", 413)


async def test_L_18_visit_that_was_closed_since_is_not_written_into(
    desk: FrontDesk, scribe: dict[str, str]
) -> None:
    """The proposal refers to it; that the agent had read it when it was open does not count."""
    proposal = await submit(desk.gate, SCRIBE, await reading(desk))
    hospital = desk.clinic.hospital
    osei = await desk.sign_in("dr-osei")
    await desk.ask("GET", f"/v1/proposals/{proposal.id}", headers=osei.headers)
    body = {"verdict": "approve", "digest": proposal.content.digest}
    path = f"/v1/proposals/{proposal.id}/review"
    assert (await desk.ask("POST", path, headers=osei.changing, json=body)).status == 200
    visit = hospital.resource(hospital.scenario.visit)
    hospital.edit(visit | {"status": "finished"})
    try:
        await desk.work()
        assert desk.clinic.effects(proposal) == 0
        held = await desk.clinic.get(proposal)
        assert held.status is not Status.VERIFIED
        assert "status of Encounter/" in str(held.reason)
    finally:
        hospital.edit(hospital.resource(hospital.scenario.visit) | {"status": "in-progress"})
