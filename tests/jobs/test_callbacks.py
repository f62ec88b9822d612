"""Which ends are told, and that each is told of once, however many beats look."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from webapp.actors import COMMAND, SYSTEM
from webapp.clock import now as clock_now
from webapp.db import reading, transaction
from webapp.jobs.callbacks import BATCH, TYPE, anything_to_tell, find_end, tell_ends
from webapp.jobs.lifecycle import ENDED
from webapp.jobs.models import Job
from webapp.jobs.service import enqueue, find_job, retry
from webapp.jobs.values import JobState

URL = "https://hooks.example/in"


def job_in(session: Session, state: JobState, *, now: datetime, url: str | None = URL) -> Job:
    job = enqueue(session, "test_echo", {}, by=SYSTEM, now=now, callback_url=url)
    job.state = state
    job.finished_at = now if state in ENDED else None
    session.flush()
    return job


def callbacks(session: Session) -> list[Job]:
    return list(session.scalars(select(Job).where(Job.type == TYPE).order_by(Job.id)))


@pytest.mark.parametrize("state", list(JobState))
def test_only_an_ended_job_is_told_of(session: Session, now: datetime, state: JobState) -> None:
    job = job_in(session, state, now=now)
    ended = state in ENDED
    assert anything_to_tell(session) is ended
    assert tell_ends(session, now=now) == [job.id] * ended
    assert len(callbacks(session)) == ended


def test_an_end_that_nobody_waits_for_is_not_told(session: Session, now: datetime) -> None:
    job_in(session, JobState.SUCCEEDED, now=now, url=None)
    assert not anything_to_tell(session)
    assert tell_ends(session, now=now) == []


def test_an_end_is_told_once(session: Session, now: datetime) -> None:
    job = job_in(session, JobState.DEAD, now=now)
    job.request_id = "request-1"
    session.flush()
    tell_ends(session, now=now)
    assert not anything_to_tell(session)
    assert tell_ends(session, now=now) == []
    (callback,) = callbacks(session)
    assert find_job(session, job.id).callback_job_id == callback.id
    assert (callback.state, callback.request_id) == (JobState.QUEUED, "request-1")
    assert callback.arguments["job_id"] == job.id


def test_each_message_has_a_name_of_its_own(session: Session, now: datetime) -> None:
    for _ in range(3):
        job_in(session, JobState.SUCCEEDED, now=now)
    tell_ends(session, now=now)
    assert len({job.arguments["delivery_id"] for job in callbacks(session)}) == 3


def test_the_oldest_ends_come_first_and_a_beat_takes_no_more_than_its_share(
    session: Session, now: datetime
) -> None:
    jobs = [
        job_in(session, JobState.SUCCEEDED, now=now - timedelta(seconds=number))
        for number in range(BATCH + 2)
    ]
    assert tell_ends(session, now=now) == [job.id for job in jobs[:1:-1]]
    assert sorted(tell_ends(session, now=now)) == [jobs[0].id, jobs[1].id]
    assert tell_ends(session, now=now) == []


def test_a_job_that_was_retried_is_told_of_at_its_next_end(session: Session, now: datetime) -> None:
    job = job_in(session, JobState.DEAD, now=now)
    tell_ends(session, now=now)
    retry(session, job.id, by=COMMAND, now=now)
    assert not anything_to_tell(session)
    (first,) = callbacks(session)
    assert find_end(session, job.id, callback_job_id=first.id) is None
    job = find_job(session, job.id)
    job.state, job.finished_at = JobState.SUCCEEDED, now
    session.flush()
    assert tell_ends(session, now=now) == [job.id]
    second = callbacks(session)[1]
    assert find_end(session, job.id, callback_job_id=first.id) is None
    end = find_end(session, job.id, callback_job_id=second.id)
    assert end is not None
    assert end.state == JobState.SUCCEEDED


def test_what_is_told_hides_secrets(session: Session, now: datetime) -> None:
    job = job_in(session, JobState.DEAD, now=now)
    job.result = {"rows": 3, "api_key": "hush"}
    job.error = "Refused: https://ada:hush@db.example/"
    session.flush()
    tell_ends(session, now=now)
    end = find_end(session, job.id, callback_job_id=callbacks(session)[0].id)
    assert end is not None
    assert "hush" not in str(end)
    assert end.result["rows"] == 3


def test_looking_for_ends_reads_no_other_jobs(session: Session, now: datetime) -> None:
    job_in(session, JobState.SUCCEEDED, now=now)
    seen: list[str] = []
    bind = session.connection()
    event.listen(bind, "before_cursor_execute", lambda *facts: seen.append(facts[2]))
    assert anything_to_tell(session)
    (statement,) = seen
    if bind.dialect.name == "sqlite":
        plan = bind.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", (1, 0)).all()
        assert "ix_jobs_callback" in plan[0].detail


def test_of_beats_at_the_same_moment_each_end_has_one_teller(app: Flask) -> None:
    with app.app_context(), transaction() as session:
        jobs = [job_in(session, JobState.SUCCEEDED, now=clock_now()).id for _ in range(60)]

    def beat(_: int) -> list[int]:
        with app.app_context(), transaction() as session:
            return tell_ends(session, now=clock_now())

    with ThreadPoolExecutor(4) as pool:
        told = [job_id for found in pool.map(beat, range(8)) for job_id in found]
    assert sorted(told) == jobs
    with app.app_context(), reading() as session:
        assert sorted(job.arguments["job_id"] for job in callbacks(session)) == jobs
