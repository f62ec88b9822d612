"""Tells other processes of changed flags over Redis, and hears of theirs: at once, not at a poll.

``ff:snapshot`` holds all flags at the newest revision, ``ff:revision`` its number, and the channel
``ff:changed`` tells of each new one.  The database stays the truth: every process goes on asking it
for the revision, so that a lost message, an emptied Redis or a publisher that died costs a second,
and whoever sees that Redis is behind (or ahead, of a database that was restored) publishes anew.

Nothing here raises: where Redis is away, that is a state.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final, Protocol

import orjson

from webapp.flags.documents import flag_set_as_document, flag_set_from
from webapp.flags.values import NEVER, FlagSet
from webapp.logs import get_logger
from webapp.redis_link import RedisLink

log = get_logger(__name__)

SNAPSHOT_KEY: Final = "ff:snapshot"
REVISION_KEY: Final = "ff:revision"
CHANNEL: Final = "ff:changed"

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
        self._link = RedisLink(redis_url, channel=CHANNEL, name="flag_signals")

    def begin_process(self) -> None:
        """Forget what does not outlive a fork."""
        self._link.begin_process()

    @property
    def state(self) -> SignalState:
        """Say whether Redis answered when it was asked last."""
        return SignalState.DOWN if self._link.failing else SignalState.UP

    def start(self, wake: Callable[[], object]) -> None:
        """Listen, in a thread of this process."""
        self._link.start(wake)

    def stop(self) -> None:
        """End the thread, within a second; :meth:`start` would begin anew."""
        self._link.stop()

    def published_revision(self) -> int | None:
        """Ask Redis for the revision that it holds; what is no number is none, and is replaced."""
        held = self._link.ask(lambda client: client.get(REVISION_KEY) or b"")
        if held is None:
            return None
        # As the script reads it.
        return int(held) if held.isdigit() and len(held) <= _MOST_DIGITS else NEVER

    def published(self) -> FlagSet | None:
        """Ask Redis for the flags that it holds."""
        held = self._link.ask(lambda client: client.get(SNAPSHOT_KEY))
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
        self._link.ask(
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
