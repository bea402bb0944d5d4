"""What every page carries, and what becomes of a visit that goes wrong."""

import re
from pathlib import Path

import pytest

import chartgate.web.console
from chartgate.web.console.pages import FLASHES, environment, sentence, stylesheet
from tests.web.console.conftest import Look
from tests.web.console.pages_of import Page
from tests.web.front_desk import FrontDesk

TEMPLATES = Path(chartgate.web.console.__file__).parent / "templates"
POLICY = {
    "default-src 'none'",
    "style-src 'self'",
    "img-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
}


async def test_every_page_is_kept_by_nobody_framed_by_nobody_and_runs_no_script(
    desk: FrontDesk, look: Look
) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    for path, session in (
        ("/login", None),
        ("/", sofia),
        ("/worklist", sofia),
        (f"/proposals/{proposal.id}", sofia),
        ("/proposals/nope", sofia),
        ("/login?broken=%ff", None),
    ):
        page = await look(path, session)
        assert {part.strip() for part in page.headers["Content-Security-Policy"].split(";")} == (
            POLICY
        )
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        # no-referrer would make browsers send `Origin: null` with our own forms.
        assert page.headers["Referrer-Policy"] == "same-origin"
        assert not page.attributes("script")


@pytest.mark.parametrize("template", sorted(TEMPLATES.glob("*.html")), ids=lambda p: p.name)
def test_template_turns_no_escaping_off_and_names_no_other_host(template: Path) -> None:
    source = template.read_text(encoding="utf-8")
    assert "safe" not in re.findall(r"\|\s*(\w+)", source)
    assert "autoescape" not in source
    assert "http" not in re.sub(r'http-equiv="refresh"', "", source)
    assert not re.search(r"<script|\sstyle=|\son\w+=", source)
    environment().get_template(template.name)


def test_stylesheet_asks_no_other_host() -> None:
    assert b"url(" not in stylesheet()
    assert b"@import" not in stylesheet()


async def test_stylesheet_is_served_to_anyone(look: Look) -> None:
    page = await look("/static/style.css")
    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/css")


async def test_visitor_is_sent_to_sign_in_and_back_to_what_they_asked_for(
    desk: FrontDesk,
) -> None:
    proposal = f"/proposals/{(await desk.clinic.booked()).id}"
    for path, place in (
        ("/", "/login?then=/"),
        ("/worklist", "/login?then=/worklist"),
        (proposal, f"/login?then={proposal}"),
        ("/proposals/nope", "/login"),
    ):
        answer = await desk.ask("GET", path)
        assert (answer.status, answer.headers["Location"]) == (303, place)


async def test_form_of_an_ended_session_leads_to_sign_in_and_says_that_it_was_not_done(
    desk: FrontDesk, look: Look
) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    page = await look(f"/proposals/{proposal.id}", sofia)
    desk.clinic.clock.advance(desk.gate.config.web.session_idle_s + 1)
    form = page.form("/review").fields | {"verdict": "approve"}
    path = f"/proposals/{proposal.id}/review"
    answer = await desk.ask("POST", path, headers=sofia.headers, form=form)
    assert (answer.status, answer.headers["Location"]) == (303, "/login?done=expired")
    assert FLASHES["expired"] in (await look("/login?done=expired")).text
    assert (await desk.clinic.get(proposal)).decided_by is None


async def test_form_without_the_sessions_secret_changes_nothing(
    desk: FrontDesk, look: Look
) -> None:
    proposal = await desk.clinic.booked(confidence=0.41)
    sofia, other = await desk.sign_in(), await desk.sign_in()
    handoff = (await look("/worklist", sofia)).form("/take").action.removesuffix("/take")
    right = {"verdict": "refuse", "reason": "x", "outcome": "x", "note": "x"}
    right["digest"] = proposal.content.digest
    own = f"/proposals/{proposal.id}"
    for path in (
        "/logout",
        f"{own}/review",
        f"{own}/edit",
        f"{own}/rollback",
        f"{handoff}/take",
        f"{handoff}/close",
    ):
        for secret in ({}, {"csrf": ""}, {"csrf": other.csrf}):
            answer = await desk.ask("POST", path, headers=sofia.headers, form=right | secret)
            page = Page(answer)
            assert (page.status, "own pages" in page.text) == (403, True), path
        cross = sofia.headers | {"Origin": "https://evil.example"}
        answer = await desk.ask("POST", path, headers=cross, form=right | {"csrf": sofia.csrf})
        assert answer.status == 403, path
    assert (await desk.clinic.get(proposal)) == proposal


async def test_error_says_what_to_do_and_what_to_quote(desk: FrontDesk) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    form = {"csrf": sofia.csrf, "verdict": "approve", "digest": "0" * 64}
    path = f"/proposals/{proposal.id}/review"
    answer = await desk.ask("POST", path, headers=sofia.headers, form=form)
    page = Page(answer)
    assert page.status == 409
    assert "look at it again before you decide." in page.text
    assert answer.headers["X-Request-Id"] in page.text
    assert {"href": f"/proposals/{proposal.id}"} in page.attributes("a")


async def test_json_sent_to_a_form_is_refused_as_a_page(desk: FrontDesk) -> None:
    answer = await desk.ask("POST", "/login", json={"name": "sofia"})
    assert answer.status == 415
    assert answer.headers["Content-Type"].startswith("text/html")


async def test_page_refreshes_for_a_while_and_then_lets_the_session_be_idle(
    desk: FrontDesk, look: Look
) -> None:
    sofia = await desk.sign_in()

    async def refresh(path: str) -> list[str]:
        metas = (await look(path, sofia)).attributes("meta")
        return [m["content"] for m in metas if m.get("http-equiv") == "refresh"]

    assert await refresh("/") == ["30;url=/?again=1"]
    assert await refresh("/?again=7") == ["30;url=/?again=8"]
    for end in ("20", "off", "-1", "9999999", "", "٣"):
        assert await refresh(f"/?again={end}") == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [("it is gone", "It is gone."), ("Why?", "Why?"), ("Done.", "Done."), ("", ".")],
)
def test_our_sentences_stand_on_their_own(text: str, shown: str) -> None:
    assert sentence(text) == shown
