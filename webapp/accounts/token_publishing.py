"""Keeps Redis told of all good tokens, for processes that have no database.

They are published after each commit that changes one, and by a thread every fifteen seconds, so
that a Redis that was emptied or away is told again; after a failure the thread tries every second.
Every process that has both may run the thread: what it writes is the same.

A fork copies no thread: the child starts its own where it is asked to.
"""

import os
import threading
import weakref
from typing import Final

from webapp import clock
from webapp.accounts.redis_tokens import Load, RedisTokens
from webapp.accounts.token_sources import reason_of
from webapp.db import DbSession, after_commit
from webapp.logs import get_logger

log = get_logger(__name__)

BEAT_SECONDS: Final = 15.0
AGAIN_SECONDS: Final = 1.0
LAST_WORD_SECONDS: Final = 2.0


class TokenPublisher:
    """The way from one database, read by ``load``, to one Redis."""

    def __init__(
        self, load: Load, target: RedisTokens, *, beat_seconds: float = BEAT_SECONDS
    ) -> None:
        self._load = load
        self._target = target
        self._beat_seconds = beat_seconds
        self._failing = False
        self._begin_process()
        _publishers.add(self)

    def _begin_process(self) -> None:
        """Forget what does not outlive a fork: the thread, its lock and the connections."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stopped = threading.Event()
        self._target.begin_process()

    def publish(self) -> None:
        """Publish all good tokens now; a failure is told once, not raised: a beat mends it."""
        try:
            self._target.publish(self._load, now=clock.now())
        except Exception as error:  # noqa: BLE001  # the caller's own work is done
            self._note_failure(error)
            return
        if self._failing:
            log.info("tokens_published_again")
        self._failing = False

    def start(self) -> None:
        """Start the thread of this process, where it does not run."""
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(
                    target=self._beat, args=(self._stopped,), name="token-publisher", daemon=True
                )
                thread.start()
                self._thread = thread

    def stop(self) -> None:
        """End the thread; the next start would begin anew."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(LAST_WORD_SECONDS)
        self._target.close()
        self._begin_process()

    def _beat(self, stopped: threading.Event) -> None:
        self.publish()
        while not stopped.wait(AGAIN_SECONDS if self._failing else self._beat_seconds):
            self.publish()

    def _note_failure(self, error: Exception) -> None:
        if not self._failing:
            log.warning("tokens_not_published", reason=reason_of(error))
        self._failing = True


_publishers: weakref.WeakSet[TokenPublisher] = weakref.WeakSet()


def _after_fork() -> None:
    for publisher in list(_publishers):
        publisher._begin_process()  # noqa: SLF001  # this module's own class


os.register_at_fork(after_in_child=_after_fork)


class _Port:
    """The publisher of this process: that of the application set up last, None without Redis."""

    def __init__(self) -> None:
        self.publisher: TokenPublisher | None = None


_port = _Port()


def provide_publisher(publisher: TokenPublisher | None) -> None:
    """Set the publisher of this process."""
    _port.publisher = publisher


def publish_tokens(session: DbSession) -> None:
    """Have all good tokens published once this session's transaction stands."""
    if _port.publisher is not None:
        after_commit(session, _port.publisher.publish)


def keep_tokens_published() -> None:
    """Start the thread that publishes, in a process that has Redis, where it does not run."""
    if _port.publisher is not None:
        _port.publisher.start()
