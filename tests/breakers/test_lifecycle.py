"""The rules of a circuit, as tables."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.breakers.lifecycle import (
    ASK_AGAIN_SECONDS,
    TRIAL_WAIT,
    AskFirst,
    Circuit,
    Refusal,
    Ticket,
    Window,
    admit,
    granted,
    half_opened,
    opened,
    settle,
    shown_state,
    tried_elsewhere,
)
from webapp.breakers.values import BreakerState, Thresholds
from webapp.errors import Invalid
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


def test_a_trial_that_hangs_is_given_up_after_its_time_and_counts_no_more() -> None:
    circuit, first = admit(OPEN, 31.0, THRESHOLDS)
    assert isinstance(first, Ticket)
    circuit, answer = admit(circuit, 61.0, THRESHOLDS)
    assert isinstance(answer, Ticket)
    for effect in (S, F, N):
        assert settle(circuit, first, effect, 62.0, THRESHOLDS) is circuit


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


RATE = Thresholds(failures=100, failure_rate=50, window_calls=10, window_seconds=5)


def run(effects: str, thresholds: Thresholds, *, pace: float = 0.0) -> Circuit:
    """Let calls through and end them: ``f``ailure, ``s``uccess, ``l``ate success, ``n``eutral."""
    circuit, window = Circuit(), Window(thresholds.window_seconds)
    meanings = {"f": F, "s": S, "l": S, "n": N}
    for number, letter in enumerate(effects):
        _, ticket = admit(circuit, number * pace, thresholds)
        if not isinstance(ticket, Ticket):
            break
        circuit = settle(
            circuit,
            ticket,
            meanings[letter],
            number * pace,
            thresholds,
            window=window,
            slow=letter == "l",
        )
    return circuit


@pytest.mark.parametrize(
    ("effects", "pace", "state"),
    [
        # Fewer calls than mean anything.
        ("sfsfsfsf" + "f", 0.0, BreakerState.CLOSED),
        ("sfsfsfsfsf", 0.0, BreakerState.OPEN),
        ("sssssfffff", 0.0, BreakerState.OPEN),
        ("ssssssffff", 0.0, BreakerState.CLOSED),
        # It opens at a failure, never at a success.
        ("fffffsssss", 0.0, BreakerState.CLOSED),
        ("fffffsssss" + "f", 0.0, BreakerState.OPEN),
        # Neutral ends are no calls.
        ("fffff" + "nnnnnnnn", 0.0, BreakerState.CLOSED),
        # Of one call a second, the window never holds ten.
        ("f" * 30, 1.0, BreakerState.CLOSED),
        ("f" * 30, 0.4, BreakerState.OPEN),
    ],
)
def test_a_share_of_failures_among_enough_calls_opens_a_circuit(
    effects: str, pace: float, state: BreakerState
) -> None:
    assert run(effects, RATE, pace=pace).state == state


def test_a_rate_that_is_switched_off_opens_nothing() -> None:
    off = Thresholds(failures=100, failure_rate=None)
    assert run("f" * 99, off).state == BreakerState.CLOSED


@pytest.mark.parametrize(
    ("effects", "state"),
    [
        ("llllllll" + "ss", BreakerState.CLOSED),
        ("ssllllllll", BreakerState.OPEN),
        ("sssssslllll", BreakerState.CLOSED),
    ],
)
def test_a_share_of_slow_calls_opens_a_circuit_though_all_succeed(
    effects: str, state: BreakerState
) -> None:
    slow = Thresholds(slow_seconds=1.0, slow_rate=50.0)
    assert run(effects, slow).state == state


def test_slow_calls_count_for_nothing_unless_a_duration_is_set() -> None:
    assert run("l" * 50, Thresholds()).state == BreakerState.CLOSED


@pytest.mark.parametrize(
    ("growth", "times"),
    [
        (1.0, [30, 30, 30, 30]),
        (2.0, [30, 60, 100, 100]),
        # The cap holds no first open time down.
        (10.0, [30, 100, 100, 100]),
    ],
)
def test_the_open_time_grows_with_each_failed_trial_up_to_its_cap(
    growth: float, times: list[float]
) -> None:
    grows = Thresholds(failures=1, growth=growth, max_open_seconds=100)
    circuit, now, seen = Circuit(), 0.0, []
    for _ in times:
        circuit, ticket = admit(circuit, now, grows)
        assert isinstance(ticket, Ticket)
        circuit = settle(circuit, ticket, F, now, grows)
        seen.append(circuit.open_until - now)
        now = circuit.open_until
    assert seen == times
    for _ in range(2):
        circuit, ticket = admit(circuit, now, grows)
        assert isinstance(ticket, Ticket)
        circuit = settle(circuit, ticket, S, now, grows)
    assert (circuit.state, circuit.opens) == (BreakerState.CLOSED, 0)


def test_a_shared_circuit_asks_once_before_a_trial_and_refuses_whoever_comes_meanwhile() -> None:
    circuit, first = admit(OPEN, 31.0, THRESHOLDS, shared=True)
    assert isinstance(first, AskFirst)
    circuit, second = admit(circuit, 31.0, THRESHOLDS, shared=True)
    assert isinstance(second, Refusal)
    assert second.seconds == pytest.approx(ASK_AGAIN_SECONDS)
    leased = granted(circuit, until=36.0, successes=1)
    trial, ticket = admit(leased, 31.02, THRESHOLDS, shared=True)
    # Its time begins with its use.
    assert ticket == Ticket(leased.generation, 31.02 + THRESHOLDS.trial_seconds)
    _, third = admit(trial, 31.03, THRESHOLDS, shared=True)
    assert third == Refusal(TRIAL_WAIT)
    # The success of another process counts.
    assert settle(trial, ticket, S, 32.0, THRESHOLDS).state == BreakerState.CLOSED


def test_a_trial_elsewhere_is_waited_for_and_a_lease_of_ones_own_is_not_lost_to_it() -> None:
    waiting = tried_elsewhere(half_opened(OPEN), 40.0, 31.0)
    assert admit(waiting, 38.0, THRESHOLDS, shared=True)[1] == Refusal(2.0)
    assert isinstance(admit(waiting, 40.0, THRESHOLDS, shared=True)[1], AskFirst)
    leased = granted(OPEN, until=61.0, successes=0)
    assert tried_elsewhere(leased, 61.0, 31.0) is leased


calls = st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.booleans()), max_size=60).map(
    lambda items: sorted(items, key=lambda item: item[0])
)


@given(calls=calls, seconds=st.integers(1, 12))
def test_the_window_holds_exactly_the_calls_of_its_last_seconds(
    calls: Sequence[tuple[int, bool, bool]], seconds: int
) -> None:
    window = Window(seconds)
    for number, (at, failed, slow) in enumerate(calls):
        window.add(at, failed=failed, slow=slow)
        kept = [item for item in calls[: number + 1] if item[0] > at - seconds]
        assert window.calls == len(kept)
        assert window.failures == sum(item[1] for item in kept)
        assert window.slow == sum(item[2] for item in kept)


@given(effects=st.text("fsn", max_size=80), failures=st.integers(1, 6), pace=st.floats(0, 3))
def test_a_circuit_opens_exactly_at_a_failure_that_reaches_a_threshold(
    effects: str, failures: int, pace: float
) -> None:
    thresholds = Thresholds(failures=failures, window_seconds=4, window_calls=5)
    circuit = run(effects, thresholds, pace=pace)
    in_a_row = 0
    ends: list[tuple[int, str]] = []
    opens_at = None
    for number, letter in enumerate(effects):
        if letter != "n":
            ends.append((int(number * pace), letter))
            in_a_row = in_a_row + 1 if letter == "f" else 0
        kept = [end for at, end in ends if at > int(number * pace) - 4]
        rate = len(kept) >= 5 and 2 * kept.count("f") >= len(kept)
        if letter == "f" and (in_a_row >= failures or rate):
            opens_at = number
            break
    assert (circuit.state == BreakerState.OPEN) == (opens_at is not None)


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"failures": 0}, {"failures"}),
        ({"failures": 2.5}, {"failures"}),
        ({"failures": True}, {"failures"}),
        ({"successes": None}, {"successes"}),
        ({"failure_rate": float("nan")}, {"failure_rate"}),
        ({"open_seconds": -1, "growth": 0.5}, {"open_seconds", "growth"}),
        ({"sucesses": 1}, {"sucesses"}),
        ({"failure_rate": None, "slow_seconds": None}, set()),
        ({"open_seconds": 1}, set()),
    ],
)
def test_thresholds_that_make_no_circuit_are_refused_by_name(
    values: dict[str, object], wrong: set[str]
) -> None:
    if not wrong:
        Thresholds().with_given(values)
        return
    with pytest.raises(Invalid) as refused:
        Thresholds().with_given(values)
    assert set(refused.value.errors) == wrong


def test_code_is_told_of_them_too() -> None:
    with pytest.raises(ValueError, match="failures"):
        Thresholds(failures=0)


@pytest.mark.parametrize("stored", [None, {"failures": 0}, {"failures": "many"}])
def test_what_is_stored_and_makes_no_sense_counts_for_nothing(
    stored: dict[str, object] | None,
) -> None:
    assert Thresholds.stored(stored) is None


def test_what_a_newer_version_stored_is_read_as_far_as_it_is_known() -> None:
    assert Thresholds.stored({"failures": 3, "colour": "red"}) == Thresholds(failures=3)
