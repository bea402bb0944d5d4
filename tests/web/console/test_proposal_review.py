"""The page slows who would approve unread, has each risky row ticked off, says who else must
approve, and tells of a known-bad one afterwards."""

from dataclasses import replace
from typing import Any

import pytest

from chartgate.config import ReviewConfig
from chartgate.flows.seeded import put_seed
from chartgate.model.proposal import Difference, Proposal, Status
from chartgate.web.console.pages import stylesheet
from chartgate.web.console.present import groups_of, ticked
from tests.flows.test_review_care import MARA, approve, ask_for
from tests.web.console.pages_of import Page
from tests.web.console.test_proposal import opened, press
from tests.web.front_desk import FrontDesk

ORDER = "MedicationRequest/7"


def ticks(page: Page) -> dict[str, str]:
    """The checkboxes by name, as a browser sends them when they are ticked."""
    boxes = [a for a in page.attributes("input") if a.get("type") == "checkbox"]
    assert all("required" in box and box["form"] == "decision" for box in boxes)
    return {box["name"]: box["value"] for box in boxes}


def hurry(desk: FrontDesk, review: ReviewConfig) -> None:
    object.__setattr__(desk.gate, "config", replace(desk.gate.config, review=review))


async def test_button_waits_as_long_as_looking_takes_and_then_works(desk: FrontDesk) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    hurry(desk, ReviewConfig())
    page = await opened(desk, proposal, sofia)
    assert "wait k-0 h-0 t-1 o-4" in page.source
    assert "Time to look before you approve" in page.text
    early = await press(desk, proposal, sofia, "review", verdict="approve")
    assert (early.status, early.headers["Retry-After"]) == (429, "14")
    assert "Look at it for another 14 seconds, then approve" in Page(early).text
    desk.clinic.clock.advance(14)
    page = await opened(desk, proposal, sofia)
    assert "Time to look" not in page.text
    done = await press(desk, proposal, sofia, "review", verdict="approve")
    assert done.headers["Location"].endswith("?done=approved")


async def test_count_needs_no_script_and_every_digit_has_its_class(desk: FrontDesk) -> None:
    page = await opened(desk, await desk.clinic.booked(), await desk.sign_in())
    assert page.attributes("script") == []
    assert not any("style" in attributes for _, attributes in page.tags)
    styles = stylesheet().decode()
    assert all(f".{place}-{digit} {{" in styles for place in "khto" for digit in range(10))


async def test_high_risk_rows_are_ticked_off_one_by_one(desk: FrontDesk) -> None:
    ask_for(desk.clinic, review_acknowledge=("status", "start"))
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    boxes = ticks(await opened(desk, proposal, sofia))
    slot = proposal.content.changes[1].reference
    assert sorted(boxes.values()) == [
        "Appointment (new)#start",
        "Appointment (new)#status",
        f"{slot}#status",
    ]
    some = dict(list(boxes.items())[:2])
    answer = await press(desk, proposal, sofia, "review", verdict="approve", **some)
    assert answer.status == 422
    assert "1 of 3 differences" in Page(answer).text
    answer = await press(desk, proposal, sofia, "review", verdict="approve", **boxes)
    assert answer.headers["Location"].endswith("?done=approved")
    assert ticks(await opened(desk, proposal, sofia)) == {}, "nothing is left to tick off"


async def test_refusing_asks_for_no_ticks(desk: FrontDesk) -> None:
    ask_for(desk.clinic, review_acknowledge=("status",))
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    page = await opened(desk, proposal, sofia)
    skip = [a["value"] for a in page.attributes("button") if "formnovalidate" in a]
    assert skip == ["refuse", "hand-back"]
    answer = await press(desk, proposal, sofia, "review", verdict="refuse", reason="the wrong day")
    assert answer.headers["Location"].endswith("?done=refused")


