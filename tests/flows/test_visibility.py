"""What scopes, labels and consents leave of a read and of a search."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from chartgate.config import SiteConfig
from chartgate.errors import Moved, NotFound, SourceUnreachable
from chartgate.flows import reads, searches
from chartgate.flows.consent_records import bring_in, revoke
from chartgate.flows.reads import Answer
from chartgate.gate import Gate
from chartgate.model.principal import Client, Process
from chartgate.policy.charters import compile_book
from chartgate.policy.consent_codes import ACT_CODE
from chartgate.policy.forbids import ForbidFile
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from chartgate.testing.gates import CHARTER, TestGate, open_test_gate, parse_test_charter
from tests.policy import consents as written

CONDITIONS = b"""  Condition: {search: [subject, code], elements: [code, subject, category], fresh: live}
"""
SITE = "north-clinic"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
SCOPES = ("system/Condition.rs", "system/Patient.r")
CLIENT = Client(id="slot-picker", charter="clinic-booking", scopes=SCOPES)
CANARY = "Zzyzx"
CONSENT_SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"


def charter(sensitive: str = "") -> bytes:
    lines = CONDITIONS
    if sensitive:
        lines = lines.replace(b", fresh", f", sensitive: [{sensitive}], fresh".encode())
    return CHARTER.replace(b"reads:\n", b"reads:\n" + lines)


def condition(id_: str, code: str, *, patient: str = "7", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": id_,
        "subject": {"reference": f"Patient/{patient}"},
        "code": {"coding": [{"system": ICD, "code": code, "display": CANARY}]},
        "category": [{"coding": [{"code": "problem-list-item"}]}],
        **more,
    }


def consent(id_: str, kind: str, patient: str = "7") -> dict[str, Any]:
    return {
        "resourceType": "Consent",
        "id": id_,
        "status": "active",
        "scope": {"coding": [{"system": CONSENT_SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{patient}"},
        "dateTime": "2026-01-01T00:00:00Z",
        "policy": [{"uri": "http://example.org/policy"}],
        "provision": {"type": kind},
    }


@pytest.fixture
async def opened(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[TestGate]:
    async with open_test_gate(
        database, folder=tmp_path, clock=clock, charters=[charter()]
    ) as test_gate:
        for resource in (condition("1", "J45.909"), condition("2", "F20.0")):
            test_gate.source.put(resource)
        yield test_gate


def at_site(opened: TestGate, mode: str) -> Gate:
    site = SiteConfig(name=SITE, consent=mode, consent_from="north-ehr")
    return replace(opened.gate, config=replace(opened.gate.config, sites={SITE: site}))


async def read(gate: Gate, reference: str, client: Client = CLIENT) -> Answer:
    kind, _, id_ = reference.partition("/")
    return await reads.read(gate, client, SITE, kind, id_, interaction=None, if_none_match=None)


async def found(gate: Gate, client: Client = CLIENT, **more: Any) -> dict[str, Any]:
    answer = await searches.search(
        gate, client, SITE, "Condition", [("subject", "Patient/7")], interaction=None, **more
    )
    bundle: dict[str, Any] = orjson.loads(answer.body)
    return bundle


async def last_event(database: Database) -> dict[str, Any]:
    rows = await database.fetch("SELECT body FROM audit_event WHERE tenant = $1 ORDER BY id")
    event: dict[str, Any] = orjson.loads(rows[-1]["body"])
    return event


async def test_what_is_sensitive_is_as_if_it_were_not_there(
    opened: TestGate, database: Database
) -> None:
    assert (await read(opened.gate, "Condition/1")).body
    said = {}
    for id_ in ("2", "missing"):
        with pytest.raises(NotFound) as refused:
            await read(opened.gate, f"Condition/{id_}")
        said[id_] = (str(refused.value), refused.value.decision)
    assert said["2"] == said["missing"]
    bundle = await found(opened.gate)
    assert (bundle["total"], len(bundle["entry"])) == (1, 1)
    assert [e["resource"]["id"] for e in bundle["entry"]] == ["1"]
    with pytest.raises(NotFound):
        await read(opened.gate, "Condition/2")
    assert (await last_event(database))["reason"] == "label"


async def test_page_is_filled_past_what_is_hidden(opened: TestGate) -> None:
    for number in range(3, 9):
        opened.source.put(condition(str(number), "F20.0" if number < 7 else "J45.909"))
    bundle = await found(opened.gate, count=3)
    assert [e["resource"]["id"] for e in bundle["entry"]] == ["1", "7", "8"]
    assert [link["relation"] for link in bundle["link"]] == ["self"]


async def test_charter_that_lists_a_sensitivity_sees_it_labelled(
    opened: TestGate, database: Database
) -> None:
    opened.gate.running.charters = compile_book([parse_test_charter(charter("PSY, MH"))])
    shown = orjson.loads((await read(opened.gate, "Condition/2")).body)
    codes = {c["code"] for c in shown["meta"]["security"]}
    assert {"R", "PSY"} & codes
    assert set((await last_event(database))["labels"]) == codes
    bundle = await found(opened.gate)
    assert {c["code"] for c in bundle["meta"]["security"]} == codes


async def test_granular_scope_hides_what_it_does_not_cover(
    opened: TestGate, database: Database
) -> None:
    narrow = replace(CLIENT, scopes=("system/Condition.rs?category=encounter-diagnosis",))
    diagnosed = condition("3", "J45.909", category=[{"coding": [{"code": "encounter-diagnosis"}]}])
    opened.source.put(diagnosed)
    assert (await read(opened.gate, "Condition/3", narrow)).body
    with pytest.raises(NotFound):
        await read(opened.gate, "Condition/1", narrow)
    assert (await last_event(database))["reason"] == "scope"
    assert [e["resource"]["id"] for e in (await found(opened.gate, narrow))["entry"]] == ["3"]
    assert (await read(opened.gate, "Condition/1")).body, "of the wider scope nothing is kept back"


@pytest.mark.parametrize(
    ("mode", "kinds", "permitted"),
    [
        ("opt-in", (), False),
        ("opt-in", ("permit",), True),
        ("opt-in", ("permit", "deny"), False),
        ("opt-out", (), True),
        ("opt-out", ("deny",), False),
        ("not-needed", (), True),
        ("not-needed", ("deny",), False),
    ],
)
async def test_consent_decides_by_the_mode_of_the_site(
    opened: TestGate, database: Database, mode: str, kinds: tuple[str, ...], permitted: bool
) -> None:
    gate = at_site(opened, mode)
    for number, kind in enumerate(kinds):
        opened.source.put(consent(f"c{number}", kind))
    answers = [await _settled(gate, "Condition/1") for _ in range(2)]
    assert [bool(a) for a in answers] == [permitted] * 2
    event = await last_event(database)
    assert event.get("reason") == (None if permitted else "consent")
    assert len(event["consent"]) == 64
    assert len((await found(gate)).get("entry", [])) == permitted


async def _settled(gate: Gate, reference: str) -> bytes:
    """The body; empty where it is as if it were not there."""
    for _ in range(2):  # a consent that was just learned moves the epoch once
        try:
            return (await read(gate, reference)).body
        except NotFound:
            return b""
        except Exception as moved:  # noqa: BLE001  looked at below
            assert type(moved).__name__ == "Moved"  # noqa: PT017
    raise AssertionError("moved twice")


async def test_each_patient_that_is_named_has_a_say(opened: TestGate) -> None:
    gate = at_site(opened, "opt-in")
    opened.source.put(consent("c", "permit"))
    opened.source.put(condition("9", "J45.909", asserter={"reference": "Patient/8"}))
    assert await _settled(gate, "Condition/1")
    assert not await _settled(gate, "Condition/9")
    opened.source.put(consent("d", "permit", patient="8"))
    gate.clock.advance(61)  # type: ignore[attr-defined]
    assert await _settled(gate, "Condition/9")


async def test_revocation_works_at_once(opened: TestGate, database: Database) -> None:
    gate = at_site(opened, "opt-in")
    opened.source.put(consent("c", "permit"))
    assert await _settled(gate, "Condition/1")
    await revoke(gate, Process(id="cli"), SITE, "Patient/7", reason="asked at the desk")
    assert not await _settled(gate, "Condition/1")


async def test_consent_that_was_given_elsewhere_a_moment_ago_is_not_missed(
    opened: TestGate,
) -> None:
    gate = at_site(opened, "opt-in")
    for _ in range(3):  # the copy is remembered, and that nothing was consented to
        assert not await _settled(gate, "Condition/1")
    await bring_in(gate, Process(id="cli"), SITE, [consent("c", "permit")])
    with pytest.raises(Moved):  # not "there is no such resource"
        await read(gate, "Condition/1")
    assert await _settled(gate, "Condition/1")


async def test_consents_out_of_reach_permit_nothing(
    opened: TestGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = at_site(opened, "opt-in")
    opened.source.put(consent("c", "permit"))
    assert await _settled(gate, "Condition/1")

    async def down(*_: Any, **__: Any) -> Any:
        raise SourceUnreachable("away")

    gate.clock.advance(61)  # type: ignore[attr-defined]
    monkeypatch.setattr(opened.source, "search", down)
    assert not await _settled(gate, "Condition/1")


async def test_what_names_no_patient_is_nobodys_where_consent_is_needed(opened: TestGate) -> None:
    opened.source.put({**condition("4", "J45.909"), "subject": {"display": CANARY}})
    assert not await _settled(at_site(opened, "opt-in"), "Condition/4")
    assert await _settled(at_site(opened, "not-needed"), "Condition/4")


def with_forbid(opened: TestGate, when: str) -> None:
    text = (
        '@id("site/test") @sentence("not so") forbid (principal, action in '
        f'[Action::"read", Action::"search"], resource) when {{ {when} }};'
    )
    book = compile_book([parse_test_charter(charter())], forbids=[ForbidFile(text=text)])
    opened.gate.running.charters = book


@pytest.mark.parametrize(
    ("when", "permitted"),
    [
        ('context has stage && context.stage == "suggest"', False),
        ('context has stage && context.stage == "full"', True),
        ('context has confidentiality && ["N", "R", "V"].contains(context.confidentiality)', False),
        ('context has confidentiality && ["R", "V"].contains(context.confidentiality)', True),
        ("context has relationship && context.relationship.isEmpty()", False),
    ],
)
async def test_forbid_of_the_site_is_asked_what_only_the_resource_tells(
    opened: TestGate, database: Database, when: str, permitted: bool
) -> None:
    with_forbid(opened, when)
    assert bool(await _settled(opened.gate, "Condition/1")) == permitted
    if not permitted:
        event = await last_event(database)
        assert event["reason"] == "policy"
    try:
        assert len((await found(opened.gate)).get("entry", [])) == permitted
    except NotFound:  # where the search itself is forbidden
        assert "stage" in when


async def test_charter_may_ask_for_an_encounter(opened: TestGate) -> None:
    changed = charter().replace(b"fresh: live}\n", b"fresh: live, relationship: [encounter]}\n", 1)
    opened.gate.running.charters = compile_book([parse_test_charter(changed)])
    assert not await _settled(opened.gate, "Condition/1")
    for number in ("7", "8"):
        whose = {"reference": f"Patient/{number}"}
        visit = {"resourceType": "Encounter", "id": f"e{number}", "status": "in-progress"}
        # `patient` is how the source in memory is searched.
        opened.source.put({**visit, "subject": whose, "patient": whose})
    opened.source.put(condition("9", "J45.909", patient="9"))
    opened.gate.clock.advance(11)  # type: ignore[attr-defined]
    assert await _settled(opened.gate, "Condition/1")
    assert not await _settled(opened.gate, "Condition/9")


async def test_notice_and_the_scope_of_the_consent_travel_with_what_needs_one(
    opened: TestGate,
) -> None:
    """42 CFR 2.32: with the read and with the search, and with nothing else."""
    sensitive = charter("R, SUD, ETHUD, ETH")
    opened.gate.running.charters = compile_book([parse_test_charter(sensitive)])
    opened.source.put(condition("3", "F10.20"))
    part2 = written.consent(
        written.provision(
            purpose=written.purposes("TREAT"),
            actor=[written.recipient("client:slot-picker")],
            securityLabel=written.label_codes("R", "SUD"),
            period={"end": "2090-12-31"},
        ),
        policy=None,
        policyRule={"coding": [{"system": ACT_CODE, "code": "42CFRPart2CD"}]},
    )
    opened.source.put(part2)
    gate = at_site(opened, "opt-out")
    answer = await read(gate, "Condition/3")
    assert answer.notice.startswith("42 CFR part 2 prohibits")
    assert "Consent/c1 covers R, SUD for TREAT, until 2090-12-31" in answer.notice
    page = await searches.search(
        gate, CLIENT, SITE, "Condition", [("subject", "Patient/7")], interaction=None
    )
    assert page.notice == answer.notice
    assert (await read(gate, "Condition/1")).notice == ""
