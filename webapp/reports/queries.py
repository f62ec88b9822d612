"""Gathers the figures of reports from the queries of the other capabilities, and lists reports.

Figures of jobs are by the hour, so a report begins and ends with whole hours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from webapp.audit.queries import count_changes
from webapp.breakers.queries import openings_between
from webapp.db import DbSession
from webapp.dead_letters.figures import causes_between
from webapp.jobs.figures import hours_between
from webapp.jobs.service import states_of
from webapp.jobs.values import JobState
from webapp.paging import Cursor, Page, Scan, fetch_page
from webapp.reports.models import Report
from webapp.reports.values import (
    CauseCount,
    Counts,
    DayOfType,
    NamedCount,
    Operations,
    RunFigures,
    SourceFigures,
)
from webapp.sources.queries import fields_after, first_records, runs_between
from webapp.sources.service import find_source

#: So many lines each list of a report has at most.
MOST_LINES = 200
SAMPLE = 20
# Of a source's records so many are in memory at once: what is reached first.
RECORDS_AT_ONCE = 1000
BYTES_AT_ONCE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReportView:
    """A report in the list; ``state`` is ready, the state of its job, or lost with its job."""

    id: int
    kind: str
    format: str
    days: int
    source: str | None
    job_id: int | None
    requested_at: datetime
    requested_by: str
    finished_at: datetime | None
    size: int | None
    state: str

    @property
    def ready(self) -> bool:
        """Tell whether there is a file to download."""
        return self.finished_at is not None


def list_reports(
    session: DbSession, cursor: Cursor, *, kind: str = "", size: int = 50
) -> Page[ReportView]:
    """Return a page of the reports, newest first: three statements."""
    wanted = select(Report)
    if kind:
        wanted = wanted.where(Report.kind == kind)
    page = fetch_page(session, wanted, Scan(Report.id), cursor, present=_row, size=size)
    unfinished = [row.job_id for row in page.rows if row.job_id and not row.finished_at]
    states = states_of(session, unfinished)
    return page.showing([_view(row, states) for row in page.rows])


def view_report(session: DbSession, report: Report) -> ReportView:
    """Return what is shown of one report."""
    states = states_of(session, [report.job_id] if report.job_id else [])
    return _view(report, states)


def _row(report: Report) -> Report:
    return report


def _view(report: Report, states: dict[int, JobState]) -> ReportView:
    state = "ready"
    if report.finished_at is None:
        state = str(states.get(report.job_id or 0, "lost"))
    return ReportView(
        id=report.id,
        kind=report.kind,
        format=report.format,
        days=report.days,
        source=report.source,
        job_id=report.job_id,
        requested_at=report.requested_at,
        requested_by=report.requested_by,
        finished_at=report.finished_at,
        size=report.size,
        state=state,
    )


def gather_operations(session: DbSession, *, days: int, now: datetime) -> Operations:
    """Return how the jobs of the last days went, and what else happened: four statements."""
    since, until = _span(days, now)
    by_day: dict[tuple[object, str], DayOfType] = {}
    for hour in hours_between(session, since, until):
        counts = Counts(
            runs=hour.counts["runs"],
            succeeded=hour.counts["succeeded"],
            failed=hour.counts["failed"] + hour.counts["lost"],
            retried=hour.counts["retried"],
            dead=hour.counts["dead"],
        )
        key = (hour.at.date(), hour.type)
        standing = by_day.get(key)
        total = standing.counts.plus(counts) if standing else counts
        by_day[key] = DayOfType(hour.at.date(), hour.type, total)
    return Operations(
        since=since,
        until=until,
        days=sorted(by_day.values(), key=lambda item: (item.day, item.type)),
        letters=[
            CauseCount(item.type, item.exception_type, item.reason, item.count)
            for item in causes_between(session, since, until, MOST_LINES)
        ],
        openings=[
            NamedCount(name, "opened", count)
            for name, count in openings_between(session, since, until, MOST_LINES)
        ],
        flag_changes=[
            NamedCount(name, action, count)
            for name, action, count in count_changes(session, "flag", since, until, MOST_LINES)
        ],
    )


def gather_source(session: DbSession, name: str, *, days: int, now: datetime) -> SourceFigures:
    """Return a source, its runs of the last days and its first records: three statements."""
    source = find_source(session, name)
    since, until = _span(days, now)
    runs = runs_between(session, source, since, until, MOST_LINES + 1)
    return SourceFigures(
        name=source.name,
        kind=source.kind,
        records=source.record_count,
        since=since,
        until=until,
        runs=[
            RunFigures(
                started_at=run.started_at,
                ended_at=run.ended_at,
                status=run.status,
                processed=run.processed,
                inserted=run.inserted,
                updated=run.updated,
                unchanged=run.unchanged,
                rejected=run.rejected,
            )
            for run in runs[:MOST_LINES]
        ],
        capped=len(runs) > MOST_LINES,
        sample=[dict(record.fields) for record in first_records(session, source, SAMPLE)],
    )


def record_rows(session: DbSession, name: str) -> Iterator[list[dict[str, str]]]:
    """Yield the records of a source by key, in batches that are small in rows and in bytes."""
    source = find_source(session, name)
    key: str | None = None
    most = RECORDS_AT_ONCE
    while rows := fields_after(session, source, key, most=most, most_bytes=BYTES_AT_ONCE):
        yield [row.fields for row in rows]
        key = rows[-1].key
        # Where rows are large the database should not look at a thousand to give us a few.
        most = min(2 * len(rows), RECORDS_AT_ONCE)


def _span(days: int, now: datetime) -> tuple[datetime, datetime]:
    """Return so many days up to the end of the present hour."""
    until = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return until - timedelta(days=days), until
