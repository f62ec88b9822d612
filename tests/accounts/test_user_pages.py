"""The pages of people and tokens, as forms without scripts, and a person's own sessions."""

import re
from typing import Any

import pytest
import time_machine
from flask import Flask

from tests.conftest import PASSWORD, ConsoleClient
from tests.odd_texts import ODD_TEXTS, Fields, ask_with_all, ask_with_each
from webapp.accounts.queries import MOST_SESSIONS, find_user
from webapp.accounts.service import begin_session
from webapp.audit.service import history
from webapp.clock import now as clock_now
from webapp.db import db, transaction
from webapp.roles import Role

USERS = "/settings/users"
TOKENS = "/settings/tokens"
SHOWN_ONCE = re.compile(r'<pre class="code__text" id="made-\w+"[^>]*>([^<]+)</pre>')


def make_user(admin: ConsoleClient, username: str = "anna", **more: str) -> Any:
    return admin.post(USERS, data={"username": username, "role": "viewer"} | more)


def make_token(admin: ConsoleClient, name: str = "shop", **more: str) -> Any:
    return admin.post(TOKENS, data={"name": name, "role": "viewer", "days": "90"} | more)


def url_of(admin: ConsoleClient, username: str) -> str:
    found = re.search(rf'href="({USERS}/\d+)"[^>]*>{username}<', admin.get(USERS).text)
    assert found, username
    return found[1]


def shown(answer: Any) -> str:
    found = SHOWN_ONCE.search(answer.text)
    assert found, answer.text
    return found[1]


def enters(app: Flask, password: str, username: str = "anna") -> int:
    data = {"username": username, "password": password}
    return app.test_client().post("/sign-in", data=data).status_code


def test_a_password_that_was_made_up_is_shown_once_and_works(
    app: Flask, admin: ConsoleClient
) -> None:
    answer = make_user(admin)
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    password = shown(answer)
    assert enters(app, password) == 303
    assert password not in admin.get(url_of(admin, "anna")).text


def test_a_password_that_was_typed_is_not_shown(app: Flask, admin: ConsoleClient) -> None:
    answer = make_user(admin, password=PASSWORD)
    assert PASSWORD not in answer.text
    assert enters(app, PASSWORD) == 303


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"username": "a b"}, 422, "Use letters, digits and"),
        ({"username": "admin"}, 409, "There is an account admin already."),
        ({"password": "short"}, 422, "Use at least 12 characters."),
        ({"role": "emperor"}, 422, "Choose one of the roles."),
    ],
)
def test_a_refused_account_keeps_what_was_typed_but_the_password(
    admin: ConsoleClient, fields: dict[str, str], status: int, message: str
) -> None:
    answer = admin.post(USERS, data={"username": "anna", "role": "operator"} | fields)
    assert answer.status_code == status
    assert message in answer.text
    assert f'value="{fields.get("username", "anna")}"' in answer.text
    assert 'value="short"' not in answer.text


def test_the_list_is_narrowed_by_the_address(admin: ConsoleClient) -> None:
    for name in ("anna", "bert"):
        make_user(admin, name)
    admin.post(f"{url_of(admin, 'bert')}/deactivate", data={"reason": "Left"})
    narrowed = {
        "q=ANN": ["anna"],
        "role=admin": ["admin"],
        "state=inactive": ["bert"],
        "state=active": ["admin", "anna"],
        "skip=2": ["bert"],
        "role=emperor&state=odd&skip=x": ["admin", "anna", "bert"],
    }
    for query, names in narrowed.items():
        page = admin.get(f"{USERS}?{query}").text
        assert re.findall(r'data-jump="User">([^<]+)<', page) == names, query


def test_another_role_holds_at_once(app: Flask, admin: ConsoleClient) -> None:
    make_user(admin, password=PASSWORD)
    url = url_of(admin, "anna")
    browser = app.test_client()
    browser.post("/sign-in", data={"username": "anna", "password": PASSWORD})
    assert browser.get(USERS).status_code == 403
    assert admin.post(f"{url}/role", data={"role": "admin"}).status_code == 422
    changed = admin.post(f"{url}/role", data={"role": "admin", "reason": "On call"})
    assert (changed.status_code, changed.location) == (303, url)
    assert browser.get(USERS).status_code == 200
    with app.app_context():
        assert history(db.session, "user", "anna")[0].reason == "On call"


