"""What every route demands: a role that somebody wrote down, and proof that a write was meant."""

from collections.abc import Iterator

import pytest
from flask import Flask

from tests.architecture.routes import Route, routes_of
from tests.conftest import ConsoleClient
from webapp.roles import Role
from webapp.web.access import EVALUATION, PUBLIC
from webapp.web.security import HEADERS

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

# Whoever adds a line here opens something to everybody on the network.
PUBLIC_ROUTES = {
    # Not there unless DEMO is true.
    ("GET", "/demo/areas"),
    ("GET", "/demo/news.xml"),
    ("GET", "/health"),
    # To this machine alone; to others with a token, or where METRICS_PUBLIC says so.
    ("GET", "/metrics"),
    ("GET", "/observability/metrics"),
    ("GET", "/ready"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    # Signing in, for programs.
    ("POST", "/api/v1/auth/token"),
    ("POST", "/sign-out"),
}
# Open to viewers, and to everybody where FF_PUBLIC_EVALUATION says so.
EVALUATION_ROUTES = {
    ("GET", "/api/v1/feature-flags/<name>/check"),
    ("POST", "/api/v1/feature-flags/<name>/check"),
    ("POST", "/api/v1/feature-flags/evaluate-bulk"),
    ("POST", "/api/v1/feature-flags/<name>/evaluate"),
    ("POST", "/ofrep/v1/evaluate/flags"),
    ("POST", "/ofrep/v1/evaluate/flags/<path:key>"),
}
# All that a viewer may write is their own account; a question with a body is a POST too.
VIEWER_WRITES = {
    ("POST", "/api/v1/feature-flags/<name>/explain"),
    ("POST", "/api/v1/alert-rules/preview"),
    ("POST", "/account/password"),
    ("POST", "/account/sessions/<handle>/end"),
    ("POST", "/account/sign-out-everywhere"),
    # What a process counted that evaluates elsewhere, as whoever evaluates here is counted.
    ("POST", "/api/v1/feature-flags/usage"),
    ("POST", "/api/client/metrics"),
    ("POST", "/api/client/register"),
}
# The page that shows the API is for people.
API = ("/api/v1/", "/api/admin/", "/api/client/", "/v1/", "/ofrep/", "/observability/", "/stats")


@pytest.fixture
def routes(app: Flask) -> list[Route]:
    return list(routes_of(app))


def keys(routes: Iterator[Route]) -> set[tuple[str, str]]:
    return {(route.method, route.rule) for route in routes}


def test_only_the_listed_routes_are_public(routes: list[Route]) -> None:
    assert keys(route for route in routes if route.access == PUBLIC) == PUBLIC_ROUTES


def test_only_the_listed_routes_are_for_evaluation(routes: list[Route]) -> None:
    assert keys(route for route in routes if route.access == EVALUATION) == EVALUATION_ROUTES


def test_every_other_route_names_its_role(routes: list[Route]) -> None:
    """A view without a marker is refused to all but admins, which is safe, and meant by nobody."""
    marked = {PUBLIC, EVALUATION, *Role}
    assert [route.rule for route in routes if route.access not in marked] == []


def test_viewers_write_nothing_but_their_own_account(routes: list[Route]) -> None:
    writes = keys(route for route in routes if route.writes and route.access == Role.VIEWER)
    assert writes == VIEWER_WRITES


def test_no_get_route_has_a_name_of_an_action(routes: list[Route]) -> None:
    """What changes something is a POST, so that no link and no crawler does it."""
    actions = ("retry", "cancel", "delete", "archive", "restore", "reset", "resolve", "sign-out")
    found = [
        route.rule
        for route in routes
        if not route.writes and route.rule.rsplit("/", 1)[-1] in actions
    ]
    assert found == []


def test_every_write_without_token_or_csrf_is_refused(
    routes: list[Route], admin: ConsoleClient
) -> None:
    admin.csrf = False
    answers = {
        f"{route.method} {route.rule}": admin.open(route.url, method=route.method).status_code
        for route in routes
        if route.writes
    }
    assert len(answers) > 10
    assert {line: status for line, status in answers.items() if status != 400} == {}


def test_a_forged_csrf_token_is_refused_too(routes: list[Route], admin: ConsoleClient) -> None:
    headers = {"X-CSRFToken": "forged"}
    answers = {
        admin.open(route.url, method=route.method, headers=headers).status_code
        for route in routes
        if route.writes
    }
    assert answers == {400}


def test_whoever_is_not_signed_in_sees_no_guarded_route(
    routes: list[Route], client: ConsoleClient
) -> None:
    wrong = []
    for route in routes:
        if route.access == PUBLIC:
            continue
        answer = client.open(route.url, method=route.method)
        if route.rule.startswith(API):
            refused = answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
        else:
            refused = answer.status_code == 302 and answer.location.startswith("/sign-in")
        if not refused:
            wrong.append(f"{route.method} {route.rule}: {answer.status}")
    assert wrong == []


def test_a_token_that_nobody_made_opens_nothing(routes: list[Route], client: ConsoleClient) -> None:
    headers = {"Authorization": "Bearer swy_invented"}
    wrong = [
        f"{route.method} {route.rule}"
        for route in routes
        if route.access != PUBLIC
        and client.open(route.url, method=route.method, headers=headers).status_code
        not in ({401} if route.rule.startswith(API) else {302})
    ]
    assert wrong == []


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_a_role_opens_no_route_that_demands_a_higher_one(
    role: Role, routes: list[Route], client: ConsoleClient
) -> None:
    client.sign_in(role)
    higher = [
        route
        for route in routes
        if route.access in set(Role) and not role.allows(Role(str(route.access)))
    ]
    assert higher
    wrong = [
        f"{route.method} {route.rule}"
        for route in higher
        if client.open(route.url, method=route.method).status_code != 403
    ]
    assert wrong == []


def test_every_answer_bears_the_security_headers(routes: list[Route], admin: ConsoleClient) -> None:
    lacking = []
    for route in routes:
        answer = admin.open(route.url, method=route.method)
        missing = [name for name, value in HEADERS.items() if answer.headers.get(name) != value]
        # Nothing that a person was shown may be kept by a cache that others ask too.
        if not {"private", "no-store"} & {part.strip() for part in cache_control(answer.headers)}:
            missing.append("Cache-Control")
        lacking += [f"{route.method} {route.rule}: {name}" for name in missing]
    assert lacking == []


def cache_control(headers: object) -> list[str]:
    assert hasattr(headers, "get")
    return str(headers.get("Cache-Control", "")).split(",")


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1/nowhere", "/static/nowhere.css"])
def test_errors_bear_them_too(path: str, client: ConsoleClient) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
