"""Schedules for programs."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from tests.conftest import ConsoleClient
from webapp.accounts.service import create_token
from webapp.actors import COMMAND, SYSTEM
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.jobs.service import enqueue
from webapp.roles import Role
from webapp.schedules.firing import due_schedules, fire
from webapp.schedules.models import Schedule
from webapp.workers.service import beat
from webapp.workers.values import WorkerIdentity

URL = "/api/v1/queue/schedules"
BODY = {
    "name": "nightly",
    "type": "test_echo",
    "arguments": {"value": 7},
    "cron": "0 6 * * *",
    "timezone": "Europe/Berlin",
    "reason": "Needed",
}


@pytest.fixture
def headers(app: Flask) -> dict[str, str]:
    """An admin's token."""
    return bearer(app, Role.ADMIN)


def bearer(app: Flask, role: Role) -> dict[str, str]:
    with app.app_context(), transaction() as session:
        token = create_token(session, "", role=role, by=COMMAND, now=clock_now())
    return {"Authorization": f"Bearer {token.text}"}


def made(client: ConsoleClient, headers: dict[str, str], **fields: Any) -> dict[str, Any]:
    answer = client.post(URL, json=BODY | fields, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"{URL}/{answer.get_json()['name']}"
    body: dict[str, Any] = answer.get_json()
    return body


def test_a_schedule_is_made_and_told_in_full(
    client: ConsoleClient, headers: dict[str, str]
) -> None:
    body = made(client, headers)
    assert body["cron_in_words"] == "At 06:00 every day"
    assert (body["state"], body["version"], body["problem"]) == ("active", 1, None)
    assert (body["overlap"], body["catch_up"], body["priority"]) == ("skip", "one", None)
    assert len(body["next_runs"]) == 3
    assert body["next_run_at"] == body["next_runs"][0]
    assert body["next_runs"][0].endswith("Z")
    shown = client.get(f"{URL}/nightly", headers=headers).get_json()
    assert shown == body | {"firings": []}
    listed = client.get(URL, headers=headers).get_json()
    assert (listed["total"], listed["items"]) == (1, [body])


@pytest.mark.parametrize(
    ("way", "cron"),
    [
        ({"daily": {"at": "06:30"}}, "30 6 * * *"),
        ({"weekly": {"at": "06:30", "days": ["mon", "fri"]}}, "30 6 * * mon,fri"),
        ({"monthly": {"at": "06:30", "day": 15}}, "30 6 15 * *"),
        ({"monthly": {"at": "06:30", "day": "last"}}, "30 6 L * *"),
    ],
)
def test_simple_ways_of_saying_when(
    client: ConsoleClient, headers: dict[str, str], way: dict[str, Any], cron: str
) -> None:
    assert made(client, headers, cron=None, **way)["cron"] == cron


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": None}, "cron"),
        ({"daily": {"at": "06:30"}}, "daily"),
        ({"cron": None, "daily": {"at": "25:00"}}, "at"),
        ({"cron": None, "weekly": {"at": "06:30", "days": []}}, "days"),
        ({"cron": None, "monthly": {"at": "06:30", "day": 32}}, "day"),
        ({"cron": None, "monthly": {"at": "06:30"}}, "monthly.day"),
        ({"timezone": "Berlin"}, "timezone"),
        ({"type": "nothing"}, "type"),
        ({"arguments": {"value": "x"}}, "arguments"),
        ({"overlap": "x"}, "overlap"),
        ({"catch_up": "x"}, "catch_up"),
        ({"priority": 101}, "priority"),
        ({"reason": ""}, "reason"),
        ({"name": "new"}, "name"),
        ({"name": "a\0"}, "name"),
        ({"unheard": 1}, "unheard"),
    ],
)
def test_what_does_not_fit_is_refused_by_field(
    client: ConsoleClient, headers: dict[str, str], fields: dict[str, Any], field: str
) -> None:
    answer = client.post(URL, json=BODY | fields, headers=headers)
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert list(answer.get_json()["errors"]) == [field]


