"""Unleash's client API over HTTP: who gets which flags, and what becomes of what SDKs counted."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import Client, TestResponse

from tests.conftest import ConsoleClient
from tests.flags.conftest import make_token
from webapp.actors import COMMAND
from webapp.clock import now as clock_now
from webapp.db import reading, transaction
from webapp.flags.models import FeatureFlagEvaluation, FeatureFlagUse, UnknownFlag
from webapp.flags.service import archive_flag, change_flag, create_flag
from webapp.flags.values import FlagChanges, FlagDraft
from webapp.roles import Role

URL: Final = "/api/client"
DRAFTS: Final = (
    FlagDraft(name="a.on", enabled=True, percentage=100),
    FlagDraft(name="b.staging", enabled=True, environment_overrides={"staging": True}),
    FlagDraft(name="z.old", enabled=True, percentage=100),
)
Ask = Callable[..., TestResponse]


@pytest.fixture(autouse=True)
def flags(app: Flask, now: datetime) -> None:
    with app.app_context(), transaction() as session:
        for draft in DRAFTS:
            create_flag(session, draft, by=COMMAND, now=now, reason="r")
        archive_flag(session, "z.old", by=COMMAND, now=now, reason="r")


@pytest.fixture
def ask(app: Flask) -> Ask:
    """Ask as an SDK does, with a token that may be bound to an environment."""
    tokens: dict[str | None, str] = {}

    def request(method: str, path: str, bound: str | None = None, **kwargs: Any) -> TestResponse:
        if bound not in tokens:
            with app.app_context(), transaction() as session:
                tokens[bound] = make_token(session, Role.VIEWER, bound)
        headers = {"Authorization": tokens[bound]} | kwargs.pop("headers", {})
        client = Client(app, use_cookies=False)
        return client.open(URL + path, method=method, headers=headers, **kwargs)

    return request


def enabled_in(answer: TestResponse) -> dict[str, bool]:
    assert answer.status_code == 200, answer.text
    body = answer.get_json()
    assert body["version"] == 2
    return {feature["name"]: feature["enabled"] for feature in body["features"]}


def test_an_sdk_gets_the_flags_in_use_of_its_tokens_environment(ask: Ask) -> None:
    assert enabled_in(ask("GET", "/features")) == {"a.on": True, "b.staging": False}
    assert enabled_in(ask("GET", "/features", "staging")) == {"a.on": True, "b.staging": True}


def test_who_has_them_already_is_told_so_without_them(ask: Ask) -> None:
    tag = ask("GET", "/features").headers["ETag"]
    for shown in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = ask("GET", "/features", headers={"If-None-Match": shown})
        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["ETag"] == tag
    assert ask("GET", "/features", headers={"If-None-Match": '"other"'}).status_code == 200
    # Of another environment they are others.
    other = ask("GET", "/features", "staging", headers={"If-None-Match": tag})
    assert other.status_code == 200
    assert other.headers["ETag"] != tag


def test_a_change_is_another_document(app: Flask, ask: Ask, now: datetime) -> None:
    tag = ask("GET", "/features").headers["ETag"]
    with app.app_context(), transaction() as session:
        changes = FlagChanges(enabled=False)
        change_flag(session, "a.on", changes, by=COMMAND, now=now, reason="r")
    answer = ask("GET", "/features", headers={"If-None-Match": tag})
    assert enabled_in(answer)["a.on"] is False


def test_a_token_is_taken_with_and_without_its_scheme(ask: Ask, app: Flask) -> None:
    with app.app_context(), transaction() as session:
        token = make_token(session, Role.VIEWER, "demo")
    for shown, status in (
        (token, 200),
        (f"Bearer {token}", 200),
        (f"  {token} ", 200),
        ("swy_invented", 401),
        (f"Basic {token}", 401),
        ("", 401),
    ):
        answer = ask("GET", "/features", headers={"Authorization": shown})
        assert answer.status_code == status
    for path in ("/register", "/metrics"):
        assert ask("POST", path, headers={"Authorization": ""}, json={}).status_code == 401


def test_a_person_shows_the_token_of_the_form(viewer: ConsoleClient) -> None:
    assert viewer.get(f"{URL}/features").status_code == 200
    assert viewer.post(f"{URL}/metrics", json={}).status_code == 202
    viewer.csrf = False
    assert viewer.post(f"{URL}/metrics", json={}).status_code == 400


def test_before_anything_was_read_there_is_nothing(
    app: Flask, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = app.extensions["flag_store"]
    store.stop()
    # Neither a request nor the watcher that it starts.
    monkeypatch.setattr(type(store), "_look", lambda self, **options: False)
    assert ask("GET", "/features").status_code == 503
    told = {"bucket": bucket({"a.on": {"yes": 1, "no": 0}})}
    assert ask("POST", "/metrics", json=told).status_code == 503
    monkeypatch.undo()
    assert store.refresh()


@pytest.mark.parametrize(
    "body",
    [
        {"appName": "shop", "sdkVersion": "unleash-python-sdk:6.9.1", "strategies": ["default"]},
        {"appName": "shop", "instanceId": "a", "started": "2026-11-22T12:00:00Z", "interval": 60},
        {},
    ],
)
def test_an_sdk_that_registers_is_thanked(ask: Ask, body: dict[str, Any]) -> None:
    answer = ask("POST", "/register", json=body)
    assert (answer.status_code, answer.data) == (202, b"")


def bucket(toggles: dict[str, Any], at: datetime | None = None) -> dict[str, Any]:
    start = at or hour()
    stop = start + timedelta(minutes=1)
    return {"start": start.isoformat(), "stop": stop.isoformat(), "toggles": toggles}


def hour() -> datetime:
    return clock_now().replace(minute=0, second=0, microsecond=0)


def stored(app: Flask) -> dict[tuple[str, str, str, bool, str], int]:
    with app.app_context(), reading() as session:
        return {
            (row.flag, row.environment, row.variant, row.enabled, row.reason): row.count
            for row in session.scalars(select(FeatureFlagEvaluation))
        }


def test_what_an_sdk_counted_joins_the_figures(app: Flask, ask: Ask) -> None:
    toggles = {
        "a.on": {"yes": 10, "no": 3, "variants": {"blue": 4, "red": 1, "disabled": 3}},
        "b.staging": {"yes": 0, "no": 2},
        "misspelt": {"yes": 0, "no": 5},
        "z.old": {"yes": 1, "no": 0},
        "unasked": {"yes": 0, "no": 0},
    }
    body = {"appName": "shop", "instanceId": "a", "bucket": bucket(toggles)}
    for bound in (None, "staging"):
        assert ask("POST", "/metrics", bound, json=body).status_code == 202
    counts = {
        ("a.on", "blue", True): 4,
        ("a.on", "red", True): 1,
        ("a.on", "", True): 5,
        ("a.on", "", False): 3,
        ("b.staging", "", False): 2,
    }
    own = app.extensions["flag_store"].environment
    assert stored(app) == {
        (flag, environment, variant, enabled, "unleash_sdk"): count
        for (flag, variant, enabled), count in counts.items()
        for environment in (own, "staging")
    }
    with app.app_context(), reading() as session:
        used = set(session.scalars(select(FeatureFlagUse.flag)))
        unknown = {row.name: row.count for row in session.scalars(select(UnknownFlag))}
    assert used == {"a.on", "b.staging"}
    assert unknown == {"misspelt": 10, "z.old": 2}


@pytest.mark.parametrize("body", [{}, {"bucket": None}, {"bucket": bucket({})}])
def test_an_sdk_may_have_counted_nothing(app: Flask, ask: Ask, body: dict[str, Any]) -> None:
    assert ask("POST", "/metrics", json=body).status_code == 202
    assert stored(app) == {}


def test_hours_that_nobody_can_tell_of_are_left_out(app: Flask, ask: Ask) -> None:
    for at in (hour() - timedelta(days=40), hour() + timedelta(hours=3)):
        told = {"bucket": bucket({"a.on": {"yes": 1, "no": 0}}, at)}
        assert ask("POST", "/metrics", json=told).status_code == 202
    assert stored(app) == {}


def test_where_nobody_counts_nothing_is_added(
    app: Flask, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.extensions["flag_store"], "usage", None)
    told = {"bucket": bucket({"a.on": {"yes": 1, "no": 0}})}
    assert ask("POST", "/metrics", json=told).status_code == 202
    assert stored(app) == {}


REFUSED: Final[dict[str, tuple[Any, int]]] = {
    "a list": ([], 400),
    "no time": ({"bucket": {"toggles": {}}}, 422),
    "a time of no zone": (
        {"bucket": {"start": "2026-11-22T12:00:00", "stop": "2026-11-22T12:00:00", "toggles": {}}},
        422,
    ),
    "less than none": ({"bucket": bucket({"a.on": {"yes": -1, "no": 0}})}, 422),
    "beyond counting": ({"bucket": bucket({"a.on": {"yes": 2**40, "no": 0}})}, 422),
    "count as text": ({"bucket": bucket({"a.on": {"yes": "1", "no": 0}})}, 422),
    "variants as a list": ({"bucket": bucket({"a.on": {"yes": 1, "variants": []}})}, 422),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_no_sdk_can_have_counted_is_refused(
    app: Flask, ask: Ask, case: tuple[Any, int]
) -> None:
    body, status = case
    assert ask("POST", "/metrics", json=body).status_code == status
    assert stored(app) == {}


def test_odd_names_are_not_stored(app: Flask, ask: Ask) -> None:
    toggles = {
        "line\nbreak": {"yes": 1, "no": 0},
        "x" * 300: {"yes": 1, "no": 0},
        "a.on": {"yes": 3, "no": 0, "variants": {"x" * 300: 1, "line\nbreak": 1}},
    }
    assert ask("POST", "/metrics", json={"bucket": bucket(toggles)}).status_code == 202
    (count,) = stored(app).values()
    assert count == 3
    with app.app_context(), reading() as session:
        assert session.scalars(select(UnknownFlag)).all() == []


def test_the_document_is_written_once_for_an_environment_and_a_state(
    app: Flask, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def note(found: Any, environment: str) -> list[Any]:
        written.append(environment)
        return []

    monkeypatch.setattr("webapp.unleash.api.features_of", note)
    app.extensions.pop("unleash_documents", None)
    for bound in ("staging", "demo", "staging", "demo"):
        assert ask("GET", "/features", bound).get_json()["features"] == []
    assert written == ["staging", "demo"]
    store = app.extensions["flag_store"]
    monkeypatch.setattr(store, "_latest", replace_found(store))
    ask("GET", "/features", "staging")
    assert written == ["staging", "demo", "staging"]


def replace_found(store: Any) -> Any:
    latest = store.current()
    return type(latest)(replace(latest.found, revision=1), store.environment, None)


def test_the_answer_is_json_that_any_sdk_reads(ask: Ask) -> None:
    answer = ask("GET", "/features")
    assert answer.content_type == "application/json"
    assert {"version", "features"} == set(json.loads(answer.data))
