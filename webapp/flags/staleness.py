"""When a flag has outlived its use.  Pure: it sees when things happened, and what time it is."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from webapp.flags.values import FlagState

STALE_AFTER: Final = timedelta(days=30)

# In these everybody gets one answer; the rest still chooses, has yet to begin, or is out of use.
_SETTLED: Final = frozenset(
    {FlagState.ON, FlagState.OFF, FlagState.KILLED, FlagState.EXPIRED},
)


class Staleness(StrEnum):
    """Why a flag is stale."""

    UNUSED = "unused"
    SETTLED = "settled"


class FlagAge(NamedTuple):
    """What has become of a flag.

    ``changed_at`` is the last time that its answers could change: somebody's change, or an end of
    its window.  ``counted_since`` is when evaluations began to be counted at all, None where they
    are not: nobody can tell then whether a flag is asked for.
    """

    state: FlagState
    created_at: datetime
    changed_at: datetime
    last_evaluated_at: datetime | None
    counted_since: datetime | None


def last_turn(updated_at: datetime, *window: datetime | None, now: datetime) -> datetime:
    """Return the last time that a flag's answers could change, by hand or by its window."""
    return max([updated_at, *(turn for turn in window if turn is not None and turn <= now)])


def staleness_of(flag: FlagAge, *, now: datetime) -> Staleness | None:
    """Say why a flag is stale: nobody asks for it, or it answers everybody alike for long."""
    if flag.state is FlagState.ARCHIVED:
        return None
    if flag.counted_since is not None:
        watched_since = max(flag.created_at, flag.counted_since)
        if now - (flag.last_evaluated_at or watched_since) >= STALE_AFTER:
            return Staleness.UNUSED
    if flag.state in _SETTLED and now - flag.changed_at >= STALE_AFTER:
        return Staleness.SETTLED
    return None
