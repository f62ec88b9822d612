"""How everything stands, in a word and on a page."""

import pytest
from flask import Flask

from tasks.figures import roll_up_figures
from tests.conftest import ConsoleClient
from tests.flags.conftest import SwitchableDatabase
from tests.servers import RedisServer
from webapp.actors import SYSTEM
from webapp.clock import now
from webapp.db import transaction
from webapp.flags.feeds import DatabaseFeed
from webapp.flags.signals import RedisSignals
from webapp.jobs import attempts
from webapp.jobs.service import enqueue
from webapp.workers.service import beat
from webapp.workers.values import WorkerIdentity


def test_an_empty_installation_says_what_is_missing(viewer: ConsoleClient) -> None:
    page = viewer.get("/").text
    assert "Critical." in page
    assert "No worker is alive" in page
    assert "No run yet" in page


@pytest.mark.usefixtures("no_workers")
def test_where_jobs_run_in_their_caller_no_worker_is_missed(viewer: ConsoleClient) -> None:
    page = viewer.get("/").text
    assert "Healthy." in page
    assert "orker" not in page.partition('id="overview-figures"')[2]
    assert "count--danger" not in page
    health = viewer.get("/api/admin/job-health").get_json()
    assert (health["overall_health"], health["reasons"]) == ("healthy", [])
    assert "No living worker" not in viewer.get("/jobs/types").text


def test_flags_that_nobody_confirms_are_told(
    app: Flask, viewer: ConsoleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "Flags are decided on an old snapshot."
    assert reason not in viewer.get("/").text
    store = app.extensions["flag_store"]
    database = SwitchableDatabase(app)
    database.away = True
    monkeypatch.setattr(store, "_feed", DatabaseFeed(database.open_session))
    monkeypatch.setattr(store, "_trust_seconds", 0.0)
    assert not store.refresh()
    assert reason in viewer.get("/").text


@pytest.mark.redis
def test_a_redis_that_does_not_answer_is_told(
    app: Flask,
    viewer: ConsoleClient,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reason = "Redis does not answer: changes of flags are seen a second later."
    store = app.extensions["flag_store"]
    store.stop()
    redis_server.start()
    monkeypatch.setattr(store, "_signals", RedisSignals(redis_server.url))
    try:
        assert reason not in viewer.get("/").text
        redis_server.stop()
        assert store.refresh()
        assert reason in viewer.get("/").text
    finally:
        redis_server.start()
        store.stop()


def test_figures_are_those_of_the_ledger(app: Flask, viewer: ConsoleClient) -> None:
    with app.app_context(), transaction() as session:
        beat(session, WorkerIdentity("h:1:a", "here", "h", 1, "process", 2, "0.1.0"), now=now())
        for _ in range(3):
            enqueue(session, "test_echo", {}, by=SYSTEM, now=now())
        done = enqueue(session, "test_echo", {}, by=SYSTEM, now=now(), priority=99)
        held = attempts.claim(session, done.id, worker="w", lease_seconds=9, now=now())
        assert held is not None
        attempts.succeed(session, held, result=None, now=now())
    with app.app_context():
        roll_up_figures(app, now())
    part = viewer.htmx("/", "overview-figures").text
    assert part.lstrip().startswith('<div id="overview-figures"')
    assert "Healthy." in part
    assert '<span class="stat__value">3</span>' in part
    assert "1 attempts in 24 h" in part or "1 attempt in 24 h" in part
    assert "1 succeeded, 0 failed" in part
