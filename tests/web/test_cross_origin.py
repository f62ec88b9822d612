"""CORS: pages of the named origins may use the API, and nobody else may read it."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from flask import Flask
from werkzeug.test import Client, TestResponse

from tests.conftest import end, make_settings
from tests.flags.conftest import make_token
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.edge import create_edge
from webapp.flags.service import create_flag
from webapp.flags.values import FlagDraft
from webapp.roles import Role
from webapp.settings import Settings, SettingsError
from webapp.web.cross_origin import METHODS, READ, SENT

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

OURS: Final = "https://shop.example"
OTHER: Final = "https://evil.example"
EVALUATE: Final = "/api/v1/feature-flags/beta/evaluate"
ASKED: Final = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization",
}

Build = Callable[..., Client]


@pytest.fixture
def build(app: Flask, tmp_path: Any) -> Iterator[Build]:
    """Applications with other settings on the same database."""
    built: list[Flask] = []

    def make(make_app: Callable[[Settings], Flask] = create_app, **environ: str) -> Client:
        url = app.extensions["settings"].database_url
        other = make_app(make_settings(tmp_path, DATABASE_URL=url, **environ))
        built.append(other)
        return Client(other, use_cookies=False)

    yield make
    for other in built:
        end(other)


def cors_headers(answer: TestResponse) -> dict[str, str]:
    prefix = "Access-Control-"
    return {name: text for name, text in answer.headers if name.startswith(prefix)}


def test_without_the_setting_nobody_is_let_in(client: Client) -> None:
    for method in ("GET", "OPTIONS"):
        answer = client.open("/api/v1/jobs", method=method, headers={"Origin": OURS} | ASKED)
        assert cors_headers(answer) == {}


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/v1/jobs/7", EVALUATE, "/api/v1/nowhere"])
def test_a_browser_that_asks_beforehand_is_told_what_it_may_send(build: Build, path: str) -> None:
    answer = build(CORS_ORIGINS=OURS).options(path, headers={"Origin": OURS} | ASKED)
    assert answer.status_code == 204
    assert cors_headers(answer) == {
        "Access-Control-Allow-Origin": OURS,
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": SENT,
        "Access-Control-Max-Age": "7200",
    }
    assert answer.headers.getlist("Vary") == ["Origin"]
    assert "X-Request-ID" in answer.headers


@pytest.mark.parametrize("origin", [OTHER, "null", f"{OURS}.evil.example", f"{OURS}:8443", ""])
def test_other_origins_are_told_nothing(build: Build, origin: str) -> None:
    client = build(CORS_ORIGINS=f"{OURS},http://localhost:3000")
    for method in ("GET", "OPTIONS"):
        answer = client.open("/api/v1/jobs", method=method, headers={"Origin": origin} | ASKED)
        assert cors_headers(answer) == {}
        # A cache must not hand this answer to the page that may read it.
        assert "Origin" in answer.headers.getlist("Vary")


def test_pages_of_the_console_are_read_by_no_other(build: Build) -> None:
    client = build(CORS_ORIGINS="*")
    for path in ("/", "/sign-in", "/health", "/static/css/app.css"):
        assert cors_headers(client.get(path, headers={"Origin": OURS})) == {}


@pytest.mark.parametrize("make_app", [create_app, create_edge])
@pytest.mark.parametrize(("named", "told"), [(OURS, OURS), ("*", "*")])
def test_answers_and_refusals_may_be_read(
    build: Build, app: Flask, make_app: Callable[[Settings], Flask], named: str, told: str
) -> None:
    with app.app_context(), transaction() as session:
        draft = FlagDraft(name="beta")
        create_flag(session, draft, by=COMMAND, now=clock_now(), reason="r")
        token = make_token(session, Role.VIEWER, None)
    client = build(make_app, CORS_ORIGINS=named, FF_PUBLIC_EVALUATION="false")
    expected = {"Access-Control-Allow-Origin": told, "Access-Control-Expose-Headers": READ}
    for authorization, status in ((f"Bearer {token}", 200), ("Bearer none", 401)):
        headers = {"Origin": OURS, "Authorization": authorization}
        answer = client.post(EVALUATE, json={"user_id": "u"}, headers=headers)
        assert answer.status_code == status
        assert cors_headers(answer) == expected
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "shop.example",
        "https://shop.example/",
        "https://Shop.example",
        "null",
        "ftp://a",
        "https://*",
    ],
)
def test_what_is_no_origin_is_refused_at_the_start(
    database_url: str, tmp_path: Any, origin: str
) -> None:
    with pytest.raises(SettingsError, match="CORS_ORIGINS"):
        make_settings(tmp_path, DATABASE_URL=database_url, CORS_ORIGINS=f"{OURS},{origin}")
