"""Calls that are repeated while their errors are of a kind that passes; built on ``backoff``.

Which error is repeated, and after which wait, is decided in ``webapp.retries.decisions``; here are
only the clock, the random number, the budget and the log.  A call that succeeds at once is made
without backoff, which is entered after the first failure.
"""

import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any

import backoff

from webapp import clock
from webapp.logs import get_logger
from webapp.metrics import GUARD_RETRIES, GUARD_RETRIES_REFUSED, name_label
from webapp.retries.budgets import retry_budget
from webapp.retries.classification import classify, postpone
from webapp.retries.decisions import Explanation, Judge, explain_class, judged
from webapp.retries.values import SHORT_RETRY, ErrorClass, RetryConfig

log = get_logger(__name__)
_random = random.SystemRandom()


class _Process:
    """The configuration of retries that name none."""

    def __init__(self) -> None:
        self.config = SHORT_RETRY


_process = _Process()


def use_default_config(config: RetryConfig) -> None:
    """Set how calls are repeated whose retry says nothing else."""
    _process.config = config


def default_config() -> RetryConfig:
    """Return how calls are repeated whose retry says nothing else."""
    return _process.config


class Attempts:
    """How the calls under one name are repeated; ``config`` None is the default of the process."""

    __slots__ = ("_budget", "_config", "_judge", "name")

    def __init__(
        self, name: str, config: RetryConfig | None = None, judge: Judge | None = None
    ) -> None:
        self.name = name
        self._config = config
        self._judge = judge
        self._budget = retry_budget(name)

    def call(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """Call a function until it succeeds or is given up; its last error is raised as it was."""
        began = time.monotonic()
        self._budget.count_call(began)
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # it is raised again by what follows
            first = [error]
        # Not within the handler: errors to come would tell of this one as their context.

        def again() -> Any:
            if first:
                raise first.pop()
            return function(*args, **kwargs)

        return self._decorated(began)(again)()

    async def call_async(
        self,
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Await a function as :meth:`call` calls one."""
        began = time.monotonic()
        self._budget.count_call(began)
        try:
            return await function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # it is raised again by what follows
            first = [error]

        async def again() -> Any:
            if first:
                raise first.pop()
            return await function(*args, **kwargs)

        return await self._decorated(began)(again)()

    def _decorated(self, began: float) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
        # backoff's own jitter could undercut a Retry-After, its bound on tries would end the call
        # before the wait is known, and its log lines and details hold the arguments.  The end of an
        # iterator is no failure, and a generator cannot raise it.
        return backoff.on_exception(
            lambda: self._waits(began),
            Exception,
            giveup=lambda error: isinstance(error, StopIteration),
            jitter=None,
            logger=None,
        )

    def _waits(self, began: float) -> Generator[float, Any, None]:
        """Be sent each error and yield the wait before the next attempt; raise the last error.

        backoff makes one of these for each call, so its counts are those of one call.
        """
        failures: Counter[ErrorClass] = Counter()
        error: Exception = yield 0.0
        while True:
            why = self._explain(error, failures, time.monotonic() - began)
            if why.delay is None or not self._affordable(why):
                wait = why.postponed if why.delay is None else why.delay
                if wait is not None:
                    postpone(error, wait)
                # Raised here and not by backoff, which would put the end of this generator in the
                # place of what the error was raised from.
                raise error
            self._note(why, error)
            error = yield why.delay

    def _explain(
        self, error: Exception, failures: Counter[ErrorClass], elapsed: float
    ) -> Explanation:
        found = judged(error, classify(error, now=clock.now()), self._judge)
        failures[found.error_class] += 1
        return explain_class(
            found,
            self._config or _process.config,
            failures,
            elapsed=elapsed,
            jitter=_random.random(),
        )

    def _affordable(self, why: Explanation) -> bool:
        if self._budget.spend(time.monotonic()):
            return True
        GUARD_RETRIES_REFUSED.labels(name_label(self.name)).inc()
        log.warning(
            "retry_budget_spent", name=self.name, attempt=why.attempt, error_class=why.error_class
        )
        return False

    def _note(self, why: Explanation, error: Exception) -> None:
        GUARD_RETRIES.labels(name_label(self.name), why.error_class, why.strategy).inc()
        log.warning(
            "call_retried",
            name=self.name,
            attempt=why.attempt,
            error_class=why.error_class,
            rule=why.rule,
            strategy=why.strategy,
            delay=round(why.delay or 0.0, 3),
            error=type(error).__name__,
        )
