"""The short cut and the views behind it: the same answers, and one place that says no."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIEnvironment

import flask_migrate
import pytest
from flask import Flask
from redis.connection import Connection
from sqlalchemy import Engine, event
from werkzeug.test import Client, TestResponse

from tests.conftest import ConsoleClient, end, make_settings
from tests.flags.conftest import URL, make_token
from tests.processes import wait_until
from tests.servers import PostgresServer, RedisServer
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.flags.service import create_flag
from webapp.flags.short_cut import EvaluationShortCut
from webapp.flags.snapshot import MOST_PROMPT
from webapp.flags.values import Condition, FlagDraft, Operator, Rule, Variant
from webapp.promptly import TakesTime, promptly
from webapp.roles import Role
from webapp.web.security import MOST_BYTES

PRO: Final = Condition(attribute="plan", operator=Operator.IN, values=("pro",))
DRAFTS: Final = (
    FlagDraft(name="a.on", enabled=True, percentage=100),
    FlagDraft(name="b.half", enabled=True, percentage=50),
    FlagDraft(name="c.staging", enabled=True, environment_overrides={"staging": True}),
    FlagDraft(
        name="d.rule", enabled=True, rules=(Rule(name="p", conditions=(PRO,), percentage=100),)
    ),
    FlagDraft(
        name="e.variant",
        enabled=True,
        percentage=100,
        variants=(Variant(name="blue", weight=1, value={"hex": "#00f", "é": [1, 2.5, None]}),),
    ),
    FlagDraft(name="f.killed", percentage=100),
)
# What differs from one answer to the next, whoever gives it.
VARYING_HEADERS: Final = {"x-request-id", "content-length", "date"}
VARYING_FIELDS: Final = {"evaluation_time_ms", "request_id"}
ODD_ID: Final = "bad id\twith spaces"


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

    def quick(self, path: str, **kwargs: Any) -> TestResponse:
        return self._asked(self._quick, path, kwargs)

    def slow(self, path: str, **kwargs: Any) -> TestResponse:
        return self._asked(self._slow, path, kwargs)

    def _asked(self, client: Client, path: str, kwargs: dict[str, Any]) -> TestResponse:
        options = {"method": "POST"} | kwargs
        headers = self._headers | options.pop("headers", {})
        if path.startswith("//api/"):
            # In an address, what follows two slashes is a host.
            options["environ_overrides"] = {"PATH_INFO": path}
            path = ""
        return client.open(URL + path, headers=headers, **options)


def short_cut_of(app: Flask) -> EvaluationShortCut:
    short_cut = app.wsgi_app
    assert isinstance(short_cut, EvaluationShortCut)
    return short_cut


def told(answer: TestResponse) -> tuple[int, object, list[tuple[str, str]]]:
    """All of an answer that must not depend on who gives it."""
    body = answer.get_json(silent=True)
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in VARYING_FIELDS}
    headers = [(name.lower(), value) for name, value in answer.headers.items()]
    kept = sorted(header for header in headers if header[0] not in VARYING_HEADERS)
    assert answer.headers["X-Request-ID"]
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
    """Both ways, for a program with a token of no environment."""
    return Ways(app, token)


@pytest.fixture
def bound(app: Flask) -> Ways:
    """Both ways, for a program with a token of staging."""
    with app.app_context(), transaction() as session:
        return Ways(app, make_token(session, Role.VIEWER, "staging"))


JSON: Final = {"Content-Type": "application/json"}
NO_BODY: Final[dict[str, Any]] = {"environ_overrides": {"CONTENT_LENGTH": "0"}}
ANSWERED: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "on": ("/a.on/evaluate", {"json": {"user_id": "u"}}),
    "by percentage": ("/b.half/evaluate", {"json": {"user_id": "user-7"}}),
    "check": ("/b.half/check", {"json": {"user_id": "user-8"}}),
    "killed": ("/f.killed/evaluate", {"json": {"user_id": "u"}}),
    "no body": ("/b.half/evaluate", NO_BODY),
    "no body, said to be JSON": ("/b.half/evaluate", NO_BODY | {"headers": JSON}),
    "empty object": ("/b.half/evaluate", {"json": {}}),
    "spaces around": ("/b.half/evaluate", {"data": b" \n{ } ", "headers": JSON}),
    "null subject": ("/b.half/evaluate", {"json": {"user_id": None}}),
    "empty subject": ("/b.half/evaluate", {"json": {"user_id": ""}}),
    "subject with NUL": ("/b.half/evaluate", {"json": {"user_id": "a\0b"}}),
    "subject beyond ASCII": ("/b.half/evaluate", {"json": {"user_id": "Zoë 🦊"}}),
    "charset": (
        "/a.on/evaluate",
        {"data": b"{}", "headers": {"Content-Type": "Application/JSON; charset=utf-8"}},
    ),
    "environment": (
        "/c.staging/evaluate",
        {"json": {"user_id": "u", "environment": "staging"}},
    ),
    "environment that nobody names": (
        "/c.staging/evaluate",
        {"json": {"user_id": "u", "environment": "nowhere"}},
    ),
    "attributes": (
        "/d.rule/evaluate",
        {"json": {"user_id": "u", "attributes": {"plan": "pro", "deep": {"er": [1]}}}},
    ),
    "attributes that do not fit": ("/d.rule/evaluate", {"json": {"attributes": {"plan": 7}}}),
    "variant": ("/e.variant/evaluate", {"json": {"user_id": "u"}}),
    "unknown flag": ("/none/evaluate", {"json": {"user_id": "u"}}),
    "encoded name": ("/a%2Eon/evaluate", {"json": {}}),
    "space in the name": ("/a%20on/evaluate", {"json": {}}),
    "name of an address": ("/metrics/evaluate", {"json": {}}),
    "long name": (f"/{'x' * 3000}/evaluate", {"json": {}}),
    "bulk of all": ("/evaluate-bulk", {"json": {"user_id": "u", "attributes": {"plan": "pro"}}}),
    "bulk without a body": ("/evaluate-bulk", NO_BODY),
    "bulk of names": ("/evaluate-bulk", {"json": {"flag_names": ["none", "b.half", "none"]}}),
    "bulk of none": ("/evaluate-bulk", {"json": {"flag_names": []}}),
    "a whole mebibyte": (
        "/a.on/evaluate",
        {"data": b"{}".ljust(MOST_BYTES), "headers": JSON},
    ),
}


@pytest.mark.parametrize("case", ANSWERED.values(), ids=ANSWERED)
def test_what_is_answered_before_flask_is_what_flask_would_answer(
    ways: Ways, case: tuple[str, dict[str, Any]]
) -> None:
    path, sent = case
    quick = ways.quick(path, **sent)
    assert ways.handed_on == []
    assert quick.status_code == 200
    assert told(quick) == told(ways.slow(path, **sent))
    assert quick.get_data()
    assert quick.content_length == len(quick.get_data())
    assert quick.get_json()["evaluation_time_ms"] >= 0


@pytest.mark.parametrize("asked", [{}, {"environment": "staging"}, {"environment": None}])
def test_a_token_of_one_environment_is_answered_for_it(bound: Ways, asked: dict[str, Any]) -> None:
    for path in ("/c.staging/evaluate", "/evaluate-bulk"):
        quick = bound.quick(path, json=asked)
        assert told(quick) == told(bound.slow(path, json=asked))
    assert bound.handed_on == []


def test_the_scheme_of_the_token_is_read_in_any_case(ways: Ways, token: str) -> None:
    for shown in (f"bearer {token}", f"BEARER   {token} "):
        sent: dict[str, Any] = {"json": {}, "headers": {"Authorization": shown}}
        assert told(ways.quick("/a.on/check", **sent)) == told(ways.slow("/a.on/check", **sent))
    assert ways.handed_on == []


def lying(length: str, **more: object) -> dict[str, Any]:
    """A request whose Content-Length is this, whatever its body."""
    said = {"CONTENT_LENGTH": length} | more
    return {"data": b'{"user_id": "u"}', "headers": JSON, "environ_overrides": said}


UNMEASURED: Final = {
    "data": b'{"user_id": "user-7"}',
    "headers": JSON,
    "environ_overrides": {"CONTENT_LENGTH": "", "wsgi.input_terminated": True},
}
CHUNKED: Final = UNMEASURED | {"headers": JSON | {"Transfer-Encoding": "chunked"}}
FORM: Final = "application/x-www-form-urlencoded"
HANDED_ON: Final[dict[str, tuple[str, dict[str, Any], int]]] = {
    "broken JSON": ("/a.on/evaluate", {"data": b"{", "headers": JSON}, 400),
    "a list": ("/a.on/evaluate", {"data": b"[]", "headers": JSON}, 400),
    "half a surrogate": (
        "/a.on/evaluate",
        {"data": b'{"user_id":"\\ud800"}', "headers": JSON},
        400,
    ),
    "too deep": (
        "/a.on/evaluate",
        {"data": b'{"attributes":' + b'{"a":' * 700 + b"1" + b"}" * 701, "headers": JSON},
        400,
    ),
    "wrong type": ("/a.on/evaluate", {"json": {"user_id": 7}}, 422),
    "unknown field": ("/a.on/evaluate", {"json": {"user": "u"}}, 422),
    "long subject": ("/a.on/evaluate", {"json": {"user_id": "u" * 256}}, 422),
    "names are no list": ("/evaluate-bulk", {"json": {"flag_names": "a.on"}}, 422),
    "a form": ("/a.on/evaluate", {"data": {"user_id": "u"}}, 415),
    "JSON said to be a form": (
        "/a.on/evaluate",
        {"data": b'{"user_id": "u"}', "headers": {"Content-Type": FORM}},
        415,
    ),
    "no content type": ("/a.on/evaluate", {"data": b"{}"}, 415),
    "another JSON": (
        "/a.on/evaluate",
        {"data": b"{}", "headers": {"Content-Type": "application/vnd.x+json"}},
        200,
    ),
    "too large": ("/a.on/evaluate", {"data": b"{}".ljust(MOST_BYTES + 1), "headers": JSON}, 413),
    "said to be too large": ("/a.on/evaluate", lying("9" * 4000), 413),
    "said to be beyond reading": ("/a.on/evaluate", lying("9" * 5000), 200),
    "shorter than said": ("/a.on/evaluate", lying("100"), 400),
    "longer than said": ("/a.on/evaluate", lying("2"), 400),
    "below nothing": ("/a.on/evaluate", lying("-1"), 200),
    "no number": ("/a.on/evaluate", lying("sixteen"), 200),
    "chunks": ("/b.half/evaluate", CHUNKED, 200),
    "no length": ("/b.half/evaluate", UNMEASURED, 200),
    "no length and no body": ("/b.half/evaluate", {}, 200),
    "no length and no JSON": ("/b.half/evaluate", UNMEASURED | {"headers": {}}, 415),
    "beyond ASCII": ("/é/evaluate", {"json": {}}, 200),
    "line break in the name": ("/a.on%0A/evaluate", {"json": {}}, 200),
    "NUL in the name": ("/a%00on/evaluate", {"json": {}}, 400),
    "NUL in a query": ("/a.on/evaluate?x=%00", {"json": {}}, 400),
    "a query": ("/a.on/evaluate?user_id=u", {"json": {}}, 200),
    "name of the bulk": ("/evaluate-bulk/evaluate", {"json": {"user_id": "u"}}, 200),
    "verb as a name": ("/evaluate-bulk/evaluate", {"json": {"flag_names": ["a.on"]}}, 422),
    "no UTF-8": ("/%FF/evaluate", {"json": {}}, 200),
    "slash in the name": ("/a%2Fon/evaluate", {"json": {}}, 404),
    "no name": ("//evaluate", {"json": {}}, 404),
    "two slashes": ("/a.on//evaluate", {"json": {}}, 404),
    "two slashes before": ("//api/v1/feature-flags/a.on/evaluate", {"json": {}}, 200),
    "slash at the end": ("/a.on/evaluate/", {"json": {}}, 404),
    "another verb": ("/a.on/ask", {"json": {}}, 404),
    "PUT": ("/a.on/evaluate", {"method": "PUT", "json": {}}, 405),
    "GET of a POST": ("/a.on/evaluate", {"method": "GET"}, 405),
    "GET": ("/a.on/check?user_id=u&environment=staging", {"method": "GET"}, 200),
    "HEAD": ("/a.on/check", {"method": "HEAD"}, 200),
    "OPTIONS": ("/a.on/check", {"method": "OPTIONS"}, 200),
    "no token": ("/a.on/evaluate", {"json": {}, "headers": {"Authorization": ""}}, 401),
    "empty token": ("/a.on/evaluate", {"json": {}, "headers": {"Authorization": "Bearer  "}}, 401),
    "unknown token": (
        "/a.on/evaluate",
        {"json": {}, "headers": {"Authorization": "Bearer swy_invented"}},
        401,
    ),
    "another scheme": (
        "/a.on/evaluate",
        {"json": {}, "headers": {"Authorization": "Basic dTpw"}},
        401,
    ),
}


@pytest.mark.parametrize("case", HANDED_ON.values(), ids=HANDED_ON)
def test_everything_else_is_answered_by_flask(
    ways: Ways, case: tuple[str, dict[str, Any], int]
) -> None:
    path, sent, status = case
    answer = ways.quick(path, **sent)
    assert len(ways.handed_on) == 1
    assert answer.status_code == status, answer.text
    assert told(answer) == told(ways.slow(path, **sent))
    if status != 200:
        assert answer.content_type == "application/problem+json"
        assert answer.get_json()["request_id"] == answer.headers["X-Request-ID"]


def test_a_token_of_one_environment_is_refused_in_another(bound: Ways) -> None:
    asked = {"json": {"environment": "production"}}
    for path in ("/c.staging/evaluate", "/evaluate-bulk"):
        answer = bound.quick(path, **asked)
        assert (answer.status_code, answer.content_type) == (403, "application/problem+json")
        assert told(answer) == told(bound.slow(path, **asked))


def test_a_body_that_was_read_is_there_for_the_views(ways: Ways) -> None:
    sent = {"json": {"flag_name": "a.on", "user_id": "u"}}
    assert "flag_name" in ways.quick("/a.on/evaluate", **sent).get_json()["errors"]


def test_a_body_that_does_not_tell_its_length_is_read_to_its_end(ways: Ways) -> None:
    measured = ways.quick("/b.half/evaluate", json={"user_id": "user-7"})
    assert measured.get_json()["reason"] == "percentage"
    for sent in (CHUNKED, UNMEASURED):
        assert told(ways.quick("/b.half/evaluate", **sent)) == told(measured)


def test_a_person_asks_with_a_cookie_and_the_token_of_the_form(viewer: ConsoleClient) -> None:
    answer = viewer.post(f"{URL}/a.on/evaluate", json={"user_id": "u"})
    assert (answer.status_code, answer.get_json()["enabled"]) == (200, True)
    viewer.csrf = False
    assert viewer.post(f"{URL}/a.on/evaluate", json={}).status_code == 400


def test_a_token_counts_where_a_cookie_comes_with_it(ways: Ways) -> None:
    sent: dict[str, Any] = {"json": {}, "headers": {"Cookie": "session=x; theme=dark"}}
    quick = ways.quick("/a.on/evaluate", **sent)
    assert ways.handed_on == []
    assert told(quick) == told(ways.slow("/a.on/evaluate", **sent))
    assert "Set-Cookie" not in quick.headers


@pytest.mark.parametrize("given", ["a-good-id-123", "x" * 128])
def test_a_well_formed_request_id_is_taken_over(ways: Ways, given: str) -> None:
    sent: dict[str, Any] = {"json": {}, "headers": {"X-Request-ID": given}}
    for path in ("/a.on/evaluate", "/a.on/ask"):
        assert ways.quick(path, **sent).headers["X-Request-ID"] == given
    assert ways.handed_on == [f"{URL}/a.on/ask"]


@pytest.mark.parametrize("given", ["", "short", ODD_ID, "x" * 129, "é" * 10, 'quoted"quoted'])
def test_an_odd_request_id_is_replaced(ways: Ways, given: str) -> None:
    sent: dict[str, Any] = {"json": {}, "headers": {"X-Request-ID": given}}
    ids = {ways.quick("/a.on/evaluate", **sent).headers["X-Request-ID"] for _ in range(2)}
    assert len(ids) == 2
    assert all(len(made) == 32 and made != given for made in ids)


def test_what_is_logged_bears_the_id_of_its_request(
    ways: Ways, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.flags.snapshot._unknown", set())
    for number in range(2):
        sent: dict[str, Any] = {"json": {}, "headers": {"X-Request-ID": f"request-{number}"}}
        ways.quick(f"/none.{number}/evaluate", **sent)
    lines = [record.msg for record in caplog.records if "flag_unknown" in str(record.msg)]
    assert [(line["flag"], line["request_id"]) for line in lines if isinstance(line, dict)] == [
        ("none.0", "request-0"),
        ("none.1", "request-1"),
    ]


def test_a_trusted_proxy_that_ends_tls_is_believed(app: Flask, token: str, tmp_path: Path) -> None:
    database = app.extensions["settings"].database_url
    behind_proxy = create_app(make_settings(tmp_path, DATABASE_URL=database, TRUSTED_PROXIES="1"))
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-Proto": "https"}
    try:
        for asked, believed in ((behind_proxy, True), (app, False)):
            client = Client(asked, use_cookies=False)
            for path, status in (("/a.on/evaluate", 200), ("/a.on/ask", 404)):
                answer = client.post(URL + path, json={}, headers=headers)
                assert answer.status_code == status
                assert ("Strict-Transport-Security" in answer.headers) is believed
    finally:
        end(behind_proxy)


@pytest.fixture
def public(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Ways:
    """Both ways, for a program without a token where none is needed."""
    settings = replace(app.extensions["settings"], public_evaluation=True)
    monkeypatch.setitem(app.extensions, "settings", settings)
    return Ways(app)


def test_public_evaluation_answers_without_a_token(public: Ways) -> None:
    for path in ("/a.on/evaluate", "/c.staging/check", "/evaluate-bulk"):
        asked = {"json": {"user_id": "u", "environment": "staging"}}
        quick = public.quick(path, **asked)
        assert quick.status_code == 200
        assert told(quick) == told(public.slow(path, **asked))
    assert public.handed_on == []


@pytest.mark.parametrize("header", [("Authorization", "Bearer swy_invented"), ("Cookie", "a=b")])
def test_public_evaluation_leaves_whoever_shows_something_to_flask(
    public: Ways, header: tuple[str, str]
) -> None:
    sent: dict[str, Any] = {"json": {}, "headers": dict([header])}
    answer = public.quick("/a.on/evaluate", **sent)
    assert len(public.handed_on) == 1
    assert answer.status_code == 200
    assert told(answer) == told(public.slow("/a.on/evaluate", **sent))


@contextmanager
def asked_elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collect what this thread asks any database or Redis."""
    seen: list[str] = []
    mine = threading.get_ident()
    send = Connection.send_packed_command

    def note(connection: Any, cursor: Any, statement: str, *ignored: object) -> None:
        if threading.get_ident() == mine:
            seen.append(statement)

    def note_command(self: Connection, command: Any, **kwargs: Any) -> None:
        if threading.get_ident() == mine:
            seen.append(str(command))
        send(self, command, **kwargs)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(Connection, "send_packed_command", note_command)
    # Of every engine: that of the application, that of the tokens, that of the usage.
    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        monkeypatch.undo()


