"""``guard()``: what stands around one outbound call, from outside in: log, fallback, retry,
breaker, time limit.

The retry is outside the breaker, so that the breaker counts every attempt and an open one ends the
repeating at once.  What counts as a failure is decided in ``webapp.retries.classification``.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial, wraps
from types import TracebackType
from typing import Any, TypeVar, cast

import httpx

from webapp.breakers.circuit import describe
from webapp.breakers.registry import breaker
from webapp.breakers.values import Thresholds
from webapp.guards.http import TimeLimitExceeded, may_repeat, send
from webapp.logs import get_logger
from webapp.retries.classification import classify
from webapp.retries.decorators import with_retry
from webapp.retries.values import ErrorClass, RetryConfig

Result = TypeVar("Result")
Function = TypeVar("Function", bound=Callable[..., Any])
Call = Callable[[], Any]

log = get_logger(__name__)

# A fallback is for a service that is away; to hide our own mistakes it is not.
_NO_FALLBACK = frozenset({ErrorClass.BUG, ErrorClass.INVALID_INPUT})

_blocks: ContextVar[tuple[AbstractContextManager[None], ...]] = ContextVar("blocks", default=())


def guard(
    name: str,
    *,
    retry: RetryConfig | None = None,
    timeout: float | None = None,
    fallback: Callable[[], Any] | None = None,
    thresholds: Thresholds | None = None,
) -> "Guard":
    """Return the guard of the calls to ``name``; equal names share one breaker.

    ``retry`` None calls once.  ``timeout`` is in seconds, for each attempt.  ``fallback`` is
    called without arguments where every attempt failed, and its value is the answer.
    """
    return Guard(name, retry, timeout, fallback, thresholds)


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard: a decorator, a context manager, a way to call a function or an address."""

    name: str
    retry: RetryConfig | None
    timeout: float | None
    fallback: Callable[[], Any] | None
    thresholds: Thresholds | None

    def __call__(self, function: Function) -> Function:
        """Guard every call of a function, ``def`` or ``async def``."""
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def guarded_coroutine(*args: Any, **kwargs: Any) -> Any:
                return await self._run_async(partial(function, *args, **kwargs))

            return cast("Function", guarded_coroutine)
        self._refuse_timeout()

        @wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            return self._run(partial(function, *args, **kwargs), self.retry)

        return cast("Function", guarded)

    def call(self, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Call a function under the guard."""
        self._refuse_timeout()
        return cast("Result", self._run(partial(function, *args, **kwargs), self.retry))

    def get(self, url: str, **options: Any) -> httpx.Response:
        """Get an address; ``options`` are those of httpx (headers, params, auth)."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> httpx.Response:
        """Post to an address; repeated only with an ``Idempotency-Key`` header or ``repeat``."""
        return self.request("POST", url, **options)

    def request(
        self, method: str, url: str, *, repeat: bool = False, **options: Any
    ) -> httpx.Response:
        """Make a request and return its successful answer.

        A method that is not safe to repeat is repeated only where an idempotency key goes with it,
        or where the caller says with ``repeat`` that it may be: its answer may be what was lost.
        """
        repeated = repeat or may_repeat(method, options.get("headers"))
        attempt = partial(send, method, url, seconds=self.timeout, **options)
        return cast("httpx.Response", self._run(attempt, self.retry if repeated else None))

    def __enter__(self) -> None:
        """Guard a block; it cannot be run again nor be left in the middle, so breaker and log."""
        if self.retry or self.fallback:
            raise TypeError("A block cannot be repeated or replaced: guard a function instead.")
        self._refuse_timeout()
        block = self._block()
        block.__enter__()
        _blocks.set((*_blocks.get(), block))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Settle the block."""
        *outer, block = _blocks.get()
        _blocks.set(tuple(outer))
        return block.__exit__(kind, error, traceback)

    @contextmanager
    def _block(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            with breaker(self.name, self.thresholds).calling():
                yield
        except Exception as error:
            self._note(error, began)
            raise

    def _run(self, call: Call, retry: RetryConfig | None) -> Any:
        began = time.monotonic()
        circuit = breaker(self.name, self.thresholds)
        attempt: Call = _named(self.name, lambda: circuit.call(call))
        try:
            return (with_retry(retry)(attempt) if retry else attempt)()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is raised on or answered
            return self._after(error, began)

    async def _run_async(self, call: Callable[[], Awaitable[Any]]) -> Any:
        began = time.monotonic()
        circuit = breaker(self.name, self.thresholds)

        async def attempt() -> Any:
            return await circuit.call_async(self._limited, call)

        attempt = _named(self.name, attempt)
        try:
            return await (with_retry(self.retry)(attempt) if self.retry else attempt)()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is raised on or answered
            answer = self._after(error, began)
            return await answer if inspect.isawaitable(answer) else answer

    async def _limited(self, call: Callable[[], Awaitable[Any]]) -> Any:
        limit = asyncio.timeout(self.timeout)
        try:
            async with limit:
                return await call()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TimeLimitExceeded(f"the call took longer than {self.timeout:g} s") from error

    def _after(self, error: Exception, began: float) -> Any:
        """Answer for a call that failed for good, or raise its error on."""
        error_class = self._note(error, began)
        if self.fallback is None or error_class in _NO_FALLBACK:
            raise error
        return self.fallback()

    def _note(self, error: Exception, began: float) -> ErrorClass:
        found = classify(error)
        log.warning(
            "guarded_call_failed",
            guard=self.name,
            error_class=found.error_class,
            rule=found.rule,
            retry_after=found.retry_after,
            seconds=round(time.monotonic() - began, 3),
            error=describe(error),
        )
        return found.error_class

    def _refuse_timeout(self) -> None:
        """A plain function cannot be stopped from outside without leaving a thread behind."""
        if self.timeout is not None:
            raise TypeError(
                "A time limit holds for requests and async functions, not for plain functions."
            )


def _named(name: str, function: Function) -> Function:
    """Give a call the name under which the retry logs it."""
    function.__qualname__ = name
    return function
