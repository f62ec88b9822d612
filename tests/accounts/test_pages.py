"""The door as a browser meets it: sign-in, sessions, CSRF, roles, the account page, tokens."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from webapp.accounts.passwords import password_matches
from webapp.accounts.queries import find_user
from webapp.accounts.service import change_password, create_token, revoke_token
from webapp.actors import COMMAND
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.roles import Role

PASSWORD = "correct horse battery"
NEW_PASSWORD = "another long passphrase"


def sign_in(browser: FlaskClient, password: str = PASSWORD, **more: str) -> Any:
    return browser.post("/sign-in", data={"username": "viewer", "password": password} | more)


def cookie_name(app: Flask) -> str:
    return str(app.config["SESSION_COOKIE_NAME"])


def cookie_of(browser: FlaskClient) -> str:
    cookie = browser.get_cookie(cookie_name(browser.application))
    assert cookie is not None
    return cookie.value


def with_cookie(app: Flask, value: str) -> FlaskClient:
    browser = app.test_client()
    browser.set_cookie(cookie_name(app), value)
    return browser


def is_signed_in(browser: FlaskClient) -> bool:
    return browser.get("/account").status_code == HTTPStatus.OK


def test_whoever_is_not_signed_in_is_sent_to_the_door_and_back(viewer: Any, app: Flask) -> None:
    browser = app.test_client()
    sent = browser.get("/audit?subject=flag")
    assert sent.status_code == 302
    assert sent.headers["Location"] == "/sign-in?next=/audit?subject%3Dflag"
    form = browser.get(sent.headers["Location"])
    assert 'name="next" value="/audit?subject=flag"' in form.text
    entered = sign_in(browser, next="/audit?subject=flag")
    assert (entered.status_code, entered.headers["Location"]) == (303, "/audit?subject=flag")
    assert browser.get("/audit?subject=flag").status_code == 200


def test_htmx_is_sent_to_the_door_as_a_whole_page(client: Any) -> None:
    answer = client.htmx("/audit", "audit-table")
    assert answer.status_code == 204
    assert answer.headers["HX-Redirect"].startswith("/sign-in")


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "https://evil.example", "//[", "//\u2100.com"],
)
def test_the_door_leads_nowhere_else(viewer: Any, app: Flask, target: str) -> None:
    browser = app.test_client()
    assert sign_in(browser, next=target).headers["Location"] == "/"
    assert browser.get("/sign-in", query_string={"next": target}).headers["Location"] == "/"


def test_the_name_may_be_written_in_any_case(viewer: Any, app: Flask) -> None:
    browser = app.test_client()
    browser.post("/sign-in", data={"username": " Viewer", "password": PASSWORD})
    assert is_signed_in(browser)


@pytest.mark.parametrize("username", ["viewer", "nobody"])
def test_a_wrong_try_says_the_same_whether_the_name_exists(
    viewer: Any, app: Flask, username: str
) -> None:
    answer = app.test_client().post("/sign-in", data={"username": username, "password": "wrong"})
    assert answer.status_code == 422
    assert "The username or the password is wrong." in answer.text
    assert f'value="{username}"' in answer.text
    assert "wrong&#34;" not in answer.text


def test_what_was_typed_is_shown_as_text(client: Any) -> None:
    answer = client.post("/sign-in", data={"username": '"><script>', "password": "x"})
    assert "<script>&#34;" not in answer.text
    assert "&#34;&gt;&lt;script&gt;" in answer.text


def test_the_fifth_wrong_try_locks_and_says_for_how_long(viewer: Any, app: Flask) -> None:
    browser = app.test_client()
    answers = [sign_in(browser, "wrong") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [422, 422, 422, 422, 429]
    locked = sign_in(browser)
    assert locked.status_code == 429
    assert 1 <= int(locked.headers["Retry-After"]) <= 30
    assert "Too many failed tries. Try again in " in locked.text
    assert not is_signed_in(browser)


def test_a_lock_ends_by_itself(viewer: Any, app: Flask) -> None:
    browser = app.test_client()
    with time_machine.travel(clock_now(), tick=False) as clock:
        for _ in range(5):
            sign_in(browser, "wrong")
        clock.shift(30)
        assert sign_in(browser).status_code == 303


def test_a_password_that_is_changed_while_it_is_compared_opens_nothing(
    viewer: Any, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change_and_compare(password: str, kept: str | None) -> bool:
        with transaction() as session:
            user = find_user(session, "viewer")
            assert user is not None
            change_password(session, user.id, NEW_PASSWORD, by=COMMAND, now=clock_now())
        return password_matches(password, kept)

    monkeypatch.setattr("webapp.accounts.sign_in.password_matches", change_and_compare)
    browser = app.test_client()
    assert sign_in(browser).status_code == 422
    assert not is_signed_in(browser)
    monkeypatch.undo()
    assert sign_in(browser, NEW_PASSWORD).status_code == 303
    assert is_signed_in(browser)


def test_signing_in_keeps_nothing_of_the_session_before(viewer: Any, app: Flask) -> None:
    browser = app.test_client()
    with browser.session_transaction() as planted:
        planted["planted"] = "by an attacker"
        planted["csrf_token"] = "0" * 40
    sign_in(browser)
    with browser.session_transaction() as session:
        assert "planted" not in session
        assert session.get("csrf_token") != "0" * 40


def test_signing_in_again_ends_the_session_before(viewer: Any, app: Flask) -> None:
    copied = cookie_of(viewer)
    assert sign_in(viewer).status_code == 303
    assert "You are signed in at 1 place." in viewer.get("/account").text
    assert not is_signed_in(with_cookie(app, copied))


def test_each_sign_in_has_a_session_of_its_own(viewer: Any, app: Flask) -> None:
    names = set()
    for _ in range(2):
        browser = app.test_client()
        sign_in(browser)
        with browser.session_transaction() as session:
            names.add(session["_user_id"])
    assert len(names) == 2


def test_a_copied_cookie_is_worthless_after_sign_out(viewer: Any, app: Flask) -> None:
    copied = cookie_of(viewer)
    assert is_signed_in(with_cookie(app, copied))
    assert viewer.post("/sign-out").status_code == 303
    assert not is_signed_in(viewer)
    assert not is_signed_in(with_cookie(app, copied))


def test_signing_out_here_leaves_other_places_signed_in(viewer: Any, app: Flask) -> None:
    elsewhere = app.test_client()
    sign_in(elsewhere)
    viewer.post("/sign-out")
    assert is_signed_in(elsewhere)


def test_a_dead_cookie_is_taken_back(viewer: Any, app: Flask) -> None:
    copied = cookie_of(viewer)
    viewer.post("/sign-out")
    answer = with_cookie(app, copied).get("/audit")
    assert f"{cookie_name(app)}=;" in answer.headers["Set-Cookie"]


def test_signing_out_everywhere_ends_every_place(viewer: Any, app: Flask) -> None:
    elsewhere = app.test_client()
    sign_in(elsewhere)
    copied = cookie_of(elsewhere)
    assert viewer.post("/account/sign-out-everywhere").headers["Location"] == "/sign-in"
    assert not is_signed_in(viewer)
    assert not is_signed_in(elsewhere)
    assert not is_signed_in(with_cookie(app, copied))


def test_a_cookie_that_was_changed_is_worthless(viewer: Any, app: Flask) -> None:
    copied = cookie_of(viewer)
    changed = ("A" if copied[0] != "A" else "B") + copied[1:]
    assert not is_signed_in(with_cookie(app, changed))


def test_an_idle_session_ends_and_a_busy_one_goes_on(viewer: Any, app: Flask) -> None:
    idle = app.extensions["settings"].session_idle_seconds
    busy = app.test_client()
    with time_machine.travel(clock_now(), tick=False) as clock:
        sign_in(busy)
        copied = cookie_of(busy)
        clock.shift(idle * 0.75)
        assert is_signed_in(busy)
        clock.shift(idle * 0.75)
        assert is_signed_in(busy)
        assert not is_signed_in(with_cookie(app, copied))


def test_the_cookie_is_for_the_server_alone(viewer: Any, app: Flask) -> None:
    cookie = sign_in(app.test_client()).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Expires=" in cookie


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}], ids=["form", "htmx"])
@pytest.mark.parametrize(
    "path", ["/sign-in", "/sign-out", "/account/password", "/account/sign-out-everywhere"]
)
def test_a_write_without_its_form_token_is_refused(
    viewer: Any, path: str, headers: dict[str, str]
) -> None:
    viewer.csrf = False
    answer = viewer.post(path, data={"username": "viewer"}, headers=headers)
    assert answer.status_code == 400
    assert "CSRF" in answer.text
    assert is_signed_in(viewer)


def test_the_form_token_of_another_session_is_refused(viewer: Any, app: Flask) -> None:
    elsewhere = app.test_client()
    elsewhere.get("/sign-in")
    with elsewhere.session_transaction() as session:
        session["csrf_token"] = "1" * 40
    foreign = elsewhere.csrf_token()  # type: ignore[attr-defined]
    answer = viewer.post("/account/sign-out-everywhere", headers={"X-CSRFToken": foreign})
    assert answer.status_code == 400


def test_the_account_page_shows_its_owner(viewer: Any) -> None:
    page = viewer.get("/account")
    assert page.status_code == 200
    assert "You are signed in at 1 place." in page.text
    assert "Viewer" in page.text


def change(browser: Any, **fields: str) -> Any:
    form = {"current": PASSWORD, "password": NEW_PASSWORD, "repeated": NEW_PASSWORD} | fields
    return browser.post("/account/password", data=form)


def test_a_new_password_signs_out_other_places_only(viewer: Any, app: Flask) -> None:
    elsewhere = app.test_client()
    sign_in(elsewhere)
    assert change(viewer).status_code == 303
    assert is_signed_in(viewer)
    assert not is_signed_in(elsewhere)
    assert sign_in(app.test_client()).status_code == 422
    assert sign_in(app.test_client(), NEW_PASSWORD).status_code == 303


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"current": "wrong"}, "This is not the password."),
        ({"repeated": "something else"}, "The two are not the same."),
        ({"password": "short", "repeated": "short"}, "Use at least 12 characters."),
    ],
)
def test_a_refused_password_changes_nothing(
    viewer: Any, app: Flask, fields: dict[str, str], message: str
) -> None:
    answer = change(viewer, **fields)
    assert answer.status_code == 422
    assert message in answer.text
    assert is_signed_in(viewer)
    assert sign_in(app.test_client()).status_code == 303


def test_guessing_the_present_password_locks(viewer: Any) -> None:
    codes = [change(viewer, current="wrong").status_code for _ in range(6)]
    assert codes == [422, 422, 422, 422, 429, 429]


def test_a_new_password_that_does_not_do_is_no_try(viewer: Any, app: Flask) -> None:
    refused = [change(viewer, password="short", repeated="short") for _ in range(6)]
    assert {answer.status_code for answer in refused} == {422}
    assert sign_in(app.test_client()).status_code == 303
    assert change(viewer).status_code == 303


@pytest.mark.parametrize(
    ("role", "method", "path", "may"),
    [
        (Role.VIEWER, "GET", "/audit", True),
        (Role.VIEWER, "GET", "/account", True),
        (Role.VIEWER, "POST", "/jobs/1/retry", False),
        (Role.VIEWER, "POST", "/jobs/1/cancel", False),
        (Role.VIEWER, "GET", "/flags/new", False),
        (Role.OPERATOR, "GET", "/audit", True),
        (Role.OPERATOR, "POST", "/jobs/1/retry", True),
        (Role.OPERATOR, "POST", "/jobs/1/cancel", False),
        (Role.OPERATOR, "GET", "/flags/new", False),
        (Role.ADMIN, "POST", "/jobs/1/retry", True),
        (Role.ADMIN, "POST", "/jobs/1/cancel", True),
        (Role.ADMIN, "GET", "/flags/new", True),
    ],
)
def test_each_role_may_what_it_may(
    client: Any, role: Role, method: str, path: str, may: bool
) -> None:
    answer = client.sign_in(role).open(path, method=method)
    assert (answer.status_code != HTTPStatus.FORBIDDEN) == may
    assert answer.status_code in ({200, 404} if may else {403})


def make_token(app: Flask, role: Role, **more: Any) -> dict[str, str]:
    with app.app_context(), transaction() as session:
        token = create_token(session, "deploy", role=role, by=COMMAND, now=clock_now(), **more)
    return {"Authorization": f"Bearer {token.text}"}


@pytest.mark.parametrize(
    ("role", "method", "path", "status"),
    [
        (Role.VIEWER, "GET", "/api/v1/feature-flags", 200),
        (Role.VIEWER, "POST", "/api/v1/feature-flags", 403),
        (Role.OPERATOR, "POST", "/api/v1/feature-flags", 403),
        (Role.ADMIN, "POST", "/api/v1/feature-flags", 422),
    ],
)
def test_a_token_may_what_its_role_may(
    app: Flask, client: Any, role: Role, method: str, path: str, status: int
) -> None:
    headers = make_token(app, role)
    client.csrf = False
    answer = client.open(
        path, method=method, headers=headers, json={} if method == "POST" else None
    )
    assert answer.status_code == status


def test_a_program_without_a_good_token_is_told_so(app: Flask, client: Any) -> None:
    for headers in ({}, {"Authorization": "Bearer swy_nobody"}, {"Authorization": "Basic eDp5"}):
        answer = client.get("/api/v1/feature-flags", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.content_type == "application/problem+json"


def test_a_token_is_refused_once_it_ran_out(app: Flask, client: Any) -> None:
    with time_machine.travel(clock_now(), tick=False) as clock:
        headers = make_token(app, Role.VIEWER, expires_at=clock_now() + timedelta(days=1))
        assert client.get("/api/v1/feature-flags", headers=headers).status_code == 200
        clock.shift(86_400)
        assert client.get("/api/v1/feature-flags", headers=headers).status_code == 401


def test_a_token_is_refused_once_it_is_revoked(app: Flask, client: Any) -> None:
    with time_machine.travel(clock_now(), tick=False) as clock:
        headers = make_token(app, Role.VIEWER)
        assert client.get("/api/v1/feature-flags", headers=headers).status_code == 200
        with app.app_context(), transaction() as session:
            revoke_token(session, "deploy", by=COMMAND, now=clock_now(), reason="Leaked")
        clock.shift(2)
        assert client.get("/api/v1/feature-flags", headers=headers).status_code == 401


def test_a_bad_token_is_not_saved_by_a_good_cookie(viewer: Any) -> None:
    answer = viewer.get("/api/v1/feature-flags", headers={"Authorization": "Bearer swy_nobody"})
    assert answer.status_code == 401


def test_a_program_has_no_account_page(app: Flask, client: Any) -> None:
    headers = make_token(app, Role.ADMIN)
    assert client.get("/account", headers=headers).status_code == 403