def test_the_last_admin_cannot_be_taken_away(admin: ConsoleClient) -> None:
    url = url_of(admin, "admin")
    role = admin.post(f"{url}/role", data={"role": "viewer", "reason": "Enough"})
    assert role.status_code == 409
    assert "admin is the last active admin" in role.text
    assert 'value="Enough"' in role.text
    gone = admin.post(f"{url}/deactivate", data={"reason": "Enough"})
    assert gone.status_code == 409
    assert "admin is the last active admin" in gone.text
    assert admin.get(USERS).status_code == 200


def test_who_is_deactivated_is_out_until_reactivated(app: Flask, admin: ConsoleClient) -> None:
    make_user(admin, password=PASSWORD)
    url = url_of(admin, "anna")
    browser = app.test_client()
    browser.post("/sign-in", data={"username": "anna", "password": PASSWORD})
    asked = admin.post(f"{url}/deactivate")
    assert (asked.status_code, "Deactivate anna?" in asked.text) == (422, True)
    assert browser.get("/account").status_code == 200
    assert admin.post(f"{url}/deactivate", data={"reason": "Left"}).status_code == 303
    assert browser.get("/account").status_code == 302
    assert enters(app, PASSWORD) == 422
    assert admin.post(f"{url}/reactivate", data={"reason": "Back"}).status_code == 303
    assert enters(app, PASSWORD) == 303


def test_an_admin_signs_somebody_out(app: Flask, admin: ConsoleClient) -> None:
    make_user(admin, password=PASSWORD)
    browser = app.test_client()
    browser.post("/sign-in", data={"username": "anna", "password": PASSWORD})
    url = f"{url_of(admin, 'anna')}/end-sessions"
    assert admin.post(url).status_code == 422
    assert admin.post(url, data={"reason": "A lost laptop"}).status_code == 303
    assert browser.get("/account").status_code == 302


def test_a_reset_password_is_shown_once(app: Flask, admin: ConsoleClient) -> None:
    make_user(admin, password=PASSWORD)
    url = f"{url_of(admin, 'anna')}/password"
    refused = admin.post(url, data={"password": "short", "reason": "Forgotten"})
    assert (refused.status_code, 'value="Forgotten"' in refused.text) == (422, True)
    assert admin.post(url).status_code == 422
    assert enters(app, PASSWORD) == 303
    password = shown(admin.post(url, data={"reason": "Forgotten"}))
    assert (enters(app, PASSWORD), enters(app, password)) == (422, 303)


def test_a_token_is_shown_once_and_revoked_with_a_reason(app: Flask, admin: ConsoleClient) -> None:
    answer = make_token(admin, environment="staging")
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    text = shown(answer)
    headers = {"Authorization": f"Bearer {text}"}
    program = app.test_client()
    assert program.get("/api/v1/token", headers=headers).get_json()["environment"] == "staging"
    page = admin.get(TOKENS).text
    assert text not in page
    assert text[:10] in page
    found = re.search(r'formaction="(/settings/tokens/\d+/revoke)"', page)
    assert found
    with time_machine.travel(clock_now(), tick=False) as clock:
        asked = admin.post(found[1])
        assert (asked.status_code, "Revoke shop?" in asked.text) == (422, True)
        assert admin.post(found[1], data={"reason": "Leaked"}).status_code == 303
        clock.shift(2)
        assert program.get("/api/v1/token", headers=headers).status_code == 401
    assert "Revoked" in admin.get(f"{TOKENS}?state=revoked").text
    assert "No token matches" in admin.get(f"{TOKENS}?state=good").text


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"name": "taken"}, 409, "There is a token taken already."),
        ({"name": "x" * 101}, 422, "Use at most 100 characters."),
        ({"environment": "x" * 65}, 422, "Use at most 64 characters."),
        ({"role": "emperor"}, 422, "Choose one of the roles."),
        ({"days": "-1"}, 422, "Choose one of these."),
    ],
)
def test_a_refused_token_keeps_what_was_typed(
    admin: ConsoleClient, fields: dict[str, str], status: int, message: str
) -> None:
    make_token(admin, "taken")
    answer = make_token(admin, **fields)
    assert answer.status_code == status
    assert message in answer.text
    assert f'value="{fields.get("name", "shop")}"' in answer.text


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_others_are_shown_neither_people_nor_tokens(client: ConsoleClient, role: Role) -> None:
    client.sign_in(role)
    tabs = client.get("/account").text
    assert USERS not in tabs
    assert TOKENS not in tabs
    assert "/settings/system" in tabs


