"""A job that fails for good: it is noticed, understood, and retried or laid to rest."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.console import Account, Console
from tests.browser.places import lose_job, make_source
from tests.browser.visits import Visits
from tests.dead_letters.conftest import make_letters
from webapp.clock import now
from webapp.db import transaction

pytestmark = pytest.mark.browser


def test_a_source_is_added_with_a_look_at_its_rows_its_job_dies_and_is_retried(
    page: Page, admin: Account, tmp_path: Path
) -> None:
    file = tmp_path / "parcels.csv"
    content = "number,weight\nparcel-1,3\nparcel-2,4\n"
    file.write_text(content)
    page.goto("/sources")
    page.get_by_role("link", name="Add a source").click()
    page.get_by_label("Location").fill(str(file))
    page.get_by_role("button", name="Look into it").click()
    expect(page.locator("#sources-preview")).to_contain_text("parcel-1")
    page.get_by_label("Name").fill("parcels")
    page.get_by_label("Key").select_option("number")
    page.get_by_role("button", name="Add the source").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("parcels")
    file.unlink()
    page.get_by_role("button", name="Run now").click()
    expect(page.locator(".toast", has_text="reads parcels")).to_be_visible()

    page.goto("/dead-letters/list?q=parcels")
    letter = page.locator("#dead-letters-table tbody tr", has_text="parcels")
    expect(letter).to_be_visible()
    expect(letter).to_contain_text("FileNotFoundError")
    letter.locator(".table__main").click()
    attention = page.get_by_role("link", name=re.compile("Dead letters")).locator(".count").first
    expect(attention).to_have_text(re.compile(r"^[1-9]"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("FileNotFoundError in etl")
    trace = page.locator("#traceback")
    expect(trace).to_contain_text("find_file")
    expect(trace).to_contain_text("FileNotFoundError")

    file.write_text(content)
    page.get_by_role("button", name="Retry job").click()
    expect(page.locator(".toast")).to_be_visible()
    expect(page.locator("#dead-letters-letter")).to_contain_text("Succeeded")


def test_a_letter_is_resolved_with_notes(page: Page, admin: Account, tmp_path: Path) -> None:
    file = make_source(admin, "lay.to.rest", tmp_path)
    page.goto(lose_job(admin, "lay.to.rest", file))
    page.get_by_label("Notes").fill("The file is not coming back")
    page.get_by_role("button", name="Resolve letter").click()
    letter = page.locator("#dead-letters-letter")
    expect(letter).to_contain_text("Resolved")
    expect(letter).to_contain_text("The file is not coming back")
    expect(page.get_by_role("button", name="Retry job")).to_have_count(0)
    assert "The file is not coming back" in admin.get("/audit?q=coming+back")


def lose_jobs(console: Console, count: int, message: str) -> None:
    """Lose jobs of a type that succeeds when it is tried again."""
    with console.looked_into(), transaction() as session:
        make_letters(session, count, at=now(), message=message)


def test_ticked_letters_are_retried_together(page: Page, console: Console) -> None:
    lose_jobs(console, 3, "ticked in a browser")
    page.goto("/dead-letters")
    cause = page.locator("#dead-letters-groups tbody tr", has_text="ticked in a browser")
    expect(cause.get_by_role("cell").nth(1)).to_have_text("3")
    cause.get_by_role("link", name="ValueError in test_echo").click()
    rows = page.locator("#dead-letters-table tbody tr")
    expect(rows).to_have_count(3)
    buttons = page.locator("#letters-ticked").get_by_role("button")
    expect(buttons.first).to_be_disabled()
    for row in (0, 2):
        rows.nth(row).get_by_role("checkbox").check()
    everything = page.get_by_role("checkbox", name="Tick all on this page")
    expect(page.get_by_text("2 ticked")).to_be_visible()
    assert everything.evaluate("box => box.indeterminate")

    # Whoever does something sees what came of it, and keeps the ticks; else the list stands still.
    rows.nth(1).get_by_role("button", name="Retry").click()
    expect(page.locator(".toast")).to_be_visible()
    expect(page.get_by_text("2 ticked")).to_be_visible()
    expect(everything).to_be_checked()
    everything.uncheck()
    expect(page.get_by_text("0 ticked")).to_be_visible()
    expect(rows).to_have_count(2)
    everything.check()

    page.locator("#letters-ticked").get_by_role("button", name="Retry…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Retry 2 letters?")
    page.get_by_role("button", name="Retry 2 letters").click()
    expect(page.locator(".toast")).to_contain_text("2 letters are queued again.")
    page.goto("/dead-letters/list?status=resolved&q=ticked+in+a+browser")
    expect(page.get_by_text("Succeeded later")).to_have_count(3)


def test_a_cause_is_retried_at_a_pace_by_a_job(
    page: Page, visits: Visits, console: Console
) -> None:
    visits.expect("422: POST /dead-letters/bulk")
    lose_jobs(console, 2, "paced in a browser")
    page.goto("/dead-letters?q=paced+in+a+browser")
    page.locator("#dead-letters-groups").get_by_role("link", name="Retry…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Retry 2 letters?")
    page.get_by_label("Pace").fill("often")
    page.get_by_role("button", name="Retry 2 letters").click()
    expect(page.get_by_label("Pace")).to_have_value("often")
    expect(page.get_by_text("A number of letters")).to_be_visible()
    page.get_by_label("Pace").fill("600")
    page.get_by_role("button", name="Retry 2 letters").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("dead-letter-bulk")
    expect(page.locator("#jobs-job")).to_contain_text("Succeeded")
    page.goto("/dead-letters/list?status=resolved&q=paced+in+a+browser")
    expect(page.get_by_text("Succeeded later")).to_have_count(2)


def test_a_letter_is_discarded_after_one_question(page: Page, console: Console) -> None:
    lose_jobs(console, 1, "discarded in a browser")
    page.goto("/dead-letters/list?q=discarded+in+a+browser")
    page.locator("#dead-letters-table .table__main").click()
    page.get_by_role("button", name="Discard").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Discard test_echo ")
    dialog.get_by_label("Reason").fill("Only a test")
    dialog.get_by_role("button", name="Discard letter").click()
    expect(page.locator("#dead-letters-letter")).to_contain_text("Discarded")
    expect(page.locator("#dead-letters-letter")).to_contain_text("Only a test")


def test_letters_are_ticked_and_retried_without_scripts(
    visits: Visits, console: Console, admin: Account
) -> None:
    lose_jobs(console, 2, "plain in a browser")
    page = visits.open(admin, java_script_enabled=False)
    page.goto("/dead-letters/list?q=plain+in+a+browser")
    page.get_by_role("button", name="Retry…").click()
    expect(page.locator(".toast")).to_contain_text("Tick the letters first.")
    page.goto("/dead-letters/list?q=plain+in+a+browser")
    page.locator("#dead-letters-table").get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Retry…").click()
    page.get_by_role("button", name="Retry 1 letter").click()
    expect(page.locator(".toast")).to_contain_text("1 letter is queued again.")
