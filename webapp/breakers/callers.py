"""Who makes the calls of this context: a type of job, where one runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from webapp.breakers.values import MAX_NAME

_caller: ContextVar[str | None] = ContextVar("breaker_caller", default=None)

present_caller = _caller.get


def job_caller(type_name: str) -> str:
    """Return what the jobs of a type are called where they use a breaker."""
    return f"job {type_name}"[:MAX_NAME]


@contextmanager
def calling_as(name: str) -> Iterator[None]:
    """Have the breakers that are used inside know who used them."""
    token = _caller.set(name[:MAX_NAME])
    try:
        yield
    finally:
        _caller.reset(token)
