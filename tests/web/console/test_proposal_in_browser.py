"""The pages in a real browser: forms are taken, the policy blocks nothing of ours, and no request
leaves for another host."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect

from chartgate.model.proposal import Proposal
from chartgate.web.console.present import attachment_text
from tests.web.front_desk import PASSWORD, FrontDesk

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",  # tests may run as root, where there is none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CONTRAST_MIN = 4.5  # WCAG 2.2, 1.4.3
# Contrast of each text with what lies behind it, by the formula of WCAG.
CONTRASTS = """() => {
  const parts = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = c.map(v => { v /= 255;
    return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = parts(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) { const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !e.offsetParent) continue;
    const [a, b] = [light(parts(getComputedStyle(e).color).slice(0, 3)), light(behind(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    found.push([ratio, walk.currentNode.data.trim().slice(0, 40)]); }
  return found; }"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no browser: apt-get install chromium"),
]


@dataclass
class Desktop:
    """A browser at a front desk, and what it complained of."""

    desk: FrontDesk
    browser: Browser
    complaints: list[str] = field(default_factory=list)
    hosts: set[str | None] = field(default_factory=set)

    async def sign_in(self, name: str) -> Page:
        """A window of its own, signed in by the form."""
        await self.desk.add(name)
        context = await self.browser.new_context()
        page = await context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._asked)
        page.set_default_timeout(10_000)
        await page.goto(f"{self.desk.served.url}/")
        assert urlsplit(page.url).path == "/login"
        await page.get_by_label("Name").fill(name)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("heading", name="Inbox")).to_be_visible()
        return page

    async def open(self, page: Page, proposal: Proposal) -> None:
        """From the inbox to the proposal, by its link."""
        await page.goto(f"{self.desk.served.url}/")
        await page.locator(f'a[href="/proposals/{proposal.id}"]').click()
        await expect(page.get_by_text(proposal.id)).to_be_visible()

    async def check_contrast(self, page: Page) -> None:
        """Every text on the page can be read."""
        for details in await page.locator("details:not([open]) > summary").all():
            if await details.is_visible():
                await details.click()
        found: list[tuple[float, str]] = await page.evaluate(CONTRASTS)
        assert found
        assert [text for ratio, text in found if ratio < CONTRAST_MIN] == []

    async def work(self, page: Page) -> None:
        """The workers do what there is, and the page is looked at again."""
        await self.desk.work()
        await page.reload()

    def _heard(self, message: ConsoleMessage) -> None:
        # A refused form answers 4xx, which the browser notes by itself.
        if message.type in ("error", "warning") and "status of 4" not in message.text:
            self.complaints.append(message.text)

    def _asked(self, request: Request) -> None:
        self.hosts.add(urlsplit(request.url).netloc)


@pytest.fixture
async def desktop(desk: FrontDesk) -> AsyncIterator[Desktop]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        opened = Desktop(desk=desk, browser=browser)
        yield opened
        await browser.close()
    assert opened.complaints == []
    assert opened.hosts == {urlsplit(desk.served.url).netloc}


async def test_booking_is_looked_at_approved_verified_and_taken_back(desktop: Desktop) -> None:
    desk = desktop.desk
    proposal = await desk.clinic.booked()
    page = await desktop.sign_in("sofia")
    await desktop.open(page, proposal)
    await expect(page.locator(".about")).to_contain_text("as the AI read it")
    await expect(page.locator("del.before")).to_have_text("free")
    await expect(page.locator("tr.changed ins.after")).to_have_text("busy")
    await expect(page.get_by_role("heading", name="What the AI saw")).to_be_visible()
    await desktop.check_contrast(page)
    await page.get_by_role("button", name="Approve and write to the chart").click()
    await expect(page.get_by_role("status")).to_contain_text("Approved.")
    await desktop.work(page)
    await expect(page.get_by_role("heading", name="It is in the chart")).to_be_visible()
    await desktop.check_contrast(page)

    await page.get_by_role("button", name="Take the change back").click()
    assert "done=rolling-back" not in page.url  # the browser itself asks for the reason
    await page.get_by_label("Reason to take it back").fill("The patient called: cannot come.")
    await page.get_by_role("button", name="Take the change back").click()
    await expect(page.get_by_role("status")).to_contain_text("being taken back")
    await desktop.work(page)
    await expect(page.get_by_role("heading", name="Taken back")).to_be_visible()
    assert (await desk.clinic.get(proposal)).status.value == "rolled-back"


