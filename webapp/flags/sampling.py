"""How many different subjects there are, from samples of their hashes.  Pure.

A sample keeps the smallest hashes that were seen, at most :data:`SIZE`.  While there are fewer, it
knows every subject; beyond that the largest that it keeps tells how densely the hashes lie.  The
samples of several processes and hours are joined without counting anybody twice.

The estimate is that of the k smallest values (Bar-Yossef et al., "Counting distinct elements in a
data stream", 2002); its standard error is 1 / sqrt(SIZE - 2), 6 %.
"""

import sys
from array import array
from collections.abc import Iterable
from typing import Final

from webapp.flags.bucketing import HASHES

SIZE: Final = 256
# A sample is cut when it has grown so far, not with every hash.
_SLACK: Final = 2


class SubjectSample:
    """The smallest hashes that one process saw; :attr:`limit` is what a hash must be below.

    Any thread may add while another takes.
    """

    __slots__ = ("_hashes", "limit")

    def __init__(self) -> None:
        self.limit = HASHES
        self._hashes: set[int] = set()

    def add(self, spread: int) -> None:
        """Keep a hash, and cut the sample where it has grown too long."""
        hashes = self._hashes
        hashes.add(spread)
        if len(hashes) > SIZE * _SLACK:
            self._cut(hashes)

    def take(self) -> list[int]:
        """Return the hashes kept, and begin anew."""
        taken, self._hashes, self.limit = self._hashes, set(), HASHES
        return joined([taken.copy()])

    def _cut(self, hashes: set[int]) -> None:
        """Let go of all but the smallest.

        In place, and only of what was seen here: other threads may add and cut meanwhile, and what
        lies below the last that is kept here belongs to every sample.
        """
        seen = hashes.copy()
        last = joined([seen])[-1]
        hashes.difference_update([spread for spread in seen if spread > last])
        # Another thread may have taken them meanwhile, and begun anew.
        if self._hashes is hashes:
            self.limit = last


def joined(samples: Iterable[Iterable[int]]) -> list[int]:
    """Return the sample of all that several samples saw, in order."""
    return sorted({spread for sample in samples for spread in sample})[:SIZE]


def estimate_of(sample: list[int]) -> int:
    """Return about how many different subjects a sample stands for; exact below its size."""
    if len(sample) < SIZE:
        return len(sample)
    return round((SIZE - 1) * HASHES / (sample[-1] + 1))


def packed(sample: Iterable[int]) -> bytes:
    """Write a sample as 32-bit numbers, the least significant byte first."""
    numbers = array("I", sample)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def unpacked(data: bytes) -> list[int]:
    """Read what :func:`packed` wrote."""
    numbers = array("I")
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
