"""What a guard does about each thing that a server does: how often it calls, when, and what of it
the breaker hears.
"""

import asyncio
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from tests.http_server import HEAD, OK, Server, answer, drip, reset_connection, stall
from webapp.breakers import registry
from webapp.breakers.circuit import OpenCircuitError
from webapp.breakers.registry import BreakerRegistry, breaker
from webapp.breakers.values import Thresholds
from webapp.guards import Guard, guard
from webapp.retries.classification import classify
from webapp.retries.values import ErrorClass, RetryConfig

Reply = bytes | Callable[[socket.socket], None]

ATTEMPTS = 4
# Waits without jitter: 0.02 s and what each strategy makes of it.
FIRST = 0.02
CONFIG = RetryConfig(max_attempts=ATTEMPTS, initial_delay=FIRST, max_delay=5.0, jitter=0.0)
NEVER_OPENS = Thresholds(failures=100)
GZIP = answer("200 OK", "Content-Encoding: gzip", body=b"no gzip at all")


class Clocked(Server):
    """Notes when each request came."""

    def __init__(self) -> None:
        self.times: list[float] = []
        super().__init__()

    def _answer(self, plain: socket.socket) -> None:
        self.times.append(time.monotonic())
        super()._answer(plain)

    @property
    def gaps(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]


@pytest.fixture
def server() -> Iterator[Clocked]:
    server = Clocked()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the circuits of these tests out of any database."""
    monkeypatch.setattr(registry._current, "registry", BreakerRegistry())


def plain(guarded: Guard, url: str) -> httpx.Response:
    return guarded.get(url, trusted=True)


def awaited(guarded: Guard, url: str) -> httpx.Response:
    return asyncio.run(guarded.aget(url, trusted=True))


BOTH = pytest.mark.parametrize("get", [plain, awaited], ids=["plain", "awaited"])
Get = Callable[[Guard, str], httpx.Response]


def in_seconds(seconds: int) -> bytes:
    """Answer 429 with the date so many seconds from the answer's own."""
    sent = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    at = format_datetime(sent + timedelta(seconds=seconds), usegmt=True)
    return answer(
        "429 Too Many", f"Date: {format_datetime(sent, usegmt=True)}", f"Retry-After: {at}"
    )


@dataclass(frozen=True)
class Case:
    """A thing that a server does, how often it is called for it, and after which least waits."""

    reply: Callable[[Server], Reply]
    error_class: ErrorClass
    calls: int
    waits: tuple[float, ...] = ()
    failures: int = 0
    attempts: int = ATTEMPTS

    @property
    def limit(self) -> float:
        return LIMIT if self.error_class is ErrorClass.TIMEOUT else PATIENCE


EXPONENTIAL = (FIRST, FIRST * 2, FIRST * 4)
LINEAR = (FIRST, FIRST * 2, FIRST * 3)
AGGRESSIVE = (FIRST, FIRST * 3, FIRST * 9)
# Where the limit is what ends a call it is short; else no pause of the machine may reach it.
LIMIT = 0.3
PATIENCE = 30.0

