"""What the AI saw, what it proposes and what is there now, and a verdict on each change, by the page."""

from dataclasses import replace

import pytest

from chartgate.flows.proposals import submit
from chartgate.model.proposal import Proposal
from chartgate.policy.charters import compile_book
from chartgate.policy.seen_proposed_now import SeenProposedNow
from chartgate.web.console.three_way import three_groups
from tests.flows.clinics import CHARTERS, PICKER, sample_charter
from tests.web.console.pages_of import Page
from tests.web.console.test_proposal import opened, press
from tests.web.front_desk import FrontDesk

EACH = (
    "      within: 15m\n      auto: {min_confidence: 0.97, from_stage: full}\n",
    "      within: 15m\n      each: true\n",
)
AGAIN = (
    "    otherwise: {handoff: front",
    "    on_conflict: re-propose\n    otherwise: {handoff: front",
)


def ask_for(desk: FrontDesk, *change: tuple[str, str]) -> None:
    """The booking charter says something else."""
    others = [sample_charter(name) for name in CHARTERS if name != "clinic-booking"]
    charters = [sample_charter("clinic-booking", change=change), *others]
    desk.gate.running.charters = compile_book(charters)


def edit_slot(desk: FrontDesk, proposal: Proposal, **changes: str) -> None:
    reference = next(c.reference for c in proposal.content.changes if c.reference)
    desk.clinic.hospital.edit(desk.clinic.hospital.resource(reference) | changes)


async def test_chart_that_moved_on_is_shown_in_three_versions(desk: FrontDesk) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    edit_slot(desk, proposal, status="busy-unavailable", end="2031-01-01T00:00:00Z")
    page = await opened(desk, proposal, sofia)
    assert "Changed in the chart since the AI read it" in page.text
    assert (
        "Element The AI saw It proposes Now Status both changed it free busy busy-unavailable"
        in (page.text)
    )
    assert "End the chart changed it" in page.text
    assert "left alone" in page.text


async def test_chart_that_stands_shows_no_three_versions(desk: FrontDesk) -> None:
    page = await opened(desk, await desk.clinic.booked(), await desk.sign_in())
    assert "It proposes" not in page.text


def test_text_stands_for_its_base64_and_what_is_new_is_not_compared() -> None:
    line = SeenProposedNow(
        reference="DocumentReference/1", path="content[0].attachment.data", seen="YQ==",
        proposed=None, now="Yg==", kind="moved",
    )  # fmt: skip
    text = replace(line, path=f"{line.path} (text)", seen="a", now="b")
    new = replace(line, reference="Task (new)", kind="agreed")
    (group,) = three_groups([line, text, new], {})
    assert [(row.label, row.seen, row.now) for row in group.rows] == [("Text", "a", "b")]
    assert three_groups(None, {}) == ()


async def test_verdict_is_asked_for_each_change_and_what_is_left_out_is_not_written(
    desk: FrontDesk,
) -> None:
    ask_for(desk, EACH)
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    page = await opened(desk, proposal, sofia)
    assert (
        "Decide on each change 1. Appointment (new) Keep Appointment (new) Leave out Appointment (new) 2. Slot/"
        in page.text
    )
    none = await press(desk, proposal, sofia, "review", verdict="approve")
    assert "asks for a decision on each change" in Page(none).text
    kept = {"each-0": "approve", "each-1": "refuse"}
    done = await press(desk, proposal, sofia, "review", verdict="approve", **kept)
    assert done.headers["Location"].endswith("?done=edited")
    page = await opened(desk, proposal, sofia)
    assert "Decide on each change" not in page.text  # one is left, and is what is decided on
    done = await press(desk, proposal, sofia, "review", verdict="approve")
    assert done.headers["Location"].endswith("?done=approved")
    await desk.work()
    assert "It is in the chart" in (await opened(desk, proposal, sofia)).text
    reference = next(c.reference for c in proposal.content.changes if c.reference)
    assert desk.clinic.hospital.resource(reference)["status"] == "free"


async def test_successor_leads_to_the_one_whose_place_it_takes(desk: FrontDesk) -> None:
    ask_for(desk, AGAIN)
    earlier, sofia = await desk.clinic.booked(), await desk.sign_in()
    slot = desk.clinic.hospital.scenario.free_slots[1]
    again = await submit(desk.gate, PICKER, await desk.clinic.booking(slot, replaces=earlier.id))
    page = await opened(desk, again, sofia)
    assert "proposed this in place of an earlier proposal" in page.text
    assert f"/proposals/{earlier.id}" in page.source
    assert "proposed anew" in (await opened(desk, earlier, sofia)).text


@pytest.mark.parametrize("each", [["approve"], ["approve", "no"], "approve"])
async def test_verdicts_that_do_not_fit_are_refused_by_the_api(
    desk: FrontDesk, each: object
) -> None:
    ask_for(desk, EACH)
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    body = {"verdict": "approve", "digest": proposal.content.digest, "each": each}
    answer = await desk.ask(
        "POST", f"/v1/proposals/{proposal.id}/review", headers=sofia.changing, json=body
    )
    assert answer.status in (400, 422)
