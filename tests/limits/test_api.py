"""Rate limits over JSON, by role, with real rows."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import ConsoleClient
from webapp.actors import COMMAND
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.limits.service import add_counts, record_pause
from webapp.limits.values import Counts, Pause
from webapp.roles import Role
from webapp.sources.service import create_source, find_source

URL = "/api/v1/rate-limits"


@pytest.fixture(autouse=True)
def limits(app: Flask, now: datetime) -> None:
    """A source, and a guard that is none; both have been called."""
    moment = clock_now()
    with app.app_context(), transaction() as session:
        create_source(
            session,
            "airports",
            location="package:airportsdata/airports.csv",
            key_field="icao",
            by=COMMAND,
            now=now,
        )
        add_counts(session, "source:airports", Counts(5, 2, 1), now=moment)
        pause = Pause(moment + timedelta(hours=1), "429 Too Many Requests")
        record_pause(session, "mail", pause, now=moment)


def test_the_list_tells_how_every_limit_stands(viewer: FlaskClient) -> None:
    body = viewer.get(URL).json
    assert body is not None
    assert body["total"] == 2
    mail, airports = body["items"]
    assert airports == {
        "name": "source:airports",
        "source": "airports",
        "limit": None,
        "used": 0,
        "left": None,
        "reset_seconds": None,
        "calls": {"allowed": 5, "waited": 2, "refused": 1},
        "pause": None,
    }
    assert (mail["name"], mail["source"]) == ("mail", None)
    assert mail["pause"]["reason"] == "429 Too Many Requests"
    assert mail["pause"]["until"].endswith("Z")


def test_it_comes_in_pages(viewer: FlaskClient) -> None:
    body = viewer.get(URL, query_string={"skip": 1, "limit": 1}).json
    assert body is not None
    assert ([item["name"] for item in body["items"]], body["total"]) == (["source:airports"], 2)
    assert viewer.get(URL, query_string={"limit": 0}).status_code == 422


@pytest.mark.parametrize("name", ["airports", "source:airports"])
def test_one_is_found_by_the_name_of_its_source_or_guard(name: str, viewer: FlaskClient) -> None:
    body = viewer.get(f"{URL}/{name}").json
    assert body is not None
    assert body["name"] == "source:airports"


def test_none_of_that_name_is_not_found(viewer: FlaskClient) -> None:
    assert viewer.get(f"{URL}/nothing").status_code == 404


def test_an_admin_says_how_often_a_source_may_be_called(app: Flask, admin: FlaskClient) -> None:
    answer = admin.put(f"{URL}/airports", json={"calls": 10, "seconds": 60, "reason": "They asked"})
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["limit"] == {"calls": 10, "seconds": 60}
    assert answer.json["left"] == 10
    with app.app_context(), transaction() as session:
        source = find_source(session, "airports")
        assert (source.rate_limit, source.rate_window) == (10, 60)
    admin.put(f"{URL}/airports", json={"reason": "As ever"})
    with app.app_context(), transaction() as session:
        assert find_source(session, "airports").rate_limit is None


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"calls": -1, "seconds": 60, "reason": "x"}, {"calls"}),
        ({"calls": 10, "reason": "x"}, {"seconds"}),
        ({"calls": 10, "seconds": 86_401, "reason": ""}, {"seconds", "reason"}),
        ({"calls": "10", "seconds": 60, "reason": "x"}, {"calls"}),
        ({"calls": 10**30, "seconds": 60, "reason": "x"}, {"calls"}),
        ({"calls": 10, "seconds": 60, "reason": "x" * 501}, {"reason"}),
        ({"calls": 10, "seconds": 60, "reason": "a\0b"}, {"reason"}),
        ({"unheard": 1}, {"unheard"}),
    ],
)
def test_a_bad_limit_is_refused_with_every_field(
    body: dict[str, Any], fields: set[str], admin: FlaskClient
) -> None:
    answer = admin.put(f"{URL}/airports", json=body)
    assert answer.status_code == 422
    assert answer.json is not None
    assert set(answer.json["errors"]) == fields


def test_a_guard_that_is_no_source_has_no_limit_to_set(admin: FlaskClient) -> None:
    answer = admin.put(f"{URL}/mail", json={"calls": 1, "seconds": 1, "reason": "x"})
    assert answer.status_code == 404


def test_an_operator_lifts_a_pause_once(operator: FlaskClient) -> None:
    assert operator.delete(f"{URL}/mail/pause").status_code == 422
    assert operator.delete(f"{URL}/mail/pause?reason=They+called").status_code == 204
    assert operator.delete(f"{URL}/mail/pause", json={"reason": "Again"}).status_code == 409
    found = operator.get(f"{URL}/mail").json
    assert found is not None
    assert found["pause"] is None


@pytest.mark.parametrize("name", ["é" * 300, "a" * 2000])
def test_odd_names_are_not_found(name: str, viewer: FlaskClient) -> None:
    assert viewer.get(f"{URL}/{name}").status_code == 404


@pytest.mark.parametrize(
    ("role", "act", "status"),
    [
        (Role.VIEWER, lambda client: client.put(f"{URL}/airports", json={}), 403),
        (Role.OPERATOR, lambda client: client.put(f"{URL}/airports", json={}), 403),
        (Role.VIEWER, lambda client: client.delete(f"{URL}/mail/pause"), 403),
    ],
)
def test_each_act_demands_its_role(
    role: Role, act: Callable[[ConsoleClient], Any], status: int, client: ConsoleClient
) -> None:
    assert act(client.sign_in(role)).status_code == status


def test_a_name_may_hold_slashes(app: Flask, operator: FlaskClient) -> None:
    name = "billing/eu/v2"
    with app.app_context(), transaction() as session:
        until = clock_now() + timedelta(hours=1)
        record_pause(session, name, Pause(until, "It answered 403 Forbidden."), now=clock_now())
    shown = operator.get(f"{URL}/{name}").json
    assert shown is not None
    assert (shown["name"], shown["pause"]["reason"]) == (name, "It answered 403 Forbidden.")
    lifted = operator.delete(f"{URL}/{name}/pause", json={"reason": "The key is renewed"})
    assert lifted.status_code == 204
    assert operator.get(f"{URL}/{name}").json["pause"] is None  # type: ignore[index]
