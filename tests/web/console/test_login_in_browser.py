"""Signing in at a provider and breaking the glass in a real browser: cookies go the way they must,
the policy blocks nothing of ours, and every text can be read at two widths."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect
from yarl import URL

from chartgate.config import LaunchConfig, OidcConfig, PeopleConfig
from chartgate.flows import accounts
from chartgate.policy.charters import compile_book
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import CHARTERS, OPERATOR, SITE, sample_charter
from tests.web.console.test_proposal_in_browser import ARGUMENTS, CHROMIUM, CONTRAST_MIN, CONTRASTS
from tests.web.front_desk import FrontDesk, open_front_desk
from tests.web.provider import CLIENT_ID, Provider, running_provider

WIDTHS = (1280, 768)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no browser: apt-get install chromium"),
]


@pytest.fixture
async def provider(clock: FakeClock) -> AsyncIterator[Provider]:
    async with running_provider(clock) as running:
        yield running


@pytest.fixture
async def desk(
    database: Database, clock: FakeClock, tmp_path: Path, provider: Provider
) -> AsyncIterator[FrontDesk]:
    """The provider sends people back to where the gateway really listens."""
    oidc = OidcConfig(
        issuer=provider.url,
        client_id=CLIENT_ID,
        name_claim="preferred_username",
        roles={
            "staff-schedulers": "scheduler",
            "staff-clinicians": "clinician",
            "privacy": "privacy-officer",
        },
        sites={"clinic-north": SITE},
    )
    ehr = LaunchConfig(
        name="north", iss=provider.url, client_id=CLIENT_ID, site=SITE, roles=("scheduler",)
    )
    people = PeopleConfig(mfa="required", break_glass_roles=("clinician",))
    async with open_front_desk(
        database, clock, tmp_path, oidc=oidc, people=people, launch={"north": ehr}
    ) as opened:
        charters = [sample_charter(name) for name in CHARTERS]
        opened.gate.running.charters = compile_book(charters, mfa_required=True)
        provider.moved_to = opened.served.url
        provider.patient = opened.clinic.hospital.scenario.booking_patient.partition("/")[2]
        yield opened


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        await running.close()


async def window(browser: Browser, complaints: list[str]) -> Page:
    page = await (await browser.new_context()).new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda m: (
            complaints.append(m.text)
            if m.type in ("error", "warning") and "status of" not in m.text
            else None
        ),
    )
    page.set_default_timeout(10_000)
    return page


async def check_looks(page: Page, folder: Path, name: str) -> None:
    """Nothing is cut off and every text can be read; the pictures are for people."""
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 900})
        await page.screenshot(path=folder / f"{name}-{width}.png", full_page=True)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, name
        found: list[tuple[float, str]] = await page.evaluate(CONTRASTS)
        assert [text for ratio, text in found if ratio < CONTRAST_MIN] == [], name


async def test_sign_in_at_the_provider_lands_in_the_inbox_and_steps_up(
    browser: Browser, desk: FrontDesk, provider: Provider, tmp_path: Path
) -> None:
    complaints: list[str] = []
    proposal = await desk.clinic.booked()
    page = await window(browser, complaints)
    await page.goto(f"{desk.served.url}/proposals/{proposal.id}")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await page.locator("summary").click()
    await check_looks(page, tmp_path, "login")
    provider.claims = {"amr": ["pwd"]}
    await page.get_by_role("link", name="Sign in with your organisation's account").click()
    await expect(page.get_by_text(proposal.id)).to_be_visible()
    assert URL(page.url).path == f"/proposals/{proposal.id}"
    await expect(page.get_by_role("button", name="Approve and write")).to_be_disabled()
    await check_looks(page, tmp_path, "step-up")
    provider.claims = {}
    await page.get_by_role("link", name="Sign in again with a second factor").click()
    await expect(page.get_by_role("button", name="Approve and write")).to_be_enabled()
    await page.get_by_role("button", name="Approve and write").click()
    await expect(page.get_by_role("status")).to_contain_text("Approved.")
    await page.get_by_role("button", name="Sign out everywhere").click()
    await expect(page.get_by_role("status")).to_contain_text("on every other machine")
    assert complaints == []


async def test_refusal_and_silence_of_the_provider_are_sentences(
    browser: Browser, desk: FrontDesk, provider: Provider, tmp_path: Path
) -> None:
    complaints: list[str] = []
    page = await window(browser, complaints)
    provider.claims = {"groups": []}
    await page.goto(f"{desk.served.url}/login/oidc")
    await expect(page.get_by_role("alert")).to_contain_text("You have no role here yet")
    await check_looks(page, tmp_path, "no-role")
    await provider.close()
    secret = await accounts.seal(desk.gate, "emergency-1", [SITE], by=OPERATOR)
    desk.gate.providers.clear()
    await page.get_by_role("link", name="Sign in with your organisation's account").click()
    await expect(page.get_by_role("alert")).to_contain_text("open a sealed account")
    await page.locator("summary").click()
    await page.get_by_label("Name").fill("emergency-1")
    await page.get_by_label("One-time secret").fill(secret)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_role("heading", name="Break glass", exact=True)).to_be_visible()
    await page.get_by_label("Patient", exact=True).fill("Patient/7")
    await page.get_by_label("What has happened").fill("Network down, unconscious in A&E.")
    await page.get_by_role("button", name="Break the glass").click()
    await expect(page.get_by_role("status")).to_contain_text("The glass is broken.")
    await check_looks(page, tmp_path, "sealed")
    assert complaints == []


async def test_privacy_officer_reviews_what_was_opened(
    browser: Browser, desk: FrontDesk, provider: Provider, tmp_path: Path, clock: FakeClock
) -> None:
    complaints: list[str] = []
    page = await window(browser, complaints)
    provider.claims = {"groups": ["staff-clinicians", "clinic-north"]}
    await page.goto(f"{desk.served.url}/login/oidc?then=/break-glass")
    await page.get_by_label("Patient", exact=True).fill("Patient/7")
    await page.get_by_label("What has happened").fill("Unconscious in A&E, no history.")
    await page.get_by_role("button", name="Break the glass").click()
    await page.get_by_role("button", name="End it now").click()
    await expect(page.get_by_role("status")).to_contain_text("It has ended.")
    other = await window(browser, complaints)
    provider.claims = {
        "sub": "subject-2",
        "preferred_username": "pia",
        "groups": ["privacy", "clinic-north"],
    }
    await other.goto(f"{desk.served.url}/login/oidc?then=/worklist")
    await check_looks(other, tmp_path, "worklist")
    await other.get_by_role("link", name="1 break-glass").click()
    await check_looks(other, tmp_path, "review")
    await other.get_by_label("It was justified.").check()
    await other.get_by_label("What you looked at and found").fill("The sheet of that night.")
    await other.get_by_role("button", name="Note my review").click()
    await expect(other.get_by_text("Nothing waits.")).to_be_visible()
    assert complaints == []


async def test_launch_from_the_ehr_shows_its_banner(
    browser: Browser, desk: FrontDesk, provider: Provider, tmp_path: Path
) -> None:
    complaints: list[str] = []
    await desk.clinic.booked()
    page = await window(browser, complaints)
    await page.goto(str(URL(f"{desk.served.url}/launch").with_query(iss=provider.url, launch="x")))
    patient = desk.clinic.hospital.scenario.booking_patient
    await expect(page.get_by_role("note")).to_contain_text(f"Opened from the EHR for {patient}")
    await check_looks(page, tmp_path, "launched")
    assert complaints == []
