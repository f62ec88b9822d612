"""The rules of a circuit: who is let through, and what the end of a call changes.

Pure: a circuit is a value, each rule returns the next one, and the time (seconds of a monotonic
clock) is an argument.  ``generation`` rises with each change of state: a call that began in an
older one says nothing about the present one, so its result is dropped.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from webapp.breakers.values import BreakerState, Thresholds
from webapp.retries.values import BreakerEffect

# Whoever finds the one trial running is told to look again this soon, in seconds.
TRIAL_WAIT = 5.0


@dataclass(frozen=True, slots=True)
class Circuit:
    """One circuit as one process sees it; ``open_until`` and ``trial_until`` are on its clock."""

    state: BreakerState = BreakerState.CLOSED
    generation: int = 0
    failures: int = 0
    successes: int = 0
    open_until: float = 0.0
    trial_until: float | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """A call that was let through, in the generation that it began in."""

    generation: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that was not, and the seconds until it is worth another try."""

    seconds: float


def shown_state(circuit: Circuit, now: float) -> BreakerState:
    """Return the state by the clock: one that has been open for its time waits for a trial."""
    if circuit.state == BreakerState.OPEN and now >= circuit.open_until:
        return BreakerState.HALF_OPEN
    return circuit.state


def state_at(
    state: BreakerState, opened_at: datetime | None, open_seconds: float, now: datetime
) -> BreakerState:
    """Return the state that all processes share by the time: the same by another clock."""
    over = opened_at is not None and opened_at + timedelta(seconds=open_seconds) <= now
    return BreakerState.HALF_OPEN if state == BreakerState.OPEN and over else state


def admit(circuit: Circuit, now: float, thresholds: Thresholds) -> tuple[Circuit, Ticket | Refusal]:
    """Let a call through or refuse it.

    Half open, one trial runs at a time.  A trial that outlasts the open time is given up for lost,
    so that one call that hangs does not keep the circuit open for ever.
    """
    if circuit.state == BreakerState.CLOSED:
        return circuit, Ticket(circuit.generation)
    if circuit.state == BreakerState.OPEN and now < circuit.open_until:
        return circuit, Refusal(circuit.open_until - now)
    if circuit.state == BreakerState.OPEN:
        circuit = half_opened(circuit)
    if circuit.trial_until is not None and now < circuit.trial_until:
        return circuit, Refusal(min(circuit.trial_until - now, TRIAL_WAIT))
    trial = replace(circuit, trial_until=now + thresholds.open_seconds)
    return trial, Ticket(circuit.generation)


def settle(
    circuit: Circuit, ticket: Ticket, effect: BreakerEffect, now: float, thresholds: Thresholds
) -> Circuit:
    """Count the end of a call that was let through."""
    if ticket.generation != circuit.generation:
        return circuit
    circuit = replace(circuit, trial_until=None)
    match effect:
        case BreakerEffect.NEUTRAL:
            return circuit
        case BreakerEffect.SUCCESS:
            return _succeeded(circuit, thresholds)
        case BreakerEffect.FAILURE:
            return _failed(circuit, now, thresholds)


def _succeeded(circuit: Circuit, thresholds: Thresholds) -> Circuit:
    if circuit.state == BreakerState.CLOSED:
        return replace(circuit, failures=0) if circuit.failures else circuit
    circuit = replace(circuit, successes=circuit.successes + 1)
    return closed(circuit) if circuit.successes >= thresholds.successes else circuit


def _failed(circuit: Circuit, now: float, thresholds: Thresholds) -> Circuit:
    circuit = replace(circuit, failures=circuit.failures + 1)
    if circuit.state == BreakerState.HALF_OPEN or circuit.failures >= thresholds.failures:
        return opened(circuit, until=now + thresholds.open_seconds)
    return circuit


def opened(circuit: Circuit, *, until: float) -> Circuit:
    """Return the circuit opened; its failures are kept, since they say why."""
    return Circuit(
        BreakerState.OPEN, circuit.generation + 1, failures=circuit.failures, open_until=until
    )


def half_opened(circuit: Circuit) -> Circuit:
    """Return the circuit waiting for its trials."""
    return Circuit(BreakerState.HALF_OPEN, circuit.generation + 1, failures=circuit.failures)


def closed(circuit: Circuit) -> Circuit:
    """Return the circuit closed, with nothing counted."""
    return Circuit(BreakerState.CLOSED, circuit.generation + 1)
