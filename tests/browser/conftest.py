"""Fixtures: one console and one browser for all tests, and windows of its own for each."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.console import Account, Console
from tests.browser.places import furnish
from tests.browser.visits import TIMEOUT, Visits
from tests.servers import find_chromium, missing_server

#: Nothing that the browser does for its maker's sake, and nothing that root or a container forbid.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A browser without a screen."""
    program = find_chromium()
    if program is None:
        missing_server("chromium")
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """The running console; every test works on flags and sources of its own."""
    with Console(tmp_path_factory.mktemp("console")) as console:
        yield console


@pytest.fixture(scope="session")
def places(console: Console, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The paths of all pages, furnished."""
    return furnish(console.account(), tmp_path_factory.mktemp("files"))


@pytest.fixture
def admin(console: Console) -> Account:
    """An admin who is signed in."""
    return console.account()


@pytest.fixture
def visits(chromium: Browser, console: Console) -> Iterator[Visits]:
    """The windows of a test, which fails if anything happened in them that must not."""
    visits = Visits(chromium, console.url)
    yield visits
    visits.close()
    assert not visits.complaints


@pytest.fixture
def page(visits: Visits, admin: Account) -> Page:
    """A window where an admin is signed in."""
    return visits.open(admin)
