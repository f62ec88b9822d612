"""What workers count of the attempts that they settle."""

from datetime import datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.registry import REGISTRY

from tasks.metering import Retried, count_ends, meter
from webapp.jobs.values import Claim, Outcome
from webapp.metrics import BulkHistogram


def claim(now: datetime, *, due: datetime | None = None) -> Claim:
    return Claim(1, "test_metered", 1, 1, 0, 0, {}, None, "host:1:a", now, None, due)


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"job_type": "test_metered"} | labels) or 0.0


def counted() -> dict[str, float]:
    return {
        "succeeded": value("job_runs_total", outcome="succeeded"),
        "failed": value("job_runs_total", outcome="failed"),
        "retried": value("job_retries_total", error_class="network", strategy="exponential"),
        "durations": value("job_duration_seconds_count"),
        "seconds": value("job_duration_seconds_sum"),
        "waits": value("job_wait_seconds_count"),
        "waited": value("job_wait_seconds_sum"),
    }


def test_ends_are_counted_with_how_long_they_took_and_waited(now: datetime) -> None:
    before = counted()
    due = now - timedelta(seconds=3)
    meter(claim(now, due=due), Outcome.SUCCEEDED, 0.25, None)
    meter(claim(now, due=due), Outcome.SUCCEEDED, 0.5, None)
    # By a clock that is behind that of whoever queued it.
    meter(claim(now, due=now + timedelta(seconds=1)), Outcome.FAILED, 1.0, None)
    meter(claim(now), Outcome.FAILED, 2.0, Retried("network", "exponential"))
    assert counted() == before
    count_ends()
    after = counted()
    assert {name: after[name] - before[name] for name in after} == {
        "succeeded": 2,
        "failed": 2,
        "retried": 1,
        "durations": 4,
        "seconds": 3.75,
        "waits": 3,
        "waited": 6,
    }
    count_ends()
    assert counted() == after


@pytest.mark.parametrize("amounts", [[0.1], [0.0, 0.1, 0.1, 5.0, 99.0], [1.0] * 7])
def test_many_observations_at_once_are_the_same_as_one_by_one(amounts: list[float]) -> None:
    buckets = (0.1, 1.0, 10.0)
    ones, many = CollectorRegistry(), CollectorRegistry()
    one_by_one = Histogram("seconds", "Of a test.", buckets=buckets, registry=ones)
    at_once = BulkHistogram("seconds", "Of a test.", buckets=buckets, registry=many)
    for amount in amounts:
        one_by_one.observe(amount)
    at_once.observe_many(amounts)
    assert list(ones.collect()) == list(many.collect())
