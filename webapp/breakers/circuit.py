"""A circuit breaker with pybreaker's interface, and with what pybreaker lacks.

pybreaker holds its lock while the guarded function runs, counts an excluded error as a success,
and lets a listener's error through.  Here a call is admitted under the lock, runs outside of it,
and is settled under it by the rules of ``webapp.breakers.lifecycle``.  While the circuit is closed
a call that succeeds passes by its *gate*: one look at an attribute, and the lock once.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from pybreaker import CircuitBreakerError, CircuitBreakerListener

from webapp import clock
from webapp.breakers.face import Face
from webapp.breakers.lifecycle import (
    ASK_AGAIN_SECONDS,
    SPECTATOR,
    AskFirst,
    Circuit,
    Refusal,
    Ticket,
    Window,
    admit,
    closed,
    granted,
    half_opened,
    holds_trial,
    is_slow,
    opened,
    settle,
    tried_elsewhere,
)
from webapp.breakers.meters import Meters
from webapp.breakers.values import (
    MAX_ERROR,
    BreakerState,
    Force,
    Tally,
    Thresholds,
    Transition,
    TrialEnd,
)
from webapp.db import storable
from webapp.errors import words_of
from webapp.logs import get_logger, mask_text
from webapp.retries.classification import classify
from webapp.retries.values import BreakerEffect

Result = TypeVar("Result")
OnTransition = Callable[[Transition], None]

log = get_logger(__name__)


class OpenCircuitError(CircuitBreakerError):
    """The call was not made; ``seconds`` is the wait until it is worth another try."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(f"The circuit {name!r} is open for another {seconds:.1f} s.")
        self.name = name
        self.seconds = seconds


class Trials(Protocol):
    """Who knows of other processes, and which makes the one trial of a half-open circuit."""

    @property
    def reachable(self) -> bool:
        """Tell whether an answer is to be expected; without one each process tries by itself."""

    def learn(self) -> None:
        """Wait a moment for what other processes know; it is given to the breaker."""

    def ask(self, name: str) -> None:
        """Ask for the next trial and wait a moment; the answer is given to the breaker."""

    def release(self, end: TrialEnd) -> None:
        """Let the next trial begin; never waits."""


