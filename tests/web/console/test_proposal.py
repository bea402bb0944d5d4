"""One proposal by its page: what is shown, which buttons work, and what the forms do."""

import pytest

from chartgate.errors import Invalid
from chartgate.model.proposal import Proposal
from chartgate.web.console.present import attachment_text
from chartgate.web.console.proposal import with_note
from tests.web.console.conftest import Look
from tests.web.console.pages_of import Page
from tests.web.front_desk import Answer, FrontDesk, Session

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7*7 }}"
TURNED = "ap\u202edevorp"


async def press(
    desk: FrontDesk, proposal: Proposal, session: Session, verb: str, **fields: str
) -> Answer:
    """Sends a form of the page as a browser would."""
    page = await opened(desk, proposal, session)
    form = page.form(f"/{verb}")
    return await desk.ask("POST", form.action, headers=session.headers, form=form.fields | fields)


async def opened(desk: FrontDesk, proposal: Proposal, session: Session) -> Page:
    answer = await desk.ask("GET", f"/proposals/{proposal.id}", headers=session.headers)
    return Page(answer)


async def test_page_shows_whom_what_and_whether_it_still_holds(desk: FrontDesk) -> None:
    proposal = await desk.clinic.booked()
    page = await opened(desk, proposal, await desk.sign_in())
    hospital = desk.clinic.hospital
    patient = hospital.resource(hospital.scenario.booking_patient)
    assert patient["name"][0]["family"] in page.text
    assert "New appointment" in page.text
    assert f"Slot Tue 3 Mar 2026, 10:00–10:30 UTC {hospital.scenario.free_slots[0]}" in page.text
    assert "Status changed free busy" in page.text
    assert f"Ivan Costa ({hospital.scenario.practitioner})" in page.text
    assert page.text.count("Holds") == 3
    assert "First free slot." in page.text
    assert "14 of 31 source attributes provided" in page.text
    assert "not provided" in page.text
    assert not any(button.disabled for button in page.buttons)


async def test_approval_is_written_and_verified(desk: FrontDesk) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    answer = await press(desk, proposal, sofia, "review", verdict="approve")
    assert answer.headers["Location"] == f"/proposals/{proposal.id}?done=approved"
    page = await opened(desk, proposal, sofia)
    assert "Approved, not written yet" in page.text
    refresh = {"http-equiv": "refresh", "content": f"2;url=/proposals/{proposal.id}?again=1"}
    assert refresh in page.attributes("meta")
    await desk.work()
    page = await opened(desk, proposal, sofia)
    assert "It is in the chart Written, read back, and as approved." in page.text
    assert "version 1 → version 2" in page.text
    assert refresh not in page.attributes("meta")
    assert "Does not hold" not in page.text  # its own change is no surprise
    assert "by others" not in page.text


async def test_refusal_without_a_reason_is_refused_and_with_one_is_kept(desk: FrontDesk) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    refused = await press(desk, proposal, sofia, "review", verdict="refuse", reason=" ")
    assert refused.status == 400
    assert "Say why it is refused" in Page(refused).text
    done = await press(desk, proposal, sofia, "review", verdict="refuse", reason=HOSTILE)
    assert done.headers["Location"].endswith("?done=refused")
    page = await opened(desk, proposal, sofia)
    assert HOSTILE in page.text
    assert "There is nothing to decide." in page.text


async def test_handed_back_proposal_is_in_the_worklist(desk: FrontDesk, look: Look) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    done = await press(desk, proposal, sofia, "review", verdict="hand-back", reason="Call first.")
    assert done.headers["Location"].endswith("?done=handed-back")
    page = await opened(desk, proposal, sofia)
    assert "Call first." in page.text
    assert "It is in the worklist front-desk" in page.text
    assert "Call first." not in (await look("/worklist", sofia)).text


async def test_broken_guard_disables_approval_with_the_policys_sentence(desk: FrontDesk) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    desk.take_slot(proposal)
    page = await opened(desk, proposal, sofia)
    why = page.why_not("Approve and write to the chart")
    assert "changed in the record since it was read" in why
    assert "Does not hold" in page.text
    assert "The AI saw It proposes Now Status both changed it alike free busy busy" in page.text
    assert not page.button("Refuse").disabled
    assert not page.button("Hand back to staff").disabled


async def test_system_of_record_that_does_not_answer_is_said_to_be_unknown(
    desk: FrontDesk,
) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    await desk.clinic.hospital.stop()
    page = await opened(desk, proposal, sofia)
    assert "Cannot tell" in page.text
    assert "did not answer in time" in page.text


async def test_who_may_only_look_sees_every_button_disabled_with_a_sentence(
    desk: FrontDesk,
) -> None:
    proposal, olu = await desk.clinic.booked(), await desk.sign_in("olu")
    page = await opened(desk, proposal, olu)
    assert "for a scheduler of that site" in page.why_not("Approve and write to the chart")
    assert page.button("Refuse").disabled
    assert "for a scheduler" in page.why_not("Hand back to staff")


async def test_proposal_whose_time_is_over_cannot_be_decided(desk: FrontDesk) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    desk.clinic.clock.advance(14 * 60)
    await opened(desk, proposal, sofia)
    desk.clinic.clock.advance(2 * 60)
    page = await opened(desk, proposal, sofia)
    assert "The time to decide has ended." in page.why_not("Approve and write to the chart")
    assert "1 min overdue" in page.text


