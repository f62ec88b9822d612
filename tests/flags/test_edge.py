"""The evaluation edge, beside the console that it has its flags and tokens from.

Both live in this process: the edge as its server would call it, the console on a port of its own
where the edge asks it over HTTP.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from flask import Flask, Response
from sqlalchemy import text
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.test import Client, TestResponse

from tests.conftest import end, make_settings
from tests.flags.conftest import URL
from tests.processes import wait_until
from tests.servers import LOOPBACK, RedisServer, free_port
from webapp import edge as edge_module
from webapp.accounts.service import create_token, revoke_token
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.clock import now as clock_now
from webapp.db import db, transaction
from webapp.edge import create_edge
from webapp.flags.service import create_flag
from webapp.flags.shared import Trace, create_segment
from webapp.flags.values import (
    Condition,
    FlagDraft,
    Operator,
    Prerequisite,
    Reason,
    Rule,
    SegmentDraft,
    Variant,
)
from webapp.roles import Role

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

NOWHERE: Final = "sqlite:////nowhere/at/all.db"
SUBJECTS: Final = 500
SOON: Final = {"FF_POLL_INTERVAL": "0.1", "FF_CACHE_TTL": "0.5"}
SOURCES: Final = ["database", pytest.param("redis", marks=pytest.mark.redis), "http"]


def condition(attribute: str, operator: Operator, *values: str, negate: bool = False) -> Condition:
    return Condition(attribute=attribute, operator=operator, values=values, negate=negate)


SEGMENT: Final = SegmentDraft(
    name="old-clients",
    conditions=(
        condition("version", Operator.SEMVER_LT, "2.0.0"),
        condition("mail", Operator.ENDS_WITH, "@example.org", "@example.com"),
    ),
)
RULES: Final = (
    Rule(name="old", segments=("old-clients",), percentage=60),
    Rule(
        name="pro",
        conditions=(
            condition("plan", Operator.IN, "pro", "team"),
            condition("seats", Operator.GTE, "10"),
            condition("mail", Operator.MATCHES, "^user-1", negate=True),
        ),
        percentage=90.5,
    ),
    Rule(
        name="late", conditions=(condition("since", Operator.AFTER, "2026-06-01"),), percentage=100
    ),
)
VARIANTS: Final = (
    Variant(name="blue", weight=3, value={"hex": "#00f", "é": [1, 2.5, None, True]}),
    Variant(name="red", weight=1),
)
DAY: Final = timedelta(days=1)
MOMENT: Final = clock_now()
DRAFTS: Final = (
    FlagDraft(name="a.on", enabled=True, percentage=100),
    FlagDraft(name="b.half", enabled=True, percentage=50.05),
    FlagDraft(name="c.killed", percentage=100),
    FlagDraft(name="c.nobody", enabled=True),
    FlagDraft(
        name="d.lists",
        enabled=True,
        percentage=20,
        whitelist=("user-1", "Zoë"),
        blacklist=("user-2", "user-3"),
    ),
    FlagDraft(name="e.environments", enabled=True, percentage=100, environments=("staging",)),
    FlagDraft(
        name="f.overrides",
        enabled=True,
        percentage=10,
        environment_overrides={"staging": True, "test": False, "demo": 33.33},
    ),
    FlagDraft(name="g.later", enabled=True, percentage=100, starts_at=MOMENT + DAY),
    FlagDraft(name="h.over", enabled=True, percentage=100, expires_at=MOMENT - DAY),
    FlagDraft(
        name="i.window",
        enabled=True,
        percentage=70,
        starts_at=MOMENT - DAY,
        expires_at=MOMENT + DAY,
    ),
    FlagDraft(name="j.rules", enabled=True, percentage=5, rules=RULES),
    FlagDraft(name="k.variants", enabled=True, percentage=80, variants=VARIANTS),
    FlagDraft(
        name="l.needs",
        enabled=True,
        percentage=100,
        prerequisites=(Prerequisite(flag="b.half"), Prerequisite(flag="c.killed", enabled=False)),
    ),
    FlagDraft(name="m.sticky", enabled=True, percentage=50.05, stickiness="b.half"),
)


class Upstream:
    """The console on a port of its own, which can go away and come back."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._port = free_port()
        self._server: BaseWSGIServer | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._port}"

    def start(self) -> None:
        if self._server is None:
            self._server = make_server(LOOPBACK, self._port, self._app, threaded=True)
            threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@dataclass
