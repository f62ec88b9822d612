"""A job that fails for good: it is noticed, understood, and retried or laid to rest."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.console import Account
from tests.browser.places import lose_job, make_source

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
