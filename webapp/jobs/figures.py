"""How jobs went: what pages and programs are told of it, from the rows of ``job_metrics``.

Never asks the jobs or their attempts, however many there are.  Figures are at most some ten
seconds old.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from webapp.db import DbSession
from webapp.jobs.histograms import Counts, percentile
from webapp.jobs.models import JobMetric
from webapp.jobs.rollup import COUNTS, HOUR, MINUTE, floor, sum_of

HOURS = 24
MINUTES = 60
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class TypeHealth:
    """How the attempts of one type went in the last 24 hours; ``hours`` is oldest first."""

    type: str
    succeeded: int
    failed: int
    hours: Sequence[tuple[int, int]]

    @property
    def runs(self) -> int:
        """Return the attempts that ended well or badly."""
        return self.succeeded + self.failed

    @property
    def success_rate(self) -> float | None:
        """Return the share that succeeded, 0-100."""
        return 100 * self.succeeded / self.runs if self.runs else None


def type_health(session: DbSession, *, now: datetime) -> list[TypeHealth]:
    """Return the health of each type that ran in this hour and the 23 before it: one statement."""
    starts = starts_of(now, HOUR, HOURS)
    by_type: dict[str, dict[datetime, tuple[int, int]]] = {}
    for row in session.execute(
        select(
            JobMetric.type,
            JobMetric.at,
            JobMetric.succeeded,
            (JobMetric.failed + JobMetric.lost).label("bad"),
        ).where(JobMetric.seconds == HOUR, JobMetric.at >= starts[0])
    ):
        if row.succeeded or row.bad:
            by_type.setdefault(row.type, {})[row.at] = (row.succeeded, row.bad)
    return [
        TypeHealth(
            type=name,
            succeeded=sum(good for good, _ in hours.values()),
            failed=sum(bad for _, bad in hours.values()),
            hours=[hours.get(start, (0, 0)) for start in starts],
        )
        for name, hours in sorted(by_type.items())
    ]


@dataclass(frozen=True, slots=True)
class Step:
    """What ended in one minute or hour, of all types or of one; ``counts`` by their names."""

    at: datetime
    counts: Mapping[str, int]


def throughput(
    session: DbSession, *, now: datetime, seconds: int = MINUTE, type_name: str = ""
) -> list[Step]:
    """Return what ended in each of the last 60 minutes or 24 hours, oldest first: one statement.

    The last one is the present, and goes on.
    """
    starts = starts_of(now, seconds, MINUTES if seconds == MINUTE else HOURS)
    sums = [func.sum(getattr(JobMetric, name)).label(name) for name in COUNTS]
    wanted = select(JobMetric.at, *sums).where(
        JobMetric.seconds == seconds, JobMetric.at >= starts[0]
    )
    if type_name:
        wanted = wanted.where(JobMetric.type == type_name)
    found = {row.at: row for row in session.execute(wanted.group_by(JobMetric.at))}
    return [
        Step(at, {name: int(getattr(found[at], name)) if at in found else 0 for name in COUNTS})
        for at in starts
    ]


@dataclass(frozen=True, slots=True)
class TypeFigures:
    """How the attempts of one type went in the last 60 minutes.

    ``run_seconds`` and ``wait_seconds`` are by percentile, None where nothing was counted.
    """

    type: str
    counts: Mapping[str, int]
    run_seconds: Mapping[int, float | None]
    wait_seconds: Mapping[int, float | None]


def type_figures(session: DbSession, *, now: datetime) -> list[TypeFigures]:
    """Return the figures of each type that ran in the last 60 minutes: one statement."""
    by_type: dict[str, list[JobMetric]] = {}
    since = starts_of(now, MINUTE, MINUTES)[0]
    for row in session.scalars(
        select(JobMetric).where(JobMetric.seconds == MINUTE, JobMetric.at >= since)
    ):
        by_type.setdefault(row.type, []).append(row)
    return [_figures(name, rows) for name, rows in sorted(by_type.items())]


def _figures(name: str, rows: Sequence[JobMetric]) -> TypeFigures:
    sums = sum_of(rows)
    return TypeFigures(
        type=name,
        counts={count: sums[count] for count in COUNTS},
        run_seconds=_percentiles(sums["run_buckets"]),
        wait_seconds=_percentiles(sums["wait_buckets"]),
    )


def _percentiles(counts: Counts) -> dict[int, float | None]:
    return {percent: percentile(counts, percent) for percent in PERCENTILES}


@dataclass(frozen=True, slots=True)
class HourOfType:
    """What ended of one type in the hour from ``at``; ``counts`` by their names."""

    type: str
    at: datetime
    counts: Mapping[str, int]


def hours_between(session: DbSession, since: datetime, until: datetime) -> list[HourOfType]:
    """Return what ended in each hour that begins in a time, oldest first: one statement."""
    columns = [getattr(JobMetric, name) for name in COUNTS]
    rows = session.execute(
        select(JobMetric.type, JobMetric.at, *columns)
        .where(JobMetric.seconds == HOUR, JobMetric.at >= since, JobMetric.at < until)
        .order_by(JobMetric.at, JobMetric.type)
    )
    return [
        HourOfType(row.type, row.at, {name: int(getattr(row, name)) for name in COUNTS})
        for row in rows
    ]


def starts_of(now: datetime, seconds: int, number: int) -> list[datetime]:
    """Return the beginnings of the last spans of so many seconds, the present one last."""
    present = floor(now, seconds)
    return [present - timedelta(seconds=seconds * back) for back in reversed(range(number))]


def outcomes_since(
    session: DbSession, since: datetime, *, seconds: int = MINUTE
) -> dict[str, tuple[int, int]]:
    """Count what ended well and badly of each type since a time: one statement.

    By the minutes or hours that lie behind it, and the one in which it lies.
    """
    rows = session.execute(
        select(
            JobMetric.type,
            func.sum(JobMetric.succeeded),
            func.sum(JobMetric.failed + JobMetric.lost),
        )
        .where(JobMetric.seconds == seconds, JobMetric.at >= floor(since, seconds))
        .group_by(JobMetric.type)
    )
    return {name: (int(good), int(bad)) for name, good, bad in rows}


@dataclass(frozen=True, slots=True)
class Ended:
    """What ended well and badly of one type in the minute or hour from ``at``."""

    type: str
    at: datetime
    good: int
    bad: int


def ended_since(
    session: DbSession, since: datetime, *, seconds: int, type_name: str, limit: int
) -> list[Ended]:
    """Return what ended in each minute or hour since a time, oldest first: one statement.

    Of all types, or of one; the newest so many rows.
    """
    bad = JobMetric.failed + JobMetric.lost
    wanted = select(JobMetric.type, JobMetric.at, JobMetric.succeeded, bad).where(
        JobMetric.seconds == seconds, JobMetric.at >= floor(since, seconds)
    )
    if type_name:
        wanted = wanted.where(JobMetric.type == type_name)
    rows = session.execute(wanted.order_by(JobMetric.at.desc()).limit(limit)).tuples()
    return [Ended(*row) for row in rows][::-1]
