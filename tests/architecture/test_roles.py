"""Every route asked by everybody: whoever may is let in, whoever may not is kept out."""

from collections.abc import Callable
from typing import Final

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.architecture.routes import Route, routes_of
from tests.conftest import ConsoleClient
from tests.jobs.test_api import bearer
from webapp.roles import Role
from webapp.web.access import EVALUATION, PUBLIC

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

# They would sign out whoever asks; a program has no account that it could be about.
OF_PERSONS: Final = ("/account", "/sign-out")

Ask = Callable[[Route], TestResponse]


def demanded(route: Route) -> Role:
    """The role that a route demands of those who are known."""
    return Role.VIEWER if route.access in {PUBLIC, EVALUATION} else Role(str(route.access))


def is_kept_out(answer: TestResponse) -> bool:
    sent_to_the_door = answer.status_code in {204, 302} and "/sign-in" in (
        answer.headers.get("Location", "") + answer.headers.get("HX-Redirect", "")
    )
    return answer.status_code in {401, 403} or sent_to_the_door


def wrongly_answered(app: Flask, ask: Ask, role: Role) -> list[str]:
    """Go through all routes, and name those whose door was not as it should be."""
    wrong = []
    for route in routes_of(app):
        if route.rule.startswith(OF_PERSONS):
            continue
        answer = ask(route)
        if is_kept_out(answer) is role.allows(demanded(route)) or answer.status_code >= 500:
            wrong.append(f"{route.method} {route.rule}: {answer.status}")
    return wrong


@pytest.mark.parametrize("role", list(Role))
def test_a_person_gets_in_where_the_role_says_so_and_nowhere_else(
    app: Flask, client: ConsoleClient, role: Role
) -> None:
    client.sign_in(role)

    def ask(route: Route) -> TestResponse:
        return client.open(route.url, method=route.method)

    assert wrongly_answered(app, ask, role) == []
    assert client.get("/account").status_code == 200


@pytest.mark.parametrize("role", list(Role))
def test_a_token_gets_in_where_its_role_says_so_and_nowhere_else(app: Flask, role: Role) -> None:
    headers = bearer(app, role)
    program = FlaskClient(app, use_cookies=False)

    def ask(route: Route) -> TestResponse:
        return program.open(route.url, method=route.method, headers=headers)

    assert wrongly_answered(app, ask, role) == []


@pytest.mark.parametrize("role", list(Role))
def test_a_token_has_no_account(app: Flask, role: Role) -> None:
    headers = bearer(app, role)
    program = FlaskClient(app, use_cookies=False)
    routes = [route for route in routes_of(app) if route.rule.startswith("/account")]
    assert len(routes) > 2
    answers = {program.open(item.url, method=item.method, headers=headers) for item in routes}
    assert {answer.status_code for answer in answers} == {403}