MATRIX = {
    "429": Case(lambda _: answer("429 Too Many"), ErrorClass.RATE_LIMITED, 4, AGGRESSIVE),
    "429 seconds": Case(
        lambda _: answer("429 Too Many", "Retry-After: 1"),
        ErrorClass.RATE_LIMITED, 3, (1, 1), attempts=3,
    ),
    # Whole seconds are the least that a server can ask for: once each is enough to wait.
    "429 date": Case(
        lambda _: in_seconds(1), ErrorClass.RATE_LIMITED, 2, (1,), attempts=2
    ),
    "500": Case(
        lambda _: answer("500 Error"), ErrorClass.SERVER_ERROR, 4, EXPONENTIAL, failures=4
    ),
    "503": Case(
        lambda _: answer("503 Away", "Retry-After: 1"),
        ErrorClass.SERVER_ERROR, 2, (1,), failures=2, attempts=2,
    ),
    "hangs": Case(lambda server: stall(server, b""), ErrorClass.TIMEOUT, 4, LINEAR, failures=4),
    "body hangs": Case(
        lambda server: stall(server, HEAD), ErrorClass.TIMEOUT, 4, LINEAR, failures=4
    ),
    "body drips": Case(drip, ErrorClass.TIMEOUT, 4, LINEAR, failures=4),
    "body cut": Case(lambda _: HEAD + b"cut", ErrorClass.NETWORK, 4, EXPONENTIAL, failures=4),
    "reset": Case(lambda _: reset_connection, ErrorClass.NETWORK, 4, EXPONENTIAL, failures=4),
    # What does not decode once seldom does at the second look.
    "gzip": Case(lambda _: GZIP, ErrorClass.MALFORMED, 3, EXPONENTIAL[:2], failures=3),
    "401": Case(lambda _: answer("401 Who"), ErrorClass.UNAUTHORIZED, 1),
    "404": Case(lambda _: answer("404 Not Found"), ErrorClass.NOT_FOUND, 1),
    "422": Case(lambda _: answer("422 No"), ErrorClass.BAD_REQUEST, 1),
    "505": Case(lambda _: answer("505 Version"), ErrorClass.MISCONFIGURED, 1),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("case", MATRIX.values(), ids=MATRIX)
def test_what_a_server_keeps_doing_is_met_as_the_matrix_says(
    server: Clocked, get: Get, case: Case
) -> None:
    name = f"service-{uuid.uuid4().hex[:8]}"
    server.answers = [case.reply(server)]
    config = replace(CONFIG, max_attempts=case.attempts)
    guarded = guard(name, retry=config, timeout=case.limit, thresholds=NEVER_OPENS)
    with pytest.raises(Exception) as caught:  # the class is what is asked
        get(guarded, server.url)
    assert classify(caught.value).error_class == case.error_class, repr(caught.value)
    assert len(server.times) == case.calls
    assert len(server.gaps) == len(case.waits)
    assert all(gap >= wait for gap, wait in zip(server.gaps, case.waits, strict=True))
    assert breaker(name).fail_counter == case.failures


@BOTH
@pytest.mark.parametrize(
    "case", [case for case in MATRIX.values() if case.calls > 1],
    ids=[name for name, case in MATRIX.items() if case.calls > 1],
)  # fmt: skip
def test_a_server_that_recovers_is_answered_for_with_its_answer(
    server: Clocked, get: Get, case: Case
) -> None:
    name = f"service-{uuid.uuid4().hex[:8]}"
    server.answers = [case.reply(server), OK]
    guarded = guard(name, retry=CONFIG, timeout=case.limit, thresholds=NEVER_OPENS)
    assert get(guarded, server.url).text == "ok"
    # A machine that pauses may make the answer late by a short limit, and the next call good.
    assert len(server.times) == 2 or (case.limit == LIMIT and 2 < len(server.times) <= ATTEMPTS)
    assert server.gaps[0] >= case.waits[0]
    assert breaker(name).fail_counter == 0


@BOTH
def test_an_open_circuit_ends_the_repeating_and_keeps_calls_from_the_server(
    server: Clocked, get: Get
) -> None:
    server.answers = [answer("500 Error")]
    guarded = guard(
        f"service-{uuid.uuid4().hex[:8]}",
        retry=CONFIG,
        timeout=PATIENCE,
        thresholds=Thresholds(failures=2),
    )
    for _ in range(3):
        with pytest.raises(OpenCircuitError):
            get(guarded, server.url)
    assert len(server.times) == 2


@BOTH
def test_json_that_does_not_decode_is_repeated_where_decoding_is_part_of_the_call(
    server: Clocked, get: Get
) -> None:
    name = f"service-{uuid.uuid4().hex[:8]}"
    server.answers = [answer("200 OK", body=b'{"rows'), answer("200 OK", body=b"[1]")]
    inner = guard(f"{name}-http", timeout=PATIENCE)

    @guard(name, retry=CONFIG)
    def rows() -> Any:
        return get(inner, server.url).json()

    assert rows() == [1]
    assert len(server.times) == 2
