"""Three consumers under a storm of kills: every job ends, and the ledger's figures add up."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.jobs.types import TALLY
from tests.processes import Deployment, wait_until
from webapp.actors import SYSTEM
from webapp.audit.models import AuditEntry
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


def running() -> int:
    with reading() as session:
        wanted = select(func.count()).select_from(Job).where(Job.state == JobState.RUNNING)
        return session.scalar(wanted) or 0


def test_no_job_is_lost_or_left_undecided(deployment: Deployment) -> None:
    take_jobs()
    chance = random.Random(20261122)
    consumers = [deployment.start_consumer() for _ in range(3)]
    wait_until(lambda: running() == 2 * len(consumers), seconds=60, what="work for all")
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


ROUNDS = 10
#: So many jobs a round: most are claimed many at once, and some leave a trace.
ROUND = {"test_nothing": 250, "test_tally": 50, "test_echo": 15, "test_fail": 10}
#: A kill comes once so many jobs have ended since the last, so that every one meets work.
BETWEEN = 60


@pytest.mark.timeout(300)
def test_in_a_storm_every_quick_job_ends_and_every_trace_is_left_exactly_once(
    deployment: Deployment,
) -> None:
    chance = random.Random(20261127)
    consumers = [deployment.start_consumer() for _ in range(3)]
    for number in range(ROUNDS):
        take_round(chance)
        before = ended()
        wait_until(
            lambda before=before: ended() >= before + BETWEEN,  # type: ignore[misc]
            seconds=60,
            what=f"work before kill {number}",
        )
        time.sleep(chance.uniform(0.0, 0.2))
        victim = chance.randrange(len(consumers))
        if number % 2:
            # One of its workers; the consumer lives on, so only the lease brings the jobs back.
            os.kill(a_worker_of(consumers[victim].pid, chance), signal.SIGKILL)
        else:
            deployment.kill(consumers[victim])
            consumers[victim] = deployment.start_consumer()
    wait_until(lambda: unfinished() == 0, seconds=120, what=f"an end of all, {unfinished()} left")
    assert_all_decided_and_traced_once()


def take_round(chance: random.Random) -> None:
    names = [name for name, count in ROUND.items() for _ in range(count)]
    chance.shuffle(names)
    with transaction() as session:
        for name in names:
            arguments: dict[str, object] = {}
            if name == "test_echo":
                arguments = {"seconds": 0.1}
            if name == "test_fail":
                arguments = {"error": "TypeError"}
            priority = chance.choice((10, 50, 90))
            service.enqueue(session, name, arguments, by=SYSTEM, now=now(), priority=priority)


def ended() -> int:
    with reading() as session:
        over = Job.state.in_((JobState.SUCCEEDED, JobState.DEAD))
        return session.scalar(select(func.count()).select_from(Job).where(over)) or 0


def a_worker_of(pid: int, chance: random.Random) -> int:
    """One of a consumer's children, once it has any."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    wait_until(lambda: bool(children.read_text()), seconds=30, what="a consumer's workers")
    return int(chance.choice(children.read_text().split()))


def assert_all_decided_and_traced_once() -> None:
    with reading() as session:
        jobs = session.scalars(select(Job)).all()
        attempts = session.scalars(select(JobAttempt)).all()
        letters = session.scalars(select(DeadLetter.job_id)).all()
        traces = session.scalars(select(AuditEntry.name).where(AuditEntry.action == TALLY)).all()
    ends = {kind: {job.state for job in jobs if job.type == kind} for kind in ROUND}
    assert ends == {
        "test_nothing": {JobState.SUCCEEDED},
        "test_tally": {JobState.SUCCEEDED},
        "test_echo": {JobState.SUCCEEDED},
        "test_fail": {JobState.DEAD},
    }
    assert len(jobs) == ROUNDS * sum(ROUND.values())
    assert sorted(letters) == sorted(job.id for job in jobs if job.type == "test_fail")
    assert sorted(traces) == sorted(str(job.id) for job in jobs if job.type == "test_tally")
    assert not [item for item in attempts if item.ended_at is None]
    by_job: dict[int, list[str]] = {}
    for item in attempts:
        by_job.setdefault(item.job_id, []).append(item.outcome)
    for job in jobs:
        mine = by_job[job.id]
        assert len(mine) == job.fence
        assert mine.count(Outcome.LOST) == job.losses
        assert mine.count(Outcome.SUCCEEDED) + mine.count(Outcome.FAILED) == 1
    assert sum(job.losses for job in jobs) > 0, "no kill met a running job: nothing was tried"
