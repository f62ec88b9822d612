"""Whatever somebody sends to the forms of sources, or looks for: an answer."""

from datetime import datetime

import pytest
from flask import Flask

from tests.conftest import ConsoleClient
from tests.odd_texts import ODD_TEXTS, Fields, is_taken
from webapp.actors import COMMAND
from webapp.breakers import sharing
from webapp.db import transaction
from webapp.sources.service import create_source

AIRPORTS = "package:airportsdata/airports.csv"


@pytest.fixture(autouse=True)
def airports(app: Flask, now: datetime) -> None:
    """One source."""
    with app.app_context(), transaction() as session:
        create_source(session, "airports", location=AIRPORTS, key_field="icao", by=COMMAND, now=now)


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_form_answers_whatever_a_field_holds(admin: ConsoleClient, odd: bytes) -> None:
    good: Fields = {"location": AIRPORTS, "key_field": "icao"}
    fields: list[Fields] = [
        {"name": odd},
        {"name": "a", "location": odd},
        {"name": "b", "location": b"/" + odd + b".csv"},
        {"name": "c", "location": b"package:" + odd + b"/a.csv"},
        {"name": "d", "location": b"package:airportsdata/" + odd + b".csv"},
        {"name": "e", "key_field": odd},
    ]
    for odd_fields in fields:
        is_taken(admin.send_form, "/sources", good | odd_fields)
    is_taken(admin.send_form, "/sources/airports/runs", {"odd": odd})
    assert admin.get("/sources").status_code == 200


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_search_and_look_is_answered(
    admin: ConsoleClient, monkeypatch: pytest.MonkeyPatch, odd: bytes
) -> None:
    # The first call of a place waits for what others know of its circuit, and nobody does.
    monkeypatch.setattr(sharing, "FIRST_LOOK_SECONDS", 0.01)
    assert admin.get("/sources", query_string={"q": odd}).status_code < 500
    for location in (odd, b"/" + odd + b".csv", b"https://" + odd, b"https://example.com/" + odd):
        for url in ("/sources/preview", "/sources/airports/preview"):
            fields: Fields = {"kind": b"csv", "location": location, "auth_env": odd}
            is_taken(admin.send_form, url, fields)
