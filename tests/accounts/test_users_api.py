"""Accounts and API tokens over JSON."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.conftest import PASSWORD, ConsoleClient
from webapp.audit.service import history
from webapp.db import db
from webapp.idempotency.models import IdempotencyKey
from webapp.roles import Role

USERS = "/api/v1/users"
TOKENS = "/api/v1/tokens"


def make_user(admin: ConsoleClient, username: str = "anna", **more: Any) -> Any:
    return admin.post(USERS, json={"username": username, "role": "viewer"} | more)


def make_token(admin: ConsoleClient, name: str = "shop", **more: Any) -> Any:
    return admin.post(TOKENS, json={"name": name, "role": "viewer"} | more)


def opens(app: Flask, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return app.test_client().get("/api/v1/token", headers=headers).status_code


def may_sign_in(app: Flask, username: str, password: str) -> bool:
    answer = app.test_client().post(
        "/api/v1/auth/token", json={"username": username, "password": password}
    )
    return answer.status_code == 200


def test_a_made_up_password_is_answered_once_and_works(app: Flask, admin: ConsoleClient) -> None:
    answer = make_user(admin)
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    told = answer.get_json()
    assert may_sign_in(app, "anna", told["password"])
    shown = admin.get(f"{USERS}/{told['id']}").get_json()
    assert shown["username"] == "anna"
    assert shown["last_sign_in_at"].endswith("Z")
    assert "password" not in shown


def test_a_password_that_was_sent_is_not_answered(app: Flask, admin: ConsoleClient) -> None:
    answer = make_user(admin, password=PASSWORD)
    assert "password" not in answer.get_json()
    assert PASSWORD not in answer.text
    assert may_sign_in(app, "anna", PASSWORD)


@pytest.mark.parametrize(
    ("body", "status", "fields"),
    [
        ({"role": "viewer"}, 422, {"username"}),
        ({"username": "anna"}, 422, {"role"}),
        ({"username": "anna", "role": "emperor"}, 422, {"role"}),
        ({"username": "a b", "role": "viewer"}, 422, {"username"}),
        ({"username": "anna", "role": "viewer", "password": "short"}, 422, {"password"}),
        ({"username": "anna", "role": "viewer", "more": 1}, 422, {"more"}),
        ({"username": "admin", "role": "viewer"}, 409, set()),
    ],
)
def test_a_refused_account_names_each_field(
    admin: ConsoleClient, body: dict[str, Any], status: int, fields: set[str]
) -> None:
    answer = admin.post(USERS, json=body)
    assert answer.status_code == status
    assert set(answer.get_json().get("errors", {})) == fields


def test_accounts_are_listed_by_name_and_narrowed(admin: ConsoleClient) -> None:
    for name in ("bert", "anna"):
        make_user(admin, name)
    listed = admin.get(USERS, query_string={"limit": 2}).get_json()
    assert [item["username"] for item in listed["items"]] == ["admin", "anna"]
    assert (listed["total"], listed["capped"]) == (3, False)
    rest = admin.get(USERS, query_string={"skip": 2}).get_json()
    assert [item["username"] for item in rest["items"]] == ["bert"]
    some = admin.get(USERS, query_string={"q": "BER", "active": "true", "role": "viewer"})
    assert [item["username"] for item in some.get_json()["items"]] == ["bert"]


@pytest.mark.parametrize(
    "query",
    [{"role": "emperor"}, {"active": "maybe"}, {"skip": "-1"}, {"limit": "501"}, {"limit": "x"}],
)
def test_a_query_that_does_not_fit_is_refused(admin: ConsoleClient, query: dict[str, str]) -> None:
    assert admin.get(USERS, query_string=query).status_code == 422


def test_fields_are_changed_together_and_audited(app: Flask, admin: ConsoleClient) -> None:
    user = make_user(admin, password=PASSWORD).get_json()
    body = {"role": "operator", "active": False, "password": "", "reason": "Leaves"}
    answer = admin.patch(f"{USERS}/{user['id']}", json=body)
    assert answer.status_code == 200
    told = answer.get_json()
    assert (told["role"], told["active"]) == ("operator", False)
    assert not may_sign_in(app, "anna", told["password"])
    back = admin.patch(f"{USERS}/{user['id']}", json={"active": True, "reason": "Back"})
    assert "password" not in back.get_json()
    assert may_sign_in(app, "anna", told["password"])
    with app.app_context():
        entries = history(db.session, "user", "anna")
    assert {entry.actor for entry in entries} == {"admin", "anna"}
    assert told["password"] not in repr(entries)


def test_of_several_changes_one_that_is_refused_undoes_the_others(
    admin: ConsoleClient,
) -> None:
    user = make_user(admin).get_json()
    body = {"role": "operator", "password": "short", "reason": "Both"}
    answer = admin.patch(f"{USERS}/{user['id']}", json=body)
    assert answer.status_code == 422
    assert admin.get(f"{USERS}/{user['id']}").get_json()["role"] == "viewer"


@pytest.mark.parametrize("body", [{}, {"reason": "Nothing"}, {"role": "admin"}, {"role": 7}])
def test_a_change_needs_something_to_change_and_a_reason(
    admin: ConsoleClient, body: dict[str, Any]
) -> None:
    user = make_user(admin).get_json()
    assert admin.patch(f"{USERS}/{user['id']}", json=body).status_code == 422


def test_the_last_admin_cannot_be_lost(admin: ConsoleClient) -> None:
    (me,) = admin.get(USERS).get_json()["items"]
    for change in ({"role": "viewer"}, {"active": False}):
        answer = admin.patch(f"{USERS}/{me['id']}", json=change | {"reason": "Enough"})
        assert answer.status_code == 409
        assert "the last active admin" in answer.get_json()["detail"]


def test_signing_somebody_out_ends_their_sessions(app: Flask, admin: ConsoleClient) -> None:
    user = make_user(admin, password=PASSWORD).get_json()
    browser = app.test_client()
    browser.post("/sign-in", data={"username": "anna", "password": PASSWORD})
    assert browser.get("/account").status_code == 200
    url = f"{USERS}/{user['id']}/sign-out"
    assert admin.post(url, json={}).status_code == 422
    assert admin.post(url, json={"reason": "A lost laptop"}).status_code == 200
    assert browser.get("/account").status_code == 302


def test_a_token_is_answered_once_and_works_until_it_is_revoked(
    app: Flask, admin: ConsoleClient
) -> None:
    answer = make_token(admin, environment="staging", expires_at="2999-01-01T00:00:00+01:00")
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    told = answer.get_json()
    assert (told["name"], told["environment"], told["state"]) == ("shop", "staging", "good")
    assert told["expires_at"] == "2998-12-31T23:00:00Z"
    assert told["token"].startswith(told["prefix"])
    assert opens(app, told["token"]) == 200
    listed = admin.get(TOKENS)
    assert told["token"] not in listed.text
    assert "token_hash" not in listed.text

    revoked = admin.delete(f"{TOKENS}/{told['id']}", query_string={"reason": "Found on a wiki"})
    assert (revoked.status_code, revoked.data) == (204, b"")
    app.extensions["token_book"].stop()
    assert opens(app, told["token"]) == 401
    (item,) = admin.get(TOKENS, query_string={"state": "revoked"}).get_json()["items"]
    assert (item["id"], item["state"]) == (told["id"], "revoked")
    assert admin.get(TOKENS, query_string={"state": "good"}).get_json()["items"] == []
    with app.app_context():
        assert history(db.session, "token", "shop")[0].reason == "Found on a wiki"


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"json": {}},
        {"query_string": {"reason": " "}},
        {"json": {"reason": "x" * 501}},
        {"json": {"reason": "a\0b"}},
    ],
)
def test_a_token_is_not_revoked_without_a_reason(
    app: Flask, admin: ConsoleClient, sent: dict[str, Any]
) -> None:
    told = make_token(admin).get_json()
    answer = admin.delete(f"{TOKENS}/{told['id']}", **sent)
    assert answer.status_code == 422
    assert set(answer.get_json()["errors"]) == {"reason"}
    assert opens(app, told["token"]) == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"role": "emperor"}, 422),
        ({"role": "viewer", "expires_at": "2001-01-01T00:00:00Z"}, 422),
        ({"role": "viewer", "expires_at": "2999-01-01"}, 422),
        ({"role": "viewer", "name": "x" * 101}, 422),
        ({"role": "viewer", "environment": "x" * 65}, 422),
        ({"role": "viewer", "name": "taken"}, 409),
    ],
)
def test_a_refused_token_is_told_why(
    admin: ConsoleClient, body: dict[str, Any], status: int
) -> None:
    make_token(admin, "taken")
    answer = admin.post(TOKENS, json=body)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_only_admins_see_accounts_and_tokens(client: ConsoleClient, role: Role) -> None:
    client.sign_in(role)
    for url in (USERS, f"{USERS}/1", TOKENS):
        assert client.get(url).status_code == 403


def test_what_does_not_exist_is_not_found(admin: ConsoleClient) -> None:
    body = {"role": "viewer", "reason": "Needed"}
    assert admin.get(f"{USERS}/999999").status_code == 404
    assert admin.patch(f"{USERS}/999999", json=body).status_code == 404
    assert admin.post(f"{USERS}/999999/sign-out", json={"reason": "x"}).status_code == 404
    assert admin.delete(f"{TOKENS}/999999").status_code == 404


@pytest.mark.parametrize(
    ("url", "body", "secret"),
    [
        (USERS, {"username": "anna", "role": "viewer"}, "password"),
        (TOKENS, {"name": "shop", "role": "viewer"}, "token"),
    ],
)
def test_a_secret_is_not_kept_for_whoever_asks_again(
    app: Flask, admin: ConsoleClient, url: str, body: dict[str, str], secret: str
) -> None:
    headers = {"Idempotency-Key": "once-only"}
    first = admin.post(url, json=body, headers=headers)
    assert first.status_code == 201
    again = admin.post(url, json=body, headers=headers)
    assert again.status_code == 409
    assert "for once only" in again.get_json()["detail"]
    with app.app_context():
        (kept,) = db.session.scalars(select(IdempotencyKey.body)).all()
    assert kept is None
    assert first.get_json()[secret] not in again.text


def test_what_holds_no_secret_is_answered_again_to_whoever_asks_again(
    app: Flask, admin: ConsoleClient
) -> None:
    body = {"username": "anna", "role": "viewer", "password": PASSWORD}
    made, again = (
        admin.post(USERS, json=body, headers={"Idempotency-Key": "make-anna"}) for _ in range(2)
    )
    assert (made.status_code, again.status_code) == (201, 201)
    assert (again.data, again.headers["Idempotency-Replayed"]) == (made.data, "true")
    assert "no-store" not in made.headers.get("Cache-Control", "")
    url = f"{USERS}/{made.get_json()['id']}"
    change = {"role": "operator", "reason": "Needed"}
    changed, again = (
        admin.patch(url, json=change, headers={"Idempotency-Key": "promote"}) for _ in range(2)
    )
    assert (changed.status_code, again.status_code) == (200, 200)
    assert again.data == changed.data


def test_a_made_up_password_of_a_change_is_not_kept(app: Flask, admin: ConsoleClient) -> None:
    user = make_user(admin, password=PASSWORD).get_json()
    change = {"password": "", "reason": "Forgotten"}
    first, again = (
        admin.patch(f"{USERS}/{user['id']}", json=change, headers={"Idempotency-Key": "once-only"})
        for _ in range(2)
    )
    assert (first.status_code, again.status_code) == (200, 409)
    assert first.headers["Cache-Control"] == "no-store"
    assert may_sign_in(app, "anna", first.get_json()["password"])
    with app.app_context():
        assert db.session.scalars(select(IdempotencyKey.body)).all() == [None]
