"""The vocabulary of health: what is known of jobs and their surroundings, and what is said of it.

Nothing here does any I/O.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from webapp.alerts.values import Severity

#: Attempts of which fewer ended say nothing of a share.
FEWEST_RUNS: Final = 5
#: Shares of attempts that failed, in percent: worth a look, and more often than not.
WARNING_PERCENT: Final = 20
FAILING_PERCENT: Final = 50
#: A job that has been due for so long waits too long.
LATE_SECONDS: Final = 15 * 60
#: Open dead letters beyond which they are more than something to look at.
MANY_LETTERS: Final = 50
TOO_MANY_LETTERS: Final = 100


class Level(StrEnum):
    """From well to worst: something wants a look, work fails or is late, work is not done."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Return 0 for well, more for worse."""
        return list(Level).index(self)


@dataclass(frozen=True, slots=True)
class Ended:
    """Attempts of some time that ended well or badly."""

    succeeded: int = 0
    failed: int = 0

    @property
    def runs(self) -> int:
        """Return how many ended."""
        return self.succeeded + self.failed

    @property
    def failed_percent(self) -> float | None:
        """Return the share that failed, 0-100; None where too few ended."""
        return 100 * self.failed / self.runs if self.runs >= FEWEST_RUNS else None

    @property
    def success_rate(self) -> float | None:
        """Return the share that succeeded, 0-100; None where none ended."""
        return 100 * self.succeeded / self.runs if self.runs else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeEvidence:
    """What is known of one type of job; ages in seconds.

    ``hour`` and ``day`` are the attempts of the last 60 minutes and 24 hours.  ``oldest_due`` is
    the wait of the job that has been due for longest, ``unserved`` are queues in which jobs are due
    that no living worker takes.  ``paused`` names what is paused, the type or its queue: what waits
    for that waits as it was told to, and is in neither.
    """

    type: str
    hour: Ended = Ended()
    day: Ended = Ended()
    last_run_ago: float | None = None
    oldest_due: float | None = None
    unserved: Sequence[str] = ()
    open_letters: int = 0
    paused: str = ""


class IssueKind(StrEnum):
    """What may be wrong with a type of job, worst first."""

    UNSERVED = "unserved"
    FAILING = "failing"
    LATE = "late"
    FAILING_OFTEN = "failing_often"
    PAUSED = "paused"
    DEAD_LETTERS = "dead_letters"


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong with a type of job, in words that hold the figures."""

    kind: IssueKind
    level: Level
    words: str


@dataclass(frozen=True, slots=True)
class TypeVerdict:
    """How one type of job stands, why, and by what figures."""

    evidence: TypeEvidence
    level: Level
    issues: Sequence[Issue]

    @property
    def type(self) -> str:
        """Return the type's name."""
        return self.evidence.type


#: What a firing alert makes of the whole.
SEVERITY_LEVELS: Final[Mapping[Severity, Level]] = {
    Severity.INFO: Level.HEALTHY,
    Severity.WARNING: Level.DEGRADED,
    Severity.ERROR: Level.UNHEALTHY,
    Severity.CRITICAL: Level.CRITICAL,
}


@dataclass(frozen=True, slots=True)
class FiringAlert:
    """An alert that fires; ``name`` is that of its rule, with what it is about."""

    name: str
    severity: Severity
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What the whole is judged by, beside its types of job.

    ``signals_down`` is where processes cannot tell each other of changed flags.  Where there are to
    be no workers, none is missed.
    """

    workers_alive: int
    schedulers_alive: int
    open_breakers: int
    open_letters: int
    flags_stale: bool
    signals_down: bool
    has_workers: bool = True


@dataclass(frozen=True, slots=True)
class Assessment:
    """One word, a sentence for each reason, worst first, and the types and alerts behind them."""

    level: Level
    reasons: tuple[str, ...]
    types: Sequence[TypeVerdict] = ()
    alerts: Sequence[FiringAlert] = ()
