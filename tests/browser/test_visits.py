"""The watch over the pages itself: what must not happen is noticed, else it proves nothing."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.visits import Visits

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("deed", "complaint"),
    [
        ("console.error('spilt')", "console error: spilt"),
        ("setTimeout(() => { throw new Error('dropped') })", "exception: dropped"),
        ("fetch('/nothing-here')", "404: GET /nothing-here"),
        ("fetch('https://example.com/').catch(() => 0)", "CSP connect-src forbids"),
        # Chromium 150 judges an inline handler when it would run first.
        (
            "document.body.setAttribute('onclick', '1'); document.body.click()",
            "CSP script-src-attr forbids inline",
        ),
        ("new Image().src = 'https://example.com/a.png'", "CSP img-src forbids"),
    ],
)
def test_a_visit_notices(page: Page, visits: Visits, deed: str, complaint: str) -> None:
    page.goto("/account")
    page.evaluate(f"() => {{ {deed}; document.title = 'done' }}")
    expect(page).to_have_title("done")
    page.wait_for_load_state("networkidle")
    noticed, visits.complaints = visits.complaints, []
    assert any(complaint in text for text in noticed), noticed
