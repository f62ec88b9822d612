"""What every consumer's beat does: it puts back lost jobs and hands over due ones.

However many consumers beat, each lost job is put back once and each due job is sent about once:
the updates are conditional, and their row counts decide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, or_, select, update

from webapp.db import DbSession
from webapp.jobs.attempts import lose
from webapp.jobs.lifecycle import WAITING, target_of
from webapp.jobs.models import Job
from webapp.jobs.values import JobState

BATCH = 100
#: A message that an empty broker should still have, and has not, is sent again after this.
VANISHED = timedelta(seconds=3)
#: A message that was not acted on for so long is sent again whatever the broker holds.
FORGOTTEN = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Lost:
    """A job that lost its worker: put back, or ``buried`` where that happened too often."""

    job_id: int
    type: str
    losses: int
    buried: bool


def settle_lost(session: DbSession, *, max_losses: int, now: datetime) -> list[Lost]:
    """Settle up to a hundred jobs whose lease ran out, and return those that this call won."""
    expired = session.execute(
        select(Job.id, Job.type, Job.fence, Job.losses)
        .where(Job.state == JobState.RUNNING, Job.lease_expires_at < now)
        .order_by(Job.lease_expires_at)
        .limit(BATCH)
    ).all()
    return [
        Lost(row.id, row.type, row.losses + 1, buried=row.losses >= max_losses)
        for row in expired
        if lose(session, row.id, row.fence, give_up=row.losses >= max_losses, now=now)
    ]


@dataclass(frozen=True, slots=True)
class Due:
    """A job that is to be sent."""

    job_id: int
    priority: int


def mark_due(session: DbSession, *, room: int, idle: bool, now: datetime) -> list[Due]:
    """Mark up to ``room`` due jobs as dispatched, most urgent first, and return them.

    ``idle`` says that the broker holds no message: whatever was sent a while ago, and still waits,
    is then lost and is sent again.
    """
    patience = VANISHED if idle else FORGOTTEN
    unsent = or_(Job.dispatched_at.is_(None), Job.dispatched_at < now - patience)
    candidates = session.execute(
        select(Job.id, Job.priority, Job.state, Job.dispatched_at)
        .where(and_(Job.state.in_(WAITING), Job.run_at <= now, unsent))
        .order_by(Job.priority.desc(), Job.run_at, Job.id)
        .limit(room)
    ).all()
    return [
        Due(row.id, row.priority)
        for row in candidates
        if _mark(session, row.id, row.state, row.dispatched_at, now=now)
    ]


def unmark(session: DbSession, due: Sequence[Due]) -> None:
    """Take back the mark of jobs that could not be sent."""
    session.execute(
        update(Job)
        .where(Job.id.in_([item.job_id for item in due]), Job.state == JobState.QUEUED)
        .values(dispatched_at=None)
        .execution_options(synchronize_session=False)
    )


def _mark(
    session: DbSession, job_id: int, state: str, sent_at: datetime | None, *, now: datetime
) -> bool:
    # Conditional on what was read, so that of two consumers one sends the job.
    unchanged = Job.dispatched_at.is_(None) if sent_at is None else Job.dispatched_at == sent_at
    result = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state == state, unchanged)
        .values(state=target_of("dispatch"), dispatched_at=now)
        .execution_options(synchronize_session=False)
    )
    return bool(result.rowcount)  # type: ignore[attr-defined]
