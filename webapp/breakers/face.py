"""A circuit in pybreaker's words: its names of states and counters, its listeners, its decorator.

How a circuit stands and what a call changes is for whoever derives from this.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import pybreaker

from webapp.breakers.lifecycle import Circuit, effective_state, shown_state
from webapp.breakers.values import BreakerState, Force, Thresholds
from webapp.logs import get_logger

log = get_logger(__name__)

_PYBREAKER_STATES = {
    BreakerState.CLOSED: pybreaker.STATE_CLOSED,
    BreakerState.OPEN: pybreaker.STATE_OPEN,
    BreakerState.HALF_OPEN: pybreaker.STATE_HALF_OPEN,
}


class Face(pybreaker.CircuitBreaker, ABC):
    """pybreaker's interface over a circuit."""

    _circuit: Circuit
    _thresholds: Thresholds
    _monotonic: Callable[[], float]

    @abstractmethod
    def use(self, thresholds: Thresholds) -> None:
        """Open and close by other thresholds from now on."""

    @abstractmethod
    def adopt(self, state: BreakerState, *, open_for: float = 0.0, shared: bool = True) -> int:
        """Take a state; one that is ``shared`` already is not told on."""

    @abstractmethod
    async def call_async(
        self, func: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Any:
        """Await ``func`` if the circuit lets it.  (pybreaker's own is for Tornado.)"""

    @abstractmethod
    def _force_at(self, now: float) -> Force:
        """Return what a person has it do at a time."""

    @property  # type: ignore[override]
    def _state(self) -> pybreaker.CircuitBreakerState:
        """The object that pybreaker has for the state.

        Made where it is asked for: one that was kept would hold the breaker, and the breaker it, so
        that nobody could tell when the last who uses it is gone.
        """
        return self._create_new_state(self.current_state)

    @_state.setter
    def _state(self, state: pybreaker.CircuitBreakerState) -> None:
        """Keep nothing: the state is that of the circuit."""

    @property
    def fail_max(self) -> int:
        """Failures in a row that open it."""
        return self._thresholds.failures

    @fail_max.setter
    def fail_max(self, number: int) -> None:
        self.use(replace(self._thresholds, failures=number))

    @property
    def reset_timeout(self) -> float:
        """Seconds that it stays open for the first time."""
        return self._thresholds.open_seconds

    @reset_timeout.setter
    def reset_timeout(self, timeout: float) -> None:
        self.use(replace(self._thresholds, open_seconds=timeout))

    @property
    def success_threshold(self) -> int:
        """Successful trials that close it."""
        return self._thresholds.successes

    @success_threshold.setter
    def success_threshold(self, threshold: int) -> None:
        self.use(replace(self._thresholds, successes=threshold))

    @property
    def current_state(self) -> str:
        """What a call would meet now, in pybreaker's words."""
        now = self._monotonic()
        shown = shown_state(self._circuit, now)
        return _PYBREAKER_STATES[effective_state(shown, self._force_at(now))]

    @property
    def fail_counter(self) -> int:
        """Failures in a row."""
        return self._circuit.failures

    @property
    def success_counter(self) -> int:
        """Successes in a row while half open."""
        return self._circuit.successes

    def __call__(self, *functions: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        """Decorate a function, ``def`` or ``async def``; with or without parentheses."""
        del options
        return self._guarded(*functions) if functions else self._guarded

    def _guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def guarded_coroutine(*args: Any, **kwargs: Any) -> Any:
                return await self.call_async(function, *args, **kwargs)

            return guarded_coroutine

        @wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            return self.call(function, *args, **kwargs)

        return guarded

    def open(self) -> bool:
        """Open the circuit by hand; returns False, for the real error is raised on a trip."""
        self.adopt(BreakerState.OPEN, open_for=self.reset_timeout, shared=False)
        return False

    def half_open(self) -> None:
        """Let the next calls through as trials."""
        self.adopt(BreakerState.HALF_OPEN, shared=False)

    def close(self) -> None:
        """Close the circuit and forget its failures."""
        self.adopt(BreakerState.CLOSED, shared=False)

    def _tell_change(self, before: Circuit, after: Circuit) -> None:
        if self._listeners and after.state != before.state:
            old, new = (
                self._create_new_state(_PYBREAKER_STATES[circuit.state])
                for circuit in (before, after)
            )
            self._tell("state_change", old, new)

    def _tell(self, event: str, *facts: Any, **named: Any) -> None:
        """Tell the listeners; one that raises is logged and harms nothing."""
        for listener in self._listeners:
            try:
                getattr(listener, event, lambda *_, **__: None)(self, *facts, **named)
            except Exception:
                log.exception("breaker_listener_failed", breaker=self.name, told=event)
