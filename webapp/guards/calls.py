"""``guard()``: what stands around one outbound call, from outside in: log, fallback, retry,
breaker, rate limit, time limit.

The retry is outside the breaker, so that the breaker counts every attempt and an open one ends the
repeating at once.  What counts as a failure is decided in ``webapp.retries.classification``.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from contextvars import ContextVar
from functools import wraps
from http import HTTPStatus
from types import TracebackType
from typing import Any, TypeVar, cast

from webapp.breakers.circuit import describe
from webapp.breakers.registry import breaker
from webapp.breakers.values import Thresholds
from webapp.guards.requests import Requests
from webapp.limits.registry import rate_limit
from webapp.logs import get_logger
from webapp.outbound.values import TimeLimitExceeded
from webapp.retries.attempts import Attempts
from webapp.retries.classification import classify, status_of
from webapp.retries.decorators import refuse_generator
from webapp.retries.values import ErrorClass, RetryConfig

Result = TypeVar("Result")
Function = TypeVar("Function", bound=Callable[..., Any])

log = get_logger(__name__)

#: So long nobody calls a service that refuses to know us.
UNAUTHORIZED_PAUSE = 60.0
# A fallback is for a service that is away; to hide our own mistakes it is not.
_NO_FALLBACK = frozenset({ErrorClass.BUG, ErrorClass.INVALID_INPUT})
# Whom an error is for: what passes is told, what does not needs somebody.
_LEVELS = {
    ErrorClass.UNAUTHORIZED: "error",
    ErrorClass.MISCONFIGURED: "error",
    ErrorClass.RESOURCE_EXHAUSTED: "critical",
}

_Block = AbstractContextManager[None] | AbstractAsyncContextManager[None]
# The retry of a call that was told to wait comes just as the pause of all calls ends; a hair too
# early, and it would be refused for nothing.
MOMENT = 0.1

_blocks: ContextVar[tuple[_Block, ...]] = ContextVar("blocks", default=())


def guard(
    name: str,
    *,
    retry: RetryConfig | None = None,
    timeout: float | None = None,
    fallback: Callable[[], Any] | None = None,
    thresholds: Thresholds | None = None,
    wait: float = 0.0,
) -> "Guard":
    """Return the guard of the calls to ``name``; equal names share one breaker and rate limit.

    ``retry`` None calls once.  ``timeout`` is in seconds, for each attempt.  ``fallback`` is
    called without arguments where every attempt failed, and its value is the answer.  ``wait`` is
    how many seconds an attempt may wait for its rate limit, before its own time begins.
    """
    return Guard(name, retry, timeout, fallback, thresholds, wait)


class Guard(Requests):
    """A guard: a decorator, a context manager, a way to call a function or an address."""

    __slots__ = ("_attempts", "_thresholds", "_wait", "fallback", "name", "retry", "timeout")

    def __init__(
        self,
        name: str,
        retry: RetryConfig | None,
        timeout: float | None,
        fallback: Callable[[], Any] | None,
        thresholds: Thresholds | None,
        wait: float,
    ) -> None:
        self.name = name
        self.retry = retry
        self.timeout = timeout
        self.fallback = fallback
        self._thresholds = thresholds
        self._wait = max(wait, MOMENT)
        self._attempts = None if retry is None else Attempts(name, retry)

    def __call__(self, function: Function) -> Function:
        """Guard every call of a function, ``def`` or ``async def``."""
        refuse_generator(function)
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def guarded_coroutine(*args: Any, **kwargs: Any) -> Any:
                return await self._run_async(*self._in_time(function, args, kwargs))

            return cast("Function", guarded_coroutine)
        self._refuse_timeout()

        @wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            return self._run(function, args, kwargs)

        return cast("Function", guarded)

    def call(self, function: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
        """Call a function under the guard."""
        self._refuse_timeout()
        return cast("Result", self._run(function, args, kwargs))

    async def acall(
        self, function: Callable[..., Awaitable[Result]], /, *args: Any, **kwargs: Any
    ) -> Result:
        """Await a coroutine function under the guard."""
        answer = await self._run_async(*self._in_time(function, args, kwargs))
        return cast("Result", answer)

    def __enter__(self) -> None:
        """Guard a block; it cannot be run again nor be left in the middle."""
        self._refuse_repeating()
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
        block = cast("AbstractContextManager[None]", _innermost())
        return block.__exit__(kind, error, traceback)

    async def __aenter__(self) -> None:
        """Guard a block of a coroutine, which a time limit can leave."""
        self._refuse_repeating()
        block = self._async_block()
        await block.__aenter__()
        _blocks.set((*_blocks.get(), block))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Settle the block."""
        block = cast("AbstractAsyncContextManager[None]", _innermost())
        return await block.__aexit__(kind, error, traceback)

    @contextmanager
    def _block(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            with breaker(self.name, self._thresholds).calling() as call:
                rate_limit(self.name).acquire(wait=self._wait)
                call.begin()
                with self._pausing():
                    yield
        except Exception as error:
            self._note(error, began)
            raise

    @asynccontextmanager
    async def _async_block(self) -> AsyncIterator[None]:
        began = time.monotonic()
        try:
            async with breaker(self.name, self._thresholds).calling() as call:
                await rate_limit(self.name).acquire_async(wait=self._wait)
                call.begin()
                with self._pausing():
                    async with _TimeLimit(self.timeout):
                        yield
        except Exception as error:
            self._note(error, began)
            raise

    def _run(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        repeat: bool = True,
    ) -> Any:
        began = time.monotonic()
        try:
            if self._attempts is not None and repeat:
                return self._attempts.call(self._attempt, (function, args, kwargs), {})
            return self._attempt(function, args, kwargs)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is raised on or answered
            failure = error
        return self._after(failure, began)

    async def _run_async(
        self,
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        repeat: bool = True,
    ) -> Any:
        began = time.monotonic()
        try:
            if self._attempts is not None and repeat:
                call = (function, args, kwargs)
                return await self._attempts.call_async(self._attempt_async, call, {})
            return await self._attempt_async(function, args, kwargs)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is raised on or answered
            failure = error
        answer = self._after(failure, began)
        return await answer if inspect.isawaitable(answer) else answer

    def _attempt(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """Call a function once, if the breaker lets it and as its rate limit allows."""
        with breaker(self.name, self._thresholds).calling() as call:
            rate_limit(self.name).acquire(wait=self._wait)
            # A call that waited for its turn is not slow for that.
            call.begin()
            try:
                return function(*args, **kwargs)
            except Exception as error:
                self._pause(error)
                raise

    async def _attempt_async(
        self,
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        async with breaker(self.name, self._thresholds).calling() as call:
            await rate_limit(self.name).acquire_async(wait=self._wait)
            call.begin()
            try:
                return await function(*args, **kwargs)
            except Exception as error:
                self._pause(error)
                raise

    def _in_time(
        self,
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> tuple[Callable[..., Awaitable[Any]], tuple[Any, ...], Mapping[str, Any]]:
        """Return a call that ends within the time limit, where there is one."""
        if self.timeout is None:
            return function, args, kwargs
        return _limited, (self.timeout, function, args, kwargs), {}

    @contextmanager
    def _pausing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._pause(error)
            raise

    def _pause(self, error: Exception) -> None:
        """Let nobody call under this name for as long as the other side asks, or will not know us.

        An answer that asks for patience and names no time pauses nobody: the retry waits by itself.
        """
        found = classify(error)
        seconds: float | None = None
        if found.error_class == ErrorClass.UNAUTHORIZED:
            seconds = UNAUTHORIZED_PAUSE
        elif found.error_class == ErrorClass.RATE_LIMITED:
            seconds = found.retry_after
        if seconds:
            rate_limit(self.name).pause(seconds, reason=_why_paused(error, found.rule))

    def _after(self, error: Exception, began: float) -> Any:
        """Answer for a call that failed for good, or raise its error on."""
        error_class = self._note(error, began)
        if self.fallback is None or error_class in _NO_FALLBACK:
            raise error
        return self.fallback()

    def _note(self, error: Exception, began: float) -> ErrorClass:
        found = classify(error)
        tell = getattr(log, _LEVELS.get(found.error_class, "warning"))
        tell(
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

    def _refuse_repeating(self) -> None:
        if self.retry or self.fallback:
            raise TypeError("A block cannot be repeated or replaced: guard a function instead.")


class _TimeLimit:
    """Bounds what a coroutine does; the end of its time is no TimeoutError of its own."""

    __slots__ = ("_limit", "_seconds")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._limit = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._limit.__aexit__(kind, error, traceback)
        except TimeoutError as over:
            # asyncio raises it here only where the time is over; one of the coroutine's own passes.
            raise TimeLimitExceeded(f"the call took longer than {self._seconds:g} s") from over


async def _limited(
    seconds: float,
    function: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Any:
    async with _TimeLimit(seconds):
        return await function(*args, **kwargs)


def _why_paused(error: Exception, rule: str) -> str:
    """Tell what the other side answered, or by which rule its error was understood."""
    status = status_of(error)
    if status is None:
        return f"It refused the call ({rule})."
    words = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
    return f"It answered {status} {words}".rstrip() + "."


def _innermost() -> _Block:
    *outer, block = _blocks.get()
    _blocks.set(tuple(outer))
    return block