async def test_conflict_comes_back_with_what_changed_and_why(desk: FrontDesk) -> None:
    proposal, sofia = await desk.clinic.approved(), await desk.sign_in()
    desk.lengthen_slot(proposal)
    await desk.work()
    page = await opened(desk, proposal, sofia)
    assert "It was approved, but not written, because the chart had moved on." in page.text
    assert "Changed in the chart since the AI read it" in page.text
    assert "Version 2 computed anew on the live chart" in page.text
    assert {"href": "#since"} in page.attributes("a")


async def test_what_others_changed_after_the_write_is_told_apart_from_its_own(
    desk: FrontDesk,
) -> None:
    proposal, sofia = await desk.clinic.verified(), await desk.sign_in()
    slot = next(c.reference for c in proposal.content.changes if c.reference)
    chart = desk.clinic.hospital.resource(slot)
    desk.clinic.hospital.edit(chart | {"end": "2026-03-03T10:45:00Z"})
    page = await opened(desk, proposal, sofia)
    assert "Changed in the chart since the AI read it, by others" in page.text
    assert "End changed Tue 3 Mar 2026, 10:30 UTC Tue 3 Mar 2026, 10:45 UTC" in page.text


async def test_change_is_taken_back_with_a_reason(desk: FrontDesk) -> None:
    proposal, sofia = await desk.clinic.verified(), await desk.sign_in()
    assert (await press(desk, proposal, sofia, "rollback", reason="")).status == 400
    done = await press(desk, proposal, sofia, "rollback", reason="She called.")
    assert done.headers["Location"].endswith("?done=rolling-back")
    assert "Being taken back" in (await opened(desk, proposal, sofia)).text
    await desk.work()
    assert "Taken back" in (await opened(desk, proposal, sofia)).text


async def test_note_is_edited_decided_and_landed(desk: FrontDesk) -> None:
    proposal, osei = await desk.note("Seen today."), await desk.sign_in("dr-osei")
    text = "Seen today.\r\nBlood pressure 120/80.\r\n"
    done = await press(desk, proposal, osei, "edit", note=text)
    assert done.headers["Location"].endswith("?done=edited")
    page = await opened(desk, proposal, osei)
    assert "This is version 2, edited by dr-osei." in page.text
    assert "Blood pressure 120/80." in page.text
    await press(desk, proposal, osei, "review", verdict="approve")
    await desk.work()
    verified = await desk.clinic.get(proposal)
    assert verified.receipt is not None
    chart = desk.clinic.hospital.resource(verified.receipt.effects[0].reference)
    assert attachment_text(chart) == "Seen today.\nBlood pressure 120/80.\n"


async def test_note_that_begins_with_an_empty_line_keeps_it(desk: FrontDesk) -> None:
    """A browser drops the first line end of a textarea: the page must not lose the second."""
    proposal, osei = await desk.note("\nSecond line."), await desk.sign_in("dr-osei")
    assert ">\n\nSecond line.</textarea>" in (await opened(desk, proposal, osei)).source


async def test_empty_note_is_refused(desk: FrontDesk) -> None:
    proposal, osei = await desk.note(), await desk.sign_in("dr-osei")
    refused = await press(desk, proposal, osei, "edit", note=" \r\n ")
    assert (refused.status, "note is empty" in Page(refused).text) == (400, True)


async def test_proposal_without_a_note_has_none_to_edit(desk: FrontDesk) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    page = await opened(desk, proposal, sofia)
    assert "Edit the note" not in page.text
    with pytest.raises(Invalid, match="no note text"):
        with_note(proposal.content, "x")


async def test_stale_edit_does_not_overwrite_another_ones(desk: FrontDesk) -> None:
    proposal, osei = await desk.note(), await desk.sign_in("dr-osei")
    page = await opened(desk, proposal, osei)
    await press(desk, proposal, osei, "edit", note="First.")
    form = page.form("/edit")
    fields = form.fields | {"note": "Second."}
    answer = await desk.ask("POST", form.action, headers=osei.headers, form=fields)
    assert answer.status == 409
    assert "First." in (await opened(desk, proposal, osei)).text


async def test_hostile_text_is_shown_as_text(
    desk: FrontDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the AI's words, in what it proposes, and in the chart itself; were it not refused at the
    door, as markup in a proposal is."""
    monkeypatch.setattr("chartgate.flows.drafts.check_smuggling", lambda *_, **__: None)
    hospital = desk.clinic.hospital
    patient = hospital.resource(hospital.scenario.visit_patient)
    hospital.edit(patient | {"name": [{"family": HOSTILE, "given": [TURNED]}]})
    visit = hospital.resource(hospital.scenario.visit)
    hospital.edit(visit | {"reasonCode": [{"text": HOSTILE}]})
    proposal = await desk.note(HOSTILE, rationale=f"{HOSTILE} {TURNED}")
    page = await opened(desk, proposal, await desk.sign_in("dr-osei"))
    assert page.text.count(HOSTILE) >= 4
    assert not page.attributes("script")
    assert not page.attributes("img")
    assert "49" not in page.by_id.get("words", "")
    assert "\u202e" not in page.source.replace(str(page.by_id.get("note")), "")
    assert "ap⟨U+202E⟩devorp" in page.text


async def test_proposal_of_another_role_has_no_page(desk: FrontDesk) -> None:
    page = await opened(desk, await desk.clinic.booked(), await desk.sign_in("nora"))
    assert page.status == 404
