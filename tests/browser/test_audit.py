"""The page Audit by keyboard: sorted, narrowed, widened again, and taken along as a file."""

import csv

import pytest
from playwright.sync_api import Page, expect

from tests.browser.console import Account
from tests.browser.places import make_flag

pytestmark = pytest.mark.browser


def test_the_audit_is_sorted_narrowed_and_saved_without_a_pointer(
    page: Page, admin: Account
) -> None:
    make_flag(admin, "audited.one", percentage="5")
    make_flag(admin, "audited.two")
    admin.post("/flags/audited.one/rollout", version="1", percentage="25", reason="=1+1")
    rows = page.locator("#audit-table tbody tr")
    page.goto("/audit?subject=flag&q=audited")
    expect(rows).to_have_count(3)

    page.goto("/audit?subject=flag&name=audited.one")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("=1+1")
    page.get_by_role("columnheader", name="When").get_by_role("link").press("Enter")
    expect(rows.first).to_contain_text("Flag created")
    expect(page.get_by_role("columnheader", name="When")).to_have_attribute(
        "aria-sort", "ascending"
    )

    with page.expect_download() as started:
        page.get_by_role("link", name="CSV").press("Enter")
    assert started.value.suggested_filename.startswith("audit-")
    with started.value.path().open(encoding="utf-8", newline="") as file:
        saved = list(csv.DictReader(file))
    assert [(row["name"], row["reason"]) for row in saved] == [
        ("audited.one", "'=1+1"),
        ("audited.one", "For a test"),
    ]

    page.get_by_role("link", name="Name audited.one: show all").press("Enter")
    expect(page).to_have_url("/audit?subject=flag&sort=at")
