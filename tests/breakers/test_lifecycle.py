"""The rules of a circuit, as tables."""

import pytest

from webapp.breakers.lifecycle import (
    TRIAL_WAIT,
    Circuit,
    Refusal,
    Ticket,
    admit,
    half_opened,
    opened,
    settle,
    shown_state,
)
from webapp.breakers.values import BreakerState, Thresholds
from webapp.retries.values import BreakerEffect

THRESHOLDS = Thresholds(failures=3, successes=2, open_seconds=30.0)
OPEN = opened(Circuit(failures=3), until=30.0)
S, F, N = BreakerEffect.SUCCESS, BreakerEffect.FAILURE, BreakerEffect.NEUTRAL


def after(*effects: BreakerEffect, circuit: Circuit, now: float) -> Circuit:
    """Let one call after another through and end each of them in the given way."""
    for effect in effects:
        circuit, ticket = admit(circuit, now, THRESHOLDS)
        assert isinstance(ticket, Ticket)
        circuit = settle(circuit, ticket, effect, now, THRESHOLDS)
    return circuit


@pytest.mark.parametrize(
    ("effects", "state", "failures"),
    [
        ([F, F], BreakerState.CLOSED, 2),
        ([F, F, F], BreakerState.OPEN, 3),
        ([F, F, S, F], BreakerState.CLOSED, 1),
        # What says nothing about the service neither counts nor forgives.
        ([F, F, N, N], BreakerState.CLOSED, 2),
        ([F, N, F, N, F], BreakerState.OPEN, 3),
    ],
)
def test_so_many_failures_in_a_row_open_a_circuit(
    effects: list[BreakerEffect], state: BreakerState, failures: int
) -> None:
    circuit = after(*effects, circuit=Circuit(), now=0.0)
    assert (circuit.state, circuit.failures) == (state, failures)


@pytest.mark.parametrize(
    ("effects", "state"),
    [
        ([S], BreakerState.HALF_OPEN),
        ([S, S], BreakerState.CLOSED),
        ([F], BreakerState.OPEN),
        ([S, F], BreakerState.OPEN),
        ([N, N, N], BreakerState.HALF_OPEN),
        ([S, N, S], BreakerState.CLOSED),
    ],
)
def test_trials_decide_a_half_open_circuit(
    effects: list[BreakerEffect], state: BreakerState
) -> None:
    assert after(*effects, circuit=OPEN, now=30.0).state == state


@pytest.mark.parametrize(("now", "seconds"), [(0.0, 30.0), (12.5, 17.5), (29.9, 0.1)])
def test_an_open_circuit_refuses_and_names_the_seconds_left(now: float, seconds: float) -> None:
    circuit, answer = admit(OPEN, now, THRESHOLDS)
    assert circuit is OPEN
    assert isinstance(answer, Refusal)
    assert answer.seconds == pytest.approx(seconds)


def test_one_trial_runs_at_a_time() -> None:
    circuit, first = admit(OPEN, 31.0, THRESHOLDS)
    circuit, second = admit(circuit, 31.0, THRESHOLDS)
    assert isinstance(first, Ticket)
    assert second == Refusal(TRIAL_WAIT)


def test_a_trial_that_hangs_is_given_up_after_the_open_time() -> None:
    circuit, _ = admit(OPEN, 31.0, THRESHOLDS)
    _, answer = admit(circuit, 61.0, THRESHOLDS)
    assert isinstance(answer, Ticket)


@pytest.mark.parametrize("effect", [S, F, N])
def test_the_late_result_of_an_older_state_is_dropped(effect: BreakerEffect) -> None:
    _, late = admit(Circuit(), 0.0, THRESHOLDS)
    assert isinstance(late, Ticket)
    trial = half_opened(OPEN)
    for circuit in (OPEN, trial):
        assert settle(circuit, late, effect, 31.0, THRESHOLDS) is circuit


def test_the_shown_state_is_that_of_the_clock_though_nobody_calls() -> None:
    assert shown_state(OPEN, 29.9) == BreakerState.OPEN
    assert shown_state(OPEN, 30.0) == BreakerState.HALF_OPEN


def test_a_failed_trial_opens_for_the_whole_time_again() -> None:
    circuit = after(F, circuit=OPEN, now=40.0)
    assert circuit.open_until == 70.0
