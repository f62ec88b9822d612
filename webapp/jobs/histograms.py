"""How durations are counted, and what percentiles are read from the counts.  Pure.

The buckets are fixed and logarithmic, so that counts of different minutes, hours and types add up:
the first ends at a millisecond, each further one √2 times as far as the one before it, and the last
begins at 12.4 days and has no end.  A percentile is therefore right to within a factor of √2.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Final

#: Where each bucket ends, in seconds; a duration of exactly so long falls into the next.
BOUNDS: Final = tuple(0.001 * 2 ** (step / 2) for step in range(61))
LAST: Final = len(BOUNDS)

#: How many durations fell into each bucket; empty ones at the end are left out.
Counts = Sequence[int]


def bucket_of(seconds: float) -> int:
    """Return the bucket that a duration falls into; one below zero falls into the first."""
    return bisect_right(BOUNDS, seconds)


def counted(buckets: Iterable[tuple[int, int]]) -> list[int]:
    """Return counts from pairs of a bucket and how many durations fell into it."""
    counts: list[int] = []
    for bucket, number in buckets:
        counts.extend([0] * (bucket + 1 - len(counts)))
        counts[bucket] += number
    return counts


def added(many: Iterable[Counts]) -> list[int]:
    """Return the sum of several counts."""
    return [sum(numbers) for numbers in zip_longest(*many, fillvalue=0)]


def percentile(counts: Counts, percent: float) -> float | None:
    """Return the duration that so many percent of all do not exceed; None where there is none.

    Inside a bucket durations are taken as evenly spread.  What fell into the last one is told as
    its beginning.
    """
    total = sum(counts)
    if not total:
        return None
    rank = max(1.0, total * percent / 100)
    below = 0
    for bucket, number in enumerate(counts):
        if below + number >= rank:
            low, high = _span(bucket)
            return low + (high - low) * (rank - below) / number
        below += number
    # The ranks' sum is rounded: the highest percentile may miss the end by a hair.
    return _span(len(counts) - 1)[1]


def _span(bucket: int) -> tuple[float, float]:
    low = BOUNDS[bucket - 1] if bucket else 0.0
    return low, BOUNDS[bucket] if bucket < LAST else low
