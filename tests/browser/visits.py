"""Visits to the console in a real browser, and what must not happen during one.

Every page is watched from its first request: errors on its console, exceptions, requests that fail
or go to another host, answers with an error status, violations of the content security policy.
A test that provokes one of these says so beforehand; any other fails it.
"""

from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    WebError,
)

from tests.browser.console import Account

TIMEOUT = 15_000
#: A request that its own page gave up by leaving is no failure.
LEFT = "net::ERR_ABORTED"
ERROR_STATUS = 400
TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP ${event.violatedDirective} forbids ${event.blockedURI}`));
"""


def is_poll(request: Request) -> bool:
    """Whether a live part of a page asks for itself."""
    return request.method == "GET" and request.headers.get("hx-request") == "true"


class Visits:
    """The browser windows of one test, each with cookies of its own."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        self._url = url
        self._contexts: list[BrowserContext] = []
        self._expected: list[str] = []
        self.complaints: list[str] = []

    def open(self, account: Account | None = None, **options: Any) -> Page:
        """Open a window, signed in as `account`; `options` are those of a browser context."""
        context = self._browser.new_context(
            base_url=self._url, **({"viewport": {"width": 1440, "height": 900}} | options)
        )
        self._contexts.append(context)
        context.set_default_timeout(TIMEOUT)
        if account:
            pairs = account.cookies()
            context.add_cookies(
                [{"name": name, "value": value, "url": self._url} for name, value in pairs]
            )
        self._watch(context)
        return context.new_page()

    def expect(self, *parts: str) -> None:
        """Say which complaints this test provokes, each by a part of its text."""
        self._expected += parts

    def close(self) -> None:
        """Close all windows."""
        for context in self._contexts:
            context.close()

    def _watch(self, context: BrowserContext) -> None:
        context.add_init_script(TELL_VIOLATIONS)
        context.on("console", self._on_console)
        context.on("weberror", self._on_exception)
        context.on("request", self._on_request)
        context.on("requestfailed", self._on_failure)
        context.on("response", self._on_response)

    def _on_console(self, message: ConsoleMessage) -> None:
        # Of requests that fail the console repeats what failure and response say more exactly.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load"):
            self._complain(f"console {message.type}: {message.text}")

    def _on_exception(self, error: WebError) -> None:
        self._complain(f"exception: {error.error}")

    def _on_request(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self._url).netloc:
            self._complain(f"request to another host: {request.url}")

    def _on_failure(self, request: Request) -> None:
        if request.failure != LEFT:
            self._complain(f"failed: {request.method} {request.url}: {request.failure}")

    def _on_response(self, response: Response) -> None:
        if response.status >= ERROR_STATUS:
            path = response.url.removeprefix(self._url)
            self._complain(f"{response.status}: {response.request.method} {path}")

    def _complain(self, text: str) -> None:
        if not any(part in text for part in self._expected):
            self.complaints.append(text)
