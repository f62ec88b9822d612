"""Has all processes look at the shared table at once, over Redis, instead of within a second.

A message says no more than "look": the table is the truth, so a message that is lost, and a Redis
that is killed or comes back empty, cost a second and nothing else.  Nothing here raises.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

import redis

from webapp.flags.signals import redis_client
from webapp.logs import get_logger

log = get_logger(__name__)

CHANNEL: Final = "breakers:changed"
# While it is away it is not spoken to at every change.
AWAY_SECONDS: Final = 3.0
LISTEN_SECONDS: Final = 1.0


class BreakerSignals:
    """Tells over one Redis that something changed, and hears of it."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self.begin_process()

    def begin_process(self) -> None:
        """Forget thread and connections: those of the parent are not closed, for it uses them."""
        self._client = redis_client(self._redis_url)
        self._stopped = threading.Event()
        self._away_until = 0.0
        self._failing = False

    def start(self, wake: Callable[[], object]) -> None:
        """Call ``wake`` with every change elsewhere, from a thread of this process."""
        threading.Thread(
            target=self._listen, args=(wake, self._stopped), name="breaker-signals", daemon=True
        ).start()

    def stop(self) -> None:
        """End that thread, within a second."""
        self._stopped.set()

    def publish(self) -> None:
        """Have every process look."""
        if time.monotonic() < self._away_until:
            return
        try:
            self._client.publish(CHANNEL, b"1")
        except (redis.RedisError, OSError) as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            if not self._failing:
                log.warning("breaker_signals_away", error=type(error).__name__)
            self._failing = True
        else:
            if self._failing:
                log.info("breaker_signals_back")
            self._failing = False

    def _listen(self, wake: Callable[[], object], stopped: threading.Event) -> None:
        while not stopped.is_set():
            try:
                self._hear(wake, stopped)
            except (redis.RedisError, OSError):
                stopped.wait(LISTEN_SECONDS)

    def _hear(self, wake: Callable[[], object], stopped: threading.Event) -> None:
        # By a client of its own: the other one is the sharing thread's.
        with (
            redis_client(self._redis_url) as client,
            client.pubsub(ignore_subscribe_messages=True) as subscription,
        ):
            subscription.subscribe(CHANNEL)
            # What was published before the subscription stood was not heard.
            wake()
            while not stopped.is_set():
                if subscription.get_message(timeout=LISTEN_SECONDS):
                    wake()
