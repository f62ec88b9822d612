"""gunicorn's threaded worker, whose loop answers by itself what takes no time.

A request usually goes through a queue to a thread and back again, which costs more than an
evaluation, and waits while all threads are busy.  Here the loop has a look first: a request of a
kind that is answered from memory (see :mod:`webapp.web.before_flask`) it answers at once, by
gunicorn's own parser and response; one that comes in parts holds no thread meanwhile, nor does a
client that says nothing.  Everything else, and whatever turns out to take time, goes to a thread as
ever, from its first byte on.
"""

import re
import selectors
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from gunicorn import http
from gunicorn.workers.gthread import TConn, ThreadWorker

from webapp.promptly import BEGINNINGS, promptly

# Longer requests are for a thread.
_MOST_BYTES: Final = 64 * 1024
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length:[ \t]*(\d{1,5})[ \t]*(?:\r\n|$)").search
# Its sender waits for an answer before the body comes.
_EXPECTING: Final = re.compile(rb"(?i)\r\nexpect:").search


class LoopWorker(ThreadWorker):
    """Answers in its loop what takes no time, and leaves the rest to its threads.

    A client that has begun a request may be silent for ``receive_seconds``.
    """

    receive_seconds: float = 15.0

    def load_wsgi(self) -> None:
        """Ask the application how such requests begin."""
        super().load_wsgi()
        # To agree on TLS or HTTP/2 is a thread's business.
        is_plain = not self.cfg.is_ssl and self.cfg.http2_cleartext == "off"
        told = getattr(self.wsgi, "extensions", {}) if is_plain else {}
        self._beginnings: tuple[bytes, ...] = tuple(told.get(BEGINNINGS, ()))

    def enqueue_req(self, conn: TConn) -> None:
        """Leave a request to a thread; a connection that is new waits for its first in the loop."""
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.timeout = time.monotonic() + self.receive_seconds
        self.pending_conns.append(conn)
        readable = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, readable)

    def on_client_socket_readable(self, conn: TConn, client: Any) -> None:
        """Answer what begins on a connection that was idle, or have a thread do it."""
        if not self._takes(conn, self.keepalived_conns):
            super().on_client_socket_readable(conn, client)

    def on_pending_socket_readable(self, conn: TConn, client: Any) -> None:
        """Answer what begins on a new connection, or goes on, or have a thread do it."""
        if not self._takes(conn, self.pending_conns):
            super().on_pending_socket_readable(conn, client)

    def _cap_keepalive(self, deadline: float) -> None:
        """Wait no longer for clients of a server that ends, whether they have begun or not."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def _takes(self, conn: TConn, waiting: deque[TConn]) -> bool:
        """Answer the request, or wait for the rest of it; ``waiting`` has the connection."""
        if not self._beginnings:
            return False
        if not conn.initialized:
            conn.init()
            conn.sock.setblocking(False)
        unreader = conn.parser.unreader
        try:
            came = conn.sock.recv(_MOST_BYTES)
        except OSError:
            # A thread finds out what is wrong.
            return False
        data = unreader.take_buffered() + came
        unreader.unread(data)
        lacking = missing(data) if came and data.startswith(self._beginnings) else None
        if lacking is None:
            return False
        if lacking:
            self._move(conn, waiting, self.pending_conns, self.on_pending_socket_readable)
            conn.timeout = time.monotonic() + self.receive_seconds
            return True
        return self._answers(conn, data, waiting)

    def _answers(self, conn: TConn, data: bytes, waiting: deque[TConn]) -> bool:
        answer = _Answer(conn)
        try:
            request = next(conn.parser)
            with promptly():
                stays_open = self.handle_request(request, answer)
        except Exception:  # noqa: BLE001  # a thread meets it again, and says what is to be said
            conn.parser = http.get_parser(self.cfg, conn.sock, conn.client)
            conn.parser.unreader.unread(data)
            return False
        rest = _send(conn, b"".join(answer.parts))
        if stays_open and not rest:
            self._move(conn, waiting, self.keepalived_conns, self.on_client_socket_readable)
            conn.set_timeout()
            return True
        # To wait for a client is a thread's business, be it that it reads or that it closes.
        waiting.remove(conn)
        self.poller.unregister(conn.sock)
        self._then_finish(conn, partial(_send_rest, conn, rest, stays_open=stays_open))
        return True

    def _move(
        self,
        conn: TConn,
        old: deque[TConn],
        new: deque[TConn],
        on_readable: Callable[[TConn, Any], None],
    ) -> None:
        """Make a connection the last of those that wait for the same: they are in that order."""
        old.remove(conn)
        new.append(conn)
        if new is not old:
            self.poller.modify(conn.sock, selectors.EVENT_READ, partial(on_readable, conn))

    def _then_finish(self, conn: TConn, work: Callable[[], bool]) -> None:
        """Have a thread do something, as ``enqueue_req`` does."""

        def finish(done: Future[bool]) -> None:
            self.method_queue.defer(self.finish_request, conn, done)

        self.tpool.submit(work).add_done_callback(finish)


class _Answer:
    """Stands in for a connection whose answer is gathered, so that it is sent in one go."""

    def __init__(self, conn: TConn) -> None:
        self.client, self.server, self.sock = conn.client, conn.server, self
        self.parts: list[bytes] = []
        self.send = self.sendall = self.parts.append


def missing(data: bytes) -> int | None:
    """Return how many bytes a request lacks, at least; None where it is for a thread.

    That is one whose length is not plain to see, or too great, or behind which another follows.
    """
    head, found, body = data.partition(b"\r\n\r\n")
    length = _LENGTH(head)
    lacking = int(length[1]) - len(body) if length else -len(body)
    if _EXPECTING(head) or lacking < 0 or len(data) + lacking > _MOST_BYTES:
        return None
    return lacking if found else max(1, lacking)


def _send(conn: TConn, answer: bytes) -> bytes:
    """Send what goes without waiting, and return the rest."""
    try:
        return answer[conn.sock.send(answer) :]
    except OSError:
        # Nothing went.  A thread finds out what is wrong, if it is more than that there is no room.
        return answer


def _send_rest(conn: TConn, rest: bytes, *, stays_open: bool) -> bool:
    conn.sock.setblocking(True)
    conn.sock.sendall(rest)
    return stays_open
