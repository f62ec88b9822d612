"""Three consumers under a storm of kills: 5,000 jobs end, and every trace is left exactly once."""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import and_, func, select, update

from tests.jobs.types import TALLY
from tests.processes import Deployment, wait_until
from webapp.actors import SYSTEM
from webapp.audit.models import AuditEntry
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.values import Reason
from webapp.jobs import service
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.values import JobState, Outcome
from webapp.jobs.wishes import Wish

pytestmark = pytest.mark.fault

KILLS = 10
#: So many jobs before each kill: most are claimed many at once, some take long, some fail for good.
ROUND = {"test_nothing": 400, "test_tally": 70, "test_echo": 20, "test_fail": 10}
ARGUMENTS: dict[str, dict[str, object]] = {
    "test_echo": {"seconds": 0.2},
    "test_fail": {"error": "TypeError"},
}
#: A kill comes once so many jobs have ended since the last, so that every one meets work.
BETWEEN = 60
MAX_LOSSES = 5
STATES = {
    "test_nothing": JobState.SUCCEEDED,
    "test_tally": JobState.SUCCEEDED,
    "test_echo": JobState.SUCCEEDED,
    "test_fail": JobState.DEAD,
}


@pytest.mark.timeout(300)
def test_in_a_storm_every_job_ends_and_every_trace_is_left_exactly_once(
    deployment: Deployment,
) -> None:
    chance = random.Random(20261127)
    odd = take_odd_jobs()
    consumers = [deployment.start_consumer() for _ in range(3)]
    for number in range(KILLS):
        take_round(chance)
        before = ended()
        wait_until(
            lambda before=before: ended() >= before + BETWEEN,  # type: ignore[misc]
            seconds=60,
            what=f"work before kill {number}",
        )
        time.sleep(chance.uniform(0.0, 0.5))
        victim = chance.randrange(len(consumers))
        if number % 2:
            # One of its workers; the consumer lives on, so only the lease brings the jobs back.
            os.kill(a_worker_of(consumers[victim].pid, chance), signal.SIGKILL)
        else:
            deployment.kill(consumers[victim])
            consumers[victim] = deployment.start_consumer()
    wait_until(lambda: unfinished() == 0, seconds=120, what="an end of all")
    # The job of an unknown type is tried again once in a while: nobody may be at it meanwhile.
    for consumer in consumers:
        deployment.end(consumer)
    assert_all_decided_and_traced_once(set(odd.values()))
    assert_odd_jobs_have_a_clear_state(odd)


def take_odd_jobs() -> dict[str, int]:
    """Enqueue what cannot succeed: a worker's murderer, and what changed since it was taken."""
    with transaction() as session:
        odd = {
            name: service.enqueue(session, kind, {}, by=SYSTEM, now=now()).id
            for name, kind in (
                ("killer", "test_kill_worker"),
                ("no json", "test_odd_result"),
                ("misfit", "test_echo"),
                ("gone", "test_nothing"),
            )
        }
        wrong = {"value": "seven", "colour": "red"}
        session.execute(update(Job).where(Job.id == odd["misfit"]).values(arguments=wrong))
        session.execute(update(Job).where(Job.id == odd["gone"]).values(type="test_gone"))
    return odd


def take_round(chance: random.Random) -> None:
    names = [name for name, count in ROUND.items() for _ in range(count)]
    chance.shuffle(names)
    wishes = [
        Wish(name, ARGUMENTS.get(name, {}), {"priority": chance.choice((10, 50, 90))})
        for name in names
    ]
    with transaction() as session:
        service.enqueue_all(session, wishes, by=SYSTEM, now=now())


def ended() -> int:
    with reading() as session:
        over = Job.state.in_((JobState.SUCCEEDED, JobState.DEAD))
        return session.scalar(select(func.count()).select_from(Job).where(over)) or 0


def unfinished() -> int:
    """How many have not ended; of an unknown type, how many somebody runs: that one only waits."""
    with reading() as session:
        over = Job.state.in_((JobState.SUCCEEDED, JobState.DEAD))
        waits = and_(Job.type == "test_gone", Job.state == JobState.RETRYING)
        wanted = select(func.count()).select_from(Job).where(~over, ~waits)
        return session.scalar(wanted) or 0


def a_worker_of(pid: int, chance: random.Random) -> int:
    """One of a consumer's children, once it has any."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    wait_until(lambda: bool(children.read_text()), seconds=30, what="a consumer's workers")
    return int(chance.choice(children.read_text().split()))


def assert_all_decided_and_traced_once(odd: set[int]) -> None:
    with reading() as session:
        jobs = [job for job in session.scalars(select(Job)) if job.id not in odd]
        attempts = session.execute(select(JobAttempt.job_id, JobAttempt.outcome)).all()
        letters = [item for item in session.scalars(select(DeadLetter.job_id)) if item not in odd]
        traces = session.scalars(select(AuditEntry.name).where(AuditEntry.action == TALLY)).all()
    assert Counter((job.type, job.state) for job in jobs) == {
        (name, STATES[name]): KILLS * count for name, count in ROUND.items()
    }
    assert sorted(letters) == sorted(job.id for job in jobs if job.type == "test_fail")
    assert sorted(traces) == sorted(str(job.id) for job in jobs if job.type == "test_tally")
    assert not [item for item in attempts if item.outcome == Outcome.RUNNING]
    by_job: dict[int, list[str]] = {}
    for item in attempts:
        by_job.setdefault(item.job_id, []).append(item.outcome)
    for job in jobs:
        mine = by_job[job.id]
        # One attempt decided it; all others were lost with their workers, or given back unbegun.
        assert len(mine) == job.fence
        assert mine.count(Outcome.LOST) == job.losses
        assert mine.count(Outcome.SUCCEEDED) + mine.count(Outcome.FAILED) == 1
    assert sum(job.losses for job in jobs) > 0, "no kill met a running job: nothing was tried"


def assert_odd_jobs_have_a_clear_state(odd: dict[str, int]) -> None:
    with reading() as session:
        found = {name: service.find_job(session, job_id) for name, job_id in odd.items()}
        letters = {
            letter.job_id: letter
            for letter in session.scalars(
                select(DeadLetter).where(DeadLetter.job_id.in_(odd.values()))
            )
        }
    states = {name: job.state for name, job in found.items()}
    # What a newer version's workers may know is left to them for a while.
    waiting = {"gone": JobState.RETRYING}
    assert states == dict.fromkeys(odd, JobState.DEAD) | waiting
    assert found["killer"].losses > MAX_LOSSES
    assert letters[odd["killer"]].reason == Reason.WORKER_LOST
    assert (found["no json"].error or "").startswith("TypeError: ")
    assert letters[odd["misfit"]].error_class == "invalid_input"
    assert "test_gone" in (found["gone"].error or "")
