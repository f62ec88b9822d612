"""A consumer that is killed in the middle of its work: every row arrives exactly once."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.processes import Deployment, deployed, wait_until
from webapp.actors import SYSTEM
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs import service
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.values import JobState, Outcome
from webapp.sources.models import EtlRun, Record
from webapp.sources.service import create_source

pytestmark = pytest.mark.fault

ROWS = 28_298
# Small, so that the run is long enough to be killed in the middle.
BATCH = 100


def enqueue_etl() -> int:
    with transaction() as session:
        create_source(
            session,
            "airports",
            location="package:airportsdata/airports.csv",
            key_field="icao",
            by=SYSTEM,
            now=now(),
        )
        arguments = {"source": "airports", "batch_size": BATCH}
        return service.enqueue(session, "etl", arguments, by=SYSTEM, now=now()).id


def job(job_id: int) -> Job:
    with reading() as session:
        return service.find_job(session, job_id)


def rows() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Record)) or 0


def test_every_row_arrives_exactly_once(deployment: Deployment) -> None:
    job_id = enqueue_etl()
    for kills in range(1, 3):
        consumer = deployment.start_consumer()
        wait_for_rows(kills * 2_000)
        deployment.kill(consumer)
        assert rows() < ROWS, "the run was over before the kill: nothing was tried"
        # What was committed is whole batches, and the checkpoint stands exactly at their end.
        assert rows() % BATCH == 0
        assert job(job_id).state == JobState.RUNNING

    deployment.start_consumer()
    wait_until(
        lambda: job(job_id).state == JobState.SUCCEEDED, seconds=90, what="the job's success"
    )
    assert_exactly_once(job_id, lost=2)


def wait_for_rows(wanted: int) -> None:
    wait_until(lambda: rows() >= wanted, seconds=60, what=f"{wanted} rows before the kill")


def assert_exactly_once(job_id: int, *, lost: int) -> None:
    with reading() as session:
        run = session.scalars(select(EtlRun)).one()
        keys = session.scalar(select(func.count(func.distinct(Record.key))))
        outcomes = session.scalars(
            select(JobAttempt.outcome).where(JobAttempt.job_id == job_id).order_by(JobAttempt.fence)
        ).all()
    # Were a batch done twice, its rows would have counted as unchanged; were one left out, as none.
    counts = (run.processed, run.inserted, run.updated, run.unchanged, run.rejected)
    assert counts == (ROWS, ROWS, 0, 0, 0)
    assert (rows(), keys) == (ROWS, ROWS)
    assert outcomes == [Outcome.LOST] * lost + [Outcome.SUCCEEDED]
    done = job(job_id)
    assert (done.attempts, done.losses) == (1, lost)


def test_a_stop_in_good_order_costs_nothing(deployment: Deployment) -> None:
    with transaction() as session:
        slow = service.enqueue(session, "test_echo", {"seconds": 3}, by=SYSTEM, now=now()).id
    consumer = deployment.start_consumer()
    wait_until(lambda: job(slow).state == JobState.RUNNING, seconds=30, what="the job's start")
    deployment.end(consumer)
    finished = job(slow)
    # The grace was long enough: the job ended by itself, and nothing is left half done.
    assert (finished.state, finished.losses) == (JobState.SUCCEEDED, 0)


def test_a_job_that_outlasts_the_grace_is_put_back(deployment: Deployment) -> None:
    """By a consumer whose workers are processes, and by one whose workers are threads."""
    with transaction() as session:
        slow = [
            service.enqueue(session, "test_echo", {"seconds": 60}, by=SYSTEM, now=now()).id
            for _ in range(2)
        ]
    # Each has one worker, so each has one of the jobs.
    consumers = [deployment.start_consumer(workers=1, kind=kind) for kind in ("process", "thread")]
    for job_id in slow:
        wait_until(
            lambda job_id=job_id: job(job_id).state == JobState.RUNNING,  # type: ignore[misc]
            seconds=30,
            what=f"the start of job {job_id}",
        )
    for consumer in consumers:
        consumer.terminate()
    for consumer in consumers:
        deployment.end(consumer)
    for job_id in slow:
        back = job(job_id)
        assert (back.state, back.attempts, back.losses) == (JobState.QUEUED, 0, 0)


def test_a_job_that_kills_its_worker_ends_in_the_dead_letters(
    tmp_path: Path,
) -> None:
    environ = {"JOB_MAX_LOSSES": "1", "JOB_LEASE_SECONDS": "1", "JOB_HEARTBEAT_SECONDS": "0.3"}
    with deployed(tmp_path, **environ) as deployment, deployment.looked_into():
        with transaction() as session:
            killer = service.enqueue(session, "test_kill_worker", {}, by=SYSTEM, now=now()).id
        deployment.start_consumer(workers=1)
        wait_until(lambda: job(killer).state == JobState.DEAD, seconds=60, what="its burial")
        with transaction() as session:
            next_one = service.enqueue(session, "test_echo", {}, by=SYSTEM, now=now()).id
        wait_until(
            lambda: job(next_one).state == JobState.SUCCEEDED, seconds=30, what="the next job"
        )
        assert job(killer).losses == 2


def test_a_consumer_that_is_started_again_goes_on_without_waiting_for_the_lease(
    tmp_path: Path,
) -> None:
    environ = {"JOB_LEASE_SECONDS": "300", "JOB_HEARTBEAT_SECONDS": "10"}
    with deployed(tmp_path, **environ) as deployment, deployment.looked_into():
        with transaction() as session:
            arguments = {"seconds": 3}
            slow = service.enqueue(session, "test_echo", arguments, by=SYSTEM, now=now()).id
        consumer = deployment.start_consumer()
        wait_until(lambda: job(slow).state == JobState.RUNNING, seconds=30, what="its start")
        deployment.kill(consumer)
        deployment.start_consumer()
        wait_until(lambda: job(slow).state == JobState.SUCCEEDED, seconds=60, what="its success")
        assert job(slow).losses == 1
