"""Brings back jobs that wait for too late a time, after a clock that was ahead was set back.

A clock that was an hour ahead has written times of an hour hence: retries would begin, messages be
sent again and leases run out that much too late.  Times that somebody asked for stay.
"""

from datetime import datetime, timedelta

from sqlalchemy import or_, select, update

from webapp.db import DbSession
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.values import JobState


def realign(session: DbSession, *, lease_seconds: float, now: datetime) -> int:
    """Bring back what is too far ahead, and count it; doing so again changes nothing."""
    return (
        _realign_queued(session, now)
        + _realign_retries(session, now)
        + _realign_leases(session, now + timedelta(seconds=lease_seconds))
    )


def _realign_queued(session: DbSession, now: datetime) -> int:
    """What is queued was due when it was queued."""
    moved = session.execute(
        update(Job)
        .where(Job.state == JobState.QUEUED, or_(Job.run_at > now, Job.dispatched_at > now))
        .values(run_at=now, dispatched_at=None)
        .execution_options(synchronize_session=False)
    )
    return int(moved.rowcount)  # type: ignore[attr-defined]


def _realign_retries(session: DbSession, now: datetime) -> int:
    """What failed in the future waits from now on for as long as it was to wait from then."""
    ahead = session.execute(
        select(Job.id, Job.run_at, JobAttempt.ended_at)
        .join(JobAttempt, (JobAttempt.job_id == Job.id) & (JobAttempt.fence == Job.fence))
        .where(Job.state == JobState.RETRYING, Job.run_at > now, JobAttempt.ended_at > now)
    ).all()
    for row in ahead:
        # Conditional, so that of two beats one moves it.
        session.execute(
            update(Job)
            .where(Job.id == row.id, Job.state == JobState.RETRYING, Job.run_at == row.run_at)
            .values(run_at=now + (row.run_at - row.ended_at))
            .execution_options(synchronize_session=False)
        )
    return len(ahead)


def _realign_leases(session: DbSession, latest: datetime) -> int:
    """A worker that lives renews its lease; one that does not must not hold it for an hour."""
    moved = session.execute(
        update(Job)
        .where(Job.state == JobState.RUNNING, Job.lease_expires_at > latest)
        .values(lease_expires_at=latest)
        .execution_options(synchronize_session=False)
    )
    return int(moved.rowcount)  # type: ignore[attr-defined]
