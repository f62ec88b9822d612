"""What was measured, and where a rule fires, in words."""

import pytest

from webapp.alerts.guidance import GUIDANCE
from webapp.alerts.phrases import limit, measured
from webapp.alerts.values import Direction, Metric


@pytest.mark.parametrize(
    ("metric", "value", "sample", "words"),
    [
        (Metric.JOB_FAILURE_RATE, 62.5, 8, "62.5 % of 8 failed"),
        (Metric.JOB_FAILURE_RATE, 66.666, 1200, "66.7 % of 1,200 failed"),
        (Metric.JOB_FAILURE_RATE, None, None, "not measured"),
        (Metric.IDEMPOTENCY_REPLAY_RATE, 30.0, 50, "30 % of 50 repeated"),
        (Metric.BREAKER_OPEN, 1.0, None, "open"),
        (Metric.BREAKER_OPEN, 0.0, None, "closed"),
        (Metric.DEAD_LETTERS_OPEN, 1204.0, None, "1,204 open"),
        (Metric.WORKERS_ALIVE, 0.0, None, "none alive"),
        (Metric.WORKERS_ALIVE, 1.0, None, "1 alive"),
        (Metric.OLDEST_QUEUED_SECONDS, 1200.0, None, "waits for 20 min"),
        (Metric.OLDEST_QUEUED_SECONDS, 0.0, None, "nothing waits"),
        (Metric.SCHEDULE_LATE_SECONDS, 7500.0, None, "2 h 5 min late"),
        (Metric.FLAGS_STALE, 3.0, None, "reported 3 times"),
        (Metric.ROLLOUT_ROLLED_BACK, 1.0, None, "rolled back"),
        (Metric.SOURCE_FAILING, 1.0, None, "failed"),
    ],
)
def test_what_was_measured_reads_as_a_phrase_with_its_unit(
    metric: Metric, value: float | None, sample: int | None, words: str
) -> None:
    assert measured(metric, value, sample) == words


@pytest.mark.parametrize(
    ("metric", "comparison", "threshold", "words"),
    [
        (Metric.JOB_FAILURE_RATE, Direction.ABOVE, 20, "above 20 %"),
        (Metric.JOB_FAILURE_RATE, Direction.ABOVE, 0, "above 0 %"),
        (Metric.OLDEST_QUEUED_SECONDS, Direction.ABOVE, 900, "above 15 min"),
        (Metric.OLDEST_QUEUED_SECONDS, Direction.ABOVE, 0, "above 0 s"),
        (Metric.WORKERS_ALIVE, Direction.BELOW, 1, "below 1"),
        (Metric.BREAKER_OPEN, Direction.ABOVE, 0, ""),
        (Metric.BREAKER_OPEN, Direction.BELOW, 1, "below 1"),
    ],
)
def test_a_limit_says_which_side_and_nothing_where_any_is_enough(
    metric: Metric, comparison: Direction, threshold: float, words: str
) -> None:
    assert limit(metric, comparison, threshold) == words


def test_every_metric_has_a_phrase_and_its_guidance() -> None:
    for metric in Metric:
        for value in (0.0, 1.0, 7.0):
            assert measured(metric, value, 10)
        assert GUIDANCE[metric].means
        assert GUIDANCE[metric].advice
