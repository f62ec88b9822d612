"""A moving window: the times of the calls that still count.

Pure: the time (seconds of a monotonic clock) is an argument.  The memory storage of ``limits`` goes
by the clock on the wall, which may be set, and starts a thread for each call, so a process that is
alone counts with this instead.
"""

from collections import deque

from webapp.limits.values import Usage

# In seconds.  What is left may be too little to be told from nothing.
LEAST_WAIT = 0.001


class MovingWindow:
    """The calls of one name, the oldest first; whoever shares one takes a lock."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def take(self, now: float, *, calls: int, seconds: float) -> float:
        """Count a call and return 0, or return the seconds until it is worth another try.

        A call counts for ``seconds``, and no longer at their very end.
        """
        self._forget(now - seconds)
        if len(self._times) < calls:
            self._times.append(now)
            return 0.0
        # Where the limit was lowered, more than one has to be forgotten first.
        return max(self._times[-calls] + seconds - now, LEAST_WAIT)

    def note(self, now: float, *, seconds: float) -> None:
        """Count a call that somebody else has let through."""
        self._forget(now - seconds)
        self._times.append(now)

    def usage(self, now: float, *, seconds: float) -> Usage:
        """Return how many calls count now."""
        self._forget(now - seconds)
        oldest = self._times[0] if self._times else None
        return Usage(len(self._times), None if oldest is None else oldest + seconds - now)

    def _forget(self, before: float) -> None:
        while self._times and self._times[0] <= before:
            self._times.popleft()
