"""Failures on purpose: refused unless they are allowed, and then like real ones."""

import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from tasks.work import run
from tests.conftest import ConsoleClient, make_settings
from webapp.actors import COMMAND
from webapp.breakers.registry import breaker as breaker_of
from webapp.clock import now as clock_now
from webapp.db import reading, transaction
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.service import retry
from webapp.errors import Invalid
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.service import enqueue
from webapp.jobs.values import JobState
from webapp.retries.classification import classify
from webapp.retries.values import ErrorClass, RetryConfig
from webapp.settings import SettingsError
from webapp.sources import rehearsals
from webapp.sources.models import EtlRun, Record
from webapp.sources.rehearsals import Failure, Rehearsal
from webapp.sources.service import create_source
from webapp.sources.values import Batch, Checkpoint, Row

ROWS = 30


@pytest.fixture
def allowed(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that may rehearse, and guards that repeat at once."""
    settings = app.extensions["settings"]
    monkeypatch.setitem(app.extensions, "settings", replace(settings, failure_injection=True))
    quick = RetryConfig(max_attempts=3, initial_delay=0.001, max_delay=0.001)
    monkeypatch.setattr(rehearsals, "READ_RETRY", quick)


@pytest.fixture
def source(app: Flask, tmp_path: Path) -> str:
    """A source whose guard no other test knows."""
    name = f"z{uuid.uuid4().hex[:12]}"
    file = tmp_path / "a.csv"
    file.write_text("id,v\n" + "".join(f"{n},{n}\n" for n in range(ROWS)))
    with app.app_context(), transaction() as session:
        create_source(
            session, name, location=str(file), key_field="id", by=COMMAND, now=clock_now()
        )
    return name


def enqueue_run(app: Flask, source: str, **rehearsal: Any) -> int:
    with app.app_context(), transaction() as session:
        arguments = {"source": source, "batch_size": 10, **rehearsal}
        return enqueue(session, "etl", arguments, by=COMMAND, now=clock_now()).id


def job_of(app: Flask, job_id: int) -> Job:
    with app.app_context(), reading() as session:
        return session.get_one(Job, job_id)


def run_due(app: Flask, job_id: int) -> JobState:
    """Let the job be due, as an operator does with Run now, and run it."""
    with app.app_context(), transaction() as session:
        due = update(Job).where(Job.id == job_id).values(run_at=clock_now() - timedelta(seconds=1))
        session.execute(due)
    assert run(app, job_id, worker="w")
    return JobState(job_of(app, job_id).state)


def rows_kept(app: Flask) -> int:
    with app.app_context(), reading() as session:
        return len(session.scalars(select(Record.id)).all())


@pytest.mark.parametrize("asked", [{"fail_at_row": 1}, {"fail_with": "crash"}, {"latency_ms": 5}])
def test_without_the_setting_a_rehearsal_is_refused_with_its_field(
    app: Flask, source: str, asked: dict[str, Any]
) -> None:
    with pytest.raises(Invalid) as caught:
        enqueue_run(app, source, **asked)
    assert set(caught.value.errors) == set(asked)
    assert "ENABLE_FAILURE_INJECTION" in str(caught.value.errors)


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(
    "asked",
    [
        {"fail_at_row": 0},
        {"fail_at_row": "x"},
        {"fail_with": "nothing"},
        {"latency_ms": -1},
        {"latency_ms": 10_001},
        {"latency_ms": "x"},
    ],
)
def test_what_cannot_be_rehearsed_is_refused_with_its_field(
    app: Flask, source: str, asked: dict[str, Any]
) -> None:
    with pytest.raises(Invalid) as caught:
        enqueue_run(app, source, **asked)
    assert set(caught.value.errors) == set(asked)


def test_form_and_schema_show_rehearsals_only_where_they_are_on(
    app: Flask, operator: ConsoleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = ("/jobs/new?type=etl", "/api/v1/queue/job-types/etl")
    assert all("fail_at_row" not in operator.get(page).text for page in pages)
    settings = app.extensions["settings"]
    monkeypatch.setitem(app.extensions, "settings", replace(settings, failure_injection=True))
    assert all("fail_at_row" in operator.get(page).text for page in pages)


def test_a_run_that_rehearses_nothing_has_no_word_of_it(app: Flask, source: str) -> None:
    assert job_of(app, enqueue_run(app, source)).arguments == {"source": source, "batch_size": 10}


def test_production_has_no_rehearsals(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ENABLE_FAILURE_INJECTION"):
        make_settings(
            tmp_path,
            ENVIRONMENT="production",
            ALLOWED_HOSTS="*",
            ENABLE_FAILURE_INJECTION="true",
        )


@pytest.mark.parametrize(
    ("failure", "error_class"),
    [
        ("timeout", "timeout"),
        ("connection", "network"),
        ("server_error", "server_error"),
        ("rate_limited", "rate_limited"),
        ("unauthorized", "unauthorized"),
        ("malformed", "malformed"),
        ("invalid", "invalid_input"),
        ("crash", "bug"),
    ],
)
def test_each_failure_is_one_that_the_guards_know(failure: str, error_class: str) -> None:
    error = rehearsals._ERRORS[Failure(failure)]()
    assert classify(error).error_class == ErrorClass(error_class)


class Lines:
    """A source of so many rows."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def begin(self, saved: Checkpoint | None) -> Checkpoint | None:
        return saved

    def read(self, at: Checkpoint, size: int) -> Batch:
        numbers = range(at.offset, min(at.offset + size, self.rows))
        rows = [Row(number, {"id": str(number)}, "") for number in numbers]
        end = replace(at, offset=at.offset + len(rows))
        return Batch(["id"], rows, [], end, last=end.offset == self.rows)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("row", [1, 2, 9, 10, 11, 25])
def test_all_rows_before_the_one_that_fails_are_read_and_none_behind(
    app: Flask, monkeypatch: pytest.MonkeyPatch, row: int
) -> None:
    monkeypatch.setattr(rehearsals, "READ_RETRY", None)
    rehearsal = Rehearsal(fail_at_row=row, fail_with=Failure.INVALID)
    with app.app_context():
        read = rehearsal.applied_to(Lines(25), f"z-rehearsal-{uuid.uuid4().hex}")
        place = Checkpoint()
        while place.offset < row - 1:
            place = read(place, 10, place.offset).end
        assert place.offset == row - 1
        with pytest.raises(Invalid):
            read(place, 10, place.offset)


def test_a_source_that_ends_before_the_row_does_not_fail(app: Flask) -> None:
    with app.app_context():
        read = Rehearsal(fail_at_row=12).applied_to(Lines(10), f"z-rehearsal-{uuid.uuid4().hex}")
        assert read(Checkpoint(), 10, 0).last


@pytest.mark.usefixtures("allowed")
def test_a_rehearsal_shows_retry_breaker_dead_letter_and_recovery(
    app: Flask, source: str, now: datetime
) -> None:
    job_id = enqueue_run(app, source, fail_at_row=25, fail_with="timeout")

    # The first attempt keeps what comes before the row, and is to be repeated.
    assert run_due(app, job_id) == JobState.RETRYING
    assert rows_kept(app) == 24

    # The next fails at the same row, and by then the breaker has seen enough.
    run_due(app, job_id)
    with app.app_context():
        breaker = breaker_of(f"source:{source}")
        assert breaker.current_state == "open"
    deferred = run_due(app, job_id)
    assert deferred == JobState.RETRYING
    with app.app_context(), reading() as session:
        found = select(JobAttempt).where(JobAttempt.job_id == job_id).order_by(JobAttempt.id)
        attempts = [(item.outcome, item.error_class) for item in session.scalars(found)]
    assert attempts[0] == ("failed", "timeout")
    assert attempts[-1][0] == "deferred"

    # With the breaker closed by hand it goes on failing until it is given up.
    for _ in range(9):
        with app.app_context():
            breaker.close()
        if run_due(app, job_id) == JobState.DEAD:
            break
    with app.app_context(), reading() as session:
        letter = session.scalars(select(DeadLetter)).one()
        assert (letter.error_class, letter.resolved_at) == ("timeout", None)

    # Without the failure the same job reads all of it, and its letter is resolved.
    with app.app_context():
        breaker.close()
        with transaction() as session:
            arguments = {"source": source, "batch_size": 10}
            retry(session, letter.id, by=COMMAND, now=clock_now(), arguments=arguments)
    assert run_due(app, job_id) == JobState.SUCCEEDED
    assert rows_kept(app) == ROWS
    with app.app_context(), reading() as session:
        assert session.scalars(select(EtlRun.status)).one() == "succeeded"
        assert session.get_one(DeadLetter, letter.id).resolved_at is not None
