"""Redis stopped under load, and emptied: every job that was taken is done, exactly one by one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest
from sqlalchemy import func, select

from tests.processes import Deployment, deployed, wait_until
from tests.servers import PostgresServer, RedisServer, find_redis, free_port, missing_server
from webapp.clock import now
from webapp.db import reading
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.values import JobState, Outcome
from webapp.roles import Role

pytestmark = [pytest.mark.fault, pytest.mark.postgres, pytest.mark.redis]

BEFORE, DURING, AFTER = 40, 60, 40


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
    database = postgres.create_database(f"redis_{now():%H%M%S%f}")
    with (
        deployed(tmp_path, DATABASE_URL=database, REDIS_URL=redis.url) as deployment,
        deployment.looked_into(),
    ):
        yield deployment


class Program:
    """A program that enqueues over the JSON endpoint, as apps do."""

    def __init__(self, deployment: Deployment, port: int) -> None:
        token = deployment.make_token(Role.OPERATOR)
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
        )
        self.taken: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def enqueue(self, count: int, *, seconds: float = 0.0) -> None:
        """Enqueue so many jobs; each must be taken, whatever the broker does."""
        for _ in range(count):
            arguments = {"value": len(self.taken), "seconds": seconds}
            answer = self._client.post(
                "/api/v1/queue/jobs/test_echo", json={"arguments": arguments}
            )
            assert answer.status_code == httpx.codes.ACCEPTED, answer.text
            self.taken.append(answer.json()["id"])


def unfinished() -> int:
    with reading() as session:
        wanted = select(func.count()).select_from(Job).where(Job.state != JobState.SUCCEEDED)
        return session.scalar(wanted) or 0


def assert_all_done_once(program: Program) -> None:
    wait_until(lambda: unfinished() == 0, seconds=60, what="the end of every job")
    with reading() as session:
        results = dict(session.execute(select(Job.id, Job.result)).tuples().all())
        outcomes = session.scalars(select(JobAttempt.outcome)).all()
    assert results == {job_id: {"value": n} for n, job_id in enumerate(program.taken)}
    assert outcomes == [Outcome.SUCCEEDED] * len(program.taken)


def test_redis_stopped_under_load_loses_nothing(deployment: Deployment, redis: RedisServer) -> None:
    deployment.start_web(port := free_port())
    deployment.start_consumer()
    with Program(deployment, port) as program:
        program.enqueue(BEFORE)
        redis.kill()
        program.enqueue(DURING)
        redis.start()
        program.enqueue(AFTER)
    assert_all_done_once(program)


@pytest.mark.parametrize("busy", [False, True])
def test_an_emptied_redis_loses_nothing(
    deployment: Deployment, redis: RedisServer, *, busy: bool
) -> None:
    deployment.start_web(port := free_port())
    if busy:
        deployment.start_consumer()
    with Program(deployment, port) as program:
        program.enqueue(BEFORE, seconds=0.2)
        redis.flush()
        program.enqueue(DURING)
    if not busy:
        deployment.start_consumer()
    assert_all_done_once(program)
