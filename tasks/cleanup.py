"""The ``cleanup`` job: removes what is older than it is to be kept, in small transactions.

Figures of jobs, calls of breakers, firings of schedules and rows of workers are bounded where they
are written.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from flask import current_app
from pydantic import Field
from sqlalchemy.orm import Session

from webapp.actors import SYSTEM
from webapp.alerts.service import remove_old as remove_old_alerts
from webapp.breakers.removal import remove_events, remove_unused
from webapp.clock import now
from webapp.db import transaction
from webapp.dead_letters.service import remove_resolved
from webapp.flags.recording import forget_oldest
from webapp.idempotency.service import remove_expired
from webapp.jobs.registry import JobArguments, job
from webapp.jobs.removal import remove_batches, remove_ended
from webapp.jobs.service import save_checkpoint
from webapp.jobs.values import JobCancelled, JobContext, RetryPolicy
from webapp.reports.service import remove_lost_reports, remove_old_reports, remove_stray_files
from webapp.settings import Settings

ONE_HOUR = 3600.0
#: Rows that one transaction looks at, so that no other writer waits for long.
AT_ONCE = 500
#: A report takes minutes to be written: what is half a report for so long is nobody's.
LEFTOVER_AGE = timedelta(days=1)


class CleanupArguments(JobArguments):
    """How long things are kept, where that is not to be as the settings say."""

    job_days: int | None = Field(
        default=None, ge=1, le=36_500, description="Days after their end that jobs are kept"
    )
    dead_letter_days: int | None = Field(
        default=None, ge=1, le=36_500, description="Days that resolved dead letters are kept"
    )
    flag_usage_days: int | None = Field(
        default=None, ge=1, le=36_500, description="Days that the usage of flags is kept"
    )
    breaker_days: int | None = Field(
        default=None, ge=1, le=36_500, description="Days that the history of breakers is kept"
    )
    alert_days: int | None = Field(
        default=None, ge=1, le=36_500, description="Days that alerts that have ended are kept"
    )
    report_days: int | None = Field(
        default=None, ge=1, le=36_500, description="Days that reports are kept"
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What is older goes; ``reports_folder`` is where the files of reports lie."""

    jobs: datetime
    dead_letters: datetime
    flag_usage: datetime
    breakers: datetime
    alerts: datetime
    reports: datetime
    leftovers: datetime
    reports_folder: Path


