"""The HTTP client of guarded calls: one request, answered whole within its time, or an error.

It repeats nothing by itself, since that is the retry's part, and it raises on every status that
is no success, since httpx does not.
"""

import os
import time
from collections.abc import Iterator
from typing import Any

import httpx

# Repeating these changes nothing that the first of them has not changed (RFC 9110, 9.2.2).
REPEATABLE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
MAX_REDIRECTS = 5
DEFAULT_SECONDS = 30.0


class TimeLimitExceeded(TimeoutError):
    """A guarded call took longer than it may."""


class _Connections:
    """The connection pool of this process, made at the first request."""

    def __init__(self) -> None:
        self._client: httpx.Client | None = None

    def client(self) -> httpx.Client:
        # Of two threads that come first at once, one pool is kept and the other is collected.
        if self._client is None:
            self._client = httpx.Client(
                transport=httpx.HTTPTransport(retries=0),
                follow_redirects=True,
                max_redirects=MAX_REDIRECTS,
            )
        return self._client

    def begin_process(self) -> None:
        """Drop the pool in a forked child: its sockets belong to the parent."""
        self._client = None


_connections = _Connections()
os.register_at_fork(after_in_child=_connections.begin_process)


def send(method: str, url: str, *, seconds: float | None, **options: Any) -> httpx.Response:
    """Make one request; ``httpx.HTTPStatusError`` for every status but 2xx.

    ``seconds`` bounds the whole of it: httpx's own limits are for each read, and a server that
    sends a byte now and then would pass them for ever.
    """
    limit = DEFAULT_SECONDS if seconds is None else seconds
    ends = time.monotonic() + limit
    client = _connections.client()
    with client.stream(method, url, timeout=limit, **options) as response:
        body = b"".join(_until(response.iter_raw(), ends, limit))
    # The body was taken as it came, so a copy decodes it: the same headers, the same request.
    whole = httpx.Response(
        response.status_code,
        headers=response.headers,
        content=body,
        request=response.request,
        history=response.history,
        extensions=response.extensions,
    )
    return whole.raise_for_status()


def may_repeat(method: str, headers: object) -> bool:
    """Tell whether a request is safe to repeat: by its method, or by an idempotency key."""
    names = httpx.Headers(headers) if headers else httpx.Headers()  # type: ignore[arg-type]
    return method.upper() in REPEATABLE_METHODS or "Idempotency-Key" in names


def _until(chunks: Iterator[bytes], ends: float, limit: float) -> Iterator[bytes]:
    for chunk in chunks:
        if time.monotonic() > ends:
            raise TimeLimitExceeded(f"the answer took longer than {limit:g} s")
        yield chunk
