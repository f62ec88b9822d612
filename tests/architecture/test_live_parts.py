"""What a page asks for again and again: the part alone, and nothing where nothing is new."""

from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.architecture.markup import Element, elements_of
from tests.architecture.population import populate
from tests.architecture.test_statements import PAGES
from tests.conftest import NOW, ConsoleClient, leave, stop_threads
from webapp.db import db, will_write
from webapp.roles import Role

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

# Every page that shows something, with the things that populate() makes.
SHOWN = (
    *PAGES,
    "/flags/flag.number0?subject=a&attributes={}",
    "/flags/segments/german0",
    "/flags/groups/group0",
    "/sources/source0",
    "/breakers/source:source0",
    "/sources/source1",
    "/models/1",
    "/models/versions/1",
    "/alerts/1",
    "/alerts/2",
    "/alerts/rules/rule0",
    "/account",
    "/settings/system",
)
EDITED = (
    "/flags/import",
    "/flags/new",
    "/flags/flag.number0/edit",
    "/jobs/new",
    "/jobs/types/etl",
    "/jobs/bulk?action=cancel&scope=all",
    "/flags/segments/new",
    "/flags/segments/german0/edit",
    "/flags/groups/new",
    "/flags/groups/group0/edit",
    "/sources/new",
    "/settings/users/new",
    "/settings/tokens/new",
    "/sources/source0/limit",
    "/models/new?source=source0",
    "/reports/new",
    "/channels/new",
    "/channels/channel0/edit",
    "/alerts/rules/new",
    "/alerts/rules/rule1/edit",
    "/alerts/silences/new",
    "/patterns",
)


@pytest.fixture(scope="module")
def admin_of_all(migrated_app: Flask) -> Iterator[ConsoleClient]:
    """An admin who reads a populated console: nothing is written here, so one serves all tests."""
    with migrated_app.app_context(), will_write():
        populate(db.session(), range(7), now=NOW)
        db.session.commit()
    client = migrated_app.test_client()
    assert isinstance(client, ConsoleClient)
    yield client.sign_in(Role.ADMIN)
    leave(migrated_app)


@pytest.fixture
def reader(admin_of_all: ConsoleClient) -> Iterator[ConsoleClient]:
    """The same; what the application has started ends with each test."""
    yield admin_of_all
    stop_threads(admin_of_all.application)


def live_parts(html: str) -> Iterator[Element]:
    return (element for element in elements_of(html) if "data-live" in element.attributes)


@pytest.mark.parametrize("path", PAGES)
def test_a_live_part_is_answered_alone_and_once(path: str, reader: ConsoleClient) -> None:
    parts = list(live_parts(reader.get(path).text))
    assert parts
    for part in parts:
        url, target = part.get("hx-get"), part.get("id")
        answer = reader.htmx(url, target)
        assert answer.status_code == 200
        first = elements_of(answer.text)[0]
        assert (first.get("id"), first.get("hx-get")) == (target, url)
        assert "csrf" not in answer.text
        again = reader.htmx(url, target, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"HX-Request": "true", "HX-Boosted": "true"},
        {"HX-Request": "true", "HX-History-Restore-Request": "true"},
    ],
    ids=["plain", "boosted", "history"],
)
def test_whoever_wants_the_page_gets_the_page(
    path: str, headers: dict[str, str], reader: ConsoleClient
) -> None:
    answer = reader.get(path, headers=headers)
    assert answer.status_code == 200
    assert "<html" in answer.text
    assert {"HX-Request", "HX-Target"} <= set(answer.vary)


@pytest.mark.parametrize("path", [*SHOWN, *EDITED])
def test_a_page_holds_nothing_inline_and_names_each_thing_once(
    path: str, reader: ConsoleClient
) -> None:
    assert_plain(reader.get(path))


def test_so_does_the_page_of_whoever_is_not_signed_in(migrated_app: Flask) -> None:
    assert_plain(migrated_app.test_client().get("/sign-in"))


def assert_plain(answer: TestResponse) -> None:
    assert answer.status_code == 200
    elements = elements_of(answer.text)
    inline = [
        element
        for element in elements
        if element.tag == "style"
        or (element.tag == "script" and not element.get("src"))
        or any(name == "style" or name.startswith("on") for name in element.attributes)
    ]
    assert inline == []
    ids = [element.get("id") for element in elements if "id" in element.attributes]
    assert sorted({name for name in ids if ids.count(name) > 1}) == []