class Breaker(Face):
    """One named circuit of this process.

    ``on_transition`` is told of each change of state under the lock, so it must not wait.
    Listeners are pybreaker's; one that has a method ``refused`` is told of refused calls too.
    """

    def __init__(  # noqa: PLR0913  # all but the first two are named
        self,
        name: str,
        thresholds: Thresholds | None = None,
        *,
        exclude: Sequence[type[BaseException]] = (),
        listeners: Sequence[CircuitBreakerListener] = (),
        on_transition: OnTransition | None = None,
        trials: Trials | None = None,
        meters: Meters | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        # pybreaker asks for the state while it sets itself up.
        self._thresholds = self.declared = thresholds or Thresholds()
        self._circuit = Circuit()
        self._force, self._force_until = Force.NONE, float("inf")
        self._monotonic = monotonic
        self._on_transition = on_transition
        self._trials = trials
        self._meters = meters
        self._count_success = meters.succeeded if meters else _count_nothing
        self._last_error: str | None = None
        self._calls = self._failures = self._slow = self._refused = self._spared = 0
        self._neutral = 0
        self._window = Window(self._thresholds.window_seconds)
        self._callers: set[str] = set()
        # The first call waits for what others know: it may stand open there, or be forced.
        self._learnt = trials is None
        #: The ticket of every call while the circuit is closed; None where a call has to ask.
        self._gate: Ticket | None = Ticket(0) if self._learnt else None
        super().__init__(exclude=exclude, listeners=listeners, name=name)
        self._throw_new_error_on_trip = False

    @property
    def thresholds(self) -> Thresholds:
        """When this circuit opens and closes."""
        return self._thresholds

    @property
    def force(self) -> Force:
        """What a person has it do now."""
        return self._force_at(self._monotonic())

    @property
    def last_error(self) -> str | None:
        """The last failure in a line, with secrets masked."""
        return self._last_error

    @property
    def tally(self) -> Tally:
        """All that this process has counted so far."""
        with self._lock:
            return Tally(
                calls=self._calls,
                failures=self._failures,
                slow=self._slow,
                refused=self._refused,
                spared=self._spared,
                neutral=self._neutral,
            )

    def call(self, func: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Call ``func`` if the circuit lets it; :class:`OpenCircuitError` where it does not."""
        ticket = self._gate or self._admit()
        if self._listeners:
            self._tell("before_call", func, *args, **kwargs)
        began = self._monotonic()
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            self._raised(ticket, error, began)
            raise
        self._succeeded(ticket, began)
        return result

    async def call_async(
        self, func: Callable[..., Awaitable[Result]], *args: Any, **kwargs: Any
    ) -> Result:
        """Await ``func`` if the circuit lets it.  (pybreaker's own is for Tornado.)"""
        ticket = self._gate or await self._admit_async()
        if self._listeners:
            self._tell("before_call", func, *args, **kwargs)
        began = self._monotonic()
        try:
            result = await func(*args, **kwargs)
        except BaseException as error:
            self._raised(ticket, error, began)
            raise
        self._succeeded(ticket, began)
        return result

    def calling(self) -> "Call":  # type: ignore[override]
        """Run a block, ``with`` or ``async with``, as one call."""
        return Call(self)

    def adopt(
        self,
        state: BreakerState,
        *,
        open_for: float = 0.0,
        opens: int = 1,
        successes: int = 0,
        shared: bool = True,
    ) -> int:
        """Take a state that was decided elsewhere, and return the generation that begins with it.

        ``open_for`` is in seconds from now; a state that is ``shared`` already is not told on.
        """
        with self._lock:
            match state:
                case BreakerState.OPEN:
                    after = opened(self._circuit, until=self._monotonic() + open_for)
                    after = replace(after, opens=opens)
                case BreakerState.HALF_OPEN:
                    after = replace(half_opened(self._circuit), successes=successes, opens=opens)
                case BreakerState.CLOSED:
                    after = closed(self._circuit)
            before = self._install(after)
            if not shared:
                self._share(before, after, None)
        self._tell_change(before, after)
        return after.generation

    def grant_trial(self, *, seconds: float, successes: int, opens: int) -> int:
        """Let this process begin the next trial within so many seconds.

        Returns the generation that it belongs to.
        """
        with self._lock:
            until = self._monotonic() + seconds
            after = granted(self._circuit, until=until, successes=successes)
            after = replace(after, opens=opens)
            before = self._install(after)
        self._tell_change(before, after)
        return after.generation

    @property
    def idle(self) -> bool:
        """Tell whether it stands as one that begins: closed, unforced, with no failures."""
        circuit = self._circuit
        closed = circuit.state == BreakerState.CLOSED and not circuit.failures
        return closed and self._force == Force.NONE

    @property
    def holds_trial(self) -> bool:
        """Tell whether the one trial runs here, or may begin here."""
        with self._lock:
            return holds_trial(self._circuit, self._monotonic())

    def deny_trial(self, *, seconds: float | None) -> None:
        """Learn for how long another process may run the one trial; None where nobody does."""
        with self._lock:
            now = self._monotonic()
            until = None if seconds is None else now + seconds
            self._install(tried_elsewhere(self._circuit, until, now))

    def use(self, thresholds: Thresholds) -> None:
        """Open and close by other thresholds from now on; what was counted stays where it can."""
        with self._lock:
            self._thresholds = thresholds
            if thresholds.window_seconds != self._window.seconds:
                self._window = Window(thresholds.window_seconds)

    def control(self, force: Force, *, seconds: float | None = None) -> None:
        """Do what a person said, for so many seconds, or until they say something else."""
        with self._lock:
            self._force = force
            until = float("inf") if seconds is None else self._monotonic() + seconds
            self._force_until = until
            self._install(self._circuit)

    def used_by(self, caller: str) -> None:
        """Note who calls."""
        if caller not in self._callers:
            self._callers.add(caller)

    def take_callers(self) -> set[str]:
        """Return who called since the last time that somebody asked."""
        callers, self._callers = self._callers, set()
        return callers

    def begin_process(self) -> None:
        """Replace the lock after a fork, since another thread may have held it."""
        self._lock = threading.RLock()

    def _admit(self) -> Ticket:
        if not self._learnt:
            self._learn()
        answer = self._gate or self._try()
        if isinstance(answer, AskFirst) and self._trials is not None:
            self._trials.ask(str(self.name))
            answer = self._try()
        return self._answered(answer)

    async def _admit_async(self) -> Ticket:
        if not self._learnt:
            await asyncio.to_thread(self._learn)
        answer = self._gate or self._try()
        if isinstance(answer, AskFirst) and self._trials is not None:
            # The loop goes on while this call waits for its answer.
            await asyncio.to_thread(self._trials.ask, str(self.name))
            answer = self._try()
        return self._answered(answer)

    def _learn(self) -> None:
        """Wait for what others know, once: whoever says nothing in time may be away for long."""
        if self._trials is not None:
            self._trials.learn()
        with self._lock:
            self._learnt = True
            self._install(self._circuit)

    def _try(self) -> Ticket | Refusal | AskFirst:
        shared = self._trials is not None and self._trials.reachable
        with self._lock:
            now = self._monotonic()
            force = self._force_at(now)
            if force == Force.CLOSED:
                return SPECTATOR
            if force == Force.OPEN:
                self._refused += 1
                left = self._force_until - now
                return Refusal(min(left, self._thresholds.open_seconds))
            after, answer = admit(
                self._circuit,
                now,
                self._thresholds,
                # What nobody refuses needs no turns either.
                shared=shared and force != Force.SHADOW,
            )
            before = self._install(after)
            self._share(before, after, None)
            if isinstance(answer, Refusal):
                if force == Force.SHADOW:
                    self._spared += 1
                    answer = SPECTATOR
                else:
                    self._refused += 1
        self._tell_change(before, after)
        return answer

    def _answered(self, answer: Ticket | Refusal | AskFirst) -> Ticket:
        if isinstance(answer, Ticket):
            return answer
        if self._meters:
            self._meters.blocked()
        self._tell("refused")
        # Still to ask means no answer in time; whoever comes again by then may find one.
        seconds = answer.seconds if isinstance(answer, Refusal) else ASK_AGAIN_SECONDS
        raise OpenCircuitError(str(self.name), seconds)

    def _succeeded(self, ticket: Ticket, began: float) -> None:
        now = self._monotonic()
        limit = self._thresholds.slow_seconds
        slow = limit is not None and now - began >= limit
        with self._lock:
            if ticket is self._gate and not (slow or self._circuit.failures):
                # Nothing but the count changes: all that a healthy call costs.
                self._calls += 1
                self._window.add(now)
                before = after = None
            else:
                before, after = self._settle(ticket, BreakerEffect.SUCCESS, now, slow=slow)
        self._count_success()
        if before is not None and after is not None:
            self._tell_change(before, after)
        if self._listeners:
            self._tell("success")

    def _raised(self, ticket: Ticket, error: BaseException, began: float) -> None:
        effect = self._effect_of(error)
        now = self._monotonic()
        limit = self._thresholds.slow_seconds
        slow = limit is not None and now - began >= limit
        described = describe(error) if effect == BreakerEffect.FAILURE else None
        with self._lock:
            if described is not None:
                self._last_error = described
            before, after = self._settle(ticket, effect, now, slow=slow)
        if self._meters:
            self._meters.ended(effect)
        self._tell_change(before, after)
        match effect:
            case BreakerEffect.FAILURE:
                self._tell("failure", error)
            case BreakerEffect.SUCCESS:
                self._tell("success")

    def _settle(
        self, ticket: Ticket, effect: BreakerEffect, now: float, *, slow: bool
    ) -> tuple[Circuit, Circuit]:
        """Count the end of a call, and tell on what it changed; under the lock."""
        failed = effect == BreakerEffect.FAILURE
        self._calls += 1
        self._failures += failed
        if effect == BreakerEffect.NEUTRAL:
            # It says nothing about the service, however long it took.
            self._neutral += 1
        else:
            self._slow += slow
        before = self._circuit
        after = settle(
            before, ticket, effect, now, self._thresholds, window=self._window, slow=slow
        )
        cause = self._last_error if failed else self._slowness(after)
        self._install(after)
        self._share(before, after, cause)
        ended = before.own_trial and after.trial_until is None and ticket.until is not None
        if ended and after.generation == before.generation == ticket.generation:
            self._release(after)
        return before, after

    def _slowness(self, after: Circuit) -> str | None:
        """Word why a circuit opened at calls that were answered."""
        window, limit = self._window, self._thresholds.slow_seconds
        if after.state != BreakerState.OPEN or not is_slow(window, self._thresholds):
            return None
        return f"{window.slow} of {window.calls} calls took {limit:g} s or longer"

    def _release(self, circuit: Circuit) -> None:
        if self._trials is not None:
            self._trials.release(
                TrialEnd(
                    name=str(self.name),
                    generation=circuit.generation,
                    successes=circuit.successes,
                )
            )

    def _install(self, circuit: Circuit) -> Circuit:
        """Put a circuit in the place of the one before, which is returned; under the lock."""
        before, self._circuit = self._circuit, circuit
        forced = self._force in {Force.OPEN, Force.CLOSED}
        if circuit.state != BreakerState.CLOSED or forced or not self._learnt:
            self._gate = None
        elif self._gate is None or self._gate.generation != circuit.generation:
            self._gate = Ticket(circuit.generation)
        if circuit.generation != before.generation:
            self._window.clear()
        return before

    def _force_at(self, now: float) -> Force:
        return self._force if now < self._force_until else Force.NONE

    def _effect_of(self, error: BaseException) -> BreakerEffect:
        """Judge an error: what is excluded or no ``Exception`` says nothing about the service."""
        try:
            if not isinstance(error, Exception) or not self.is_system_error(error):
                return BreakerEffect.NEUTRAL
            return classify(error).breaker_effect
        except Exception:
            # An error, or a function that excludes some, which fails where it is looked at.
            log.exception("breaker_error_unjudged", breaker=self.name, error=type(error).__name__)
            return BreakerEffect.NEUTRAL

    def _share(self, before: Circuit, after: Circuit, error: str | None) -> None:
        if after.generation == before.generation or self._on_transition is None:
            return
        thresholds = self._thresholds
        self._on_transition(
            Transition(
                name=str(self.name),
                generation=after.generation,
                old=before.state,
                new=after.state,
                at=clock.now(),
                open_seconds=thresholds.open_for(after.opens),
                failures=after.failures,
                failure_threshold=thresholds.failures,
                error=error,
                opens=after.opens,
                successes=after.successes,
            )
        )


class Call:
    """A block, plain or of a coroutine, as one call."""

    __slots__ = ("_began", "_breaker", "_ticket")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    def begin(self) -> None:
        """Time the call from here, after what it had to wait for before it was made."""
        self._began = self._breaker._monotonic()  # noqa: SLF001  # one class in two

    def __enter__(self) -> Self:
        """Let the call through, or refuse it."""
        self._admitted(self._breaker._gate or self._breaker._admit())  # noqa: SLF001
        return self

    async def __aenter__(self) -> Self:
        """Let the call through, or refuse it; the loop goes on where that takes time."""
        self._admitted(self._breaker._gate or await self._breaker._admit_async())  # noqa: SLF001
        return self

    def _admitted(self, ticket: Ticket) -> None:
        self._ticket = ticket
        if self._breaker._listeners:  # noqa: SLF001
            self._breaker._tell("before_call", self._breaker.calling)  # noqa: SLF001
        self.begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Settle the call."""
        if error is None:
            self._breaker._succeeded(self._ticket, self._began)  # noqa: SLF001
        else:
            self._breaker._raised(self._ticket, error, self._began)  # noqa: SLF001

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Settle the call."""
        self.__exit__(kind, error, traceback)


def _count_nothing() -> None:
    """Stand in for a counter."""


def describe(error: BaseException) -> str:
    """Write an error in one line of bounded length, with secrets masked."""
    text = " ".join(f"{type(error).__name__}: {words_of(error)}".split())[:MAX_ERROR]
    return storable(mask_text(text))[:MAX_ERROR]
