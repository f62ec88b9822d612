"""``flask worker``: it stops after its jobs, serves some queues, ends when nothing is due."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.processes import END_SECONDS, Deployment, wait_until
from webapp.actors import SYSTEM, Actor
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs import service
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.values import JobState, Outcome
from webapp.workers.models import Worker
from webapp.workers.service import request_stop

pytestmark = pytest.mark.fault

ADA = Actor("user", "ada")
#: A worker that looks ten times as often as usual whether it is to stop.
OFTEN = {"JOB_MODULES": "tests.jobs.types,tests.jobs.quick_beats"}


def enqueue(queue: str = "default", name: str = "test_echo", **arguments: Any) -> int:
    with transaction() as session:
        return service.enqueue(session, name, arguments, by=SYSTEM, now=now(), queue=queue).id


def job(job_id: int) -> Job:
    with reading() as session:
        return service.find_job(session, job_id)


def is_in(job_id: int, state: JobState) -> Callable[[], bool]:
    return lambda: job(job_id).state == state


def outcomes(job_id: int) -> list[str]:
    with reading() as session:
        found = select(JobAttempt.outcome).where(JobAttempt.job_id == job_id)
        return list(session.scalars(found.order_by(JobAttempt.fence)))


def workers() -> list[Worker]:
    with reading() as session:
        return list(session.scalars(select(Worker).order_by(Worker.name)))


def is_told(deployment: Deployment) -> bool:
    return "worker_stop_requested" in deployment.log("worker")


def test_a_worker_told_to_stop_ends_once_its_job_has_however_long_it_takes(
    deployment: Deployment,
) -> None:
    # Longer than the grace, which is for those that a signal tells to end.
    slow = enqueue(seconds=8)
    process = deployment.start_worker("--workers", "1", SHUTDOWN_GRACE="1", **OFTEN)
    wait_until(is_in(slow, JobState.RUNNING), seconds=30, what="the job's start")
    (worker,) = workers()
    with transaction() as session:
        request_stop(session, worker.name, by=ADA, now=now())
    wait_until(lambda: is_told(deployment), seconds=30, what="its end")
    assert job(slow).state == JobState.RUNNING
    told_at = now()
    left = enqueue()
    assert process.wait(60) == 0
    assert (now() - told_at).total_seconds() > 2, "it had no more to do: nothing was tried"
    assert (job(slow).state, outcomes(slow)) == (JobState.SUCCEEDED, [Outcome.SUCCEEDED])
    # What came while it was stopping may still have run; it is not lost and has not failed.
    assert job(left).losses == 0
    assert set(outcomes(left)) <= {Outcome.SUCCEEDED, Outcome.RELEASED}
    (ended,) = workers()
    assert ended.stopped_at is not None
    assert (ended.failed, ended.done >= 1) == (0, True)


def test_a_signal_ends_a_stopping_worker_within_its_grace(deployment: Deployment) -> None:
    slow = enqueue(seconds=60)
    process = deployment.start_worker("--workers", "1", SHUTDOWN_GRACE="1", **OFTEN)
    wait_until(is_in(slow, JobState.RUNNING), seconds=30, what="the job's start")
    with transaction() as session:
        request_stop(session, workers()[0].name, by=ADA, now=now())
    wait_until(lambda: is_told(deployment), seconds=30, what="its end")
    process.terminate()
    process.wait(END_SECONDS)
    back = job(slow)
    assert (back.state, back.attempts, back.losses) == (JobState.QUEUED, 0, 0)
    assert workers()[0].stopped_at is not None


def test_a_worker_of_some_queues_takes_their_jobs_and_no_others(deployment: Deployment) -> None:
    mine, other = enqueue("reports"), enqueue("default")
    process = deployment.start_worker("--queue", "reports", "--name", "printer", "--burst")
    assert process.wait(60) == 0
    assert (job(mine).state, job(other).state) == (JobState.SUCCEEDED, JobState.QUEUED)
    (worker,) = workers()
    assert (worker.queues, worker.name.split(":")[0]) == (["reports"], "printer")
    assert (worker.done, worker.failed) == (1, 0)
    assert deployment.start_worker("--burst").wait(60) == 0
    assert job(other).state == JobState.SUCCEEDED


def test_a_queue_that_nobody_serves_holds_up_no_other(deployment: Deployment) -> None:
    with transaction() as session:
        abandoned = [
            service.enqueue(
                session, "test_echo", {}, by=SYSTEM, now=now(), queue="abandoned", priority=100
            ).id
            for _ in range(250)
        ]
    process = deployment.start_worker("--queue", "default", "--queue", "reports")
    wait_until(lambda: bool(workers()), seconds=30, what="the worker's start")
    done = [enqueue(queue) for queue in ("default", "reports")]
    for job_id in done:
        wait_until(is_in(job_id, JobState.SUCCEEDED), seconds=30, what=f"the end of {job_id}")
    deployment.end(process)
    assert {job(job_id).state for job_id in abandoned} == {JobState.QUEUED}


def test_a_burst_runs_all_that_is_due_and_leaves_what_is_ahead(deployment: Deployment) -> None:
    with transaction() as session:
        ahead = service.enqueue(
            session, "test_echo", {}, by=SYSTEM, now=now(), run_at=now() + timedelta(hours=1)
        ).id
    due = [enqueue() for _ in range(150)]
    doomed = enqueue(name="test_fail", error="TypeError")
    process = deployment.start_worker("--burst", "--no-scheduler")
    assert process.wait(90) == 0, deployment.log("worker")[-2000:]
    states = {job(job_id).state for job_id in due}
    assert states == {JobState.SUCCEEDED}
    assert (job(doomed).state, job(ahead).state) == (JobState.DEAD, JobState.SCHEDULED)
    (worker,) = workers()
    assert (worker.done, worker.failed) == (150, 1)


@pytest.mark.parametrize("deployment", ["sqlite"], indirect=True)
def test_with_nothing_to_do_a_burst_ends_at_once(deployment: Deployment) -> None:
    assert deployment.start_worker("--burst").wait(60) == 0
    assert workers()[0].stopped_at is not None
