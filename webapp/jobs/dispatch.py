"""What every consumer's beat does: it puts back lost jobs and hands over due ones.

However many consumers beat, each lost job is put back once and each due job is sent about once:
the updates are conditional, and their row counts decide.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, or_, select, update

from webapp.db import DbSession
from webapp.jobs.attempts import free_to_begin, give_back, lose, put_back
from webapp.jobs.lifecycle import WAITING, target_of
from webapp.jobs.models import Job
from webapp.jobs.steering import UNSTEERED, Steering
from webapp.jobs.values import JobState

BATCH = 100
#: A message is sent again where the broker no longer holds it so long after it was sent, and its
#: job still waits: it was lost, or its worker died before the claim.
VANISHED = timedelta(seconds=3)
#: The same for a worker of some queues, which sees the messages of no others: what was sent to
#: workers of all queues, and not begun so long after, it takes itself.
SENT_TO_OTHERS = timedelta(seconds=0.5)


@dataclass(frozen=True, slots=True)
class Lost:
    """A job that lost its worker: put back, or ``buried`` where that happened too often."""

    job_id: int
    type: str
    losses: int
    buried: bool


def anything_lost(session: DbSession, *, now: datetime) -> bool:
    """Tell whether a lease has run out; a beat that finds none takes no write lock."""
    return session.execute(select(Job.id).where(*_lost(now)).limit(1)).first() is not None


def settle_lost(session: DbSession, *, max_losses: int, now: datetime) -> list[Lost]:
    """Settle up to a hundred jobs whose lease ran out, and return the losses that this call won.

    A job that was claimed behind others and had not begun goes back, and is no loss.
    """
    expired = session.execute(
        select(Job.id, Job.type, Job.fence, Job.losses, Job.started_at)
        .where(*_lost(now))
        .order_by(Job.lease_expires_at, Job.id)
        .limit(BATCH)
    ).all()
    for row in expired:
        if row.started_at is None:
            give_back(session, row.id, row.fence, now=now, lapsed=True)
    return [
        Lost(row.id, row.type, row.losses + 1, buried=row.losses >= max_losses)
        for row in expired
        if row.started_at is not None
        and lose(session, row.id, row.fence, give_up=row.losses >= max_losses, now=now)
    ]


def _lost(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return Job.state == JobState.RUNNING, Job.lease_expires_at < now


def hold_leases(session: DbSession, workers: Sequence[str], *, now: datetime) -> bool:
    """Tell whether one of these workers holds a job by a lease that has not run out."""
    held = select(Job.id).where(*_held(workers, now)).limit(1)
    return session.execute(held).first() is not None


def end_leases(session: DbSession, workers: Sequence[str], *, now: datetime) -> int:
    """End the leases of workers that are known to be dead, so that nobody waits for them to pass.

    The jobs are then settled like every lost one.  Returns how many there are.
    """
    result = session.execute(
        update(Job)
        .where(*_held(workers, now))
        .values(lease_expires_at=now - timedelta(microseconds=1))
        .execution_options(synchronize_session=False)
    )
    return int(result.rowcount)  # type: ignore[attr-defined]


def _held(workers: Sequence[str], now: datetime) -> tuple[ColumnElement[bool], ...]:
    return Job.state == JobState.RUNNING, Job.worker.in_(workers), Job.lease_expires_at >= now


def release_all(session: DbSession, worker: str, *, now: datetime) -> int:
    """Put back whatever a stopping worker still holds: neither an attempt nor a loss."""
    rows = session.execute(
        select(Job.id, Job.fence).where(Job.state == JobState.RUNNING, Job.worker == worker)
    ).all()
    return sum(put_back(session, row.id, row.fence, now=now) for row in rows)


@dataclass(frozen=True, slots=True)
class Due:
    """A job that is to be sent."""

    job_id: int
    priority: int


def anything_due(session: DbSession, *, now: datetime, steering: Steering = UNSTEERED) -> bool:
    """Tell whether a job waits to be sent, or was sent a while ago and waits still."""
    return session.execute(select(Job.id).where(*_due(now, steering)).limit(1)).first() is not None


def anything_left(session: DbSession, worker: str, *, now: datetime, steering: Steering) -> bool:
    """Tell whether a worker runs something, or something is due that it may take."""
    runs = and_(Job.state == JobState.RUNNING, Job.worker == worker)
    waits = and_(
        Job.state.in_(WAITING),
        Job.run_at <= now,
        Job.held.is_(False),
        *free_to_begin(steering),
    )
    return any(
        session.execute(select(Job.id).where(left).limit(1)).first() for left in (runs, waits)
    )


def mark_due(
    session: DbSession,
    *,
    room: int,
    waiting: Collection[int],
    now: datetime,
    steering: Steering = UNSTEERED,
) -> list[Due]:
    """Mark up to ``room`` due jobs as dispatched, most urgent first, and return them.

    What is paused stays where it is, and takes no room.

    ``waiting`` are the jobs whose messages the broker holds; those are not sent again.
    """
    candidates = session.execute(
        select(Job.id, Job.priority, Job.state, Job.dispatched_at)
        .where(*_due(now, steering))
        .order_by(Job.priority.desc(), Job.run_at, Job.id)
        .limit(room + len(waiting))
    ).all()
    missing = [row for row in candidates if row.id not in waiting][:room]
    return [
        Due(row.id, row.priority)
        for row in missing
        if _mark(session, row.id, row.state, row.dispatched_at, now=now)
    ]


def _due(now: datetime, steering: Steering) -> tuple[ColumnElement[bool], ...]:
    patience = SENT_TO_OTHERS if steering.only_queues else VANISHED
    unsent = or_(Job.dispatched_at.is_(None), Job.dispatched_at < now - patience)
    return (
        Job.state.in_(WAITING),
        Job.run_at <= now,
        unsent,
        Job.held.is_(False),
        *free_to_begin(steering),
    )


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
