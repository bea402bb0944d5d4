"""What a person sees who broke the glass: one patient's chart, and each look is audited."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from chartgate.errors import Invalid, Moved, NotFound
from chartgate.flows.break_glass import Wanted, end_glass, open_glass
from chartgate.flows.emergency_reads import read_in_emergency, search_in_emergency
from chartgate.flows.people import add_person
from chartgate.gate import Gate
from chartgate.model.break_glass import BreakGlass
from chartgate.model.principal import Person
from chartgate.store.database import Database
from chartgate.store.governance import bump_epoch
from chartgate.testing.clock import FakeClock
from chartgate.testing.gates import TestGate, open_test_gate

SITE = "north-clinic"
WHO = Person(id="ada", roles=("break-glass",), sites=(SITE,), mfa=True)
ICD = "http://hl7.org/fhir/sid/icd-10-cm"


def condition(id_: str, patient: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": id_,
        "patient": {"reference": f"Patient/{patient}"},  # how the source in memory is searched
        "subject": {"reference": f"Patient/{patient}"},
        "code": {"coding": [{"system": ICD, "code": "F20.0"}]},
        **more,
    }


@pytest.fixture
async def opened(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[TestGate]:
    async with open_test_gate(database, folder=tmp_path, clock=clock) as test_gate:
        for resource in (
            {"resourceType": "Patient", "id": "7", "birthDate": "1970-01-01"},
            {"resourceType": "Patient", "id": "8"},
            condition("1", "7"),
            condition("2", "8"),
            condition("3", "7", asserter={"reference": "Patient/8"}),
        ):
            test_gate.source.put(resource)
        await add_person(test_gate.gate, WHO.id, "a long password", WHO.roles, WHO.sites)
        yield test_gate


async def break_it(gate: Gate, patient: str = "7") -> BreakGlass:
    wanted = Wanted(
        site=SITE, patient=patient, code="ETREAT", words=f"unconscious {patient}", minutes=30
    )
    return await open_glass(gate, WHO, wanted)


async def read(gate: Gate, reference: str, who: Person = WHO) -> dict[str, Any]:
    kind, _, id_ = reference.partition("/")
    answer = await read_in_emergency(gate, who, SITE, kind, id_)
    body: dict[str, Any] = orjson.loads(answer.body)
    return body


async def looks(database: Database) -> list[dict[str, Any]]:
    rows = await database.fetch(
        "SELECT body FROM audit_event WHERE tenant = $1 AND action LIKE 'fhir.%' ORDER BY id"
    )
    return [orjson.loads(row["body"]) for row in rows]


async def test_without_a_break_glass_nothing_is_asked(opened: TestGate, database: Database) -> None:
    with pytest.raises(NotFound):
        await read(opened.gate, "Condition/1")
    assert opened.source.asked == []
    (event,) = await looks(database)
    assert (event["outcome"], event["reason"]) == ("denied", "no-break-glass")


async def test_one_patient_is_seen_with_what_is_sensitive_and_labelled_so(
    opened: TestGate, database: Database
) -> None:
    glass = await break_it(opened.gate)
    assert (await read(opened.gate, "Condition/1"))["code"]["coding"][0]["code"] == "F20.0"
    assert (await read(opened.gate, "Patient/7"))["birthDate"] == "1970-01-01"
    first, _ = await looks(database)
    assert first["purpose"] == "BTG"
    assert first["patient"] == "Patient/7"
    assert first["details"]["break-glass"] == glass.id
    assert "PSY" in first["labels"]
    assert len(first["disclosed"]) == 64


@pytest.mark.parametrize("reference", ["Condition/2", "Patient/8", "Condition/3", "Condition/9"])
async def test_nobody_else_is_seen(opened: TestGate, reference: str) -> None:
    await break_it(opened.gate)
    with pytest.raises(NotFound):
        await read(opened.gate, reference)


async def test_search_gives_one_type_of_that_patient_alone(opened: TestGate) -> None:
    await break_it(opened.gate)
    answer = await search_in_emergency(opened.gate, WHO, SITE, "Condition")
    bundle = orjson.loads(answer.body)
    assert [e["resource"]["id"] for e in bundle["entry"]] == ["1"]
    assert bundle["total"] == 1
    with pytest.raises(NotFound):
        await search_in_emergency(opened.gate, WHO, SITE, "Slot")


async def test_two_broken_at_once_are_each_read_under_their_own(
    opened: TestGate, database: Database
) -> None:
    glasses = {f"Patient/{number}": await break_it(opened.gate, number) for number in ("7", "8")}
    for patient in glasses:
        assert (await read(opened.gate, patient))["id"] == patient.partition("/")[2]
    for event, (patient, glass) in zip(await looks(database), glasses.items(), strict=True):
        assert (event["patient"], event["details"]["break-glass"]) == (patient, glass.id)
    with pytest.raises(Invalid, match="several patients"):
        await search_in_emergency(opened.gate, WHO, SITE, "Condition")


@pytest.mark.parametrize("how", ["time", "ended", "site", "another patient's session"])
async def test_when_it_is_over_nothing_is_seen(
    opened: TestGate, clock: FakeClock, how: str
) -> None:
    glass = await break_it(opened.gate)
    who = WHO
    if how == "time":
        clock.advance(30 * 60)
    elif how == "ended":
        await end_glass(opened.gate, WHO, glass.id)
    elif how == "site":
        who = Person(id=WHO.id, roles=WHO.roles, sites=("south-clinic",), mfa=True)
    else:
        who = Person(id=WHO.id, roles=WHO.roles, sites=WHO.sites, mfa=True, patient="Patient/8")
    with pytest.raises(NotFound):
        await read(opened.gate, "Condition/1", who)


async def test_right_that_is_taken_away_meanwhile_stops_the_answer(
    opened: TestGate, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await break_it(opened.gate)
    asked = opened.source.read

    async def taking(reference: str) -> Any:
        async with database.bookkeeping() as transaction:
            await bump_epoch(transaction, database.tenant)
        return await asked(reference)

    monkeypatch.setattr(opened.source, "read", taking)
    with pytest.raises(Moved):
        await read(opened.gate, "Condition/1")
