"""Several jobs claimed at once: each is still run once, in order, and costs nothing unstarted."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, func, null, select
from sqlalchemy.orm import Session

from webapp.actors import SYSTEM
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.jobs import attempts, dispatch, service
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.turns import Batch, Success, claim_next, look_at, succeed_all
from webapp.jobs.values import Claim, JobState, Outcome
from webapp.jobs.wishes import Wish

LEASE = 30.0
QUICK = {"test_echo": 0.0001, "test_fail": None}


def queued(session: Session, now: datetime, priority: int = 50, name: str = "test_echo") -> Job:
    return service.enqueue(session, name, {}, by=SYSTEM, now=now, priority=priority)


def take(session: Session, now: datetime, paces: dict[str, float | None] = QUICK) -> Batch:
    return claim_next(session, "default", paces=paces, worker="w1", lease_seconds=LEASE, now=now)


def outcomes(session: Session, job: Job) -> list[str]:
    found = select(JobAttempt.outcome).where(JobAttempt.job_id == job.id)
    return list(session.scalars(found.order_by(JobAttempt.fence)))


def succeeded(claim: Claim, now: datetime) -> Success:
    return Success(claim, {"n": claim.job_id}, now, now)


def test_quick_jobs_are_claimed_together_each_with_its_own_fence_lease_and_attempt(
    session: Session, now: datetime
) -> None:
    jobs = [queued(session, now) for _ in range(3)]
    batch = take(session, now)
    assert [claim.job_id for claim in batch.claims] == [job.id for job in jobs]
    assert not batch.more
    for job, begun in zip(jobs, (now, None, None), strict=True):
        fresh = service.find_job(session, job.id)
        assert (fresh.state, fresh.worker, fresh.fence) == (JobState.RUNNING, "w1", 1)
        assert (fresh.started_at, outcomes(session, job)) == (begun, [Outcome.RUNNING])
        assert fresh.lease_expires_at == now + timedelta(seconds=LEASE)
    assert take(session, now) == Batch([], more=False)


def test_a_claim_of_a_few_does_not_look_through_all_that_are_queued(
    session: Session, now: datetime
) -> None:
    service.enqueue_all(
        session, [Wish("test_echo", {}, {}) for _ in range(3_000)], by=SYSTEM, now=now
    )
    bind = session.connection()
    asked: list[tuple[str, Any]] = []

    def note(*of: Any) -> None:
        asked.append((of[2], of[3]))

    event.listen(bind, "before_cursor_execute", note)
    assert len(take(session, now).claims) > 1
    event.remove(bind, "before_cursor_execute", note)
    words = "EXPLAIN QUERY PLAN" if bind.dialect.name == "sqlite" else "EXPLAIN"
    updates = [one for one in asked if one[0].startswith("UPDATE jobs ")]
    assert len(updates) == 1
    plan = bind.exec_driver_sql(f"{words} {updates[0][0]}", updates[0][1]).all()
    assert "ix_jobs_queued" not in str(plan)


def test_the_most_urgent_come_first_and_the_rest_is_told_of(
    session: Session, now: datetime
) -> None:
    low, high, middle = (queued(session, now, priority) for priority in (1, 90, 50))
    batches = [take(session, now) for _ in range(3)]
    assert [[claim.job_id for claim in batch.claims] for batch in batches] == [
        [high.id],
        [middle.id],
        [low.id],
    ]
    assert [batch.more for batch in batches] == [True, True, False]


def test_types_that_the_worker_does_not_know_are_left_alone(
    session: Session, now: datetime
) -> None:
    queued(session, now)
    assert take(session, now, {"test_fail": 0.0001}) == Batch([], more=False)


def test_jobs_of_a_type_that_is_not_known_to_be_quick_are_claimed_one_by_one(
    session: Session, now: datetime
) -> None:
    for _ in range(2):
        queued(session, now)
    assert len(take(session, now, {"test_echo": None, "test_fail": 0.001}).claims) == 1
    assert len(take(session, now, {"test_echo": 3.0, "test_fail": 0.001}).claims) == 1


def test_successes_are_settled_together(session: Session, now: datetime) -> None:
    jobs = [queued(session, now) for _ in range(3)]
    claims = take(session, now).claims
    assert succeed_all(session, [succeeded(claim, now) for claim in claims])
    for job in jobs:
        done = service.find_job(session, job.id)
        assert (done.state, done.result, done.attempts) == (JobState.SUCCEEDED, {"n": job.id}, 1)
        assert (done.worker, done.lease_expires_at, done.started_at) == (None, None, now)
        assert outcomes(session, job) == [Outcome.SUCCEEDED]


def test_results_are_kept_exactly_however_many_are_settled_together(
    session: Session, now: datetime
) -> None:
    results = [None, [10**30], "0", [1.5, None], {"deep": {"number": 2**63}}, "snow \u2603"]
    jobs = [queued(session, now) for _ in results]
    claims = take(session, now).claims
    pairs = zip(claims, results, strict=True)
    assert succeed_all(session, [replace(succeeded(claim, now), result=it) for claim, it in pairs])
    assert [service.find_job(session, job.id).result for job in jobs] == results
    # What returned nothing has null for its result, and what has not ended has none.
    without = select(func.count()).select_from(Job).where(Job.result.is_(null()))
    assert session.scalar(without) == 0


def test_one_that_is_no_longer_held_is_noticed_among_the_successes(
    session: Session, now: datetime
) -> None:
    for _ in range(2):
        queued(session, now)
    mine, taken = take(session, now).claims
    attempts.put_back(session, taken.job_id, taken.fence, now=now)
    assert not succeed_all(session, [succeeded(mine, now), succeeded(taken, now)])
    assert service.find_job(session, taken.job_id).state == JobState.QUEUED


def test_a_killed_worker_loses_what_it_had_begun_and_nothing_else(
    session: Session, now: datetime
) -> None:
    begun, second, third = (queued(session, now) for _ in range(3))
    take(session, now)
    assert dispatch.settle_lost(session, max_losses=3, now=now) == []
    later = now + timedelta(seconds=LEASE + 1)
    (lost,) = dispatch.settle_lost(session, max_losses=3, now=later)
    assert (lost.job_id, outcomes(session, begun)) == (begun.id, [Outcome.LOST])
    for job in (second, third):
        back = service.find_job(session, job.id)
        assert (back.state, back.attempts, back.losses) == (JobState.QUEUED, 0, 0)
        # It keeps its place in the queue.
        assert (back.run_at, outcomes(session, job)) == (now, [Outcome.RELEASED])


def test_a_job_that_was_claimed_before_is_claimed_alone_so_that_its_losses_are_its_own(
    session: Session, now: datetime
) -> None:
    for _ in range(3):
        queued(session, now)
    take(session, now)
    later = now + timedelta(seconds=LEASE + 1)
    dispatch.settle_lost(session, max_losses=3, now=later)
    assert [len(take(session, later).claims) for _ in range(3)] == [1, 1, 1]


def test_a_wish_to_stop_a_job_that_has_not_begun_ends_it(session: Session, now: datetime) -> None:
    queued(session, now)
    job = queued(session, now)
    _, waiting = take(session, now).claims
    service.cancel(session, job.id, by=SYSTEM, now=now)
    assert attempts.give_back(session, job.id, waiting.fence, now=now)
    assert service.find_job(session, job.id).state == JobState.CANCELED


def test_a_job_that_has_begun_is_not_given_back(session: Session, now: datetime) -> None:
    for _ in range(2):
        queued(session, now)
    first, second = take(session, now).claims
    assert attempts.begin(session, second, at=now)
    for claim in (first, second):
        assert not attempts.give_back(session, claim.job_id, claim.fence, now=now)


def test_a_message_tells_the_queue_and_whether_its_job_still_waits(
    session: Session, now: datetime
) -> None:
    job = queued(session, now)
    look = look_at(session, job.id)
    assert look is not None
    assert (look.queue, look.type, look.waits) == ("default", "test_echo", True)
    take(session, now)
    again = look_at(session, job.id)
    assert again is not None
    assert not again.waits
    assert look_at(session, 999_999) is None


@pytest.fixture
def in_app(app: Flask) -> Iterator[Flask]:
    """The application, for sessions of several threads."""
    with app.app_context():
        yield app


def test_workers_that_claim_at_once_never_get_the_same_job(in_app: Flask) -> None:
    with transaction() as session:
        for _ in range(200):
            queued(session, clock_now())

    def work(number: int) -> list[int]:
        mine: list[int] = []
        with in_app.app_context():
            batch = Batch([], more=True)
            while batch.more:
                with transaction() as session:
                    batch = claim_next(
                        session,
                        "default",
                        paces=QUICK,
                        worker=f"w{number}",
                        lease_seconds=LEASE,
                        now=clock_now(),
                    )
                mine += [claim.job_id for claim in batch.claims]
        return mine

    with ThreadPoolExecutor(4) as pool:
        claimed = [job_id for mine in pool.map(work, range(4)) for job_id in mine]
    assert len(claimed) == len(set(claimed)) == 200
