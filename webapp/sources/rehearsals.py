"""Failing on purpose, so that people see retries, breakers and dead letters at work.

A failure is raised inside the source's guard, where a real one would be, and as the exception that
a real one brings: nothing behind it can tell the difference.  Whether anybody may ask for one is
decided elsewhere.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

import httpx

from webapp.errors import Invalid
from webapp.guards import Guard, guard
from webapp.sources.fetching import READ_RETRY, TURN_SECONDS, Reader
from webapp.sources.values import Batch, Checkpoint, Unreadable

MOST_LATENCY_MS = 10_000
_MESSAGE = "This failure was asked for, as a rehearsal."


class Failure(StrEnum):
    """What may be rehearsed, by what the guards make of it."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    SERVER_ERROR = "server_error"
    RATE_LIMITED = "rate_limited"
    UNAUTHORIZED = "unauthorized"
    MALFORMED = "malformed"
    INVALID = "invalid"
    CRASH = "crash"


def _answered(status: HTTPStatus) -> Exception:
    request = httpx.Request("GET", "https://rehearsal.invalid/")
    response = httpx.Response(status, request=request)
    return httpx.HTTPStatusError(f"{status} {_MESSAGE}", request=request, response=response)


_ERRORS: Mapping[Failure, Callable[[], Exception]] = {
    Failure.TIMEOUT: lambda: TimeoutError(_MESSAGE),
    Failure.CONNECTION: lambda: ConnectionResetError(_MESSAGE),
    Failure.SERVER_ERROR: lambda: _answered(HTTPStatus.SERVICE_UNAVAILABLE),
    Failure.RATE_LIMITED: lambda: _answered(HTTPStatus.TOO_MANY_REQUESTS),
    Failure.UNAUTHORIZED: lambda: _answered(HTTPStatus.UNAUTHORIZED),
    Failure.MALFORMED: lambda: Unreadable(_MESSAGE),
    Failure.INVALID: lambda: Invalid(_MESSAGE),
    # What nobody foresaw.
    Failure.CRASH: lambda: RuntimeError(_MESSAGE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What is to go wrong: the row at which, counted from 1, and how much slower each batch is."""

    fail_at_row: int | None = None
    fail_with: Failure = Failure.CONNECTION
    latency_ms: int = 0

    def applied_to(self, reader: Reader, name: str) -> Callable[[Checkpoint, int, int], Batch]:
        """Return how to read a batch: from a place, so many rows, with so many read before.

        ``name`` is that of the source's guard.
        """
        guarded = guard(name, retry=READ_RETRY, wait=TURN_SECONDS)

        def read(at: Checkpoint, size: int, done: int) -> Batch:
            if self.latency_ms:
                guarded.call(lambda: time.sleep(self.latency_ms / 1000))
            left = None if self.fail_at_row is None else self.fail_at_row - 1 - done
            if left == 0:
                # Before anything is read: a success would keep the breaker closed.
                self._fail(guarded)
            return reader.read(at, size if left is None or left < 0 else min(size, left))

        return read

    def _fail(self, guarded: Guard) -> None:
        def fail() -> None:
            error = _ERRORS[self.fail_with]()
            raise error

        guarded.call(fail)
