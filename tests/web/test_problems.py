"""Errors of the JSON API: one form, whatever went wrong, under the id of the request."""

from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from tests.conftest import ConsoleClient, end, make_settings
from webapp.app import create_app
from webapp.roles import Role
from webapp.web.access import requires

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

JOB = "/api/v1/queue/jobs/test_echo"
FLAG = "/api/v1/feature-flags"
JSON = {"content_type": "application/json"}


def nested(levels: int) -> bytes:
    """Return a body whose deepest value lies so many levels down."""
    inner = levels - 2
    return b'{"arguments": {"a": ' + b"[" * inner + b"]" * inner + b"}}"


PROBLEMS: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "no JSON": ("POST", JOB, JSON | {"data": "{"}, 400),
    "no object": ("POST", JOB, JSON | {"data": "[]"}, 400),
    "no UTF-8": ("POST", JOB, JSON | {"data": b'{"queue": "\xff"}'}, 400),
    "too deep": ("POST", JOB, JSON | {"data": nested(250)}, 400),
    "far too deep": ("POST", JOB, JSON | {"data": nested(100_000)}, 400),
    "nothing there": ("GET", "/api/v1/nowhere", {}, 404),
    "nothing there, older": ("GET", "/v1/nowhere", {}, 404),
    "nothing below": ("GET", "/api/nowhere", {}, 404),
    "nothing of that name": ("GET", f"{FLAG}/nothing", {}, 404),
    "another method": ("PATCH", FLAG, {}, 405),
    "too large": ("POST", JOB, JSON | {"data": b"{}".ljust(2**20 + 1)}, 413),
    "a form": ("POST", JOB, {"data": {"queue": "default"}}, 415),
    "no content type": ("POST", JOB, {"data": b"{}"}, 415),
    "a field that does not fit": ("POST", JOB, {"json": {"priority": 101}}, 422),
    "an unknown field": ("POST", JOB, {"json": {"nope": 1}}, 422),
    "a query that does not fit": ("GET", f"{FLAG}?limit=0", {}, 422),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_error_has_one_form(name: str, admin: ConsoleClient) -> None:
    method, path, options, status = PROBLEMS[name]
    headers = {"X-Request-ID": "the-id-of-a-client"}
    answer = admin.open(path, method=method, headers=headers, **options)
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    body = answer.get_json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["request_id"] == answer.headers["X-Request-ID"] == "the-id-of-a-client"
    assert body["title"]
    assert body["detail"]
    assert ("errors" in body) == (status == 422)
    assert ("Allow" in answer.headers) == (status == 405)


def test_what_is_just_not_too_deep_is_read(admin: ConsoleClient) -> None:
    answer = admin.post(JOB, data=nested(100), **JSON)
    # Read, and refused for what it holds.
    assert answer.status_code == 422


def test_an_internal_error_tells_nothing_of_its_inside(app: Flask, tmp_path: Any) -> None:
    def fail() -> Response:
        raise ValueError("a secret of the inside")

    url = app.config["SQLALCHEMY_DATABASE_URI"]
    other = create_app(make_settings(tmp_path, DATABASE_URL=url))
    other.test_client_class = ConsoleClient
    other.add_url_rule("/api/v1/own", "own", requires(Role.VIEWER)(fail))
    browser = other.test_client()
    assert isinstance(browser, ConsoleClient)
    try:
        answer = browser.sign_in(Role.VIEWER).get("/api/v1/own")
    finally:
        end(other)
    assert (answer.status_code, answer.content_type) == (500, "application/problem+json")
    assert "secret" not in answer.text
    assert answer.headers["X-Request-ID"] in answer.get_json()["detail"]


def test_a_program_without_a_token_is_told_how_to_show_one(app: Flask) -> None:
    answer = FlaskClient(app, use_cookies=False).get(FLAG)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.content_type == "application/problem+json"


def test_a_role_that_does_not_suffice_is_named(viewer: ConsoleClient) -> None:
    answer = viewer.post(FLAG, json={"name": "beta"})
    assert (answer.status_code, answer.content_type) == (403, "application/problem+json")
    assert "admin" in answer.get_json()["detail"]
