"""The vocabulary of reports, and the figures that they show.  Nothing here does any I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

#: The type of the jobs that write.
JOB_TYPE = "report_generation"
#: Figures of jobs by the hour are kept for so long.
MAX_DAYS = 90
DEFAULT_DAYS = 7


class ReportKind(StrEnum):
    """What a report is about."""

    OPERATIONS = "operations"
    SOURCE = "source"


class ReportFormat(StrEnum):
    """What it is written as; also the end of its file's name."""

    HTML = "html"
    CSV = "csv"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportDraft:
    """What somebody asks for; ``source`` only where the kind is ``source``."""

    kind: str = ReportKind.OPERATIONS
    format: str = ReportFormat.HTML
    days: int = DEFAULT_DAYS
    source: str = ""
    channels: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Attempts that ended, as the figures of jobs count them."""

    runs: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    dead: int = 0

    @property
    def success_rate(self) -> float | None:
        """Return the share of what ended well or badly that ended well, 0-100."""
        ended = self.succeeded + self.failed
        return 100 * self.succeeded / ended if ended else None

    def plus(self, other: "Counts") -> "Counts":
        """Return both together."""
        return Counts(
            runs=self.runs + other.runs,
            succeeded=self.succeeded + other.succeeded,
            failed=self.failed + other.failed,
            retried=self.retried + other.retried,
            dead=self.dead + other.dead,
        )


@dataclass(frozen=True, slots=True)
class DayOfType:
    """How the attempts of one type went that ended on one day, in UTC."""

    day: date
    type: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class CauseCount:
    """How many dead letters one cause made."""

    type: str
    exception_type: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class NamedCount:
    """How often something happened to a thing."""

    name: str
    what: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """How the jobs of some days went, and what else happened; from ``since`` to ``until``."""

    since: datetime
    until: datetime
    days: Sequence[DayOfType]
    letters: Sequence[CauseCount]
    openings: Sequence[NamedCount]
    flag_changes: Sequence[NamedCount]

    def by_type(self) -> dict[str, Counts]:
        """Return the counts of each type over all days, by name."""
        found: dict[str, Counts] = {}
        for item in self.days:
            found[item.type] = found.get(item.type, Counts()).plus(item.counts)
        return dict(sorted(found.items()))

    def by_day(self) -> dict[date, Counts]:
        """Return the counts of each day that has some over all types, oldest first."""
        found: dict[date, Counts] = {}
        for item in self.days:
            found[item.day] = found.get(item.day, Counts()).plus(item.counts)
        return dict(sorted(found.items()))

    def total(self) -> Counts:
        """Return the counts of all types over all days."""
        total = Counts()
        for item in self.days:
            total = total.plus(item.counts)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFigures:
    """One reading of a source."""

    started_at: datetime
    ended_at: datetime | None
    status: str
    processed: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFigures:
    """A source, its readings of some days (the newest first) and its first records."""

    name: str
    kind: str
    records: int
    since: datetime
    until: datetime
    runs: Sequence[RunFigures]
    capped: bool
    sample: Sequence[dict[str, str]]