@dataclass(slots=True)
class Progress:
    """How far a run has come: its part, the last row that this looked at, and what is gone."""

    part: int = 0
    after: int = 0
    removed: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Know every part, also where a version of this program that knew fewer began the run."""
        self.removed = dict.fromkeys(PARTS, 0) | self.removed

    def to_json(self) -> dict[str, Any]:
        """Return what the checkpoint keeps."""
        return {"part": self.part, "after": self.after, "removed": self.removed}


@job(
    "cleanup",
    CleanupArguments,
    policy=RetryPolicy(max_retries=2, initial_delay=600, backoff_factor=2.0),
    timeout=ONE_HOUR,
    priority=10,
)
def clean_up(context: JobContext, arguments: CleanupArguments) -> dict[str, int]:
    """Remove what is kept no longer, and what was left over by those who were killed."""
    limits = _limits(current_app.extensions["settings"], arguments, now())
    progress = Progress(**(context.claim.checkpoint or {}))
    parts = tuple(PARTS.values())
    while progress.part < len(parts):
        if context.cancelled():
            raise JobCancelled
        # The checkpoint goes with the rows: what is gone is counted once, whatever happens.
        with transaction() as session:
            if parts[progress.part](session, progress, limits):
                progress.part += 1
                progress.after = 0
            save_checkpoint(session, context.claim, progress.to_json())
        context.progress(sum(progress.removed.values()))
    gone = sum(progress.removed.values())
    context.progress(gone, gone)
    return progress.removed


def _limits(settings: Settings, arguments: CleanupArguments, moment: datetime) -> Limits:
    def before(days: int | None, otherwise: int) -> datetime:
        return moment - timedelta(days=otherwise if days is None else days)

    return Limits(
        jobs=before(arguments.job_days, settings.job_retention_days),
        dead_letters=before(arguments.dead_letter_days, settings.dead_letter_retention_days),
        flag_usage=before(arguments.flag_usage_days, settings.flag_usage_retention_days),
        breakers=before(arguments.breaker_days, settings.breaker_retention_days),
        alerts=before(arguments.alert_days, settings.alert_retention_days),
        reports=before(arguments.report_days, settings.report_retention_days),
        leftovers=moment - LEFTOVER_AGE,
        reports_folder=settings.reports_dir,
    )


def _dead_letters(session: Session, progress: Progress, limits: Limits) -> bool:
    number = remove_resolved(
        session, resolved_before=limits.dead_letters, most=AT_ONCE, by=SYSTEM, now=now()
    )
    progress.removed["dead_letters"] += number
    return number < AT_ONCE


def _jobs(session: Session, progress: Progress, limits: Limits) -> bool:
    removed = remove_ended(session, ended_before=limits.jobs, after=progress.after, most=AT_ONCE)
    progress.removed["jobs"] += removed.number
    progress.after = removed.last
    return removed.over


def _batches(session: Session, progress: Progress, limits: Limits) -> bool:
    number = remove_batches(session, ended_before=limits.jobs, most=AT_ONCE)
    progress.removed["batches"] += number
    return number < AT_ONCE


def _flag_usage(session: Session, progress: Progress, limits: Limits) -> bool:
    number = forget_oldest(session, before=limits.flag_usage)
    progress.removed["flag_usage"] += number
    return number == 0


def _breaker_events(session: Session, progress: Progress, limits: Limits) -> bool:
    number = remove_events(session, before=limits.breakers, most=AT_ONCE)
    progress.removed["breaker_events"] += number
    return number < AT_ONCE


def _breakers(session: Session, progress: Progress, limits: Limits) -> bool:
    number = remove_unused(session, before=limits.breakers, most=AT_ONCE)
    progress.removed["breakers"] += number
    return number < AT_ONCE


def _alerts(session: Session, progress: Progress, limits: Limits) -> bool:
    number = remove_old_alerts(session, before=limits.alerts, most=AT_ONCE)
    progress.removed["alerts"] += number
    return number == 0


def _reports(session: Session, progress: Progress, limits: Limits) -> bool:
    number = remove_old_reports(
        session, before=limits.reports, most=AT_ONCE, folder=limits.reports_folder
    )
    progress.removed["reports"] += number
    return number < AT_ONCE


def _idempotency_keys(session: Session, progress: Progress, limits: Limits) -> bool:
    del limits
    number = remove_expired(session, now=now(), most=AT_ONCE)
    progress.removed["idempotency_keys"] += number
    return number < AT_ONCE


def _stray_files(session: Session, progress: Progress, limits: Limits) -> bool:
    gone = remove_stray_files(
        session,
        folder=limits.reports_folder,
        before=limits.leftovers,
        after=progress.after,
        most=AT_ONCE,
    )
    progress.removed["stray_report_files"] += gone.number
    progress.after = gone.last
    return gone.over


def _lost_reports(session: Session, progress: Progress, limits: Limits) -> bool:
    gone = remove_lost_reports(
        session,
        folder=limits.reports_folder,
        before=limits.leftovers,
        after=progress.after,
        most=AT_ONCE,
    )
    progress.removed["lost_reports"] += gone.number
    progress.after = gone.last
    return gone.over


#: In this order: a job can go once its letter has. Each tells whether it is through.
PARTS: dict[str, Callable[[Session, Progress, Limits], bool]] = {
    "dead_letters": _dead_letters,
    "jobs": _jobs,
    "batches": _batches,
    "flag_usage": _flag_usage,
    "breaker_events": _breaker_events,
    "breakers": _breakers,
    "alerts": _alerts,
    "reports": _reports,
    "idempotency_keys": _idempotency_keys,
    "stray_report_files": _stray_files,
    "lost_reports": _lost_reports,
}
