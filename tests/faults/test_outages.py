"""5,000 jobs while Redis is emptied, PostgreSQL restarted and Redis away for 20 seconds."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.jobs.types import TALLY
from tests.processes import Deployment, deployed, wait_until
from tests.servers import PostgresServer, RedisServer, find_redis, missing_server
from webapp.actors import SYSTEM
from webapp.audit.models import AuditEntry
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs import service
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.values import JobState, Outcome
from webapp.jobs.wishes import Wish

pytestmark = [pytest.mark.fault, pytest.mark.postgres, pytest.mark.redis]

#: So many jobs of each kind before each blow and after the last: 5,000 in four waves.
WAVE = {"test_nothing": 1_000, "test_tally": 150, "test_echo": 100}
WAVES = 4
ARGUMENTS: dict[str, dict[str, object]] = {"test_echo": {"seconds": 0.1}}
#: A blow comes once so many jobs of its wave have ended.
MET = 150
AWAY_SECONDS = 20


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of this test's own, which it stops; nothing of it survives a stop."""
    program = find_redis()
    if program is None:
        missing_server("redis")
    with RedisServer(program, durable=False) as server:
        yield server


@pytest.fixture
def deployment(
    tmp_path: Path, postgres: PostgresServer, redis: RedisServer
) -> Iterator[Deployment]:
    """The production set-up."""
    database = postgres.create_database(f"outages_{now():%H%M%S%f}")
    with (
        deployed(tmp_path, DATABASE_URL=database, REDIS_URL=redis.url) as deployment,
        deployment.looked_into(),
    ):
        yield deployment


@pytest.mark.timeout(300)
def test_no_outage_loses_a_job_or_does_one_twice(
    deployment: Deployment, redis: RedisServer, postgres: PostgresServer
) -> None:
    consumers = [deployment.start_consumer() for _ in range(3)]
    for blow in (redis.flush, postgres.restart, redis.kill):
        before = ended()
        take_wave()
        wait_until(
            lambda before=before: ended() >= before + MET,  # type: ignore[misc]
            seconds=60,
            what="work before a blow",
        )
        blow()
        assert unfinished() > 0, "all were over before the blow: nothing was tried"
    # Workers are done with what they knew of when the next jobs come, and nobody can tell them.
    time.sleep(AWAY_SECONDS / 2)
    take_wave()
    time.sleep(AWAY_SECONDS / 2)
    assert unfinished() > 0, "all were over before Redis came back: nothing was tried"
    redis.start()
    wait_until(lambda: unfinished() == 0, seconds=90, what=f"an end of all, {unfinished()} left")
    assert_each_was_done_once()
    assert [consumer.poll() for consumer in consumers] == [None] * 3


def take_wave() -> None:
    wishes = [
        Wish(name, ARGUMENTS.get(name, {})) for name, count in WAVE.items() for _ in range(count)
    ]
    with transaction() as session:
        service.enqueue_all(session, wishes, by=SYSTEM, now=now())


def ended() -> int:
    return counted(JobState.SUCCEEDED)


def unfinished() -> int:
    return counted(*(set(JobState) - {JobState.SUCCEEDED}))


def counted(*states: JobState) -> int:
    wanted = select(func.count()).select_from(Job).where(Job.state.in_(states))
    with reading() as session:
        return session.scalar(wanted) or 0


def assert_each_was_done_once() -> None:
    with reading() as session:
        jobs = session.scalars(select(Job)).all()
        attempts = session.execute(select(JobAttempt.job_id, JobAttempt.outcome)).all()
        traces = session.scalars(select(AuditEntry.name).where(AuditEntry.action == TALLY)).all()
    assert Counter(job.type for job in jobs) == {n: WAVES * count for n, count in WAVE.items()}
    assert sorted(traces) == sorted(str(job.id) for job in jobs if job.type == "test_tally")
    ends = Counter(item.job_id for item in attempts if item.outcome == Outcome.SUCCEEDED)
    assert ends == {job.id: 1 for job in jobs}
