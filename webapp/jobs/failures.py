"""What the ledger keeps of an error, and jobs that failed before there was a job.

Knows nothing of dead letters: who adds such a job writes its letter in the same transaction.
"""

import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from webapp.actors import Actor
from webapp.db import DbSession, storable
from webapp.errors import NotFound, words_of
from webapp.jobs.attempts import Failure
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.registry import JobType, find_job_type
from webapp.jobs.values import JobState, Outcome
from webapp.logs import mask_text

_MOST_TYPE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What was tried outside of the ledger, and given up after so many attempts."""

    type: str
    arguments: Mapping[str, Any]
    attempts: int
    started_at: datetime
    worker: str


def failure_of(error: BaseException, error_class: str) -> Failure:
    """Return what the ledger keeps of an error, with secrets masked."""
    text = "".join(traceback.format_exception(error))
    return Failure(
        error_class=error_class,
        exception_type=type(error).__name__,
        message=storable(mask_text(words_of(error))),
        traceback=storable(mask_text(text)),
    )


def add_dead_job(
    session: DbSession, tried: Tried, failure: Failure, *, by: Actor, now: datetime
) -> int:
    """Add a job that is dead already, with the attempt that failed; the caller writes its letter.

    Its type need not be there: then it can be seen and closed, and not retried.
    """
    kind = _known(tried.type)
    job = Job(
        type=tried.type[:_MOST_TYPE],
        queue=kind.queue if kind else "default",
        priority=kind.priority if kind else 50,
        state=JobState.DEAD,
        arguments=dict(tried.arguments),
        run_at=tried.started_at,
        created_at=tried.started_at,
        created_by=by.name,
        request_id=by.request_id,
        started_at=tried.started_at,
        finished_at=now,
        attempts=tried.attempts,
        # As if it had been claimed once: so a retry knows that there is a letter to resolve.
        fence=1,
        error=failure.summary,
    )
    session.add(job)
    session.flush()
    attempt = JobAttempt(
        job_id=job.id,
        type=job.type,
        fence=1,
        due_at=tried.started_at,
        started_at=tried.started_at,
        ended_at=now,
        outcome=Outcome.FAILED,
        worker=tried.worker,
        **asdict(failure),
    )
    session.add(attempt)
    session.flush()
    return job.id


def _known(name: str) -> JobType | None:
    try:
        return find_job_type(name)
    except NotFound:
        return None
