"""The demo's data: all of it, in pages and as a feed, and nothing where nobody wants it."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import Client

from tests.conftest import end, make_settings
from webapp.app import create_app
from webapp.demo.data import AREAS_IN_PAGE, areas
from webapp.sources.feeds import read_feed
from webapp.sources.values import Row

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

ADDRESSES = ("/demo/areas", "/demo/news.xml")


@pytest.fixture
def demo(app: Flask, tmp_path: Any) -> Iterator[Client]:
    url = app.extensions["settings"].database_url
    other = create_app(make_settings(tmp_path, DATABASE_URL=url, DEMO="true"))
    yield Client(other)
    end(other)


@pytest.mark.parametrize("path", ADDRESSES)
def test_without_the_setting_there_is_nothing(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_pages_hold_every_area_once_and_end(demo: Client) -> None:
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = demo.get("/demo/areas", query_string={"after": after}).get_json()
        assert 0 < len(page["items"]) <= AREAS_IN_PAGE
        found += [item["code"] for item in page["items"]]
        after = page["next"]
    assert found == sorted(area["code"] for area in areas())
    assert {"LON", "NYC", "TYO"} <= set(found)


def test_the_news_are_a_feed_whose_entries_have_ids_of_their_own(demo: Client) -> None:
    answer = demo.get("/demo/news.xml")
    assert answer.mimetype == "application/rss+xml"
    read = read_feed(answer.data, answer.content_type)
    rows = [row for row in read if isinstance(row, Row)]
    assert len(rows) == len(read)
    ids = [row.fields["id"] for row in rows]
    assert len(ids) > 50
    assert len(set(ids)) == len(ids)
    assert all(row.fields["title"] and row.fields["summary"] for row in rows)