class Source:
    """One way to have flags: what an edge is told of it, and how it goes away and comes back."""

    web: Flask
    environ: dict[str, str]
    stop: Callable[[], object]
    start: Callable[[], object]


def make_token(web: Flask, role: Role = Role.VIEWER, **more: Any) -> str:
    name = more.pop("name", f"{role}-{clock_now():%S%f}")
    with web.app_context(), transaction() as session:
        return create_token(session, name, role=role, by=COMMAND, now=clock_now(), **more).text


@pytest.fixture
def flags(app: Flask) -> None:
    """Flags that use every field."""
    with app.app_context(), transaction() as session:
        create_segment(session, SEGMENT, Trace(by=COMMAND, now=MOMENT, reason="r"))
        for draft in DRAFTS:
            create_flag(session, draft, by=COMMAND, now=MOMENT, reason="r")


@contextmanager
def consoles(app: Flask, tmp_path: Path, **environ: str) -> Iterator[Flask]:
    """Another console on the database of the tests, with settings of its own."""
    database = app.extensions["settings"].database_url
    web = create_app(make_settings(tmp_path / "web", DATABASE_URL=database, **environ))
    yield web
    end(web)


@pytest.fixture(params=SOURCES)
def source(
    request: pytest.FixtureRequest, app: Flask, flags: None, tmp_path: Path
) -> Iterator[Source]:
    """Each of the three sources."""
    with ExitStack() as stack:
        if request.param == "redis":
            server: RedisServer = request.getfixturevalue("redis_server")
            server.start()
            server.flush()
            stack.callback(server.start)
            web = stack.enter_context(consoles(app, tmp_path, REDIS_URL=server.url))
            environ = {"REDIS_URL": server.url, "DATABASE_URL": NOWHERE}
            stop, start = server.stop, server.start
        elif request.param == "http":
            web = stack.enter_context(consoles(app, tmp_path))
            upstream = Upstream(web)
            upstream.start()
            stack.callback(upstream.stop)
            told = {"EDGE_UPSTREAM": f"{upstream.url}/", "EDGE_TOKEN": make_token(web)}
            # What is nearest is taken: neither of these is asked.
            environ = told | {"DATABASE_URL": NOWHERE, "REDIS_URL": "redis://127.0.0.1:1/0"}
            stop, start = upstream.stop, upstream.start
        else:
            web = stack.enter_context(consoles(app, tmp_path))
            environ = {"DATABASE_URL": app.extensions["settings"].database_url}
            stop = renaming(app, "feature_flag_revision", "feature_flag_revision_away")
            start = renaming(app, "feature_flag_revision_away", "feature_flag_revision")
            stack.callback(start)
        # Whoever holds the flags has them in memory, and in Redis, before anybody asks.
        assert web.extensions["flag_store"].loaded
        yield Source(web, environ, stop, start)


def renaming(app: Flask, old: str, new: str) -> Callable[[], None]:
    """Return what takes a table away from every process, or brings it back."""

    def rename() -> None:
        with app.app_context(), db.engine.connect() as connection:
            if connection.dialect.has_table(connection, old):
                connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))
                connection.commit()

    return rename


MakeEdge = Callable[..., Flask]


