"""Which bucket of a rollout a subject falls into.  Pure arithmetic, the same in every process.

Buckets are whole hundredths of a percent (0 to 9999), because a float such as 25 + 7/100 does not
always equal 25.07 and two programs must never disagree about one subject.
"""

from typing import Final

from mmh3 import hash as murmur3

EVERYBODY: Final = 10_000


def bucket_of(stickiness: str, subject: str) -> int:
    """Return the bucket of a subject in hundredths of a percent: on when below the threshold.

    ``m = murmur3_32("stickiness:subject")`` with seed 0; its last two decimal digits are the whole
    percent, as in the Unleash SDKs (``m % 100 + 1 <= percentage``), the two before them the
    hundredths.
    """
    # mmh3 crashes the process on text that holds half of a surrogate pair, and JSON can carry one:
    # it is given bytes only.
    data = f"{stickiness}:{subject}".encode("utf-8", "surrogatepass")
    spread: int = murmur3(data, 0, False)  # positional: half the cost of a keyword
    return spread % 100 * 100 + spread // 100 % 100


def threshold_of(percentage: float) -> int:
    """Return a percentage (0 to 100, two decimals) in hundredths of a percent."""
    return round(percentage * 100)
