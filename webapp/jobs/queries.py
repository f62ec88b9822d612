"""Reads the ledger: lists for the console, figures for the overview."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, String, cast, func, or_, select

from webapp.db import DbSession
from webapp.jobs.lifecycle import WAITING, may
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.values import JobState
from webapp.paging import COUNT_CAP, Cursor, Page, fetch_page

# A longer number is no job's id.
ID_DIGITS = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilters:
    """What a list of jobs is narrowed to; an empty text means anything."""

    state: str = ""
    type: str = ""
    text: str = ""

    @property
    def any(self) -> bool:
        """Tell whether something is narrowed at all."""
        return bool(self.state or self.type or self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job as lists show it."""

    id: int
    type: str
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
    def cancelable(self) -> bool:
        """Tell whether the job can still be cancelled."""
        return (may("cancel", self.state) or self.state == JobState.RUNNING) and not self.stopping


def list_jobs(session: DbSession, filters: JobFilters, cursor: Cursor) -> Page[JobRow]:
    """Return one page of the jobs that fit, newest first."""
    wanted = select(Job)
    if filters.state:
        wanted = wanted.where(Job.state == filters.state)
    if filters.type:
        wanted = wanted.where(Job.type == filters.type)
    if filters.text:
        pattern = "%" + filters.text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
        fits: list[ColumnElement[bool]] = [
            column.ilike(pattern + "%", escape="\\")
            for column in (Job.type, Job.unique_key, Job.error, cast(Job.arguments, String))
        ]
        if filters.text.isascii() and filters.text.isdecimal() and len(filters.text) <= ID_DIGITS:
            fits.append(Job.id == int(filters.text))
        wanted = wanted.where(or_(*fits))
    return fetch_page(session, wanted, Job.id, cursor, present=_row)


def get_row(session: DbSession, job_id: int) -> JobRow | None:
    """Return one job as lists show it."""
    job = session.get(Job, job_id)
    return _row(job) if job is not None else None


def attempts_of(session: DbSession, job_id: int, limit: int = 50) -> Sequence[JobAttempt]:
    """Return the last attempts of one job, newest first."""
    return session.scalars(
        select(JobAttempt)
        .where(JobAttempt.job_id == job_id)
        .order_by(JobAttempt.fence.desc())
        .limit(limit)
    ).all()


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
    due = select(func.min(Job.run_at)).where(
        Job.state.in_(WAITING), Job.run_at <= now, Job.held.is_(False)
    )
    waiting, running, retrying, oldest = session.execute(
        select(*counts, due.scalar_subquery())
    ).one()
    age = max(0.0, (now - oldest).total_seconds()) if oldest else None
    return QueueFigures(waiting, running, retrying, age)


def _counted(state: JobState) -> ScalarSelect[int]:
    some = select(Job.id).where(Job.state == state).limit(COUNT_CAP + 1).subquery()
    return select(func.count()).select_from(some).scalar_subquery()


def _row(job: Job) -> JobRow:
    return JobRow(
        id=job.id,
        type=job.type,
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
    )
