"""One Redis as one process speaks to it beside its own work: asked shortly, heard by a thread.

Nothing here raises for a Redis that is away: that is a state, told once, and it is left alone for a
while.  What is said over it is somebody else's business.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from webapp.logs import get_logger

log = get_logger(__name__)

#: A Redis that hangs holds up a question for no longer than this.
REDIS_SECONDS: Final = 0.5
#: While it is away it is not asked at every turn.
AWAY_SECONDS: Final = 3.0
_LISTEN_SECONDS: Final = 1.0


class RedisLink:
    """Questions to one Redis, and a thread that hears what comes over one channel of it.

    ``name`` stands in the events of the log, ``redis_away`` and ``redis_back``.
    """

    def __init__(self, redis_url: str, *, channel: str, name: str) -> None:
        self._redis_url = redis_url
        self._channel = channel
        self._name = name
        self._away_until = 0.0
        self.failing = False
        self.begin_process()

    def begin_process(self) -> None:
        """Forget thread and connections: those of the parent are not closed, for it uses them."""
        self._client = redis_client(self._redis_url)
        self._stopped = threading.Event()

    def start(self, wake: Callable[[], object]) -> None:
        """Call ``wake`` with every message, from a thread that subscribes anew where it must."""
        threading.Thread(
            target=self._listen,
            args=(wake, self._stopped),
            name=self._name.replace("_", "-"),
            daemon=True,
        ).start()

    def stop(self) -> None:
        """End that thread, within a second; :meth:`start` would begin anew."""
        self._stopped.set()
        self.begin_process()

    def ask(self, question: Callable[["redis.Redis"], Any]) -> Any:
        """Return the answer, None where Redis is away; it is then left alone for a while."""
        if time.monotonic() < self._away_until:
            return None
        try:
            answer = question(self._client)
        except (redis.RedisError, OSError) as error:
            self._note_failure(error)
            return None
        if self.failing:
            log.info("redis_back", link=self._name)
        self.failing = False
        return answer

    def _note_failure(self, error: Exception) -> None:
        self._away_until = time.monotonic() + AWAY_SECONDS
        if not self.failing:
            log.warning("redis_away", link=self._name, error=type(error).__name__)
        self.failing = True

    def _listen(self, wake: Callable[[], object], stopped: threading.Event) -> None:
        while not stopped.is_set():
            try:
                self._hear(wake, stopped)
            except (redis.RedisError, OSError):
                # That it is away is noted by whoever asks; hearing again takes a moment.
                stopped.wait(_LISTEN_SECONDS)

    def _hear(self, wake: Callable[[], object], stopped: threading.Event) -> None:
        # By a client of its own: whoever stops the listening must not close what it reads from.
        with (
            redis_client(self._redis_url) as client,
            client.pubsub(ignore_subscribe_messages=True) as subscription,
        ):
            subscription.subscribe(self._channel)
            # What was published before the subscription stood was not heard.
            wake()
            while not stopped.is_set():
                if subscription.get_message(timeout=_LISTEN_SECONDS):
                    wake()


def redis_client(redis_url: str, *, seconds: float = REDIS_SECONDS) -> "redis.Redis":
    """Return a client that waits no longer for an answer, and does not try again by itself."""
    return redis.Redis.from_url(
        redis_url,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
    )
