"""Tells other processes of changed flags over Redis, and hears of theirs: at once, not at a poll.

``ff:snapshot`` holds all flags at the newest revision, ``ff:revision`` its number, and the channel
``ff:changed`` tells of each new one.  The database stays the truth: every process goes on asking it
for the revision, so that a lost message, an emptied Redis or a publisher that died costs a second,
and whoever sees that Redis is behind (or ahead, of a database that was restored) publishes anew.

Nothing here raises: where Redis is away, that is a state.
"""

import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, Protocol

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from webapp.flags.documents import flag_set_as_document, flag_set_from
from webapp.flags.values import NEVER, FlagSet
from webapp.logs import get_logger

log = get_logger(__name__)

SNAPSHOT_KEY: Final = "ff:snapshot"
REVISION_KEY: Final = "ff:revision"
CHANNEL: Final = "ff:changed"

# A Redis that hangs holds up a look at the flags for no longer than this.
REDIS_SECONDS: Final = 0.5
# While it is away it is not asked at every look.
AWAY_SECONDS: Final = 3.0
_LISTEN_SECONDS: Final = 1.0
# Redis counts in floats: up to here each number is another.
_MOST_DIGITS: Final = 15

# Two processes may publish at once: only the one that replaces what it has seen does.
_PUBLISH: Final = """
local held = redis.call('GET', KEYS[2]) or ''
local is_number = string.match(held, '^%d+$') and #held <= tonumber(ARGV[5])
if tonumber(is_number and held or ARGV[4]) ~= tonumber(ARGV[3]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[2])
redis.call('PUBLISH', KEYS[3], ARGV[2])
return 1
"""


class SignalState(StrEnum):
    """Whether changes elsewhere are heard of at once; ``none`` where nobody set that up."""

    NONE = "none"
    UP = "up"
    DOWN = "down"


class Signals(Protocol):
    """How processes tell each other of changed flags."""

    @property
    def state(self) -> SignalState:
        """Say whether they are heard."""

    def start(self, wake: Callable[[], object]) -> None:
        """Call ``wake`` with every change elsewhere, from a thread of this process."""

    def stop(self) -> None:
        """End that thread."""

    def begin_process(self) -> None:
        """Forget what does not outlive a fork."""

    def published_revision(self) -> int | None:
        """Return the revision that was published last: NEVER for none, None where it is unknown."""

    def published(self) -> FlagSet | None:
        """Return the flags that were published last."""

    def publish(self, found: FlagSet, *, instead_of: int) -> None:
        """Publish flags, unless another revision than ``instead_of`` has been meanwhile."""


class NoSignals:
    """Stands where there is no Redis: every process looks by itself."""

    state = SignalState.NONE

    def start(self, wake: Callable[[], object]) -> None: ...

    def stop(self) -> None: ...

    def begin_process(self) -> None: ...

    def published_revision(self) -> int | None:
        return None

    def published(self) -> FlagSet | None:
        return None

    def publish(self, found: FlagSet, *, instead_of: int) -> None: ...


class RedisSignals:
    """Signals over one Redis."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._away_until = 0.0
        self._failing = False
        self.begin_process()

    def begin_process(self) -> None:
        """Forget thread and connections: those of the parent are not closed, for it uses them."""
        self._client = redis_client(self._redis_url)
        self._stopped = threading.Event()

    @property
    def state(self) -> SignalState:
        """Say whether Redis answered when it was asked last."""
        return SignalState.DOWN if self._failing else SignalState.UP

    def start(self, wake: Callable[[], object]) -> None:
        """Listen, in a thread that subscribes anew where the connection is lost."""
        threading.Thread(
            target=self._listen, args=(wake, self._stopped), name="flag-signals", daemon=True
        ).start()

    def stop(self) -> None:
        """End the thread, within a second; :meth:`start` would begin anew."""
        self._stopped.set()
        self.begin_process()

    def published_revision(self) -> int | None:
        """Ask Redis for the revision that it holds; what is no number is none, and is replaced."""
        held = self._ask(lambda client: client.get(REVISION_KEY) or b"")
        if held is None:
            return None
        # As the script reads it.
        return int(held) if held.isdigit() and len(held) <= _MOST_DIGITS else NEVER

    def published(self) -> FlagSet | None:
        """Ask Redis for the flags that it holds."""
        held = self._ask(lambda client: client.get(SNAPSHOT_KEY))
        try:
            return flag_set_from(orjson.loads(held)) if held else None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # Written by a newer version of this program, say: the database has it too.
            log.warning("published_flags_unreadable", error=type(error).__name__)
            return None

    def publish(self, found: FlagSet, *, instead_of: int) -> None:
        """Replace what Redis holds and tell everybody, in one step."""
        document = orjson.dumps(flag_set_as_document(found))
        keys = (SNAPSHOT_KEY, REVISION_KEY, CHANNEL)
        self._ask(
            lambda client: client.eval(
                _PUBLISH,
                len(keys),
                *keys,
                document,
                found.revision,
                instead_of,
                NEVER,
                _MOST_DIGITS,
            )
        )

    def _ask(self, question: Callable[["redis.Redis"], Any]) -> Any:
        """Return the answer, None where Redis is away; it is then left alone for a while."""
        if time.monotonic() < self._away_until:
            return None
        try:
            answer = question(self._client)
        except (redis.RedisError, OSError) as error:
            self._note_failure(error)
            return None
        if self._failing:
            log.info("flag_signals_back")
        self._failing = False
        return answer

    def _note_failure(self, error: Exception) -> None:
        self._away_until = time.monotonic() + AWAY_SECONDS
        if not self._failing:
            log.warning("flag_signals_away", error=type(error).__name__)
        self._failing = True

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
            subscription.subscribe(CHANNEL)
            # What was published before the subscription stood was not heard.
            wake()
            while not stopped.is_set():
                if subscription.get_message(timeout=_LISTEN_SECONDS):
                    wake()


def redis_client(redis_url: str) -> "redis.Redis":
    """Return a client that waits half a second at most and does not try again by itself."""
    return redis.Redis.from_url(
        redis_url,
        socket_timeout=REDIS_SECONDS,
        socket_connect_timeout=REDIS_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
