"""Tells of ended jobs: one job of the type ``callback`` for each end that somebody waits for.

How a message is sent is that type's own business, see ``tasks.callback``.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select, text, update

from webapp.actors import SYSTEM, Actor
from webapp.db import DbSession
from webapp.errors import Conflict
from webapp.jobs.lifecycle import ENDED
from webapp.jobs.models import IS_TO_TELL, Job
from webapp.jobs.service import enqueue
from webapp.logs import masked

TYPE = "callback"
BATCH = 100


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended, and the address that waits to hear of it; secrets are masked."""

    url: str
    job_id: int
    type: str
    state: str
    attempts: int
    result: Any
    error: str | None
    finished_at: datetime


def anything_to_tell(session: DbSession) -> bool:
    """Tell whether a job has ended whose callback does not know yet."""
    return session.execute(_untold(1)).first() is not None


def tell_ends(session: DbSession, *, now: datetime) -> list[int]:
    """Enqueue a callback for up to a hundred ended jobs; return the jobs that they tell of."""
    # What another beat is telling of is passed over.  SQLite has one writer anyway.
    untold = session.execute(_untold(BATCH).with_for_update(skip_locked=True)).all()
    for row in untold:
        _tell(session, row.id, Actor(SYSTEM.kind, SYSTEM.name, row.request_id), now=now)
    return [row.id for row in untold]


def _untold(most: int) -> Select[tuple[int, str | None]]:
    """The oldest first, by the index that is made for it.

    A job has a time of its end exactly while it is ended.  Were the state asked for too, SQLite
    would take the index of states, and go through every job that has ever ended.
    """
    return (
        select(Job.id, Job.request_id)
        .where(text(IS_TO_TELL), Job.finished_at.is_not(None))
        .order_by(Job.finished_at)
        .limit(most)
    )


def _tell(session: DbSession, job_id: int, by: Actor, *, now: datetime) -> None:
    arguments = {"job_id": job_id, "delivery_id": f"msg_{uuid.uuid4().hex}"}
    callback = enqueue(session, TYPE, arguments, by=by, now=now, internal=True)
    told = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.callback_job_id.is_(None), Job.state.in_(ENDED))
        .values(callback_job_id=callback.id)
        .execution_options(synchronize_session=False)
    )
    if not told.rowcount:  # type: ignore[attr-defined]
        # The lock rules this out; were it not so, nothing of this beat may be written.
        raise Conflict(f"Somebody else tells of the end of job {job_id}.")


def find_end(session: DbSession, job_id: int, *, callback_job_id: int) -> JobEnd | None:
    """Return the end that this callback is to tell of.

    None where the job was retried since: a callback of its own tells of its next end.
    """
    job = session.scalar(
        select(Job).where(
            Job.id == job_id, Job.callback_job_id == callback_job_id, Job.state.in_(ENDED)
        )
    )
    if job is None or job.callback_url is None or job.finished_at is None:
        return None
    return JobEnd(
        url=job.callback_url,
        job_id=job.id,
        type=job.type,
        state=job.state,
        attempts=job.attempts,
        result=masked(job.result),
        error=masked(job.error),
        finished_at=job.finished_at,
    )