def test_the_menu_marks_settings_on_each_of_its_pages(admin: ConsoleClient) -> None:
    for path in ("/account", USERS, TOKENS, "/settings/system"):
        found = re.search(
            r'href="/account" data-jump="Page" aria-current="page"', admin.get(path).text
        )
        assert found, path


def test_one_session_of_ones_own_is_ended(app: Flask, admin: ConsoleClient) -> None:
    elsewhere = app.test_client()
    agent = {"User-Agent": "Mozilla/5.0 (iPhone; CPU) Version/18.0 Safari/605.1"}
    elsewhere.post("/sign-in", data={"username": "admin", "password": PASSWORD}, headers=agent)
    page = admin.get("/account").text
    assert "Safari on iPhone" in page
    (url,) = re.findall(r'formaction="(/account/sessions/\w+/end)"', page)
    assert admin.post(url).status_code == 303
    assert elsewhere.get("/account").status_code == 302
    assert admin.get("/account").status_code == 200
    assert admin.post(url).status_code == 404


def test_the_last_use_of_a_session_is_noted_for_pages_and_not_for_polls(
    app: Flask, admin: ConsoleClient
) -> None:
    def last_use() -> str:
        page = admin.htmx("/account").text
        found = re.search(r'data-label="Last use"><time datetime="([^"]+)"', page)
        return found[1] if found else ""

    with time_machine.travel(clock_now(), tick=False) as clock:
        begun = last_use()
        clock.shift(600)
        admin.htmx("/settings/users", "users-table")
        assert last_use() == begun
        admin.get("/settings/users")
        assert last_use() != begun


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")
def test_every_form_answers_whatever_a_field_holds(admin: ConsoleClient, odd: bytes) -> None:
    make_user(admin, "anna")
    url = url_of(admin, "anna")
    good: Fields = {
        "username": "odd",
        "role": "viewer",
        "password": "",
        "reason": "Why not",
        "name": "odd",
        "environment": "",
        "days": "7",
    }
    # What each reads.
    places = {
        USERS: ("username", "role", "password", "reason"),
        TOKENS: ("name", "role", "environment", "days"),
        f"{url}/role": ("role", "reason"),
        f"{url}/password": ("password", "reason"),
        f"{url}/deactivate": ("reason",),
        f"{url}/reactivate": ("reason",),
        f"{url}/end-sessions": ("reason",),
    }
    for place, names in places.items():
        ask_with_each(admin.send_form, [place], good, names, odd)
    for place in (USERS, TOKENS):
        ask_with_all(admin.look_for, place, {}, ("q", "role", "state", "skip"), odd)


def test_every_place_is_counted_however_few_are_listed(app: Flask, admin: ConsoleClient) -> None:
    make_user(admin, password=PASSWORD)
    with app.app_context(), transaction() as session:
        anna = find_user(session, "anna")
        assert anna is not None
        for _ in range(MOST_SESSIONS + 1):
            begin_session(session, anna.id, now=clock_now())
    assert "101 places" in admin.get(url_of(admin, "anna")).text
    browser = app.test_client()
    browser.post("/sign-in", data={"username": "anna", "password": PASSWORD})
    page = browser.get("/account").text
    assert "102 places" in page
    assert "Those that were used last are listed" in page


def test_a_taken_name_is_told_in_place_to_a_page_with_scripts(admin: ConsoleClient) -> None:
    """There htmx puts in place what comes with 422 only."""
    make_user(admin)
    make_token(admin)
    for url, name in ((USERS, "username"), (TOKENS, "name")):
        typed = {name: "anna" if name == "username" else "shop", "role": "viewer", "days": "90"}
        answer = admin.htmx(url, method="POST", data=typed)
        assert answer.status_code == 422
        assert "already" in answer.text
