"""Reads the ledger: lists for the console, figures for the overview."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ScalarSelect, Select, func, literal, select, union_all

from webapp.db import DbSession
from webapp.jobs.filters import JobFilters, narrowed, scan_for
from webapp.jobs.journal import MOST_LINES
from webapp.jobs.lifecycle import ACTIVE, WAITING, may
from webapp.jobs.models import Job, JobAttempt, JobDependency, JobLogLine
from webapp.jobs.values import JobState
from webapp.paging import COUNT_CAP, PAGE_SIZE, Cursor, Page, fetch_page

#: Enough to find a type or queue that is left behind: what is due longer than it is told too.
DUE_LOOKED_AT = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job as lists show it."""

    id: int
    type: str
    queue: str
    state: JobState
    priority: int
    attempts: int
    arguments: Mapping[str, Any]
    created_at: datetime
    created_by: str
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    error: str | None
    progress_done: int | None
    progress_total: int | None
    progress_message: str | None
    stopping: bool
    held: bool
    batch_id: int | None
    expires_at: datetime | None

    @property
    def share_done(self) -> float | None:
        """Return how much is done in whole percent, None where nobody knows."""
        if self.progress_done is None or not self.progress_total:
            return None
        return float(min(100, 100 * self.progress_done // self.progress_total))

    @property
    def seconds(self) -> float | None:
        """Return how long the last attempt ran."""
        if self.started_at is None or self.finished_at is None:
            return None
        return max(0.0, (self.finished_at - self.started_at).total_seconds())

    @property
    def retryable(self) -> bool:
        """Tell whether an operator may run the job again, or at once."""
        return may("revive", self.state) or may("hasten", self.state)

    @property
    def waits(self) -> bool:
        """Tell whether the job has yet to begin, so that its priority still counts."""
        return self.state in WAITING

    @property
    def active(self) -> bool:
        """Tell whether the job has yet to end, so that a page of it should look again."""
        return self.state in ACTIVE

    @property
    def cancelable(self) -> bool:
        """Tell whether the job can still be cancelled."""
        return (may("cancel", self.state) or self.state == JobState.RUNNING) and not self.stopping


def list_jobs(
    session: DbSession, filters: JobFilters, cursor: Cursor, *, size: int = PAGE_SIZE
) -> Page[JobRow]:
    """Return one page of the jobs that fit, newest first unless the cursor says otherwise."""
    wanted, scan = narrowed(filters), scan_for(session, filters)
    return fetch_page(session, wanted, scan, cursor, present=row_of, size=size)


def find_jobs(session: DbSession, filters: JobFilters, cursor: Cursor, *, size: int) -> Page[Job]:
    """Return one page of the jobs that fit, with all that is stored of them."""
    wanted, scan = narrowed(filters), scan_for(session, filters)
    return fetch_page(session, wanted, scan, cursor, present=lambda job: job, size=size)


def attempts_of(session: DbSession, job_id: int, limit: int = 50) -> Sequence[JobAttempt]:
    """Return the last attempts of one job, newest first."""
    return session.scalars(
        select(JobAttempt)
        .where(JobAttempt.job_id == job_id)
        .order_by(JobAttempt.fence.desc())
        .limit(limit)
    ).all()


def log_of(session: DbSession, job_id: int, limit: int = MOST_LINES) -> Sequence[JobLogLine]:
    """Return the last lines of a job's log, oldest first."""
    lines = select(JobLogLine).where(JobLogLine.job_id == job_id)
    return session.scalars(lines.order_by(JobLogLine.id.desc()).limit(limit)).all()[::-1]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A job that another one waits for, or that waits for it."""

    id: int
    type: str
    state: JobState


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What a job waits for, and some of what waits for it."""

    before: Sequence[Neighbour] = ()
    after: Sequence[Neighbour] = ()


MOST_NEIGHBOURS = 100


def neighbours_of(session: DbSession, job_id: int) -> Neighbours:
    """Return up to a hundred jobs on either side of one: one statement."""
    link = JobDependency

    def joined(mine: Any, other: Any, *, before: bool) -> Any:
        found = select(Job.id, Job.type, Job.state, literal(before).label("before"))
        nearest = found.join(link, other == Job.id).where(mine == job_id).order_by(Job.id)
        return select(nearest.limit(MOST_NEIGHBOURS).subquery())

    rows = session.execute(
        union_all(
            joined(link.job_id, link.depends_on_id, before=True),
            joined(link.depends_on_id, link.job_id, before=False),
        )
    ).all()
    sides = {
        side: [
            Neighbour(row.id, row.type, JobState(row.state))
            for row in sorted(rows)
            if row.before == side
        ]
        for side in (True, False)
    }
    return Neighbours(before=sides[True], after=sides[False])


def queue_names(session: DbSession) -> list[str]:
    """Return the queues that jobs wait in, by name: one statement.

    Skips through the index of the queued jobs from one name to the next.
    """
    # Spelt out, so that the database sees that its index of the queued jobs will do.
    queued = Job.state == literal(JobState.QUEUED.value, literal_execute=True)
    step = select(func.min(Job.queue).label("name")).where(queued).cte("step", recursive=True)
    following = select(func.min(Job.queue)).where(queued, Job.queue > step.c.name)
    step = step.union_all(select(following.scalar_subquery()).where(step.c.name.is_not(None)))
    return list(session.scalars(select(step.c.name).where(step.c.name.is_not(None))))


def count_states(session: DbSession) -> dict[JobState, int]:
    """Count the jobs of each state, each up to one past the cap: one statement."""
    counts = session.execute(select(*(_counted(state) for state in JobState))).one()
    return dict(zip(JobState, counts, strict=True))


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """How much waits and runs; ages in seconds."""

    waiting: int
    running: int
    retrying: int
    oldest_seconds: float | None

    @property
    def capped(self) -> bool:
        """Tell whether there are more than were counted."""
        return self.waiting > COUNT_CAP


def queue_figures(session: DbSession, *, now: datetime) -> QueueFigures:
    """Return the queue's depth and the age of the job that has been due for longest: one statement.

    Each state is counted up to one past the cap.
    """
    counts = (_counted(state) for state in (JobState.QUEUED, JobState.RUNNING, JobState.RETRYING))
    due = union_all(*(_due_longest(state, now) for state in sorted(WAITING))).subquery()
    oldest_of_all = select(func.min(due.c.run_at)).scalar_subquery()
    waiting, running, retrying, oldest = session.execute(select(*counts, oldest_of_all)).one()
    age = max(0.0, (now - oldest).total_seconds()) if oldest else None
    return QueueFigures(waiting, running, retrying, age)


def _due_longest(state: JobState, now: datetime) -> Select[tuple[datetime]]:
    """Return when the first of a state was due: by its index, at the end of which that stands."""
    due = select(Job.run_at).where(Job.state == state, Job.run_at <= now, Job.held.is_(False))
    # As a table of its own: SQLite has no limit in a part of a union.
    first = due.order_by(Job.run_at).limit(1).subquery()
    return select(first.c.run_at)


@dataclass(frozen=True, slots=True)
class DueJobs:
    """Jobs of one type that are due in one queue: since when the first of them is."""

    type: str
    queue: str
    since: datetime


def due_jobs(session: DbSession, *, now: datetime) -> list[DueJobs]:
    """Return what is due by type and queue, among the jobs that are due longest: one statement.

    A thousand of each state are looked at; those of them that wait for others are left out.
    """
    oldest = (
        select(
            select(Job.type, Job.queue, Job.run_at, Job.held)
            .where(Job.state == state, Job.run_at <= now)
            .order_by(Job.run_at, Job.id)
            .limit(DUE_LOOKED_AT)
            .subquery()
        )
        for state in sorted(WAITING)
    )
    due = union_all(*oldest).subquery()
    rows = session.execute(
        select(due.c.type, due.c.queue, func.min(due.c.run_at).label("since"))
        .where(due.c.held.is_(False))
        .group_by(due.c.type, due.c.queue)
        .order_by(due.c.type, due.c.queue)
    )
    return [DueJobs(row.type, row.queue, row.since) for row in rows]


def _counted(state: JobState) -> ScalarSelect[int]:
    some = select(Job.id).where(Job.state == state).limit(COUNT_CAP + 1).subquery()
    return select(func.count()).select_from(some).scalar_subquery()


def row_of(job: Job) -> JobRow:
    """Return a job as lists show it."""
    return JobRow(
        id=job.id,
        type=job.type,
        queue=job.queue,
        state=JobState(job.state),
        priority=job.priority,
        attempts=job.attempts,
        arguments=job.arguments,
        created_at=job.created_at,
        created_by=job.created_by,
        run_at=job.run_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        worker=job.worker,
        error=job.error,
        progress_done=job.progress_done,
        progress_total=job.progress_total,
        progress_message=job.progress_message,
        stopping=job.cancel_requested_at is not None and job.state == JobState.RUNNING,
        held=job.held,
        batch_id=job.batch_id,
        expires_at=job.expires_at,
    )
