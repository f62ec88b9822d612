"""The end of a request's time, kept on its connection.

httpx limits the wait for each read, and a server that sends a byte now and then would pass that for
ever.  Here each step gets what is left of the whole.  This holds for plain code; a coroutine is
stopped from outside.
"""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore

_ends: ContextVar[float | None] = ContextVar("ends", default=None)


@contextmanager
def until(ends: float) -> Iterator[None]:
    """Let nothing on a connection last past ``ends``, of the monotonic clock."""
    token = _ends.set(ends)
    try:
        yield
    finally:
        _ends.reset(token)


def left_until_end(timeout: float | None, expired: type[httpcore.TimeoutException]) -> float | None:
    """Return what a step may take: its own time limit, or less where the end is nearer."""
    ends = _ends.get()
    if ends is None:
        return timeout
    left = ends - time.monotonic()
    if left <= 0:
        raise expired("the time is over")
    return left if timeout is None else min(left, timeout)


class BoundedStream(httpcore.NetworkStream):
    """A connection on which no read, write or handshake lasts past the end of the call."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, left_until_end(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # httpcore's own loop would grant each part of a large body the whole time anew.
        connection: socket.socket = self._stream.get_extra_info("socket")
        rest = memoryview(buffer)
        while rest:
            connection.settimeout(left_until_end(timeout, httpcore.WriteTimeout))
            try:
                rest = rest[connection.send(rest) :]
            except TimeoutError as error:
                raise httpcore.WriteTimeout(str(error)) from error
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = left_until_end(timeout, httpcore.ConnectTimeout)
        return BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
