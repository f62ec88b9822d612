"""How often a source may be called, on its pages: shown, changed, and a pause lifted."""

from datetime import datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import ConsoleClient
from webapp.actors import COMMAND
from webapp.audit.service import history
from webapp.clock import now as clock_now
from webapp.db import reading, transaction
from webapp.limits.service import add_counts, record_pause, record_shares
from webapp.limits.values import Counts, Pause, Usage
from webapp.sources.models import Source
from webapp.sources.service import create_source, find_source

GOOD = {"calls": "10", "seconds": "60", "reason": "They asked"}


@pytest.fixture(autouse=True)
def airports(app: Flask, now: datetime) -> None:
    """A source that has been called."""
    with app.app_context(), transaction() as session:
        create_source(
            session,
            "airports",
            location="package:airportsdata/airports.csv",
            key_field="icao",
            by=COMMAND,
            now=now,
        )
        add_counts(session, "source:airports", Counts(1234, 7, 3), now=now)


def pause(app: Flask) -> None:
    moment = clock_now()
    with app.app_context(), transaction() as session:
        until = moment + timedelta(hours=1)
        record_pause(session, "source:airports", Pause(until, "429 Too Many Requests"), now=moment)


def saved(app: Flask) -> Source:
    with app.app_context(), reading() as session:
        return find_source(session, "airports")


def test_the_page_shows_the_limit_and_what_became_of_calls(
    app: Flask, admin: ConsoleClient
) -> None:
    assert "no limit" in admin.get("/sources/airports").text
    admin.post("/sources/airports/limit", data=GOOD)
    page = admin.get("/sources/airports").text
    assert "10 calls in 1 min" in page
    assert "1,234" in page
    assert "0 of 10" in admin.get("/sources").text


def test_a_limit_that_is_used_up_tells_when_the_next_call_is_let_through(
    app: Flask, admin: ConsoleClient
) -> None:
    admin.post("/sources/airports/limit", data=GOOD)
    moment = clock_now()
    for used, told in ((9, "Oldest call leaves the window in"), (10, "Next call is let through")):
        with app.app_context(), transaction() as session:
            record_shares(session, "p", {"source:airports": Usage(used, 30.0)}, now=moment)
        assert told in admin.get("/sources/airports").text
    pause(app)
    assert "Next call is let through" not in admin.get("/sources/airports").text


def test_a_limit_is_saved_and_in_the_history_of_its_source(
    app: Flask, admin: ConsoleClient
) -> None:
    answer = admin.post("/sources/airports/limit", data=GOOD)
    assert answer.status_code == 303
    source = saved(app)
    assert (source.rate_limit, source.rate_window) == (10, 60)
    with app.app_context(), reading() as session:
        newest = history(session, "source", "airports", 1)[0]
    assert (newest.action, newest.reason) == ("source.limited", "They asked")
    form = admin.get("/sources/airports/limit").text
    assert 'value="10"' in form
    assert 'value="60"' in form


def test_a_refused_form_keeps_what_was_typed(app: Flask, admin: ConsoleClient) -> None:
    sent = {"calls": "many", "seconds": "1.5", "reason": "They asked"}
    answer = admin.post("/sources/airports/limit", data=sent)
    assert answer.status_code == 422
    assert "<html" in answer.text
    for typed in sent.values():
        assert f'value="{typed}"' in answer.text
    assert answer.text.count("A whole number.") == 2
    part = admin.htmx("/sources/airports/limit", "sources-limit-form", method="POST", data=sent)
    assert part.status_code == 422
    assert part.text.lstrip().startswith('<section id="sources-limit-form"')
    assert saved(app).rate_limit is None


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"calls": "20000", "seconds": "60"}, "from 0 to 10,000"),
        ({"calls": "10", "seconds": ""}, "from 1 to 86,400"),
        ({"calls": "", "seconds": "60"}, "Say how many calls"),
        ({"calls": "10", "seconds": "60", "reason": ""}, "Say why"),
        ({"calls": "9" * 40, "seconds": "60"}, "A whole number."),
    ],
)
def test_each_fault_is_named(sent: dict[str, str], message: str, admin: ConsoleClient) -> None:
    answer = admin.post("/sources/airports/limit", data={"reason": "They asked"} | sent)
    assert answer.status_code == 422
    assert message in answer.text


def test_empty_fields_mean_the_default_and_0_no_limit(app: Flask, admin: ConsoleClient) -> None:
    admin.post("/sources/airports/limit", data=GOOD)
    admin.post("/sources/airports/limit", data={"calls": "0", "reason": "None needed"})
    assert (saved(app).rate_limit, saved(app).rate_window) == (0, None)
    admin.post("/sources/airports/limit", data={"reason": "As ever"})
    assert saved(app).rate_limit is None


def test_a_pause_is_shown_with_its_reason_and_lifted_with_one(
    app: Flask, operator: ConsoleClient
) -> None:
    pause(app)
    page = operator.get("/sources/airports").text
    assert "429 Too Many Requests" in page
    assert "Lift the pause" in page
    assert "Paused" in operator.get("/sources").text
    asked = operator.post("/sources/airports/pause/lift")
    assert asked.status_code == 422
    assert "Lift the pause of airports?" in asked.text
    done = operator.post("/sources/airports/pause/lift", data={"reason": "They called"})
    assert done.status_code == 303
    assert "429 Too Many Requests" not in operator.get("/sources/airports").text
    again = operator.post("/sources/airports/pause/lift", data={"reason": "They called"})
    assert again.status_code == 409


def test_a_viewer_sees_all_that_and_changes_nothing(app: Flask, viewer: FlaskClient) -> None:
    pause(app)
    page = viewer.get("/sources/airports").text
    assert "429 Too Many Requests" in page
    assert "Lift the pause" not in page
    assert "/sources/airports/limit" not in page
    assert viewer.get("/sources/airports/limit").status_code == 403
    assert viewer.post("/sources/airports/limit", data=GOOD).status_code == 403
    assert viewer.post("/sources/airports/pause/lift").status_code == 403


def test_a_source_that_is_not_there_has_no_limit(admin: ConsoleClient) -> None:
    assert admin.get("/sources/nothing/limit").status_code == 404
    assert admin.post("/sources/nothing/limit", data=GOOD).status_code == 404
