"""A circuit breaker with pybreaker's interface, and with what pybreaker lacks.

pybreaker holds its lock while the guarded function runs, counts an excluded error as a success,
and lets a listener's error through.  Here a call is admitted under the lock, runs outside of it,
and is settled under it by the rules of ``webapp.breakers.lifecycle``.
"""

import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import pybreaker
from pybreaker import CircuitBreakerError, CircuitBreakerListener

from webapp import clock
from webapp.breakers.lifecycle import (
    Circuit,
    Refusal,
    Ticket,
    admit,
    closed,
    half_opened,
    opened,
    settle,
    shown_state,
)
from webapp.breakers.values import MAX_ERROR, BreakerState, Thresholds, Transition
from webapp.logs import get_logger, mask_secrets
from webapp.retries.classification import classify
from webapp.retries.values import BreakerEffect

Result = TypeVar("Result")
OnTransition = Callable[[Transition], None]

log = get_logger(__name__)

_PYBREAKER_STATES = {
    BreakerState.CLOSED: pybreaker.STATE_CLOSED,
    BreakerState.OPEN: pybreaker.STATE_OPEN,
    BreakerState.HALF_OPEN: pybreaker.STATE_HALF_OPEN,
}


class OpenCircuitError(CircuitBreakerError):
    """The call was not made; ``seconds`` is the wait until it is worth another try."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(f"The circuit {name!r} is open for another {seconds:.1f} s.")
        self.name = name
        self.seconds = seconds


class Breaker(pybreaker.CircuitBreaker):
    """One named circuit of this process.

    ``on_transition`` is told of each change of state under the lock, so it must not wait.
    Listeners are pybreaker's; one that has a method ``refused`` is told of refused calls too.
    """

    def __init__(
        self,
        name: str,
        thresholds: Thresholds | None = None,
        *,
        exclude: Sequence[type[BaseException]] = (),
        listeners: Sequence[CircuitBreakerListener] = (),
        on_transition: OnTransition | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        thresholds = thresholds or Thresholds()
        # pybreaker asks for the state while it sets itself up.
        self._circuit = Circuit()
        self._monotonic = monotonic
        self._on_transition = on_transition
        self._last_error: str | None = None
        self._refused = 0
        super().__init__(
            fail_max=thresholds.failures,
            reset_timeout=thresholds.open_seconds,
            success_threshold=thresholds.successes,
            exclude=exclude,
            listeners=listeners,
            name=name,
            throw_new_error_on_trip=False,
        )

    @property
    def thresholds(self) -> Thresholds:
        """When this circuit opens and closes."""
        return Thresholds(
            failures=self.fail_max,
            successes=self.success_threshold,
            open_seconds=self.reset_timeout,
        )

    @property
    def current_state(self) -> str:
        """The state by the clock, in pybreaker's words."""
        return _PYBREAKER_STATES[shown_state(self._circuit, self._monotonic())]

    @property
    def fail_counter(self) -> int:
        """Failures in a row."""
        return self._circuit.failures

    @property
    def success_counter(self) -> int:
        """Successes in a row while half open."""
        return self._circuit.successes

    @property
    def refused_counter(self) -> int:
        """Calls that this process has refused."""
        return self._refused

    @property
    def last_error(self) -> str | None:
        """The last failure in a line, with secrets masked."""
        return self._last_error

    def call(self, func: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Call ``func`` if the circuit lets it; :class:`OpenCircuitError` where it does not."""
        with self.calling():
            return func(*args, **kwargs)

    async def call_async(
        self, func: Callable[..., Awaitable[Result]], *args: Any, **kwargs: Any
    ) -> Result:
        """Await ``func`` if the circuit lets it.  (pybreaker's own is for Tornado.)"""
        with self.calling():
            return await func(*args, **kwargs)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Run a block as one call."""
        ticket = self._admit()
        try:
            yield
        except BaseException as error:
            effect = self._effect_of(error)
            if effect == BreakerEffect.FAILURE:
                self._last_error = describe(error)
            self._settle(ticket, effect)
            match effect:
                case BreakerEffect.FAILURE:
                    self._tell("failure", error)
                case BreakerEffect.SUCCESS:
                    self._tell("success")
            raise
        self._settle(ticket, BreakerEffect.SUCCESS)
        self._tell("success")

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

    def adopt(self, state: BreakerState, *, open_for: float = 0.0, shared: bool = True) -> int:
        """Take a state that was decided elsewhere, and return the generation that begins with it.

        ``open_for`` is in seconds from now; a state that is ``shared`` already is not told on.
        """
        with self._lock:
            match state:
                case BreakerState.OPEN:
                    after = opened(self._circuit, until=self._monotonic() + open_for)
                case BreakerState.HALF_OPEN:
                    after = half_opened(self._circuit)
                case BreakerState.CLOSED:
                    after = closed(self._circuit)
            before, self._circuit = self._circuit, after
            if not shared:
                self._share(before, after, None)
        self._tell_change(before, after)
        return after.generation

    def begin_process(self) -> None:
        """Replace the lock after a fork, since another thread may have held it."""
        self._lock = threading.RLock()

    def _admit(self) -> Ticket:
        with self._lock:
            before = self._circuit
            self._circuit, answer = admit(before, self._monotonic(), self.thresholds)
            after = self._circuit
            self._share(before, after, None)
            if isinstance(answer, Refusal):
                self._refused += 1
        self._tell_change(before, after)
        if isinstance(answer, Refusal):
            self._tell("refused")
            raise OpenCircuitError(str(self.name), answer.seconds)
        self._tell("before_call", self.calling)
        return answer

    def _settle(self, ticket: Ticket, effect: BreakerEffect) -> None:
        with self._lock:
            before = self._circuit
            self._circuit = settle(before, ticket, effect, self._monotonic(), self.thresholds)
            after = self._circuit
            failed = effect == BreakerEffect.FAILURE
            self._share(before, after, self._last_error if failed else None)
        self._tell_change(before, after)

    def _effect_of(self, error: BaseException) -> BreakerEffect:
        """Judge an error: what is excluded or no ``Exception`` says nothing about the service."""
        if not isinstance(error, Exception) or not self.is_system_error(error):
            return BreakerEffect.NEUTRAL
        return classify(error).breaker_effect

    def _share(self, before: Circuit, after: Circuit, error: str | None) -> None:
        if after.generation == before.generation or self._on_transition is None:
            return
        self._on_transition(
            Transition(
                name=str(self.name),
                generation=after.generation,
                old=before.state,
                new=after.state,
                at=clock.now(),
                open_seconds=self.reset_timeout,
                failures=after.failures,
                failure_threshold=self.fail_max,
                error=error,
            )
        )

    def _tell_change(self, before: Circuit, after: Circuit) -> None:
        if after.state != before.state:
            old, new = (
                self._create_new_state(_PYBREAKER_STATES[circuit.state])
                for circuit in (before, after)
            )
            self._tell("state_change", old, new)

    def _tell(self, event: str, *facts: Any) -> None:
        """Tell the listeners; one that raises is logged and harms nothing."""
        for listener in self._listeners:
            try:
                getattr(listener, event, lambda *_: None)(self, *facts)
            except Exception:
                log.exception("breaker_listener_failed", breaker=self.name, told=event)


def describe(error: BaseException) -> str:
    """Write an error in one line of bounded length, with secrets masked."""
    text = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_ERROR]
    return str(mask_secrets(None, "", {"text": text})["text"])
