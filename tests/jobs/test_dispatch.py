"""What a beat does: lost jobs come back once, due jobs are sent by priority and due time."""

from collections.abc import Collection
from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from webapp.actors import SYSTEM
from webapp.jobs import attempts, dispatch, service
from webapp.jobs.models import Job
from webapp.jobs.values import JobState


def queued(session: Session, now: datetime, priority: int = 50, after: float = 0) -> Job:
    run_at = now + timedelta(seconds=after)
    return service.enqueue(
        session, "test_echo", {}, by=SYSTEM, now=now, priority=priority, run_at=run_at
    )


def marked(
    session: Session, now: datetime, *, room: int = 10, waiting: Collection[int] = ()
) -> list[int]:
    due = dispatch.mark_due(session, room=room, waiting=waiting, now=now)
    return [item.job_id for item in due]


def test_due_jobs_are_sent_by_priority_then_due_time(session: Session, now: datetime) -> None:
    low = queued(session, now, priority=1)
    late = queued(session, now, after=1)
    early = queued(session, now)
    future = queued(session, now, after=3600)
    sent = marked(session, now + timedelta(seconds=5))
    assert sent == [early.id, late.id, low.id]
    assert service.find_job(session, late.id).state == JobState.QUEUED
    assert service.find_job(session, future.id).state == JobState.SCHEDULED


def test_no_more_are_sent_than_there_is_room(session: Session, now: datetime) -> None:
    jobs = [queued(session, now) for _ in range(3)]
    assert marked(session, now, room=2) == [jobs[0].id, jobs[1].id]
    assert marked(session, now, room=2) == [jobs[2].id]


def test_a_job_is_sent_once_by_however_many_beats(session: Session, now: datetime) -> None:
    queued(session, now)
    assert len(marked(session, now)) == 1
    assert marked(session, now) == []


@pytest.mark.parametrize(
    ("seconds", "held", "sent_again"),
    [(1, False, False), (4, False, True), (4, True, False), (3600, True, False)],
)
def test_a_message_that_the_broker_no_longer_holds_is_sent_again(
    session: Session, now: datetime, *, seconds: int, held: bool, sent_again: bool
) -> None:
    job = queued(session, now)
    marked(session, now)
    waiting = {job.id} if held else set()
    again = marked(session, now + timedelta(seconds=seconds), waiting=waiting)
    assert bool(again) is sent_again


def test_messages_that_wait_take_no_room_from_those_that_are_missing(
    session: Session, now: datetime
) -> None:
    jobs = [queued(session, now) for _ in range(3)]
    marked(session, now)
    later = now + timedelta(seconds=4)
    assert marked(session, later, room=1, waiting={jobs[0].id, jobs[1].id}) == [jobs[2].id]


def test_what_could_not_be_sent_is_sent_by_the_next_beat(session: Session, now: datetime) -> None:
    queued(session, now)
    due = dispatch.mark_due(session, room=10, waiting=(), now=now)
    dispatch.unmark(session, due)
    assert len(marked(session, now)) == 1


def test_a_lost_job_is_put_back_once(session: Session, now: datetime) -> None:
    job = queued(session, now)
    attempts.claim(session, job.id, worker="w1", lease_seconds=30, now=now)
    assert dispatch.settle_lost(session, max_losses=3, now=now) == []
    later = now + timedelta(seconds=31)
    (lost,) = dispatch.settle_lost(session, max_losses=3, now=later)
    assert (lost.job_id, lost.losses, lost.buried) == (job.id, 1, False)
    assert dispatch.settle_lost(session, max_losses=3, now=later) == []
    fresh = service.find_job(session, job.id)
    assert (fresh.state, fresh.attempts, fresh.losses) == (JobState.QUEUED, 0, 1)


def test_a_job_that_loses_every_worker_is_buried(session: Session, now: datetime) -> None:
    job = queued(session, now)
    moment = now
    for _ in range(3):
        attempts.claim(session, job.id, worker="w1", lease_seconds=30, now=moment)
        moment += timedelta(seconds=31)
        (lost,) = dispatch.settle_lost(session, max_losses=2, now=moment)
    assert lost.buried
    assert service.find_job(session, job.id).state == JobState.DEAD


def test_the_leases_of_dead_workers_end_at_once_and_those_of_others_stay(
    session: Session, now: datetime
) -> None:
    for worker in ("dead", "alive"):
        job = queued(session, now)
        attempts.claim(session, job.id, worker=worker, lease_seconds=30, now=now)
    assert dispatch.end_leases(session, ["dead"], now=now) == 1
    assert dispatch.end_leases(session, ["dead"], now=now) == 0
    (lost,) = dispatch.settle_lost(session, max_losses=3, now=now)
    assert lost.job_id == job.id - 1


def test_what_a_stopping_worker_still_holds_is_put_back_and_no_loss(
    session: Session, now: datetime
) -> None:
    mine, other = queued(session, now), queued(session, now)
    for job, worker in ((mine, "stops"), (other, "stays")):
        attempts.claim(session, job.id, worker=worker, lease_seconds=30, now=now)
    assert dispatch.release_all(session, "stops", now=now) == 1
    back = service.find_job(session, mine.id)
    assert (back.state, back.losses, back.attempts) == (JobState.QUEUED, 0, 0)
    assert service.find_job(session, other.id).state == JobState.RUNNING
