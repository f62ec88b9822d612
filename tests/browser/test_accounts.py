"""Signing in and out, as a browser remembers it."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.console import PASSWORD, Console
from tests.browser.visits import Visits

pytestmark = pytest.mark.browser


def sign_in(page: Page, username: str, password: str = PASSWORD) -> None:
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_after_signing_out_the_way_back_shows_no_data(visits: Visits, console: Console) -> None:
    console.make_account("wanda", "viewer")
    page = visits.open()
    page.goto("/flags")
    sign_in(page, "wanda")
    expect(page.locator("#flags-table")).to_contain_text("new_prediction_model")
    page.locator("summary", has_text="wanda").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator(".toast")).to_contain_text("You are signed out.")

    page.go_back()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    expect(page.locator("#flags-table")).to_have_count(0)


def test_a_wrong_password_is_said_and_the_username_kept(visits: Visits, console: Console) -> None:
    visits.expect("422: POST /sign-in")
    console.make_account("walter", "viewer")
    page = visits.open()
    page.goto("/sign-in")
    sign_in(page, "walter", "not the password")
    expect(page.locator("#field-password-errors")).to_have_text(
        "The username or the password is wrong."
    )
    expect(page.get_by_label("Username")).to_have_value("walter")
    expect(page.get_by_label("Password")).to_have_value("")
    expect(page.get_by_label("Password")).to_be_focused()
    sign_in(page, "walter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def test_a_viewer_is_offered_nothing_that_changes_anything(
    visits: Visits, console: Console, places: dict[str, str]
) -> None:
    page = visits.open(console.account("vera", "viewer"))
    for name in ("flags", "flag", "jobs", "job", "dead letters", "dead letter", "source"):
        page.goto(places[name])
        expect(page.locator("main [formaction]")).to_have_count(0)
        expect(page.locator('main form[method="post"]')).to_have_count(0)
