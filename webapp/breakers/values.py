"""The vocabulary of breakers: states, thresholds, forces, what processes tell each other.

Nothing here touches the database, the clock or pybreaker.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self

from webapp.errors import Invalid

MAX_NAME = 200
MAX_ERROR = 500
DAY_SECONDS: Final = 86_400.0


class BreakerState(StrEnum):
    """Where a circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Force(StrEnum):
    """What a person has a breaker do, whatever its calls come to.

    ``open`` refuses every call and ``closed`` lets every call through; ``shadow`` lets every call
    through too, and goes on deciding and counting what it would have refused.
    """

    NONE = "none"
    OPEN = "open"
    CLOSED = "closed"
    SHADOW = "shadow"


class EventKind(StrEnum):
    """Why something stands in the history of a breaker."""

    TRANSITION = "transition"
    RESET = "reset"
    FORCE = "force"
    THRESHOLDS = "thresholds"


# The least and the most of each threshold.
BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "failures": (1, 1000),
    "successes": (1, 100),
    "open_seconds": (0.1, DAY_SECONDS),
    "failure_rate": (1, 100),
    "window_seconds": (1, 600),
    "window_calls": (1, 10_000),
    "slow_seconds": (0.001, 3600),
    "slow_rate": (1, 100),
    "growth": (1, 10),
    "max_open_seconds": (0.1, DAY_SECONDS),
    "trial_seconds": (0.1, 3600),
}
WHOLE: Final = frozenset({"failures", "successes", "window_seconds", "window_calls"})
# None switches these off.
MAY_BE_OFF: Final = frozenset({"failure_rate", "slow_seconds"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When a circuit opens and closes; all times in seconds, rates in percent.

    ``failures`` in a row open it.  So does a ``failure_rate`` among at least ``window_calls`` calls
    of the last ``window_seconds``, and a ``slow_rate`` of calls there that took ``slow_seconds`` or
    longer; None switches either off.  It stays open for ``open_seconds``; each trial that fails
    makes that ``growth`` times as long, up to ``max_open_seconds``.  ``successes`` in a row close
    it again.  A trial that takes longer than ``trial_seconds`` is given up for lost.
    """

    failures: int = 5
    successes: int = 2
    open_seconds: float = 30.0
    failure_rate: float | None = 50.0
    window_seconds: int = 60
    window_calls: int = 10
    slow_seconds: float | None = None
    slow_rate: float = 50.0
    growth: float = 1.0
    max_open_seconds: float = 300.0
    trial_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what makes no circuit; an open time beyond the cap is a cap of its own."""
        if errors := complaints(asdict(self)):
            name, texts = next(iter(errors.items()))
            raise ValueError(f"{name}: {texts[0]}")

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Self:
        """Return the thresholds with these values; :class:`Invalid` with all that is wrong."""
        if errors := complaints(values):
            name, texts = next(iter(errors.items()))
            raise Invalid(f"{name}: {texts[0]}", errors)
        return cls(**values)

    @classmethod
    def stored(cls, values: Mapping[str, Any] | None) -> Self | None:
        """Return thresholds as another version of this program may have stored them."""
        if values is None:
            return None
        known = {item.name for item in fields(cls)}
        kept = {name: value for name, value in values.items() if name in known}
        return None if complaints(kept) else cls(**kept)

    def to_json(self) -> dict[str, Any]:
        """Return what a column of JSON keeps."""
        return asdict(self)

    def with_given(self, given: Mapping[str, Any]) -> "Thresholds":
        """Return these thresholds with some of them changed, checked."""
        return Thresholds.checked({**asdict(self), **given})

    def open_for(self, trips: int) -> float:
        """Return how long a circuit stays open that has been opened so often in a row."""
        cap = max(self.max_open_seconds, self.open_seconds)
        if self.growth == 1:
            return self.open_seconds
        # Beyond so many the cap holds in any case, and the power would overflow.
        grown = self.open_seconds * self.growth ** min(max(trips - 1, 0), 64)
        return min(grown, cap)


def complaints(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what is wrong with values of thresholds, by name."""
    errors = {name: _complaint(name, value) for name, value in values.items()}
    return {name: [text] for name, text in errors.items() if text}


def _complaint(name: str, value: object) -> str:
    if name not in BOUNDS:
        return "There is no such threshold."
    if value is None:
        return "" if name in MAY_BE_OFF else "Is needed."
    least, most = BOUNDS[name]
    number = "whole number" if name in WHOLE else "number"
    kinds = (int,) if name in WHOLE else (int, float)
    # NaN lies within no bounds.
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        return f"A {number} from {least:g} to {most:g}."
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What a person has a breaker do, why and until when; ``until`` None has no end."""

    force: Force = Force.NONE
    until: datetime | None = None
    reason: str | None = None
    by: str | None = None

    def at(self, now: datetime) -> Force:
        """Return what holds at a time: a force whose time is over does not."""
        over = self.until is not None and self.until <= now
        return Force.NONE if over else self.force


UNFORCED: Final = Control()


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedState:
    """What all processes know of one circuit.

    ``version`` rises with each transition, ``revision`` with each change of thresholds by a person,
    whose ``thresholds`` win over those ``declared`` in code.  ``opens`` counts how often it was
    opened since it was last closed, ``successes`` its trials since the last of these.
    ``trial_until`` is until when the one trial may run.
    """

    name: str
    state: BreakerState
    opened_at: datetime | None
    open_seconds: float
    failures: int
    failure_threshold: int
    last_error: str | None
    version: int
    open_until: datetime | None = None
    opens: int = 0
    successes: int = 0
    trial_until: datetime | None = None
    declared: Thresholds | None = None
    thresholds: Thresholds | None = None
    revision: int = 0
    control: Control = UNFORCED


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One change of state, as the process in which it happened tells it.

    ``error`` is what caused it, None where a success did; ``failures`` are those in a row;
    ``generation`` numbers the changes of that process's circuit.
    """

    name: str
    generation: int
    old: BreakerState
    new: BreakerState
    at: datetime
    open_seconds: float
    failures: int
    failure_threshold: int
    error: str | None
    opens: int = 0
    successes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnd:
    """A trial that left its circuit half open; the next one may begin."""

    name: str
    generation: int
    successes: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What a breaker has counted: ends of calls, failures, slow calls, refused ones.

    ``spared`` are calls that a shadow breaker would have refused and let through, ``neutral`` those
    among the ``calls`` that say nothing about the service, and are in no rate.
    """

    calls: int = 0
    failures: int = 0
    slow: int = 0
    refused: int = 0
    spared: int = 0
    neutral: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        """Add count by count."""
        return _joined(self, other, 1)

    def __sub__(self, other: "Tally") -> "Tally":
        """Return what was counted since ``other``."""
        return _joined(self, other, -1)

    def __bool__(self) -> bool:
        """Tell whether anything was counted."""
        return self != _NOTHING

    @property
    def failure_rate(self) -> float | None:
        """Return the share of failures in percent."""
        return 100 * self.failures / self.judged if self.judged else None

    @property
    def slow_rate(self) -> float | None:
        """Return the share of slow calls in percent."""
        return 100 * self.slow / self.judged if self.judged else None

    @property
    def judged(self) -> int:
        """Return how many calls succeeded or failed."""
        return self.calls - self.neutral

    @property
    def succeeded(self) -> int:
        """Return how many calls succeeded."""
        return self.judged - self.failures


def _joined(one: Tally, other: Tally, sign: int) -> Tally:
    return Tally(
        one.calls + sign * other.calls,
        one.failures + sign * other.failures,
        one.slow + sign * other.slow,
        one.refused + sign * other.refused,
        one.spared + sign * other.spared,
        one.neutral + sign * other.neutral,
    )


_NOTHING: Final = Tally()
