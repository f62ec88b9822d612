"""Whatever somebody sends to the forms of schedules, or looks for: an answer."""

import pytest
from flask import Flask

from tests.conftest import ConsoleClient
from tests.odd_texts import ODD_TEXTS, Fields, form_body
from tests.schedules.conftest import NIGHTLY
from webapp.actors import COMMAND
from webapp.clock import now
from webapp.db import transaction
from webapp.schedules.service import create_schedule


@pytest.fixture(autouse=True)
def nightly(app: Flask) -> None:
    """One schedule."""
    with app.app_context(), transaction() as session:
        create_schedule(session, NIGHTLY, by=COMMAND, now=now(), reason="Needed")


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_form_answers_whatever_a_field_holds(admin: ConsoleClient, odd: bytes) -> None:
    good: Fields = {"type": "test_echo", "timezone": "UTC", "reason": "Needed", "name": "good"}
    kinds: dict[str, Fields] = {
        "at": {"kind": "daily"},
        "days": {"kind": "weekly"},
        "day": {"kind": "monthly"},
        "cron": {"kind": "cron"},
    }
    names = ("name", "type", "arguments", "kind", "timezone", "overlap", "catch_up", "priority")
    fields: list[Fields] = [{name: odd} for name in (*names, "reason", "version")]
    fields += [kind | {name: odd} for name, kind in kinds.items()]
    fields += [{"arguments": b'{"value": ' + odd + b"}"}]
    for number, odd_fields in enumerate(fields):
        body = form_body(good | {"name": f"made{number}"} | odd_fields)
        # The preview reads only what says when.
        timed = odd_fields.keys() & {"kind", "timezone", *kinds}
        urls = ("", "/nightly", *(("/preview", "/nightly/preview") if timed else ()))
        for url in urls:
            assert admin.post(f"/schedules{url}", **body).status_code < 500, (url, odd_fields)
    for action in ("run", "pause", "resume"):
        body = form_body({"reason": odd})
        assert admin.post(f"/schedules/nightly/{action}", **body).status_code < 500
    for url in ("/schedules", "/schedules/nightly"):
        assert admin.get(url).status_code == 200


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_search_is_answered(admin: ConsoleClient, odd: bytes) -> None:
    for name in ("q", "state", "skip"):
        assert admin.get("/schedules", query_string={name: odd}).status_code < 500
