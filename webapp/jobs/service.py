"""Taking, cancelling and retrying jobs, and the checkpoint of a running one.

Knows nothing of workers or of the queue's make; what a worker writes is in ``attempts``.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import null, select, update
from sqlalchemy.exc import IntegrityError

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Conflict, NotFound
from webapp.jobs import queries
from webapp.jobs.broker import dispatch_mark, hand_over
from webapp.jobs.lifecycle import ACTIVE, may, sources_of, target_of
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.registry import find_job_type, parse_arguments
from webapp.jobs.values import Claim, JobState, LeaseLost
from webapp.paging import count_up_to_cap

# Whoever acts by hand is audited; programs that enqueue by the thousand are in the ledger itself.
AUDITED_KINDS = frozenset({"user", "command"})
# Each try means that a job of the same key began and ended within two statements.
INSERT_TRIES = 5


def enqueue(  # noqa: PLR0913 - all but the first three are named at the call
    session: DbSession,
    type_name: str,
    arguments: Mapping[str, Any],
    *,
    by: Actor,
    now: datetime,
    run_at: datetime | None = None,
    priority: int | None = None,
    unique_key: str | None = None,
) -> Job:
    """Take a job; it stands once the caller's transaction is committed.

    :class:`Invalid` names the arguments that do not fit the type's schema.  With ``unique_key``
    the job that already stands under that key, unfinished, is returned instead of a second one.
    """
    kind = find_job_type(type_name)
    checked = parse_arguments(kind, arguments)
    due = run_at is None or run_at <= now
    job = Job(
        type=kind.name,
        queue=kind.queue,
        priority=kind.priority if priority is None else priority,
        state=JobState.QUEUED if due else JobState.SCHEDULED,
        arguments=checked.model_dump(mode="json"),
        unique_key=unique_key,
        run_at=run_at or now,
        created_at=now,
        created_by=by.name,
        request_id=by.request_id,
        dispatched_at=dispatch_mark(now=now) if due else None,
        attempts=0,
        losses=0,
        deferrals=0,
        fence=0,
    )
    standing = _insert(session, job)
    if standing is not None:
        return standing
    hand_over(session, job)
    if by.kind in AUDITED_KINDS:
        changes = {"arguments": Change(None, job.arguments)}
        _audit(session, job, "job.enqueued", by=by, now=now, changes=changes)
    return job


def _insert(session: DbSession, job: Job) -> Job | None:
    """Insert the job, or return the unfinished one that has its unique key."""
    if job.unique_key is None:
        session.add(job)
        session.flush()
        return None
    for _ in range(INSERT_TRIES):
        try:
            # The unique index settles the race between two enqueues of one key.
            with session.begin_nested():
                session.add(job)
                session.flush()
        except IntegrityError:
            standing = session.scalar(
                select(Job).where(Job.unique_key == job.unique_key, Job.state.in_(ACTIVE))
            )
            if standing is not None:
                return standing
            # It ended between the two statements, so the key is free: try again.
        else:
            return None
    message = f"Jobs under the key {job.unique_key!r} come and go too quickly; try again."
    raise Conflict(message)


def find_job(session: DbSession, job_id: int, *, locked: bool = False) -> Job:
    """Return one job; :class:`NotFound` where there is none.

    ``locked`` keeps others from changing it until the transaction ends.
    """
    job = session.get(Job, job_id, populate_existing=True, with_for_update=locked or None)
    if job is None:
        message = f"There is no job {job_id}."
        raise NotFound(message)
    return job


def find_unfinished(session: DbSession, unique_key: str) -> Job | None:
    """Return the unfinished job that has this key."""
    return session.scalar(select(Job).where(Job.unique_key == unique_key, Job.state.in_(ACTIVE)))


def find_scheduled(session: DbSession, *, skip: int, limit: int) -> tuple[Sequence[Job], int]:
    """Return jobs whose time is still ahead, soonest first, and how many there are up to 10,001."""
    wanted = select(Job).where(Job.state == JobState.SCHEDULED)
    soonest = wanted.order_by(Job.run_at, Job.id).offset(skip).limit(limit)
    return session.scalars(soonest).all(), count_up_to_cap(session, wanted)


def states_of(session: DbSession, job_ids: Sequence[int]) -> dict[int, JobState]:
    """Return the state of each of these jobs: one statement."""
    rows = session.execute(select(Job.id, Job.state).where(Job.id.in_(job_ids)))
    return {row.id: JobState(row.state) for row in rows}


def running_by_worker(session: DbSession) -> dict[str, list[int]]:
    """Return the running jobs of each worker: one statement."""
    rows = session.execute(
        select(Job.worker, Job.id).where(Job.state == JobState.RUNNING).order_by(Job.id)
    )
    running: dict[str, list[int]] = {}
    for worker, job_id in rows:
        running.setdefault(worker, []).append(job_id)
    return running


def cancel(session: DbSession, job_id: int, *, by: Actor, now: datetime) -> Job:
    """Cancel a waiting job at once, or ask a running one to stop; 409 where it has ended."""
    job = find_job(session, job_id)
    ended = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state.in_(sources_of("cancel")))
        .values(state=target_of("cancel"), finished_at=now, dispatched_at=None)
    )
    if not ended.rowcount:  # type: ignore[attr-defined]
        # It runs, or has just been claimed: the worker reads this flag with its next sign of life.
        asked = session.execute(
            update(Job)
            .where(Job.id == job_id, Job.state == JobState.RUNNING)
            .values(cancel_requested_at=now)
        )
        if not asked.rowcount:  # type: ignore[attr-defined]
            message = f"Job {job_id} is {job.state}: there is nothing left to cancel."
            raise Conflict(message)
    _audit(session, job, "job.canceled", by=by, now=now)
    return find_job(session, job_id)


def attempts_of(session: DbSession, job_id: int, *, limit: int) -> Sequence[JobAttempt]:
    """Return the last attempts of one job, newest first, to another capability."""
    return queries.attempts_of(session, job_id, limit)


def retry(
    session: DbSession,
    job_id: int,
    *,
    by: Actor,
    now: datetime,
    run_at: datetime | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Job:
    """Run a dead or canceled job again with a fresh budget, or a waiting one at once.

    The checkpoint is kept: a job goes on where its last committed step left it.  A dead or canceled
    one can be put off to ``run_at``, and be given other ``arguments``, with which it begins anew.
    """
    job = find_job(session, job_id)
    state = JobState(job.state)
    due = run_at is None or run_at <= now
    revived = may("revive", state)
    event = ("revive" if due else "revive_later") if revived else "hasten"
    if not may(event, state):
        message = f"Job {job_id} is {state}: only dead, canceled and waiting jobs can be retried."
        raise Conflict(message)
    kind = find_job_type(job.type)
    fresh: dict[str, Any] = {"attempts": 0, "losses": 0, "deferrals": 0} if revived else {}
    changes: dict[str, Change] = {}
    if revived and arguments is not None:
        checked = parse_arguments(kind, arguments).model_dump(mode="json")
        if checked != job.arguments:
            changes = {"arguments": Change(job.arguments, checked)}
            fresh |= {"arguments": checked, "checkpoint": null()}
    try:
        with session.begin_nested():
            won = session.execute(
                update(Job)
                .where(Job.id == job_id, Job.state == state)
                .values(
                    state=target_of(event),
                    run_at=now if due else run_at,
                    finished_at=None,
                    cancel_requested_at=None,
                    dispatched_at=dispatch_mark(now=now) if due else None,
                    **fresh,
                )
            )
    except IntegrityError:
        message = f"Another job under the key {job.unique_key!r} is unfinished; wait for its end."
        raise Conflict(message) from None
    if not won.rowcount:  # type: ignore[attr-defined]
        message = f"Job {job_id} has just changed; look at it again."
        raise Conflict(message)
    job = find_job(session, job_id)
    hand_over(session, job)
    _audit(session, job, "job.retried", by=by, now=now, changes=changes)
    return job


def save_checkpoint(session: DbSession, claim: Claim, checkpoint: Mapping[str, Any]) -> None:
    """Keep how far the job has come, in the transaction of the work itself.

    :class:`LeaseLost` where another worker holds the job by now: the whole transaction must then
    be rolled back, and with it the work that somebody else does again.
    """
    held = session.execute(
        update(Job)
        .where(Job.id == claim.job_id, Job.fence == claim.fence, Job.state == JobState.RUNNING)
        .values(checkpoint=dict(checkpoint))
    )
    if not held.rowcount:  # type: ignore[attr-defined]
        raise LeaseLost


def _audit(
    session: DbSession,
    job: Job,
    action: str,
    *,
    by: Actor,
    now: datetime,
    changes: Mapping[str, Change] | None = None,
) -> None:
    record(
        session,
        by=by,
        at=now,
        action=action,
        subject="job",
        name=str(job.id),
        changes=changes or {},
    )
