"""Looking into the audit: who may, what is found, page by page; each look is itself an event."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from chartgate.errors import Denied, Invalid, Unavailable
from chartgate.flows.audit_search import Page, everything, parse_time, search
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.principal import Client, Person, Principal, Process, Service
from chartgate.store.audit_search import Criteria
from chartgate.store.database import Database, open_database
from chartgate.testing.clock import FakeClock
from tests.flows.ledgers import Ledger, open_ledger

OFFICER = Person(id="pia", roles=("privacy-officer",), sites=("north-clinic",))


@pytest.fixture
async def ledger(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with open_ledger(database, clock, tmp_path) as opened:
        yield opened


async def happened(ledger: Ledger, **fields: Any) -> AuditEvent:
    """One event, a second after the last."""
    ledger.clock.advance(1)
    known: dict[str, Any] = {"action": "fhir.read", "agent": "client:slot-picker"}
    event = AuditEvent(recorded=ledger.clock(), **known | fields)
    async with ledger.database.change(event):
        pass
    return event


async def found(ledger: Ledger, **criteria: Any) -> list[AuditEvent]:
    page = await search(ledger.gate, OFFICER, Criteria(**criteria))
    return [each.event for each in page.found if each.event.action != "audit.search"]


async def test_each_question_finds_its_events_newest_first(ledger: Ledger) -> None:
    one = await happened(ledger, patient="Patient/1", site="north-clinic")
    two = await happened(ledger, patient="Patient/2", agent="client:scribe", site="south-clinic")
    three = await happened(
        ledger, patient="Patient/1", action="fhir.search", outcome=Outcome.DENIED, reason="policy"
    )
    several = await happened(ledger, action="fhir.search", patients=("Patient/1", "Patient/3"))
    assert await found(ledger, patient="Patient/1") == [several, three, one]
    assert await found(ledger, patient="Patient/3") == [several]
    assert await found(ledger, agent="client:scribe") == [two]
    assert await found(ledger, action="fhir.search") == [several, three]
    assert await found(ledger, outcome=Outcome.DENIED) == [three]
    assert await found(ledger, site="south-clinic") == [two]
    assert await found(ledger, since=two.recorded, until=several.recorded, patient="Patient/1") == [
        three
    ]
    assert await found(ledger, patient="Patient/1", outcome=Outcome.DENIED) == [three]
    assert await found(ledger, patient="Patient/9") == []


async def test_pages_hold_each_event_once_even_while_others_come(ledger: Ledger) -> None:
    at_once = [await happened(ledger, patient="Patient/1") for _ in range(3)]
    same_time = [
        AuditEvent(
            recorded=ledger.clock(), action="fhir.read", agent="client:x", patient="Patient/1"
        )
        for _ in range(6)
    ]
    async with ledger.database.change(*same_time):
        pass
    seen, mark = 0, ""
    for _ in range(20):
        page: Page = await search(
            ledger.gate, OFFICER, Criteria(patient="Patient/1"), page=mark, count=2
        )
        seen += sum(each.event.action == "fhir.read" for each in page.found)
        mark = page.next
        await happened(ledger, patient="Patient/1", action="proposal.show", agent="person:x")
        if not mark:
            break
    assert seen == len(at_once) + len(same_time)


async def test_found_events_bear_their_number_once_they_have_one(ledger: Ledger) -> None:
    await happened(ledger, patient="Patient/1")
    before = await search(ledger.gate, OFFICER, Criteria(patient="Patient/1", action="fhir.read"))
    assert [each.seq for each in before.found] == [None]
    await ledger.sequence()
    after = await search(ledger.gate, OFFICER, Criteria(patient="Patient/1", action="fhir.read"))
    assert [each.seq for each in after.found] == [0]


async def test_a_look_is_an_event_itself_and_says_what_was_looked_for(ledger: Ledger) -> None:
    await search(ledger.gate, OFFICER, Criteria(patient="Patient/1", outcome=Outcome.DENIED))
    page = await search(ledger.gate, OFFICER, Criteria(agent="person:pia", patient="Patient/1"))
    second, first = (each.event for each in page.found)
    assert (first.action, dict(first.details)) == ("audit.search", {"outcome": "denied"})
    assert dict(second.details) == {"agent": "person:pia"}


@pytest.mark.parametrize(
    ("who", "may"),
    [
        (OFFICER, True),
        (Person(id="a", roles=("auditor",), sites=()), True),
        (Process(id="cli/root"), True),
        (Service(id="siem", may=("audit",)), True),
        (Service(id="monitor", may=("introspect",)), False),
        (Person(id="s", roles=("scheduler", "operator", "clinician"), sites=()), False),
        (Person(id="b", roles=("auditor",), sites=(), sealed=True), False),
        (Client(id="slot-picker", charter="clinic-booking", scopes=("system/*.rs",)), False),
        (Client(id="audit", charter="auditor", scopes=("system/AuditEvent.rs", "audit")), False),
    ],
    ids=lambda value: getattr(value, "agent", value),
)
async def test_who_may_look_and_the_refusal_is_audited(
    ledger: Ledger, who: Principal, may: bool
) -> None:
    await happened(ledger, patient="Patient/1")
    if may:
        page = await search(ledger.gate, who, Criteria(patient="Patient/1"))
        assert page.found
        return
    with pytest.raises(Denied, match="privacy officer"):
        await search(ledger.gate, who, Criteria(patient="Patient/1"))
    page = await search(ledger.gate, OFFICER, Criteria(outcome=Outcome.DENIED))
    [refused] = [each.event for each in page.found]
    assert (refused.agent, refused.reason, refused.patient) == (who.agent, "role", None)


async def test_nothing_is_shown_where_the_look_cannot_be_audited(ledger: Ledger) -> None:
    await happened(ledger, patient="Patient/1")
    await ledger.gate.audit.close()
    with pytest.raises(Unavailable):
        await search(ledger.gate, OFFICER, Criteria(patient="Patient/1"))


@pytest.mark.parametrize(
    ("criteria", "page"),
    [
        (Criteria(action="fhir.raed"), ""),
        (Criteria(patient="x" * 300), ""),
        (Criteria(agent="line\nbreak"), ""),
        (Criteria(), "nonsense"),
        (Criteria(), "MjAyNi0xMS0yMXw3"),
        (Criteria(), "////"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    ledger: Ledger, criteria: Criteria, page: str
) -> None:
    with pytest.raises(Invalid):
        await search(ledger.gate, OFFICER, criteria, page=page)


async def test_other_tenants_are_never_found(ledger: Ledger, database_url: str) -> None:
    other_tenant = await open_database(database_url, tenant="other")
    theirs = AuditEvent(
        recorded=ledger.clock(), action="fhir.read", agent="client:x", patient="Patient/1"
    )
    async with other_tenant.change(theirs):
        pass
    await other_tenant.close()
    assert await found(ledger, patient="Patient/1", action="fhir.read") == []


async def test_everything_comes_in_batches_that_leave_none_out(ledger: Ledger) -> None:
    await ledger.add(25)
    numbers = [
        f.event async for f in everything(ledger.gate, Criteria(action="fhir.read"), batch=4)
    ]
    assert len(numbers) == 25


def test_times_are_dates_or_how_long_ago(clock: FakeClock) -> None:
    now = clock()
    assert parse_time("90d", now=now) == now - timedelta(days=90)
    assert parse_time("12h", now=now) == now - timedelta(hours=12)
    assert parse_time("2026-11-01", now=now).isoformat() == "2026-11-01T00:00:00+00:00"
    assert parse_time("2026-11-01T12:00:00Z", now=now).hour == 12
    for wrong in ("", "soon", "-3d", "99999999999999d", "2026-13-01"):
        with pytest.raises(Invalid, match="a time is"):
            parse_time(wrong, now=now)
