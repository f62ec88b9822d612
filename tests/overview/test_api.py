"""How the whole stands, as programs are told: each verdict, for its reasons, and the totals."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from tests.architecture.population import populate
from tests.conftest import ConsoleClient
from tests.health.test_service import worker
from tests.jobs.test_figures import metric
from webapp.actors import SYSTEM
from webapp.clock import now as clock_now
from webapp.db import db, transaction, will_write
from webapp.jobs import control
from webapp.jobs.rollup import HOUR, floor
from webapp.jobs.service import enqueue
from webapp.roles import Role

HEALTH = "/api/admin/job-health"


def living_worker(session: Session, now: datetime) -> None:
    worker(session, now)


def paused(session: Session, now: datetime) -> None:
    worker(session, now)
    control.pause_type(session, "test_echo", by=SYSTEM, now=now, reason="Calm")


def mostly_failing(session: Session, now: datetime) -> None:
    worker(session, now)
    metric(session, floor(now, 60), type_name="test_echo", succeeded=1, failed=9)
    metric(session, floor(now, HOUR), type_name="test_echo", seconds=HOUR, succeeded=1, failed=9)


def nobody_takes(session: Session, now: datetime) -> None:
    worker(session, now, "fast")
    enqueue(session, "test_echo", {}, by=SYSTEM, now=now, queue="slow")


@pytest.mark.parametrize(
    ("arrange", "level", "reasons", "issues"),
    [
        (living_worker, "healthy", [], []),
        (
            paused,
            "degraded",
            ["Jobs of test_echo wait for whoever paused them."],
            ["The type is paused."],
        ),
        (
            mostly_failing,
            "unhealthy",
            ["test_echo failed more often than not."],
            ["9 of 10 attempts failed in the last hour."],
        ),
        (
            nobody_takes,
            "critical",
            ["No living worker takes waiting jobs of test_echo."],
            ["Jobs are due in slow, which no living worker serves."],
        ),
    ],
)
def test_each_verdict_is_given_for_a_reason_and_said_by_the_pages_too(
    app: Flask,
    viewer: ConsoleClient,
    arrange: Callable[[Session, datetime], None],
    level: str,
    reasons: list[str],
    issues: list[str],
) -> None:
    with app.app_context(), transaction() as session:
        arrange(session, clock_now())
    body = viewer.get(HEALTH).get_json()
    assert (body["overall_health"], body["reasons"], body["alerts"]) == (level, reasons, [])
    found: dict[str, Any] = {item["type"]: item for item in body["job_types"]}
    assert (found["test_echo"]["status"], found["test_echo"]["issues"]) == (level, issues)
    assert found["etl"]["status"] == "healthy"
    page = viewer.get("/").text
    assert f"{level.capitalize()}." in page
    assert all(reason in page for reason in reasons)
    row = viewer.get("/jobs/types").text.partition('id="type-test_echo"')[2].partition("</tr>")[0]
    assert level.capitalize() in row


def test_a_type_is_told_with_its_figures(app: Flask, viewer: ConsoleClient) -> None:
    with app.app_context(), transaction() as session:
        now = clock_now()
        mostly_failing(session, now)
        enqueue(session, "test_echo", {}, by=SYSTEM, now=now - timedelta(minutes=20))
    answer = viewer.get(HEALTH)
    assert answer.headers["Cache-Control"] == "no-store"
    (found,) = (item for item in answer.get_json()["job_types"] if item["type"] == "test_echo")
    assert (found["success_rate"], found["runs"], found["failed"]) == (10.0, 10, 9)
    assert 0 <= found["last_run_ago"] < 120
    assert 1_200 <= found["oldest_due_seconds"] < 1_260
    assert found["issues"] == [
        "9 of 10 attempts failed in the last hour.",
        "The oldest due job has waited for 20 minutes.",
    ]
    (never,) = (item for item in answer.get_json()["job_types"] if item["type"] == "etl")
    assert (never["success_rate"], never["last_run_ago"]) == (None, None)


@pytest.mark.parametrize("url", [HEALTH, "/api/v1/admin/job-health", "/stats", "/api/v1/stats"])
def test_only_viewers_are_told(url: str, client: ConsoleClient) -> None:
    answer = client.get(url)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    client.sign_in(Role.VIEWER)
    assert client.get(url).status_code == 200


def test_totals_are_those_of_what_is_there(
    app: Flask, viewer: ConsoleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context(), will_write():
        populate(db.session(), range(7), now=clock_now())
        db.session.commit()
        app.extensions["flag_store"].refresh()
    body = viewer.get("/stats").get_json()
    assert body["jobs"]["queued"] == 1
    assert sum(body["jobs"].values()) == 7
    assert body["dead_letters"] == {"open": 1, "resolved": 0}
    assert sum(body["schedules"].values()) == 7
    assert body["workers"] == {"alive": 1, "schedulers": 1}
    assert body["sources"] == {"count": 7, "records": {"csv": 0}}
    assert body["flags"]["in_use"] == 7
    assert body["capped"] == []
    monkeypatch.setattr("webapp.overview.totals.COUNT_CAP", 0)
    assert set(viewer.get("/stats").get_json()["capped"]) >= {"jobs.queued", "dead_letters.open"}
