"""What a machine can tell about accessibility, contrast included, on every page in both themes."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.console import Account
from tests.browser.visits import Visits

pytestmark = pytest.mark.browser

GRAVE = {"serious", "critical"}
# No rule that is asked for reads style sheets or media by itself.
OPTIONS = {"resultTypes": ["violations"], "preload": False}
# All that a theme changes.
COLOURS = OPTIONS | {"runOnly": ["color-contrast", "link-in-text-block"]}


def complaints_about(page: Page, options: dict[str, Any] = OPTIONS) -> list[str]:
    found: list[dict[str, Any]] = Axe().run(page, options=options).response["violations"]
    return [
        f"{item['id']}: {node['target']} {node['any'][0]['message'] if node['any'] else ''}"
        for item in found
        if item["impact"] in GRAVE
        for node in item["nodes"]
    ]


@pytest.mark.timeout(300)  # seconds that a busy machine may take for all pages
@pytest.mark.parametrize(("scheme", "options"), [("light", OPTIONS), ("dark", COLOURS)])
def test_no_page_has_a_grave_fault(
    visits: Visits, admin: Account, places: dict[str, str], scheme: str, options: dict[str, Any]
) -> None:
    page = visits.open(admin, color_scheme=scheme, reduced_motion="reduce")
    faults: list[str] = []
    for name, path in places.items():
        page.goto(path)
        faults += [f"{name}: {complaint}" for complaint in complaints_about(page, options)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_opens_over_a_page_has_no_grave_fault(
    visits: Visits, admin: Account, places: dict[str, str], scheme: str
) -> None:
    page = visits.open(admin, color_scheme=scheme, reduced_motion="reduce")
    page.goto(places["flag"])
    page.get_by_role("button", name="Archive").click()
    assert complaints_about(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert complaints_about(page) == []
    page.keyboard.press("Escape")
    page.locator("summary", has_text="admin").click()
    assert complaints_about(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_of_strangers_have_no_grave_fault(visits: Visits, scheme: str) -> None:
    visits.expect("404: GET /nothing-here")
    page = visits.open(color_scheme=scheme)
    for path in ("/sign-in", "/nothing-here"):
        page.goto(path)
        assert complaints_about(page) == [], path
