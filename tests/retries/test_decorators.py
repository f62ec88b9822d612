"""Functions that are repeated, plain and async alike."""

import asyncio
import logging
import sqlite3
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import backoff
import httpx
import psycopg
import pytest
import redis
import requests
import sqlalchemy.exc
from structlog.testing import capture_logs

from webapp.breakers.circuit import OpenCircuitError
from webapp.metrics import GUARD_RETRIES, GUARD_RETRIES_REFUSED
from webapp.retries import budgets
from webapp.retries.attempts import Attempts, default_config, use_default_config
from webapp.retries.budgets import ALWAYS
from webapp.retries.classification import classify
from webapp.retries.decorators import (
    api_retry,
    database_retry,
    redis_retry,
    retry_on_transient,
    with_retry,
)
from webapp.retries.values import RetryConfig

QUICK = RetryConfig(max_attempts=3, initial_delay=0.01, max_delay=0.02)


@pytest.fixture(autouse=True)
def fresh_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "_budgets", {})


class Flaky:
    """A service that raises each of ``errors`` once and then answers."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def call(self, *_: object) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    async def call_async(self, *_: object) -> str:
        return self.call()


def run(service: Flaky, *, asynchronous: bool, config: RetryConfig = QUICK) -> str:
    if asynchronous:
        return asyncio.run(with_retry(config)(service.call_async)("argument"))
    return with_retry(config)(service.call)("argument")


BOTH = pytest.mark.parametrize("asynchronous", [False, True], ids=["def", "async def"])


@BOTH
def test_a_transient_error_is_repeated(asynchronous: bool) -> None:
    service = Flaky(ConnectionResetError(), TimeoutError())
    assert run(service, asynchronous=asynchronous) == "answer"
    assert service.calls == 3


@BOTH
def test_the_last_error_is_raised_as_it_was_when_the_attempts_are_used_up(
    asynchronous: bool,
) -> None:
    errors = [ConnectionResetError(str(number)) for number in range(5)]
    service = Flaky(*errors)
    with pytest.raises(ConnectionResetError) as caught:
        run(service, asynchronous=asynchronous)
    assert caught.value is errors[2]
    assert service.calls == 3


@BOTH
@pytest.mark.parametrize(
    "error", [TypeError("bug"), FileNotFoundError("gone"), OpenCircuitError("billing", 1.0)]
)
def test_an_error_that_will_not_pass_is_raised_at_once(
    error: Exception, asynchronous: bool
) -> None:
    service = Flaky(error)
    with pytest.raises(type(error)):
        run(service, asynchronous=asynchronous)
    assert service.calls == 1


@BOTH
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), asyncio.CancelledError()])
def test_what_ends_the_program_or_the_task_is_never_caught(
    error: BaseException, asynchronous: bool
) -> None:
    service = Flaky(error)
    with pytest.raises(type(error)):
        run(service, asynchronous=asynchronous)
    assert service.calls == 1


@BOTH
def test_a_wait_that_is_too_long_is_left_to_whoever_schedules(asynchronous: bool) -> None:
    service = Flaky(ConnectionResetError())
    began = time.monotonic()
    with pytest.raises(ConnectionResetError) as caught:
        run(
            service,
            asynchronous=asynchronous,
            config=RetryConfig(initial_delay=60.0, jitter=0.0),
        )
    assert time.monotonic() - began < 1
    assert classify(caught.value).retry_after == 60.0


@pytest.mark.parametrize("failures", [0, 1])
def test_the_end_of_an_iterator_is_raised_as_it_was_and_not_repeated(failures: int) -> None:
    calls = []
    ends: Iterator[str] = iter(())

    @with_retry(QUICK)
    def following() -> str:
        calls.append(1)
        if len(calls) <= failures:
            raise ConnectionResetError("peer")
        return next(ends)

    with pytest.raises(StopIteration):
        following()
    assert len(calls) == failures + 1


def test_each_call_counts_its_own_attempts() -> None:
    service = Flaky()
    call = with_retry(QUICK)(service.call)
    for _ in range(3):
        service.errors = [ConnectionResetError(), ConnectionResetError()]
        assert call() == "answer"


def test_each_retry_is_one_log_line_without_the_arguments() -> None:
    def pay(card_number: str) -> str:
        return service.call(card_number)

    service = Flaky(ConnectionResetError("peer"))
    with capture_logs() as lines:
        with_retry(QUICK)(pay)("4111-1111")
    (line,) = lines
    assert line["event"] == "call_retried"
    assert (line["attempt"], line["error_class"], line["strategy"]) == (1, "network", "exponential")
    assert {"rule", "delay"} <= line.keys()
    assert "4111" not in str(line)


@BOTH
def test_the_last_error_keeps_where_it_was_raised_and_is_chained_to_no_other(
    asynchronous: bool,
) -> None:
    cause = KeyError("what it came from")
    errors = [ConnectionResetError(str(number)) for number in range(3)]
    errors[2].__cause__ = cause
    with pytest.raises(ConnectionResetError) as caught:
        run(Flaky(*errors), asynchronous=asynchronous)
    assert caught.value.__cause__ is cause
    assert all(error.__context__ is None for error in errors)
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-1] == "call"


def test_only_the_first_failure_begins_the_machinery(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[object] = []
    decorate = backoff.on_exception

    def noted(*arguments: Any, **options: Any) -> Any:
        entered.append(arguments)
        return decorate(*arguments, **options)

    monkeypatch.setattr(backoff, "on_exception", noted)
    assert run(Flaky(), asynchronous=False) == "answer"
    assert entered == []
    assert run(Flaky(ConnectionResetError()), asynchronous=False) == "answer"
    assert len(entered) == 1


class TestTrapsOfBackoff:
    """What backoff 2.2.1 does where it is used as it comes, and what ours does instead."""

    def test_no_attempts_at_all_are_refused_where_backoff_would_never_end(self) -> None:
        with pytest.raises(ValueError):
            RetryConfig(max_attempts=0)

    def test_a_decorator_that_serves_two_functions_tells_of_each_retry_once(self) -> None:
        decorate = with_retry(QUICK)
        first, second = (decorate(Flaky(ConnectionResetError()).call) for _ in range(2))
        with capture_logs() as lines:
            first()
            second()
        assert [line["event"] for line in lines] == ["call_retried", "call_retried"]

    def test_its_own_logger_says_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, logger="backoff")
        with_retry(QUICK)(Flaky(ConnectionResetError("hunter2")).call)("hunter2")
        assert [record for record in caplog.records if record.name == "backoff"] == []

    def test_a_wait_past_the_deadline_is_not_begun_where_backoff_would_cut_it_short(self) -> None:
        service = Flaky(*(ConnectionResetError() for _ in range(5)))
        config = RetryConfig(initial_delay=10.0, max_delay=10.0, jitter=0.0, deadline=5.0)
        with pytest.raises(ConnectionResetError) as caught:
            run(service, asynchronous=False, config=config)
        assert service.calls == 1
        assert classify(caught.value).retry_after == 10.0

    def test_jitter_never_undercuts_a_retry_after_where_that_of_backoff_would(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waits: list[float] = []
        monkeypatch.setattr(time, "sleep", waits.append)
        service = Flaky(*(answer(429, retry_after="3") for _ in range(4)))
        config = RetryConfig(max_attempts=5, initial_delay=0.01, max_delay=0.02, jitter="full")
        assert run(service, asynchronous=False, config=config) == "answer"
        assert len(waits) == 4
        assert min(waits) >= 3


def answer(status: int, *, retry_after: str = "") -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://service.example/")
    headers = {"Retry-After": retry_after} if retry_after else {}
    response = httpx.Response(status, headers=headers, request=request)
    return httpx.HTTPStatusError(str(status), request=request, response=response)


@pytest.fixture
def quick_default() -> Iterator[None]:
    before = default_config()
    use_default_config(QUICK)
    yield
    use_default_config(before)


def in_both_kinds(decorate: Callable[[Any], Any], service: Flaky) -> list[Callable[[], str]]:
    """Return one call each of a plain and an async function under a decorator."""
    plain, awaited = decorate(service.call), decorate(service.call_async)
    return [plain, lambda: asyncio.run(awaited())]


def database_error(code: str) -> Exception:
    error = sqlite3.OperationalError(code)
    error.sqlite_errorname = code
    return sqlalchemy.exc.OperationalError("SELECT 1", {}, error)


@pytest.mark.usefixtures("quick_default")
@pytest.mark.parametrize(
    ("decorate", "error", "repeated"),
    [
        (retry_on_transient, ConnectionResetError(), True),
        (retry_on_transient, ValueError(), False),
        (database_retry, database_error("SQLITE_BUSY"), True),
        (database_retry, database_error("SQLITE_ERROR"), False),
        (database_retry, psycopg.errors.SerializationFailure(), True),
        (database_retry, psycopg.errors.UniqueViolation(), False),
        # What is no error of the database is not the database's to repeat.
        (database_retry, ConnectionResetError(), False),
        (redis_retry, redis.ConnectionError(), True),
        (redis_retry, redis.BusyLoadingError(), True),
        (redis_retry, redis.TimeoutError(), True),
        (redis_retry, redis.AuthenticationError(), False),
        (redis_retry, ConnectionResetError(), False),
        (api_retry, answer(503), True),
        (api_retry, answer(429), True),
        (api_retry, answer(404), False),
        (api_retry, answer(507), False),
        (api_retry, httpx.ReadTimeout("late"), True),
        (api_retry(status_codes=(409,)), answer(409), True),
        (api_retry(status_codes=(409,)), answer(503), False),
        (with_retry(QUICK, retryable_exceptions=(KeyError,)), KeyError(), True),
        (with_retry(QUICK, retryable_exceptions=(KeyError,)), ConnectionResetError(), False),
        # Whoever wishes it: what our own guards refuse is not asked again on the spot.
        (
            with_retry(QUICK, retryable_exceptions=(OpenCircuitError,)),
            OpenCircuitError("billing", 1.0),
            False,
        ),
        (with_retry(), ConnectionResetError(), True),
    ],
    # Not the address of a function: those who share the work must name the tests alike.
    ids=lambda value: getattr(value, "__name__", None) or repr(value)[:50],
)
def test_each_decorator_repeats_its_own_errors(
    decorate: Callable[[Any], Any], error: Exception, repeated: bool
) -> None:
    service = Flaky()
    for call in in_both_kinds(decorate, service):
        service.errors, service.calls = [error], 0
        if repeated:
            assert call() == "answer"
        else:
            with pytest.raises(type(error)):
                call()
        assert service.calls == 1 + repeated


@pytest.mark.usefixtures("quick_default")
@pytest.mark.parametrize("library", ["httpx", "requests"])
def test_an_answer_that_a_function_returns_counts_as_what_its_status_says(library: str) -> None:
    answers: list[int] = [503, 200]

    @api_retry
    def fetch() -> Any:
        if library == "httpx":
            return httpx.Response(answers.pop(0), request=httpx.Request("GET", "http://a.example"))
        response = requests.Response()
        response.status_code = answers.pop(0)
        return response

    assert fetch().status_code == 200
    answers += [404]
    assert fetch().status_code == 404
    answers += [503, 503, 503]
    with pytest.raises((httpx.HTTPStatusError, requests.HTTPError)):
        fetch()


def test_what_names_no_configuration_follows_the_settings(
    quick_default: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Flaky()
    call = retry_on_transient(service.call)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    use_default_config(RetryConfig(max_attempts=5))
    service.errors = [ConnectionResetError() for _ in range(9)]
    with pytest.raises(ConnectionResetError):
        call()
    assert service.calls == 5


@pytest.mark.parametrize("decorate", [retry_on_transient, api_retry, with_retry(QUICK)])
def test_a_generator_is_refused_since_its_call_does_nothing_yet(
    decorate: Callable[[Any], Any],
) -> None:
    def rows() -> Iterator[int]:
        yield 1

    async def async_rows() -> AsyncIterator[int]:
        yield 1

    for function in (rows, async_rows):
        with pytest.raises(TypeError):
            decorate(function)


def test_each_retry_is_counted_and_those_beyond_the_budget_are_refused() -> None:
    service = Flaky()
    attempts = Attempts(f"budget-{uuid.uuid4().hex[:8]}", QUICK)

    def value(family: Any, *labels: str) -> float:
        return float(family.labels(*labels)._value.get())

    for _ in range(ALWAYS):
        service.errors = [ConnectionResetError()]
        assert attempts.call(service.call, (), {}) == "answer"
    service.errors = [ConnectionResetError()]
    with capture_logs() as lines, pytest.raises(ConnectionResetError):
        attempts.call(service.call, (), {})
    assert [line["event"] for line in lines] == ["retry_budget_spent"]
    assert value(GUARD_RETRIES, attempts.name, "network", "exponential") == ALWAYS
    assert value(GUARD_RETRIES_REFUSED, attempts.name) == 1


def test_retry_on_transient_needs_no_arguments() -> None:
    @retry_on_transient
    def call() -> str:
        """What it does."""
        return "answer"

    assert call() == "answer"
    assert call.__doc__ == "What it does."
