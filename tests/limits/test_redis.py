"""Limits on a real Redis: shared by processes, and what happens while it is away."""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest
from structlog.testing import capture_logs

from tests.servers import RedisServer
from webapp.errors import Throttled
from webapp.limits import registry as limits
from webapp.limits.registry import LimitRegistry
from webapp.limits.values import Rule, Usage

pytestmark = pytest.mark.redis

CALLS, SECONDS = 20, 2
PROCESSES = 4
Span = tuple[float, float]


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Iterator[str]:
    """An empty Redis, which runs again after the test."""
    redis_server.start()
    redis_server.flush()
    yield redis_server.url
    redis_server.start()


@pytest.fixture(autouse=True)
def rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule for one name, in every registry."""
    monkeypatch.setattr(limits, "_by_code", {"bills": Rule(CALLS, SECONDS)})


def call_for(url: str, seconds: float, results: Connection) -> None:
    """Call as often as is allowed, and send between which times each call was let through."""
    limits._by_code["bills"] = Rule(CALLS, SECONDS)
    limit = LimitRegistry(redis_url=url).get("bills")
    pause = multiprocessing.get_context("spawn").Event()
    granted, ends = [], time.monotonic() + seconds
    while (before := time.monotonic()) < ends:
        try:
            limit.acquire()
        except Throttled:
            pause.wait(0.005)
        else:
            granted.append((before, time.monotonic()))
    results.send(granted)


def test_four_processes_never_exceed_the_limit_together(redis_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in range(PROCESSES)]
    processes = [
        context.Process(target=call_for, args=(redis_url, 3.0 * SECONDS, sending))
        for _, sending in pipes
    ]
    for process in processes:
        process.start()
    shares: list[list[Span]] = [receiving.recv() for receiving, _ in pipes]
    for process in processes:
        process.join()
    granted = [span for share in shares for span in share]
    assert len(granted) >= 2 * CALLS
    assert sum(bool(share) for share in shares) > 1
    # Those that were let through within a window for sure, however busy the machine is.
    most = max(
        sum(first <= before and after < first + SECONDS for before, after in granted)
        for first, _ in granted
    )
    assert most <= CALLS


def test_registries_share_what_is_used(redis_url: str) -> None:
    one, other = LimitRegistry(redis_url=redis_url), LimitRegistry(redis_url=redis_url)
    for _ in range(CALLS):
        one.get("bills").acquire()
    with pytest.raises(Throttled) as caught:
        other.get("bills").acquire()
    assert 0 < caught.value.retry_after <= SECONDS
    stats = other.get_stats()["bills"]
    assert (stats.used, stats.left) == (CALLS, 0)


def test_a_coroutine_waits_for_room(redis_url: str) -> None:
    limit = LimitRegistry(redis_url=redis_url).get("bills")

    async def exceed() -> None:
        for _ in range(CALLS + 1):
            await limit.acquire_async(wait=10)

    asyncio.run(exceed())
    assert (limit.counts.allowed, limit.counts.waited) == (CALLS, 1)


def test_the_use_of_many_limits_takes_one_turn(redis_url: str) -> None:
    registry = LimitRegistry(redis_url=redis_url)
    registry.get("bills").acquire()
    used = registry.usage({"bills": Rule(CALLS, 60), "others": Rule(5, 60)})
    assert used is not None
    assert used["others"] == Usage(0, None)
    assert used["bills"].used == 1
    assert used["bills"].reset is not None
    assert 59 < used["bills"].reset <= 60


def test_with_redis_killed_calls_go_on_at_the_share_of_the_process(
    redis_url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(limits._by_code, "bills", Rule(CALLS, 3600))
    registry = LimitRegistry(redis_url=redis_url)
    registry._alone.processes = 2
    limit = registry.get("bills")
    # What Redis has let through counts against the share.
    for _ in range(4):
        limit.acquire()
    redis_server.kill()
    with capture_logs() as logs:
        for _ in range(CALLS // 2 - 4):
            limit.acquire()
        with pytest.raises(Throttled):
            limit.acquire()
        assert registry.usage({"bills": Rule(CALLS, 3600)}) is None
    assert [entry["event"] for entry in logs] == ["rate_limits_not_shared"]
    redis_server.start()
    assert registry._redis is not None
    registry._redis._away_until = 0.0
    limit.acquire()
    used = registry.usage({"bills": Rule(CALLS, 3600)})
    assert used is not None
    assert used["bills"].used >= 1


def test_while_redis_is_away_it_is_asked_once_a_second(
    redis_url: str, redis_server: RedisServer
) -> None:
    registry = LimitRegistry(redis_url=redis_url)
    limit = registry.get("bills")
    redis_server.kill()
    limit.acquire()
    assert registry._redis is not None
    until = registry._redis._away_until
    for _ in range(5):
        limit.acquire()
    assert registry._redis._away_until == until
