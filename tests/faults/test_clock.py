"""A machine whose clock is set by an hour, forward and back, while its consumers work."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.jobs.types import TALLY
from tests.processes import Deployment, deployed, wait_until
from tests.servers import PostgresServer, RedisServer
from webapp.actors import SYSTEM
from webapp.audit.models import AuditEntry
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs import service
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.values import JobState, Outcome
from webapp.jobs.wishes import Wish

pytestmark = pytest.mark.fault

WAVE = {"test_nothing": 150, "test_tally": 50, "test_fail": 50, "test_echo": 30}
ARGUMENTS: dict[str, dict[str, object]] = {
    "test_echo": {"seconds": 0.3},
    # Waits for its second attempt, often while the clock is set.
    "test_fail": {"until": 2},
}
AN_HOUR = 3600
HALF_AN_HOUR = timedelta(minutes=30)


class Clock:
    """The clock of the machine that the consumers run on."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set(0)

    def set(self, seconds: int) -> None:
        """Set the clock ahead by so many seconds, in one step."""
        draft = self.file.with_suffix(".draft")
        draft.write_text(str(seconds))
        draft.replace(self.file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture(
    params=["sqlite", pytest.param("servers", marks=[pytest.mark.postgres, pytest.mark.redis])]
)
def deployment(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> Iterator[Deployment]:
    """A deployment whose consumers follow the clock."""
    environ = {
        "JOB_MODULES": "tests.jobs.set_clock,tests.jobs.types",
        "TEST_CLOCK_FILE": str(clock.file),
    }
    if request.param == "servers":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        redis: RedisServer = request.getfixturevalue("redis_server")
        redis.flush()
        environ |= {
            "DATABASE_URL": postgres.create_database(f"clock_{now():%H%M%S%f}"),
            "REDIS_URL": redis.url,
        }
    with deployed(tmp_path, **environ) as deployment, deployment.looked_into():
        yield deployment


@pytest.mark.timeout(240)
def test_a_clock_that_is_set_loses_nothing_and_does_nothing_twice(
    deployment: Deployment, clock: Clock
) -> None:
    for _ in range(2):
        deployment.start_consumer()
    for ahead in (AN_HOUR, 0, -AN_HOUR, 0):
        take_wave()
        wait_until(
            lambda: min(counted(JobState.RUNNING), counted(JobState.RETRYING)) > 0,
            seconds=60,
            what="work before the clock is set",
        )
        clock.set(ahead)
        wait_until(
            lambda: unfinished() == 0,
            seconds=60,
            what=f"an end of all with the clock {ahead} s ahead, {unfinished()} left",
        )
    assert_each_was_done_once()


def take_wave() -> None:
    wishes = [
        Wish(name, ARGUMENTS.get(name, {})) for name, count in WAVE.items() for _ in range(count)
    ]
    with transaction() as session:
        service.enqueue_all(session, wishes, by=SYSTEM, now=now())


def unfinished() -> int:
    return counted(*(set(JobState) - {JobState.SUCCEEDED}))


def counted(*states: JobState) -> int:
    wanted = select(func.count()).select_from(Job).where(Job.state.in_(states))
    with reading() as session:
        return session.scalar(wanted) or 0


def assert_each_was_done_once() -> None:
    with reading() as session:
        jobs = session.scalars(select(Job)).all()
        attempts = session.scalars(select(JobAttempt)).all()
        traces = session.scalars(select(AuditEntry.name).where(AuditEntry.action == TALLY)).all()
    assert sorted(traces) == sorted(str(job.id) for job in jobs if job.type == "test_tally")
    seen = [item.ended_at or now() for item in attempts]
    assert min(seen) < now() - HALF_AN_HOUR, "no worker saw the clock: nothing was tried"
    assert max(seen) > now() + HALF_AN_HOUR, "no worker saw the clock: nothing was tried"
    ends = Counter(item.job_id for item in attempts if item.outcome == Outcome.SUCCEEDED)
    assert ends == {job.id: 1 for job in jobs}
