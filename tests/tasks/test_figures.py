"""The beat that counts how attempts end."""

from datetime import timedelta

from flask import Flask
from sqlalchemy import func, select, update

from tasks.figures import roll_up_figures
from tasks.work import run
from webapp.actors import SYSTEM
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs.models import JobMetric, JobMetricHead
from webapp.jobs.rollup import HOUR, MINUTE
from webapp.jobs.service import enqueue


def succeed(app: Flask) -> None:
    with transaction() as session:
        job_id = enqueue(session, "test_echo", {}, by=SYSTEM, now=now()).id
    assert run(app, job_id, worker="w")


def counted(seconds: int) -> int:
    with reading() as session:
        total = select(func.sum(JobMetric.succeeded)).where(JobMetric.seconds == seconds)
        return session.scalar(total) or 0


def test_a_beat_counts_what_ended_and_the_next_one_waits_its_turn(app: Flask) -> None:
    with app.app_context():
        succeed(app)
        roll_up_figures(app, now())
        assert (counted(MINUTE), counted(HOUR)) == (1, 1)
        succeed(app)
        roll_up_figures(app, now())
        assert (counted(MINUTE), counted(HOUR)) == (1, 1)
        with transaction() as session:
            session.execute(update(JobMetricHead).values(claimed_at=now() - timedelta(minutes=1)))
        roll_up_figures(app, now())
        assert (counted(MINUTE), counted(HOUR)) == (2, 2)


def test_the_wait_of_a_job_is_counted_from_when_it_was_due(app: Flask) -> None:
    with app.app_context():
        succeed(app)
        roll_up_figures(app, now())
        with reading() as session:
            (row,) = session.scalars(select(JobMetric).where(JobMetric.seconds == MINUTE))
        assert (sum(row.run_buckets), sum(row.wait_buckets)) == (1, 1)
