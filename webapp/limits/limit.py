"""One rate limit as this process sees it: who may call now, who waits, who is refused.

Knows nothing of the database: its rule and its pause are handed in, and what others are to know is
fetched from it.  Nothing here waits but the caller, for as long as it has said.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from prometheus_client import Counter

from webapp import clock
from webapp.errors import Throttled
from webapp.limits.values import (
    MAX_PAUSE,
    SOURCE_PREFIX,
    Counts,
    LimitOutcome,
    Pause,
    Rule,
    SharedLimit,
)
from webapp.logs import get_logger
from webapp.metrics import RATE_LIMIT_HITS
from webapp.reasons import MAX_REASON

log = get_logger(__name__)

# Whoever waits looks again at least so often: a pause may be lifted, and a limit be raised.
LOOK_SECONDS = 1.0
ASKED_FOR = "The other side asked for it."


class Store(Protocol):
    """Where calls are counted; ``waits`` tells whether asking it takes a turn to a server."""

    waits: bool

    def take(self, name: str, rule: Rule) -> float:
        """Count a call and return 0, or the seconds until it is worth another try."""


@dataclass(frozen=True, slots=True)
class Untold:
    """What other processes do not know yet."""

    pause: Pause | None
    counts: Counts


class RateLimit:
    """How often calls under one name may be made; ``share`` is called with each pause."""

    def __init__(
        self,
        name: str,
        store: Store,
        rule: Rule | None = None,
        *,
        share: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self._store = store
        self._share = share
        self._by_code = rule
        self._rule = rule
        self._pause: Pause | None = None
        self._paused_until = 0.0
        # All that a call under a name without a limit looks at.
        self._free = rule is None
        source = name.removeprefix(SOURCE_PREFIX)
        self._hits: dict[LimitOutcome, Counter] = {
            outcome: RATE_LIMIT_HITS.labels(source, outcome) for outcome in LimitOutcome
        }
        self.begin_process()

    def begin_process(self) -> None:
        """Forget what is another process's to tell, after a fork."""
        self._lock = threading.Lock()
        self._counts = self._told = Counts()
        self._untold: Pause | None = None

    @property
    def rule(self) -> Rule | None:
        """The rule that is in force."""
        return self._rule

    @property
    def counts(self) -> Counts:
        """What this process has counted."""
        return self._counts

    def pause_left(self) -> Pause | None:
        """Return the pause that is in force."""
        return self._pause if self._paused_until > time.monotonic() else None

    def acquire(self, *, wait: float = 0.0) -> None:
        """Count a call, after up to ``wait`` seconds; ``Throttled`` where it may not be made."""
        if self._free:
            return
        ends = time.monotonic() + wait
        waited = False
        while left := self._try():
            self._refuse_beyond(ends, left)
            waited = True
            time.sleep(min(left, LOOK_SECONDS))
        self._count(LimitOutcome.WAITED if waited else LimitOutcome.ALLOWED)

    async def acquire_async(self, *, wait: float = 0.0) -> None:
        """Count a call as :meth:`acquire` does, without holding the event loop."""
        if self._free:
            return
        ends = time.monotonic() + wait
        waited = False
        while left := await self._try_async():
            self._refuse_beyond(ends, left)
            waited = True
            await asyncio.sleep(min(left, LOOK_SECONDS))
        self._count(LimitOutcome.WAITED if waited else LimitOutcome.ALLOWED)

    def pause(self, seconds: float, *, reason: str = ASKED_FOR) -> None:
        """Let no call through for so long, since the other side said so; shared as counts are.

        A shorter pause within a longer one changes nothing.
        """
        seconds = min(max(seconds, 0.0), MAX_PAUSE)
        until = time.monotonic() + seconds
        pause = Pause(clock.now() + timedelta(seconds=seconds), reason[:MAX_REASON])
        with self._lock:
            if until <= max(self._paused_until, time.monotonic()):
                return
            self._pause = self._untold = pause
            self._paused_until = until
            self._free = False
        if self._share:
            self._share()
        log.warning("calls_paused", limit=self.name, seconds=round(seconds, 1), reason=pause.reason)

    def adopt(self, shared: SharedLimit) -> None:
        """Take what all processes know; a pause that they do not know yet stays."""
        with self._lock:
            self._rule = shared.rule or self._by_code
            if self._untold is None:
                self._pause = shared.pause
                self._paused_until = _ends(shared.pause)
            self._free = self._rule is None and not self._paused_until

    def set_rule(self, rule: Rule | None) -> None:
        """Set the rule that holds where the source says nothing."""
        with self._lock:
            self._rule = self._by_code = rule
            self._free = self._rule is None and not self._paused_until

    def untold(self) -> Untold | None:
        """Return what is to be told, None where there is nothing."""
        with self._lock:
            counts = self._counts.minus(self._told)
            anything = self._untold or counts != Counts()
            return Untold(self._untold, counts) if anything else None

    def settle(self, told: Untold) -> None:
        """Remember what has been told."""
        with self._lock:
            self._told = self._told.plus(told.counts)
            if self._untold is told.pause:
                self._untold = None

    def _try(self) -> float:
        """Count a call and return 0, or the seconds until it is worth another try."""
        if self._paused_until:
            paused = self._paused_until - time.monotonic()
            if paused > 0:
                return paused
            self._end_pause()
        rule = self._rule
        return self._store.take(self.name, rule) if rule else 0.0

    def _end_pause(self) -> None:
        with self._lock:
            if self._paused_until <= time.monotonic():
                self._paused_until = 0.0
                self._free = self._rule is None

    async def _try_async(self) -> float:
        return await asyncio.to_thread(self._try) if self._store.waits else self._try()

    def _refuse_beyond(self, ends: float, left: float) -> None:
        """Refuse at once where the wait would be for nothing."""
        if time.monotonic() + left <= ends:
            return
        self._count(LimitOutcome.REFUSED)
        why = "is paused" if self.pause_left() else "has been called as often as it may be"
        message = f"{self.name} {why}: try again in {left:.1f} s."
        raise Throttled(message, retry_after=left)

    def _count(self, outcome: LimitOutcome) -> None:
        if self._rule is None and outcome is not LimitOutcome.REFUSED:
            return
        with self._lock:
            counted = getattr(self._counts, outcome.value)
            self._counts = replace(self._counts, **{outcome.value: counted + 1})
        self._hits[outcome].inc()


def _ends(pause: Pause | None) -> float:
    """Return when a pause ends by this process's own clock; 0 where there is none."""
    if pause is None:
        return 0.0
    left = (pause.until - clock.now()).total_seconds()
    return time.monotonic() + min(left, MAX_PAUSE) if left > 0 else 0.0
