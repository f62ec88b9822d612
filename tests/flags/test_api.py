"""Flags over JSON: evaluation, lists, writes, and who may do which."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from webapp.accounts.service import create_token
from webapp.actors import COMMAND
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.flags.service import create_flag
from webapp.flags.values import FlagDraft
from webapp.roles import Role

URL = "/api/v1/feature-flags"
Send = Callable[..., TestResponse]


@pytest.fixture
def flag(app: Flask, now: datetime) -> None:
    """One flag with something of everything."""
    draft = FlagDraft(
        name="ui.beta",
        enabled=True,
        percentage=12.5,
        whitelist=("vera",),
        environment_overrides={"staging": True},
        tags=("ui",),
    )
    with app.app_context(), transaction() as session:
        create_flag(session, draft, by=COMMAND, now=now, reason="r")


@pytest.fixture
def send(app: Flask) -> Send:
    """Send a request as a program with a role, bound to an environment or to none."""
    tokens: dict[tuple[Role, str | None], str] = {}

    def request(
        method: str,
        path: str = "",
        role: Role = Role.ADMIN,
        bound: str | None = None,
        **kwargs: Any,
    ) -> TestResponse:
        if (role, bound) not in tokens:
            with app.app_context(), transaction() as session:
                tokens[role, bound] = make_token(session, role, bound)
        headers = {"Authorization": f"Bearer {tokens[role, bound]}"}
        client = FlaskClient(app, use_cookies=False)
        return client.open(URL + path, method=method, headers=headers, **kwargs)

    return request


def make_token(session: Any, role: Role, bound: str | None) -> str:
    made = create_token(
        session,
        name=f"test-{role}-{bound}",
        role=role,
        environment=bound,
        by=COMMAND,
        now=clock_now(),
    )
    return made.text


@pytest.mark.parametrize("path", ["/ui.beta/evaluate", "/ui.beta/check"])
def test_evaluate_and_check_answer_alike(flag: None, send: Send, path: str) -> None:
    answer = send("POST", path, Role.VIEWER, json={"user_id": "vera", "environment": "production"})
    assert answer.status_code == 200
    body = answer.get_json()
    assert body.pop("evaluation_time_ms") >= 0
    assert body == {
        "flag_name": "ui.beta",
        "enabled": True,
        "reason": "whitelist",
        "variant": None,
    }


def test_check_takes_its_question_from_the_query(flag: None, send: Send) -> None:
    answer = send("GET", "/ui.beta/check?user_id=vera&environment=production&debug=1", Role.VIEWER)
    assert (answer.get_json()["enabled"], answer.get_json()["reason"]) == (True, "whitelist")
    assert send("GET", f"/ui.beta/check?user_id={'x' * 256}").status_code == 422


def test_an_unknown_flag_is_an_answer_not_an_error(send: Send) -> None:
    answer = send("POST", "/none/evaluate", json={"user_id": "vera"})
    assert answer.status_code == 200
    assert (answer.get_json()["enabled"], answer.get_json()["reason"]) == (False, "not_found")


def test_a_question_may_be_empty(flag: None, send: Send) -> None:
    assert send("POST", "/ui.beta/evaluate").get_json()["reason"] == "no_subject"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"user_id": 7}', 422),
        (b'{"user": "vera"}', 422),
        (b'{"user_id": "\\ud800"}', 400),
        (b'{"attributes": []}', 422),
        (b'{"attributes": {"plan": "pro"}}', 200),
    ],
)
def test_what_is_no_question_is_refused(flag: None, send: Send, body: bytes, status: int) -> None:
    answer = send("POST", "/ui.beta/evaluate", data=body, content_type="application/json")
    assert answer.status_code == status
    if status != 200:
        assert answer.content_type == "application/problem+json"


def test_a_token_of_one_environment_evaluates_there_only(flag: None, send: Send) -> None:
    bound = send("POST", "/ui.beta/evaluate", Role.VIEWER, "staging", json={"user_id": "u"})
    assert bound.get_json()["reason"] == "environment_override"
    body = {"user_id": "u", "environment": "production"}
    assert send("POST", "/ui.beta/evaluate", Role.VIEWER, "staging", json=body).status_code == 403


def test_a_program_without_a_token_is_refused(flag: None, app: Flask) -> None:
    client = FlaskClient(app, use_cookies=False)
    assert client.post(f"{URL}/ui.beta/evaluate", json={}).status_code == 401
    assert client.get(URL).status_code == 401


def test_a_flag_is_made_read_changed_and_listed(send: Send) -> None:
    body = {
        "name": "new.flag",
        "percentage": 25,
        "environment_overrides": {"staging": True, "demo": 12.5},
        "starts_at": "2026-11-22T13:00:00+01:00",
        "metadata": {"owner": {"team": "web"}},
        "reason": "wanted",
    }
    made = send("POST", json=body)
    assert (made.status_code, made.headers["Location"]) == (201, f"{URL}/new.flag")
    flag = send("GET", "/new.flag", Role.VIEWER).get_json()
    assert flag == made.get_json()
    assert (flag["version"], flag["percentage"], flag["stickiness"]) == (1, 25.0, "new.flag")
    assert flag["environment_overrides"] == body["environment_overrides"]
    assert flag["starts_at"] == "2026-11-22T12:00:00Z"
    change = {"enabled": True, "starts_at": None, "reason": "now", "version": 1}
    changed = send("PUT", "/new.flag", json=change).get_json()
    assert (changed["version"], changed["enabled"], changed["starts_at"]) == (2, True, None)
    assert changed["percentage"] == 25.0
    listed = send("GET", "?q=new&limit=1", Role.VIEWER).get_json()
    assert listed == {"items": [changed], "total": 1}
    assert send("GET", "?skip=1").get_json() == {"items": [], "total": 1}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"percentage": 101, "reason": "r"}, "percentage"),
        ({"percentage": "25", "reason": "r"}, "percentage"),
        ({"percentage": True, "reason": "r"}, "percentage"),
        ({"percentage": None, "reason": "r"}, "percentage"),
        ({"enabled": "yes", "reason": "r"}, "enabled"),
        ({"expires_at": "2026-11-22T13:00:00", "reason": "r"}, "expires_at"),
        (
            {"starts_at": "2026-01-02T00:00Z", "expires_at": "2026-01-01T00:00Z", "reason": "r"},
            "expires_at",
        ),
        ({"blacklist": ["vera"], "reason": "r"}, "blacklist"),
        ({"colour": "red", "reason": "r"}, "colour"),
        ({"name": "other", "reason": "r"}, "name"),
        ({"percentage": 1}, "reason"),
        ({"percentage": 1, "reason": " "}, "reason"),
    ],
)
def test_a_refusal_names_the_field_and_saves_nothing(
    flag: None, send: Send, body: dict[str, Any], field: str
) -> None:
    answer = send("PUT", "/ui.beta", json=body)
    assert answer.status_code == 422
    assert field in {name.partition(".")[0] for name in answer.get_json()["errors"]}
    assert send("GET", "/ui.beta").get_json()["version"] == 1


def test_an_old_version_is_a_conflict(flag: None, send: Send) -> None:
    body = {"percentage": 1, "reason": "r", "version": 1}
    assert send("PUT", "/ui.beta", json=body).status_code == 200
    answer = send("PUT", "/ui.beta", json=body | {"percentage": 2})
    assert answer.status_code == 409
    assert "version 2" in answer.get_json()["detail"]
    assert send("POST", json={"name": "ui.beta"}).status_code == 409


@pytest.mark.parametrize(
    ("role", "method", "path", "body", "status"),
    [
        (Role.VIEWER, "GET", "", None, 200),
        (Role.VIEWER, "PUT", "/ui.beta", {"percentage": 1, "reason": "r"}, 403),
        (Role.OPERATOR, "PUT", "/ui.beta", {"percentage": 1, "reason": "r"}, 200),
        (Role.OPERATOR, "PUT", "/ui.beta", {"enabled": False, "reason": "r"}, 200),
        (Role.OPERATOR, "PUT", "/ui.beta", {"tags": ["x"], "reason": "r"}, 403),
        (Role.OPERATOR, "POST", "", {"name": "x"}, 403),
        (Role.ADMIN, "PUT", "/ui.beta", {"tags": ["x"], "reason": "r"}, 200),
        (Role.ADMIN, "PUT", "/none", {"tags": ["x"], "reason": "r"}, 404),
        (Role.ADMIN, "GET", "?limit=501", None, 422),
        (Role.ADMIN, "GET", "?state=weird", None, 422),
    ],
)
def test_roles_decide_who_may_do_what(  # noqa: PLR0917  # columns of the table
    flag: None, send: Send, role: Role, method: str, path: str, body: Any, status: int
) -> None:
    data = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    assert send(method, path, role, **data).status_code == status


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("metadata", '{"a": 99999999999999999999}'),
        ("metadata", '{"a":' * 50 + "1" + "}" * 50),
        ("metadata", '{"a":' * 255 + "1" + "}" * 255),
        ("metadata", '{"a":' * 700 + "1" + "}" * 700),
        ("starts_at", '"0001-01-01T00:00:00+14:00"'),
        ("expires_at", '"9999-12-31T23:59:00-14:00"'),
    ],
)
def test_what_could_not_be_written_back_is_refused(
    flag: None, send: Send, field: str, value: str
) -> None:
    for method, path, more in (
        ("POST", "", '"name": "odd", '),
        ("PUT", "/ui.beta", '"reason": "r", '),
    ):
        body = "{" + more + f'"{field}": {value}' + "}"
        answer = send(method, path, data=body, content_type="application/json")
        # JSON that is too deep to be read at all is a bad request.
        assert answer.status_code == (400 if len(value) > 1000 else 422), answer.text
    assert send("GET").status_code == 200


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=500&skip=1000000", 200),
        ("limit=0000500", 200),
        ("limit=501", 422),
        ("limit=00000000599999", 422),
        ("skip=00000001", 422),
        ("limit=" + "9" * 5000, 422),
        ("limit=-1", 422),
        ("limit=%D9%A3", 422),
    ],
)
def test_a_page_of_the_list_is_asked_for_in_plain_numbers(
    send: Send, query: str, status: int
) -> None:
    assert send("GET", f"?{query}", Role.VIEWER).status_code == status


def test_a_token_of_one_environment_tries_a_flag_there_only(
    flag: None, send: Send, app: Flask
) -> None:
    with app.app_context(), transaction() as session:
        token = make_token(session, Role.VIEWER, "staging")
    program = FlaskClient(app, use_cookies=False)

    def page(query: str) -> TestResponse:
        url = f"/flags/ui.beta?subject=u{query}"
        return program.get(url, headers={"Authorization": f"Bearer {token}"})

    assert "environment_override" in page("").text.replace(" ", "_")
    assert page("&environment=staging").status_code == 200
    assert page("&environment=production").status_code == 403
