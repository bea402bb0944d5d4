"""The page on which the glass is broken, ended and reviewed; and that no agent gets near it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chartgate.config import PeopleConfig
from chartgate.flows import people
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import SITE
from tests.web.console.conftest import Look
from tests.web.console.pages_of import Page
from tests.web.front_desk import PASSWORD, FrontDesk, Session, open_front_desk

WORDS = "Unconscious in A&E, no history."
FORM = {"site": SITE, "patient": "Patient/7", "code": "ETREAT", "words": WORDS, "minutes": "30"}
JSON = FORM | {"minutes": 30}


@pytest.fixture
async def desk(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[FrontDesk]:
    settings = PeopleConfig(break_glass_roles=("clinician",))
    async with open_front_desk(database, clock, tmp_path, people=settings) as opened:
        yield opened


async def officer(desk: FrontDesk, name: str = "pia") -> Session:
    await people.add_person(desk.gate, name, PASSWORD, ["privacy-officer"], [SITE])
    signed_in = await people.sign_in(desk.gate, name, PASSWORD)
    return Session(name=name, cookie=signed_in.cookie, csrf=signed_in.csrf)


async def test_glass_is_broken_ended_and_reviewed_on_the_page(desk: FrontDesk, look: Look) -> None:
    osei, pia = await desk.sign_in("dr-osei"), await officer(desk)
    page = await look("/break-glass", osei)
    form = page.form("/break-glass").fields | FORM
    answer = await desk.ask("POST", "/break-glass", headers=osei.headers, form=form)
    assert answer.headers["Location"] == "/break-glass?done=glass-broken"
    page = await look("/break-glass?done=glass-broken", osei)
    assert "Everything you look at is noted" in page.text
    assert "open , 30 min left" in page.text.replace("open, ", "open , ")
    assert WORDS in page.text
    assert page.attributes("a")[-1]["href"] == f"/fhir/{SITE}/Patient/7"
    (end,) = (f for f in page.forms if f.action.endswith("/end"))
    page = await look("/break-glass", pia)
    say = "It is still open; it can be reviewed once it has ended."
    assert page.why_not("Note my review") == say
    await desk.ask("POST", end.action, headers=osei.headers, form=end.fields)
    assert "1 break-glass to review" in (await look("/worklist", pia)).text
    page = await look("/break-glass", pia)
    (review,) = (f for f in page.forms if f.action.endswith("/review"))
    fields = review.fields | {"finding": "justified", "remark": "The A&E sheet says so."}
    answer = await desk.ask("POST", review.action, headers=pia.headers, form=fields)
    assert answer.headers["Location"] == "/break-glass?done=glass-reviewed"
    assert "Nothing waits." in (await look("/break-glass", pia)).text
    assert (
        "pia: It was justified. The A&E sheet says so." in (await look("/break-glass", osei)).text
    )


async def test_who_may_not_sees_a_disabled_button_and_why(desk: FrontDesk, look: Look) -> None:
    sofia = await desk.sign_in("sofia")
    page = await look("/break-glass", sofia)
    say = "To break the glass you need one of the roles break-glass, clinician."
    assert page.why_not("Break the glass") == say
    form = page.form("/break-glass").fields | FORM
    forced = await desk.ask("POST", "/break-glass", headers=sofia.headers, form=form)
    assert (forced.status, say in Page(forced).text) == (403, True)
    (event,) = await desk.clinic.audited("break-glass.open")
    assert (event["agent"], event["outcome"]) == ("person:sofia", "denied")


async def test_overdue_review_is_an_alarm_in_the_worklist(
    desk: FrontDesk, look: Look, clock: FakeClock
) -> None:
    osei = await desk.sign_in("dr-osei")
    await desk.ask("POST", "/v1/break-glass", headers=osei.changing, json=JSON)
    clock.advance(72 * 3600)
    pia = await officer(desk)
    page = await look("/worklist", pia)
    assert "1 break-glass to review, 1 overdue." in page.text


@pytest.mark.parametrize("path", ["/break-glass", "/v1/break-glass"])
async def test_agent_gets_403_whatever_it_sends(desk: FrontDesk, path: str) -> None:
    """L-16, T-23: neither words nor headers of its own make a person of it."""
    agent = await desk.bearer()
    more = {"X-Human-Confirmed": "yes", "X-Step-Up": "done", "X-User": "dr-osei"}
    before = len(await desk.clinic.audited("web.refuse"))
    for method in ("GET", "POST"):
        for headers in (agent, agent | more):
            sent = {"form": FORM} if path == "/break-glass" else {"json": JSON}
            answer = await desk.ask(
                method, path, headers=headers, **(sent if method == "POST" else {})
            )
            assert answer.status == 403
    events = (await desk.clinic.audited("web.refuse"))[before:]
    assert [(e["agent"], e["outcome"]) for e in events] == [("client:slot-picker", "denied")] * 4
    assert not await desk.gate.database.fetch("SELECT 1 FROM break_glass WHERE tenant = $1")


async def test_form_of_another_site_breaks_nothing(desk: FrontDesk) -> None:
    """W-04: a forged or replayed request."""
    osei = await desk.sign_in("dr-osei")
    for form, origin in (
        (FORM, None),
        (FORM | {"csrf": "wrong"}, None),
        (FORM | {"csrf": osei.csrf}, "https://evil.example"),
    ):
        headers = osei.headers | ({"Origin": origin} if origin else {})
        answer = await desk.ask("POST", "/break-glass", headers=headers, form=form)
        assert answer.status == 403
    form = FORM | {"csrf": osei.csrf}
    assert (await desk.ask("POST", "/break-glass", headers=osei.headers, form=form)).status == 303
    replayed = await desk.ask("POST", "/break-glass", headers=osei.headers, form=form)
    assert replayed.status == 403
    assert len(await desk.gate.database.fetch("SELECT 1 FROM break_glass WHERE tenant = $1")) == 1


async def test_page_holds_no_script_and_may_not_be_framed(desk: FrontDesk, look: Look) -> None:
    page = await look("/break-glass", await desk.sign_in("dr-osei"))
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not page.attributes("script")


async def test_words_of_a_person_are_text_on_the_page(desk: FrontDesk, look: Look) -> None:
    osei = await desk.sign_in("dr-osei")
    form = FORM | {"csrf": osei.csrf, "words": "<script>alert(1)</script>"}
    await desk.ask("POST", "/break-glass", headers=osei.headers, form=form)
    assert "<script>" not in (await look("/break-glass", osei)).source
