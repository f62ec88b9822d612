"""What the JSON API of schedules answers with, by type."""

from datetime import datetime
from typing import Any

from webapp.jobs.values import JobState
from webapp.schedules.values import FiringOutcome, ScheduleState
from webapp.web.openapi import Answer, Collection, CountedCollection, Query, WindowQuery


class FiringResponse(Answer):
    """What became of one due time."""

    due_at: datetime
    fired_at: datetime
    drift_seconds: float
    outcome: FiringOutcome
    planned: bool
    passed: int
    job_id: int | None
    job_state: JobState | None
    note: str | None


class ScheduleResponse(Answer):
    """A schedule; secrets in its arguments are masked."""

    name: str
    type: str
    arguments: dict[str, Any]
    cron: str
    cron_in_words: str
    timezone: str
    overlap: str
    catch_up: str
    priority: int | None
    enabled: bool
    state: ScheduleState
    problem: str | None
    last_run_at: datetime | None
    next_run_at: datetime | None
    next_runs: list[datetime]
    last_firing: FiringResponse | None
    version: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


class ScheduleDetailsResponse(ScheduleResponse):
    """A schedule with its newest firings."""

    firings: list[FiringResponse]


class ScheduledJobResponse(Answer):
    """A job whose time is still ahead."""

    id: int
    type: str
    priority: int
    arguments: dict[str, Any]
    run_at: datetime
    created_at: datetime
    created_by: str


class ScheduledResponse(Answer):
    """What is to run later."""

    jobs: CountedCollection[ScheduledJobResponse]
    schedules: Collection[ScheduleResponse]


class LastDayResponse(Answer):
    """What became of the due times of 24 hours."""

    fired: int
    skipped: int
    missed: int
    refused: int


class SchedulerResponse(Answer):
    """Whether somebody fires schedules, and what is due."""

    beat_at: datetime | None
    beat_age_seconds: float | None
    due: int
    oldest_due_at: datetime | None
    last_24_hours: LastDayResponse


class SchedulesQuery(WindowQuery):
    """What a list of schedules is narrowed to."""

    q: str
    state: ScheduleState


class ScheduleRemovalQuery(Query):
    """Why a schedule is removed, where no body says it."""

    reason: str
    version: int
