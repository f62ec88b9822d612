"""Removes jobs that ended long ago, a page at a time, with all that hangs on them.

Never one that is unfinished, that has a dead letter, that another job waits for, or whose batch
goes on or ended only lately.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, column, delete, exists, or_, select, table
from sqlalchemy.orm import aliased

from webapp.db import BigId, DbSession
from webapp.jobs.lifecycle import ENDED
from webapp.jobs.models import Job, JobBatch, JobDependency

# Known here by its name only: letters are a capability of their own.
_letters = table("dead_letter_jobs", column("job_id", BigId))


@dataclass(frozen=True, slots=True)
class Removed:
    """How many went; the walk goes on behind job ``last``, unless it is ``over``."""

    number: int
    last: int
    over: bool


def remove_ended(session: DbSession, *, ended_before: datetime, after: int, most: int) -> Removed:
    """Look at the next jobs behind one, at most so many, and remove those that may go.

    Jobs are looked at in the order in which they were made, which needs no index of its own; one
    that was made later than ``ended_before`` cannot have ended earlier.
    """
    page = session.execute(
        select(Job.id, Job.created_at, _may_go(ended_before).label("may_go"))
        .where(Job.id > after)
        .order_by(Job.id)
        .limit(most)
    ).all()
    ids = [row.id for row in page if row.may_go]
    return Removed(
        number=_remove(session, ids, ended_before),
        last=page[-1].id if page else after,
        over=all(row.created_at >= ended_before for row in page),
    )


def _remove(session: DbSession, ids: Sequence[int], ended_before: datetime) -> int:
    if not ids:
        return 0
    gone = session.execute(
        # One that somebody has run again since it was looked at stays.
        delete(Job)
        .where(Job.id.in_(ids), _ended(ended_before))
        .execution_options(synchronize_session=False)
    )
    return int(gone.rowcount)  # type: ignore[attr-defined]


def _ended(before: datetime) -> ColumnElement[bool]:
    return and_(Job.state.in_(ENDED), Job.finished_at < before)


def _may_go(ended_before: datetime) -> ColumnElement[bool]:
    waiting = aliased(Job)
    return and_(
        _ended(ended_before),
        ~exists().where(_letters.c.job_id == Job.id),
        ~exists().where(
            JobDependency.depends_on_id == Job.id,
            JobDependency.job_id == waiting.id,
            waiting.held,
        ),
        ~exists().where(
            JobBatch.id == Job.batch_id,
            or_(JobBatch.finished_at.is_(None), JobBatch.finished_at >= ended_before),
        ),
    )


def remove_batches(session: DbSession, *, ended_before: datetime, most: int) -> int:
    """Remove batches that ended long ago and have no job left, at most so many."""
    old = (
        select(JobBatch.id)
        .where(JobBatch.finished_at < ended_before, ~exists().where(Job.batch_id == JobBatch.id))
        .order_by(JobBatch.finished_at)
        .limit(most)
    )
    gone = session.execute(
        delete(JobBatch).where(JobBatch.id.in_(old)).execution_options(synchronize_session=False)
    )
    return int(gone.rowcount)  # type: ignore[attr-defined]
