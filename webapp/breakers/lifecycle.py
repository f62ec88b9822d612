"""The rules of a circuit: who is let through, and what the end of a call changes.

Pure: a circuit is a value, each rule returns the next one, and the time (seconds of a monotonic
clock) is an argument.  ``generation`` rises with each change of state: a call that began in an
older one says nothing about the present one, so its result is dropped.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from webapp.breakers.values import BreakerState, Force, Thresholds
from webapp.retries.values import BreakerEffect

# Whoever finds the one trial running is told to look again this soon, in seconds.
TRIAL_WAIT = 5.0
# So long a call waits for the word whether the one trial is its own.
ASK_SECONDS = 0.25
# Whoever was not answered by then is told to come again this soon after asking, and nobody else
# asks meanwhile.
ASK_AGAIN_SECONDS = 1.0
# A trial is kept for the process that asked for it for so long, so that whoever comes again finds
# it; its own time counts from where it begins.
BEGIN_SECONDS = 5.0


class Window:
    """Calls of the last seconds, by a ring with a bucket for each second; the sums are kept.

    The one thing here that changes in place, since every call is counted in it.
    """

    __slots__ = ("_calls", "_failures", "_second", "_size", "_slow", "calls", "failures", "slow")

    def __init__(self, seconds: int) -> None:
        self._size = seconds
        self.clear()

    @property
    def seconds(self) -> int:
        """How far back it reaches."""
        return self._size

    def clear(self) -> None:
        """Forget every call."""
        self._calls = [0] * self._size
        self._failures = [0] * self._size
        self._slow = [0] * self._size
        self._second = -1
        self.calls = self.failures = self.slow = 0

    def add(self, now: float, *, failed: bool = False, slow: bool = False) -> None:
        """Count one call that ended."""
        second = int(now)
        if second != self._second:
            self.advance(second)
        place = self._second % self._size
        self._calls[place] += 1
        self.calls += 1
        if failed:
            self._failures[place] += 1
            self.failures += 1
        if slow:
            self._slow[place] += 1
            self.slow += 1

    def advance(self, second: int) -> None:
        """Forget what lies further back than the window; a clock that lags behind changes none."""
        passed = second - self._second
        if self._second < 0 or passed >= self._size:
            if self.calls:
                self.clear()
        else:
            for back in range(passed):
                self._forget((self._second + 1 + back) % self._size)
        self._second = max(second, self._second)

    def _forget(self, place: int) -> None:
        self.calls -= self._calls[place]
        self.failures -= self._failures[place]
        self.slow -= self._slow[place]
        self._calls[place] = self._failures[place] = self._slow[place] = 0


@dataclass(frozen=True, slots=True)
class Circuit:
    """One circuit as one process sees it; times that end in ``until`` are on its clock.

    ``opens`` counts how often it opened since it was last closed.  ``trial_until`` is until when
    the one trial may run, which is this process's where ``own_trial`` says so.  ``asked_until`` and
    ``leased_until`` are about the next one: somebody asks for it, or this process may begin it.
    """

    state: BreakerState = BreakerState.CLOSED
    generation: int = 0
    failures: int = 0
    successes: int = 0
    opens: int = 0
    open_until: float = 0.0
    trial_until: float | None = None
    own_trial: bool = False
    asked_until: float = 0.0
    leased_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Ticket:
    """A call that was let through, in the generation that it began in.

    A trial has until ``until``; after that it is given up for lost.
    """

    generation: int
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that was not, and the seconds until it is worth another try."""

    seconds: float


@dataclass(frozen=True, slots=True)
class AskFirst:
    """A call that may be the next trial: whether it is, all processes have to know."""


# Let through without a say: what it comes to changes nothing.
SPECTATOR: Final = Ticket(-1)


def shown_state(circuit: Circuit, now: float) -> BreakerState:
    """Return the state by the clock: one that has been open for its time waits for a trial."""
    if circuit.state == BreakerState.OPEN and now >= circuit.open_until:
        return BreakerState.HALF_OPEN
    return circuit.state


def state_at(state: BreakerState, open_until: datetime | None, now: datetime) -> BreakerState:
    """Return the state that all processes share by the time: the same by another clock."""
    over = open_until is not None and open_until <= now
    return BreakerState.HALF_OPEN if state == BreakerState.OPEN and over else state


def effective_state(state: BreakerState, force: Force) -> BreakerState:
    """Return what calls meet: a force says more than the state, and shadow refuses nobody."""
    match force:
        case Force.NONE:
            return state
        case Force.OPEN:
            return BreakerState.OPEN
        case _:
            return BreakerState.CLOSED


def opens_at(opened_at: datetime | None, open_seconds: float) -> datetime | None:
    """Return when a circuit that opened then lets a trial through."""
    return opened_at + timedelta(seconds=open_seconds) if opened_at else None


def admit(
    circuit: Circuit, now: float, thresholds: Thresholds, *, shared: bool = False
) -> tuple[Circuit, Ticket | Refusal | AskFirst]:
    """Let a call through, refuse it, or have it ask whether it is the one trial.

    Half open, one trial runs at a time: over all processes where the circuit is ``shared``, in this
    one where it is not.  A trial that outlasts its time is given up for lost, so that one call that
    hangs does not keep the circuit open for ever.
    """
    if circuit.state == BreakerState.CLOSED:
        return circuit, Ticket(circuit.generation)
    if circuit.state == BreakerState.OPEN and now < circuit.open_until:
        return circuit, Refusal(circuit.open_until - now)
    if circuit.trial_until is not None and now < circuit.trial_until:
        return circuit, Refusal(min(circuit.trial_until - now, TRIAL_WAIT))
    if not shared:
        circuit = half_opened(circuit) if circuit.state == BreakerState.OPEN else circuit
        return _tried(circuit, now + thresholds.trial_seconds)
    if now < circuit.leased_until:
        return _tried(circuit, now + thresholds.trial_seconds)
    if now < circuit.asked_until:
        return circuit, Refusal(circuit.asked_until - now)
    return replace(circuit, asked_until=now + ASK_AGAIN_SECONDS), AskFirst()


