"""What workers write: claims, leases and settlements, and who loses a race."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.actors import SYSTEM
from webapp.jobs import attempts, service
from webapp.jobs.attempts import Failure
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.values import Claim, JobState, Outcome

FAILURE = Failure("network", "ConnectionError", "refused", "Traceback …")
LEASE = 30.0
Settle = Callable[[Session, Claim, datetime], bool]


def queued(session: Session, now: datetime) -> Job:
    return service.enqueue(session, "test_echo", {}, by=SYSTEM, now=now)


def take(session: Session, job: Job, now: datetime) -> Claim | None:
    return attempts.claim(session, job.id, worker="w1", lease_seconds=LEASE, now=now)


def taken(session: Session, job: Job, now: datetime) -> Claim:
    held = take(session, job, now)
    assert held is not None
    return held


def settled(session: Session, job: Job) -> tuple[Job, JobAttempt]:
    fresh = service.find_job(session, job.id)
    attempt = session.scalars(
        select(JobAttempt).where(JobAttempt.job_id == job.id).order_by(JobAttempt.fence.desc())
    ).first()
    assert attempt is not None
    session.refresh(attempt)
    return fresh, attempt


def test_delivery_twice_runs_once(session: Session, now: datetime) -> None:
    job = queued(session, now)
    assert take(session, job, now) is not None
    assert take(session, job, now) is None


def test_a_job_before_its_time_is_left_alone(session: Session, now: datetime) -> None:
    later = now + timedelta(hours=1)
    job = service.enqueue(session, "test_echo", {}, by=SYSTEM, now=now, run_at=later)
    assert take(session, job, now) is None
    assert attempts.claim(
        session, job.id, worker="caller", lease_seconds=LEASE, now=now, early=True
    )


def test_each_claim_has_a_higher_fence(session: Session, now: datetime) -> None:
    job = queued(session, now)
    first = taken(session, job, now)
    attempts.release(session, first, now=now)
    assert taken(session, job, now).fence == first.fence + 1


SETTLEMENTS: dict[str, tuple[Settle, JobState, Outcome, int]] = {
    "succeed": (
        lambda s, c, n: attempts.succeed(s, c, result={"n": 1}, now=n),
        JobState.SUCCEEDED,
        Outcome.SUCCEEDED,
        1,
    ),
    "retry": (
        lambda s, c, n: attempts.retry_later(
            s, c, FAILURE, at=n + timedelta(seconds=5), strategy="linear", delay=5, now=n
        ),
        JobState.RETRYING,
        Outcome.FAILED,
        1,
    ),
    "bury": (
        lambda s, c, n: attempts.bury(s, c, FAILURE, now=n),
        JobState.DEAD,
        Outcome.FAILED,
        1,
    ),
    "defer": (
        lambda s, c, n: attempts.defer(s, c, reason="rests", at=n + timedelta(seconds=5), now=n),
        JobState.RETRYING,
        Outcome.DEFERRED,
        0,
    ),
    "release": (
        lambda s, c, n: attempts.release(s, c, now=n),
        JobState.QUEUED,
        Outcome.RELEASED,
        0,
    ),
    "stop": (lambda s, c, n: attempts.stop(s, c, now=n), JobState.CANCELED, Outcome.CANCELED, 0),
}


@pytest.mark.parametrize("name", SETTLEMENTS)
def test_an_attempt_is_settled_once_with_its_outcome(
    session: Session, now: datetime, name: str
) -> None:
    settle, state, outcome, spent = SETTLEMENTS[name]
    job = queued(session, now)
    held = taken(session, job, now)
    assert settle(session, held, now)
    assert not settle(session, held, now)
    fresh, attempt = settled(session, job)
    assert (fresh.state, attempt.outcome, fresh.attempts) == (state, outcome, spent)
    assert (fresh.worker, fresh.lease_expires_at, attempt.ended_at) == (None, None, now)


@pytest.mark.parametrize("name", SETTLEMENTS)
def test_a_worker_that_was_thought_dead_settles_nothing(
    session: Session, now: datetime, name: str
) -> None:
    settle, *_ = SETTLEMENTS[name]
    job = queued(session, now)
    old = taken(session, job, now)
    later = now + timedelta(seconds=LEASE + 1)
    attempts.lose(session, job.id, old.fence, give_up=False, now=later)
    new = taken(session, job, later)
    assert not settle(session, old, later)
    assert not attempts.renew(session, old, lease_seconds=LEASE, now=later)
    assert not attempts.look(session, old).held
    assert attempts.succeed(session, new, result=None, now=later)


def test_a_renewed_lease_is_not_lost(session: Session, now: datetime) -> None:
    job = queued(session, now)
    held = taken(session, job, now)
    late = now + timedelta(seconds=LEASE - 1)
    assert attempts.renew(session, held, lease_seconds=LEASE, now=late)
    after = now + timedelta(seconds=LEASE + 5)
    assert not attempts.lose(session, job.id, held.fence, give_up=False, now=after)


def test_a_failure_is_kept_whole(session: Session, now: datetime) -> None:
    job = queued(session, now)
    attempts.bury(session, taken(session, job, now), FAILURE, now=now)
    fresh, attempt = settled(session, job)
    assert fresh.error == "ConnectionError: refused"
    assert (attempt.error_class, attempt.exception_type) == ("network", "ConnectionError")
    assert (attempt.message, attempt.traceback) == ("refused", "Traceback …")


def test_progress_is_refused_to_who_lost_the_job(session: Session, now: datetime) -> None:
    job = queued(session, now)
    held = taken(session, job, now)
    assert attempts.show_progress(session, held, done=5, total=10, message="half")
    attempts.release(session, held, now=now)
    assert not attempts.show_progress(session, held, done=6, total=10, message="")


@pytest.mark.parametrize("name", ["retry", "defer", "release"])
def test_a_wish_to_stop_outlives_the_attempt(session: Session, now: datetime, name: str) -> None:
    settle, *_ = SETTLEMENTS[name]
    job = queued(session, now)
    held = taken(session, job, now)
    service.cancel(session, job.id, by=SYSTEM, now=now)
    assert settle(session, held, now)
    ended = service.find_job(session, job.id)
    assert (ended.state, ended.finished_at) == (JobState.CANCELED, now)


def test_a_wish_to_stop_outlives_the_worker(session: Session, now: datetime) -> None:
    job = queued(session, now)
    held = taken(session, job, now)
    service.cancel(session, job.id, by=SYSTEM, now=now)
    later = now + timedelta(seconds=LEASE + 1)
    assert attempts.lose(session, job.id, held.fence, give_up=False, now=later)
    assert service.find_job(session, job.id).state == JobState.CANCELED


def test_a_queued_job_is_due_whatever_this_clock_says(session: Session, now: datetime) -> None:
    job = queued(session, now)
    assert take(session, job, now - timedelta(seconds=2)) is not None
