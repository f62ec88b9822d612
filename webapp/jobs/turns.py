"""What a worker writes of several jobs at once: it claims them together and settles successes.

Each job keeps a fence, a lease and an attempt of its own, as if it had been claimed alone; see
``attempts``.  How many are taken is decided in ``choice``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnClause,
    Integer,
    String,
    TableValuedAlias,
    Update,
    bindparam,
    case,
    column,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from webapp.db import BigId, DbSession, Json, UtcTime
from webapp.jobs.attempts import (
    CLAIMED,
    UNHELD,
    claim_of,
    core,
    free_to_begin,
    one_or_many,
    open_attempts,
)
from webapp.jobs.choice import Candidate, Paces, choose, most_at_once
from webapp.jobs.lifecycle import WAITING, target_of
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.steering import Steering
from webapp.jobs.values import Claim, JobState, Outcome


@dataclass(frozen=True, slots=True)
class Look:
    """What a message is about; ``waits`` tells whether its job still does."""

    queue: str
    type: str
    waits: bool


def look_at(session: DbSession, job_id: int) -> Look | None:
    """Read what a message is about; None where there is no such job any more."""
    row = core(session).execute(_LOOK, {"job_id": job_id}).one_or_none()
    return Look(row.queue, row.type, row.state in WAITING) if row is not None else None


def next_queue(session: DbSession, after: str, *, steering: Steering) -> str | None:
    """Return the queue behind this one, by name and round again, in which something is queued."""
    queued = select(func.min(Job.queue)).where(
        Job.state == literal(JobState.QUEUED.value, literal_execute=True), *free_to_begin(steering)
    )
    return session.scalar(queued.where(Job.queue > after)) or session.scalar(queued)


@dataclass(frozen=True, slots=True)
class Batch:
    """Claims in the order to run them; ``more`` tells whether others were left in the queue."""

    claims: list[Claim]
    more: bool


def claim_next(
    session: DbSession,
    queue: str,
    *,
    paces: Paces,
    worker: str,
    lease_seconds: float,
    now: datetime,
) -> Batch:
    """Claim the most urgent job of a queue and perhaps some behind it.

    Only the first has begun; for the others ``started_at`` stays empty until they do.
    """
    wanted = {"queue": queue, "types": list(paces), "most": most_at_once(paces), "now": now}
    rows = core(session).execute(_WAITING, wanted).all()
    chosen = choose([Candidate(row.id, row.type, row.fence) for row in rows], paces)
    if not chosen:
        return Batch([], more=core(session).execute(_ANY, wanted).first() is not None)
    ids = [item.job_id for item in chosen]
    claimed = core(session).execute(
        _CLAIM,
        {
            "ids": ids,
            "first": ids[0],
            "now": now,
            "worker": worker,
            "lease_expires_at": now + timedelta(seconds=lease_seconds),
        },
    )
    found = {row.id: claim_of(row.id, row, worker=worker, now=now) for row in claimed}
    claims = [found[job_id] for job_id in ids if job_id in found]
    if claims:
        _open(session, claims)
    more = len(chosen) < len(rows) or len(rows) == wanted["most"] or rows[0].lower
    return Batch(claims, more=more)


def _open(session: DbSession, claims: Sequence[Claim]) -> None:
    """Write the row of each attempt that begins."""
    connection = core(session)
    if len(claims) > 1 and connection.dialect.name == "postgresql":
        connection.execute(_OPEN_TOGETHER, {"opened": [_opened(claim) for claim in claims]})
    else:
        open_attempts(session, claims)


def _opened(claim: Claim) -> dict[str, Any]:
    return {
        "job_id": claim.job_id,
        "type": claim.type,
        "fence": claim.fence,
        "due_at": claim.due_at and claim.due_at.isoformat(),
        "started_at": claim.started_at.isoformat(),
        "worker": claim.worker,
    }


# Statements are built once: to build one costs more than to run it.
_LOOK = select(Job.queue, Job.type, Job.state).where(Job.id == bindparam("job_id"))
_IS_WAITING = (
    # Spelt out, so that the database sees that its index of the queued jobs will do.
    Job.state == literal(JobState.QUEUED.value, literal_execute=True),
    Job.queue == bindparam("queue"),
    Job.type.in_(bindparam("types", expanding=True)),
    or_(Job.expires_at.is_(None), Job.expires_at > bindparam("now", type_=UtcTime)),
)
_ANY = select(Job.id).where(*_IS_WAITING).limit(1)
# In two steps, each of which the index answers from its end, however many jobs are queued.
_HIGHEST = select(func.max(Job.priority)).where(*_IS_WAITING).scalar_subquery()
_WAITING = (
    select(
        Job.id,
        Job.type,
        Job.fence,
        exists().where(*_IS_WAITING, Job.priority < _HIGHEST).label("lower"),
    )
    .where(*_IS_WAITING, Job.priority == _HIGHEST)
    .order_by(Job.run_at, Job.id)
    .limit(bindparam("most"))
    # What another worker is about to claim is passed over.  SQLite has one writer anyway.
    .with_for_update(skip_locked=True, of=Job)
)
_CLAIM = (
    update(Job)
    # Each was queued when it was locked, and none is touched since.  To name the state once more
    # would tempt a planner without statistics to look for these few among all that are queued.
    .where(Job.id.in_(bindparam("ids", expanding=True)))
    .values(
        state=target_of("claim"),
        fence=Job.fence + 1,
        worker=bindparam("worker"),
        lease_expires_at=bindparam("lease_expires_at", type_=UtcTime),
        started_at=case((Job.id == bindparam("first"), bindparam("now", type_=UtcTime))),
        cancel_requested_at=None,
    )
    .returning(Job.id, *CLAIMED)
)


@dataclass(frozen=True, slots=True)
class Success:
    """A job that came to a good end, not yet written."""

    claim: Claim
    result: Any
    began_at: datetime
    ended_at: datetime


def succeed_all(session: DbSession, successes: Sequence[Success]) -> bool:
    """Settle all of these; False where one was no longer held: the caller then writes nothing.

    The number of rows tells that somebody lost a race, not who; each is then settled by itself.
    """
    connection = core(session)
    if connection.dialect.name == "postgresql":
        # A server plans, runs and answers each statement, so that one for all of them is cheaper.
        ended = {"ended": [_as_json(item) for item in successes]}
        return connection.scalar(_END_TOGETHER, ended) == len(successes)
    won = connection.execute(_SUCCEED, one_or_many([_success(item) for item in successes]))
    connection.execute(_CLOSE, one_or_many([_close(item) for item in successes]))
    return won.rowcount == len(successes)


def _success(item: Success) -> dict[str, Any]:
    return _of(item) | {"result": item.result, "finished_at": item.ended_at}


def _close(item: Success) -> dict[str, Any]:
    return _of(item) | {"ended_at": item.ended_at}


def _as_json(item: Success) -> dict[str, Any]:
    return {
        "job_id": item.claim.job_id,
        "fence": item.claim.fence,
        "result": item.result,
        "started_at": item.began_at.isoformat(),
        "ended_at": item.ended_at.isoformat(),
    }


def _of(item: Success) -> dict[str, Any]:
    return {
        "held_id": item.claim.job_id,
        "held_fence": item.claim.fence,
        "started_at": item.began_at,
    }


def _succeed(job_id: Any, fence: Any, **facts: Any) -> Update:
    held = (Job.id == job_id, Job.fence == fence, Job.state == JobState.RUNNING)
    values = facts | {"state": target_of("succeed"), "attempts": Job.attempts + 1, "error": None}
    return update(Job).where(*held).values(**values, **UNHELD)


def _closed(job_id: Any, fence: Any, **facts: Any) -> Update:
    own = (JobAttempt.job_id == job_id, JobAttempt.fence == fence)
    return update(JobAttempt).where(*own).values(outcome=Outcome.SUCCEEDED, **facts)


_HELD: tuple[Any, Any] = (bindparam("held_id"), bindparam("held_fence"))
_SUCCEED = _succeed(
    *_HELD,
    result=bindparam("result"),
    started_at=bindparam("started_at"),
    finished_at=bindparam("finished_at"),
)
_CLOSE = _closed(*_HELD, started_at=bindparam("started_at"), ended_at=bindparam("ended_at"))


def _given(name: str, *columns: ColumnClause[Any]) -> TableValuedAlias:
    """Return the rows of a list of JSON objects, as PostgreSQL reads them."""
    given = func.json_to_recordset(bindparam(name, type_=Json))
    return given.table_valued(*columns).render_derived(name=name, with_types=True)


_OPENED = _given(
    "opened",
    column("job_id", BigId),
    column("type", String),
    column("fence", Integer),
    column("due_at", UtcTime),
    column("started_at", UtcTime),
    column("worker", String),
)
_OPEN_TOGETHER = insert(JobAttempt).from_select(
    [*_OPENED.c.keys(), "outcome"],
    select(*_OPENED.c, literal(Outcome.RUNNING.value)),
    include_defaults=False,
)
_ENDED = _given(
    "ended",
    column("job_id", BigId),
    column("fence", Integer),
    column("result", Json),
    column("started_at", UtcTime),
    column("ended_at", UtcTime),
)
_SUCCEEDED = _succeed(
    _ENDED.c.job_id,
    _ENDED.c.fence,
    # What is null in the list is none here, and a job without a result has null.
    result=func.coalesce(_ENDED.c.result, literal(None, Json)),
    started_at=_ENDED.c.started_at,
    finished_at=_ENDED.c.ended_at,
)
_CLOSED = _closed(
    _ENDED.c.job_id,
    _ENDED.c.fence,
    started_at=_ENDED.c.started_at,
    ended_at=_ENDED.c.ended_at,
)
# Both see the rows as they were before, so neither waits for the other.
_END_TOGETHER = select(
    select(func.count())
    .select_from(_SUCCEEDED.returning(Job.id).cte("succeeded"))
    .scalar_subquery()
).add_cte(_CLOSED.returning(JobAttempt.id).cte("closed"))
