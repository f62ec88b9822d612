"""Durations in buckets: sums are exact, percentiles are in the bucket of the true one."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.jobs.histograms import BOUNDS, LAST, added, bucket_of, counted, percentile

durations = st.lists(st.floats(0, 5e6, allow_nan=False), min_size=1, max_size=60)
percents = st.floats(0, 100, allow_nan=False)


def histogram(seconds: list[float]) -> list[int]:
    return counted((bucket_of(item), 1) for item in seconds)


def edges(bucket: int) -> tuple[float, float]:
    return (BOUNDS[bucket - 1] if bucket else 0.0), BOUNDS[min(bucket, LAST - 1)]


@given(durations, percents)
def test_a_percentile_is_in_the_bucket_of_the_true_one(seconds: list[float], share: float) -> None:
    rank = max(1, math.ceil(len(seconds) * share / 100))
    low, high = edges(bucket_of(sorted(seconds)[rank - 1]))
    found = percentile(histogram(seconds), share)
    assert found is not None
    assert min(low, high) <= found <= high


@given(durations, percents, percents)
def test_a_higher_percentile_is_no_shorter(seconds: list[float], one: float, other: float) -> None:
    counts = histogram(seconds)
    low, high = percentile(counts, min(one, other)), percentile(counts, max(one, other))
    assert low is not None
    assert high is not None
    assert low <= high or math.isclose(low, high)


@given(st.lists(durations, max_size=5))
def test_counts_of_parts_add_up_to_those_of_the_whole(parts: list[list[float]]) -> None:
    together = [item for part in parts for item in part]
    assert added(histogram(part) for part in parts) == histogram(together)


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(-1.0, 0), (0.0, 0), (0.0009, 0), (0.001, 1), (BOUNDS[7], 8), (1e9, LAST)],
)
def test_a_bound_belongs_to_the_bucket_that_it_begins(seconds: float, bucket: int) -> None:
    assert bucket_of(seconds) == bucket


def test_bounds_go_up_by_the_root_of_two_from_a_millisecond_to_days() -> None:
    assert BOUNDS[0] == 0.001
    assert 12 * 86_400 < BOUNDS[-1] < 13 * 86_400
    for low, high in itertools.pairwise(BOUNDS):
        assert high / low == pytest.approx(math.sqrt(2))


def test_where_nothing_was_counted_there_is_no_percentile() -> None:
    assert percentile([], 50) is None
    assert percentile([0, 0], 50) is None


def test_what_is_beyond_the_last_bound_is_told_as_the_bound() -> None:
    assert percentile(counted([(LAST, 3)]), 99) == BOUNDS[-1]
