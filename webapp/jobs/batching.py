"""Batches: jobs that are enqueued together, and the job that is to run when all have ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select, update

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Invalid, NotFound
from webapp.jobs.lifecycle import ENDED
from webapp.jobs.models import Job, JobBatch
from webapp.jobs.registry import find_job_type, parse_arguments
from webapp.jobs.service import AUDITED_KINDS, enqueue, enqueue_all
from webapp.jobs.values import JobState
from webapp.jobs.wishes import Wish
from webapp.paging import Cursor, Page, Scan, fetch_page

MAX_JOBS: Final = 10_000
MAX_NAME: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """A batch with how far it has come; ``counts`` are its jobs by state."""

    id: int
    name: str
    size: int
    counts: Mapping[JobState, int]
    created_at: datetime
    created_by: str
    finished_at: datetime | None
    then_type: str | None
    then_job_id: int | None

    @property
    def ended(self) -> int:
        """Return how many of its jobs have ended, well or badly."""
        return sum(self.counts.get(state, 0) for state in ENDED)

    @property
    def share_done(self) -> float:
        """Return how many have ended, in whole percent."""
        return float(100 * self.ended // self.size)


def enqueue_batch(
    session: DbSession,
    name: str,
    wishes: Sequence[Wish],
    *,
    by: Actor,
    now: datetime,
    then: Wish | None = None,
) -> JobBatch:
    """Take jobs together, all or none; ``then`` is enqueued once all of them have ended.

    It is enqueued once: also where some died, and not again where one of these is retried.
    :class:`Invalid` names what does not fit.
    """
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME:
        raise Invalid.field("name", f"Use 1 to {MAX_NAME} characters.")
    if not 0 < len(wishes) <= MAX_JOBS:
        raise Invalid.field("jobs", f"A batch has 1 to {MAX_JOBS:,} jobs, not {len(wishes):,}.")
    batch = JobBatch(
        name=name,
        size=len(wishes),
        created_at=now,
        created_by=by.name,
        then_type=then.type if then else None,
        then_arguments=_checked(then) if then else None,
    )
    session.add(batch)
    session.flush()
    enqueue_all(session, wishes, by=by, now=now, batch_id=batch.id)
    if by.kind in AUDITED_KINDS:
        record(
            session,
            by=by,
            at=now,
            action="batch.enqueued",
            subject="batch",
            name=str(batch.id),
            changes={"name": Change(None, name), "jobs": Change(None, len(wishes))},
        )
    return batch


def finish(session: DbSession, batch_id: int, *, by: Actor, now: datetime) -> bool:
    """End a batch and enqueue what is to follow; False where another beat has done so.

    What no longer fits its type is not enqueued, and the batch ends all the same.
    """
    won = session.execute(
        update(JobBatch)
        .where(JobBatch.id == batch_id, JobBatch.finished_at.is_(None))
        .values(finished_at=now)
        .execution_options(synchronize_session=False)
    )
    if not won.rowcount:  # type: ignore[attr-defined]
        return False
    batch = session.get_one(JobBatch, batch_id, populate_existing=True)
    if batch.then_type is not None:
        try:
            job = enqueue(session, batch.then_type, batch.then_arguments or {}, by=by, now=now)
        except (Invalid, NotFound) as error:
            record(
                session,
                by=by,
                at=now,
                action="batch.not_followed",
                subject="batch",
                name=str(batch_id),
                reason=error.detail,
            )
        else:
            batch.then_job_id = job.id
            session.flush()
    return True


def find_batch(session: DbSession, batch_id: int) -> BatchRow:
    """Return one batch; :class:`NotFound` where there is none."""
    batch = batch_of(session, batch_id)
    if batch is None:
        message = f"There is no batch {batch_id}."
        raise NotFound(message)
    return batch


def batch_of(session: DbSession, batch_id: int | None) -> BatchRow | None:
    """Return the batch that a job says it belongs to: two statements."""
    batch = session.get(JobBatch, batch_id) if batch_id is not None else None
    return _row(batch, _counts(session, [batch.id])) if batch is not None else None


def list_batches(session: DbSession, cursor: Cursor) -> Page[BatchRow]:
    """Return one page of batches, newest first."""
    found: Page[JobBatch] = fetch_page(
        session, select(JobBatch), Scan(JobBatch.id), cursor, present=lambda batch: batch
    )
    counts = _counts(session, [batch.id for batch in found.rows])
    rows = [_row(batch, counts) for batch in found.rows]
    return found.showing(rows)


def _checked(then: Wish) -> dict[str, Any]:
    try:
        kind = find_job_type(then.type)
        return parse_arguments(kind, then.arguments).model_dump(mode="json")
    except Invalid as error:
        errors = {f"then.{name}": texts for name, texts in error.errors.items()}
        raise Invalid(f"then: {error.detail}", errors) from None


def _counts(session: DbSession, ids: Sequence[int]) -> dict[int, dict[JobState, int]]:
    rows = session.execute(
        select(Job.batch_id, Job.state, func.count())
        .where(Job.batch_id.in_(ids))
        .group_by(Job.batch_id, Job.state)
    )
    counts: dict[int, dict[JobState, int]] = {}
    for batch_id, state, number in rows:
        counts.setdefault(batch_id, {})[JobState(state)] = number
    return counts


def _row(batch: JobBatch, counts: Mapping[int, Mapping[JobState, int]]) -> BatchRow:
    return BatchRow(
        id=batch.id,
        name=batch.name,
        size=batch.size,
        counts=counts.get(batch.id, {}),
        created_at=batch.created_at,
        created_by=batch.created_by,
        finished_at=batch.finished_at,
        then_type=batch.then_type,
        then_job_id=batch.then_job_id,
    )