async def test_first_of_two_is_told_that_another_must_approve(desk: FrontDesk) -> None:
    ask_for(desk.clinic, review_people=2)
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    page = await opened(desk, proposal, sofia)
    assert "2 people must approve exactly this. Still asked for: 2 more people" in page.text
    inbox = Page(await desk.ask("GET", "/", headers=sofia.headers))
    assert "0 of 2 approved" in inbox.text
    answer = await press(desk, proposal, sofia, "review", verdict="approve")
    assert answer.headers["Location"].endswith("?done=approved-in-part")
    inbox = Page(await desk.ask("GET", "/", headers=sofia.headers))
    assert "1 of 2 approved" in inbox.text
    page = await opened(desk, proposal, sofia)
    assert "So far: sofia (scheduler) . Still asked for: one more person" in page.text
    assert page.button("Approve").disabled
    assert page.why_not("Approve") == "You have approved it already; it waits for one more person."
    await approve(desk.clinic, proposal, MARA)
    assert (await desk.clinic.get(proposal)).status is Status.APPROVED


@pytest.mark.parametrize(("verdict", "said"), [("approve", "not caught"), ("refuse", "caught it")])
async def test_known_bad_one_looks_like_any_other_until_it_is_decided(
    desk: FrontDesk, verdict: str, said: str
) -> None:
    ask_for(desk.clinic, review_seeds=0.2)
    real = await desk.clinic.booked()
    seed = await put_seed(desk.gate, real, chance=lambda: 0.0)
    assert seed is not None
    sofia = await desk.sign_in()
    for path in ("/", f"/proposals/{seed.id}"):
        page = Page(await desk.ask("GET", path, headers=sofia.headers))
        assert page.status == 200
        assert "seed" not in page.source
        assert "known-bad" not in page.source
    answer = await press(desk, seed, sofia, "review", verdict=verdict, reason="that is wrong")
    assert answer.headers["Location"] == f"/proposals/{seed.id}?done=known-bad"
    page = Page(await desk.ask("GET", answer.headers["Location"], headers=sofia.headers))
    assert "to test the review. Nothing was written." in page.text
    assert said in page.text
    assert "Known-bad, to test the review" in page.text
    assert "Withdrawn by its author" not in page.text


def order(*paths: tuple[str, Any, Any]) -> list[Difference]:
    return [Difference(reference=ORDER, path=p, before=b, after=a) for p, b, a in paths]


def test_row_of_a_code_stands_for_all_of_its_parts() -> None:
    differences = order(
        ("medicationCodeableConcept.coding[0].system", "a", "b"),
        ("medicationCodeableConcept.coding[0].code", "1", "2"),
        ("status", "draft", "active"),
    )
    keys = [f"{ORDER}#{d.path}" for d in differences]
    (group,) = groups_of(differences, {}, acknowledge=keys[:2])
    code, status = group.rows
    assert ticked({code.tick: code.keys, "csrf": "x"}) == tuple(keys[:2])
    assert status.tick == ""


def test_row_of_a_text_stands_for_its_base64_too() -> None:
    differences = order(
        ("content[0].attachment.data", "QQ==", "Qg=="),
        ("content[0].attachment.data (text)", "A", "B"),
    )
    keys = [f"{ORDER}#{d.path}" for d in differences]
    (group,) = groups_of(differences, {}, acknowledge=keys)
    (row,) = group.rows
    assert sorted(ticked({row.tick: row.keys})) == sorted(keys)


def test_every_key_that_is_asked_for_has_exactly_one_checkbox() -> None:
    differences = order(*((f"dosageInstruction[{n}].text", None, "x") for n in range(20)))
    differences += [replace(d, reference="MedicationRequest/8") for d in differences]
    keys = [f"{d.reference}#{d.path}" for d in differences]
    rows = [row for group in groups_of(differences, {}, acknowledge=keys) for row in group.rows]
    assert len({row.tick for row in rows}) == len(rows) == 40
    assert sorted(ticked({row.tick: row.keys for row in rows})) == sorted(keys)


async def test_what_was_shown_to_one_is_not_shown_to_another(desk: FrontDesk) -> None:
    hurry(desk, ReviewConfig())
    proposal: Proposal = await desk.clinic.booked()
    await opened(desk, proposal, await desk.sign_in("sofia"))
    desk.clinic.clock.advance(60)
    count = await desk.gate.database.fetch(
        "SELECT person FROM proposal_look WHERE tenant = $1 AND proposal = $2", proposal.id
    )
    assert [row["person"] for row in count] == ["person:sofia"]