async def test_page_of_a_write_under_way_comes_to_say_how_it_ended(desktop: Desktop) -> None:
    proposal = await desktop.desk.clinic.booked()
    page = await desktop.sign_in("sofia")
    await desktop.open(page, proposal)
    await page.get_by_role("button", name="Approve and write to the chart").click()
    await expect(page.get_by_text("This page looks again by itself.")).to_be_visible()
    await desktop.desk.work()
    await expect(page.get_by_role("heading", name="It is in the chart")).to_be_visible()


async def test_broken_guard_leaves_a_button_that_says_why_it_cannot_be_pressed(
    desktop: Desktop,
) -> None:
    desk = desktop.desk
    proposal = await desk.clinic.booked()
    desk.take_slot(proposal)
    page = await desktop.sign_in("sofia")
    await desktop.open(page, proposal)
    approve = page.get_by_role("button", name="Approve and write to the chart")
    await expect(approve).to_be_disabled()
    await expect(approve).to_have_accessible_description(
        "Status of "
        f"{desk.clinic.hospital.scenario.free_slots[0]} changed in the record since it was read; "
        "edit it, refuse it or hand it back."
    )
    await desktop.check_contrast(page)
    await page.get_by_role("button", name="Refuse").click()
    await expect(page.get_by_role("alert")).to_contain_text("Say why it is refused")
    await page.get_by_role("link", name="Look at the proposal again").click()
    await page.get_by_label("Reason").fill("The slot is gone.")
    await page.get_by_role("button", name="Refuse").click()
    await expect(page.get_by_role("heading", name="Refused")).to_be_visible()


async def test_note_is_edited_and_landed(desktop: Desktop) -> None:
    desk = desktop.desk
    proposal = await desk.note("Seen today.\nStable.")
    page = await desktop.sign_in("dr-osei")
    await desktop.open(page, proposal)
    note = page.get_by_label("Text that would go into the chart")
    await expect(note).to_have_value("Seen today.\nStable.")
    await note.fill("Seen today.\nBlood pressure 120/80.")
    await page.get_by_role("button", name="Save my version").click()
    await expect(page.get_by_text("This is version 2, edited by dr-osei.")).to_be_visible()
    await page.get_by_role("button", name="Approve and write to the chart").click()
    await desktop.work(page)
    await expect(page.get_by_role("heading", name="It is in the chart")).to_be_visible()
    receipt = (await desk.clinic.get(proposal)).receipt
    assert receipt is not None
    chart = desk.clinic.hospital.resource(receipt.effects[0].reference)
    assert attachment_text(chart) == "Seen today.\nBlood pressure 120/80."


async def test_handed_back_proposal_is_taken_and_closed_in_the_worklist(desktop: Desktop) -> None:
    proposal = await desktop.desk.clinic.booked()
    page = await desktop.sign_in("sofia")
    await desktop.open(page, proposal)
    await page.get_by_role("button", name="Hand back to staff").click()
    await page.get_by_role("link", name="Worklist", exact=True).click()
    await desktop.check_contrast(page)
    await page.get_by_role("button", name="Take it on").click()
    await expect(page.get_by_text("taken by sofia")).to_be_visible()
    await page.get_by_label("What was done").fill("Booked by phone.")
    await page.get_by_role("button", name="Close").click()
    await expect(page.get_by_text("Nothing is waiting for staff.")).to_be_visible()
    assert (await desktop.desk.clinic.get(proposal)).status.value == "closed"


async def test_form_of_an_ended_session_leads_to_sign_in(desktop: Desktop) -> None:
    desk = desktop.desk
    proposal = await desk.note()
    page = await desktop.sign_in("dr-osei")
    await desktop.open(page, proposal)
    desk.clinic.clock.advance(desk.gate.config.web.session_idle_s + 1)
    await page.get_by_role("button", name="Approve and write to the chart").click()
    await expect(page.get_by_role("status")).to_contain_text("what you sent was not done")
    await desktop.check_contrast(page)


async def test_pages_fit_a_narrow_window(desktop: Desktop) -> None:
    proposal = await desktop.desk.authorisation()
    page = await desktop.sign_in("nora")
    await page.set_viewport_size({"width": 400, "height": 800})
    for path in ("/", "/worklist", f"/proposals/{proposal.id}"):
        await page.goto(desktop.desk.served.url + path)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 400, path
