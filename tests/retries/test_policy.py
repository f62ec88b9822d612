"""Whether and when to try again, as tables."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from webapp.jobs.values import RetryPolicy
from webapp.retries.policy import (
    Bury,
    Defer,
    Retry,
    Stop,
    Wait,
    decide,
    decide_attempt,
    delay_before,
    spread,
)
from webapp.retries.values import (
    BREAKER_EFFECT,
    DEFERRED,
    TRANSIENT,
    Classification,
    ErrorClass,
    RetryConfig,
    Strategy,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
POLICY = RetryPolicy(max_retries=3, initial_delay=10.0, backoff_factor=2.0, max_delay=1000.0)
# With this random number a proportional jitter changes nothing.
MIDDLE = 0.5


def found(error_class: ErrorClass, retry_after: float | None = None) -> Classification:
    return Classification(error_class, "a rule", retry_after)


@pytest.mark.parametrize(
    ("strategy", "delays"),
    [
        (Strategy.EXPONENTIAL, [2, 4, 8, 16, 32]),
        (Strategy.LINEAR, [2, 4, 6, 8, 10]),
        (Strategy.FIBONACCI, [2, 2, 4, 6, 10]),
        (Strategy.AGGRESSIVE, [2, 6, 18, 54, 162]),
        (Strategy.CONSTANT, [2, 2, 2, 2, 2]),
    ],
)
def test_each_strategy_grows_its_own_way(strategy: Strategy, delays: list[float]) -> None:
    assert [delay_before(strategy, step, base=2, cap=1000) for step in range(5)] == delays


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("step", [10, 1_000, 10**9])
def test_no_delay_exceeds_the_cap_however_often_it_failed(strategy: Strategy, step: int) -> None:
    assert delay_before(strategy, step, base=2, cap=300) <= 300


@pytest.mark.parametrize(
    ("delay", "jitter", "random", "expected"),
    [
        (100, 0.0, 0.9, 100),
        (100, 0.25, 0.0, 75),
        (100, 0.25, 0.5, 100),
        (100, 0.25, 1.0, 125),
        (100, "full", 0.0, 0),
        (100, "full", 0.5, 50),
        # At the cap it varies downward only.
        (300, 0.25, 0.0, 225),
        (300, 0.25, 1.0, 300),
    ],
)
def test_jitter_spreads_a_delay(
    delay: float, jitter: float, random: float, expected: float
) -> None:
    assert spread(delay, jitter, random, cap=300) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("error_class", "attempt", "delay", "strategy"),
    [
        (ErrorClass.NETWORK, 1, 10, Strategy.EXPONENTIAL),
        (ErrorClass.NETWORK, 2, 20, Strategy.EXPONENTIAL),
        (ErrorClass.NETWORK, 3, 40, Strategy.EXPONENTIAL),
        (ErrorClass.SERVER_ERROR, 3, 40, Strategy.EXPONENTIAL),
        (ErrorClass.TIMEOUT, 3, 30, Strategy.LINEAR),
        (ErrorClass.RATE_LIMITED, 2, 30, Strategy.AGGRESSIVE),
        (ErrorClass.RATE_LIMITED, 3, 90, Strategy.AGGRESSIVE),
        (ErrorClass.MALFORMED, 2, 20, Strategy.EXPONENTIAL),
        # The queue comes back to it, though no process would try again by itself.
        (ErrorClass.RESOURCE_EXHAUSTED, 1, 10, Strategy.EXPONENTIAL),
    ],
)
def test_a_job_is_retried_by_the_strategy_of_its_error(
    error_class: ErrorClass, attempt: int, delay: float, strategy: Strategy
) -> None:
    decision = decide_attempt(
        found(error_class), attempt=attempt, policy=POLICY, now=NOW, jitter=MIDDLE
    )
    assert decision == Retry(NOW + timedelta(seconds=delay), strategy, delay)


@pytest.mark.parametrize(
    ("error_class", "attempt"),
    [
        (ErrorClass.NETWORK, 4),
        (ErrorClass.MALFORMED, 3),
        (ErrorClass.NOT_FOUND, 1),
        (ErrorClass.BAD_REQUEST, 1),
        (ErrorClass.UNAUTHORIZED, 1),
        (ErrorClass.MISCONFIGURED, 1),
        (ErrorClass.INVALID_INPUT, 1),
        (ErrorClass.BUG, 1),
    ],
)
def test_a_job_is_buried_when_retrying_is_of_no_use(error_class: ErrorClass, attempt: int) -> None:
    decision = decide_attempt(
        found(error_class), attempt=attempt, policy=POLICY, now=NOW, jitter=MIDDLE
    )
    assert isinstance(decision, Bury)
    assert error_class in decision.reason


@pytest.mark.parametrize("seconds", [0.0, 12.0])
@pytest.mark.parametrize("error_class", sorted(DEFERRED))
def test_a_job_that_our_own_guards_refused_is_deferred_to_the_time_they_name(
    error_class: ErrorClass, seconds: float
) -> None:
    decision = decide_attempt(
        found(error_class, seconds), attempt=9, policy=POLICY, now=NOW, jitter=0.0
    )
    assert decision == Defer(NOW + timedelta(seconds=seconds))


def test_a_deferral_past_the_bound_is_a_failure_that_spends_an_attempt() -> None:
    refused = found(ErrorClass.OPEN_CIRCUIT, 12.0)
    bound = POLICY.max_deferrals
    first = decide_attempt(refused, attempt=1, policy=POLICY, now=NOW, jitter=0.0, deferrals=bound)
    last = decide_attempt(refused, attempt=4, policy=POLICY, now=NOW, jitter=0.0, deferrals=bound)
    assert isinstance(first, Retry)
    assert first.delay >= 12
    assert isinstance(last, Bury)


@pytest.mark.parametrize("random", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("jitter", [0.0, 0.25, 1.0])
def test_no_jitter_undercuts_the_wait_that_the_other_side_asked_for(
    random: float, jitter: float
) -> None:
    policy = RetryPolicy(initial_delay=1.0, jitter=jitter)
    decision = decide_attempt(
        found(ErrorClass.RATE_LIMITED, 500.0), attempt=1, policy=policy, now=NOW, jitter=random
    )
    assert isinstance(decision, Retry)
    assert decision.delay >= 500


CONFIG = RetryConfig(max_attempts=4, initial_delay=1.0, max_delay=300.0)


@pytest.mark.parametrize(
    ("error_class", "attempt", "of_class", "expected"),
    [
        (ErrorClass.NETWORK, 1, 1, Wait(1.0, Strategy.EXPONENTIAL)),
        (ErrorClass.NETWORK, 3, 3, Wait(4.0, Strategy.EXPONENTIAL)),
        # Each class grows its own wait: the third failure, yet the first that timed out.
        (ErrorClass.TIMEOUT, 3, 1, Wait(1.0, Strategy.LINEAR)),
        (ErrorClass.RATE_LIMITED, 3, 2, Wait(3.0, Strategy.AGGRESSIVE)),
        (ErrorClass.NETWORK, 4, 4, Stop("4 attempts failed")),
        (ErrorClass.MALFORMED, 3, 3, Stop("malformed 3 times")),
        (ErrorClass.NOT_FOUND, 1, 1, Stop("not_found is not retried")),
        (ErrorClass.RESOURCE_EXHAUSTED, 1, 1, Stop("resource_exhausted is not retried")),
        (ErrorClass.OPEN_CIRCUIT, 1, 1, Stop("open_circuit is not retried")),
    ],
)
def test_a_call_is_repeated_by_class_and_count(
    error_class: ErrorClass, attempt: int, of_class: int, expected: Wait | Stop
) -> None:
    decision = decide(
        found(error_class),
        attempt=attempt,
        failures_of_class=of_class,
        config=CONFIG,
        elapsed=0.0,
        jitter=MIDDLE,
    )
    assert decision == expected


def test_a_wait_that_is_too_long_to_sleep_through_leaves_the_process() -> None:
    decision = decide(
        found(ErrorClass.RATE_LIMITED, 31.0),
        attempt=1,
        failures_of_class=1,
        config=CONFIG,
        elapsed=0.0,
        jitter=0.0,
    )
    assert decision == Stop("the wait of 31 s is too long to be slept through", 31.0)


def test_a_wait_past_the_deadline_is_not_begun() -> None:
    decision = decide(
        found(ErrorClass.NETWORK),
        attempt=1,
        failures_of_class=1,
        config=RetryConfig(initial_delay=4.0, deadline=10.0),
        elapsed=7.0,
        jitter=MIDDLE,
    )
    assert isinstance(decision, Stop)
    assert decision.wait == pytest.approx(4.0)


def test_a_chosen_strategy_counts_all_attempts() -> None:
    decision = decide(
        found(ErrorClass.TIMEOUT),
        attempt=3,
        failures_of_class=1,
        config=RetryConfig(initial_delay=1.0, strategy=Strategy.FIBONACCI),
        elapsed=0.0,
        jitter=MIDDLE,
    )
    assert decision == Wait(2.0, Strategy.FIBONACCI)


@pytest.mark.parametrize(
    "wrong", [{"max_attempts": 0}, {"initial_delay": -1.0}, {"jitter": 1.5}, {"max_delay": -1.0}]
)
def test_a_configuration_that_would_never_end_or_wait_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        RetryConfig(**wrong)  # type: ignore[arg-type]


def test_every_class_is_either_transient_deferred_or_final_and_known_to_the_breaker() -> None:
    assert not set(TRANSIENT) & DEFERRED
    assert set(BREAKER_EFFECT) <= set(ErrorClass)


RETRIES = st.builds(
    RetryConfig,
    max_attempts=st.integers(1, 50),
    initial_delay=st.floats(0, 60),
    max_delay=st.floats(0, 600),
    factor=st.floats(1, 10),
    jitter=st.floats(0, 1) | st.just("full"),
    strategy=st.sampled_from([*Strategy, "auto"]),
    max_inline_wait=st.just(1e9),
)
TRANSIENT_CLASSES = st.sampled_from(sorted(TRANSIENT))
RANDOM = st.floats(0, 1)


def delay_of(
    error_class: ErrorClass,
    config: RetryConfig,
    failures: int,
    jitter: float,
    floor: float | None = None,
) -> float:
    decision = decide(
        found(error_class, floor),
        attempt=failures,
        failures_of_class=failures,
        config=config,
        elapsed=0.0,
        jitter=jitter,
    )
    assume(isinstance(decision, Wait))
    assert isinstance(decision, Wait)
    return decision.delay


@given(TRANSIENT_CLASSES, RETRIES, st.integers(1, 49), RANDOM, st.floats(0, 86_400))
def test_no_wait_is_shorter_than_the_other_side_asked_for(
    error_class: ErrorClass, config: RetryConfig, failures: int, jitter: float, floor: float
) -> None:
    assert delay_of(error_class, config, failures, jitter, floor) >= floor


@given(TRANSIENT_CLASSES, RETRIES, st.integers(1, 49), RANDOM)
def test_no_wait_of_our_own_is_longer_than_the_cap(
    error_class: ErrorClass, config: RetryConfig, failures: int, jitter: float
) -> None:
    assert 0 <= delay_of(error_class, config, failures, jitter) <= config.max_delay


@given(TRANSIENT_CLASSES, RETRIES, st.integers(1, 48))
def test_without_jitter_each_wait_is_at_least_the_one_before(
    error_class: ErrorClass, config: RetryConfig, failures: int
) -> None:
    steady = replace(config, jitter=0.0)
    before = delay_of(error_class, steady, failures, 0.5)
    assert delay_of(error_class, steady, failures + 1, 0.5) >= before


@given(st.sampled_from(sorted(ErrorClass)), RETRIES, st.integers(1, 100), RANDOM)
def test_no_call_is_made_more_often_than_it_may_be(
    error_class: ErrorClass, config: RetryConfig, failures: int, jitter: float
) -> None:
    decision = decide(
        found(error_class),
        attempt=failures,
        failures_of_class=failures,
        config=config,
        elapsed=0.0,
        jitter=jitter,
    )
    if failures >= config.max_attempts or error_class not in TRANSIENT:
        assert isinstance(decision, Stop)
