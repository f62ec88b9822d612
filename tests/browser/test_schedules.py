"""A schedule is made with a look at its next runs, run, paused and removed."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.console import Account
from tests.browser.places import make_schedule
from tests.browser.visits import Visits

pytestmark = pytest.mark.browser


def test_a_schedule_is_made_with_a_look_at_its_next_runs_then_run_and_paused(
    page: Page, admin: Account
) -> None:
    page.goto("/schedules")
    page.get_by_role("link", name="New schedule").first.click()
    preview = page.locator("#schedules-preview")
    expect(preview).to_contain_text("At 06:00 every day")

    page.get_by_label("Name").fill("journey.weekly")
    page.get_by_label("Job type").select_option("etl")
    page.get_by_label("Arguments").fill('{"source": "airports"}')
    expect(page.get_by_label("Tue")).to_be_hidden()
    page.get_by_label("Repeats").select_option("Every week")
    page.get_by_label("Tue").check()
    page.get_by_label("Time", exact=True).fill("07:15")
    page.get_by_label("Time zone").fill("America/New_York")
    expect(preview).to_contain_text("At 07:15 on Monday and Tuesday")
    expect(preview.locator(".runs__item")).to_have_count(5)
    page.get_by_label("Repeats").select_option("By cron")
    page.get_by_role("textbox", name="Cron").fill("61 * * * *")
    expect(preview).to_contain_text("The minute cannot be read.")
    page.get_by_role("textbox", name="Cron").fill("15 7 * * mon-fri")
    expect(preview).to_contain_text("At 07:15 on Monday through Friday")
    page.get_by_role("textbox", name="Reason").fill("For the journey")
    page.get_by_role("button", name="Make schedule").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("journey.weekly")
    expect(page.locator(".toast")).to_contain_text("journey.weekly is made.")

    page.get_by_role("button", name="Run now").click()
    activity = page.locator("#schedules-activity")
    expect(activity).to_contain_text("Succeeded", timeout=30_000)
    expect(activity).to_contain_text("by hand")

    page.goto("/schedules?q=journey")
    row = page.locator("#schedule-journey-weekly")
    expect(row.get_by_role("link", name=re.compile("Job .*succeeded"))).to_be_visible()
    row.get_by_role("button", name="Pause").click()
    page.get_by_role("textbox", name="Reason").fill("Calm")
    page.get_by_role("button", name="Pause schedule").click()
    expect(row).to_contain_text("Paused")
    expect(row.get_by_role("button", name="Resume")).to_be_visible()
    assert "Calm" in admin.get("/schedules/journey.weekly")


def test_a_schedule_is_removed_after_a_question(page: Page, admin: Account) -> None:
    make_schedule(admin, "to.be.removed")
    page.goto("/schedules/to.be.removed")
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("textbox", name="Reason").fill("Done with")
    page.get_by_role("button", name="Remove schedule").click()
    expect(page.get_by_text("to.be.removed is removed.")).to_be_visible()
    expect(page.locator("#schedules-table")).not_to_contain_text("to.be.removed")


def test_whoever_saves_second_is_told_what_changed(visits: Visits, admin: Account) -> None:
    visits.expect("422: POST /schedules/two.people")
    make_schedule(admin, "two.people")
    page = visits.open(admin)
    page.goto("/schedules/two.people/edit")
    make = {"type": "etl", "arguments": '{"source": "airports"}', "kind": "daily"}
    admin.post("/schedules/two.people", **make, at="08:00", timezone="UTC", reason="Theirs")
    page.get_by_label("Time", exact=True).fill("09:00")
    page.get_by_role("textbox", name="Reason").fill("Mine")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#schedules-form")).to_contain_text("Theirs")
    expect(page.get_by_label("Time", exact=True)).to_have_value("09:00")
    page.get_by_role("button", name="Save over it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("two.people")
    assert "At 09:00 every day" in admin.get("/schedules/two.people")


def test_a_person_without_scripts_makes_one_with_a_look_at_its_next_runs(
    visits: Visits, admin: Account
) -> None:
    visits.expect("422: POST /schedules/plain.monthly/pause")
    page = visits.open(admin, java_script_enabled=False)
    page.goto("/schedules/new")
    page.get_by_label("Name").fill("plain.monthly")
    page.get_by_label("Job type").select_option("etl")
    page.get_by_label("Arguments").fill('{"source": "airports"}')
    page.get_by_label("Repeats").select_option("Every month")
    page.get_by_label("Day", exact=True).fill("last")
    page.get_by_role("button", name="Show next runs").click()
    expect(page.locator("#schedules-preview")).to_contain_text("on the last day of every month")
    expect(page.get_by_label("Name")).to_have_value("plain.monthly")
    page.get_by_role("textbox", name="Reason").fill("Without a script")
    page.get_by_role("button", name="Make schedule").click()
    expect(page.get_by_text("plain.monthly is made.")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("textbox", name="Reason").fill("No script, no dialog")
    page.get_by_role("button", name="Pause schedule").click()
    expect(page.get_by_text("plain.monthly is paused.")).to_be_visible()
