"""What a worker writes: it claims a job, shows signs of life, and settles the attempt.

Every write names the fence of its claim, so that a worker that was thought dead cannot settle a
job that another one runs by now.  The row count decides each race; the loser changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Update,
    case,
    insert,
    literal,
    or_,
    select,
    update,
)

from webapp.db import DbSession, UtcTime
from webapp.jobs.lifecycle import WAITING, sources_of, target_of
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.steering import UNSTEERED, Steering
from webapp.jobs.values import Claim, JobState, Outcome

ERROR_LENGTH = 500
LOST = "The worker fell silent while it ran this job."


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong in an attempt, as it is kept."""

    error_class: str
    exception_type: str
    message: str
    traceback: str

    @property
    def summary(self) -> str:
        """Return one line for lists."""
        return f"{self.exception_type}: {self.message}"[:ERROR_LENGTH]


def claim(  # noqa: PLR0913 - all but the first two are named at the call
    session: DbSession,
    job_id: int,
    *,
    worker: str,
    lease_seconds: float,
    now: datetime,
    early: bool = False,
    steering: Steering = UNSTEERED,
) -> Claim | None:
    """Take a due job, or return None where another worker has it, it is not due, or is held back.

    ``early`` takes it before its time, for the set-up that runs jobs in the caller.
    """
    # A queued job was due by the clock of whoever queued it, which may be ahead of this one's.
    due = [] if early else [or_(Job.state == JobState.QUEUED, Job.run_at <= now)]
    row = (
        core(session)
        .execute(
            update(Job)
            .where(
                Job.id == job_id,
                Job.state.in_(sources_of("claim")),
                Job.held.is_(False),
                or_(Job.expires_at.is_(None), Job.expires_at > now),
                *due,
                *free_to_begin(steering),
            )
            .values(
                state=target_of("claim"),
                fence=Job.fence + 1,
                worker=worker,
                lease_expires_at=now + timedelta(seconds=lease_seconds),
                started_at=now,
                cancel_requested_at=None,
            )
            .returning(*CLAIMED)
        )
        .one_or_none()
    )
    if row is None:
        return None
    held = claim_of(job_id, row, worker=worker, now=now)
    open_attempts(session, [held])
    return held


#: What a claim returns of its job.
CLAIMED = (
    Job.type,
    Job.fence,
    Job.attempts,
    Job.losses,
    Job.deferrals,
    Job.arguments,
    Job.checkpoint,
    Job.request_id,
    Job.run_at,
)


def free_to_begin(steering: Steering) -> list[ColumnElement[bool]]:
    """Return the conditions on jobs whose queue is served here, and whose type is not paused."""
    paused: list[ColumnElement[bool]] = []
    if steering.paused_queues:
        paused.append(Job.queue.not_in(steering.paused_queues))
    if steering.paused_types:
        paused.append(Job.type.not_in(steering.paused_types))
    if steering.only_queues:
        paused.append(Job.queue.in_(steering.only_queues))
    return paused


def claim_of(job_id: int, row: Row[Any], *, worker: str, now: datetime) -> Claim:
    """Return the claim that an UPDATE has made which returned the columns of ``CLAIMED``."""
    return Claim(
        job_id=job_id,
        type=row.type,
        fence=row.fence,
        attempt=row.attempts + 1,
        losses=row.losses,
        deferrals=row.deferrals,
        arguments=row.arguments,
        checkpoint=row.checkpoint,
        worker=worker,
        started_at=now,
        request_id=row.request_id,
        due_at=row.run_at,
    )


def open_attempts(session: DbSession, claims: Sequence[Claim]) -> None:
    """Write the row of each attempt that begins."""
    rows = [
        {
            "job_id": held.job_id,
            "type": held.type,
            "fence": held.fence,
            "due_at": held.due_at,
            "started_at": held.started_at,
            "outcome": Outcome.RUNNING,
            "worker": held.worker,
        }
        for held in claims
    ]
    core(session).execute(insert(JobAttempt), one_or_many(rows))


