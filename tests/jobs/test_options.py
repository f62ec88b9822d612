"""What a job may be given besides its arguments, and many jobs at once."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.actors import SYSTEM, Actor
from webapp.errors import Invalid
from webapp.jobs import service
from webapp.jobs.models import Job, JobDependency
from webapp.jobs.values import JobState
from webapp.jobs.wishes import JobOptions, Wish

MIRA = Actor("user", "mira")


def enqueue(session: Session, now: datetime, **options: Any) -> Job:
    return service.enqueue(session, "test_echo", {"value": 7}, by=SYSTEM, now=now, **options)


def count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Job)) or 0


def test_what_is_returned_is_what_is_stored(session: Session, now: datetime) -> None:
    options = {"queue": "mail", "priority": 90, "expires_at": now + timedelta(hours=1)}
    job = enqueue(session, now, callback_url="https://example.com/told", **options)
    names = [column.key for column in Job.__table__.columns]
    given = {name: getattr(job, name) for name in names}
    session.commit()
    session.expire_all()
    assert {name: getattr(service.find_job(session, job.id), name) for name in names} == given
    assert (job.queue, job.priority) == ("mail", 90)


def test_a_delay_is_a_time(session: Session, now: datetime) -> None:
    job = enqueue(session, now, delay=90)
    assert (job.state, job.run_at) == (JobState.SCHEDULED, now + timedelta(seconds=90))
    assert enqueue(session, now, delay=0).state == JobState.QUEUED


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"delay": -1}, "delay"),
        ({"delay": float("nan")}, "delay"),
        ({"delay": 1e12}, "delay"),
        ({"priority": 101}, "priority"),
        ({"priority": -1}, "priority"),
        ({"queue": "Not one"}, "queue"),
        ({"unique_key": ""}, "unique_key"),
        ({"unique_key": "x" * 256}, "unique_key"),
        ({"callback_url": "https://example.com/" + "x" * 2_000}, "callback_url"),
        ({"depends_on": [12_345]}, "depends_on"),
        ({"depends_on": list(range(1, 102))}, "depends_on"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(
    session: Session, now: datetime, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        enqueue(session, now, **options)
    assert list(refusal.value.errors) == [field]
    assert count(session) == 0


def test_a_time_and_a_delay_are_one_too_many(session: Session, now: datetime) -> None:
    with pytest.raises(Invalid) as refusal:
        enqueue(session, now, delay=1, run_at=now)
    assert "delay" in refusal.value.errors


def test_a_job_cannot_expire_before_it_is_due(session: Session, now: datetime) -> None:
    with pytest.raises(Invalid) as refusal:
        enqueue(session, now, delay=60, expires_at=now + timedelta(seconds=30))
    assert "expires_at" in refusal.value.errors


def test_a_job_that_depends_on_others_is_held(session: Session, now: datetime) -> None:
    first = enqueue(session, now)
    job = enqueue(session, now, depends_on=[first.id, first.id])
    assert (job.held, job.state, job.dispatched_at) == (True, JobState.SCHEDULED, None)
    rows = session.execute(select(JobDependency.job_id, JobDependency.depends_on_id)).all()
    assert [tuple(row) for row in rows] == [(job.id, first.id)]


def test_nothing_can_wait_for_a_canceled_job(session: Session, now: datetime) -> None:
    first = service.cancel(session, enqueue(session, now).id, by=MIRA, now=now)
    with pytest.raises(Invalid, match="canceled"):
        enqueue(session, now, depends_on=[first.id])


def test_many_jobs_are_taken_in_their_order(session: Session, now: datetime) -> None:
    wishes = [Wish("test_echo", {"value": number}) for number in range(250)]
    ids = service.enqueue_all(session, wishes, by=SYSTEM, now=now)
    rows = session.execute(select(Job.id, Job.arguments).where(Job.id.in_(ids)))
    values = {row.id: row.arguments["value"] for row in rows}
    assert [values[job_id] for job_id in ids] == list(range(250))


def test_many_jobs_are_taken_all_or_none(session: Session, now: datetime) -> None:
    wishes = [Wish("test_echo", {}), Wish("test_echo", {"value": "x"})]
    with pytest.raises(Invalid) as refusal:
        service.enqueue_all(session, wishes, by=SYSTEM, now=now)
    assert list(refusal.value.errors) == ["jobs.1.value"]
    keyed = [Wish("test_echo", {}, JobOptions(unique_key="k"))]
    with pytest.raises(Invalid) as refusal:
        service.enqueue_all(session, keyed, by=SYSTEM, now=now)
    assert list(refusal.value.errors) == ["jobs.0.unique_key"]
    assert count(session) == 0
    assert service.enqueue_all(session, [], by=SYSTEM, now=now) == []
