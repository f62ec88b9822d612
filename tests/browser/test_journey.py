"""The road through all of it: a person changes a flag, runs a job, and finds both in the audit."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.console import PASSWORD, Account
from tests.browser.places import make_flag, make_source
from tests.browser.visits import Visits

pytestmark = pytest.mark.browser

#: So many that the run is seen at work between two looks, however fast the machine.
ROWS = 250_000


def test_a_person_moves_a_rollout_runs_a_job_and_finds_both_in_the_audit(
    visits: Visits, admin: Account, tmp_path: Path
) -> None:
    make_flag(admin, "journey.flag", percentage="25")
    make_source(admin, "journey.rows", tmp_path, rows=ROWS)
    page = visits.open()
    sign_in(page)
    move_the_rollout(page)
    run_the_job(page)
    read_the_overview(page)
    read_the_audit(page)


def sign_in(page: Page) -> None:
    page.goto("/flags")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    # Straight to where one wanted to go.
    expect(page.get_by_role("heading", level=1)).to_have_text("Flags")


def move_the_rollout(page: Page) -> None:
    page.get_by_role("link", name="journey.flag").click()
    page.wait_for_url("/flags/journey.flag")
    number = page.get_by_role("spinbutton", name="Share of subjects")
    slider = page.get_by_label("Share of subjects, by slider")
    live = page.locator(".slider__output")
    expect(number).to_have_value("25")
    expect(live).to_have_text("on for about 25 %")

    drag(page, slider, 0.8)
    expect(number).to_have_value(re.compile(r"^(79|80|81)$"))
    expect(live).to_have_text(f"25 % → {number.input_value()} %")
    slider.press("ArrowLeft")
    expect(live).to_have_text(f"25 % → {number.input_value()} %")

    stop = page.get_by_role("button", name="50 %", exact=True)
    stop.click()
    expect(stop).to_have_attribute("aria-pressed", "true")
    expect(number).to_have_value("50")
    expect(slider).to_have_value("50")

    page.get_by_role("textbox", name="Reason").fill("Half of them, for the journey")
    page.get_by_role("button", name="Save rollout").click()
    expect(page.locator(".toast")).to_contain_text("journey.flag is at 50 %.")
    # History and state stand on the same page and follow by themselves.
    entry = page.locator("#flags-history .timeline__item").first
    expect(entry).to_contain_text("Half of them, for the journey")
    expect_change(entry, "percentage", "25", "50")
    expect(page.locator("#flags-status")).to_contain_text("50 %")


def drag(page: Page, slider: Locator, share: float) -> None:
    box = slider.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.25, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * share, middle, steps=5)
    page.mouse.up()


def run_the_job(page: Page) -> None:
    page.get_by_role("link", name="Sources", exact=True).click()
    page.get_by_role("link", name="journey.rows").click()
    page.wait_for_url("/sources/journey.rows")
    page.evaluate("window.sameDocument = true")
    runs = page.locator("#sources-runs tbody")
    expect(runs).to_contain_text("Never run")
    page.get_by_role("button", name="Run now").click()
    expect(page.locator(".toast")).to_contain_text("reads journey.rows")

    run = runs.locator("tr").first
    expect(run).to_contain_text("Running")
    seen = run.locator("progress").get_attribute("value")
    expect(run.locator("progress")).not_to_have_attribute("value", seen or "")
    expect(run).to_contain_text("Succeeded", timeout=90_000)
    expect(run.get_by_role("cell").nth(3)).to_have_text(f"{ROWS:,}")
    expect(run.get_by_role("cell").nth(7)).to_have_text("0")
    expect(page.locator("#sources-samples")).to_contain_text("order-0")
    assert page.evaluate("window.sameDocument"), "the page was loaded anew"


def read_the_overview(page: Page) -> None:
    page.get_by_role("link", name="Overview", exact=True).click()
    run = page.locator("#overview-runs tr", has_text="journey.rows")
    expect(run).to_contain_text("Succeeded")
    expect(run).to_contain_text(f"{ROWS:,}")
    expect(page.locator("#overview-type-etl")).to_contain_text("%")
    rate = page.locator(".stat", has_text="Success rate")
    expect(rate.locator(".stat__value")).to_have_text(re.compile(r"^[\d.]+ %$"))


def read_the_audit(page: Page) -> None:
    page.get_by_role("link", name="Audit", exact=True).click()
    flag = page.locator("tr", has_text="Half of them, for the journey")
    expect(flag).to_contain_text("journey.flag")
    expect(flag).to_contain_text("admin")
    expect_change(flag, "percentage", "25", "50")
    job = page.locator("#audit-table tbody tr", has_text="journey.rows").first
    expect(job).to_contain_text("enqueued")


def expect_change(place: Locator, field: str, old: str, new: str) -> None:
    """Expect a line that shows what a field was and is."""
    change = place.locator(".changes__row", has_text=field)
    expect(change.locator("del")).to_contain_text(old)
    expect(change.locator("ins")).to_contain_text(new)
