"""The connections by their page: what was found, when, and which writes are off because of it."""

import pytest

from chartgate.adapters.fhir_r4.dialect import PROBED
from chartgate.gate import adopt_verdicts
from chartgate.model.audit import AuditEvent
from chartgate.model.verdict import Verdict
from chartgate.store.verdicts import VerdictStore
from tests.web.console.conftest import Look
from tests.web.front_desk import FrontDesk


@pytest.fixture(autouse=True)
def connected(desk: FrontDesk) -> None:
    """The adapter itself as the sink, without the traps that other tests set on it."""
    sinks = desk.clinic.gate.sinks
    assert isinstance(sinks, dict)
    sinks["north-ehr"] = desk.clinic.adapter


async def probed(desk: FrontDesk, *failing: str) -> None:
    """As a probe leaves it in which these lines do not hold."""
    clinic = desk.clinic
    verdicts = [
        Verdict(line=line, holds=line not in failing, detail=f"<b>{line}</b> was tried")
        for line in PROBED
    ]
    event = AuditEvent(recorded=clinic.clock(), action="connection.probe", agent="process:test")
    store = VerdictStore(clinic.gate.database)
    await store.put("north-ehr", verdicts, probed_at=clinic.clock(), audit=event)
    await adopt_verdicts(clinic.gate)


async def test_verdicts_are_shown_with_their_date_and_what_follows(
    desk: FrontDesk, look: Look
) -> None:
    await probed(desk, "if_match_on_put", "if_match_on_patch", "patch_test")
    page = await look("/connections", await desk.sign_in())
    assert page.status == 200
    assert f"{len(PROBED) - 3} of {len(PROBED)} lines hold" in page.text
    assert "probed" in page.text
    assert "if_match_on_put no <b>if_match_on_put</b> was tried" in page.text, "escaped"
    assert "Create. On." in page.text
    assert "Update. Off: Chartgate probe north-ehr has not shown if_match_on_put" in page.text
    assert "PUT with a stale If-Match is refused" in page.text
    assert "run chartgate probe north-ehr again" in page.text
    assert "All writes to it are off." not in page.text


async def test_system_that_names_no_versions_has_all_its_writes_off(
    desk: FrontDesk, look: Look
) -> None:
    await probed(desk, "etag_present")
    page = await look("/connections", await desk.sign_in())
    assert "All writes to it are off." in page.text


async def test_system_that_was_never_probed_says_what_to_run(desk: FrontDesk, look: Look) -> None:
    page = await look("/connections", await desk.sign_in())
    assert "never probed" in page.text
    assert "until somebody runs chartgate probe north-ehr" in page.text


@pytest.mark.parametrize(("days", "told"), [(89, False), (91, True)])
async def test_old_verdicts_ask_to_be_found_again(
    days: int, told: bool, desk: FrontDesk, look: Look
) -> None:
    await probed(desk)
    desk.clinic.clock.advance(days * 86_400)
    page = await look("/connections", await desk.sign_in())
    assert (f"This was {days} days ago. Probe it again" in page.text) is told


async def test_who_is_not_signed_in_is_sent_to_do_so(desk: FrontDesk) -> None:
    answer = await desk.ask("GET", "/connections")
    assert answer.status == 303
    assert answer.headers["Location"] == "/login?then=/connections"
