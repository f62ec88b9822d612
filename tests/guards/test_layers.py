"""The layers of a guard beside HTTP: rate limit, blocks, coroutines, operations, alerts."""

import asyncio
import smtplib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from tests.http_server import OK, Server, answer
from webapp.breakers import registry
from webapp.breakers.circuit import OpenCircuitError
from webapp.breakers.registry import BreakerRegistry, breaker
from webapp.breakers.values import Thresholds
from webapp.errors import Throttled
from webapp.guards import RetryManager, guard
from webapp.guards.calls import MOMENT, UNAUTHORIZED_PAUSE
from webapp.limits import registry as limits
from webapp.outbound.values import TimeLimitExceeded
from webapp.retries.classification import classify
from webapp.retries.values import RetryConfig

QUICK = RetryConfig(max_attempts=3, initial_delay=0.01, max_delay=0.02)


class NotedLimit:
    """A rate limit that notes what is asked of it, and refuses after ``allowed`` calls."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.pauses: list[float] = []
        self.reasons: list[str] = []
        self.allowed = 100

    def acquire(self, *, wait: float = 0.0) -> None:
        self.waits.append(wait)
        if len(self.waits) > self.allowed:
            raise Throttled("wait", retry_after=7.0)

    async def acquire_async(self, *, wait: float = 0.0) -> None:
        self.acquire(wait=wait)

    def pause(self, seconds: float, *, reason: str) -> None:
        self.pauses.append(seconds)
        self.reasons.append(reason)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry._current, "registry", BreakerRegistry())


@pytest.fixture
def name() -> str:
    return f"service-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> NotedLimit:
    noted = NotedLimit()
    monkeypatch.setattr("webapp.guards.calls.rate_limit", lambda _: noted)
    return noted


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def fail(error: Exception) -> str:
    raise error


async def fail_async(error: Exception) -> str:
    raise error


def test_each_attempt_asks_the_rate_limit_and_waits_for_it_within_its_bound(
    name: str, limit: NotedLimit
) -> None:
    with pytest.raises(ConnectionResetError):
        guard(name, retry=QUICK, wait=1.5).call(fail, ConnectionResetError())
    with pytest.raises(ConnectionResetError):
        asyncio.run(guard(name, wait=0.5).acall(fail_async, ConnectionResetError()))
    assert limit.waits == [1.5, 1.5, 1.5, 0.5]


def test_a_call_beyond_the_rate_limit_is_not_made_nor_counted_against_the_service(
    name: str, limit: NotedLimit
) -> None:
    limit.allowed = 0
    called: list[int] = []
    with pytest.raises(Throttled):
        guard(name, retry=QUICK).call(called.append, 1)
    assert (called, limit.waits) == ([], [MOMENT])
    assert breaker(name).fail_counter == 0


@pytest.mark.parametrize(
    ("status", "headers", "pauses"),
    [
        ("429 Too Many", ["Retry-After: 40"], [40.0]),
        # It named no time, and the retry waits by itself.
        ("429 Too Many", [], []),
        ("401 Who", [], [UNAUTHORIZED_PAUSE]),
        ("403 No", [], [UNAUTHORIZED_PAUSE]),
        ("407 Proxy", [], [UNAUTHORIZED_PAUSE]),
        ("503 Away", ["Retry-After: 40"], []),
        ("404 Not Found", [], []),
    ],
)
def test_a_server_that_asks_for_patience_or_knows_us_not_pauses_everybody(
    server: Server,
    name: str,
    limit: NotedLimit,
    status: str,
    headers: list[str],
    pauses: list[float],
) -> None:
    server.answers = [answer(status, *headers)]
    guarded = guard(name, timeout=5)
    calls: list[Callable[[], object]] = [
        lambda: guarded.get(server.url, trusted=True),
        lambda: asyncio.run(guarded.aget(server.url, trusted=True)),
        lambda: in_block(guarded, server.url),
        lambda: asyncio.run(in_async_block(guarded, server.url)),
    ]
    for call in calls:
        limit.pauses.clear()
        with pytest.raises(httpx.HTTPStatusError):
            call()
        assert limit.pauses == pauses


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        ("401 Who", [], "It answered 401 Unauthorized."),
        ("403 No", [], "It answered 403 Forbidden."),
        ("429 Too Many", ["Retry-After: 40"], "It answered 429 Too Many Requests."),
    ],
)
def test_the_reason_of_a_pause_is_what_the_server_answered(
    server: Server, name: str, limit: NotedLimit, status: str, headers: list[str], reason: str
) -> None:
    server.answers = [answer(status, *headers)]
    with pytest.raises(httpx.HTTPStatusError):
        guard(name, timeout=5).get(server.url, trusted=True)
    assert limit.reasons == [reason]


def test_the_reason_of_a_pause_without_a_status_is_the_rule_that_matched(
    name: str, limit: NotedLimit
) -> None:
    refused = smtplib.SMTPAuthenticationError(535, b"who are you")
    with pytest.raises(smtplib.SMTPAuthenticationError):
        guard(name).call(fail, refused)
    assert limit.reasons == [f"It refused the call ({classify(refused).rule})."]


def test_the_wait_for_a_rate_limit_is_no_part_of_how_long_a_call_took(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.0]

    class WaitingLimit(NotedLimit):
        def acquire(self, *, wait: float = 0.0) -> None:
            super().acquire(wait=wait)
            seconds[0] += 10

    limit = WaitingLimit()
    monkeypatch.setattr("webapp.guards.calls.rate_limit", lambda _: limit)
    timed = Thresholds(slow_seconds=5.0)
    monkeypatch.setattr(breaker(name, timed), "_monotonic", lambda: seconds[0])

    def take(least: float) -> None:
        seconds[0] += least

    async def take_async(least: float) -> None:
        take(least)

    def take_in_block(least: float) -> None:
        with guard(name):
            take(least)

    async def take_in_async_block(least: float) -> None:
        async with guard(name):
            take(least)

    for least, slow in ((1.0, 0), (5.0, 4)):
        guard(name).call(take, least)
        asyncio.run(guard(name).acall(take_async, least))
        take_in_block(least)
        asyncio.run(take_in_async_block(least))
        assert breaker(name).tally.slow == slow
    assert len(limit.waits) == breaker(name).tally.calls == 8


def in_block(guarded: Any, url: str) -> None:
    with guard(guarded.name):
        httpx.get(url).raise_for_status()


async def in_async_block(guarded: Any, url: str) -> None:
    async with guarded, httpx.AsyncClient() as client:
        (await client.get(url)).raise_for_status()


def test_a_block_of_a_coroutine_is_guarded_and_ends_in_its_time(name: str) -> None:
    async def block() -> None:
        async with guard(f"{name}-outer"), guard(name, timeout=0.05):
            await asyncio.Event().wait()

    with pytest.raises(TimeLimitExceeded):
        asyncio.run(block())
    assert breaker(name).fail_counter == 1
    assert breaker(f"{name}-outer").fail_counter == 1


def test_a_timeout_of_its_own_is_not_taken_for_the_end_of_the_time(name: str) -> None:
    own = TimeoutError("mine")
    with pytest.raises(TimeoutError) as caught:
        asyncio.run(guard(name, timeout=60).acall(fail_async, own))
    assert caught.value is own


@pytest.mark.parametrize("options", [{"retry": QUICK}, {"fallback": str}])
def test_a_block_of_a_coroutine_refuses_what_it_cannot_keep(
    name: str, options: dict[str, Any]
) -> None:
    async def block() -> None:
        async with guard(name, **options):
            raise AssertionError("the block must not run")

    with pytest.raises(TypeError):
        asyncio.run(block())


def test_blocks_of_many_tasks_do_not_mix(name: str) -> None:
    async def one(number: int) -> None:
        async with guard(f"{name}-{number}"):
            await asyncio.sleep(0)
            if number % 2:
                raise ConnectionResetError

    async def all_of_them() -> None:
        await asyncio.gather(*(one(number) for number in range(10)), return_exceptions=True)

    asyncio.run(all_of_them())
    assert [breaker(f"{name}-{number}").fail_counter for number in range(10)] == [0, 1] * 5


def test_a_cancelled_call_stays_cancelled_and_counts_neither_way(name: str) -> None:
    async def call() -> bool:
        started = asyncio.Event()

        @guard(name, retry=QUICK, timeout=60, fallback=lambda: "cached")
        async def wait() -> None:
            started.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(wait())
        await started.wait()
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(call())
    assert breaker(name).fail_counter == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_what_ends_the_program_is_never_caught(name: str, error: BaseException) -> None:
    def end() -> None:
        raise error

    with pytest.raises(type(error)):
        guard(name, retry=QUICK, fallback=lambda: "cached").call(end)
    assert breaker(name).fail_counter == 0


def test_a_generator_is_refused_since_its_call_does_nothing_yet(name: str) -> None:
    with pytest.raises(TypeError):

        @guard(name)
        def rows() -> Iterator[int]:
            yield 1


@pytest.mark.parametrize("verb", ["get", "put", "delete", "post"])
def test_each_verb_is_plain_and_awaited(server: Server, name: str, verb: str) -> None:
    guarded = guard(name, timeout=5)
    getattr(guarded, verb)(server.url, trusted=True)
    asyncio.run(getattr(guarded, f"a{verb}")(server.url, trusted=True))
    assert server.methods == [verb.upper()] * 2


def test_an_awaited_post_is_repeated_only_where_that_is_safe(server: Server, name: str) -> None:
    server.answers = [answer("503 Away"), OK]
    with pytest.raises(httpx.HTTPStatusError):
        asyncio.run(guard(name, retry=QUICK).apost(server.url, trusted=True))
    server.answers = [answer("503 Away"), OK]
    headers = {"Idempotency-Key": "order-7"}
    asyncio.run(guard(name, retry=QUICK).apost(server.url, trusted=True, headers=headers))
    assert server.methods == ["POST"] * 3


def test_the_error_of_a_guarded_call_is_the_one_that_was_raised(name: str) -> None:
    errors = [ConnectionResetError(str(number)) for number in range(3)]
    waiting = list(errors)
    with pytest.raises(ConnectionResetError) as caught:
        guard(name, retry=QUICK).call(lambda: fail(waiting.pop(0)))
    assert caught.value is errors[2]
    assert all(error.__context__ is None and error.__cause__ is None for error in errors)


def test_operations_of_one_key_share_a_breaker_and_those_of_another_have_their_own(
    name: str,
) -> None:
    manager = RetryManager(QUICK)
    with pytest.raises(ConnectionResetError):
        manager.execute(fail, [ConnectionResetError()], operation_key=f"{name}-a")
    # Three failures, and with two of these the circuit is open.
    with pytest.raises(OpenCircuitError):
        asyncio.run(
            manager.execute_async(fail_async, [ConnectionResetError()], operation_key=f"{name}-a")
        )
    assert manager.execute(int, ["ff"], {"base": 16}, operation_key=f"{name}-b") == 255
    assert breaker(f"{name}-a").current_state == "open"
    assert breaker(f"{name}-b").current_state == "closed"


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (ConnectionResetError(), "warning"),
        (PermissionError(13, "no"), "error"),
        (MemoryError(), "critical"),
    ],
)
def test_what_needs_somebody_is_told_louder_than_what_passes(
    name: str, error: Exception, level: str
) -> None:
    with capture_logs() as lines, pytest.raises(type(error)):
        guard(name).call(fail, error)
    (line,) = [line for line in lines if line["event"] == "guarded_call_failed"]
    assert line["log_level"] == level


def test_names_of_limits_are_those_of_guards(name: str) -> None:
    guard(name).call(int)
    assert limits.rate_limit(name).name == name
