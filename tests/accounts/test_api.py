"""What a program is told of its own token."""

from datetime import timedelta

from flask import Flask

from tests.conftest import ConsoleClient
from webapp.accounts.service import create_token, revoke_token
from webapp.actors import COMMAND
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.roles import Role

URL = "/api/v1/token"


def make_token(app: Flask, environment: str | None = None, days: int | None = None) -> str:
    with app.app_context(), transaction() as session:
        return create_token(
            session,
            "shop",
            role=Role.OPERATOR,
            environment=environment,
            expires_at=clock_now() + timedelta(days=days) if days else None,
            by=COMMAND,
            now=clock_now(),
        ).text


def shown(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_program_learns_what_its_token_is_worth(app: Flask, client: ConsoleClient) -> None:
    answer = client.get(URL, headers=shown(make_token(app, "staging", days=1)))
    assert answer.status_code == 200
    told = answer.get_json()
    assert told.pop("expires_at").endswith("Z")
    assert told == {"name": "shop", "role": "operator", "environment": "staging"}


def test_what_does_not_bind_a_token_is_null(app: Flask, client: ConsoleClient) -> None:
    told = client.get(URL, headers=shown(make_token(app))).get_json()
    assert (told["environment"], told["expires_at"]) == (None, None)


def test_a_token_that_is_worth_nothing_is_told_so(app: Flask, client: ConsoleClient) -> None:
    token = make_token(app)
    with app.app_context(), transaction() as session:
        revoke_token(session, "shop", by=COMMAND, now=clock_now(), reason="Leaked")
    assert client.get(URL, headers=shown(token)).status_code == 401
    assert client.get(URL, headers=shown("swy_invented")).status_code == 401


def test_a_person_learns_their_role(viewer: ConsoleClient) -> None:
    assert viewer.get(URL).get_json() == {
        "name": "viewer",
        "role": "viewer",
        "environment": None,
        "expires_at": None,
    }