@pytest.fixture
def make_edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeEdge]:
    """Build edges, and end them with the test."""
    made: list[Flask] = []
    engines: list[Any] = []
    build_engine = edge_module._engine

    def kept_engine(url: str) -> Any:
        engines.append(build_engine(url))
        return engines[-1]

    def make(**environ: str) -> Flask:
        edge = create_edge(make_settings(tmp_path / "edge", **environ))
        made.append(edge)
        return edge

    monkeypatch.setattr(edge_module, "_engine", kept_engine)
    yield make
    for edge in made:
        end(edge)
    for engine in engines:
        engine.dispose()


def ask(process: Flask, token: str, path: str, **body: object) -> TestResponse:
    """Ask for an evaluation."""
    shown = {"Authorization": f"Bearer {token}"} if token else {}
    return Client(process, use_cookies=False).post(URL + path, json=body, headers=shown)


def on(process: Flask, token: str, name: str) -> bool:
    answer = ask(process, token, f"/{name}/evaluate", user_id="user-1")
    assert answer.status_code == 200, answer.text
    return bool(answer.get_json()["enabled"])


def change(web: Flask, token: str, name: str, **changes: object) -> None:
    answer = Client(web, use_cookies=False).put(
        f"{URL}/{name}",
        json={"reason": "r"} | changes,
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 200, answer.text


def ready(edge: Flask) -> tuple[int, dict[str, Any]]:
    answer = Client(edge).get("/ready")
    return answer.status_code, answer.get_json()["parts"]["flags"]


def question(number: int) -> dict[str, object]:
    """What is asked about one subject, so that every rule and environment is met."""
    environments = (None, "production", "staging", "test", "demo", "nowhere")
    return {
        "user_id": {0: "Zoë", 99: None}.get(number % 100, f"user-{number}"),
        "environment": environments[number % len(environments)],
        "attributes": {
            "plan": ("free", "pro", "team")[number % 3],
            "seats": number % 25,
            "mail": f"user-{number}@example.{('org', 'net')[number % 2]}",
            "version": f"{number % 4}.1.0",
            "since": f"2026-{number % 12 + 1:02}-15T12:00:00Z",
        },
    }


def test_an_edge_answers_as_the_console_does(source: Source, make_edge: MakeEdge) -> None:
    edge, token = make_edge(**source.environ), make_token(source.web)
    reasons = set()
    for number in range(SUBJECTS):
        asked = question(number)
        there = ask(source.web, token, "/evaluate-bulk", **asked).get_json()["flags"]
        here = ask(edge, token, "/evaluate-bulk", **asked)
        assert here.status_code == 200
        assert here.get_json()["flags"] == there
        reasons |= {answer["reason"] for answer in there.values()}
    # Else something was not compared.
    assert reasons == set(Reason) - {Reason.NOT_FOUND}
    for name in (*(draft.name for draft in DRAFTS), "unheard.of"):
        answers = [ask(process, token, f"/{name}/evaluate") for process in (edge, source.web)]
        first, second = (answer.get_json() | {"evaluation_time_ms": 0} for answer in answers)
        assert first == second
        assert {header for header, _ in answers[0].headers} == {
            header for header, _ in answers[1].headers
        }
    # By the protocol of OpenFeature too, with the token as its providers may show it.
    for path in ("/a.on", "/unheard.of", ""):
        context = {"context": {"targetingKey": "user-1", "plan": "pro"}}
        told = [
            Client(process, use_cookies=False).post(
                f"/ofrep/v1/evaluate/flags{path}", json=context, headers={"X-API-Key": token}
            )
            for process in (edge, source.web)
        ]
        assert (told[0].status_code, told[0].data) == (told[1].status_code, told[1].data)


def test_a_change_arrives_within_three_seconds(source: Source, make_edge: MakeEdge) -> None:
    edge, token = make_edge(**source.environ), make_token(source.web)
    admin = make_token(source.web, Role.ADMIN)
    assert on(edge, token, "a.on")
    for enabled in (False, True):
        change(source.web, admin, "a.on", enabled=enabled)
        wait_until(
            lambda wanted=enabled: on(edge, token, "a.on") is wanted,  # type: ignore[misc]
            seconds=3,
            what=f"the edge sees a.on {enabled}",
        )


def test_a_revoked_token_is_refused_and_a_new_one_taken(
    source: Source, make_edge: MakeEdge
) -> None:
    edge = make_edge(**source.environ)
    revoked = make_token(source.web, name="shop")
    assert on(edge, revoked, "a.on")
    with source.web.app_context(), transaction() as session:
        revoke_token(session, "shop", by=COMMAND, now=clock_now(), reason="Leaked")

    def refused() -> bool:
        return ask(edge, revoked, "/a.on/evaluate").status_code == 401

    wait_until(refused, seconds=8, what="the revoked token is refused")
    assert ask(edge, revoked, "/a.on/evaluate").content_type == "application/problem+json"
    assert on(edge, make_token(source.web), "a.on")
    assert ask(edge, "swy_invented", "/a.on/evaluate").status_code == 401
    assert ask(edge, "", "/a.on/evaluate").status_code == 401


def test_a_token_of_one_environment_evaluates_there_only(
    source: Source, make_edge: MakeEdge
) -> None:
    edge = make_edge(**source.environ)
    token = make_token(source.web, environment="staging")
    answer = ask(edge, token, "/f.overrides/evaluate", user_id="u")
    assert answer.get_json()["reason"] == "environment_override"
    asked = ask(edge, token, "/f.overrides/evaluate", environment="production")
    assert (asked.status_code, asked.content_type) == (403, "application/problem+json")


def test_without_its_source_an_edge_goes_on_and_says_so(
    source: Source, make_edge: MakeEdge
) -> None:
    edge, token = make_edge(**source.environ, **SOON), make_token(source.web)
    admin = make_token(source.web, Role.ADMIN)
    assert on(edge, token, "a.on")
    assert ready(edge)[0] == 200
    source.stop()
    wait_until(lambda: ready(edge)[0] == 503, seconds=8, what="the flags are stale")
    said = ready(edge)[1]
    assert (said["state"], said["problem"]) == ("down", "the flags are stale")
    assert said["age_seconds"] >= 0.5
    assert said["revision"] >= len(DRAFTS)
    assert on(edge, token, "a.on")
    assert ask(edge, token, "/evaluate-bulk", **question(7)).status_code == 200
    assert Client(edge).get("/health").status_code == 200
    source.start()
    wait_until(lambda: ready(edge)[0] == 200, seconds=10, what="ready again")
    change(source.web, admin, "a.on", enabled=False)
    wait_until(lambda: not on(edge, token, "a.on"), seconds=8, what="changes arrive again")


def test_an_edge_that_starts_without_its_source_waits_for_it(
    source: Source, make_edge: MakeEdge
) -> None:
    token = make_token(source.web)
    source.stop()
    edge = make_edge(**source.environ, **SOON)
    assert ready(edge) == (503, {"state": "down", "problem": "the flags have not been read yet"})
    answer = ask(edge, token, "/a.on/evaluate")
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert int(answer.headers["Retry-After"]) > 0
    source.start()
    wait_until(lambda: ready(edge)[0] == 200, seconds=10, what="ready")
    wait_until(
        lambda: ask(edge, token, "/a.on/evaluate").status_code == 200,
        seconds=5,
        what="the token is known",
    )
    assert on(edge, token, "a.on")


def test_what_an_edge_counted_joins_the_figures(source: Source, make_edge: MakeEdge) -> None:
    edge, token = make_edge(**source.environ), make_token(source.web)
    for number in range(30):
        ask(edge, token, "/k.variants/evaluate", user_id=f"user-{number}", environment="staging")
    ask(edge, token, "/a.onn/evaluate")
    counter = edge.extensions["flag_store"].usage
    assert counter.flush()
    if (collector := source.web.extensions.get("usage_collector")) is not None:
        assert collector.collect() == 1
    client = Client(source.web, use_cookies=False)
    shown = {"Authorization": f"Bearer {token}"}
    figures = client.get(f"{URL}/metrics/k.variants", headers=shown).get_json()
    assert figures["on"] + figures["off"] == 30
    assert {row["environment"] for row in figures["counts"]} == {"staging"}
    assert {row["variant"] for row in figures["counts"]} == {"blue", "red", None}
    assert "a.onn" in client.get("/flags", headers=shown).text


@pytest.mark.redis
def test_an_emptied_redis_is_filled_again_by_whoever_has_the_database(
    app: Flask,
    flags: None,
    redis_server: RedisServer,
    tmp_path: Path,
    make_edge: MakeEdge,
) -> None:
    redis_server.start()
    redis_server.flush()
    with consoles(app, tmp_path, REDIS_URL=redis_server.url) as web:
        assert web.extensions["flag_store"].loaded
        edge = make_edge(REDIS_URL=redis_server.url, DATABASE_URL=NOWHERE, **SOON)
        token = make_token(web)
        assert on(edge, token, "a.on")
        redis_server.flush()
        # Flags are published again by the thread of the console.
        wait_until(lambda: ready(edge)[0] == 503, seconds=5, what="the flags are gone")
        assert on(edge, token, "a.on")
        wait_until(lambda: ready(edge)[0] == 200, seconds=5, what="the flags are back")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/flags", 404),
        ("GET", "/sign-in", 404),
        ("GET", "/nothing/here", 404),
        ("GET", "/static/app.css", 404),
        ("GET", f"{URL}/snapshot", 404),
        ("GET", URL, 404),
        ("POST", f"{URL}/usage", 404),
        ("POST", "/ready", 405),
        ("GET", f"{URL}/a.on/evaluate", 405),
        ("POST", f"{URL}/a.on/explain", 404),
    ],
)
def test_what_an_edge_does_not_serve_is_a_problem_in_json(
    app: Flask, flags: None, make_edge: MakeEdge, method: str, path: str, status: int
) -> None:
    edge = make_edge(DATABASE_URL=app.extensions["settings"].database_url)
    answer = Client(edge).open(path, method=method)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert answer.get_json()["request_id"] == answer.headers["X-Request-ID"]
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("public", ["true", "false"])
def test_no_cookie_is_set_and_none_is_heeded(
    app: Flask, flags: None, make_edge: MakeEdge, public: str
) -> None:
    edge = make_edge(
        DATABASE_URL=app.extensions["settings"].database_url, FF_PUBLIC_EVALUATION=public
    )
    token = make_token(app)
    name = app.config["SESSION_COOKIE_NAME"]
    asked = {"json": {"user_id": "u"}}
    for cookie in ("", f"{name}=x", f"{name}=.eJw.x.y; theme=dark"):
        for shown in ("", f"Bearer {token}"):
            headers = (
                {"Authorization": shown, "Cookie": cookie} if cookie else {"Authorization": shown}
            )
            client = Client(edge, use_cookies=False)
            answer = client.post(f"{URL}/a.on/evaluate", headers=headers, **asked)
            wanted = 200 if shown or public == "true" else 401
            assert answer.status_code == wanted, answer.text
            assert "Set-Cookie" not in answer.headers


def test_flags_that_are_had_already_are_not_sent_again(
    app: Flask, flags: None, tmp_path: Path, make_edge: MakeEdge
) -> None:
    with consoles(app, tmp_path) as web:
        upstream = Upstream(web)
        upstream.start()
        sent: list[int] = []

        def note(response: Response) -> Response:
            sent.append(response.status_code)
            return response

        web.after_request(note)
        try:
            edge = make_edge(
                EDGE_UPSTREAM=upstream.url, EDGE_TOKEN=make_token(web), FF_POLL_INTERVAL="600"
            )
            store = edge.extensions["flag_store"]
            assert store.loaded
            assert store.refresh()
            assert sent == [200, 304]
        finally:
            upstream.stop()
