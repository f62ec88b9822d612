"""Three consumers look after one schedule, one of them is killed: each due time fires once."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from tests.processes import Deployment, wait_until
from webapp.actors import SYSTEM
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs.models import Job
from webapp.jobs.values import JobState
from webapp.schedules.models import Schedule, ScheduleFiring
from webapp.schedules.service import create_schedule
from webapp.schedules.values import FiringOutcome, Overlap, ScheduleDraft
from webapp.workers.models import Worker

pytestmark = pytest.mark.fault

BEATS = 10
KILLED_AT = 5
# Due by itself only at New Year, so that all due times are the test's own.
YEARLY = ScheduleDraft(
    name="yearly", type="test_echo", arguments={}, cron="0 0 1 1 *", overlap=Overlap.QUEUE
)


def count(table: type[Job | ScheduleFiring | Worker]) -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def come_due(due_at: datetime) -> None:
    with transaction() as session:
        session.execute(update(Schedule).values(next_run_at=due_at))


def test_ten_due_times_fire_ten_times_while_a_consumer_is_killed(deployment: Deployment) -> None:
    with transaction() as session:
        create_schedule(session, YEARLY, by=SYSTEM, now=now(), reason="Needed")
    consumers = [deployment.start_consumer(workers=1) for _ in range(3)]
    wait_until(lambda: count(Worker) == 3, seconds=30, what="three consumers")
    start = now() - timedelta(hours=1)
    due = [start + number * timedelta(minutes=1) for number in range(BEATS)]
    for number, due_at in enumerate(due):
        come_due(due_at)
        if number == KILLED_AT:
            deployment.kill(consumers[0])
        fired = number + 1
        wait_until(
            lambda fired=fired: count(ScheduleFiring) == fired,  # type: ignore[misc]
            seconds=15,
            what=f"{fired} firings",
        )
    wait_until(lambda: succeeded() == BEATS, seconds=30, what="the jobs' success")
    with reading() as session:
        firings = session.scalars(select(ScheduleFiring).order_by(ScheduleFiring.due_at)).all()
    assert [firing.due_at for firing in firings] == due
    assert {firing.outcome for firing in firings} == {FiringOutcome.ENQUEUED}
    assert len({firing.job_id for firing in firings}) == BEATS
    assert count(Job) == BEATS


def succeeded() -> int:
    with reading() as session:
        done = select(func.count()).select_from(Job).where(Job.state == JobState.SUCCEEDED)
        return session.scalar(done) or 0
