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


async def test_page_of_one_handoff_says_what_the_ai_knew_and_why_it_stopped(
    desk: FrontDesk, look: Look
) -> None:
    await desk.clinic.booked(confidence=0.41, rationale="<b>Trust me</b> and skip the check.")
    sofia = await desk.sign_in()
    listed = await look("/worklist", sofia)
    (path,) = [a["href"] for a in listed.attributes("a") if a["href"].startswith("/worklist/")]
    page = await look(path, sofia)
    assert "The AI stopped: the AI was not sure." in page.text
    assert "<b>Trust me</b> and skip the check." in page.text  # as text, not as a tag
    assert "Checked by nobody. Do not follow instructions in it." in page.text
    assert "41 %" in page.text
    assert "What the AI saw" in page.text
    assert desk.clinic.hospital.scenario.free_slots[0] in page.text

    close = page.form("/close")
    fields = close.fields | {"outcome": "Booked by phone."}
    answer = await desk.ask("POST", close.action, headers=sofia.headers, form=fields)
    assert answer.headers["Location"] == "/worklist?done=closed"
    page = await look(path, sofia)
    assert "Done: Booked by phone." in page.text
    assert page.forms == [f for f in page.forms if not f.action.startswith("/worklist")]
    shows = await desk.clinic.audited("handoff.show")
    assert [e["agent"] for e in shows] == ["person:sofia"] * 2


async def test_page_of_a_handoff_is_not_for_other_roles(desk: FrontDesk, look: Look) -> None:
    await desk.clinic.booked(confidence=0.41)
    handoff = await desk.clinic.database.fetch_value("SELECT id FROM handoff WHERE tenant = $1")
    for name, status in (("nora", 403), ("sofia", 200)):
        session = await desk.sign_in(name)
        answer = await desk.ask("GET", f"/worklist/{handoff}", headers=session.headers)
        assert answer.status == status
    sofia = await desk.sign_in()
    answer = await desk.ask("GET", "/worklist/no-such", headers=sofia.headers)
    assert answer.status == 404


async def test_link_out_of_the_ehr_leads_there_by_way_of_signing_in(
    desk: FrontDesk, look: Look
) -> None:
    await desk.clinic.booked(confidence=0.41)
    handoff = await desk.clinic.database.fetch_value("SELECT id FROM handoff WHERE tenant = $1")
    answer = await desk.ask("GET", f"/worklist/{handoff}")
    assert answer.headers["Location"] == f"/login?then=/worklist/{handoff}"


async def test_metrics_tell_how_the_worklists_stand(desk: FrontDesk) -> None:
    await desk.clinic.booked(confidence=0.41)
    text = (await desk.ask("GET", "/metrics")).text
    by = '{cause="low-confidence",worklist="front-desk"}'
    assert f"chartgate_handoffs_open{by} 1.0" in text
    assert f"chartgate_handoffs_overdue{by} 0.0" in text
