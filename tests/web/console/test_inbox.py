"""The inbox: what waits, the most urgent first, and nobody's name."""

from datetime import UTC, datetime, timedelta

import pytest

from chartgate.web.console.inbox import due_in
from tests.web.console.conftest import Look
from tests.web.front_desk import FrontDesk

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("minutes", "text"),
    [
        (0, "in 0 min"),
        (15, "in 15 min"),
        (119, "in 119 min"),
        (120, "in 2 h"),
        (48 * 60, "in 2 d"),
        (-3, "3 min overdue"),
        (-300, "5 h overdue"),
    ],
)
def test_due_time_is_as_staff_say_it(minutes: int, text: str) -> None:
    assert due_in(NOW + timedelta(minutes=minutes), NOW) == text


async def test_inbox_without_proposals_says_so(desk: FrontDesk, look: Look) -> None:
    page = await look("/", await desk.sign_in())
    assert "0 to decide" in page.text
    assert "Nothing waits." in page.text


async def test_what_waits_stands_above_what_was_decided_the_most_urgent_first(
    desk: FrontDesk, look: Look
) -> None:
    slots = desk.clinic.hospital.scenario.free_slots
    verified = await desk.clinic.verified(slots[0])
    first = await desk.clinic.booked(slots[1])
    desk.clinic.clock.advance(60)
    second = await desk.clinic.booked(slots[2])
    handed_off = await desk.clinic.booked(slots[3], confidence=0.41)
    page = await look("/", await desk.sign_in())
    links = [a["href"].split("/")[2] for a in page.attributes("a") if "/proposals/" in a["href"]]
    assert links[:2] == [first.id, second.id]
    assert set(links[2:]) == {verified.id, handed_off.id}
    assert "2 to decide · 1 in the worklist" in page.text
    assert "Written and verified" in page.text
    assert "in 14 min" in page.text


async def test_inbox_names_no_patient(desk: FrontDesk, look: Look) -> None:
    await desk.clinic.booked()
    patient = desk.clinic.hospital.resource(desk.clinic.hospital.scenario.booking_patient)
    page = await look("/", await desk.sign_in())
    for word in (patient["id"], patient["name"][0]["family"], patient["birthDate"]):
        assert word not in page.source


async def test_proposal_that_came_back_says_why_to_look_again(desk: FrontDesk, look: Look) -> None:
    proposal = await desk.clinic.approved()
    desk.lengthen_slot(proposal)
    await desk.work()
    assert "the chart had changed: look again" in (await look("/", await desk.sign_in())).text


async def test_each_role_sees_its_own(desk: FrontDesk, look: Look) -> None:
    await desk.clinic.booked()
    note = await desk.note()
    page = await look("/", await desk.sign_in("dr-osei"))
    assert "1 to decide" in page.text
    assert {"class": "strong", "href": f"/proposals/{note.id}"} in page.attributes("a")
