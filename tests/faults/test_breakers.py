"""Four processes share one breaker before a real server, and one tries at a time."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from tests.faults.breaker_client import NAME, THRESHOLDS
from tests.http_server import OK, Server, answer
from tests.processes import Deployment, deployed, wait_until
from tests.servers import PostgresServer, RedisServer, find_redis, missing_server
from webapp.actors import COMMAND
from webapp.breakers.models import CircuitBreakerState
from webapp.breakers.service import change_thresholds, reset
from webapp.clock import now
from webapp.db import reading, transaction

pytestmark = pytest.mark.fault

PROCESSES = 4
# The others learn of an open circuit within a second.
TOLD = timedelta(seconds=1)
FAILURE = answer("503 Service Unavailable")


@dataclass
class Remote:
    """A service that answers or fails, and notes when it was called and how many at a time."""

    server: Server
    works: bool = True
    times: list[float] = field(default_factory=list)
    spans: list[tuple[float, float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, connection: socket.socket) -> None:
        """Take a moment, so that two calls at a time are seen to be two."""
        began = time.time()
        works = self.works
        with self.lock:
            self.times.append(began)
        if not works:
            time.sleep(0.1)
        connection.sendall(OK if works else FAILURE)
        with self.lock:
            self.spans.append((began, time.time()))

    def callers(self, since: float) -> set[str]:
        """Return which processes have called since a time."""
        received = list(zip(self.times, self.server.received, strict=False))
        return {request.headers["x-process"] for at, request in received if at >= since}

    def calls_between(self, since: float, until: float) -> int:
        """Count the calls that began between two times."""
        return sum(since < at < until for at in self.times)

    def most_at_once(self, since: float) -> int:
        """Return how many calls ran at the same time at most, of those that began since."""
        spans = [span for span in self.spans if span[0] >= since]
        return max((sum(a <= at < b for a, b in spans) for at, _ in spans), default=0)


@pytest.fixture
def remote() -> Iterator[Remote]:
    server = Server()
    service = Remote(server)
    server.answers = [service.reply]
    yield service
    server.close()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of this test's own, which it kills; nothing of it survives that."""
    program = find_redis()
    if program is None:
        missing_server("redis")
    with RedisServer(program, durable=False) as server:
        yield server


@pytest.fixture(
    params=["sqlite", pytest.param("servers", marks=[pytest.mark.postgres, pytest.mark.redis])]
)
def setup(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Deployment, RedisServer | None]]:
    """A deployment, and its Redis where it has one."""
    environ, redis = {}, None
    if request.param == "servers":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        redis = request.getfixturevalue("redis")
        assert isinstance(redis, RedisServer)
        environ = {
            "DATABASE_URL": postgres.create_database(f"breakers_{now():%H%M%S%f}"),
            "REDIS_URL": redis.url,
        }
    with deployed(tmp_path, **environ) as deployment, deployment.looked_into():
        yield deployment, redis


def row() -> CircuitBreakerState | None:
    with reading() as session:
        return session.get(CircuitBreakerState, NAME)


def stands(state: str) -> bool:
    found = row()
    return found is not None and found.state == state


def start(deployment: Deployment, url: str) -> list[subprocess.Popen[bytes]]:
    """Start the four, and wait until all of them call."""
    before = deployment.log("client").count("ready") if logged(deployment) else 0
    command = [sys.executable, "-m", "tests.faults.breaker_client", url]
    started = [deployment._start("client", command) for _ in range(PROCESSES)]
    wait_until(
        lambda: deployment.log("client").count("ready") == before + PROCESSES,
        seconds=30,
        what=f"clients ready\n{deployment.log('client')}",
    )
    return started


def logged(deployment: Deployment) -> bool:
    return (deployment.folder / "client.log").exists()


def wait_for_all(remote: Remote, seconds: float, what: str) -> None:
    since = time.time()
    wait_until(lambda: len(remote.callers(since)) == PROCESSES, seconds=seconds, what=what)


def trip(remote: Remote) -> float:
    """Let the service fail until its circuit is open; return when it opened, by the wall clock."""
    remote.works = False
    wait_until(lambda: stands("open"), seconds=10, what="an open circuit")
    found = row()
    assert found is not None
    assert found.opened_at is not None
    return found.opened_at.timestamp()


def assert_left_alone(remote: Remote, opened: float) -> None:
    """Nobody calls from when all know of the open circuit until its time is over."""
    ends = opened + THRESHOLDS.open_seconds
    wait_until(lambda: time.time() > ends, seconds=30, what="the end of its open time")
    assert remote.calls_between(opened + TOLD.total_seconds(), ends) == 0


def assert_tried_once_at_a_time(remote: Remote, since: float) -> None:
    """The service fails on: it is called once after each open time, and not in between."""
    wait_until(lambda: remote.calls_between(since, time.time()) >= 2, seconds=30, what="two trials")
    assert remote.most_at_once(since) == 1
    first, second = [at for at in remote.times if at > since][:2]
    # The trial failed, so its open time lies between them.
    assert second - first >= THRESHOLDS.open_seconds


def test_four_processes_share_one_breaker(
    setup: tuple[Deployment, RedisServer | None], remote: Remote
) -> None:
    deployment, redis = setup
    clients = start(deployment, remote.server.url)
    wait_for_all(remote, 10, "calls of all")

    opened = trip(remote)
    assert_left_alone(remote, opened)
    if redis is not None:
        redis.kill()
    assert_tried_once_at_a_time(remote, opened + TOLD.total_seconds())
    if redis is not None:
        redis.start()
    remote.works = True
    wait_for_all(remote, 20, "calls of all once it works again")
    wait_until(lambda: stands("closed"), seconds=5, what="a closed circuit")

    # From now on nothing but a person closes it within the time of this test.
    with transaction() as session:
        values = {"open_seconds": 600.0, "max_open_seconds": 600.0}
        change_thresholds(session, NAME, values, by=COMMAND, now=now(), reason="A test", version=0)
    wait_until(lambda: opens_for(600, remote), seconds=20, what="an open circuit of ten minutes")
    for client in clients:
        deployment.kill(client)
    wait_until(
        lambda: len(remote.spans) == len(remote.times), seconds=5, what="the end of the last calls"
    )
    calls = len(remote.times)
    refused = deployment.log("client").count("refused")
    remote.works = True
    start(deployment, remote.server.url)
    wait_until(
        lambda: deployment.log("client").count("refused") == refused + PROCESSES,
        seconds=10,
        what="a refusal in each process that was started anew",
    )
    assert len(remote.times) == calls

    with transaction() as session:
        reset(session, NAME, by=COMMAND, now=now(), reason="A test")
    wait_for_all(remote, 5, "calls of all after a reset")


def opens_for(seconds: float, remote: Remote) -> bool:
    """Have the service fail, and tell whether its circuit opened by the new thresholds.

    A process that has not heard of them yet may open it for the old time first.
    """
    remote.works = False
    found = row()
    return found is not None and found.state == "open" and found.open_seconds == seconds
