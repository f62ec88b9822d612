"""The ``cleanup`` job: what is too old goes once, in small steps, wherever it is interrupted."""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tasks.work import run
from webapp.actors import COMMAND, SYSTEM
from webapp.alerts.models import Alert
from webapp.breakers.models import CircuitBreakerEvent, CircuitBreakerState
from webapp.clock import now
from webapp.db import Base, reading, transaction
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.service import resolve, write
from webapp.dead_letters.values import Cause, Reason
from webapp.flags.models import FeatureFlagEvaluation
from webapp.idempotency.models import IdempotencyKey
from webapp.idempotency.service import claim
from webapp.idempotency.values import Slot
from webapp.jobs import service
from webapp.jobs.models import Job, JobBatch
from webapp.jobs.values import JobState
from webapp.reports.models import Report

cleanup = import_module("tasks.cleanup")
CAUSE = Cause(
    reason=Reason.NOT_RETRYABLE,
    error_class="bug",
    exception_type="TypeError",
    message="no",
    traceback="Traceback",
)


@pytest.fixture(autouse=True)
def old_things(app: Flask) -> Iterator[None]:
    """A hundred days ago: 25 jobs, two of them with a letter, one of those open; a batch, usage,
    a breaker and an event of it.  Longer ago: an alert.
    """
    past = now() - timedelta(days=100)
    with app.app_context():
        with transaction() as session:
            add_old_alert(session, now() - timedelta(days=200))
            for number in range(25):
                job = Job(
                    type="test_echo",
                    queue="default",
                    priority=50,
                    state=JobState.DEAD if number < 2 else JobState.SUCCEEDED,
                    arguments={},
                    run_at=past,
                    created_at=past,
                    finished_at=past,
                    created_by="tests",
                )
                session.add(job)
                session.flush()
                if number < 2:
                    letter = write(session, job.id, CAUSE, now=past)
                if number == 1:
                    resolve(session, letter.id, by=COMMAND, now=past, notes="Known")
            session.add(
                JobBatch(name="b", size=1, created_at=past, created_by="tests", finished_at=past)
            )
            for days in (10, 500, 500, 600):
                hour = (now() - timedelta(days=days)).replace(minute=0, second=0, microsecond=0)
                session.add(
                    FeatureFlagEvaluation(
                        flag=f"flag{session.scalar(COUNT_USAGE)}",
                        hour=hour,
                        environment="production",
                        variant="",
                        enabled=True,
                        reason="on",
                        count=1,
                    )
                )
                session.flush()
            session.add(
                CircuitBreakerState(
                    name="unused",
                    state="closed",
                    open_seconds=30.0,
                    failures=0,
                    failure_threshold=5,
                    updated_at=past,
                    version=1,
                )
            )
            for at in (past, now()):
                session.add(
                    CircuitBreakerEvent(
                        name="mail", at=at, old_state="closed", new_state="open", actor="switchyard"
                    )
                )
        yield


def add_old_alert(session: Session, past: datetime) -> None:
    alert = Alert(
        key="workers_alive",
        metric="workers_alive",
        label="",
        state="resolved",
        severity="critical",
        rule="no-worker",
        comparison="below",
        threshold=1.0,
        holding={},
        began_at=past,
        ended_at=past,
        told=False,
        told_channels=[],
    )
    session.add(alert)


COUNT_USAGE = select(func.count()).select_from(FeatureFlagEvaluation)


def clean(app: Flask, **arguments: int) -> Job:
    with transaction() as session:
        job_id = service.enqueue(session, "cleanup", arguments, by=SYSTEM, now=now()).id
    assert run(app, job_id, worker="w")
    return found(job_id)


def found(job_id: int) -> Job:
    with reading() as session:
        return service.find_job(session, job_id)


def number_of(model: type[Base]) -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def result_of(done: Job) -> dict[str, int]:
    """Return what went, without what there is none of here."""
    result: dict[str, int] = dict(done.result or {})
    for name in ("idempotency_keys", "stray_report_files", "lost_reports"):
        assert result.pop(name) == 0
    return result


def test_the_result_tells_how_many_of_each_went(app: Flask) -> None:
    done = clean(app)
    assert done.state == JobState.SUCCEEDED, done.error
    assert result_of(done) == {
        "dead_letters": 1,
        "jobs": 24,
        "batches": 1,
        "flag_usage": 3,
        "breaker_events": 1,
        "breakers": 1,
        "alerts": 1,
        "reports": 0,
    }
    # The open letter and its job, and the clean-up itself.
    assert (number_of(Job), number_of(DeadLetter), number_of(JobBatch)) == (2, 1, 0)
    assert number_of(FeatureFlagEvaluation) == 1
    assert done.progress_done == 32


