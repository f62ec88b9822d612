"""Saving a flag: what is refused is kept, what others saved is shown, what destroys is asked."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.console import Account, Console
from tests.browser.places import make_flag
from tests.browser.visits import Visits, is_poll

pytestmark = pytest.mark.browser


def type_rollout(page: Page, percentage: str, reason: str) -> None:
    page.get_by_role("spinbutton", name="Share of subjects").fill(percentage)
    page.get_by_role("textbox", name="Reason").fill(reason)


def save(page: Page, button: str = "Save rollout") -> None:
    page.get_by_role("button", name=button).click()


def test_a_refused_save_keeps_what_was_typed_and_says_why_at_the_field(
    visits: Visits, admin: Account
) -> None:
    visits.expect("422: POST /flags/refused.save/rollout")
    make_flag(admin, "refused.save", percentage="10")
    page = visits.open(admin)
    page.goto("/flags/refused.save")
    reason = page.get_by_role("textbox", name="Reason")

    type_rollout(page, "33.25", "   ")
    save(page)
    expect(reason).to_have_attribute("aria-invalid", "true")
    message = page.locator("#field-reason-errors")
    expect(message).not_to_be_empty()
    assert "field-reason-errors" in (reason.get_attribute("aria-describedby") or "")
    expect(page.get_by_role("spinbutton", name="Share of subjects")).to_have_value("33.25")
    # What came back is as live as what it replaced.
    expect(page.locator(".slider__output")).to_have_text("10 % → 33.25 %")

    reason.fill("Now with a reason")
    save(page)
    expect(page.locator(".toast")).to_contain_text("refused.save is at 33.25 %.")
    expect(message).to_have_count(0)


def test_without_a_reason_the_browser_itself_asks_for_it(page: Page, admin: Account) -> None:
    make_flag(admin, "no.reason", percentage="10")
    page.goto("/flags/no.reason")
    type_rollout(page, "20", "")
    save(page)
    expect(page.get_by_role("textbox", name="Reason")).to_be_focused()
    assert "10 %" in admin.get("/flags/no.reason")


def test_whoever_saves_second_is_told_what_changed_and_loses_nothing(
    visits: Visits, console: Console, admin: Account
) -> None:
    visits.expect("422: POST /flags/two.people/rollout")
    make_flag(admin, "two.people", percentage="10")
    mine, hers = visits.open(admin), visits.open(console.account("olga", "operator"))
    for page in (mine, hers):
        page.goto("/flags/two.people")
    type_rollout(mine, "70", "Mine, typed first")
    type_rollout(hers, "30", "Hers, saved first")
    save(hers)
    expect(hers.locator(".toast")).to_contain_text("two.people is at 30 %.")

    save(mine)
    told = mine.locator("#flags-rollout .notice", has_text="Changed meanwhile.")
    expect(told).to_contain_text("olga")
    expect(told).to_contain_text("Hers, saved first")
    expect(told.locator("del")).to_contain_text("10")
    expect(told.locator("ins")).to_contain_text("30")
    expect(mine.get_by_role("spinbutton", name="Share of subjects")).to_have_value("70")
    expect(mine.get_by_role("textbox", name="Reason")).to_have_value("Mine, typed first")

    save(mine, "Save over it")
    expect(mine.locator(".toast")).to_contain_text("two.people is at 70 %.")
    expect(told).to_have_count(0)
    expect(hers.locator("#flags-history .timeline__item").first).to_contain_text("Mine, typed")


def test_the_kill_switch_asks_with_the_name_and_escape_changes_nothing(
    visits: Visits, admin: Account
) -> None:
    make_flag(admin, "kill.switch", percentage="10")
    page = visits.open(admin)
    page.clock.install()
    page.goto("/flags?q=kill.switch")
    polls: list[str] = []
    page.on("request", lambda asked: polls.append(asked.url) if is_poll(asked) else None)
    switch = page.get_by_role("button", name="Turn off")
    switch.click()
    dialog = page.get_by_role("dialog", name="Turn kill.switch off?")
    expect(dialog).to_be_visible()

    # While it is asked the list stands still: no poll closes the question or moves the row.
    page.clock.run_for(60_000)
    expect(dialog).to_be_visible()
    assert polls == []

    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(switch).to_be_focused()
    with page.expect_request_finished(is_poll):
        page.clock.run_for(6_000)
    expect(switch).to_be_visible()
    assert "turned off" not in admin.get("/audit?name=kill.switch")

    switch.click()
    dialog.get_by_role("textbox", name="Reason").fill("It hurts")
    dialog.get_by_role("button", name="Turn off").click()
    expect(page.locator(".toast")).to_contain_text("kill.switch is off.")
    expect(page.locator("#flags-table")).to_contain_text("Killed")
    expect(page.get_by_role("button", name="Turn on")).to_be_visible()
