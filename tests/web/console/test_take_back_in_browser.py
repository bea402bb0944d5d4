"""Taking back many writes in a real browser, on a wide and on a narrow window."""

import pytest
from playwright.async_api import expect

from chartgate.model.proposal import Status
from tests.web.console.test_proposal_in_browser import CHROMIUM, Desktop, desktop

__all__ = ["desktop"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no browser: apt-get install chromium"),
]


async def test_what_a_client_wrote_is_listed_and_taken_back(desktop: Desktop) -> None:
    clinic = desktop.desk.clinic
    slots = clinic.hospital.scenario.free_slots[:2]
    written = [await clinic.verified(slot) for slot in slots]
    page = await desktop.sign_in("sofia")
    await page.get_by_role("link", name="Take back", exact=True).click()
    await page.get_by_label("AI client").select_option("slot-picker")
    await page.get_by_label("Written since, UTC").fill("2020-01-01T14:00")
    await page.get_by_role("button", name="Show what would be taken back").click()
    await expect(page.get_by_role("heading", name="2 of 2 can be taken back")).to_be_visible()
    await desktop.check_contrast(page)
    await page.get_by_label("Reason to take them back").fill("The model was wrong.")
    await page.get_by_role("button", name="Take 2 changes back").click()
    await expect(page.get_by_text("They are being taken back")).to_be_visible()
    await expect(page.get_by_label("Written since, UTC")).to_have_value("2020-01-01T14:00")
    await desktop.desk.work()
    assert {(await clinic.get(p)).status for p in written} == {Status.ROLLED_BACK}


async def test_list_fits_a_narrow_window(desktop: Desktop) -> None:
    await desktop.desk.clinic.verified()
    page = await desktop.sign_in("sofia")
    await page.set_viewport_size({"width": 400, "height": 800})
    await page.goto(f"{desktop.desk.served.url}/take-back?client=slot-picker")
    await expect(page.get_by_role("heading", name="1 of 1 can be taken back")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 400
