"""All of a flag in the browser: rows, review, trying it, and two people at once."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.console import Account, Console
from tests.browser.places import make_flag, make_segment
from tests.browser.visits import Visits

pytestmark = pytest.mark.browser


def rule(page: Page, number: int) -> Locator:
    return page.get_by_role("group", name=f"Rule {number}", exact=True)


def condition(page: Page, number: int, attribute: str, comparison: str, values: str) -> None:
    row = rule(page, 1).get_by_role("group", name=f"Condition {number}")
    row.get_by_label("Attribute").fill(attribute)
    row.get_by_label("Comparison").select_option(comparison)
    row.get_by_label("Values").fill(values)


def build(page: Page) -> None:
    """Give a flag a rule of two conditions and a segment, and two variants."""
    page.get_by_role("button", name="Add rule").click()
    expect(rule(page, 1).get_by_label("Rule", exact=True)).to_be_focused()
    page.keyboard.type("paying")
    rule(page, 1).get_by_label("Raises to").fill("100")
    condition(page, 1, "plan", "in", "pro\nteam")
    rule(page, 1).get_by_role("button", name="Add condition").click()
    expect(
        rule(page, 1).get_by_role("group", name="Condition 2").get_by_label("Attribute")
    ).to_be_focused()
    condition(page, 2, "seats", ">=", "10")
    rule(page, 1).get_by_role("checkbox", name="austrians", exact=True).check()
    for number, (name, weight, value) in enumerate(
        (("blue", "1", '"#00f"'), ("red", "3", '"#f00"')), start=1
    ):
        page.get_by_role("button", name="Add variant").click()
        row = page.get_by_role("group", name=f"Variant {number}")
        expect(row.get_by_label("Variant", exact=True)).to_be_focused()
        page.keyboard.type(name)
        row.get_by_label("Weight").fill(weight)
        row.get_by_label("Value").fill(value)


def review(page: Page, reason: str) -> Locator:
    page.get_by_role("textbox", name="Reason").fill(reason)
    page.get_by_role("button", name="Review changes").click()
    return page.get_by_role("region", name="What would change")


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


def attempt(page: Page, subject: str, attributes: str) -> Locator:
    card = page.locator("#flags-playground")
    card.get_by_label("Subject").fill(subject)
    card.get_by_label("Attributes").fill(attributes)
    card.get_by_role("button", name="Decide").click()
    return page.locator("#flags-playground")


def test_a_flag_is_built_reviewed_saved_and_tried(visits: Visits, admin: Account) -> None:
    make_segment(admin, "austrians", country="AT")
    make_flag(admin, "built.here", percentage="0")
    page = visits.open(admin)
    page.goto("/flags/built.here/edit")
    build(page)
    expect(page.locator("#variants-0-share")).to_have_text("25 %")
    expect(page.locator("#variants-1-share")).to_have_text("75 %")

    changes = review(page, "Built by hand")
    expect(changes).to_contain_text(
        "100 % where plan is in pro, team and seats >= 10; segment austrians"
    )
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_focused()
    assert "paying" not in admin.get("/flags/built.here")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/flags/built.here$"))
    expect(page.locator(".toast")).to_contain_text("built.here is saved.")
    expect(page.locator("#flags-targeting")).to_contain_text(
        "where plan is in pro, team and seats >= 10"
    )

    told = attempt(page, "u-1", '{"plan": "pro", "seats": 12, "country": "AT"}')
    expect(told.locator("output code")).to_have_text("rule")
    expect(told).to_contain_text("found 12")
    expect(told).to_contain_text(re.compile("Variant (blue|red) gives"))
    expect(page).to_have_url(re.compile("attributes="))
    told = attempt(page, "u-1", '{"plan": "pro", "seats": 2}')
    expect(told.locator("output code")).to_have_text("nobody")
    expect(told).to_contain_text("does not hold")
    told = attempt(page, "u-1", "{plan}")
    expect(told.locator("#field-attributes-errors")).to_contain_text("Is not JSON")
    expect(told.get_by_label("Attributes")).to_have_value("{plan}")


def test_rows_come_and_go_by_keyboard(visits: Visits, admin: Account) -> None:
    make_flag(admin, "by.keyboard")
    page = visits.open(admin)
    page.goto("/flags/by.keyboard/edit")
    page.get_by_role("button", name="Add rule").press("Enter")
    expect(rule(page, 1).get_by_label("Rule", exact=True)).to_be_focused()
    page.keyboard.type("first")
    page.get_by_role("button", name="Add rule").press("Space")
    expect(rule(page, 2).get_by_label("Rule", exact=True)).to_be_focused()
    page.keyboard.type("second")
    page.get_by_role("button", name="Remove rule first").press("Enter")
    expect(page.get_by_role("button", name="Add rule")).to_be_focused()
    expect(rule(page, 1).get_by_label("Rule", exact=True)).to_have_value("second")
    expect(rule(page, 2)).to_have_count(0)


def test_enter_in_a_field_reviews_and_removes_nothing(visits: Visits, admin: Account) -> None:
    make_flag(admin, "enter.key", **{"variants-0-name": "blue", "variants-0-weight": "1"})
    page = visits.open(admin)
    page.goto("/flags/enter.key/edit")
    page.get_by_role("textbox", name="Reason").fill("Enter")
    page.get_by_role("textbox", name="Tags").fill("typed")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="What would change")).to_contain_text("typed")
    expect(
        page.get_by_role("group", name="Variant 1").get_by_label("Variant", exact=True)
    ).to_have_value("blue")
    # What was changed since is looked at before it is saved.
    page.get_by_role("textbox", name="Tags").fill("another")
    save(page)
    expect(page.get_by_role("region", name="What would change")).to_contain_text("another")
    save(page)
    expect(page.locator(".toast")).to_contain_text("enter.key is saved.")


def test_a_refused_row_says_why_at_its_place_and_below(visits: Visits, admin: Account) -> None:
    visits.expect("422: POST /flags/refused.row")
    make_flag(admin, "refused.row")
    page = visits.open(admin)
    page.goto("/flags/refused.row/edit")
    page.get_by_role("button", name="Add variant").click()
    row = page.get_by_role("group", name="Variant 1")
    row.get_by_label("Variant", exact=True).fill("blue")
    row.get_by_label("Weight").fill("1")
    row.get_by_label("Value").fill("blue, not JSON")
    page.get_by_role("textbox", name="Reason").fill("Wrong")
    page.get_by_role("button", name="Review changes").click()
    value = row.get_by_label("Value")
    expect(value).to_have_attribute("aria-invalid", "true")
    expect(value).to_have_value("blue, not JSON")
    page.get_by_role("alert").get_by_role("link", name="Is not JSON").click()
    expect(page.locator("#field-variants-0-value-errors")).to_be_in_viewport()


def test_two_people_settle_each_field_side_by_side(
    visits: Visits, console: Console, admin: Account
) -> None:
    visits.expect("422: POST /flags/side.by-side")
    make_flag(admin, "side.by-side", description="As it was", tags="old")
    mine, hers = visits.open(admin), visits.open(console.account("irma", "admin"))
    for page in (mine, hers):
        page.goto("/flags/side.by-side/edit")
    hers.get_by_role("textbox", name="Description").fill("Hers")
    hers.get_by_role("textbox", name="Always on for").fill("vera")
    review(hers, "Saved first")
    save(hers)
    expect(hers.locator(".toast")).to_contain_text("side.by-side is saved.")

    mine.get_by_role("textbox", name="Description").fill("Mine")
    mine.get_by_role("textbox", name="Tags").fill("new")
    review(mine, "Saved second")
    table = mine.get_by_role("table", name="Whose value is to stand")
    description = table.get_by_role("row", name="description")
    expect(mine.get_by_role("region", name="Changed meanwhile")).to_contain_text("irma")
    expect(description).to_contain_text("As it was")
    expect(
        table.get_by_role("row", name="whitelist").get_by_role("radio", name="Theirs")
    ).to_be_checked()
    expect(table.get_by_role("row", name="tags").get_by_role("radio", name="Mine")).to_be_checked()

    mine.get_by_role("button", name="Save over it").click()
    # Both changed it: the browser itself asks for a choice.
    expect(description.get_by_role("radio", name="Theirs")).to_be_focused()
    description.get_by_role("radio", name="Mine").check()
    mine.get_by_role("button", name="Save over it").click()
    expect(mine.locator(".toast")).to_contain_text("side.by-side is saved.")
    status = mine.locator("#flags-status")
    expect(status).to_contain_text("vera")
    expect(status).to_contain_text("new")
    expect(mine.locator(".page-head__lede")).to_have_text("Mine")


def test_segments_and_groups_are_made_used_and_kept(visits: Visits, admin: Account) -> None:
    visits.expect("409: POST /flags/segments/swiss/remove")
    page = visits.open(admin)
    page.goto("/flags")
    tabs = page.get_by_role("navigation", name="Flags and what they share")
    tabs.get_by_role("link", name="Groups").click()
    page.get_by_role("link", name="New group").first.click()
    page.get_by_role("textbox", name="Name").fill("alpine")
    page.get_by_role("textbox", name="Reason").fill("They belong together")
    page.get_by_role("button", name="Make group").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("alpine")

    page.goto("/flags/segments/new")
    page.get_by_role("textbox", name="Name").fill("swiss")
    page.get_by_label("Attribute").fill("country")
    page.get_by_label("Values").fill("CH")
    page.get_by_role("textbox", name="Reason").fill("They pay in francs")
    page.get_by_role("button", name="Make segment").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("swiss")

    row = {"rules-0-name": "swiss", "rules-0-percentage": "50", "rules-0-segments": "swiss"}
    make_flag(admin, "pays.in-francs", group="alpine", **row)
    page.reload()
    expect(page.get_by_role("link", name="pays.in-francs")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    dialog = page.get_by_role("dialog", name="Remove the segment swiss?")
    dialog.get_by_role("textbox", name="Reason").fill("Tidying up")
    dialog.get_by_role("button", name="Remove segment").click()
    expect(page.get_by_role("alert")).to_contain_text("swiss is used by pays.in-francs")
    expect(page.get_by_role("textbox", name="Reason")).to_have_value("Tidying up")

    page.goto("/flags/groups/alpine")
    page.get_by_role("link", name="In the list").click()
    expect(page.locator("#flags-table tbody tr")).to_have_count(1)
    expect(page.locator("#flags-table")).to_contain_text("rules to 50 %")


def test_without_scripts_a_flag_is_built_reviewed_and_saved(
    visits: Visits, console: Console, admin: Account
) -> None:
    visits.expect("409: POST /flags/plain.rows")
    make_segment(admin, "austrians-plain", country="AT")
    make_flag(admin, "plain.rows", description="As it was")
    page = visits.open(admin, java_script_enabled=False)
    page.goto("/flags/plain.rows/edit")
    page.get_by_role("button", name="Add rule").click()
    expect(rule(page, 1).get_by_label("Rule", exact=True)).to_be_focused()
    rule(page, 1).get_by_label("Rule", exact=True).fill("paying")
    rule(page, 1).get_by_label("Raises to").fill("75")
    condition(page, 1, "plan", "in", "pro")
    rule(page, 1).get_by_role("button", name="Add condition").click()
    condition(page, 2, "country", "equals", "AT")
    page.get_by_role("textbox", name="Description").fill("Mine")
    changes = review(page, "Without a script")
    expect(changes).to_contain_text("75 % where plan is in pro and country is AT")

    hers = console.account("irma", "admin")
    hers.post("/flags/plain.rows/rollout", version="1", percentage="5", reason="Hers")
    save(page)
    table = page.get_by_role("table", name="Whose value is to stand")
    expect(table.get_by_role("row", name="rules").get_by_role("radio", name="Mine")).to_be_checked()
    table.get_by_role("row", name="description").get_by_role("radio", name="Theirs").check()
    page.get_by_role("button", name="Save over it").click()
    expect(page.get_by_text("plain.rows is saved.")).to_be_visible()
    expect(page.locator("#flags-targeting")).to_contain_text("country is AT")
    expect(page.locator(".page-head__lede")).to_have_text("As it was")
    told = attempt(page, "u", '{"plan": "pro", "country": "AT"}')
    expect(told).to_contain_text("found AT")


def test_the_live_text_of_the_slider_says_from_what_to_what(page: Page, admin: Account) -> None:
    make_flag(admin, "from.to", percentage="25")
    page.goto("/flags/from.to")
    output = page.locator(".slider__output")
    expect(output).to_have_text("on for about 25 %")
    page.get_by_role("button", name="50 %").click()
    expect(output).to_have_text("25 % → 50 %")
    page.get_by_role("button", name="100 %").click()
    expect(output).to_have_text("25 % → 100 %, on for everybody")


def test_a_plan_and_a_guard_are_made_and_the_plan_is_paused(visits: Visits, admin: Account) -> None:
    make_flag(admin, "rolled.slowly", percentage="5")
    page = visits.open(admin)
    page.goto("/flags/rolled.slowly/edit")
    for number, (at, share) in enumerate(
        (("2030-01-01T09:00:00", "25"), ("2030-01-08T09:00:00", "100")), start=1
    ):
        page.get_by_role("button", name="Add step").click()
        row = page.get_by_role("group", name=f"Step {number}")
        expect(row.get_by_label("From, UTC")).to_be_focused()
        row.get_by_label("From, UTC").fill(at)
        row.get_by_label("Share, %").fill(share)
    page.get_by_role("button", name="Add guard").click()
    guard = page.get_by_role("group", name="Guard 1", exact=True)
    expect(guard.get_by_label("Guard", exact=True)).to_be_focused()
    page.keyboard.type("mail")
    # What the chosen sign has no use for is not there.
    expect(guard.get_by_label("Within")).to_be_hidden()
    guard.get_by_label("Sign of harm").select_option("Breaker opens")
    expect(guard.get_by_label("Of so many attempts")).to_be_hidden()
    guard.get_by_label("Breaker or job type").fill("smtp")
    changes = review(page, "Slowly")
    expect(changes).to_contain_text("25 % from 2030-01-01 09:00 UTC")
    expect(changes).to_contain_text("rolls back when the breaker smtp opens")
    save(page)

    plan = page.locator("#flags-plan")
    expect(plan).to_contain_text("step 0 of 2")
    plan.get_by_role("button", name="Pause").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Pause the rollout of rolled.slowly?")
    dialog.get_by_label("Reason").fill("Not in January")
    dialog.get_by_role("button", name="Pause rollout").click()
    expect(plan).to_contain_text("Not in January")
    expect(plan.get_by_role("button", name="Resume")).to_be_visible()
    expect(page.locator("#flags-guards")).to_contain_text("Rolls back when the breaker smtp opens")
