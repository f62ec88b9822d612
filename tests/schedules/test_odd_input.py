"""Whatever somebody sends to the forms of schedules, or looks for: an answer."""

from itertools import count

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.conftest import ConsoleClient
from tests.odd_texts import ODD_TEXTS, Fields, ask_with_all, ask_with_each, is_taken
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
    good: Fields = {"type": "test_echo", "timezone": "UTC", "reason": "Needed"}
    numbers = count()

    def make(url: str, fields: Fields) -> TestResponse:
        named: Fields = {"name": f"made{next(numbers)}"}
        return admin.send_form(url, named | fields)

    kinds: dict[str, Fields] = {
        "at": {"kind": "daily"},
        "days": {"kind": "weekly"},
        "day": {"kind": "monthly"},
        "cron": {"kind": "cron"},
    }
    names = ("name", "type", "arguments", "kind", "timezone", "overlap", "catch_up", "priority")
    forms = ("/schedules", "/schedules/nightly")
    ask_with_each(make, forms, good, (*names, "reason", "version"), odd)
    previews = ("/schedules/preview", "/schedules/nightly/preview")
    # They read only what says when.
    ask_with_each(make, previews, good, ("kind", "timezone"), odd)
    for name, kind in kinds.items():
        for urls in (forms, previews):
            ask_with_each(make, urls, good | kind, [name], odd)
    for url in forms:
        is_taken(make, url, good | {"arguments": b'{"value": ' + odd + b"}"})
    for action in ("run", "pause", "resume"):
        is_taken(admin.send_form, f"/schedules/nightly/{action}", {"reason": odd})
    for url in ("/schedules", "/schedules/nightly"):
        assert admin.get(url).status_code == 200


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_search_is_answered(admin: ConsoleClient, odd: bytes) -> None:
    ask_with_all(admin.look_for, "/schedules", {}, ("q", "state", "skip"), odd)
