"""The console without JavaScript: links and forms do all that matters."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.console import PASSWORD, Account
from tests.browser.places import lose_job, make_flag, make_source
from tests.browser.visits import Visits
from tests.processes import wait_until

pytestmark = pytest.mark.browser


def test_a_person_without_scripts_signs_in_and_saves_a_rollout(
    visits: Visits, admin: Account
) -> None:
    make_flag(admin, "plain.form", percentage="5")
    page = visits.open(java_script_enabled=False)
    page.goto("/flags/plain.form")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("spinbutton", name="Share of subjects").fill("45")
    page.get_by_role("textbox", name="Reason").fill("Without a script")
    page.get_by_role("button", name="Save rollout").click()
    expect(page.get_by_text("plain.form is at 45 %.")).to_be_visible()
    expect(page.locator("#flags-history .timeline__item").first).to_contain_text("Without a script")


def test_the_kill_switch_asks_for_its_reason_on_a_page(visits: Visits, admin: Account) -> None:
    visits.expect("422: POST /flags/plain.switch/switch")
    make_flag(admin, "plain.switch", percentage="5")
    page = visits.open(admin, java_script_enabled=False)
    page.goto("/flags")
    page.get_by_role("searchbox").fill("plain.switch")
    page.get_by_role("button", name="Apply").click()
    page.get_by_role("button", name="Turn off").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Turn plain.switch off?")
    page.get_by_role("textbox", name="Reason").fill("No script, no dialog")
    page.get_by_role("button", name="Turn off").click()
    expect(page.get_by_text("plain.switch is off.")).to_be_visible()
    expect(page.locator("#flags-status")).to_contain_text("Killed")


def test_flags_are_looked_at_and_imported_and_their_file_is_chosen_once(
    visits: Visits, admin: Account, tmp_path: Path
) -> None:
    visits.expect("422: POST /flags/import")
    file = tmp_path / "flags.json"
    file.write_text('{"features": [{"name": "plain.taken", "enabled": true}, {"name": "Odd"}]}')
    page = visits.open(admin, java_script_enabled=False)
    page.goto("/flags")
    page.get_by_role("link", name="Import").click()
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("textbox", name="Reason").fill("Moved")
    page.get_by_role("button", name="Look", exact=True).click()
    expect(page.locator("#field-document-errors")).to_contain_text("a document of Unleash")
    page.get_by_label("From").select_option("Unleash")
    page.get_by_role("button", name="Look", exact=True).click()
    expect(page.get_by_role("group", name="Show only")).to_contain_text("1 left out")
    page.get_by_role("button", name="1 created").click()
    expect(page.locator(".facts__item")).to_have_count(1)
    page.get_by_role("button", name="Import 1 change").click()
    page.get_by_role("link", name="plain.taken").click()
    expect(page.locator("#flags-history")).to_contain_text("Moved")


def test_a_dead_job_is_retried_by_a_plain_form(
    visits: Visits, admin: Account, tmp_path: Path
) -> None:
    file = make_source(admin, "plain.retry", tmp_path)
    letter = lose_job(admin, "plain.retry", file)
    page = visits.open(admin, java_script_enabled=False)
    page.goto(letter)
    page.get_by_role("button", name="Retry job").click()
    expect(page.locator(".toast")).to_be_visible()
    wait_until(
        lambda: "Retried by hand" in admin.get(letter) and "1 time<" in admin.get(letter),
        seconds=30,
        what="the job was tried again",
    )
