"""A job is enqueued by a form and watched; many are stopped after one question."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.console import Account
from tests.browser.visits import Visits

pytestmark = pytest.mark.browser

LARGE = str(2**64 + 1)


def test_a_job_is_enqueued_by_a_form_watched_and_done(visits: Visits, admin: Account) -> None:
    visits.expect("422: POST /jobs")
    page = visits.open(admin)
    page.goto("/jobs")
    page.get_by_role("link", name="Enqueue").first.click()
    page.get_by_label("Type").select_option("test_steps")
    expect(page.get_by_role("button", name="Enqueue test_steps")).to_be_visible()
    page.get_by_role("textbox", name="Steps").fill("many")
    page.get_by_role("textbox", name="Seconds").fill("0.7")
    page.get_by_role("button", name="Enqueue test_steps").click()
    expect(page.locator(".field__errors").first).to_contain_text("valid integer")
    expect(page.get_by_role("textbox", name="Seconds")).to_have_value("0.7")
    page.get_by_role("textbox", name="Steps").fill("6")
    page.get_by_role("button", name="Enqueue test_steps").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("test_steps"))

    job = page.locator("#jobs-job")
    page.evaluate("window.sameDocument = true")
    expect(job).to_contain_text("Running")
    progress = job.locator("progress")
    seen = progress.get_attribute("value")
    expect(progress).not_to_have_attribute("value", seen or "")
    expect(job).to_contain_text("Succeeded", timeout=30_000)
    expect(job.locator("#result")).to_contain_text('"steps": 6')
    log = page.locator("#jobs-log tbody tr")
    expect(log).to_have_count(6)
    expect(log.first).to_contain_text("step_taken")
    expect(page.locator("#jobs-log")).not_to_contain_text("geheim")
    expect(page.locator("#curl")).to_contain_text("/api/v1/queue/jobs/test_steps")
    assert page.evaluate("window.sameDocument"), "the page was loaded anew"


def test_large_integers_stay_exact_in_the_form_and_on_the_page(page: Page) -> None:
    page.goto("/jobs/new?type=test_echo")
    page.get_by_label("Value").fill(LARGE)
    page.get_by_label("Delay").fill("3600")
    page.get_by_role("button", name="Enqueue test_echo").click()
    expect(page.locator("#arguments")).to_contain_text(LARGE)
    page.goto(f"/jobs?q=value:{LARGE}")
    expect(page.locator("#jobs-table tbody tr")).to_have_count(1)


def test_those_ticked_are_canceled_after_one_question(page: Page, admin: Account) -> None:
    for _ in range(3):
        later(admin, "bulk.some")
    page.clock.install()
    page.goto("/jobs?q=value:7&queue=bulk.some&state=scheduled")
    rows = page.locator("#jobs-table tbody tr")
    expect(rows).to_have_count(3)
    page.get_by_label(re.compile("Tick job")).nth(0).check()
    page.get_by_label(re.compile("Tick job")).nth(1).check()
    expect(page.get_by_text("2 ticked")).to_be_visible()
    # A list in which something is ticked stands still.
    expect(page.get_by_text("the list stands still")).to_be_visible()
    polls: list[str] = []
    page.on("request", lambda asked: polls.append(asked.headers.get("hx-target", "")))
    page.clock.run_for(30_000)
    assert "jobs-table" not in polls
    page.get_by_label("With many").select_option("Cancel")
    page.get_by_role("button", name="Ticked…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cancel 2 jobs?")
    page.get_by_role("textbox", name="Reason").fill("For a test")
    page.get_by_role("button", name="Cancel 2 jobs").click()
    expect(page.locator(".toast")).to_contain_text("2 jobs are canceled")
    page.goto("/jobs?queue=bulk.some&state=canceled")
    expect(rows).to_have_count(2)


def test_all_that_match_are_canceled_by_a_job_with_progress(page: Page, admin: Account) -> None:
    for _ in range(101):
        later(admin, "bulk.all")
    page.goto("/jobs?queue=bulk.all&state=scheduled")
    page.get_by_label("With many").select_option("Cancel")
    page.get_by_role("button", name="All that match").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cancel 101 jobs?")
    page.get_by_role("button", name="Cancel 101 jobs").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("job-bulk"))
    job = page.locator("#jobs-job")
    expect(job).to_contain_text("Succeeded", timeout=60_000)
    expect(job).to_contain_text("101 of 101")
    page.goto("/jobs?queue=bulk.all&state=canceled")
    expect(page.locator(".pager__count")).to_contain_text("of 101 jobs")


def test_a_queue_is_paused_with_a_reason_and_a_policy_set(page: Page) -> None:
    page.goto("/jobs/types")
    row = page.locator("#type-test_tally")
    row.get_by_role("button", name="Pause").click()
    page.get_by_role("textbox", name="Reason").fill("Calm")
    page.get_by_role("button", name="Pause type").click()
    expect(row).to_contain_text("Paused")
    expect(row).to_contain_text("Calm")
    row.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Resume type").click()
    expect(row).to_contain_text("Runs")
    row.get_by_role("link", name="test_tally").click()
    page.get_by_label("Retries").fill("9")
    page.get_by_role("button", name="Save policy").click()
    expect(page.locator(".toast")).to_contain_text("The policy of test_tally is saved.")
    expect(page.locator("#jobs-policy-history")).to_contain_text("changed the policy")


def test_a_person_without_scripts_enqueues_ticks_and_cancels(
    visits: Visits, admin: Account
) -> None:
    page = visits.open(admin, java_script_enabled=False)
    page.goto("/jobs/new?type=test_echo")
    page.get_by_label("Queue").fill("plain")
    page.get_by_label("Delay").fill("3600")
    page.get_by_role("button", name="Enqueue test_echo").click()
    expect(page.get_by_text(re.compile(r"Job \d+ is scheduled."))).to_be_visible()
    page.goto("/jobs?queue=plain")
    page.get_by_label(re.compile("Tick job")).check()
    page.get_by_label("With many").select_option("Cancel")
    page.get_by_role("button", name="Ticked…").click()
    page.get_by_role("button", name="Cancel 1 job").click()
    expect(page.get_by_text("1 job is canceled")).to_be_visible()


def later(admin: Account, queue: str) -> None:
    """Enqueue a job whose time is far ahead."""
    fields = {"type": "test_echo", "arguments.value": "7", "delay": "36000", "queue": queue}
    admin.post("/jobs", **fields)
