"""Turning due times into jobs: by the beats of all consumers, or by somebody's hand.

A due time is claimed by the row of its firing, which can be inserted once, in the transaction that
makes its job and moves the schedule on.  So a consumer that is killed in between leaves nothing
half done, and however many beat at once, one fires.
"""

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.db import DbSession, storable
from webapp.errors import Conflict, DomainError
from webapp.jobs.service import enqueue, find_unfinished
from webapp.schedules.models import Schedule, ScheduleFiring
from webapp.schedules.service import find_schedule
from webapp.schedules.timing import check_cron, check_zone, next_after, plan_firing
from webapp.schedules.values import FiringOutcome, Overlap, Plan

BATCH = 100
#: So many firings of each schedule are kept.
KEPT = 2000
MAX_NOTE = 500


def due_schedules(session: DbSession, *, now: datetime) -> list[int]:
    """Return the schedules whose time has come, those that wait longest first.

    This is what each beat costs while nothing is due: one look into one index.
    """
    due = select(Schedule.id).where(Schedule.next_run_at <= now)
    return list(session.scalars(due.order_by(Schedule.next_run_at, Schedule.id).limit(BATCH)))


def fire(session: DbSession, schedule_id: int, *, now: datetime) -> ScheduleFiring | None:
    """Fire a schedule that is due, once; None where another consumer did or nothing is due now.

    Whatever stands in the way of its job is told by the firing, and the schedule moves on.
    """
    schedule = session.get(Schedule, schedule_id, populate_existing=True)
    if schedule is None or schedule.next_run_at is None or schedule.next_run_at > now:
        return None
    plan, problem = _plan(schedule, schedule.next_run_at, now)
    # Conditional on what was read, so that of two consumers one moves it on, and none does after
    # somebody has changed or paused it.
    won = session.execute(
        update(Schedule)
        .where(
            Schedule.id == schedule_id,
            Schedule.next_run_at == schedule.next_run_at,
            Schedule.version == schedule.version,
        )
        .values(next_run_at=plan.next_at)
        .execution_options(synchronize_session=False)
    )
    if not won.rowcount:  # type: ignore[attr-defined]
        return None
    session.refresh(schedule)
    firing = _claim(session, schedule, plan, now=now)
    if firing is None:
        return None
    if problem:
        firing.outcome, firing.note = FiringOutcome.REFUSED, problem
    elif plan.fires:
        _enqueue(session, schedule, firing, now=now)
    _forget_oldest(session, schedule_id)
    session.flush()
    return firing


def _plan(schedule: Schedule, due_at: datetime, now: datetime) -> tuple[Plan, str | None]:
    """Return what to do; where times can no longer be reckoned, the schedule rests until mended."""
    try:
        cron, zone = check_cron(schedule.cron), check_zone(schedule.timezone)
    except DomainError as error:
        return Plan(due_at=due_at, passed=0, fires=False, next_at=None), error.detail
    plan = plan_firing(cron, zone, due_at=due_at, catch_up=schedule.catch_up, now=now)
    return plan, None


def _claim(
    session: DbSession, schedule: Schedule, plan: Plan, *, now: datetime
) -> ScheduleFiring | None:
    firing = ScheduleFiring(
        schedule_id=schedule.id,
        due_at=plan.due_at,
        fired_at=now,
        outcome=FiringOutcome.MISSED,
        planned=True,
        passed=plan.passed,
    )
    try:
        # The unique row settles who fires: a due time that was fired before a clock went back is
        # not fired again.
        with session.begin_nested():
            session.add(firing)
    except IntegrityError:
        return None
    return firing


