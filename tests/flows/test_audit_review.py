"""What stands out in a review, by its own rules; and what a signature is of."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chartgate.errors import Denied, Invalid
from chartgate.flows.audit_reports import Report
from chartgate.flows.audit_review import Hours, digest_of_report, review, sign_off, signatures
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.principal import Person
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.flows.ledgers import Ledger, open_ledger

OFFICER = Person(id="pia", roles=("privacy-officer",), sites=("north-clinic",))
DAY = datetime(2026, 2, 2, tzinfo=UTC)
SPAN: dict[str, Any] = {"since": DAY, "until": DAY + timedelta(days=1)}


@pytest.fixture
async def ledger(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with open_ledger(database, clock, tmp_path) as opened:
        yield opened


async def happened(ledger: Ledger, agent: str, hour: int, times: int = 1, **fields: Any) -> None:
    known: dict[str, Any] = {"action": "fhir.read"}
    at = DAY + timedelta(hours=hour)
    events = [
        AuditEvent(recorded=at + timedelta(seconds=n), agent=agent, **known | fields)
        for n in range(times)
    ]
    async with ledger.database.change(*events):
        pass


def said(report: Report, agent: str) -> dict[str, Any]:
    [row] = [row for row in report.rows if row[0] == agent]
    return dict(zip(report.columns, row, strict=True))


async def test_each_rule_finds_its_own_and_quiet_agents_stand_last(ledger: Ledger) -> None:
    await happened(ledger, "client:quiet", 10, 3)
    await happened(ledger, "client:refused", 10, outcome=Outcome.DENIED)
    await happened(ledger, "client:failing", 10, outcome=Outcome.FAILED)
    await happened(ledger, "person:owl", 2, 4)
    await happened(ledger, "person:eve", 11, action="break-glass.open", patient="Patient/7")
    for hour in range(8, 14):
        await happened(ledger, "client:burst", hour, 10)
    await happened(ledger, "client:burst", 15, 60)
    report = await review(ledger.gate, OFFICER, **SPAN)
    assert said(report, "client:quiet")["look at"] == ""
    assert said(report, "client:refused")["look at"] == "refused"
    assert said(report, "client:failing")["look at"] == "failed"
    assert said(report, "person:owl")["look at"] == "out of hours"
    assert said(report, "person:owl")["out of hours"] == 4
    assert said(report, "person:eve")["look at"] == "break-glass"
    burst = said(report, "client:burst")
    assert (burst["look at"], burst["busiest"][:5]) == ("unusual volume", "60 in")
    assert report.rows[-1][0] == "client:quiet"
    assert report.notes == ("break-glass.open: 1",)


async def test_hours_are_those_of_the_place(ledger: Ledger) -> None:
    await happened(ledger, "person:late", 23)
    chicago = Hours(first=6, last=20, zone="America/Chicago")
    assert said(await review(ledger.gate, OFFICER, **SPAN), "person:late")["out of hours"] == 1
    there = await review(ledger.gate, OFFICER, **SPAN, hours=chicago)
    assert said(there, "person:late")["out of hours"] == 0
    for wrong in (Hours(zone="Nowhere/City"), Hours(first=20, last=6), Hours(last=25)):
        with pytest.raises(Invalid):
            await review(ledger.gate, OFFICER, **SPAN, hours=wrong)


async def test_a_signature_is_of_exactly_the_report_that_was_seen(ledger: Ledger) -> None:
    await happened(ledger, "client:quiet", 10, 3)
    digest = digest_of_report(await review(ledger.gate, OFFICER, **SPAN))
    await happened(ledger, "client:quiet", 11)  # came in later, of that day
    with pytest.raises(Invalid, match="look at it again"):
        await sign_off(ledger.gate, OFFICER, **SPAN, digest=digest)
    digest = digest_of_report(await review(ledger.gate, OFFICER, **SPAN))
    await sign_off(ledger.gate, OFFICER, **SPAN, digest=digest, remark="nothing to add")
    [kept] = await signatures(ledger.gate, **SPAN)
    assert (kept.signed_by, kept.digest, kept.note) == ("person:pia", digest, "nothing to add")


async def test_only_an_officer_signs_and_only_what_is_past(ledger: Ledger) -> None:
    digest = digest_of_report(await review(ledger.gate, OFFICER, **SPAN))
    for roles, sealed in ((("operator",), False), (("privacy-officer",), True)):
        other = Person(id="x", roles=roles, sites=(), sealed=sealed)
        with pytest.raises(Denied):
            await sign_off(ledger.gate, other, **SPAN, digest=digest)
    ahead: dict[str, Any] = {"since": DAY, "until": ledger.clock() + timedelta(days=1)}
    with pytest.raises(Invalid, match="yet to come"):
        await sign_off(ledger.gate, OFFICER, **ahead, digest=digest)
    with pytest.raises(Invalid, match="one line"):
        await sign_off(ledger.gate, OFFICER, **SPAN, digest=digest, remark="two\nlines")
    assert await signatures(ledger.gate, **SPAN) == []
