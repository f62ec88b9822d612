"""Repeat a function while its errors are of a kind that passes; built on ``backoff``.

One decorator serves plain and ``async`` functions.  Which error is repeated, and after which wait,
is decided in ``webapp.retries.policy``; here are only the clock, the random number and the log.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import backoff

from webapp import clock
from webapp.logs import get_logger
from webapp.retries.classification import classify, postpone
from webapp.retries.policy import Stop, decide
from webapp.retries.values import SHORT_RETRY, ErrorClass, RetryConfig

Function = TypeVar("Function", bound=Callable[..., Any])

log = get_logger(__name__)
_random = random.SystemRandom()


def with_retry(config: RetryConfig) -> Callable[[Function], Function]:
    """Repeat the decorated function as ``config`` says; the last error is raised as it was.

    The function may run several times, so it must be safe to repeat.  A wait that is too long to
    be slept through is written on the error, where whoever schedules the next attempt finds it.
    """

    def decorate(function: Function) -> Function:
        name = getattr(function, "__qualname__", type(function).__name__)
        # backoff's own jitter could undercut a Retry-After, its bound on tries would end the call
        # before the wait is known, and its log lines and details hold the arguments.
        return backoff.on_exception(
            lambda: _waits(config, name), Exception, jitter=None, logger=None
        )(function)

    return decorate


def retry_on_transient(function: Function) -> Function:
    """Repeat a function up to twice, with short waits, while its errors are transient."""
    return with_retry(SHORT_RETRY)(function)


def _waits(config: RetryConfig, name: str) -> Generator[float, Any, None]:
    """Be sent each error and yield the wait before the next attempt; raise the last error.

    backoff makes one of these for each call, so its counts are those of one call.
    """
    began = time.monotonic()
    failures: Counter[ErrorClass] = Counter()
    error: Exception = yield 0.0
    while True:
        found = classify(error, now=clock.now())
        failures[found.error_class] += 1
        decision = decide(
            found,
            attempt=failures.total(),
            failures_of_class=failures[found.error_class],
            config=config,
            elapsed=time.monotonic() - began,
            jitter=_random.random(),
        )
        if isinstance(decision, Stop):
            if decision.wait is not None:
                postpone(error, decision.wait)
            # Raised here and not by backoff, which would put the end of this generator in the place
            # of what the error was raised from.
            raise error
        log.warning(
            "call_retried",
            function=name,
            attempt=failures.total(),
            error_class=found.error_class,
            rule=found.rule,
            strategy=decision.strategy,
            delay=round(decision.delay, 3),
            error=type(error).__name__,
        )
        error = yield decision.delay
