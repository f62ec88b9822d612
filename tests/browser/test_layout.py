"""How the pages look to whoever uses them: theme, narrow screens, keyboard."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.console import Account
from tests.browser.places import make_flag
from tests.browser.visits import Visits

pytestmark = pytest.mark.browser

#: Widens the page, or is cut off by a frame that does not scroll.
TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  const page = document.documentElement.scrollWidth > width;
  const scrolls = (frame) => getComputedStyle(frame).overflowX === "auto";
  const beyond = (element) => element.getBoundingClientRect().right > width + 1;
  const cut = (table) =>
    table.offsetWidth > table.parentElement.clientWidth + 1 && !scrolls(table.parentElement);
  return [
    ...[...document.querySelectorAll("body *")].filter((element) => page && beyond(element)),
    ...[...document.querySelectorAll("table")].filter(cut),
  ].map((element) => `${element.tagName}.${element.className}`).slice(0, 5);
}"""
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
FOCUS_OUTSIDE = """() => {
  const active = document.activeElement;
  return active !== document.body && !active.closest("dialog[open]");
}"""


def test_no_page_is_wider_than_its_screen(
    visits: Visits, admin: Account, places: dict[str, str]
) -> None:
    page = visits.open(admin)
    wide = {}
    for name, path in places.items():
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(path)
        for width in (390, 1024):
            page.set_viewport_size({"width": width, "height": 844})
            wide[name, width] = page.evaluate(TOO_WIDE)
    assert {place: found for place, found in wide.items() if found} == {}


def test_what_can_be_done_with_a_row_is_in_sight_on_a_narrow_screen(
    visits: Visits, admin: Account, places: dict[str, str]
) -> None:
    page = visits.open(admin, viewport={"width": 1024, "height": 844})
    for name in ("flags", "dead letters"):
        page.goto(places[name])
        button = page.locator("td.actions button").first
        expect(button).to_be_in_viewport(ratio=1)


def test_the_navigation_opens_and_closes_on_a_phone(visits: Visits, admin: Account) -> None:
    page = visits.open(admin, viewport={"width": 390, "height": 844}, has_touch=True)
    page.goto("/")
    navigation = page.get_by_role("navigation", name="Main")
    menu = page.get_by_role("button", name="Menu")
    expect(navigation).to_be_hidden()
    menu.tap()
    expect(navigation).to_be_visible()
    page.touchscreen.tap(380, 600)
    expect(navigation).to_be_hidden()
    menu.press("Enter")
    expect(navigation).to_be_visible()
    page.keyboard.press("Escape")
    expect(navigation).to_be_hidden()
    menu.tap()
    navigation.get_by_role("link", name="Workers").tap()
    expect(page.get_by_role("heading", level=1)).to_have_text("Workers")
    expect(navigation).to_be_hidden()


def test_a_chosen_theme_stays_and_comes_from_the_server(visits: Visits, admin: Account) -> None:
    page = visits.open(admin, color_scheme="light")
    page.goto("/")
    light = page.evaluate(BACKGROUND)
    page.locator("summary", has_text="admin").click()
    dark = page.get_by_role("button", name="Dark")
    dark.click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(dark).to_have_attribute("aria-pressed", "true")
    chosen = page.evaluate(BACKGROUND)
    assert chosen != light

    answer = page.reload()
    # In the first bytes already, so that nothing flashes.
    assert answer
    assert '<html lang="en" data-theme="dark">' in answer.text()
    assert page.evaluate(BACKGROUND) == chosen


def test_without_a_choice_the_theme_is_the_systems(visits: Visits, admin: Account) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        page = visits.open(admin, color_scheme=scheme)
        page.goto("/")
        seen[scheme] = page.evaluate(BACKGROUND)
    assert seen["light"] != seen["dark"]


def test_the_first_tab_skips_to_the_content(page: Page) -> None:
    page.goto("/flags")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_a_slash_and_a_few_letters_go_to_a_page(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("/")
    box = page.get_by_role("combobox", name="Jump to")
    expect(box).to_be_focused()
    expect(box).to_have_value("")
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    page.keyboard.press("Control+k")
    box.press_sequentially("break")
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page).to_have_url("/breakers")


def test_a_slash_that_is_typed_is_a_slash(page: Page) -> None:
    page.goto("/flags")
    search = page.get_by_role("searchbox")
    search.press_sequentially("a/b")
    expect(search).to_have_value("a/b")


def test_a_question_keeps_the_focus_until_it_is_answered(page: Page, admin: Account) -> None:
    make_flag(admin, "focus.trap")
    page.goto("/flags/focus.trap")
    page.get_by_role("button", name="Archive").press("Enter")
    expect(page.get_by_role("dialog").get_by_role("textbox", name="Reason")).to_be_focused()
    for key in ["Tab"] * 5 + ["Shift+Tab"] * 5:
        page.keyboard.press(key)
        assert not page.evaluate(FOCUS_OUTSIDE)
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Archive")).to_be_focused()