@pytest.mark.redis
def test_a_hot_evaluation_asks_neither_the_database_nor_redis(
    app: Flask,
    token: str,
    redis_server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    redis_server.start()
    redis_server.flush()
    database = app.extensions["settings"].database_url
    settings = make_settings(tmp_path, DATABASE_URL=database, REDIS_URL=redis_server.url)
    with_redis = create_app(settings)
    try:
        client = Client(with_redis, use_cookies=False)
        shown = {"Authorization": f"Bearer {token}"}

        def ask() -> None:
            for path in ("/b.half/evaluate", "/d.rule/check", "/none/evaluate", "/evaluate-bulk"):
                body = {"user_id": "u", "attributes": {"plan": "pro"}}
                assert client.post(URL + path, json=body, headers=shown).status_code == 200

        with asked_elsewhere(monkeypatch) as cold:
            ask()
        assert any("feature_flags" in statement for statement in cold)
        assert any("api_tokens" in statement for statement in cold)
        assert any("ff:revision" in command for command in cold)
        with asked_elsewhere(monkeypatch) as hot:
            for _ in range(20):
                ask()
        assert hot == []
    finally:
        end(with_redis)


def test_what_would_wait_or_take_long_is_left_to_a_thread(app: Flask, token: str) -> None:
    client = Client(app.wsgi_app, use_cookies=False)

    def asked(path: str, body: object, shown: str = token) -> TestResponse:
        return client.post(URL + path, json=body, headers={"Authorization": f"Bearer {shown}"})

    def left(path: str, body: object, shown: str = token) -> bool:
        with promptly():
            try:
                assert asked(path, body, shown).status_code == 200
            except TakesTime:
                return True
        return False

    # Whoever asks first reads flags and tokens from the database.
    assert left("/a.on/evaluate", {})
    assert asked("/a.on/evaluate", {}).status_code == 200
    assert not left("/a.on/evaluate", {})
    assert not left("/evaluate-bulk", {})
    assert not left("/evaluate-bulk", {"flag_names": ["none"] * MOST_PROMPT})
    assert left("/evaluate-bulk", {"flag_names": ["none"] * (MOST_PROMPT + 1)})
    assert left("/a.on/evaluate", {}, shown="nobodys")
    assert left("/a.on/evaluate", [])
    assert left("/a.on/evaluate?a=b", {})


@pytest.fixture
def short_lived(
    postgres: PostgresServer, tmp_path: Path, now: datetime
) -> Iterator[tuple[Flask, str]]:
    """An application whose flags are soon stale, on a server that a test may stop; a token."""
    postgres.start()
    settings = make_settings(
        tmp_path,
        DATABASE_URL=postgres.create_database(f"away_{clock_now():%H%M%S%f}"),
        FF_CACHE_TTL="0.3",
        FF_POLL_INTERVAL="0.1",
    )
    app = create_app(settings)
    with app.app_context():
        flask_migrate.upgrade()
        with transaction() as session:
            for draft in DRAFTS:
                create_flag(session, draft, by=COMMAND, now=now, reason="r")
            token = make_token(session, Role.VIEWER, None)
    yield app, token
    postgres.start()
    end(app)


@pytest.mark.postgres
def test_without_the_database_evaluation_goes_on_and_ready_says_how_old_the_flags_are(
    short_lived: tuple[Flask, str], postgres: PostgresServer
) -> None:
    app, token = short_lived
    client = Client(app, use_cookies=False)
    shown = {"Authorization": f"Bearer {token}"}

    def evaluate(path: str) -> TestResponse:
        return client.post(URL + path, json={"user_id": "u"}, headers=shown)

    def flags_part() -> dict[str, Any]:
        part: dict[str, Any] = client.get("/ready").get_json()["parts"]["flags"]
        return part

    before = evaluate("/e.variant/evaluate").get_json()
    assert client.get("/ready").status_code == 200
    postgres.stop()
    wait_until(lambda: flags_part()["state"] == "down", seconds=10, what="the flags are stale")
    ready = client.get("/ready")
    assert ready.status_code == 503
    assert ready.get_json()["parts"]["database"]["state"] == "down"
    stale = ready.get_json()["parts"]["flags"]
    assert stale["problem"] == "the flags are stale"
    assert stale["age_seconds"] >= 0.3
    assert stale["revision"] >= len(DRAFTS)
    after = evaluate("/e.variant/evaluate").get_json()
    assert after | {"evaluation_time_ms": 0} == before | {"evaluation_time_ms": 0}
    assert len(evaluate("/evaluate-bulk").get_json()["flags"]) == len(DRAFTS)
    away = client.post(f"{URL}/a.on/explain", json={}, headers=shown)
    assert (away.status_code, away.content_type) == (503, "application/problem+json")
    postgres.start()
    wait_until(lambda: client.get("/ready").status_code == 200, seconds=15, what="ready again")
