"""The worklist by its page."""

from tests.web.console.conftest import Look
from tests.web.front_desk import FrontDesk


async def test_handoff_is_taken_and_closed(desk: FrontDesk, look: Look) -> None:
    proposal = await desk.clinic.booked(confidence=0.41)
    sofia = await desk.sign_in()
    page = await look("/worklist", sofia)
    assert "The AI's confidence is below what the charter asks for." in page.text
    assert {"href": f"/proposals/{proposal.id}"} in page.attributes("a")

    take = page.form("/take")
    answer = await desk.ask("POST", take.action, headers=sofia.headers, form=take.fields)
    assert answer.headers["Location"] == "/worklist?done=taken"
    page = await look("/worklist?done=taken", sofia)
    assert "You have taken it on." in page.text
    assert "taken by sofia" in page.text
    assert [f.action for f in page.forms if f.action.endswith("/take")] == []

    close = page.form("/close")
    fields = close.fields | {"outcome": "Booked by phone <b>now</b>."}
    answer = await desk.ask("POST", close.action, headers=sofia.headers, form=fields)
    assert answer.headers["Location"] == "/worklist?done=closed"
    assert "Nothing is waiting for staff." in (await look("/worklist", sofia)).text
    shown = await look(f"/proposals/{proposal.id}", sofia)
    assert "front-desk, closed: Booked by phone <b>now</b>." in shown.text


async def test_handoff_is_late_once_it_is_overdue(desk: FrontDesk, look: Look) -> None:
    await desk.clinic.booked(confidence=0.41)
    desk.clinic.clock.advance(45 * 60)
    page = await look("/worklist", await desk.sign_in())
    assert "15 min overdue" in page.text


async def test_who_may_only_look_sees_the_buttons_disabled_with_the_policys_sentence(
    desk: FrontDesk, look: Look
) -> None:
    await desk.clinic.booked(confidence=0.41)
    page = await look("/worklist", await desk.sign_in("olu"))
    for label in ("Take it on", "Close"):
        assert "for a scheduler or front-desk of that site" in page.why_not(label)


async def test_handoff_closed_without_an_outcome_is_refused(desk: FrontDesk, look: Look) -> None:
    await desk.clinic.booked(confidence=0.41)
    sofia = await desk.sign_in()
    close = (await look("/worklist", sofia)).form("/close")
    fields = close.fields | {"outcome": "  "}
    assert (await desk.ask("POST", close.action, headers=sofia.headers, form=fields)).status == 400
