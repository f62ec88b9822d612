"""Which jobs go for good: those that ended long ago, and nothing that anybody still needs."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.actors import COMMAND, SYSTEM
from webapp.dead_letters.service import remove_resolved, resolve, write
from webapp.dead_letters.values import Cause, Reason
from webapp.jobs import service
from webapp.jobs.models import Job, JobAttempt, JobBatch, JobDependency
from webapp.jobs.removal import remove_batches, remove_ended
from webapp.jobs.values import JobState, Outcome

DAY = timedelta(days=1)
CAUSE = Cause(
    reason=Reason.ATTEMPTS_SPENT,
    error_class="network",
    exception_type="ConnectionError",
    message="no answer",
    traceback="Traceback",
)


@pytest.fixture
def add(session: Session, now: datetime) -> Callable[..., Job]:
    """Add a job that was made and ended two days ago."""

    def add_job(state: JobState = JobState.SUCCEEDED, **fields: Any) -> Job:
        made = {"created_at": now - 2 * DAY, "finished_at": now - 2 * DAY} | fields
        job = Job(
            type="test_echo",
            queue="default",
            priority=50,
            state=state,
            arguments={},
            run_at=now - 2 * DAY,
            created_by="tests",
            **made,
        )
        session.add(job)
        session.flush()
        return job

    return add_job


def remove(session: Session, now: datetime, most: int = 100) -> tuple[int, list[int]]:
    """Walk over all jobs; return how many went, and who is left."""
    number, after, over = 0, 0, False
    while not over:
        removed = remove_ended(session, ended_before=now - DAY, after=after, most=most)
        number, after, over = number + removed.number, removed.last, removed.over
    return number, list(session.scalars(select(Job.id).order_by(Job.id)))


@pytest.mark.parametrize("most", [1, 2, 100])
def test_only_what_ended_long_ago_goes_with_its_attempts(
    session: Session, now: datetime, add: Callable[..., Job], most: int
) -> None:
    old = [add(JobState.SUCCEEDED), add(JobState.CANCELED), add(JobState.DEAD)]
    for job in old:
        attempt = JobAttempt(
            job_id=job.id,
            type=job.type,
            fence=1,
            started_at=now,
            outcome=Outcome.SUCCEEDED,
            worker="w",
        )
        session.add(attempt)
    waiting = [
        add(state, finished_at=None)
        for state in (JobState.QUEUED, JobState.RUNNING, JobState.RETRYING, JobState.SCHEDULED)
    ]
    lately = add(finished_at=now - DAY)
    later = add(created_at=now, finished_at=now)
    number, left = remove(session, now, most)
    assert number == 3
    assert left == [job.id for job in (*waiting, lately, later)]
    assert session.scalar(select(func.count()).select_from(JobAttempt)) == 0


def test_a_job_stays_as_long_as_it_has_a_letter(
    session: Session, now: datetime, add: Callable[..., Job]
) -> None:
    job = add(JobState.DEAD)
    letter = write(session, job.id, CAUSE, now=now - 2 * DAY)
    assert remove(session, now) == (0, [job.id])
    resolve(session, letter.id, by=COMMAND, now=now - 2 * DAY, notes="Known")
    assert remove(session, now) == (0, [job.id])
    assert remove_resolved(session, resolved_before=now - DAY, most=9, by=SYSTEM, now=now) == 1
    assert remove(session, now) == (1, [])


def test_a_job_stays_as_long_as_another_waits_for_it(
    session: Session, now: datetime, add: Callable[..., Job]
) -> None:
    first, second = add(), add(JobState.SCHEDULED, finished_at=None, held=True)
    session.add(JobDependency(job_id=second.id, depends_on_id=first.id))
    session.flush()
    assert remove(session, now) == (0, [first.id, second.id])
    second.held = False
    session.flush()
    assert remove(session, now) == (1, [second.id])


def test_the_jobs_of_a_batch_stay_until_it_ended_long_ago_and_then_it_goes_too(
    session: Session, now: datetime, add: Callable[..., Job]
) -> None:
    batch = JobBatch(name="all", size=1, created_at=now - 2 * DAY, created_by="tests")
    session.add(batch)
    session.flush()
    job = add(batch_id=batch.id)
    for finished_at in (None, now):
        batch.finished_at = finished_at
        session.flush()
        assert remove(session, now) == (0, [job.id])
    batch.finished_at = now - 2 * DAY
    session.flush()
    assert remove_batches(session, ended_before=now - DAY, most=9) == 0
    assert remove(session, now) == (1, [])
    assert remove_batches(session, ended_before=now - DAY, most=9) == 1


def test_one_that_was_run_again_since_stays(
    session: Session, now: datetime, add: Callable[..., Job]
) -> None:
    job = add(JobState.CANCELED)
    service.retry(session, job.id, by=SYSTEM, now=now)
    assert remove(session, now) == (0, [job.id])


def test_the_walk_ends_where_jobs_are_too_young(
    session: Session, now: datetime, add: Callable[..., Job]
) -> None:
    for _ in range(3):
        add(created_at=now, finished_at=now)
    removed = remove_ended(session, ended_before=now - DAY, after=0, most=2)
    assert (removed.number, removed.over) == (0, True)
