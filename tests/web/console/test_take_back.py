"""The page on which many writes are taken back: first the list, then exactly that."""

from urllib.parse import urlencode

from chartgate.model.proposal import Proposal, Status
from tests.web.console.conftest import Look
from tests.web.console.pages_of import Form, Page
from tests.web.front_desk import Answer, FrontDesk, Session

PATH = "/take-back"
BUTTON = "Take 1 change back"
ASKED = f"{PATH}?client=slot-picker&charter=&stage=&since=2020-01-01T00%3A00&until="


async def take_back(desk: FrontDesk, who: Session, form: Form) -> Answer:
    fields = form.fields | {"reason": "The model was wrong."}
    return await desk.ask("POST", PATH, headers=who.headers, form=fields)


def listed(page: Page) -> Form:
    """The form that asks for what is listed; the one before selects."""
    assert [form.action for form in page.forms if form.action == PATH] == [PATH, PATH]
    return page.forms[-1]


async def status_of(desk: FrontDesk, proposal: Proposal) -> Status:
    return (await desk.clinic.get(proposal)).status


async def test_list_is_shown_and_exactly_that_is_taken_back(desk: FrontDesk, look: Look) -> None:
    verified = await desk.clinic.verified()
    sofia = await desk.sign_in()
    assert BUTTON not in [button.label for button in (await look(PATH, sofia)).buttons]
    page = await look(ASKED, sofia)
    assert "1 of 1 can be taken back" in page.text
    assert "Stands as it was written." in page.text
    assert f"/proposals/{verified.id}" in [a.get("href") for a in page.attributes("a")]
    assert not page.button(BUTTON).disabled
    assert await status_of(desk, verified) is Status.VERIFIED, "looking changes nothing"
    answer = await take_back(desk, sofia, listed(page))
    said = {"client": "slot-picker", "since": "2020-01-01T00:00", "done": "rolling-back-many"}
    assert (answer.status, answer.headers["Location"]) == (303, f"{PATH}?{urlencode(said)}")
    page = await look(answer.headers["Location"], sofia)
    assert "They are being taken back, the newest first." in page.text
    assert "0 of 1 can be taken back" in page.text
    assert "It is being taken back already." in page.text
    await desk.work()
    assert await status_of(desk, verified) is Status.ROLLED_BACK
    assert "Nothing was written within this selection." in (await look(ASKED, sofia)).text


async def test_what_somebody_changed_meanwhile_is_said_and_left(
    desk: FrontDesk, look: Look
) -> None:
    clinic = desk.clinic
    slot = clinic.hospital.scenario.free_slots[0]
    await clinic.verified(slot)
    clinic.hospital.edit({**clinic.hospital.resource(slot), "status": "busy-unavailable"})
    page = await look(ASKED, await desk.sign_in())
    assert "0 of 1 can be taken back" in page.text
    assert f"The chart moved on: {slot} changed after it was written." in page.text
    say = "Nothing in this list can be taken back now."
    assert page.why_not("Take 0 changes back") == say


async def test_list_that_is_no_longer_the_same_is_looked_at_again(
    desk: FrontDesk, look: Look
) -> None:
    first, second = desk.clinic.hospital.scenario.free_slots[:2]
    verified = await desk.clinic.verified(first)
    sofia = await desk.sign_in()
    form = listed(await look(ASKED, sofia))
    another = await desk.clinic.verified(second)
    refused = await take_back(desk, sofia, form)
    assert refused.status == 409
    page = Page(refused)
    assert "is not what the list showed" in page.text
    assert {"href": PATH} in page.attributes("a")
    for proposal in (verified, another):
        assert await status_of(desk, proposal) is Status.VERIFIED


async def test_who_may_not_sees_nothing_of_it_and_cannot_force_it(
    desk: FrontDesk, look: Look
) -> None:
    verified = await desk.clinic.verified()
    sofia, nora = await desk.sign_in(), await desk.sign_in("nora")
    fields = listed(await look(ASKED, sofia)).fields
    page = await look(ASKED, nora)
    assert "Nothing was written within this selection." in page.text
    forced = await desk.ask(
        "POST", PATH, headers=nora.headers,
        form=fields | {"csrf": nora.csrf, "reason": "The model was wrong."},
    )  # fmt: skip
    assert forced.status == 409
    without = await desk.ask("POST", PATH, headers=sofia.headers, form=fields | {"csrf": ""})
    assert without.status == 403
    assert await status_of(desk, verified) is Status.VERIFIED


async def test_time_that_is_none_is_said(desk: FrontDesk, look: Look) -> None:
    page = await look(f"{PATH}?since=soon", await desk.sign_in())
    assert page.status == 400
    assert "A time is a date" in page.text


async def test_nobody_is_sent_to_sign_in_and_back(desk: FrontDesk) -> None:
    answer = await desk.ask("GET", PATH)
    assert (answer.status, answer.headers["Location"]) == (303, f"/login?then={PATH}")
