"""Reports over the audit: what stands in them, what does not, and that giving one leaves its mark."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from chartgate.config import ClientConfig, VendorConfig
from chartgate.errors import Denied, Invalid, NotFound
from chartgate.flows import audit_reports as reports
from chartgate.flows.audit_reports import Report
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.blocking import UNCLASSIFIED, exception_class
from chartgate.model.principal import Client, Person
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.flows.ledgers import Ledger, open_ledger

OFFICER = Person(id="pia", roles=("privacy-officer",), sites=("north-clinic",))
OTHERS = (
    Person(id="sofia", roles=("scheduler", "operator"), sites=("north-clinic",)),
    Client(id="slot-picker", charter="clinic-booking"),
)
PATIENT = "Patient/7"


@pytest.fixture
async def ledger(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with open_ledger(database, clock, tmp_path) as opened:
        config = replace(
            opened.gate.config,
            clients={"registry": ClientConfig(name="registry", vendor="tumour-registry")},
            vendors={
                "tumour-registry": VendorConfig(
                    name="tumour-registry",
                    legal_name="Tumour Registry of the State",
                    address="1 Main Street, Springfield",
                )
            },
        )
        opened.gate = replace(opened.gate, config=config)
        yield opened


async def happened(ledger: Ledger, *, days_ago: float = 1, **fields: Any) -> None:
    known: dict[str, Any] = {
        "action": "fhir.read",
        "agent": "client:registry",
        "patient": PATIENT,
        "purpose": "HRESCH",
        "entities": ("Condition/3",),
    }
    at = ledger.clock() - timedelta(days=days_ago)
    async with ledger.database.change(AuditEvent(recorded=at, **known | fields)):
        pass


async def events(ledger: Ledger, action: str) -> list[dict[str, Any]]:
    rows = await ledger.database.fetch(
        "SELECT body FROM audit_event WHERE tenant = $1 AND action = $2 ORDER BY id", action
    )
    return [orjson.loads(row["body"]) for row in rows]


async def test_accounting_names_who_got_what_when_where_and_why(ledger: Ledger) -> None:
    await happened(ledger, entities=("Condition/3",))
    await happened(ledger, entities=("Observation/1", "Observation/2"), action="fhir.search")
    report = await reports.accounting(ledger.gate, OFFICER, PATIENT)
    day = (ledger.clock() - timedelta(days=1)).date().isoformat()
    assert report.rows == (
        (
            day,
            "Tumour Registry of the State",
            "1 Main Street, Springfield",
            "Condition (1), Observation (2)",
            "research",
            "not for treatment, payment or operations",
            2,
        ),
    )


@pytest.mark.parametrize(
    ("fields", "is_in"),
    [
        ({"purpose": "TREAT"}, False),
        ({"purpose": "HPAYMT"}, False),
        ({"purpose": "HOPERAT"}, False),
        ({"purpose": "PATRQT"}, False),
        ({"purpose": "PUBHLTH"}, True),
        ({"purpose": None}, True),
        ({"outcome": Outcome.DENIED}, False),
        ({"outcome": Outcome.FAILED}, False),
        ({"days_ago": 6 * 365}, True),
        ({"days_ago": 6 * 366 + 30}, False),
        ({"patient": "Patient/8"}, False),
        ({"patient": None, "patients": ("Patient/6", PATIENT)}, True),
        ({"action": "proposal.review", "agent": "person:sofia"}, False),
        ({"purpose": "BTG", "agent": "person:eve"}, True),
        ({"purpose": "TREAT", "consent": "ab" * 32, "labels": ("R", "ETH")}, True),
        ({"purpose": "TREAT", "consent": "ab" * 32, "labels": ("R", "PSY")}, False),
        ({"purpose": "TREAT", "labels": ("R", "ETH")}, False),
        (
            {"purpose": "TREAT", "consent": "ab" * 32, "labels": ("ETH",), "days_ago": 1200},
            False,
        ),
    ],
)
async def test_accounting_holds_what_it_must_and_nothing_else(
    ledger: Ledger, fields: dict[str, Any], is_in: bool
) -> None:
    await happened(ledger, **fields)
    report = await reports.accounting(ledger.gate, OFFICER, PATIENT)
    assert (len(report.rows) == 1) is is_in


async def test_accounting_is_kept_as_it_was_given_and_the_first_of_a_year_is_free(
    ledger: Ledger,
) -> None:
    await happened(ledger)
    first = await reports.accounting(ledger.gate, OFFICER, PATIENT)
    await happened(ledger, entities=("Observation/9",))
    second = await reports.accounting(ledger.gate, OFFICER, PATIENT)
    assert first.facts["free of charge"] == "yes"
    assert str(second.facts["free of charge"]).startswith("no: 1")
    kept = await reports.kept_accounting(ledger.gate, OFFICER, str(first.facts["id"]))
    assert orjson.loads(kept) == orjson.loads(orjson.dumps(reports.plain(first)))
    made = await events(ledger, "audit.accounting")
    assert made[0]["patient"] == PATIENT
    assert made[0]["details"]["accounting"] == first.facts["id"]
    with pytest.raises(NotFound):
        await reports.kept_accounting(ledger.gate, OFFICER, "0f0e0d0c-0000-4000-8000-000000000001")
    with pytest.raises(Invalid):
        await reports.kept_accounting(ledger.gate, OFFICER, "nonsense")


async def test_suspension_hides_one_recipient_until_it_ends_and_shows_nothing_of_itself(
    ledger: Ledger,
) -> None:
    await happened(ledger)
    await happened(ledger, agent="client:other")
    until = ledger.clock() + timedelta(days=30)
    await reports.suspend_accounting(
        ledger.gate, OFFICER, PATIENT, "client:registry", until=until, reason="Sheriff, written"
    )
    during = await reports.accounting(ledger.gate, OFFICER, PATIENT)
    assert [row[1] for row in during.rows] == ["other"]
    assert "registry" not in orjson.dumps(reports.plain(during)).decode()
    ledger.clock.advance(31 * 86_400)
    after = await reports.accounting(ledger.gate, OFFICER, PATIENT)
    assert len(after.rows) == 2
    [event] = await events(ledger, "audit.suspend")
    assert event["details"]["recipient"] == "client:registry"
    for reason, when in (("", until), ("two\nlines", until), ("x", ledger.clock())):
        with pytest.raises(Invalid):
            await reports.suspend_accounting(
                ledger.gate, OFFICER, PATIENT, "client:registry", until=when, reason=reason
            )


async def test_access_report_says_who_saw_what_and_marks_emergencies(ledger: Ledger) -> None:
    await happened(ledger, purpose="TREAT", rule="clinic-booking/read")
    await happened(ledger, purpose="BTG", agent="person:eve", days_ago=0.5)
    await happened(ledger, outcome=Outcome.DENIED, reason="policy")
    report = await reports.access(ledger.gate, OFFICER, PATIENT)
    shown = [dict(zip(report.columns, row, strict=True)) for row in report.rows]
    assert [(row["who"], row["emergency"]) for row in shown] == [
        ("person:eve", "yes"),
        ("client:registry", ""),
    ]
    assert shown[1]["for"] == "Tumour Registry of the State"
    assert (shown[1]["what"], shown[1]["purpose"]) == ("Condition/3", "treatment")


async def test_breach_report_counts_each_patient_of_an_agent_since_then(ledger: Ledger) -> None:
    await happened(ledger)
    await happened(ledger, days_ago=0.5, entities=("Observation/1",))
    await happened(ledger, patient=None, patients=("Patient/8", "Patient/9"), action="fhir.search")
    await happened(ledger, patient=None, entities=("Slot/1",))
    await happened(ledger, patient="Patient/10", outcome=Outcome.DENIED)
    await happened(ledger, patient="Patient/11", agent="client:other")
    await happened(ledger, patient="Patient/12", days_ago=9)
    since = ledger.clock() - timedelta(days=7)
    report = await reports.breach(ledger.gate, OFFICER, "client:registry", since=since)
    assert [(row[0], row[1], row[4]) for row in report.rows] == [
        ("Patient/7", 2, "Condition, Observation"),
        ("Patient/8", 1, "Condition"),
        ("Patient/9", 1, "Condition"),
    ]
    assert report.notes == ("of no known patient: Slot 1",)


async def test_denials_bear_the_exception_that_they_may_meet(ledger: Ledger) -> None:
    await happened(ledger, outcome=Outcome.DENIED, reason="policy")
    await happened(ledger, outcome=Outcome.DENIED, reason="policy")
    await happened(ledger, outcome=Outcome.FAILED, reason="processing")
    await happened(ledger, outcome=Outcome.DENIED, reason="something that no code is")
    await happened(ledger, outcome=Outcome.DENIED, reason="brand-new")
    await happened(ledger)
    since = ledger.clock() - timedelta(days=7)
    report = await reports.denials(ledger.gate, OFFICER, since=since)
    by_reason = {row[2]: row for row in report.rows}
    assert by_reason["policy"][3:5] == ("privacy (171.202)", 2)
    assert str(by_reason["processing"][5]) > ledger.clock().date().isoformat()
    assert by_reason["(a sentence)"][3] == UNCLASSIFIED
    assert by_reason["brand-new"][3] == UNCLASSIFIED
    assert report.facts["refusals"] == 5


@pytest.mark.parametrize("who", OTHERS, ids=lambda who: who.agent)
async def test_nobody_else_gets_a_report_and_the_refusal_is_audited(
    ledger: Ledger, who: Person | Client
) -> None:
    await happened(ledger)
    now = ledger.clock()

    async def each() -> AsyncIterator[Report | None]:
        gate = ledger.gate
        asked = [
            reports.accounting(gate, who, PATIENT),
            reports.access(gate, who, PATIENT),
            reports.breach(gate, who, "client:registry", since=now - timedelta(days=1)),
            reports.denials(gate, who, since=now - timedelta(days=1)),
            reports.suspend_accounting(
                gate, who, PATIENT, "client:x", until=now + timedelta(days=1), reason="x"
            ),
            reports.kept_accounting(gate, who, "x"),
        ]
        for one in asked:
            with pytest.raises(Denied):
                await one
            yield None

    refused = [None async for _ in each()]
    count = await ledger.database.fetch_value(
        "SELECT count(*) FROM audit_event WHERE tenant = $1 AND outcome = 'denied'"
    )
    assert count == len(refused) == 6


@pytest.mark.parametrize("patient", ["7", "Observation/7", "Patient/" + "7" * 300])
async def test_a_patient_is_named_by_reference(ledger: Ledger, patient: str) -> None:
    with pytest.raises(Invalid, match="Patient/7"):
        await reports.accounting(ledger.gate, OFFICER, patient)


def test_every_class_is_an_exception_or_says_that_there_is_none() -> None:
    assert exception_class("login") == "security (171.203)"
    assert exception_class("read-only") == "manner (171.301)"
    assert exception_class(None) == UNCLASSIFIED
