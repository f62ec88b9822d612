"""A breaker that a run of a source brought about: forced, released, given other thresholds."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.console import Account
from tests.browser.visits import Visits

pytestmark = pytest.mark.browser

NAME = "source:airports"


def test_a_breaker_is_forced_open_released_and_given_other_thresholds(
    page: Page, admin: Account, visits: Visits
) -> None:
    visits.expect(f"422: POST /breakers/{NAME}/thresholds")
    page.goto("/sources/airports")
    page.get_by_role("button", name="Run now").first.click()
    page.goto("/breakers?q=airports")
    row = page.get_by_role("row").filter(has_text=NAME)
    expect(row).to_contain_text("Closed", timeout=30_000)
    row.get_by_role("link", name=NAME).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(NAME)

    force = page.locator("#breakers-force")
    force.get_by_label("What it does").select_option("Refuse every call")
    force.get_by_label("For", exact=True).select_option("15 minutes")
    force.get_by_role("textbox", name="Reason").fill("For the journey")
    force.get_by_role("button", name="Force breaker").click()
    question = page.get_by_role("dialog", name=f"Force {NAME}?")
    question.get_by_role("button", name="Force breaker").click()
    expect(page.locator(".toast")).to_contain_text("refuse every call")
    activity = page.locator("#breakers-activity")
    expect(activity).to_contain_text("Every call is refused.")
    expect(activity).to_contain_text(re.compile("Forced open until .* by admin"))

    page.get_by_role("button", name="End force").click()
    page.get_by_role("textbox", name="Reason").last.fill("Over")
    page.get_by_role("button", name="End it").click()
    expect(activity).not_to_contain_text("Every call is refused.")

    thresholds = page.locator("#breakers-thresholds")
    thresholds.get_by_label("Failures in a row").fill("none")
    thresholds.get_by_role("textbox", name="Reason").fill("For the journey")
    thresholds.get_by_role("button", name="Save thresholds").click()
    expect(thresholds).to_contain_text("A number from 1 to 1000.")
    thresholds.get_by_label("Failures in a row").fill("9")
    thresholds.get_by_role("button", name="Save thresholds").click()
    expect(thresholds).to_contain_text("changed here, version 1")
    expect(activity).to_contain_text("0 of 9")
    assert "failures 5 to 9" in admin.get(f"/breakers/{NAME}")
