"""Taking, cancelling and retrying jobs, and the checkpoint of a running one.

Knows nothing of workers or of the queue's make; what a worker writes is in ``attempts``.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Unpack

from sqlalchemy import insert, null, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm.attributes import instance_dict

from webapp import traces
from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Conflict, Invalid, NotFound
from webapp.jobs import queries
from webapp.jobs.broker import dispatch_mark, hand_over
from webapp.jobs.journal import note_origin
from webapp.jobs.lifecycle import ACTIVE, WAITING, may, sources_of, target_of
from webapp.jobs.models import Job, JobAttempt, JobDependency
from webapp.jobs.registry import find_job_type, find_open_type, parse_arguments
from webapp.jobs.values import Claim, JobState, LeaseLost
from webapp.jobs.wishes import MAX_DEPENDENCIES, JobOptions, Wish, check_priority, row_of
from webapp.paging import count_up_to_cap

# Whoever acts by hand is audited; programs that enqueue by the thousand are in the ledger itself.
AUDITED_KINDS = frozenset({"user", "command"})
# Each try means that a job of the same key began and ended within two statements.
INSERT_TRIES = 5


def enqueue(
    session: DbSession,
    type_name: str,
    arguments: Mapping[str, Any],
    *,
    by: Actor,
    now: datetime,
    **options: Unpack[JobOptions],
) -> Job:
    """Take a job; it stands once the caller's transaction is committed.

    :class:`Invalid` names the arguments that do not fit the type's schema, and the options that
    cannot be.  With ``unique_key`` the job that already stands under that key, unfinished, is
    returned instead of a second one.
    """
    row = row_of(Wish(type_name, arguments, options), by=by, now=now)
    wanted = _check_dependencies(session, options)
    _hold(row, wanted) if wanted else _mark(row, now)
    if row["unique_key"] is not None:
        standing = _insert_unique(session, row)
        if standing is not None:
            return standing
    else:
        row["id"] = session.execute(_INSERT, row).scalar_one()
    job = _as_job(session, row)
    _depend(session, row["id"], wanted)
    _trace(session, [job.id], {"job.id": job.id, "job.type": job.type}, now=now)
    hand_over(session, job.id, priority=job.priority, stamp=job.dispatched_at)
    if by.kind in AUDITED_KINDS:
        changes = {"arguments": Change(None, job.arguments)}
        _audit(session, job, "job.enqueued", by=by, now=now, changes=changes)
    return job


def enqueue_all(
    session: DbSession,
    wishes: Sequence[Wish],
    *,
    by: Actor,
    now: datetime,
    batch_id: int | None = None,
) -> list[int]:
    """Take many jobs with few statements, and return their ids in the order given.

    All or none: :class:`Invalid` names the first that does not fit as ``jobs.N.field``.  A unique
    key is for jobs that are taken one by one.
    """
    rows = [_row_of_many(number, wish, by=by, now=now) for number, wish in enumerate(wishes)]
    dependencies = [_check_dependencies(session, wish.options) for wish in wishes]
    for row, wanted in zip(rows, dependencies, strict=True):
        row["batch_id"] = batch_id
        _hold(row, wanted) if wanted else _mark(row, now)
    ids = list(session.execute(_INSERT_ALL, rows).scalars()) if rows else []
    for job_id, row, wanted in zip(ids, rows, dependencies, strict=True):
        _depend(session, job_id, wanted)
        hand_over(session, job_id, priority=row["priority"], stamp=row["dispatched_at"])
    _trace(session, ids, {"job.count": len(ids)}, now=now)
    return ids


# Core statements: the ORM's way of inserting costs twice as much.
_INSERT = insert(Job.__table__).returning(Job.__table__.c.id)  # type: ignore[arg-type]
_EMPTY = dict.fromkeys(column.key for column in Job.__table__.columns)
_INSERT_ALL = insert(Job.__table__).returning(  # type: ignore[arg-type]
    Job.__table__.c.id, sort_by_parameter_order=True
)


def _row_of_many(number: int, wish: Wish, *, by: Actor, now: datetime) -> dict[str, Any]:
    try:
        if wish.options.get("unique_key") is not None:
            raise Invalid.field("unique_key", "Jobs with a key are enqueued one by one.")
        return row_of(wish, by=by, now=now)
    except Invalid as error:
        errors = {f"jobs.{number}.{name}": list(texts) for name, texts in error.errors.items()}
        raise Invalid(f"Job {number}: {error.detail}", errors) from None


def _mark(row: dict[str, Any], now: datetime) -> None:
    """Mark a due job as handed over, which it is once the transaction stands."""
    if row["state"] == JobState.QUEUED:
        row["dispatched_at"] = dispatch_mark(now=now)


def _hold(row: dict[str, Any], wanted: Collection[int]) -> None:
    """Let a job wait for others; a beat lets it go once all of them have succeeded."""
    row |= {"held": bool(wanted), "state": JobState.SCHEDULED}


def _as_job(session: DbSession, row: Mapping[str, Any]) -> Job:
    """Return the job of a row that was just inserted, as if the session had read it."""
    job = Job()
    # What is left out of the row is empty in the database, and need not be read to be known.
    instance_dict(job).update({**_EMPTY, **row})
    make_transient_to_detached(job)
    session.add(job)
    return job


def _check_dependencies(session: DbSession, options: JobOptions) -> set[int]:
    wanted = set(options.get("depends_on") or ())
    if len(wanted) > MAX_DEPENDENCIES:
        raise Invalid.field("depends_on", f"Name at most {MAX_DEPENDENCIES} jobs.")
    if not wanted:
        return wanted
    states = states_of(session, sorted(wanted))
    if missing := sorted(wanted - states.keys()):
        raise Invalid.field("depends_on", f"There is no job {missing[0]}.")
    canceled = sorted(job_id for job_id, state in states.items() if state == JobState.CANCELED)
    if canceled:
        message = f"Job {canceled[0]} is canceled, so that this one could never begin."
        raise Invalid.field("depends_on", message)
    return wanted


def _depend(session: DbSession, job_id: int, wanted: Collection[int]) -> None:
    if wanted:
        rows = [{"job_id": job_id, "depends_on_id": other} for other in wanted]
        session.execute(insert(JobDependency), rows)


def _trace(
    session: DbSession, job_ids: Sequence[int], facts: Mapping[str, traces.Value], *, now: datetime
) -> None:
    """Keep where in a trace jobs are enqueued, so that their attempts stand in the same one."""
    if not job_ids or not traces.is_traced():
        return
    name = f"send {facts.get('job.type', 'jobs')}"
    with traces.span(name, kind=traces.Kind.PRODUCER, facts=facts):
        if (place := traces.place()) is not None:
            note_origin(session, job_ids, place, now=now)


def _insert_unique(session: DbSession, row: dict[str, Any]) -> Job | None:
    """Insert the job, or return the unfinished one that has its unique key."""
    for _ in range(INSERT_TRIES):
        try:
            # The unique index settles the race between two enqueues of one key.
            with session.begin_nested():
                row["id"] = session.execute(_INSERT, row).scalar_one()
        except IntegrityError:
            standing = find_unfinished(session, row["unique_key"])
            if standing is not None:
                return standing
            # It ended between the two statements, so the key is free: try again.
        else:
            return None
    message = f"Jobs under the key {row['unique_key']!r} come and go too quickly; try again."
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
        .values(state=target_of("cancel"), finished_at=now, dispatched_at=None, held=False)
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
    changes: dict[str, Change] = {}
    if revived and arguments is not None:
        changes = _other_arguments(job, arguments)
    else:
        _check_still_fits(job)
    values: dict[str, Any] = {
        "state": target_of(event),
        "run_at": now if due else run_at,
        "dispatched_at": dispatch_mark(now=now) if due else None,
    }
    if revived:
        values |= {"attempts": 0, "losses": 0, "deferrals": 0}
    if changes:
        values |= {"arguments": changes["arguments"].new, "checkpoint": null()}
    _begin_again(session, job, values)
    job = find_job(session, job_id)
    hand_over(session, job_id, priority=job.priority, stamp=job.dispatched_at)
    _audit(session, job, "job.retried", by=by, now=now, changes=changes)
    return job


def _other_arguments(job: Job, arguments: Mapping[str, Any]) -> dict[str, Change]:
    checked = parse_arguments(find_open_type(job.type), arguments).model_dump(mode="json")
    if checked == job.arguments:
        return {}
    return {"arguments": Change(job.arguments, checked)}


def _begin_again(session: DbSession, job: Job, values: Mapping[str, Any]) -> None:
    """Give a job its new state, on the condition that it still has the one that was read."""
    try:
        with session.begin_nested():
            won = session.execute(
                update(Job)
                .where(Job.id == job.id, Job.state == job.state)
                .values(
                    finished_at=None,
                    cancel_requested_at=None,
                    held=False,
                    expires_at=None,
                    callback_job_id=None,
                    **values,
                )
            )
    except IntegrityError:
        message = f"Another job under the key {job.unique_key!r} is unfinished; wait for its end."
        raise Conflict(message) from None
    if not won.rowcount:  # type: ignore[attr-defined]
        message = f"Job {job.id} has just changed; look at it again."
        raise Conflict(message)


def give_up_on(session: DbSession, job_id: int, *, now: datetime) -> None:
    """Cancel the jobs that wait for a dead one, which nobody is going to retry."""
    waiting = select(JobDependency.job_id).where(JobDependency.depends_on_id == job_id)
    session.execute(
        update(Job)
        .where(Job.id.in_(waiting), Job.held, Job.state.in_(sources_of("cancel")))
        .values(
            state=target_of("cancel"),
            held=False,
            finished_at=now,
            error=f"Job {job_id}, which it waited for, was given up.",
        )
        .execution_options(synchronize_session=False)
    )


def _check_still_fits(job: Job) -> None:
    """Refuse to run again what would fail at once: its type is gone, or takes other arguments."""
    try:
        parse_arguments(find_job_type(job.type), job.arguments)
    except NotFound as error:
        raise Conflict(f"Job {job.id} cannot run again: {error.detail}") from None
    except Invalid as error:
        message = f"Job {job.id} cannot run again: {job.type} now takes other arguments."
        raise Conflict(f"{message} {error.detail}") from None


def reprioritize(
    session: DbSession, job_id: int, *, by: Actor, now: datetime, priority: int
) -> Job:
    """Give a waiting job another priority; :class:`Conflict` where it has begun or ended."""
    check_priority(priority)
    job = find_job(session, job_id)
    before = job.priority
    # Conditional, since a worker may claim it at this moment.
    changed = session.execute(
        update(Job).where(Job.id == job_id, Job.state.in_(WAITING)).values(priority=priority)
    )
    if not changed.rowcount:  # type: ignore[attr-defined]
        raise Conflict(f"Job {job_id} is {job.state}: its priority no longer counts.")
    changes = {"priority": Change(before, priority)}
    _audit(session, job, "job.reprioritized", by=by, now=now, changes=changes)
    return find_job(session, job_id)


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
