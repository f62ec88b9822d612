"""Which records are learnt from, and which are held out to score by.  Pure.

Both follow from a record's key alone.  So a version that is trained today and one that is trained
next month hold out the same records, and each can be scored on what neither has learnt from.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final

import mmh3

from webapp.predictions.values import Cell

_WHOLE: Final = 2**32
# Two draws that know nothing of one another: else a sample would be all held out, or nothing of it.
_HELD_OUT: Final = 0x5EED
_SAMPLED: Final = 0xDA7A


@dataclass(frozen=True, slots=True)
class Row:
    """A record that is learnt from or scored by."""

    key: str
    content_hash: str
    cells: Mapping[str, Cell]


def is_held_out(key: str, share: float) -> bool:
    """Tell whether the record with this key is held out; a larger share holds out more beside."""
    return _draw(key, _HELD_OUT) < share * _WHOLE


@dataclass(slots=True)
class Sample:
    """At most so many rows of however many are offered: those whose draw is lowest.

    Which they are depends neither on the order in which they come nor on what else was sampled
    before, and each row is as likely as any other.
    """

    limit: int
    offered: int = 0
    # The highest draw comes first: it is the next to go.
    _drawn: list[tuple[int, str]] = field(default_factory=list)
    _rows: dict[str, Row] = field(default_factory=dict)

    def offer(self, row: Row) -> None:
        """Take a row, unless enough have a lower draw."""
        self.offered += 1
        place = (-_draw(row.key, _SAMPLED), row.key)
        if len(self._drawn) >= self.limit and place < self._drawn[0]:
            return
        heappush(self._drawn, place)
        self._rows[row.key] = row
        self._cut()

    def shrink(self, limit: int) -> None:
        """Keep no more than so many, from now on."""
        self.limit = min(self.limit, max(1, limit))
        self._cut()

    def rows(self) -> Iterator[Row]:
        """Yield the rows by key."""
        return (self._rows[key] for key in sorted(self._rows))

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self._rows)

    def _cut(self) -> None:
        while len(self._drawn) > self.limit:
            _, key = heappop(self._drawn)
            del self._rows[key]


def _draw(key: str, seed: int) -> int:
    return mmh3.hash(key.encode("utf-8", "surrogatepass"), seed, signed=False)