def one_or_many(rows: list[dict[str, Any]]) -> Any:
    """Return the parameters of a statement for these rows: a pipeline for one costs more than it.

    A single row is given as such.
    """
    return rows if len(rows) > 1 else rows[0]


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a worker still holds its job, and whether the job was asked to stop."""

    held: bool
    cancelled: bool


def look(session: DbSession, held: Claim) -> Standing:
    """Read whether the claim still holds and whether somebody asked the job to stop."""
    row = session.execute(
        select(Job.state, Job.fence, Job.cancel_requested_at).where(Job.id == held.job_id)
    ).one_or_none()
    if row is None or row.fence != held.fence or row.state != JobState.RUNNING:
        return Standing(held=False, cancelled=False)
    return Standing(held=True, cancelled=row.cancel_requested_at is not None)


def renew(session: DbSession, held: Claim, *, lease_seconds: float, now: datetime) -> bool:
    """Renew the lease; False where the job is no longer this worker's."""
    lease = now + timedelta(seconds=lease_seconds)
    return _won(session, _own(held).values(lease_expires_at=lease))


def show_progress(
    session: DbSession, held: Claim, *, done: int, total: int | None, message: str
) -> bool:
    """Show how far the job has come; False where it is no longer this worker's."""
    values = {"progress_done": done, "progress_total": total, "progress_message": message[:255]}
    return _won(session, _own(held).values(**values))


def succeed(session: DbSession, held: Claim, *, result: Any, now: datetime) -> bool:
    """Settle a success."""
    values = {"result": result, "finished_at": now, "attempts": Job.attempts + 1, "error": None}
    return _settle(session, held, _End("succeed", Outcome.SUCCEEDED, values), now=now)


def retry_later(  # noqa: PLR0913 - the failure and the decision, each named at the call
    session: DbSession,
    held: Claim,
    failure: Failure,
    *,
    at: datetime,
    strategy: str,
    delay: float,
    now: datetime,
) -> bool:
    """Settle a failure that is tried again at ``at``."""
    values = {"run_at": at, "attempts": Job.attempts + 1, "error": failure.summary}
    facts = asdict(failure) | {"strategy": strategy, "delay_seconds": delay}
    return _settle(session, held, _End("retry", Outcome.FAILED, values, facts), now=now)


def bury(session: DbSession, held: Claim, failure: Failure, *, now: datetime) -> bool:
    """Settle a failure that is not tried again; the caller writes the dead letter."""
    values = {"finished_at": now, "attempts": Job.attempts + 1, "error": failure.summary}
    return _settle(session, held, _End("bury", Outcome.FAILED, values, asdict(failure)), now=now)


def defer(session: DbSession, held: Claim, *, reason: str, at: datetime, now: datetime) -> bool:
    """Put back a job that cannot run now through no fault of its own: no attempt is spent."""
    values = {"run_at": at, "deferrals": Job.deferrals + 1, "error": reason[:ERROR_LENGTH]}
    facts = {"message": reason, "delay_seconds": (at - now).total_seconds()}
    return _settle(session, held, _End("retry", Outcome.DEFERRED, values, facts), now=now)


def release(session: DbSession, held: Claim, *, now: datetime) -> bool:
    """Put back a job whose worker is told to stop: neither an attempt nor a loss."""
    return put_back(session, held.job_id, held.fence, now=now)


def put_back(session: DbSession, job_id: int, fence: int, *, now: datetime) -> bool:
    """Do the same in the name of a worker that cannot any more."""
    won = _won(
        session,
        update(Job)
        .where(Job.id == job_id, Job.fence == fence, Job.state == JobState.RUNNING)
        .values(**(_unless_canceled("release", now) | UNHELD | {"run_at": now})),
    )
    if won:
        _close(session, job_id, fence, Outcome.RELEASED, now=now, facts={})
    return won


def give_back(
    session: DbSession, job_id: int, fence: int, *, now: datetime, lapsed: bool = False
) -> bool:
    """Put back a job that was claimed behind others and has not begun: it keeps its place.

    ``lapsed`` does so only where its lease ran out, in the name of a worker that is gone.
    """
    over = [Job.lease_expires_at < now] if lapsed else []
    won = _won(
        session,
        update(Job)
        .where(
            Job.id == job_id,
            Job.fence == fence,
            Job.state == JobState.RUNNING,
            Job.started_at.is_(None),
            *over,
        )
        .values(**_unless_canceled("release", now), **UNHELD),
    )
    if won:
        _close(session, job_id, fence, Outcome.RELEASED, now=now, facts={})
    return won


