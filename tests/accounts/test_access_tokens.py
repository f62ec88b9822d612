"""Access tokens from the password to the last request that they open, over HTTP."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
import time_machine
from flask import Flask
from sqlalchemy.orm import Session

from tests.conftest import PASSWORD, SECRET, ConsoleClient
from tests.statements import statements
from webapp.accounts.administration import change_user, reset_password
from webapp.accounts.service import create_user, sign_out_everywhere
from webapp.accounts.signatures import LIFETIME, signing_key
from webapp.actors import COMMAND
from webapp.audit.service import history
from webapp.clock import now as clock_now
from webapp.db import db, transaction
from webapp.roles import Role

URL = "/api/v1/auth/token"
SHOWN = "/api/v1/token"


@pytest.fixture
def anna(app: Flask) -> int:
    return make_user(app, "anna", Role.OPERATOR)


def make_user(app: Flask, username: str, role: Role) -> int:
    with app.app_context(), transaction() as session:
        return create_user(
            session, username, password=PASSWORD, role=role, by=COMMAND, now=clock_now()
        ).id


def ask(client: ConsoleClient, username: str = "anna", password: str = PASSWORD) -> Any:
    return client.post(URL, json={"username": username, "password": password})


def bearer(client: ConsoleClient, username: str = "anna") -> dict[str, str]:
    return {"Authorization": f"Bearer {ask(client, username).get_json()['access_token']}"}


def status(client: ConsoleClient, headers: dict[str, str]) -> int:
    return client.get(SHOWN, headers=headers).status_code


def test_a_password_buys_a_token_of_fifteen_minutes(anna: int, client: ConsoleClient) -> None:
    answer = ask(client, " Anna ")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    told = answer.get_json()
    assert (told["token_type"], told["expires_in"], told["role"]) == ("Bearer", 900, "operator")
    headers = {"Authorization": f"Bearer {told['access_token']}"}
    shown = client.get(SHOWN, headers=headers).get_json()
    assert shown == {
        "name": "anna",
        "role": "operator",
        "environment": None,
        "expires_at": told["expires_at"],
    }


def test_the_token_says_what_it_must(anna: int, client: ConsoleClient) -> None:
    text = ask(client).get_json()["access_token"]
    assert jwt.get_unverified_header(text) == {"alg": "HS256", "typ": "JWT"}
    said = jwt.decode(text, signing_key(SECRET), algorithms=["HS256"], audience="switchyard-api")
    assert set(said) == {"iss", "aud", "sub", "role", "epoch", "iat", "exp", "jti"}
    assert (said["iss"], said["sub"], said["role"], said["epoch"]) == (
        "switchyard",
        str(anna),
        "operator",
        1,
    )
    assert said["exp"] - said["iat"] == LIFETIME.total_seconds()


def test_no_two_tokens_are_the_same(anna: int, client: ConsoleClient) -> None:
    with time_machine.travel(clock_now(), tick=False):
        assert bearer(client) != bearer(client)


def test_it_brings_no_cookie(anna: int, client: ConsoleClient) -> None:
    answer = ask(client)
    assert "Set-Cookie" not in answer.headers
    headers = {"Authorization": f"Bearer {answer.get_json()['access_token']}"}
    assert "Set-Cookie" not in client.get("/audit", headers=headers).headers


@pytest.mark.parametrize(
    ("username", "password"), [("anna", "hunter2 hunter2"), ("nobody", PASSWORD)]
)
def test_a_wrong_try_says_the_same_whether_the_name_exists(
    anna: int, client: ConsoleClient, username: str, password: str
) -> None:
    answer = ask(client, username, password)
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.get_json()["detail"] == "The username or the password is wrong."
    assert password not in answer.text


def test_five_wrong_tries_lock_here_and_on_the_page_alike(anna: int, client: ConsoleClient) -> None:
    codes = [ask(client, password="wrong").status_code for _ in range(5)]
    assert codes == [401, 401, 401, 401, 429]
    locked = ask(client)
    assert locked.status_code == 429
    assert 1 <= int(locked.headers["Retry-After"]) <= 30
    assert locked.content_type == "application/problem+json"
    page = client.post("/sign-in", data={"username": "anna", "password": PASSWORD})
    assert page.status_code == 429


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"username", "password"}),
        ({"username": "anna"}, {"password"}),
        ({"username": 7, "password": PASSWORD}, {"username"}),
        ({"username": "anna", "password": PASSWORD, "role": "admin"}, {"role"}),
        ({"username": "an\0na", "password": PASSWORD}, {"username"}),
    ],
)
def test_a_body_that_does_not_fit_names_its_fields(
    client: ConsoleClient, body: dict[str, Any], fields: set[str]
) -> None:
    answer = client.post(URL, json=body)
    assert answer.status_code == 422
    assert set(answer.get_json()["errors"]) == fields
    assert PASSWORD not in answer.text


def test_it_runs_out(anna: int, client: ConsoleClient) -> None:
    with time_machine.travel(clock_now(), tick=False) as clock:
        headers = bearer(client)
        clock.shift(LIFETIME - timedelta(seconds=1))
        assert status(client, headers) == 200
        clock.shift(1)
        assert status(client, headers) == 401


def sign_out(session: Session, user_id: int) -> None:
    sign_out_everywhere(session, user_id, by=COMMAND, now=clock_now())


def change_the_password(session: Session, user_id: int) -> None:
    reset_password(session, user_id, by=COMMAND, now=clock_now(), reason="Forgotten")


def deactivate(session: Session, user_id: int) -> None:
    change_user(session, user_id, active=False, by=COMMAND, now=clock_now(), reason="Left")


def promote(session: Session, user_id: int) -> None:
    change_user(session, user_id, role=Role.ADMIN, by=COMMAND, now=clock_now(), reason="Needed")


@pytest.mark.parametrize("act", [sign_out, change_the_password, deactivate, promote])
def test_it_is_refused_within_two_seconds_of(
    app: Flask, anna: int, client: ConsoleClient, act: Callable[[Session, int], None]
) -> None:
    with time_machine.travel(clock_now(), tick=False) as clock:
        headers = bearer(client)
        assert status(client, headers) == 200
        with app.app_context(), transaction() as session:
            act(session, anna)
        clock.shift(2)
        assert status(client, headers) == 401


def test_the_thread_of_the_process_finds_out_too(
    app: Flask, anna: int, client: ConsoleClient
) -> None:
    with time_machine.travel(clock_now(), tick=False) as clock:
        headers = bearer(client)
        assert status(client, headers) == 200
        with app.app_context(), transaction() as session:
            sign_out(session, anna)
        clock.shift(1)
        app.extensions["token_book"].refresh(clock_now())
        assert status(client, headers) == 401


def test_a_good_one_stays_good_over_the_rounds(
    app: Flask, anna: int, client: ConsoleClient
) -> None:
    with time_machine.travel(clock_now(), tick=False) as clock:
        headers = bearer(client)
        assert status(client, headers) == 200
        for _ in range(5):
            clock.shift(1)
            app.extensions["token_book"].refresh(clock_now())
            assert status(client, headers) == 200


def test_reactivating_an_account_does_not_bring_its_tokens_back(
    app: Flask, anna: int, client: ConsoleClient
) -> None:
    with time_machine.travel(clock_now(), tick=False) as clock:
        headers = bearer(client)
        for active in (False, True):
            with app.app_context(), transaction() as session:
                change_user(
                    session, anna, active=active, by=COMMAND, now=clock_now(), reason="Mistake"
                )
        clock.shift(2)
        assert status(client, headers) == 401
        assert status(client, bearer(client)) == 200


def test_an_account_that_was_deactivated_gets_none(
    app: Flask, anna: int, client: ConsoleClient
) -> None:
    with app.app_context(), transaction() as session:
        deactivate(session, anna)
    assert ask(client).status_code == 401


def test_a_request_that_shows_a_known_one_costs_no_statement(
    app: Flask, anna: int, client: ConsoleClient
) -> None:
    with time_machine.travel(clock_now(), tick=False):
        headers = bearer(client)
        assert status(client, headers) == 200
        with statements(app) as seen:
            assert status(client, headers) == 200
    assert seen == []


def test_it_opens_what_the_role_opens_and_no_more(app: Flask, client: ConsoleClient) -> None:
    make_user(app, "vera", Role.VIEWER)
    make_user(app, "root", Role.ADMIN)
    client.csrf = False
    flag = {"name": "by.token", "reason": "Needed"}
    url = "/api/v1/feature-flags"
    assert client.post(url, json=flag, headers=bearer(client, "vera")).status_code == 403
    assert client.post(url, json=flag, headers=bearer(client, "root")).status_code == 201
    with app.app_context():
        (entry,) = history(db.session, "flag", "by.token")
    assert (entry.actor_kind, entry.actor) == ("user", "root")


def test_it_evaluates_flags(app: Flask, anna: int, client: ConsoleClient) -> None:
    answer = client.post("/api/v1/feature-flags/nothing/evaluate", json={}, headers=bearer(client))
    assert (answer.status_code, answer.get_json()["reason"]) == (200, "not_found")


def test_the_audit_says_that_one_was_signed_and_not_what(
    app: Flask, anna: int, client: ConsoleClient
) -> None:
    text = ask(client).get_json()["access_token"]
    with app.app_context():
        entry = history(db.session, "user", "anna")[0]
    assert (entry.action, entry.actor_kind, entry.actor) == ("user.token_issued", "user", "anna")
    said = jwt.decode(text, options={"verify_signature": False})
    assert said["jti"] in repr(entry)
    assert text not in repr(entry)


def test_a_forged_one_is_refused_like_any_other(anna: int, client: ConsoleClient) -> None:
    text = ask(client).get_json()["access_token"]
    said = jwt.decode(text, options={"verify_signature": False}) | {"role": "admin"}
    for forged in (
        jwt.encode(said, "", algorithm="none"),
        jwt.encode(said, b"k" * 32, algorithm="HS256"),
        jwt.encode(said, SECRET.encode(), algorithm="HS256"),
        f"{text}x",
        "a.b.c",
        "..",
    ):
        answer = client.get(SHOWN, headers={"Authorization": f"Bearer {forged}"})
        assert answer.status_code == 401, forged
