"""Which bucket of a rollout a subject falls into.  Pure arithmetic, the same in every process.

Buckets are whole hundredths of a percent (0 to 9999), because a float such as 25 + 7/100 does not
always equal 25.07 and two programs must never disagree about one subject.
"""

from typing import Final

from mmh3 import mmh3_32_uintdigest as murmur3

EVERYBODY: Final = 10_000
#: Hashes lie below it.
HASHES: Final = 2**32
# The seed of variants in the Unleash SDKs: another one, so that variants do not follow the rollout.
_VARIANT_SEED: Final = 86_028_157


def prefix_of(stickiness: str) -> bytes:
    """Return what stands before a subject in what is hashed."""
    return f"{stickiness}:".encode("utf-8", "surrogatepass")


def spread_of(stickiness: str, subject: str) -> int:
    """Return ``murmur3_32("stickiness:subject")`` with seed 0, from 0 to 2**32 - 1."""
    # Bytes, since mmh3 crashes the process on text that holds half of a surrogate pair, and JSON
    # can carry one.
    return murmur3(prefix_of(stickiness) + subject.encode("utf-8", "surrogatepass"))


def bucket_in(spread: int) -> int:
    """Return the bucket of a hash in hundredths of a percent.

    Its last two decimal digits are the whole percent, as in the Unleash SDKs
    (``m % 100 + 1 <= percentage``), the two before them the hundredths.
    """
    return spread % 100 * 100 + spread // 100 % 100


def bucket_of(stickiness: str, subject: str) -> int:
    """Return the bucket of a subject in hundredths of a percent: on when below the threshold."""
    return bucket_in(spread_of(stickiness, subject))


def threshold_of(percentage: float) -> int:
    """Return a percentage (0 to 100, two decimals) in hundredths of a percent."""
    return round(percentage * 100)


def variant_place(stickiness: str, subject: str, total: int) -> int:
    """Return where among ``total`` weights a subject lies, from 1 on, as the Unleash SDKs do."""
    data = prefix_of(stickiness) + subject.encode("utf-8", "surrogatepass")
    return murmur3(data, _VARIANT_SEED) % total + 1