def _tried(circuit: Circuit, until: float) -> tuple[Circuit, Ticket]:
    trial = replace(circuit, trial_until=until, own_trial=True, asked_until=0.0, leased_until=0.0)
    return trial, Ticket(circuit.generation, until)


def granted(circuit: Circuit, *, until: float, successes: int) -> Circuit:
    """Return the circuit with the next trial this process's own, to begin before ``until``."""
    if circuit.state != BreakerState.HALF_OPEN:
        circuit = half_opened(circuit)
    return replace(
        circuit, successes=successes, trial_until=None, asked_until=0.0, leased_until=until
    )


def tried_elsewhere(circuit: Circuit, until: float | None, now: float) -> Circuit:
    """Return the circuit with the trial that another process runs; None where there is none."""
    if circuit.state == BreakerState.CLOSED or holds_trial(circuit, now):
        return circuit
    return replace(circuit, trial_until=until, own_trial=False, asked_until=0.0)


def holds_trial(circuit: Circuit, now: float) -> bool:
    """Tell whether the one trial is this process's: it runs in its time, or may begin."""
    runs = circuit.own_trial and circuit.trial_until is not None and now <= circuit.trial_until
    return runs or now < circuit.leased_until


def settle(  # noqa: PLR0913  # the facts of one call, beside the circuit and its rules
    circuit: Circuit,
    ticket: Ticket,
    effect: BreakerEffect,
    now: float,
    thresholds: Thresholds,
    *,
    window: Window | None = None,
    slow: bool = False,
) -> Circuit:
    """Count the end of a call that was let through; ``window`` counts those of a closed circuit.

    A circuit opens at a call that failed or was slow, never at one that went well.
    """
    if ticket.generation != circuit.generation:
        return circuit
    if ticket.until is not None:
        return _tried_out(circuit, ticket.until, effect, now, thresholds)
    if effect == BreakerEffect.NEUTRAL:
        return circuit
    failed = effect == BreakerEffect.FAILURE
    if window is not None:
        window.add(now, failed=failed, slow=slow)
    failures = circuit.failures + 1 if failed else 0
    if failures != circuit.failures:
        circuit = replace(circuit, failures=failures)
    full = failures >= thresholds.failures or (window is not None and trips(window, thresholds))
    return _opened_again(circuit, now, thresholds) if (failed or slow) and full else circuit


def trips(window: Window, thresholds: Thresholds) -> bool:
    """Tell whether too many of the calls in the window failed, or were slow."""
    return _fails(window, thresholds) or is_slow(window, thresholds)


def _fails(window: Window, thresholds: Thresholds) -> bool:
    rate = thresholds.failure_rate
    return rate is not None and _reached(window, window.failures, rate, thresholds)


def is_slow(window: Window, thresholds: Thresholds) -> bool:
    """Tell whether too many of the calls in the window were slow."""
    if thresholds.slow_seconds is None:
        return False
    return _reached(window, window.slow, thresholds.slow_rate, thresholds)


def _reached(window: Window, part: int, rate: float, thresholds: Thresholds) -> bool:
    return window.calls >= thresholds.window_calls and 100 * part >= rate * window.calls


def _tried_out(
    circuit: Circuit, until: float, effect: BreakerEffect, now: float, thresholds: Thresholds
) -> Circuit:
    """Count the end of a trial; one that was given up for lost came too late to count."""
    if now > until:
        return replace(circuit, own_trial=False) if circuit.trial_until == until else circuit
    circuit = replace(circuit, trial_until=None, own_trial=False)
    match effect:
        case BreakerEffect.NEUTRAL:
            return circuit
        case BreakerEffect.SUCCESS:
            circuit = replace(circuit, successes=circuit.successes + 1)
            return closed(circuit) if circuit.successes >= thresholds.successes else circuit
        case BreakerEffect.FAILURE:
            failed = replace(circuit, failures=circuit.failures + 1)
            return _opened_again(failed, now, thresholds)


def _opened_again(circuit: Circuit, now: float, thresholds: Thresholds) -> Circuit:
    return opened(circuit, until=now + thresholds.open_for(circuit.opens + 1))


def opened(circuit: Circuit, *, until: float) -> Circuit:
    """Return the circuit opened; its failures are kept, since they say why."""
    return Circuit(
        BreakerState.OPEN,
        circuit.generation + 1,
        failures=circuit.failures,
        opens=circuit.opens + 1,
        open_until=until,
    )


def half_opened(circuit: Circuit) -> Circuit:
    """Return the circuit waiting for its trials."""
    return Circuit(
        BreakerState.HALF_OPEN,
        circuit.generation + 1,
        failures=circuit.failures,
        opens=circuit.opens,
    )


def closed(circuit: Circuit) -> Circuit:
    """Return the circuit closed, with nothing counted."""
    return Circuit(BreakerState.CLOSED, circuit.generation + 1)
