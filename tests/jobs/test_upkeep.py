"""What beats do for jobs that wait: expiry, dependencies, batches."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from webapp.actors import SYSTEM, Actor
from webapp.errors import Invalid, NotFound
from webapp.jobs import attempts, batching, service, upkeep
from webapp.jobs.attempts import Failure
from webapp.jobs.models import Job
from webapp.jobs.turns import claim_next
from webapp.jobs.values import JobState
from webapp.jobs.wishes import Wish

MIRA = Actor("user", "mira")
HOUR = timedelta(hours=1)
FAILURE = Failure("bug", "ValueError", "no", "")


def enqueue(session: Session, now: datetime, **options: Any) -> Job:
    return service.enqueue(session, "test_echo", {}, by=SYSTEM, now=now, **options)


def end(session: Session, job_id: int, now: datetime, *, dead: bool = False) -> None:
    held = attempts.claim(session, job_id, worker="w1", lease_seconds=30, now=now)
    assert held is not None
    if dead:
        assert attempts.bury(session, held, FAILURE, now=now)
    else:
        assert attempts.succeed(session, held, result=None, now=now)


def state(session: Session, job_id: int) -> JobState:
    return JobState(service.find_job(session, job_id).state)


def test_a_job_that_has_not_begun_in_time_is_canceled(session: Session, now: datetime) -> None:
    late = enqueue(session, now, expires_at=now + HOUR).id
    running = enqueue(session, now, expires_at=now + HOUR).id
    lasting = enqueue(session, now).id
    assert attempts.claim(session, running, worker="w1", lease_seconds=30, now=now)
    assert not upkeep.anything_to_keep_up(session, now=now)
    assert upkeep.expire(session, now=now) == []
    after = now + 2 * HOUR
    assert upkeep.anything_to_keep_up(session, now=after)
    assert upkeep.expire(session, now=after) == [late]
    assert upkeep.expire(session, now=after) == []
    job = service.find_job(session, late)
    assert (job.state, job.error, job.finished_at) == (
        JobState.CANCELED,
        upkeep.EXPIRED,
        after,
    )
    assert state(session, running) == JobState.RUNNING
    assert state(session, lasting) == JobState.QUEUED


def test_no_worker_begins_what_has_expired(session: Session, now: datetime) -> None:
    job_id = enqueue(session, now, expires_at=now + HOUR).id
    after = now + HOUR
    assert attempts.claim(session, job_id, worker="w1", lease_seconds=30, now=after) is None
    batch = claim_next(
        session, "default", paces={"test_echo": None}, worker="w1", lease_seconds=30, now=after
    )
    assert (batch.claims, batch.more) == ([], False)


def test_what_expired_can_be_run_after_all(session: Session, now: datetime) -> None:
    job_id = enqueue(session, now, expires_at=now + HOUR).id
    after = now + 2 * HOUR
    upkeep.expire(session, now=after)
    service.retry(session, job_id, by=MIRA, now=after)
    assert upkeep.expire(session, now=after) == []
    end(session, job_id, after)


def test_a_job_waits_until_all_others_have_succeeded(session: Session, now: datetime) -> None:
    first, second = enqueue(session, now).id, enqueue(session, now).id
    job_id = enqueue(session, now, depends_on=[first, second]).id
    end(session, first, now)
    assert attempts.claim(session, job_id, worker="w1", lease_seconds=30, now=now) is None
    assert upkeep.release_held(session, now=now) == []
    end(session, second, now, dead=True)
    assert upkeep.release_held(session, now=now) == []
    assert state(session, job_id) == JobState.SCHEDULED
    service.retry(session, second, by=MIRA, now=now)
    end(session, second, now)
    later = now + HOUR
    assert upkeep.release_held(session, now=later) == [job_id]
    assert service.find_job(session, job_id).run_at == later
    assert upkeep.release_held(session, now=later) == []
    end(session, job_id, later)


def test_a_time_ahead_is_kept_after_the_others_have_ended(session: Session, now: datetime) -> None:
    first = enqueue(session, now).id
    job_id = enqueue(session, now, depends_on=[first], run_at=now + HOUR).id
    end(session, first, now)
    assert upkeep.release_held(session, now=now) == [job_id]
    assert service.find_job(session, job_id).run_at == now + HOUR


def test_a_job_that_waits_for_a_canceled_one_is_canceled_with_all_that_wait_for_it(
    session: Session, now: datetime
) -> None:
    first = enqueue(session, now).id
    second = enqueue(session, now, depends_on=[first]).id
    third = enqueue(session, now, depends_on=[second]).id
    service.cancel(session, first, by=MIRA, now=now)
    for _ in range(2):
        upkeep.release_held(session, now=now)
    assert (state(session, second), state(session, third)) == (JobState.CANCELED,) * 2
    assert service.find_job(session, third).error == upkeep.HOPELESS


def test_run_now_waits_for_nobody(session: Session, now: datetime) -> None:
    first = enqueue(session, now).id
    job_id = enqueue(session, now, depends_on=[first]).id
    assert service.retry(session, job_id, by=MIRA, now=now).state == JobState.QUEUED
    end(session, job_id, now)


def wishes(count: int) -> list[Wish]:
    return [Wish("test_echo", {"value": number}) for number in range(count)]


def test_a_batch_ends_with_its_last_job_and_is_followed_once(
    session: Session, now: datetime
) -> None:
    then = Wish("test_echo", {"value": 99})
    batch = batching.enqueue_batch(session, "Nightly", wishes(3), then=then, by=MIRA, now=now)
    ids = [job.id for job in session.query(Job).filter_by(batch_id=batch.id).order_by(Job.id)]
    end(session, ids[0], now)
    end(session, ids[1], now, dead=True)
    assert upkeep.finish_batches(session, now=now) == []
    row = batching.find_batch(session, batch.id)
    assert (row.ended, row.share_done, row.finished_at) == (2, 66.0, None)
    service.cancel(session, ids[2], by=MIRA, now=now)
    assert upkeep.finish_batches(session, now=now) == [batch.id]
    assert upkeep.finish_batches(session, now=now) == []
    row = batching.find_batch(session, batch.id)
    assert (row.ended, row.finished_at) == (3, now)
    assert row.then_job_id is not None
    assert service.find_job(session, row.then_job_id).arguments["value"] == 99
    service.retry(session, ids[1], by=MIRA, now=now)
    end(session, ids[1], now)
    assert upkeep.finish_batches(session, now=now) == []


@pytest.mark.parametrize(
    ("name", "count", "then", "field"),
    [
        ("", 1, None, "name"),
        ("x" * 256, 1, None, "name"),
        ("x", 0, None, "jobs"),
        ("x", 1, Wish("test_echo", {"value": "x"}), "then.value"),
    ],
)
def test_a_batch_that_cannot_be_is_refused_by_name(
    session: Session, now: datetime, name: str, count: int, then: Wish | None, field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        batching.enqueue_batch(session, name, wishes(count), then=then, by=MIRA, now=now)
    assert list(refusal.value.errors) == [field]


def test_what_is_no_batch_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound):
        batching.find_batch(session, 12)