def begin(session: DbSession, held: Claim, *, at: datetime) -> bool:
    """Note when a job began that was claimed behind others; False where it is no longer held."""
    won = _won(session, _own(held).values(started_at=at))
    if won:
        core(session).execute(
            update(JobAttempt)
            .where(JobAttempt.job_id == held.job_id, JobAttempt.fence == held.fence)
            .values(started_at=at)
        )
    return won


def stop(session: DbSession, held: Claim, *, now: datetime) -> bool:
    """Settle a job that was asked to stop and did."""
    return _settle(session, held, _End("stop", Outcome.CANCELED, {"finished_at": now}), now=now)


def lose(session: DbSession, job_id: int, fence: int, *, give_up: bool, now: datetime) -> bool:
    """Put back a job whose lease ran out, or bury it where it was lost too often.

    Conditional, so that of many beats one wins.
    """
    values: dict[str, Any] = {"losses": Job.losses + 1, "error": LOST}
    if give_up:
        values |= {"state": target_of("bury"), "finished_at": now}
    else:
        values |= _unless_canceled("release", now) | {"run_at": now}
    won = _won(
        session,
        update(Job)
        .where(
            Job.id == job_id,
            Job.fence == fence,
            Job.state == JobState.RUNNING,
            Job.lease_expires_at < now,
        )
        .values(**values, **UNHELD),
    )
    if won:
        # The class of a loss that buried its job, as its letter has it: figures tell them by it.
        facts = {"message": LOST, "error_class": "bug" if give_up else None}
        _close(session, job_id, fence, Outcome.LOST, now=now, facts=facts)
    return won


#: What every settled job no longer has.
UNHELD: dict[str, Any] = {"worker": None, "lease_expires_at": None, "dispatched_at": None}


def _own(held: Claim) -> Update:
    """Begin an UPDATE that only the holder of the claim can make."""
    return update(Job).where(
        Job.id == held.job_id, Job.fence == held.fence, Job.state == JobState.RUNNING
    )


def _won(session: DbSession, statement: Update) -> bool:
    return bool(core(session).execute(statement).rowcount)


def core(session: DbSession) -> Connection:
    """Return the transaction's connection: past the ORM a statement costs half as much.

    Nothing here reads or changes objects of the session.
    """
    return session.connection()


@dataclass(frozen=True, slots=True)
class _End:
    """How an attempt ends: the job's transition and columns, the attempt's outcome and columns."""

    event: str
    outcome: Outcome
    values: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)


def _settle(session: DbSession, held: Claim, end: _End, *, now: datetime) -> bool:
    values = _unless_canceled(end.event, now) | UNHELD | dict(end.values)
    statement = _own(held).values(**values)
    if not _won(session, statement):
        return False
    _close(session, held.job_id, held.fence, end.outcome, now=now, facts=end.facts)
    return True


def _unless_canceled(event: str, now: datetime) -> dict[str, Any]:
    """Return the state that an event leads to.

    A job that was asked to stop while it ran, and would wait again, ends here instead: the wish
    must not be forgotten because its worker was lost or its attempt failed.
    """
    target = target_of(event)
    if target not in WAITING:
        return {"state": target}
    asked = Job.cancel_requested_at.is_not(None)
    return {
        "state": case((asked, JobState.CANCELED.value), else_=target.value),
        "finished_at": case((asked, literal(now, UtcTime)), else_=None),
    }


def _close(
    session: DbSession,
    job_id: int,
    fence: int,
    outcome: Outcome,
    *,
    now: datetime,
    facts: Mapping[str, Any],
) -> None:
    core(session).execute(
        update(JobAttempt)
        .where(JobAttempt.job_id == job_id, JobAttempt.fence == fence)
        .values(outcome=outcome, ended_at=now, **facts)
    )
