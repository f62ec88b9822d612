"""The vocabulary of breakers: states, thresholds, what processes tell each other.

Nothing here touches the database, the clock or pybreaker.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

MAX_NAME = 200
MAX_ERROR = 500


class BreakerState(StrEnum):
    """Where a circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When a circuit opens and closes; ``open_seconds`` is how long it stays open.

    ``failures`` in a row open it; ``successes`` in a row close it again.
    """

    failures: int = 5
    successes: int = 2
    open_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedState:
    """What all processes know of one circuit; ``version`` rises with each transition."""

    name: str
    state: BreakerState
    opened_at: datetime | None
    open_seconds: float
    failures: int
    failure_threshold: int
    last_error: str | None
    version: int


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
