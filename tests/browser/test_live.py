"""Parts that keep themselves up to date: they cost little, disturb nobody and come back."""

import pytest
from playwright.sync_api import Page, Request, Response, expect

from tests.browser.console import Account, Console
from tests.browser.places import make_flag
from tests.browser.visits import Visits, is_poll

pytestmark = pytest.mark.browser

HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
}"""


def next_poll(page: Page, milliseconds: int = 6_000) -> Request:
    """Let the page's clock run on until a live part has asked and been answered."""
    with page.expect_request_finished(is_poll) as asked:
        page.clock.run_for(milliseconds)
    return asked.value


def answer_to(request: Request) -> Response:
    response = request.response()
    assert response
    return response


def status_of(request: Request) -> int:
    return answer_to(request).status


def test_a_part_that_did_not_change_is_asked_for_by_its_tag_and_not_sent_again(
    page: Page, admin: Account
) -> None:
    make_flag(admin, "poll.tag")
    page.clock.install()
    page.goto("/flags?q=poll.tag")
    first = next_poll(page)
    assert status_of(first) == 200
    second = next_poll(page)
    assert status_of(second) == 304
    assert second.headers["if-none-match"] == answer_to(first).headers["etag"]

    admin.post("/flags/poll.tag/rollout", version="1", percentage="55", reason="A change")
    assert status_of(next_poll(page)) == 200
    expect(page.locator("#flag-poll-tag-row")).to_contain_text("55 %")


def test_polling_does_not_eat_what_is_being_typed(page: Page, admin: Account) -> None:
    make_flag(admin, "poll.typing")
    page.clock.install()
    page.goto("/flags")
    search = page.get_by_role("searchbox")
    search.press_sequentially("half a wo")
    admin.post("/flags/poll.typing/rollout", version="1", percentage="66", reason="Meanwhile")
    assert status_of(next_poll(page)) == 200
    expect(page.locator("#flag-poll-typing-row")).to_contain_text("66 %")
    expect(search).to_be_focused()
    search.press_sequentially("rd")
    expect(search).to_have_value("half a word")


def test_a_hidden_tab_asks_for_nothing_and_catches_up_when_it_is_seen(page: Page) -> None:
    page.clock.install()
    page.goto("/jobs")
    next_poll(page, 3_000)
    polls: list[Request] = []
    page.on("request", lambda asked: polls.append(asked) if is_poll(asked) else None)
    page.evaluate(HIDE, True)
    page.clock.run_for(120_000)
    assert polls == []
    with page.expect_request_finished(is_poll):
        page.evaluate(HIDE, False)


def test_a_lost_connection_is_said_and_the_page_recovers_by_itself(
    visits: Visits, console: Console, admin: Account
) -> None:
    visits.expect("ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "htmx:sendError", "htmx:afterRequest")
    page = visits.open(admin)
    page.goto("/jobs")
    page.evaluate("window.sameDocument = true")
    banner = page.locator("#connection")
    expect(banner).to_be_hidden()
    console.shut()
    try:
        expect(banner).to_be_visible()
        expect(banner).to_contain_text("The connection is lost.")
    finally:
        console.open()
    expect(banner).to_be_hidden()
    with page.expect_request_finished(is_poll) as asked:
        pass
    assert status_of(asked.value) in {200, 304}
    assert page.evaluate("window.sameDocument"), "the page was loaded anew"
