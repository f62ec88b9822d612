"""The retry budget of a name: how many of its calls may be repeated.

When a service is away every caller fails at once, and callers that all repeat make three times the
load of the thing that is down.  So of the calls under one name in a minute a fifth may be repeated,
and ten in any case.
"""

import os
import threading

#: Retries are at most this share of the calls in a window.
SHARE = 0.2
#: So many are always allowed in a window.
ALWAYS = 10
WINDOW_SECONDS = 60.0

_SLOTS = 12
_SLOT_SECONDS = WINDOW_SECONDS / _SLOTS


class RetryBudget:
    """Calls and retries of the last minute, in slots of five seconds.

    Each call puts a fifth of a token into the bucket, a retry takes one, and tokens are worth
    nothing after a minute.  Threads may count a call too few, never one too many.
    """

    __slots__ = ("_calls", "_calls_now", "_lock", "_retries", "_slot")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slot = 0
        self._calls_now = 0
        self._calls = [0] * _SLOTS
        self._retries = [0] * _SLOTS

    def count_call(self, now: float) -> None:
        """Count a call that was begun ``now``, in seconds of the monotonic clock."""
        if now // _SLOT_SECONDS != self._slot:
            with self._lock:
                self._turn(int(now // _SLOT_SECONDS))
        self._calls_now += 1

    def spend(self, now: float) -> bool:
        """Take a retry from the budget; False where it is spent."""
        with self._lock:
            self._turn(int(now // _SLOT_SECONDS))
            calls = sum(self._calls) + self._calls_now
            if sum(self._retries) >= max(ALWAYS, int(calls * SHARE)):
                return False
            self._retries[self._slot % _SLOTS] += 1
            return True

    def _turn(self, slot: int) -> None:
        """Go on to the slot of this moment and empty those that have become too old."""
        if slot <= self._slot:
            return
        self._calls[self._slot % _SLOTS] += self._calls_now
        self._calls_now = 0
        for passed in range(max(self._slot + 1, slot - _SLOTS + 1), slot + 1):
            self._calls[passed % _SLOTS] = self._retries[passed % _SLOTS] = 0
        self._slot = slot

    def begin_process(self) -> None:
        """Replace the lock after a fork, since another thread may have held it."""
        self._lock = threading.Lock()


_budgets: dict[str, RetryBudget] = {}


def retry_budget(name: str) -> RetryBudget:
    """Return the budget of the calls under ``name`` in this process; equal names share one."""
    return _budgets.get(name) or _budgets.setdefault(name, RetryBudget())


def _begin_process() -> None:
    for budget in list(_budgets.values()):
        budget.begin_process()


os.register_at_fork(after_in_child=_begin_process)
