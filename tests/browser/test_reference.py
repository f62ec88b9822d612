"""The reference of the API: drawn under the content security policy, and tried out as oneself."""

import json
from collections.abc import Callable
from typing import Final

import pytest
from playwright.sync_api import Page, expect

from tests.browser.console import Account
from tests.browser.visits import Visits

pytestmark = pytest.mark.browser


BULK: Final = "operations-jobs-jobs_bulk_bulk"
# Only what is near the window is drawn.
SCROLLED: Final = """() => {
  window.scrollBy(0, window.innerHeight / 2);
  return [...document.querySelectorAll(".opblock")].map((block) => block.id);
}"""
MOST_SCROLLS: Final = 100


def scroll_until(page: Page, is_enough: Callable[[list[str]], bool]) -> None:
    """Scroll down until enough operations have been drawn, which are named by their ids."""
    expect(page.locator(".opblock").first).to_be_attached()
    for _ in range(MOST_SCROLLS):
        if is_enough(page.evaluate(SCROLLED)):
            return
        page.wait_for_timeout(50)


def test_every_operation_is_shown_and_one_is_tried_out(visits: Visits, admin: Account) -> None:
    page = visits.open(admin)
    page.goto("/")
    page.locator("summary", has_text="admin").click()
    page.get_by_role("link", name="API reference").click()
    paths = json.loads(admin.get("/api/v1/openapi.json"))["paths"]
    wanted = {
        f"operations-{operation['tags'][0].replace(' ', '_')}-{operation['operationId']}"
        for methods in paths.values()
        for operation in methods.values()
    }
    shown: set[str] = set()

    def all_were_drawn(drawn: list[str]) -> bool:
        shown.update(drawn)
        return shown >= wanted

    scroll_until(page, all_were_drawn)
    assert shown == wanted

    page.reload()
    scroll_until(page, lambda drawn: BULK in drawn)
    page.locator(f"#{BULK} .opblock-summary").click()
    opened = page.locator(".opblock.is-open")
    opened.get_by_role("button", name="Try it out").click()
    opened.get_by_role("button", name="Execute").click()
    # A write, so the page's token was sent with it; the example can be sent as it stands.
    expect(opened.locator(".live-responses-table .response-col_status").last).to_have_text("200")


def test_it_follows_the_theme(visits: Visits, admin: Account) -> None:
    page = visits.open(admin, color_scheme="dark")
    page.goto("/api/docs")
    expect(page.locator("html")).to_have_class("dark-mode")
    page.locator("summary", has_text="admin").click()
    page.get_by_role("button", name="Light").click()
    expect(page.locator("html")).not_to_have_class("dark-mode")
