"""A clock that was an hour ahead was set back: what it wrote waits no longer than it was to."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from webapp.actors import SYSTEM
from webapp.jobs import attempts, service
from webapp.jobs.attempts import Failure
from webapp.jobs.dispatch import mark_due
from webapp.jobs.models import Job
from webapp.jobs.realignment import realign
from webapp.jobs.values import Claim, JobState

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
LEASE = 30.0


def enqueue(session: Session, now: datetime, **options: datetime) -> int:
    return service.enqueue(session, "test_echo", {}, by=SYSTEM, now=now, **options).id  # type: ignore[arg-type]


def claim(session: Session, job_id: int, now: datetime) -> Claim:
    held = attempts.claim(session, job_id, worker="w1", lease_seconds=LEASE, now=now)
    assert held is not None
    return held


def fail(session: Session, job_id: int, now: datetime) -> None:
    held = claim(session, job_id, now)
    failure = Failure("network", "ConnectionError", "away", "")
    attempts.retry_later(
        session, held, failure, at=now + MINUTE, strategy="constant", delay=60.0, now=now
    )


def job(session: Session, job_id: int) -> Job:
    return service.find_job(session, job_id)


def test_a_retry_waits_from_now_on_for_as_long_as_it_was_to(
    session: Session, now: datetime
) -> None:
    job_id = enqueue(session, now)
    fail(session, job_id, now + HOUR)
    assert realign(session, lease_seconds=LEASE, now=now) == 1
    assert job(session, job_id).run_at == now + MINUTE


def test_what_was_put_back_in_the_future_is_due(session: Session, now: datetime) -> None:
    job_id = enqueue(session, now)
    attempts.release(session, claim(session, job_id, now + HOUR), now=now + HOUR)
    assert mark_due(session, room=9, waiting=(), now=now) == []
    assert realign(session, lease_seconds=LEASE, now=now) == 1
    assert [due.job_id for due in mark_due(session, room=9, waiting=(), now=now)] == [job_id]


def test_a_message_that_was_lost_in_the_future_is_sent_again(
    session: Session, now: datetime
) -> None:
    job_id = enqueue(session, now)
    mark_due(session, room=9, waiting=(), now=now + HOUR)
    assert mark_due(session, room=9, waiting=(), now=now + MINUTE) == []
    assert realign(session, lease_seconds=LEASE, now=now + MINUTE) == 1
    due = mark_due(session, room=9, waiting=(), now=now + MINUTE)
    assert [item.job_id for item in due] == [job_id]


def test_a_lease_is_no_longer_than_a_lease(session: Session, now: datetime) -> None:
    job_id = enqueue(session, now)
    claim(session, job_id, now + HOUR)
    assert realign(session, lease_seconds=LEASE, now=now) == 1
    assert job(session, job_id).lease_expires_at == now + timedelta(seconds=LEASE)


def test_times_that_are_meant_stay(session: Session, now: datetime) -> None:
    later = enqueue(session, now, run_at=now + HOUR)
    failed = enqueue(session, now)
    fail(session, failed, now)
    running = enqueue(session, now)
    claim(session, running, now)
    assert realign(session, lease_seconds=LEASE, now=now) == 0
    assert job(session, later).run_at == now + HOUR
    assert job(session, failed).run_at == now + MINUTE
    assert job(session, running).state == JobState.RUNNING


def test_to_realign_again_changes_nothing(session: Session, now: datetime) -> None:
    for number in range(3):
        job_id = enqueue(session, now)
        (fail if number else claim)(session, job_id, now + HOUR)
    assert realign(session, lease_seconds=LEASE, now=now) == 3
    assert realign(session, lease_seconds=LEASE, now=now + MINUTE) == 0
