"""In a real browser the button comes alive by itself, without a script, and what was ticked stays."""

from dataclasses import replace

import pytest
from playwright.async_api import expect

from chartgate.config import ReviewConfig
from tests.flows.test_review_care import ask_for
from tests.web.console.test_proposal_in_browser import CHROMIUM, Desktop, desktop

__all__ = ["desktop"]
LIVE = "rgb(11, 92, 125)"  # the accent of buttons that work
COUNT = "e => getComputedStyle(e, '::after').counterReset"
BACKGROUND = "e => getComputedStyle(e).backgroundColor"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no browser: apt-get install chromium"),
]


async def test_button_counts_down_then_works(desktop: Desktop) -> None:
    desk = desktop.desk
    at_least = ReviewConfig(dwell_s=4.0, word_s=0.0, field_s=0.0)
    object.__setattr__(desk.gate, "config", replace(desk.gate.config, review=at_least))
    ask_for(desk.clinic, review_acknowledge=("status",))
    proposal = await desk.clinic.booked()
    page = await desktop.sign_in("sofia")
    await desktop.open(page, proposal)
    button = page.get_by_role("button", name="Approve and write to the chart")
    count = page.locator(".count")
    before = str(await count.evaluate(COUNT))
    assert before in ("left 4", "left 3", "left 2")
    assert await button.evaluate(BACKGROUND) != LIVE
    assert await button.evaluate("e => getComputedStyle(e).pointerEvents") == "none"
    await desktop.check_contrast(page)
    boxes = await page.get_by_role("checkbox").all()
    assert len(boxes) == 2
    for box in boxes:
        await box.check()
    await expect(button).to_have_css("background-color", LIVE)
    await expect(page.locator(".countdown")).to_be_hidden()
    desk.clinic.clock.advance(4)
    await button.click()
    await expect(page.get_by_role("status")).to_contain_text("Approved.")
    assert (await desk.clinic.get(proposal)).status.value == "approved"


async def test_browser_asks_for_the_tick_that_is_missing_but_not_to_refuse(
    desktop: Desktop,
) -> None:
    ask_for(desktop.desk.clinic, review_acknowledge=("status",))
    proposal = await desktop.desk.clinic.booked()
    page = await desktop.sign_in("sofia")
    await desktop.open(page, proposal)
    await page.get_by_role("button", name="Approve and write to the chart").click()
    await expect(page.get_by_role("checkbox").first).to_be_focused()
    assert "done=" not in page.url
    await page.get_by_label("Reason").fill("the wrong day")
    await page.get_by_role("button", name="Refuse").click()
    await expect(page.get_by_role("status")).to_contain_text("Refused.")
