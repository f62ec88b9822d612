"""Alerts from what is measured to what a real receiver gets: once, whoever judges."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Barrier

import flask_migrate
import pytest
from flask import Flask
from sqlalchemy import delete, select

from tasks.alerts import evaluate_alerts
from tasks.queue import CallerBroker
from tasks.watching import OVERDUE, Watch
from tasks.work import run
from tests.conftest import SECRET, end, make_settings
from tests.http_server import Server, answer
from webapp.actors import COMMAND
from webapp.alerts.models import Alert, AlertRule, AlertTransition
from webapp.alerts.service import create_rule, draft_of, last_evaluation, remove_rule
from webapp.alerts.values import SHIPPED, Direction, Metric, RuleDraft, Severity
from webapp.app import create_app
from webapp.channels.service import create_channel
from webapp.channels.values import ChannelDraft
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs.broker import provide_broker
from webapp.jobs.models import Job
from webapp.jobs.values import JobState
from webapp.workers.service import beat
from webapp.workers.values import WorkerIdentity

WORKER = WorkerIdentity("host:1:a", "here", "host", 1, "process", 2, "1")
MINUTE = timedelta(minutes=1)
NO_WORKER = RuleDraft(
    name="no-worker",
    metric=Metric.WORKERS_ALIVE,
    comparison=Direction.BELOW,
    threshold=1,
    severity=Severity.CRITICAL,
    channels=("hook",),
)


@pytest.fixture
def hook(in_app: None, receiver: Server) -> Server:
    """A receiver, and a rule that tells it where no worker is alive."""
    with transaction() as session:
        session.execute(delete(AlertRule))
        url = f"json://127.0.0.1:{receiver.port}/alerts"
        create_channel(
            session,
            ChannelDraft(name="hook", url=url),
            secret_key=SECRET,
            by=COMMAND,
            now=now(),
            reason="Needed",
        )
        create_rule(session, NO_WORKER, by=COMMAND, now=now(), reason="Needed")
    return receiver


def titles(server: Server) -> list[str]:
    return [json.loads(request.body)["title"] for request in server.received]


def jobs() -> list[Job]:
    with reading() as session:
        return list(session.scalars(select(Job).order_by(Job.id)))


def test_a_receiver_is_told_once_that_it_began_and_once_that_it_is_over(
    app: Flask, hook: Server
) -> None:
    moment = now()
    for minute in range(4):
        if minute == 2:
            with transaction() as session:
                beat(session, WORKER, now=moment + 2 * MINUTE)
        evaluate_alerts(app, moment + minute * MINUTE)
        for job in jobs():
            run(app, job.id, worker="w", early=True)
    assert titles(hook) == ["[critical] Workers alive", "[over] Workers alive"]
    assert {job.state for job in jobs()} == {JobState.SUCCEEDED}


def test_three_who_judge_at_the_same_moment_tell_each_thing_once(app: Flask, hook: Server) -> None:
    moment, together = now(), Barrier(3)

    def judge(minute: int) -> bool:
        together.wait()
        with app.app_context():
            return evaluate_alerts(app, moment + minute * MINUTE) is not None

    with ThreadPoolExecutor(3) as pool:
        for minute in range(4):
            if minute == 3:
                with transaction() as session:
                    beat(session, WORKER, now=moment + minute * MINUTE)
            assert sum(pool.map(judge, [minute] * 3)) == 1
    with reading() as session:
        assert len(session.scalars(select(Alert)).all()) == 1
        lines = session.scalars(select(AlertTransition).order_by(AlertTransition.id)).all()
    assert [line.event for line in lines] == ["fired", "resolved"]
    assert len(jobs()) == 2


def test_where_no_worker_is_the_web_process_judges_and_tells(app: Flask, hook: Server) -> None:
    hook.answers.insert(0, answer("503 Service Unavailable"))
    began = now()
    watch = Watch(app, since=began)
    watch.look(began + OVERDUE)
    assert judged() is None
    watch.look(began + OVERDUE + MINUTE)
    assert judged() is not None
    (job,) = jobs()
    assert job.state == JobState.RETRYING
    with transaction() as session:
        session.get_one(Job, job.id).run_at = now()
    watch.look(began + OVERDUE + MINUTE)
    assert titles(hook) == ["[critical] Workers alive"] * 2
    assert jobs()[0].state == JobState.SUCCEEDED


@pytest.mark.usefixtures("no_workers")
def test_where_there_are_to_be_no_workers_nobody_is_told_that_none_is(
    app: Flask, hook: Server
) -> None:
    began = now()
    Watch(app, since=began).look(began + OVERDUE + MINUTE)
    assert judged() is not None
    assert (titles(hook), jobs()) == ([], [])


def test_where_jobs_run_at_once_the_web_process_judges_and_they_tell(
    app: Flask, hook: Server
) -> None:
    provide_broker(CallerBroker(partial(run, app, worker="caller", early=True), list))
    try:
        began = now()
        Watch(app, since=began).look(began + OVERDUE + MINUTE)
    finally:
        provide_broker(None)
    assert titles(hook) == ["[critical] Workers alive"]
    assert [job.state for job in jobs()] == [JobState.SUCCEEDED]


def judged() -> datetime | None:
    with reading() as session:
        return last_evaluation(session)


def test_the_web_process_leaves_it_to_workers_that_live(app: Flask, hook: Server) -> None:
    moment = now()
    evaluate_alerts(app, moment)
    watch = Watch(app, since=moment - timedelta(hours=1))
    watch.look(moment + MINUTE)
    with transaction() as session:
        beat(session, WORKER, now=moment + OVERDUE + MINUTE)
    watch.look(moment + OVERDUE + MINUTE)
    # The end was judged, and is for the worker to send.
    assert [job.state for job in jobs()] == [JobState.QUEUED] * 2
    assert titles(hook) == []


def test_a_deployment_begins_with_the_shipped_rules_and_a_removed_one_stays_removed(
    tmp_path: Path,
) -> None:
    app = create_app(make_settings(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path / 'a.db'}"))
    with app.app_context():
        flask_migrate.upgrade()
        with reading() as session:
            rules = session.scalars(select(AlertRule).order_by(AlertRule.id)).all()
        assert [draft_of(rule) for rule in rules] == list(SHIPPED)
        with transaction() as session:
            remove_rule(session, "no-worker", by=COMMAND, now=now(), reason="Noise")
        flask_migrate.upgrade()
        with reading() as session:
            names = set(session.scalars(select(AlertRule.name)))
        assert names == {rule.name for rule in SHIPPED} - {"no-worker"}
    end(app)