def test_a_name_that_is_taken_is_a_conflict(client: ConsoleClient, headers: dict[str, str]) -> None:
    made(client, headers)
    assert client.post(URL, json=BODY, headers=headers).status_code == 409


def test_a_change_names_the_fields_and_the_version(
    client: ConsoleClient, headers: dict[str, str]
) -> None:
    made(client, headers, priority=10)
    change = {"daily": {"at": "07:00"}, "reason": "Later", "version": 1}
    body = client.put(f"{URL}/nightly", json=change, headers=headers).get_json()
    assert (body["cron"], body["version"], body["priority"]) == ("0 7 * * *", 2, 10)
    assert body["arguments"] == {"value": 7}
    assert client.put(f"{URL}/nightly", json=change, headers=headers).status_code == 409
    freed = {"priority": None, "reason": "As its type"}
    assert client.put(f"{URL}/nightly", json=freed, headers=headers).get_json()["priority"] is None


def test_pause_resume_and_removal(client: ConsoleClient, headers: dict[str, str]) -> None:
    made(client, headers)
    paused = client.post(
        f"{URL}/nightly/pause", json={"reason": "Calm"}, headers=headers
    ).get_json()
    assert (paused["enabled"], paused["state"], paused["next_runs"]) == (False, "paused", [])
    stale = {"reason": "Go on", "version": 1}
    assert client.post(f"{URL}/nightly/resume", json=stale, headers=headers).status_code == 409
    resumed = client.post(
        f"{URL}/nightly/resume", json={"reason": "Go on"}, headers=headers
    ).get_json()
    assert (resumed["enabled"], resumed["version"]) == (True, 3)
    assert client.delete(f"{URL}/nightly", headers=headers).status_code == 422
    assert client.delete(f"{URL}/nightly?reason=Done", headers=headers).status_code == 204
    assert client.get(f"{URL}/nightly", headers=headers).status_code == 404


def test_run_now_gives_the_address_of_the_job(
    app: Flask, client: ConsoleClient, headers: dict[str, str]
) -> None:
    made(client, headers)
    operator = bearer(app, Role.OPERATOR)
    answer = client.post(f"{URL}/nightly/run", headers=operator)
    assert answer.status_code == 202
    firing = answer.get_json()["last_firing"]
    assert (firing["planned"], firing["job_state"]) == (False, "queued")
    job = client.get(answer.headers["Location"], headers=operator).get_json()
    assert (job["id"], job["arguments"]["value"]) == (firing["job_id"], 7)
    assert client.post(f"{URL}/nightly/run", headers=operator).status_code == 409


def test_a_type_that_is_gone_shows_as_broken(
    app: Flask, client: ConsoleClient, headers: dict[str, str]
) -> None:
    made(client, headers)
    with app.app_context(), transaction() as session:
        session.execute(update(Schedule).values(type="gone"))
    shown = client.get(f"{URL}?state=broken", headers=headers).get_json()["items"][0]
    assert shown["state"] == "broken"
    assert "no job type 'gone'" in shown["problem"]
    assert client.post(f"{URL}/nightly/run", headers=headers).status_code == 404
    assert client.get(f"{URL}?state=active", headers=headers).get_json()["total"] == 0
    assert client.get(f"{URL}?state=x", headers=headers).status_code == 422


def test_secret_arguments_are_masked(client: ConsoleClient, headers: dict[str, str]) -> None:
    arguments = {"source": "postgres://anna:hunter2@db/x"}
    body = client.post(
        URL, json=BODY | {"type": "etl", "arguments": arguments}, headers=headers
    ).get_json()
    assert "hunter2" not in str(body)


