"""The page of one handoff in a real browser: read, taken, closed, on a wide and on a narrow window."""

import pytest
from playwright.async_api import expect

from chartgate.store.handoffs import HandoffStore
from tests.web.console.test_proposal_in_browser import CHROMIUM, Desktop, desktop

__all__ = ["desktop"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no browser: apt-get install chromium"),
]


async def test_handoff_is_read_taken_and_closed_on_its_page(desktop: Desktop) -> None:
    proposal = await desktop.desk.clinic.booked(confidence=0.41)
    page = await desktop.sign_in("sofia")
    await page.get_by_role("link", name="Worklist", exact=True).click()
    await page.get_by_role("link", name="What the AI knew").click()
    await expect(page.get_by_text("The AI stopped: the AI was not sure.")).to_be_visible()
    await desktop.check_contrast(page)
    handoff = await HandoffStore(desktop.desk.clinic.database).of_proposal(proposal.id)
    assert handoff is not None
    await page.get_by_role("button", name="Take it on").click()
    await expect(page.get_by_text("taken by sofia")).to_be_visible()
    await page.goto(f"{desktop.desk.served.url}/worklist/{handoff.id}")
    await page.get_by_label("What was done").fill("Booked by phone.")
    await page.get_by_role("button", name="Close").click()
    await expect(page.get_by_text("Nothing is waiting for staff.")).to_be_visible()


async def test_page_of_a_handoff_fits_a_narrow_window(desktop: Desktop) -> None:
    await desktop.desk.clinic.booked(confidence=0.41)
    page = await desktop.sign_in("sofia")
    await page.set_viewport_size({"width": 400, "height": 800})
    await page.goto(f"{desktop.desk.served.url}/worklist")
    await page.get_by_role("link", name="What the AI knew").click()
    await expect(page.get_by_role("heading", name="Your turn")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 400
