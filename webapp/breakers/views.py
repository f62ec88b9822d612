"""Circuits as pages and programs are shown them, and what narrows a list of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from webapp.breakers.lifecycle import effective_state
from webapp.breakers.values import BreakerState, Control, EventKind, Tally, Thresholds
from webapp.errors import Invalid


class Standing:
    """How a breaker stands, in the words of the filters; what is forced comes first."""

    OPEN = "open"
    HALF_OPEN = "half_open"
    CLOSED = "closed"
    FORCED_OPEN = "forced_open"
    FORCED_CLOSED = "forced_closed"
    SHADOW = "shadow"
    ALL = (OPEN, HALF_OPEN, CLOSED, FORCED_OPEN, FORCED_CLOSED, SHADOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One transition, reset, force or change of thresholds."""

    id: int
    at: datetime
    kind: EventKind
    old: BreakerState
    new: BreakerState
    error: str | None
    note: str | None
    reason: str | None
    actor: str


@dataclass(frozen=True, slots=True)
class Use:
    """Who calls through a breaker."""

    caller: str
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRow:
    """One circuit as it is shown.

    ``state`` is that of the circuit by the clock, ``standing`` what a force makes of it.
    ``trial_at`` is when an open one lets a call through.  ``series`` are the counts by minute of
    all processes, oldest first; the last minute is not over.  ``recent`` sums those up that the
    window of the thresholds reaches back to.
    """

    name: str
    state: BreakerState
    standing: str
    failures: int
    thresholds: Thresholds
    declared: Thresholds | None
    customized: bool
    revision: int
    open_seconds: float
    open_until: datetime | None
    trial_at: datetime | None
    trial_until: datetime | None
    successes: int
    last_error: str | None
    control: Control
    updated_at: datetime
    series: Sequence[Tally]
    events: Sequence[Event]
    callers: Sequence[Use]

    @property
    def failure_threshold(self) -> int:
        """Return how many failures in a row open it."""
        return self.thresholds.failures

    @property
    def effective(self) -> BreakerState:
        """Return what a call meets."""
        return effective_state(self.state, self.control.force)

    @property
    def recent_minutes(self) -> int:
        """Return how many minutes back ``recent`` reaches: the window's, and the present one."""
        return -(-self.thresholds.window_seconds // 60) + 1

    @property
    def recent(self) -> Tally:
        """Return what all processes counted lately."""
        return sum(self.series[-self.recent_minutes :], Tally())

    @property
    def last_minute(self) -> Tally:
        """Return what they counted in the last minute that is over."""
        return self.series[-2] if len(self.series) > 1 else Tally()

    @property
    def total(self) -> Tally:
        """Return what they counted in all minutes shown."""
        return sum(self.series, Tally())

    @property
    def source(self) -> str | None:
        """Return the source that it protects, where its name says so."""
        kind, _, name = self.name.partition(":")
        return name if kind == "source" and name else None

    @property
    def touched(self) -> bool:
        """Tell whether there is anything to reset."""
        return bool(self.standing != Standing.CLOSED or self.failures)


@dataclass(frozen=True, slots=True)
class BreakerFilters:
    """What narrows the list; an empty text asks for everything."""

    text: str = ""
    state: str = ""

    @property
    def any(self) -> bool:
        """Tell whether anything is narrowed."""
        return bool(self.text or self.state)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the list a page lies: after or before one breaker, by its rank and name."""

    rank: int
    name: str
    backwards: bool = False

    @classmethod
    def read(cls, text: str, *, backwards: bool) -> "Place":
        """Read a place as :attr:`text` wrote it."""
        rank, _, name = text.partition(":")
        if rank not in {"0", "1"} or not name or "\0" in name:
            raise Invalid.field("before" if backwards else "after", "No place in this list.")
        return cls(int(rank), name, backwards)


@dataclass(frozen=True, slots=True)
class BreakerList:
    """One page of the list, how many circuits stand how, and where its neighbours begin."""

    rows: Sequence[BreakerRow]
    total: int
    counts: Mapping[str, int]
    previous: str | None
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How all circuits stand, and what they counted in the last hour, the present minute too."""

    counts: Mapping[str, int]
    minutes: int
    total: Tally
    trips: int
    worst: Sequence[tuple[str, Tally]]
