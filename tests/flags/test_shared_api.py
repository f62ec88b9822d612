"""Segments and groups over JSON: their answers, who may do what, and what is refused."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.flags.conftest import Send
from webapp.roles import Role

SEGMENTS, GROUPS = "/api/v1/segments", "/api/v1/feature-flag-groups"
PROBLEM = "application/problem+json"
PRO = {"attribute": "plan", "operator": "in", "values": ["pro"], "negate": False}
SEGMENT = {"name": "press", "description": "Who writes.", "conditions": [PRO]}
GROUP = {"name": "press", "description": "For who writes."}
FLAG = {
    "name": "ui.beta",
    "group": "press",
    "rules": [{"name": "press", "segments": ["press"], "percentage": 100}],
}

both = pytest.mark.parametrize("url", [SEGMENTS, GROUPS], ids=["segments", "groups"])


def body_of(url: str, **more: Any) -> dict[str, Any]:
    return (SEGMENT if url == SEGMENTS else GROUP) | more


@pytest.fixture
def ask(send: Send) -> Callable[..., TestResponse]:
    """Send a request to segments or groups, and to one of them by its name."""

    def request(method: str, url: str, path: str = "", **kwargs: Any) -> TestResponse:
        return send(method, path, base=url, **kwargs)

    return request


@both
def test_one_is_made_read_changed_and_removed(ask: Send, url: str) -> None:
    made = ask("POST", url, json=body_of(url, reason="wanted"))
    assert (made.status_code, made.headers["Location"]) == (201, f"{url}/press")
    stored = made.get_json()
    assert body_of(url).items() <= stored.items()
    assert (stored["version"], stored["flags"]) == (1, [])
    assert stored["created_at"].endswith("Z")
    assert ask("GET", url, "/press", role=Role.VIEWER).get_json() == stored
    listed = ask("GET", url, role=Role.VIEWER).get_json()
    assert listed == {"items": [stored], "total": 1}
    change = {"description": "", "reason": "shorter", "version": 1}
    changed = ask("PUT", url, "/press", json=change).get_json()
    assert (changed["version"], changed["description"]) == (2, "")
    assert changed.get("conditions") == stored.get("conditions")
    gone = ask("DELETE", url, "/press", json={"reason": "over"})
    assert (gone.status_code, gone.data) == (204, b"")
    assert ask("GET", url, "/press").status_code == 404
    assert ask("GET", url).get_json() == {"items": [], "total": 0}


@both
def test_an_answer_names_the_flags_that_use_it(ask: Send, send: Send, url: str) -> None:
    for each in (SEGMENTS, GROUPS):
        ask("POST", each, json=body_of(each))
    assert send("POST", json=FLAG).status_code == 201
    changed = ask("PUT", url, "/press", json={"description": "d", "reason": "r"})
    for answer in (changed, ask("GET", url, "/press")):
        assert answer.get_json()["flags"] == ["ui.beta"]
    assert ask("GET", url).get_json()["items"][0]["flags"] == ["ui.beta"]
    refused = ask("DELETE", url, "/press?reason=over")
    assert (refused.status_code, refused.content_type) == (409, PROBLEM)
    assert "ui.beta" in refused.get_json()["detail"]
    assert ask("GET", url, "/press").status_code == 200


def test_conditions_are_changed_by_themselves_and_numbers_are_values(ask: Send) -> None:
    ask("POST", SEGMENTS, json=SEGMENT)
    values = [7, 7.0, 2.5, True, "pro", 2**53 + 1]
    change = {"conditions": [PRO | {"values": values}], "reason": "more"}
    changed = ask("PUT", SEGMENTS, "/press", json=change).get_json()
    assert changed["description"] == SEGMENT["description"]
    assert changed["conditions"] == [
        PRO | {"values": ["7", "7", "2.5", "true", "pro", "9007199254740993"]}
    ]


@both
def test_a_taken_name_and_an_old_version_are_conflicts(ask: Send, url: str) -> None:
    ask("POST", url, json=body_of(url))
    again = ask("POST", url, json=body_of(url))
    assert (again.status_code, again.content_type) == (409, PROBLEM)
    change = {"description": "d", "reason": "r", "version": 1}
    assert ask("PUT", url, "/press", json=change).status_code == 200
    late = ask("PUT", url, "/press", json=change | {"description": "e"})
    assert late.status_code == 409
    assert "version 2" in late.get_json()["detail"]


@both
def test_what_is_not_there_is_not_found(ask: Send, url: str) -> None:
    for answer in (
        ask("GET", url, "/none"),
        ask("PUT", url, "/none", json={"description": "d", "reason": "r"}),
        ask("DELETE", url, "/none?reason=r"),
    ):
        assert (answer.status_code, answer.content_type) == (404, PROBLEM)


@both
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "Press"}, "name"),
        ({"name": "n" * 65}, "name"),
        ({"name": "n" * 256}, "name"),
        ({"name": 7}, "name"),
        ({"description": "d" * 2_001}, "description"),
        ({"description": None}, "description"),
        ({"reason": " "}, "reason"),
        ({"reason": "r" * 501}, "reason"),
        ({"colour": "red"}, "colour"),
        ({"flags": []}, "flags"),
        ({"version": 1}, "version"),
    ],
)
def test_what_is_refused_names_its_field_and_makes_nothing(
    ask: Send, url: str, body: dict[str, Any], field: str
) -> None:
    answer = ask("POST", url, json=body_of(url, **body))
    assert (answer.status_code, answer.content_type) == (422, PROBLEM)
    assert list(answer.get_json()["errors"]) == [field]
    assert ask("GET", url).get_json()["total"] == 0


@pytest.mark.parametrize(
    ("conditions", "field"),
    [
        ([], "conditions"),
        ([PRO] * 21, "conditions"),
        ([PRO | {"operator": "gt", "values": ["ten"]}], "conditions"),
        ([PRO | {"operator": "gt", "values": [1, 2]}], "conditions"),
        ([PRO | {"operator": "matches", "values": ["("]}], "conditions"),
        ([PRO | {"operator": "like"}], "conditions.0.operator"),
        ([PRO | {"values": "pro"}], "conditions.0.values"),
        ([PRO | {"values": [None]}], "conditions.0.values.0"),
        ([PRO | {"values": [[]]}], "conditions.0.values.0"),
        ([PRO | {"negate": 1}], "conditions.0.negate"),
        ([PRO, PRO | {"colour": "red"}], "conditions.1.colour"),
        ([{"operator": "in", "values": []}], "conditions.0.attribute"),
        (PRO, "conditions"),
        (None, "conditions"),
    ],
)
def test_a_condition_that_is_refused_is_named(ask: Send, conditions: Any, field: str) -> None:
    ask("POST", SEGMENTS, json=SEGMENT)
    made = ask("POST", SEGMENTS, json=SEGMENT | {"name": "other", "conditions": conditions})
    # Of a change, null is "as it stands".
    change = {"conditions": conditions if conditions is not None else 7, "reason": "r"}
    changed = ask("PUT", SEGMENTS, "/press", json=change)
    for answer in (made, changed):
        assert answer.status_code == 422
        assert {name[: len(field)] for name in answer.get_json()["errors"]} == {field}
    assert ask("GET", SEGMENTS, "/press").get_json()["version"] == 1


@pytest.mark.parametrize("digits", [101, 4_000, 10_000])
def test_a_number_with_endless_digits_is_refused(ask: Send, digits: int) -> None:
    text = '{"name": "n", "conditions": [{"attribute": "a", "operator": "gt", "values": [%s]}]}'
    answer = ask("POST", SEGMENTS, data=text % ("9" * digits), content_type="application/json")
    assert answer.status_code in {400, 422}


@both
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"description": "d"}, "reason"),
        ({"description": "d", "reason": ""}, "reason"),
        ({"description": "d" * 2_001, "reason": "r"}, "description"),
        ({"description": "d", "reason": "r", "name": "other"}, "name"),
        ({"description": "d", "reason": "r", "version": "1"}, "version"),
    ],
)
def test_a_refused_change_names_its_field_and_saves_nothing(
    ask: Send, url: str, body: dict[str, Any], field: str
) -> None:
    ask("POST", url, json=body_of(url))
    answer = ask("PUT", url, "/press", json=body)
    assert (answer.status_code, answer.content_type) == (422, PROBLEM)
    assert list(answer.get_json()["errors"]) == [field]
    assert ask("GET", url, "/press").get_json()["version"] == 1


@both
@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/press", {"reason": "over"}, 204),
        ("/press?reason=over", None, 204),
        ("/press?reason=", {"reason": "over"}, 204),
        ("/press", None, 422),
        ("/press?reason=over", {"reason": " "}, 422),
        ("/press", {"reason": "over", "colour": "red"}, 422),
    ],
)
def test_a_removal_says_why_in_the_body_or_the_query(
    ask: Send, url: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    ask("POST", url, json=body_of(url))
    answer = ask("DELETE", url, path, **({} if body is None else {"json": body}))
    assert answer.status_code == status
    assert ask("GET", url, "/press").status_code == (404 if status == 204 else 200)


@both
@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_only_admins_write_and_whoever_may_look_reads(ask: Send, url: str, role: Role) -> None:
    ask("POST", url, json=body_of(url))
    as_role = partial(ask, role=role)
    assert as_role("GET", url).status_code == 200
    assert as_role("GET", url, "/press").status_code == 200
    for answer in (
        as_role("POST", url, json=body_of(url, name="other")),
        as_role("PUT", url, "/press", json={"description": "d", "reason": "r"}),
        as_role("DELETE", url, "/press?reason=r"),
    ):
        assert (answer.status_code, answer.content_type) == (403, PROBLEM)
    assert ask("GET", url, "/press").get_json()["version"] == 1


@both
def test_a_program_without_a_token_is_refused(app: Flask, url: str) -> None:
    client = FlaskClient(app, use_cookies=False)
    assert client.get(url).status_code == 401
    assert client.post(url, json={}).status_code == 401
    assert client.get(f"{url}/press").status_code == 401
