"""Three consumers under a storm of kills: every job ends, and the ledger's figures add up."""

import random
import time

import pytest
from sqlalchemy import func, select

from tests.processes import Deployment, wait_until
from webapp.actors import SYSTEM
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.dead_letters.models import DeadLetter
from webapp.jobs import service
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.values import JobState, Outcome

pytestmark = pytest.mark.fault

JOBS = 150
KILLS = 8
#: Every tenth job fails for good, so that dead letters are written in the storm too.
FAILING = 10
SECONDS_BETWEEN = (0.5, 2.0)


def take_jobs() -> None:
    with transaction() as session:
        for number in range(JOBS):
            if number % FAILING:
                arguments = {"value": number, "seconds": 0.3}
                service.enqueue(session, "test_echo", arguments, by=SYSTEM, now=now())
            else:
                service.enqueue(session, "test_fail", {"error": "TypeError"}, by=SYSTEM, now=now())


def unfinished() -> int:
    with reading() as session:
        ended = Job.state.in_((JobState.SUCCEEDED, JobState.DEAD))
        return session.scalar(select(func.count()).select_from(Job).where(~ended)) or 0


def test_no_job_is_lost_or_left_undecided(deployment: Deployment) -> None:
    take_jobs()
    chance = random.Random(20261122)
    consumers = [deployment.start_consumer() for _ in range(3)]
    for _ in range(KILLS):
        time.sleep(chance.uniform(*SECONDS_BETWEEN))
        victim = chance.randrange(len(consumers))
        deployment.kill(consumers[victim])
        consumers[victim] = deployment.start_consumer()
    wait_until(lambda: unfinished() == 0, seconds=120, what=f"an end of all, {unfinished()} left")
    assert_figures_add_up()


def assert_figures_add_up() -> None:
    with reading() as session:
        jobs = session.scalars(select(Job)).all()
        attempts = session.scalars(select(JobAttempt)).all()
        letters = session.scalars(select(DeadLetter)).all()
    dead = [job.id for job in jobs if job.state == JobState.DEAD]
    assert len(dead) == JOBS // FAILING
    assert sorted(letter.job_id for letter in letters) == sorted(dead)
    assert not [item for item in attempts if item.ended_at is None]
    for job in jobs:
        mine = [item.outcome for item in attempts if item.job_id == job.id]
        # One attempt decided it; all others were lost with their workers.
        assert len(mine) == job.fence
        assert mine.count(Outcome.LOST) == job.losses
        assert mine.count(Outcome.SUCCEEDED) + mine.count(Outcome.FAILED) == 1
    assert sum(job.losses for job in jobs) > 0, "no kill met a running job: nothing was tried"
