"""What a guard costs around a call that succeeds, beside the bare call and what others stack.

A guarded call is retry, breaker and rate limit around a function that returns at once, so what is
measured is the guard alone.  Lines of one run compare; the ratio to the bare call is what they
tell.  Run it from the project's folder:

    python bench/guards.py [--peers PYTHON ...] [--redis URL]

``--peers`` measures the packages of requirements-guards.txt with an interpreter that has them.
``--redis`` measures ours with breakers and limits shared in Redis too, and counts how often a call
asks it.
"""

import asyncio
import json
import logging
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

ROUNDS = 15
CALLS = 5_000
COUNTED = 1_000

Call = Callable[[int], object]
Awaited = Callable[[int], Awaitable[object]]


def work(value: int) -> int:
    """Do what is guarded: nothing."""
    return value


async def work_async(value: int) -> int:
    """Do nothing, awaited."""
    return value


def seconds_of(call: Call) -> float:
    """Return the seconds of one call in the best of some rounds."""
    return min(_round(call) for _ in range(ROUNDS)) / CALLS


def _round(call: Call) -> float:
    started = perf_counter()
    for number in range(CALLS):
        call(number)
    return perf_counter() - started


def seconds_of_awaited(call: Awaited) -> float:
    """Return the seconds of one awaited call in the best of some rounds."""

    async def one_round() -> float:
        started = perf_counter()
        for number in range(CALLS):
            await call(number)
        return perf_counter() - started

    return min(asyncio.run(one_round()) for _ in range(ROUNDS)) / CALLS


def ours() -> Iterator[tuple[str, float]]:
    """Measure guards of this project, its breakers in memory."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from webapp.guards import calls, guard  # noqa: PLC0415  # peers run without the project
    from webapp.retries.values import RetryConfig  # noqa: PLC0415

    guarded = guard("bench", retry=RetryConfig())
    yield "guard, decorated", seconds_of(guarded(work))
    yield "guard, called", seconds_of(lambda value: guarded.call(work, value))
    yield "guard without retry", seconds_of(guard("bench")(work))
    yield "guard, awaited", seconds_of_awaited(guarded(work_async))
    yield (
        "guard with a time limit, awaited",
        seconds_of_awaited(guard("bench", retry=RetryConfig(), timeout=10)(work_async)),
    )
    circuit = calls.breaker("bench")
    yield "of which the breaker", seconds_of(lambda value: circuit.call(work, value))

    class NoBreaker:
        """Lets everything through, so that what is left is retry, limit and log."""

        def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

    kept, calls.breaker = calls.breaker, lambda *_: NoBreaker()  # type: ignore[assignment]
    yield "of which the other layers", seconds_of(guarded(work))
    calls.breaker = kept


def peers() -> Iterator[tuple[str, float]]:
    """Measure what this interpreter has of the packages of others."""
    for name, measure in PEERS.items():
        if all(find_spec(module) for module in name.split(" and ")):
            yield from measure()


def _backoff() -> Iterator[tuple[str, float]]:
    backoff: Any = import_module("backoff")
    repeated = backoff.on_exception(backoff.expo, Exception, max_tries=3, logger=None)
    yield "backoff", seconds_of(repeated(work))
    yield "backoff, awaited", seconds_of_awaited(repeated(work_async))


def _pybreaker() -> Iterator[tuple[str, float]]:
    yield "pybreaker", seconds_of(import_module("pybreaker").CircuitBreaker()(work))


def _by_hand() -> Iterator[tuple[str, float]]:
    tenacity: Any = import_module("tenacity")
    breaker = import_module("pybreaker").CircuitBreaker()
    repeated = tenacity.retry(
        stop=tenacity.stop_after_attempt(3),
        wait=tenacity.wait_exponential_jitter(),
        reraise=True,
    )
    yield "tenacity", seconds_of(repeated(work))
    yield "tenacity around pybreaker", seconds_of(repeated(breaker(work)))
    yield "tenacity, awaited", seconds_of_awaited(repeated(work_async))


def _stamina() -> Iterator[tuple[str, float]]:
    stamina: Any = import_module("stamina")
    repeated = stamina.retry(on=ConnectionError, attempts=3)
    yield "stamina", seconds_of(repeated(work))
    yield "stamina, awaited", seconds_of_awaited(repeated(work_async))


def _limits() -> Iterator[tuple[str, float]]:
    limits: Any = import_module("limits")
    # As narrow as a real one, so that its window holds a few entries, not a million.
    limit = limits.RateLimitItemPerSecond(100)
    limiter = limits.strategies.MovingWindowRateLimiter(limits.storage.MemoryStorage())
    yield "limits, moving window", seconds_of(lambda _: limiter.hit(limit, "bench"))


PEERS = {
    "backoff": _backoff,
    "pybreaker": _pybreaker,
    "tenacity and pybreaker": _by_hand,
    "stamina": _stamina,
    "limits": _limits,
}


def measured_elsewhere(python: Path) -> Iterator[tuple[str, float]]:
    """Measure peers in an interpreter of their own."""
    answer = subprocess.run(
        [str(python), __file__, "--only-peers"], check=True, capture_output=True
    )
    yield from json.loads(answer.stdout)


def shared_in_redis(url: str) -> Iterator[str]:
    """Measure guards whose state is shared in Redis, and count what a closed circuit asks of it."""
    import redis  # noqa: PLC0415

    from webapp.app import create_app  # noqa: PLC0415
    from webapp.guards import guard  # noqa: PLC0415
    from webapp.limits.registry import set_rate_limit  # noqa: PLC0415
    from webapp.retries.values import RetryConfig  # noqa: PLC0415
    from webapp.settings import Settings  # noqa: PLC0415

    sent: list[object] = []
    send = redis.Connection.send_packed_command

    def count(connection: redis.Connection, *given: Any, **options: Any) -> None:
        sent.append(connection)
        send(connection, *given, **options)

    redis.Connection.send_packed_command = count  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        given = {"REDIS_URL": url, "INSTANCE_DIR": folder, "LOG_LEVEL": "ERROR"}
        create_app(Settings.from_environment(given))
        set_rate_limit("bench-limited", 10_000, 1)
        for name in ("bench-shared", "bench-limited"):
            guarded = guard(name, retry=RetryConfig())(work)
            guarded(0)
            sent.clear()
            for number in range(COUNTED):
                guarded(number)
            asked = len(sent) / COUNTED
            yield f"  {name}: {asked:.2f} round trips to Redis a call (other threads' too)"
            yield f"  {name}: {seconds_of(guarded) * 1e6:.2f} us"


def main() -> None:
    """Measure and print."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", nargs="*", type=Path, default=[], metavar="PYTHON")
    parser.add_argument("--redis", metavar="URL")
    parser.add_argument("--only-peers", action="store_true")
    options = parser.parse_args()
    logging.disable()
    if options.only_peers:
        print(json.dumps(list(peers())))
        return
    bare, awaited = seconds_of(work), seconds_of_awaited(work_async)
    lines = [("bare call", bare), ("bare call, awaited", awaited), *ours()]
    for python in options.peers:
        lines += measured_elsewhere(python)
    print(f"{'':36}{'us':>8}{'x bare':>9}")
    for name, seconds in lines:
        floor = awaited if name.endswith("awaited") else bare
        print(f"{name:36}{seconds * 1e6:8.2f}{seconds / floor:9.0f}")
    if options.redis:
        print("\n".join(shared_in_redis(options.redis)))


if __name__ == "__main__":
    main()
