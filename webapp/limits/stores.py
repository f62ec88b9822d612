"""Where calls are counted: in Redis for all processes, else in this one for its share.

With Redis away a process goes on with its share, asks Redis again after a second, and says so once
a minute.  What Redis lets through is noted here too, so that the share knows of it.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import cast

from limits import RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis import Redis
from redis.exceptions import RedisError

from webapp.limits.policy import share_of
from webapp.limits.values import Rule, Usage
from webapp.limits.windows import MovingWindow
from webapp.logs import get_logger
from webapp.redis_link import redis_client

log = get_logger(__name__)

KEY_PREFIX = "switchyard:limits"
# Whoever calls waits no longer than this for Redis, once a second while it is away.
ANSWER_SECONDS = 0.25
AWAY_SECONDS = 1.0
COMPLAINT_SECONDS = 60.0
# Whoever is refused waits at least so long: another's call may have ended this very moment.
LEAST_WAIT = 0.01


class _Item(RateLimitItemPerSecond):
    """A rule whose key is the name alone, so that a changed rule goes on with what was counted."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return "/".join(str(part) for part in identifiers)


class ProcessStore:
    """Counts in this process, which may use its share of each rule."""

    waits = False

    def __init__(self) -> None:
        self.processes = 1
        self._windows: defaultdict[str, MovingWindow] = defaultdict(MovingWindow)
        self._lock = threading.Lock()

    def take(self, name: str, rule: Rule) -> float:
        """Count a call and return 0, or the seconds until it is worth another try."""
        calls = share_of(rule, self.processes)
        with self._lock:
            return self._windows[name].take(time.monotonic(), calls=calls, seconds=rule.seconds)

    def note(self, name: str, rule: Rule) -> None:
        """Count a call that was let through elsewhere."""
        with self._lock:
            self._windows[name].note(time.monotonic(), seconds=rule.seconds)

    def usage(self, rules: Mapping[str, Rule]) -> dict[str, Usage]:
        """Return what this process has used of each rule."""
        moment = time.monotonic()
        with self._lock:
            return {
                name: self._windows[name].usage(moment, seconds=rule.seconds)
                for name, rule in rules.items()
            }

    def begin_process(self) -> None:
        """Begin anew in a forked child: the calls were the parent's, and so may the lock be."""
        self._windows = defaultdict(MovingWindow)
        self._lock = threading.Lock()


class ServerClockStorage(RedisStorage):
    """limits' storage by the clock of Redis in place of each client's.

    Clients' clocks differ, and a client that is held up between looking at its clock and being
    served would count its call too early: both let more through than the limit.
    """

    _PRESENT = b"""
        local clock = redis.call('TIME')
        local present = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
    """
    SCRIPT_ACQUIRE_MOVING_WINDOW = (
        _PRESENT + b"ARGV[1] = present\n" + RedisStorage.SCRIPT_ACQUIRE_MOVING_WINDOW
    )
    # It takes how long the window is, where limits' own takes when it begins.
    SCRIPT_MOVING_WINDOW = (
        _PRESENT + b"ARGV[1] = present - tonumber(ARGV[1])\n" + RedisStorage.SCRIPT_MOVING_WINDOW
    )

    def usage(self, rules: Mapping[str, Rule]) -> dict[str, Usage]:
        """Return what has been used of each rule, in one turn."""
        client = cast("Redis", self.get_connection())
        with client.pipeline(transaction=False) as pipe:
            pipe.time()
            for name, rule in rules.items():
                key = self.prefixed_key(name)
                self.lua_moving_window([key], [rule.seconds, rule.calls], client=pipe)
            (seconds, micros), *answers = pipe.execute()
        moment = seconds + micros / 1_000_000
        return {
            name: Usage(int(found[1]), float(found[0]) + rule.seconds - moment)
            if found
            else Usage(0, None)
            for (name, rule), found in zip(rules.items(), answers, strict=True)
        }


class RedisStore:
    """Counts in Redis, and in this process while Redis is away."""

    waits = True

    def __init__(self, url: str, alone: ProcessStore) -> None:
        pool = redis_client(url, seconds=ANSWER_SECONDS).connection_pool
        self._storage = ServerClockStorage(url, connection_pool=pool, key_prefix=KEY_PREFIX)
        self._window = MovingWindowRateLimiter(self._storage)
        self._alone = alone
        self._away_until = 0.0
        self._complained_at: float | None = None

    def take(self, name: str, rule: Rule) -> float:
        """Count a call and return 0, or the seconds until it is worth another try."""
        if time.monotonic() >= self._away_until:
            try:
                left = self._ask(name, rule)
            except RedisError as error:
                self._note_away(error)
            else:
                if not left:
                    self._alone.note(name, rule)
                return left
        return self._alone.take(name, rule)

    def usage(self, rules: Mapping[str, Rule]) -> dict[str, Usage] | None:
        """Return what all processes have used of each rule, in one turn; None with Redis away."""
        if not rules or time.monotonic() < self._away_until:
            return None if rules else {}
        try:
            return self._storage.usage(rules)
        except RedisError as error:
            self._note_away(error)
            return None

    def _ask(self, name: str, rule: Rule) -> float:
        item = _Item(rule.calls, rule.seconds)
        if self._window.hit(item, name):
            return 0.0
        left = self._storage.usage({name: rule})[name].reset
        # A clock that was set must not make anybody wait longer than the window.
        return min(max(left or 0.0, LEAST_WAIT), float(rule.seconds))

    def _note_away(self, error: RedisError) -> None:
        moment = time.monotonic()
        self._away_until = moment + AWAY_SECONDS
        if self._complained_at is None or moment - self._complained_at >= COMPLAINT_SECONDS:
            self._complained_at = moment
            log.warning("rate_limits_not_shared", error=type(error).__name__)