def _enqueue(
    session: DbSession, schedule: Schedule, firing: ScheduleFiring, *, now: datetime
) -> None:
    """Make the firing's job, or note why there is none."""
    by = Actor("system", f"schedule {schedule.name}")
    standing = _unfinished(session, schedule)
    if standing is not None:
        firing.outcome = FiringOutcome.SKIPPED
        firing.note = f"Job {standing} is unfinished."
        return
    try:
        with session.begin_nested():
            job_id = _make_job(session, schedule, by=by, now=now)
    except SQLAlchemyError:
        # The database's trouble is not the schedule's: a later beat tries again.
        raise
    except Exception as error:  # noqa: BLE001 - a type's own checks may raise anything
        told = (
            error.detail if isinstance(error, DomainError) else f"{type(error).__name__}: {error}"
        )
        firing.outcome, firing.note = FiringOutcome.REFUSED, storable(told)[:MAX_NOTE]
        return
    firing.outcome, firing.job_id = FiringOutcome.ENQUEUED, job_id
    schedule.last_run_at = now


def _make_job(session: DbSession, schedule: Schedule, *, by: Actor, now: datetime) -> int:
    job = enqueue(
        session,
        schedule.type,
        schedule.arguments,
        by=by,
        now=now,
        priority=schedule.priority,
        unique_key=_key(schedule),
    )
    return job.id


def _key(schedule: Schedule) -> str | None:
    """Return the key that one unfinished job at most may have."""
    return f"schedule:{schedule.id}" if schedule.overlap == Overlap.SKIP else None


def _unfinished(session: DbSession, schedule: Schedule) -> int | None:
    """Return the unfinished job for whose end this schedule's rule is to wait."""
    key = _key(schedule)
    job = find_unfinished(session, key) if key else None
    return job.id if job else None


def _forget_oldest(session: DbSession, schedule_id: int) -> None:
    mine = ScheduleFiring.schedule_id == schedule_id
    oldest = select(ScheduleFiring.id).where(mine).order_by(ScheduleFiring.id.desc())
    limit = oldest.offset(KEPT - 1).limit(1).scalar_subquery()
    session.execute(
        delete(ScheduleFiring)
        .where(mine, ScheduleFiring.id < limit)
        .execution_options(synchronize_session=False)
    )


def run_schedule(session: DbSession, name: str, *, by: Actor, now: datetime) -> ScheduleFiring:
    """Run a schedule now, also a paused one; its next due time stays.

    :class:`Conflict` where its rule is to skip and a job of it is unfinished.
    """
    schedule = find_schedule(session, name)
    standing = _unfinished(session, schedule)
    if standing is not None:
        raise Conflict(f"Job {standing} of {name} is unfinished; wait for its end.")
    job_id = _make_job(session, schedule, by=by, now=now)
    firing = ScheduleFiring(
        schedule_id=schedule.id,
        due_at=now,
        fired_at=now,
        outcome=FiringOutcome.ENQUEUED,
        planned=False,
        passed=0,
        job_id=job_id,
        note=f"Run by {by.name}.",
    )
    try:
        with session.begin_nested():
            session.add(firing)
    except IntegrityError:
        raise Conflict(f"{name} was run this very moment.") from None
    schedule.last_run_at = now
    record(session, by=by, at=now, action="schedule.ran", subject="schedule", name=name)
    return firing


def realign(session: DbSession, *, now: datetime) -> int:
    """Bring back schedules that wait for too late a time, after a clock went back; count them.

    What was fired while the clock was ahead stands in its row, and is not fired again.
    """
    ahead = session.scalars(select(Schedule).where(Schedule.next_run_at > now)).all()
    return sum(_bring_back(session, schedule, now) for schedule in ahead)


def _bring_back(session: DbSession, schedule: Schedule, now: datetime) -> bool:
    try:
        nearest = next_after(check_cron(schedule.cron), check_zone(schedule.timezone), now)
    except DomainError:
        return False
    if nearest is None or schedule.next_run_at is None or nearest >= schedule.next_run_at:
        return False
    # Conditional, as in a firing.
    moved = session.execute(
        update(Schedule)
        .where(Schedule.id == schedule.id, Schedule.next_run_at == schedule.next_run_at)
        .values(next_run_at=nearest)
        .execution_options(synchronize_session=False)
    )
    return bool(moved.rowcount)  # type: ignore[attr-defined]
