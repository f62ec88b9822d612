"""One rate limit as this process sees it: who may call now, who waits, who is refused.

Knows nothing of the database: its rule and its pause are handed in, and what others are to know is
fetched from it.  Nothing here waits but the caller, for as long as it has said, and for a moment
while it is not known yet what holds.
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
from webapp.limits.policy import in_force
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
from webapp.metrics import RATE_LIMIT_HITS, name_label
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
class _Standing:
    """What holds under a name, as one value: a call that saw half of it would go by uncounted.

    ``paused_until`` is by this process's own clock, 0 where nothing is paused.  Where it is not
    ``known`` yet what other processes know, there may be a rule or a pause that is missing here.
    """

    known: bool
    rule: Rule | None
    pause: Pause | None = None
    paused_until: float = 0.0

    @property
    def free(self) -> bool:
        """All that a call under a name without a limit looks at."""
        return self.rule is None and not self.paused_until and self.known


@dataclass(frozen=True, slots=True)
class Untold:
    """What other processes do not know yet."""

    pause: Pause | None
    counts: Counts


class RateLimit:
    """How often calls under one name may be made.

    ``rule`` is what the program says.  ``share`` is called with each pause.  ``learn`` waits for
    what other processes know, and returns False where nobody has said it in time; it is called
    until :meth:`adopt` was.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        rule: Rule | None = None,
        *,
        share: Callable[[], None] | None = None,
        learn: Callable[[], bool] | None = None,
    ) -> None:
        self.name = name
        self._store = store
        self._share = share
        self._learn = learn
        self._by_code = rule
        self._said: Rule | None = None
        self._standing = _Standing(known=learn is None, rule=in_force(None, rule))
        source = name_label(name.removeprefix(SOURCE_PREFIX))
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
        return self._standing.rule

    @property
    def counts(self) -> Counts:
        """What this process has counted."""
        return self._counts

    def pause_left(self) -> Pause | None:
        """Return the pause that is in force."""
        standing = self._standing
        return standing.pause if standing.paused_until > time.monotonic() else None

    def acquire(self, *, wait: float = 0.0) -> None:
        """Count a call, after up to ``wait`` seconds; ``Throttled`` where it may not be made."""
        if self._standing.free:
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
        if self._standing.free:
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
            if until <= max(self._standing.paused_until, time.monotonic()):
                return
            self._untold = pause
            self._standing = replace(self._standing, pause=pause, paused_until=until)
        if self._share:
            self._share()
        log.warning("calls_paused", limit=self.name, seconds=round(seconds, 1), reason=pause.reason)

    def adopt(self, shared: SharedLimit) -> None:
        """Take what all processes know; a pause that they do not know yet stays."""
        with self._lock:
            self._said = shared.said
            pause, until = self._standing.pause, self._standing.paused_until
            if self._untold is None:
                pause, until = shared.pause, _ends(shared.pause)
            rule = in_force(self._said, self._by_code)
            self._standing = _Standing(True, rule, pause, until)

    def hand_over(self, said: Rule | None) -> None:
        """Take what the owner of the name says, until it is known what all processes know."""
        with self._lock:
            if not self._standing.known:
                self._said = said
                self._apply_rule()

    def set_rule(self, rule: Rule) -> None:
        """Set the rule that holds where nothing is said of the name."""
        with self._lock:
            self._by_code = rule
            self._apply_rule()

    def _apply_rule(self) -> None:
        self._standing = replace(self._standing, rule=in_force(self._said, self._by_code))

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
        if paused := self._seconds_paused():
            return paused
        if not self._standing.known:
            if not self._is_told():
                return LOOK_SECONDS
            if paused := self._seconds_paused():
                return paused
        rule = self._standing.rule
        return self._store.take(self.name, rule) if rule else 0.0

    def _is_told(self) -> bool:
        """Wait for what other processes know; False where nobody has said it in time."""
        return self._learn is None or self._learn() or self._standing.known

    def _seconds_paused(self) -> float:
        """Return the seconds for which no call goes through; a pause that is over ends here."""
        until = self._standing.paused_until
        if not until:
            return 0.0
        if (left := until - time.monotonic()) > 0:
            return left
        with self._lock:
            # Unless there is another one by now.
            if self._standing.paused_until == until:
                self._standing = replace(self._standing, pause=None, paused_until=0.0)
        return 0.0

    async def _try_async(self) -> float:
        waits = self._store.waits or not self._standing.known
        return await asyncio.to_thread(self._try) if waits else self._try()

    def _refuse_beyond(self, ends: float, left: float) -> None:
        """Refuse at once where the wait would be for nothing."""
        if time.monotonic() + left <= ends:
            return
        self._count(LimitOutcome.REFUSED)
        message = f"{self.name} {self._why()}: try again in {left:.1f} s."
        raise Throttled(message, retry_after=left)

    def _why(self) -> str:
        if self.pause_left():
            return "is paused"
        if not self._standing.known:
            return "may have a rate limit, which the database has not told yet"
        return "has been called as often as it may be"

    def _count(self, outcome: LimitOutcome) -> None:
        if self._standing.rule is None and outcome is not LimitOutcome.REFUSED:
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
