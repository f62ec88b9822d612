"""The metrics of one breaker: its labelled counters, looked up once."""

from webapp.breakers.values import BreakerState
from webapp.metrics import (
    BREAKER_BLOCKED,
    BREAKER_CALLS,
    BREAKER_FAILURES,
    BREAKER_OPEN_SECONDS,
    BREAKER_TRANSITIONS,
    name_label,
)
from webapp.retries.values import BreakerEffect


class Meters:
    """Counts the calls of one breaker of this process."""

    __slots__ = ("_ends", "_failures", "blocked", "succeeded")

    def __init__(self, name: str) -> None:
        name = name_label(name)
        self._ends = {effect: BREAKER_CALLS.labels(name, effect.value) for effect in BreakerEffect}
        self._failures = BREAKER_FAILURES.labels(name)
        #: The methods themselves: one call less on the way of every guarded call.
        self.succeeded = self._ends[BreakerEffect.SUCCESS].inc
        self.blocked = BREAKER_BLOCKED.labels(name).inc

    def ended(self, effect: BreakerEffect) -> None:
        """Count the end of a call."""
        self._ends[effect].inc()
        if effect == BreakerEffect.FAILURE:
            self._failures.inc()


def count_transition(name: str, to: BreakerState, *, open_seconds: float = 0.0) -> None:
    """Count a change of state, where it was written; ``open_seconds`` is how long it had stood."""
    name = name_label(name)
    BREAKER_TRANSITIONS.labels(name, to.value).inc()
    if open_seconds > 0:
        BREAKER_OPEN_SECONDS.labels(name).inc(open_seconds)
