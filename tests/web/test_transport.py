"""HTTPS where it is demanded, and our own host names, for pages, programs and the edge."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import pytest
from flask import Flask
from hypothesis import HealthCheck, assume, example, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from werkzeug.test import Client, TestResponse, create_environ

from tests.conftest import end, make_settings, stop_threads
from tests.flags.conftest import URL, make_token
from webapp.app import create_app
from webapp.db import transaction
from webapp.edge import create_edge
from webapp.roles import Role
from webapp.settings import Settings
from webapp.web.transport import PROBES

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

HOST: Final = "console.example"
BEHIND_ONE: Final = {"FORCE_HTTPS": "true", "TRUSTED_PROXIES": "1"}
OVER_TLS: Final = {"X-Forwarded-Proto": "https"}
TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
STRICT_TRANSPORT: Final = "max-age=31536000; includeSubDomains; preload"

Ask = Callable[..., TestResponse]
Build = Callable[..., Flask]


@pytest.fixture(scope="module")
def built() -> Iterator[list[Flask]]:
    """The applications of this module."""
    apps: list[Flask] = []
    yield apps
    for app in apps:
        end(app)


@pytest.fixture(scope="module")
def build_once(
    migrated_app: Flask, tmp_path_factory: pytest.TempPathFactory, built: list[Flask]
) -> Build:
    """Applications of other settings on the same database, one for each that is asked for."""
    folder = tmp_path_factory.mktemp("other")
    database = migrated_app.extensions["settings"].database_url

    @cache
    def make(make_app: Callable[[Settings], Flask] = create_app, **environ: str) -> Flask:
        app = make_app(make_settings(folder, DATABASE_URL=database, **environ))
        built.append(app)
        return app

    return make


@pytest.fixture
def build(build_once: Build, built: list[Flask]) -> Iterator[Build]:
    """The same; what they have started ends with each test."""
    yield build_once
    for app in built:
        stop_threads(app)


def asking(app: Flask, host: str = HOST) -> Ask:
    client = Client(app, use_cookies=False)

    def ask(path: str, method: str = "GET", headers: Any = None, **more: Any) -> TestResponse:
        given = {"Host": host} | (headers or {})
        return client.open(path, method=method, headers=given, buffered=True, **more)

    return ask


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/flags?q=a%20b&after=3",
        "/static/css/app.css?v=1",
        "/api/v1/feature-flags",
        "/nothing/here",
        "/flags/a%2520b%3Fc",
        "/%C3%A9t%C3%A9?q=%C3%A9",
        "/%0D%0ASet-Cookie:%20x=1",
        "/?next=https://evil.example/",
    ],
)
def test_plain_http_is_redirected_to_the_same_address(build: Build, path: str) -> None:
    answer = asking(build(FORCE_HTTPS="true"))(path)
    assert answer.status_code == 301
    assert answer.headers["Location"] == f"https://{HOST}{path}"
    assert "Set-Cookie" not in answer.headers
    assert "Strict-Transport-Security" not in answer.headers


@example(path="/evil.example/", query="")
@example(path="\r\nSet-Cookie: x=1", query="\r\nSet-Cookie: x=1")
@example(path="@evil.example", query="@evil.example")
@given(path=TEXTS, query=TEXTS)
@limits(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_no_address_leads_elsewhere(secure_app: Flask, path: str, query: str) -> None:
    assume("\0" not in path + unquote(query))  # refused for what it is
    raw = f"/{path}".encode().decode("latin-1")
    environ = create_environ("/", headers={"Host": HOST})
    environ |= {"PATH_INFO": raw, "QUERY_STRING": query.encode().decode("latin-1")}
    _, _, headers = Client(secure_app).run_wsgi_app(environ)
    target = urlsplit(headers["Location"])
    assert (target.scheme, target.netloc) == ("https", HOST)
    assert unquote_to_bytes(target.path).decode("latin-1") == raw


@pytest.fixture
def secure_app(build: Build) -> Flask:
    return build(FORCE_HTTPS="true")


def test_a_write_is_redirected_before_it_is_done(secure_app: Flask) -> None:
    answer = asking(secure_app)("/sign-in", "POST", data={"username": "a", "password": "b"})
    assert (answer.status_code, answer.headers["Location"]) == (301, f"https://{HOST}/sign-in")


def test_the_port_of_the_request_gives_way_to_the_one_that_is_set(build: Build) -> None:
    answer = asking(build(FORCE_HTTPS="true", HTTPS_PORT="8443"), f"{HOST}:8000")("/flags")
    assert answer.headers["Location"] == f"https://{HOST}:8443/flags"


def test_strictly_plain_http_is_refused(build: Build) -> None:
    ask = asking(build(FORCE_HTTPS="true", HTTPS_STRICT="true"))
    program = ask("/api/v1/feature-flags")
    assert program.status_code == 403
    assert program.content_type == "application/problem+json"
    assert "HTTPS" in program.get_json()["detail"]
    person = ask("/flags")
    assert person.status_code == 403
    assert person.content_type.startswith("text/html")


@pytest.mark.parametrize("more", [{}, {"HTTPS_STRICT": "true"}], ids=["redirecting", "strict"])
@pytest.mark.parametrize("path", sorted(PROBES))
def test_probes_are_answered_over_plain_http_and_by_address(
    build: Build, path: str, more: dict[str, str]
) -> None:
    app = build(FORCE_HTTPS="true", ALLOWED_HOSTS=HOST, **more)
    assert asking(app, "10.0.0.7:8000")(path).status_code not in {301, 400, 403}
    assert asking(app)(f"{path}/").status_code in {301, 403}


def test_what_came_over_tls_is_answered_and_says_so_for_a_year(build: Build) -> None:
    answer = asking(build(**BEHIND_ONE))("/sign-in", headers=OVER_TLS)
    assert answer.status_code == 200
    assert answer.headers["Strict-Transport-Security"] == STRICT_TRANSPORT
    assert "; Secure; HttpOnly;" in answer.headers["Set-Cookie"]
    assert "SameSite=Lax" in answer.headers["Set-Cookie"]


def test_nobody_is_believed_to_be_a_proxy_who_is_not_counted(secure_app: Flask) -> None:
    answer = asking(secure_app)("/sign-in", headers=OVER_TLS | {"X-Forwarded-Host": "evil.example"})
    assert (answer.status_code, answer.headers["Location"]) == (301, f"https://{HOST}/sign-in")


def test_only_the_last_of_several_proxies_is_believed(build: Build) -> None:
    answer = asking(build(**BEHIND_ONE))("/sign-in", headers={"X-Forwarded-Proto": "https, http"})
    assert answer.status_code == 301


@pytest.mark.parametrize(
    ("host", "served"),
    [
        (HOST, True),
        ("CONSOLE.example", True),
        (f"{HOST}:8000", True),
        ("[::1]:8000", True),
        ("evil.example", False),
        (f"{HOST}.evil.example", False),
        (f"evil.example@{HOST}", False),
        (f"{HOST}@evil.example", False),
        (f"{HOST}/", False),
        (f"{HOST}:8000:9", False),
        (f"{HOST} evil.example", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("path", ["/sign-in", "/api/v1/feature-flags", "/static/css/base.css"])
def test_no_other_name_is_served(build: Build, path: str, host: str, *, served: bool) -> None:
    answer = asking(build(ALLOWED_HOSTS=f"{HOST},[::1]"), host)(path)
    assert (answer.status_code != 400) is served
    if not served:
        assert "host name" in answer.text
        assert "evil" not in answer.text


def test_no_redirect_leads_to_another_name(build: Build) -> None:
    for environ in ({"ALLOWED_HOSTS": HOST}, {}):
        ask = asking(build(FORCE_HTTPS="true", **environ), "evil.example\\@x")
        assert ask("/").status_code == 400
    assert (
        asking(build(FORCE_HTTPS="true", ALLOWED_HOSTS=HOST), "evil.example")("/").status_code
        == 400
    )


def test_any_name_is_served_where_none_is_set_or_all_are(build: Build) -> None:
    for environ in ({}, {"ALLOWED_HOSTS": "*"}):
        assert asking(build(**environ), "anything.example")("/sign-in").status_code == 200


EVALUATE: Final = f"{URL}/beta/evaluate"


@pytest.mark.parametrize("make_app", [create_app, create_edge], ids=["console", "edge"])
def test_evaluations_come_the_same_way(
    build: Build, make_app: Callable[[Settings], Flask], token: str
) -> None:
    app = build(make_app, ALLOWED_HOSTS=HOST, **BEHIND_ONE)
    headers = {"Authorization": f"Bearer {token}"}

    def evaluate(host: str = HOST, **more: str) -> TestResponse:
        return asking(app, host)(EVALUATE, "POST", json={}, headers=headers | more)

    plain = evaluate()
    assert (plain.status_code, plain.headers["Location"]) == (301, f"https://{HOST}{EVALUATE}")
    secure = evaluate(**OVER_TLS)
    assert secure.status_code == 200
    assert secure.headers["Strict-Transport-Security"] == STRICT_TRANSPORT
    elsewhere = evaluate("evil.example", **OVER_TLS)
    assert elsewhere.status_code == 400
    assert elsewhere.content_type == "application/problem+json"
    strict = build(make_app, ALLOWED_HOSTS=HOST, HTTPS_STRICT="true", **BEHIND_ONE)
    refused = asking(strict)(EVALUATE, "POST", json={}, headers=headers)
    assert refused.status_code == 403
    assert refused.content_type == "application/problem+json"


@pytest.fixture
def token(app: Flask) -> str:
    with app.app_context(), transaction() as session:
        return make_token(session, Role.VIEWER, None)