def test_a_second_run_finds_nothing(app: Flask) -> None:
    clean(app)
    again = clean(app)
    assert result_of(again) == {
        "dead_letters": 0,
        "jobs": 0,
        "batches": 0,
        "flag_usage": 0,
        "breaker_events": 0,
        "breakers": 0,
        "alerts": 0,
        "reports": 0,
    }


def test_arguments_win_over_the_settings(app: Flask) -> None:
    kept = clean(
        app,
        job_days=200,
        dead_letter_days=200,
        flag_usage_days=550,
        breaker_days=200,
        alert_days=300,
    )
    assert result_of(kept) == {
        "dead_letters": 0,
        "jobs": 0,
        "batches": 0,
        "flag_usage": 1,
        "breaker_events": 0,
        "breakers": 0,
        "alerts": 0,
        "reports": 0,
    }


def test_keys_go_once_they_have_expired(app: Flask) -> None:
    with transaction() as session:
        slot = Slot("token:shop", "order-1", "POST /a", "f" * 64)
        claim(session, slot, lasts=timedelta(hours=1), now=now() - timedelta(hours=2))
    done = clean(app)
    assert done.result is not None
    assert done.result["idempotency_keys"] == 1
    assert number_of(IdempotencyKey) == 0


def test_what_killed_workers_left_goes_after_a_day(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "AT_ONCE", 2)
    folder: Path = app.extensions["settings"].reports_dir
    folder.mkdir(exist_ok=True)
    # Numbers that no report of this test is given.
    numbers = range(10**9, 10**9 + 5)
    names = [".report-1.html.abc.part", *(f"report-{number}.csv" for number in numbers)]
    for name in names:
        (folder / name).write_bytes(b"x")
    assert clean(app).result["stray_report_files"] == 0  # type: ignore[index]
    for name in names:
        past = (now() - timedelta(days=2)).timestamp()
        os.utime(folder / name, (past, past))
    with transaction() as session:
        for moment in (now(), now() - timedelta(days=2)):
            session.add(
                Report(
                    kind="operations",
                    format="csv",
                    days=1,
                    requested_at=moment,
                    requested_by="tests",
                )
            )
    done = clean(app)
    assert done.state == JobState.SUCCEEDED, done.error
    assert done.result is not None
    assert (done.result["stray_report_files"], done.result["lost_reports"]) == (len(names), 1)
    assert number_of(Report) == 1
    assert not any((folder / name).exists() for name in names)


def test_nothing_is_kept_for_less_than_a_day(app: Flask) -> None:
    with pytest.raises(Exception, match="job_days"):
        clean(app, job_days=0)


def test_a_run_that_is_interrupted_goes_on_and_counts_everything_once(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "AT_ONCE", 4)
    steps = iter(range(1_000))
    save = cleanup.save_checkpoint

    def interrupted(*args: object) -> None:
        save(*args)
        if next(steps) % 3 == 2:
            raise ConnectionError("the database is away")

    monkeypatch.setattr(cleanup, "save_checkpoint", interrupted)
    with transaction() as session:
        job_id = service.enqueue(session, "cleanup", {}, by=SYSTEM, now=now()).id
    before = number_of(Job)
    for _ in range(20):
        run(app, job_id, worker="w", early=True)
        if found(job_id).state == JobState.DEAD:
            with transaction() as session:
                service.retry(session, job_id, by=SYSTEM, now=now())
    done = found(job_id)
    assert done.state == JobState.SUCCEEDED
    assert result_of(done) == {
        "dead_letters": 1,
        "jobs": 24,
        "batches": 1,
        "flag_usage": 3,
        "breaker_events": 1,
        "breakers": 1,
        "alerts": 1,
        "reports": 0,
    }
    assert before - number_of(Job) == 24


def test_a_run_that_is_canceled_stops_between_two_steps(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "AT_ONCE", 4)
    monkeypatch.setattr("tasks.runner.RunningJob.cancelled", lambda self: number_of(Job) < 20)
    canceled = clean(app)
    assert canceled.state == JobState.CANCELED
    assert 0 < number_of(Job) < 20
