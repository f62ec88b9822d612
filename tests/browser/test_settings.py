"""Making people and tokens in a browser, and using what was made."""

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.console import Account, Console
from tests.browser.visits import Visits
from tests.processes import wait_until

pytestmark = pytest.mark.browser


def sign_in(page: Page, username: str, password: str) -> None:
    page.goto("/sign-in")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_somebody_who_was_made_signs_in_and_is_let_go(
    visits: Visits, admin: Account, console: Console
) -> None:
    page = visits.open(admin)
    page.goto("/settings/users")
    page.get_by_role("link", name="New user").click()
    page.get_by_label("Username").fill("Ursula")
    page.get_by_label("Role").select_option("operator")
    page.get_by_role("button", name="Make user").click()
    password = page.locator("#made-password").inner_text()

    other = visits.open()
    sign_in(other, "ursula", password)
    expect(other.get_by_role("heading", level=1)).to_have_text("Overview")
    other.goto("/account")
    expect(other.get_by_role("link", name="Users")).to_have_count(0)

    page.get_by_role("link", name="To ursula").click()
    page.get_by_role("button", name="Deactivate").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Deactivate ursula?")
    dialog.get_by_role("textbox", name="Reason").fill("Changed teams")
    dialog.get_by_role("button", name="Deactivate account").click()
    expect(page.locator(".toast")).to_contain_text("ursula is deactivated.")
    expect(page.locator("#users-history")).to_contain_text("Changed teams")
    other.goto("/account")
    expect(other.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_token_is_made_used_and_revoked(visits: Visits, admin: Account, console: Console) -> None:
    page = visits.open(admin)
    page.goto("/settings/tokens")
    page.get_by_role("link", name="New token").first.click()
    page.get_by_label("Name").fill("deploy-robot")
    page.get_by_role("button", name="Make token").click()
    text = page.locator("#made-token").inner_text()
    headers = {"Authorization": f"Bearer {text}"}
    url = f"{console.url}/api/v1/token"
    assert httpx.get(url, headers=headers).json()["name"] == "deploy-robot"

    page.get_by_role("link", name="All tokens").click()
    row = page.get_by_role("row").filter(has_text="deploy-robot")
    expect(row).to_contain_text("Good")
    row.get_by_role("button", name="Revoke").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Revoke deploy-robot?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(row).to_contain_text("Good")
    row.get_by_role("button", name="Revoke").click()
    dialog.get_by_role("textbox", name="Reason").fill("A test")
    dialog.get_by_role("button", name="Revoke token").click()
    expect(row).to_contain_text("Revoked")
    expect(row.get_by_role("button", name="Revoke")).to_have_count(0)
    wait_until(
        lambda: httpx.get(url, headers=headers).status_code == 401,
        seconds=10,
        what="the token is refused",
    )


def test_another_place_is_signed_out_from_the_profile(
    visits: Visits, admin: Account, console: Console
) -> None:
    del admin
    account = console.account("petra", "viewer")
    away = Account(console.url, "petra")
    page = visits.open(account)
    page.goto("/account")
    expect(page.get_by_role("region", name="Sessions")).to_contain_text("2 places")
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    page.get_by_role("dialog").get_by_role("button", name="Sign out there").click()
    expect(page.get_by_role("region", name="Sessions")).to_contain_text("1 place.")
    assert "Sign in" in away.get("/account")
    away.close()