def test_what_is_to_run_later_is_listed_and_cancelled(
    app: Flask, client: ConsoleClient, headers: dict[str, str]
) -> None:
    made(client, headers)
    with app.app_context(), transaction() as session:
        at = clock_now()
        late, soon, due = (
            enqueue(session, "test_echo", {}, by=SYSTEM, now=at, run_at=run_at).id
            for run_at in (at + timedelta(hours=2), at + timedelta(hours=1), at)
        )
    body = client.get("/api/v1/queue/scheduled", headers=headers).get_json()
    assert [job["id"] for job in body["jobs"]["items"]] == [soon, late]
    assert (body["jobs"]["total"], body["schedules"]["total"]) == (2, 1)
    one = client.get("/api/v1/queue/scheduled?skip=1&limit=1", headers=headers).get_json()
    assert [job["id"] for job in one["jobs"]["items"]] == [late]
    url = "/api/v1/queue/scheduled"
    operator = bearer(app, Role.OPERATOR)
    assert client.delete(f"{url}/{soon}", headers=operator).status_code == 403
    assert client.delete(f"{url}/{soon}", headers=headers).status_code == 204
    assert client.delete(f"{url}/{soon}", headers=headers).status_code == 409
    assert client.delete(f"{url}/{due}", headers=headers).status_code == 409
    assert client.delete(f"{url}/999999", headers=headers).status_code == 404


def test_the_scheduler_tells_how_it_is(
    app: Flask, client: ConsoleClient, headers: dict[str, str], now: datetime
) -> None:
    silent = client.get("/api/v1/queue/scheduler/status", headers=headers).get_json()
    assert (silent["beat_at"], silent["beat_age_seconds"], silent["due"]) == (None, None, 0)
    made(client, headers, catch_up="none")
    made(client, headers, name="waiting")
    with app.app_context(), transaction() as session:
        at = clock_now()
        identity = WorkerIdentity("w", "here", "host", 1, "process", 2, "0")
        beat(session, identity, now=at - timedelta(seconds=5))
        session.execute(update(Schedule).values(next_run_at=at - timedelta(hours=50)))
        first = due_schedules(session, now=at)[0]
        fire(session, first, now=at)
    status = client.get("/api/v1/queue/scheduler/status", headers=headers).get_json()
    assert 5 <= status["beat_age_seconds"] < 60
    assert status["due"] == 1
    assert status["oldest_due_at"].endswith("Z")
    # That one, and at least two of the days before it.
    assert status["last_24_hours"]["missed"] >= 3
    assert status["last_24_hours"]["fired"] == 0


@pytest.mark.parametrize(
    ("method", "path", "role", "allowed"),
    [
        ("GET", "", Role.VIEWER, True),
        ("GET", "/nightly", Role.VIEWER, True),
        ("POST", "/nightly/run", Role.VIEWER, False),
        ("POST", "/nightly/run", Role.OPERATOR, True),
        ("POST", "", Role.OPERATOR, False),
        ("PUT", "/nightly", Role.OPERATOR, False),
        ("DELETE", "/nightly", Role.OPERATOR, False),
        ("POST", "/nightly/pause", Role.OPERATOR, False),
        ("POST", "/nightly/resume", Role.OPERATOR, False),
    ],
)
def test_each_role_may_do_its_part(
    app: Flask,
    client: ConsoleClient,
    headers: dict[str, str],
    *,
    method: str,
    path: str,
    role: Role,
    allowed: bool,
) -> None:
    made(client, headers)
    answer = client.open(f"{URL}{path}", method=method, headers=bearer(app, role))
    assert (answer.status_code != 403) is allowed


def test_the_daily_clean_up_is_made_once(admin: ConsoleClient) -> None:
    first = admin.post("/api/v1/queue/schedule/cleanup", json={"at": "04:15"})
    assert first.status_code == 201
    assert first.headers["Location"].endswith("/api/v1/queue/schedules/cleanup")
    body = first.get_json()
    assert (body["name"], body["type"], body["cron"]) == ("cleanup", "cleanup", "15 4 * * *")
    assert body["problem"] is None
    again = admin.post("/api/v1/queue/schedule/cleanup", json={"at": "05:00"})
    assert (again.status_code, again.get_json()["cron"]) == (200, "15 4 * * *")
    wrong = admin.post("/api/v1/queue/schedule/cleanup", json={"timezone": "Nowhere"})
    assert wrong.status_code == 422


def test_operators_schedule_no_clean_up(operator: ConsoleClient) -> None:
    assert operator.post("/api/v1/queue/schedule/cleanup").status_code == 403
