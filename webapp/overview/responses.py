"""What the JSON API of the whole answers with, by type."""

from datetime import datetime

from webapp.alerts.values import Severity
from webapp.health.values import Level
from webapp.web.openapi import Answer


class TypeHealthResponse(Answer):
    """How one type of job stands.

    ``issues`` are words, worst first.  ``success_rate`` is that of the last 24 hours in percent,
    null where nothing ended; ``last_run_ago`` the seconds since an attempt of it ended last, null
    where none has.
    """

    type: str
    status: Level
    success_rate: float | None
    runs: int
    failed: int
    last_run_ago: float | None
    oldest_due_seconds: float | None
    open_dead_letters: int
    issues: list[str]


class FiringAlertResponse(Answer):
    """An alert that fires."""

    name: str
    severity: Severity
    since: datetime


class JobHealthResponse(Answer):
    """How the whole stands, why, and how each type of job does."""

    at: datetime
    overall_health: Level
    reasons: list[str]
    workers_alive: int
    schedulers_alive: int
    open_breakers: int
    open_dead_letters: int
    job_types: list[TypeHealthResponse]
    alerts: list[FiringAlertResponse]


class FlagTotalsResponse(Answer):
    """Flags in use, as the process that answers has them."""

    in_use: int
    revision: int


class LetterTotalsResponse(Answer):
    """Dead letters."""

    open: int
    resolved: int


class WorkerTotalsResponse(Answer):
    """Consumers that showed life within a minute, and those of them that have a scheduler."""

    alive: int
    schedulers: int


class BreakerTotalsResponse(Answer):
    """Breakers that refuse calls, or wait for a trial."""

    open: int


class SourceTotalsResponse(Answer):
    """Sources, and the records that are kept by kind of source."""

    count: int
    records: dict[str, int]


class TotalsResponse(Answer):
    """How much there is of each kind; what is counted no further than 10,001 is named."""

    at: datetime
    flags: FlagTotalsResponse
    jobs: dict[str, int]
    dead_letters: LetterTotalsResponse
    schedules: dict[str, int]
    workers: WorkerTotalsResponse
    breakers: BreakerTotalsResponse
    sources: SourceTotalsResponse
    capped: list[str]
