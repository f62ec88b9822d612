"""How many jobs the workers of this consumer have ended, in memory that its processes share.

Each process adds to a place of its own, so that none takes a lock of another: a process that is
killed while it holds one would stop them all.
"""

import mmap
import threading

from webapp.jobs.values import Outcome

_WORD = 8
_COLUMNS = {Outcome.SUCCEEDED: 0, Outcome.FAILED: 1}


class Tally:
    """The counts of one consumer; made before its workers are forked."""

    def __init__(self, places: int) -> None:
        self._counts = memoryview(mmap.mmap(-1, _WORD * len(_COLUMNS) * places)).cast("Q")
        self._place = 0
        # Among the threads of one process, where an addition is no single step.
        self._adding = threading.Lock()

    def take(self, place: int) -> None:
        """Add to this place from now on; a process that replaces another takes over its counts."""
        self._place = place

    def add(self, outcome: Outcome) -> None:
        """Count one job that ended; what only goes back is not counted."""
        column = _COLUMNS.get(outcome)
        if column is not None:
            with self._adding:
                self._counts[self._place * len(_COLUMNS) + column] += 1

    def sums(self) -> tuple[int, int]:
        """Return how many jobs succeeded and how many attempts failed, in all processes."""
        done, failed = (sum(self._counts[column :: len(_COLUMNS)]) for column in range(2))
        return done, failed


_tally = Tally(1)


def begin(places: int) -> Tally:
    """Begin with nothing, for so many processes."""
    global _tally  # noqa: PLW0603 - a process has one consumer
    _tally = Tally(places)
    return _tally


def tally() -> Tally:
    """Return the counts of this process's consumer."""
    return _tally
