"""Decorators that repeat a function, plain or ``async``, while its errors are transient.

The function may run several times, so it must be safe to repeat: a transaction stands inside of it
as a whole.  The last error is raised as it was.  A wait that is too long to be slept through is
written on the error, where whoever schedules the next attempt finds it.
"""

import inspect
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, TypeVar, cast, overload

from webapp.retries.attempts import Attempts
from webapp.retries.classification import comes_from, status_of
from webapp.retries.decisions import Judge
from webapp.retries.values import Classification, RetryConfig

Function = TypeVar("Function", bound=Callable[..., Any])

#: What a server answers that may answer otherwise in a moment.
STATUS_CODES = (429, 500, 502, 503, 504)


def with_retry(
    config: RetryConfig | None = None,
    *,
    retryable_exceptions: tuple[type[Exception], ...] | None = None,
) -> Callable[[Function], Function]:
    """Repeat the decorated function as ``config`` says, or as the settings do.

    The class of each error says whether it is repeated.  With ``retryable_exceptions`` its type
    does: these are repeated whatever their class is, and no others.
    """
    if retryable_exceptions is None:
        return _repeated(config, None)
    kinds = retryable_exceptions
    return _repeated(config, lambda error, _: isinstance(error, kinds))


def retry_on_transient(function: Function) -> Function:
    """Repeat a function while its errors are transient."""
    return _repeated(None, None)(function)


def database_retry(function: Function) -> Function:
    """Repeat a function while the database is locked, away, or has undone its transaction.

    The function begins its transaction and commits it: what a rolled back one had read is stale.
    """
    return _repeated(None, _transient_from("sqlalchemy", "sqlite3", "psycopg"))(function)


def redis_retry(function: Function) -> Function:
    """Repeat a function while Redis is away, slow, loading its data or changing its primary."""
    return _repeated(None, _transient_from("redis"))(function)


@overload
def api_retry(function: Function) -> Function: ...
@overload
def api_retry(
    *, status_codes: Collection[int] = ..., config: RetryConfig | None = ...
) -> Callable[[Function], Function]: ...
def api_retry(
    function: Function | None = None,
    *,
    status_codes: Collection[int] = STATUS_CODES,
    config: RetryConfig | None = None,
) -> Any:
    """Repeat a function while what it calls answers one of ``status_codes``, or not at all.

    Neither requests nor httpx raises on a status by itself: an answer of these that the function
    returns is raised as its library's error.  Other statuses are not repeated.
    """
    wanted = frozenset(status_codes)

    def decorate(function: Function) -> Function:
        refuse_generator(function)
        return _repeated(config, _answers_with(wanted))(_raising(function, wanted))

    return decorate if function is None else decorate(function)


def _transient_from(*libraries: str) -> Judge:
    """Leave the errors of these libraries to their class, and repeat no others."""
    return lambda error, _: None if comes_from(error, libraries) else False


def _answers_with(wanted: frozenset[int]) -> Judge:
    def judge(error: Exception, found: Classification) -> bool | None:
        del found
        status = status_of(error)
        return None if status is None else status in wanted

    return judge


def _repeated(config: RetryConfig | None, judge: Judge | None) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        refuse_generator(function)
        attempts = Attempts(_name_of(function), config, judge)
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def repeated_coroutine(*args: Any, **kwargs: Any) -> Any:
                return await attempts.call_async(function, args, kwargs)

            return cast("Function", repeated_coroutine)

        @wraps(function)
        def repeated(*args: Any, **kwargs: Any) -> Any:
            return attempts.call(function, args, kwargs)

        return cast("Function", repeated)

    return decorate


def refuse_generator(function: Callable[..., Any]) -> None:
    """Refuse a function whose call does nothing yet, so that it cannot fail either."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("A generator runs after its call has ended: guard what it calls instead.")


def _raising(function: Function, wanted: frozenset[int]) -> Function:
    """Raise an answer with one of these statuses, where the function returns it."""

    def checked(answer: Any) -> Any:
        if getattr(answer, "status_code", None) in wanted:
            answer.raise_for_status()
        return answer

    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def raising_coroutine(*args: Any, **kwargs: Any) -> Any:
            return checked(await function(*args, **kwargs))

        return cast("Function", raising_coroutine)

    @wraps(function)
    def raising(*args: Any, **kwargs: Any) -> Any:
        return checked(function(*args, **kwargs))

    return cast("Function", raising)


def _name_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", type(function).__name__)
    return f"{getattr(function, '__module__', '')}.{name}"
