"""Functions that are repeated, plain and async alike."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from webapp.breakers.circuit import OpenCircuitError
from webapp.retries.classification import classify
from webapp.retries.decorators import retry_on_transient, with_retry
from webapp.retries.values import RetryConfig

QUICK = RetryConfig(max_attempts=3, initial_delay=0.01, max_delay=0.02)


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


def test_retry_on_transient_needs_no_arguments() -> None:
    @retry_on_transient
    def call() -> str:
        """What it does."""
        return "answer"

    assert call() == "answer"
    assert call.__doc__ == "What it does."
