"""What every beat does for jobs that wait for something else than their turn.

It cancels what has expired, lets go what waited for other jobs, and ends batches.  However many
consumers beat, each effect happens once: the updates are conditional.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, case, exists, literal, select, text, update

from webapp.actors import SYSTEM
from webapp.db import DbSession, UtcTime
from webapp.jobs.batching import finish
from webapp.jobs.lifecycle import ACTIVE, sources_of, target_of
from webapp.jobs.models import IS_HELD, MAY_EXPIRE, Job, JobBatch, JobDependency
from webapp.jobs.values import JobState

#: So many of a kind at once; the next beat goes on.
MOST: Final = 100
EXPIRED: Final = "It expired before it began."
HOPELESS: Final = "A job that it waited for was canceled."


def anything_to_keep_up(session: DbSession, *, now: datetime) -> bool:
    """Tell whether one of the following has work; a beat that finds none takes no write lock."""
    expired = select(literal(1)).select_from(Job).where(text(MAY_EXPIRE), Job.expires_at <= now)
    held = select(literal(1)).select_from(Job).where(text(IS_HELD))
    batch = select(literal(1)).select_from(JobBatch).where(JobBatch.finished_at.is_(None))
    return any(
        session.execute(kind.limit(1)).first() is not None for kind in (expired, held, batch)
    )


def expire(session: DbSession, *, now: datetime) -> list[int]:
    """Cancel jobs that have not begun in time, and return them."""
    late = (
        select(Job.id)
        .where(text(MAY_EXPIRE), Job.expires_at <= now)
        .order_by(Job.expires_at, Job.id)
        .limit(MOST)
    )
    return _end_waiting(session, list(session.scalars(late)), EXPIRED, event="expire", now=now)


def release_held(session: DbSession, *, now: datetime) -> list[int]:
    """Let go the jobs whose others have all succeeded, and return them; cancel the hopeless.

    A job that waits for a dead one goes on waiting: the dead one may be retried.
    """
    held = select(Job.id).where(text(IS_HELD), Job.state == JobState.SCHEDULED)
    canceled = held.where(_waits_for((JobState.CANCELED,))).order_by(Job.id).limit(MOST)
    _end_waiting(session, list(session.scalars(canceled)), HOPELESS, event="cancel", now=now)
    unfinished = [state for state in JobState if state != JobState.SUCCEEDED]
    free = held.where(~_waits_for(unfinished)).order_by(Job.id).limit(MOST)
    ids = list(session.scalars(free))
    if not ids:
        return []
    moment = literal(now, UtcTime)
    released = (
        update(Job)
        .where(Job.id.in_(ids), Job.held, Job.state == JobState.SCHEDULED)
        .values(held=False, run_at=case((Job.run_at < moment, moment), else_=Job.run_at))
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    return list(session.scalars(released))


def finish_batches(session: DbSession, *, now: datetime) -> list[int]:
    """End the batches whose jobs have all ended, enqueue what is to follow, and return them."""
    unfinished = exists().where(Job.batch_id == JobBatch.id, Job.state.in_(ACTIVE))
    over = (
        select(JobBatch.id)
        .where(JobBatch.finished_at.is_(None), ~unfinished)
        .order_by(JobBatch.id)
        .limit(MOST)
    )
    return [
        batch_id
        for batch_id in list(session.scalars(over))
        if finish(session, batch_id, by=SYSTEM, now=now)
    ]


def _waits_for(states: Iterable[JobState]) -> ColumnElement[bool]:
    other = Job.__table__.alias("other")
    return exists().where(
        JobDependency.job_id == Job.id,
        JobDependency.depends_on_id == other.c.id,
        other.c.state.in_(list(states)),
    )


def _end_waiting(
    session: DbSession, ids: list[int], why: str, *, event: str, now: datetime
) -> list[int]:
    if not ids:
        return []
    ended = (
        update(Job)
        .where(Job.id.in_(ids), Job.state.in_(sources_of(event)))
        .values(state=target_of(event), finished_at=now, error=why, dispatched_at=None, held=False)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    return list(session.scalars(ended))
