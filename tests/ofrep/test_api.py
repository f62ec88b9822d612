"""OFREP over HTTP: statuses, codes, entity tags, tokens, limits and origins, by both ways."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import Client, TestResponse

from tests.conftest import ConsoleClient, end, make_settings
from tests.flags.conftest import make_token
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.db import reading, transaction
from webapp.flags.models import FeatureFlagEvaluation, UnknownFlag
from webapp.flags.service import change_flag, create_flag
from webapp.flags.values import (
    Condition,
    FlagChanges,
    FlagDraft,
    Operator,
    Rule,
    Variant,
)
from webapp.ofrep.short_cut import OfrepShortCut
from webapp.roles import Role

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

URL: Final = "/ofrep/v1/evaluate/flags"
PRO: Final = Condition(attribute="plan", operator=Operator.IN, values=("pro",))
DRAFTS: Final = (
    FlagDraft(name="a.on", enabled=True, percentage=100),
    FlagDraft(name="b.half", enabled=True, percentage=50),
    FlagDraft(name="c.staging", enabled=True, environment_overrides={"staging": True}),
    FlagDraft(
        name="d.rule", enabled=True, rules=(Rule(name="p", conditions=(PRO,), percentage=100),)
    ),
    FlagDraft(
        name="e.text",
        enabled=True,
        percentage=100,
        variants=(Variant(name="blue", weight=1, value="#00f"), Variant(name="red", weight=3)),
    ),
    FlagDraft(name="f.killed", percentage=100),
)
JSON: Final = {"Content-Type": "application/json"}
# What differs from one answer to the next, whoever gives it.
VARYING: Final = {"x-request-id", "date", "content-length"}


def short_cut_of(app: Flask) -> OfrepShortCut:
    found: Any = app.wsgi_app
    while not isinstance(found, OfrepShortCut):
        found = found.behind
    return found


class Ways:
    """One application, asked by the short cut and, for comparison, without it."""

    def __init__(self, app: Flask, token: str = "") -> None:
        short_cut = short_cut_of(app)
        self.handed_on: list[str] = []

        def behind(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
            self.handed_on.append(environ["PATH_INFO"])
            return short_cut.behind(environ, start)

        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        public = app.extensions["settings"].public_evaluation
        self._quick = Client(replace(short_cut, behind=behind, public=public), use_cookies=False)
        self._slow = Client(short_cut.behind, use_cookies=False)

    def ask(self, path: str = "", **kwargs: Any) -> TestResponse:
        """Ask both ways, hold them to one answer, and return it."""
        options = {"method": "POST"} | kwargs
        options["headers"] = self._headers | options.pop("headers", {})
        quick = self._quick.open(URL + path, **options)
        slow = self._slow.open(URL + path, **options)
        assert told(quick) == told(slow)
        return quick


def told(answer: TestResponse) -> tuple[int, object, list[tuple[str, str]]]:
    """All of an answer that must not depend on who gives it."""
    body: object = answer.get_data()
    if answer.content_type == "application/problem+json":
        body = answer.get_json() | {"request_id": ""}
    headers = [(name.lower(), value) for name, value in answer.headers.items()]
    kept = sorted(header for header in headers if header[0] not in VARYING)
    return answer.status_code, body, kept


@pytest.fixture(autouse=True)
def flags(app: Flask, now: datetime) -> None:
    with app.app_context(), transaction() as session:
        for draft in DRAFTS:
            create_flag(session, draft, by=COMMAND, now=now, reason="r")


@pytest.fixture
def token(app: Flask) -> str:
    with app.app_context(), transaction() as session:
        return make_token(session, Role.VIEWER, None)


@pytest.fixture
def ways(app: Flask, token: str) -> Ways:
    return Ways(app, token)


@pytest.fixture
def bound(app: Flask) -> Ways:
    """Both ways, for a program with a token of staging."""
    with app.app_context(), transaction() as session:
        return Ways(app, make_token(session, Role.VIEWER, "staging"))


def about(subject: object = "u", **attributes: object) -> dict[str, Any]:
    return {"json": {"context": {"targetingKey": subject, **attributes}}}


def test_a_flag_is_answered_as_the_protocol_has_it(ways: Ways) -> None:
    answer = ways.ask("/a.on", **about())
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.get_json() == {
        "key": "a.on",
        "value": True,
        "reason": "STATIC",
        "variant": "on",
        "metadata": {"decision": "everyone"},
    }
    assert ways.handed_on == []


def test_attributes_of_the_context_are_what_rules_look_at(ways: Ways) -> None:
    assert ways.ask("/d.rule", **about(plan="pro")).get_json()["value"] is True
    assert ways.ask("/d.rule", **about(plan="free")).get_json()["value"] is False
    # Of a rule for everybody nobody need be named.
    assert ways.ask("/d.rule", json={"context": {"plan": "pro"}}).get_json()["value"] is True


FAILED: Final[dict[str, tuple[str, dict[str, Any], int, str]]] = {
    "unknown flag": ("/none", about(), 404, "FLAG_NOT_FOUND"),
    "nobody named": ("/b.half", {"json": {"context": {}}}, 400, "TARGETING_KEY_MISSING"),
    "empty name": ("/b.half", about(""), 400, "TARGETING_KEY_MISSING"),
    "null name": ("/b.half", about(None), 400, "TARGETING_KEY_MISSING"),
    "no variant for nobody": ("/e.text", {"json": {"context": {}}}, 400, "TARGETING_KEY_MISSING"),
    "name is a number": ("/a.on", about(7), 400, "INVALID_CONTEXT"),
    "name is too long": ("/a.on", about("x" * 256), 400, "INVALID_CONTEXT"),
    "no context": ("/a.on", {"json": {}}, 400, "INVALID_CONTEXT"),
    "context is null": ("/a.on", {"json": {"context": None}}, 400, "INVALID_CONTEXT"),
    "context is a list": ("/a.on", {"json": {"context": []}}, 400, "INVALID_CONTEXT"),
    "broken": ("/a.on", {"data": b"{", "headers": JSON}, 400, "PARSE_ERROR"),
    "nothing": (
        "/a.on",
        {"data": b"", "headers": JSON, "environ_overrides": {"CONTENT_LENGTH": "0"}},
        400,
        "PARSE_ERROR",
    ),
    "a list": ("/a.on", {"json": []}, 400, "PARSE_ERROR"),
    "half a surrogate": (
        "/a.on",
        {"data": b'{"context":{"targetingKey":"\\ud800"}}', "headers": JSON},
        400,
        "PARSE_ERROR",
    ),
    "too deep": (
        "/a.on",
        {"data": b'{"context":' + b'{"a":' * 700 + b"1" + b"}" * 701, "headers": JSON},
        400,
        "PARSE_ERROR",
    ),
    "no JSON": ("/a.on", {"data": {"context": "{}"}}, 400, "PARSE_ERROR"),
    "slash in the key": ("/a/on", about(), 404, "FLAG_NOT_FOUND"),
    "odd key": ("/%C3%A9%20x", about(), 404, "FLAG_NOT_FOUND"),
    "too large": (
        "/a.on",
        {"data": b'{"context":{}}'.ljust(1024 * 1024 + 1), "headers": JSON},
        413,
        "GENERAL",
    ),
}


@pytest.mark.parametrize("case", FAILED.values(), ids=FAILED)
def test_what_has_no_answer_says_why_in_the_words_of_the_protocol(
    ways: Ways, case: tuple[str, dict[str, Any], int, str]
) -> None:
    path, sent, status, code = case
    answer = ways.ask(path, **sent)
    assert (answer.status_code, answer.content_type) == (status, "application/json")
    body = answer.get_json()
    assert set(body) == {"key", "errorCode", "errorDetails"}
    assert body["errorCode"] == code
    assert body["errorDetails"]
    assert body["key"] in {"a.on", "b.half", "e.text", "none", "a/on", "é x"}


def test_further_members_are_for_later_versions(ways: Ways) -> None:
    sent = {"json": {"context": {"targetingKey": "u"}, "hints": {"any": 1}}}
    assert ways.ask("/a.on", **sent).status_code == 200


def flags_of(answer: TestResponse) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {item["key"]: item for item in answer.get_json()["flags"]}


def test_all_flags_are_answered_at_once_and_those_that_cannot_be_say_so(ways: Ways) -> None:
    answer = ways.ask(**about(plan="pro"))
    found = flags_of(answer)
    assert list(found) == [draft.name for draft in DRAFTS]
    for name, item in found.items():
        assert item == ways.ask(f"/{name}", **about(plan="pro")).get_json()
    lacking = flags_of(ways.ask(json={"context": {}}))
    codes = {name: item.get("errorCode") for name, item in lacking.items()}
    assert codes == dict.fromkeys(codes) | dict.fromkeys(
        ("b.half", "e.text"), "TARGETING_KEY_MISSING"
    )
    assert ways.handed_on == []


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"json": {}}, "INVALID_CONTEXT"),
        ({"data": b"{", "headers": JSON}, "PARSE_ERROR"),
        ({"data": b"{}"}, "PARSE_ERROR"),
    ],
)
def test_a_body_that_asks_nothing_of_all_flags_is_refused_without_a_key(
    ways: Ways, sent: dict[str, Any], code: str
) -> None:
    answer = ways.ask(**sent)
    assert answer.status_code == 400
    assert answer.get_json()["errorCode"] == code
    assert set(answer.get_json()) == {"errorCode", "errorDetails"}


def test_whoever_has_the_answer_is_told_so_without_it(ways: Ways) -> None:
    tag = ways.ask(**about()).headers["ETag"]
    assert tag.startswith('"')
    for shown in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = ways.ask(headers={"If-None-Match": shown}, **about())
        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["ETag"] == tag
        assert "Content-Type" not in answer.headers
    for shown in ('"other"', tag.strip('"')[:-1], ""):
        assert ways.ask(headers={"If-None-Match": shown}, **about()).status_code == 200


def test_another_context_is_another_answer_whatever_tag_it_brings(ways: Ways) -> None:
    """Providers send the tag of one context with another that has the same targetingKey."""
    first = ways.ask(**about(plan="free"))
    shown = {"If-None-Match": first.headers["ETag"]}
    second = ways.ask(headers=shown, **about(plan="pro"))
    assert second.headers["ETag"] != first.headers["ETag"]
    assert flags_of(second)["d.rule"]["value"] is True


def test_a_change_is_another_answer(app: Flask, ways: Ways, now: datetime) -> None:
    tag = ways.ask(**about()).headers["ETag"]
    with app.app_context(), transaction() as session:
        changes = FlagChanges(enabled=False)
        change_flag(session, "a.on", changes, by=COMMAND, now=now, reason="r")
    answer = ways.ask(headers={"If-None-Match": tag}, **about())
    assert flags_of(answer)["a.on"]["value"] is False


def test_whoever_was_told_of_another_state_gets_the_answer_in_any_case(ways: Ways) -> None:
    tag = ways.ask(**about()).headers["ETag"]
    shown = {"If-None-Match": tag}
    for query, status in (
        (f"?flagConfigEtag={tag}", 304),
        ("?flagConfigEtag=%22other%22&flagConfigLastModified=1771622898", 200),
        ("?flagConfigLastModified=1771622898", 304),
    ):
        assert ways.ask(query, headers=shown, **about()).status_code == status


def test_the_token_says_the_environment(ways: Ways, bound: Ways) -> None:
    assert ways.ask("/c.staging", **about()).get_json()["value"] is False
    assert bound.ask("/c.staging", **about()).get_json()["value"] is True
    # What the context says of an environment is an attribute like any other.
    asked = about(environment="staging")
    assert ways.ask("/c.staging", **asked).get_json()["value"] is False


def test_a_key_counts_as_a_bearer_token_here_and_nowhere_else(app: Flask, token: str) -> None:
    client = Client(app, use_cookies=False)
    for headers, status in (
        ({"X-API-Key": token}, 200),
        ({"X-API-Key": "swy_invented"}, 401),
        ({"X-API-Key": token, "Authorization": "Bearer swy_invented"}, 401),
        ({"Authorization": token}, 401),
        ({}, 401),
    ):
        for path in (f"{URL}/a.on", URL):
            answer = client.post(path, headers=headers, **about())
            assert answer.status_code == status
        if status == 401:
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.get_json()["errorCode"] == "GENERAL"
    elsewhere = client.post(
        "/api/v1/feature-flags/a.on/evaluate", headers={"X-API-Key": token}, json={}
    )
    assert elsewhere.status_code == 401


def test_a_person_asks_with_the_token_of_the_form(viewer: ConsoleClient) -> None:
    assert viewer.post(f"{URL}/a.on", **about()).get_json()["value"] is True
    viewer.csrf = False
    assert viewer.post(f"{URL}/a.on", **about()).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/a.on", 405), ("GET", "", 405), ("POST", "/", 404), ("POST", "s", 404)],
)
def test_what_the_protocol_does_not_know_is_answered_in_json(
    ways: Ways, method: str, path: str, status: int
) -> None:
    answer = ways.ask(path, method=method, json={"context": {}})
    assert answer.status_code == status
    assert answer.get_json()["status"] == status


@pytest.fixture
def strict(app: Flask, tmp_path: Path) -> Iterator[Flask]:
    """A console that lets each program ask twice a minute, from pages of one origin."""
    settings = make_settings(
        tmp_path,
        DATABASE_URL=app.extensions["settings"].database_url,
        REQUEST_LIMITS="true",
        REQUEST_LIMIT_EVALUATIONS="2",
        CORS_ORIGINS="https://shop.example",
    )
    made = create_app(settings)
    yield made
    end(made)


def test_whoever_asks_too_often_is_told_in_whole_seconds_when_to_come_back(
    strict: Flask, token: str
) -> None:
    client = Client(strict, use_cookies=False)
    headers = {"X-API-Key": token}
    answers = [client.post(f"{URL}/a.on", headers=headers, **about()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert answers[-1].get_json()["errorCode"] == "GENERAL"
    assert client.post(URL, headers=headers, **about()).status_code == 429


def test_a_page_of_another_origin_may_ask_and_read_tag_and_wait(strict: Flask, token: str) -> None:
    client = Client(strict, use_cookies=False)
    origin = {"Origin": "https://shop.example"}
    asked = {"Access-Control-Request-Method": "POST"}
    before = client.options(URL, headers=origin | asked)
    assert before.status_code == 204
    allowed = before.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"Authorization", "Content-Type", "If-None-Match", "X-API-Key"} <= set(allowed)
    answer = client.post(URL, headers=origin | {"X-API-Key": token}, **about())
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"ETag", "Retry-After"} <= set(exposed)


def test_before_anything_was_read_there_is_no_answer(
    app: Flask, ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = app.extensions["flag_store"]
    store.stop()
    # Neither a request nor the watcher that it starts.
    monkeypatch.setattr(type(store), "_look", lambda self, **options: False)
    for path in ("/a.on", ""):
        answer = ways.ask(path, **about())
        assert answer.status_code == 503
        assert answer.get_json()["errorCode"] == "GENERAL"
        assert int(answer.headers["Retry-After"]) > 0
    monkeypatch.undo()
    assert store.refresh()


def test_what_is_asked_is_counted_once(app: Flask, token: str) -> None:
    client = Client(app, use_cookies=False)
    headers = {"X-API-Key": token}
    for _ in range(3):
        client.post(f"{URL}/b.half", headers=headers, **about())
    client.post(f"{URL}/none", headers=headers, **about())
    tag = client.post(URL, headers=headers, **about()).headers["ETag"]
    client.post(URL, headers=headers | {"If-None-Match": tag}, **about())
    assert app.extensions["flag_store"].usage.flush()
    with app.app_context(), reading() as session:
        rows = session.scalars(select(FeatureFlagEvaluation))
        counts = {row.flag: row.count for row in rows}
        unknown = {row.name: row.count for row in session.scalars(select(UnknownFlag))}
    assert counts == {draft.name: 2 for draft in DRAFTS} | {"b.half": 5}
    assert unknown == {"none": 1}
