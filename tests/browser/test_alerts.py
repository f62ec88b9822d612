"""An alert from its rule to its end: previewed, fired by the worker, acknowledged, silenced."""

import sqlite3
from contextlib import closing

import pytest
from playwright.sync_api import Page, expect

from tests.browser.console import Account, Console
from tests.processes import wait_until

pytestmark = pytest.mark.browser

NAME = "journey.workers"
SECONDS = 30


def judge_again(console: Console) -> None:
    """Have the worker judge at its next beat, though it has judged this minute."""
    with closing(sqlite3.connect(console.folder / "switchyard.db", timeout=10)) as database:
        database.execute("DELETE FROM alert_head")
        database.commit()


def test_a_rule_is_tried_fires_is_acknowledged_silenced_and_over(
    page: Page, admin: Account, console: Console
) -> None:
    page.goto("/alerts/rules")
    page.get_by_role("link", name="New rule").click()
    form = page.locator("#alerts-rule-form")
    form.get_by_label("Name").fill(NAME)
    form.get_by_label("What is measured").select_option("workers_alive")
    # What the metric does not have is not asked for.
    expect(form.get_by_label("Only of")).to_be_hidden()
    expect(form.get_by_label("Window, minutes")).to_be_hidden()
    form.get_by_label("Threshold").fill("0")
    preview = page.locator("#alerts-preview")
    expect(preview).to_contain_text("It would fire now.")
    expect(preview).to_contain_text("alive")
    form.get_by_role("textbox", name="Reason").fill("For the journey")
    form.get_by_role("button", name="Make rule").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(NAME)

    judge_again(console)
    listed = f"/alerts?q={NAME}&state=active"
    wait_until(lambda: f"by {NAME}<" in admin.get(listed), seconds=SECONDS, what="it fires")
    page.goto(listed)
    row = page.get_by_role("row").filter(has_text=f"by {NAME}")
    expect(row).to_contain_text("Firing")
    row.get_by_role("link").click()
    activity = page.locator("#alerts-activity")
    activity.get_by_role("button", name="Acknowledge").click()
    question = page.get_by_role("dialog")
    question.get_by_role("textbox", name="Reason").fill("I look after it")
    question.get_by_role("button", name="Acknowledge").click()
    expect(activity).to_contain_text("admin looks after it.")
    expect(activity).to_contain_text("I look after it")

    silence = page.locator("#alerts-silence")
    expect(silence.get_by_label("Until, UTC")).to_be_hidden()
    silence.get_by_label("For", exact=True).select_option("8 hours")
    silence.get_by_role("textbox", name="Reason").fill("Known by now")
    silence.get_by_role("button", name="Silence").click()
    expect(page.locator(".toast")).to_contain_text("Silenced until")
    expect(activity).to_contain_text("Known by now")

    admin.post(f"/alerts/rules/{NAME}/disable", reason="It was for the journey")
    judge_again(console)
    # The live part tells its end by itself.
    expect(activity).to_contain_text("It was over", timeout=SECONDS * 1000)
