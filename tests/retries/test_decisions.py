"""What is said about an error is what is done with it."""

import pytest

from webapp.errors import Invalid
from webapp.retries.classification import postpone
from webapp.retries.decisions import explain
from webapp.retries.values import BreakerEffect, ErrorClass, RetryConfig, Strategy

CONFIG = RetryConfig(max_attempts=3, initial_delay=2.0, jitter=0.0)


def test_a_decision_to_repeat_names_class_rule_strategy_and_wait() -> None:
    why = explain(ConnectionResetError(), CONFIG, before=[ErrorClass.NETWORK])
    assert (why.error_class, why.rule) == (ErrorClass.NETWORK, "type builtins.ConnectionError")
    assert (why.attempt, why.strategy, why.delay) == (2, Strategy.EXPONENTIAL, 4.0)
    assert why.breaker_effect == BreakerEffect.FAILURE
    assert why.repeated
    assert why.reason is None


@pytest.mark.parametrize(
    ("error", "before", "reason"),
    [
        (Invalid("no"), [], "invalid_input is not retried"),
        (TimeoutError(), [ErrorClass.NETWORK] * 2, "3 attempts failed"),
    ],
)
def test_a_decision_not_to_repeat_says_why(
    error: Exception, before: list[ErrorClass], reason: str
) -> None:
    why = explain(error, CONFIG, before=before)
    assert not why.repeated
    assert (why.strategy, why.delay, why.reason) == (None, None, reason)


def test_a_wait_that_is_left_to_others_is_named() -> None:
    error = ConnectionResetError()
    postpone(error, 90.0)
    why = explain(error, CONFIG)
    assert (why.repeated, why.postponed, why.retry_after) == (False, 90.0, 90.0)
