"""What pages and programs are shown of schedules.

What became of a schedule's last job is read where the job stands; jobs are known here by the name
of their table only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, Select, String, column, func, select, table
from sqlalchemy.orm import aliased

from webapp.db import BigId, DbSession
from webapp.errors import Invalid
from webapp.schedules.lifecycle import state_of
from webapp.schedules.models import Schedule, ScheduleFiring
from webapp.schedules.service import draft_of, problem_of
from webapp.schedules.timing import check_cron, check_zone, in_words, upcoming
from webapp.schedules.values import FiringOutcome, ScheduleState

PAGE_SIZE = 50
SHOWN_RUNS = 3
#: Figures of the scheduler are those of so long.
SPAN = timedelta(days=1)

_jobs = table("jobs", column("id", BigId), column("state", String))


@dataclass(frozen=True, slots=True)
class LocalTime:
    """A moment, and what a clock in the schedule's time zone shows then."""

    at: datetime
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FiringView:
    """What became of one due time; ``job_state`` is where its job stands by now."""

    id: int
    due_at: datetime
    fired_at: datetime
    outcome: FiringOutcome
    planned: bool
    passed: int
    job_id: int | None
    job_state: str | None
    note: str | None

    @property
    def drift(self) -> float:
        """Return by how many seconds it fired later than planned."""
        return max(0.0, (self.fired_at - self.due_at).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView:
    """One schedule as it is shown."""

    name: str
    type: str
    arguments: Mapping[str, Any]
    cron: str
    words: str
    timezone: str
    overlap: str
    catch_up: str
    priority: int | None
    enabled: bool
    version: int
    state: ScheduleState
    problem: str | None
    last_run_at: datetime | None
    next_run_at: datetime | None
    next_runs: Sequence[LocalTime]
    last: FiringView | None
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str

    @property
    def dom_id(self) -> str:
        """Return the name as a part of an element's id."""
        return self.name.replace(".", "-")


@dataclass(frozen=True, slots=True)
class ScheduleFilters:
    """What narrows the list; an empty text asks for everything."""

    text: str = ""
    state: str = ""

    @property
    def any(self) -> bool:
        """Tell whether anything is narrowed."""
        return bool(self.text or self.state)


@dataclass(frozen=True, slots=True)
class ScheduleList:
    """One page of a list, and how many schedules are in each state."""

    rows: Sequence[ScheduleView]
    total: int
    skip: int
    counts: Mapping[ScheduleState, int]


def list_schedules(
    session: DbSession,
    filters: ScheduleFilters,
    *,
    now: datetime,
    skip: int = 0,
    limit: int = PAGE_SIZE,
) -> ScheduleList:
    """Return the schedules that fit, by name, each with its last firing: one statement."""
    known = [_view(row, now=now) for row in session.execute(_newest_firings())]
    named = [view for view in known if filters.text.lower() in f"{view.name} {view.type}".lower()]
    fitting = [view for view in named if filters.state in {"", view.state}]
    counts = {state: sum(view.state == state for view in named) for state in ScheduleState}
    rows = [_with_runs(view, now, SHOWN_RUNS) for view in fitting[skip : skip + limit]]
    return ScheduleList(rows, len(fitting), skip, counts)


def view_schedule(
    session: DbSession, schedule: Schedule, *, now: datetime, runs: int = SHOWN_RUNS
) -> ScheduleView:
    """Return one schedule as it is shown."""
    row = session.execute(_newest_firings().where(Schedule.id == schedule.id)).one()
    return _with_runs(_view(row, now=now), now, runs)


def next_runs(cron: str, zone: str, after: datetime, count: int) -> list[LocalTime]:
    """Return the next due times, as a clock in that time zone shows them."""
    place = ZoneInfo(zone)
    return [
        LocalTime(at, f"{local:%a} {local.day} {local:%b %Y, %H:%M}")
        for at in upcoming(cron, zone, after, count)
        for local in (at.astimezone(place),)
    ]


def firings_of(session: DbSession, schedule: Schedule, limit: int) -> list[FiringView]:
    """Return the newest firings of a schedule, newest first."""
    found = session.execute(
        select(ScheduleFiring, _jobs.c.state)
        .outerjoin(_jobs, _jobs.c.id == ScheduleFiring.job_id)
        .where(ScheduleFiring.schedule_id == schedule.id)
        .order_by(ScheduleFiring.id.desc())
        .limit(limit)
    )
    return [_firing(firing, state) for firing, state in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerFigures:
    """What waits to be fired now, and what became of the due times of the last day."""

    due: int
    oldest_due_at: datetime | None
    fired: int
    skipped: int
    missed: int
    refused: int


def scheduler_figures(session: DbSession, *, now: datetime) -> SchedulerFigures:
    """Count what is due and what was fired in 24 hours: two statements."""
    due, oldest = session.execute(
        select(func.count(), func.min(Schedule.next_run_at)).where(Schedule.next_run_at <= now)
    ).one()
    rows = session.execute(
        select(ScheduleFiring.outcome, func.count(), func.sum(ScheduleFiring.passed))
        .where(ScheduleFiring.fired_at > now - SPAN, ScheduleFiring.planned)
        .group_by(ScheduleFiring.outcome)
    ).all()
    counts = {outcome: number for outcome, number, _ in rows}
    return SchedulerFigures(
        due=due,
        oldest_due_at=oldest,
        fired=counts.get(FiringOutcome.ENQUEUED, 0),
        skipped=counts.get(FiringOutcome.SKIPPED, 0),
        missed=counts.get(FiringOutcome.MISSED, 0) + sum(passed for *_, passed in rows),
        refused=counts.get(FiringOutcome.REFUSED, 0),
    )


def overdue(session: DbSession, limit: int, *, now: datetime) -> list[tuple[str, datetime]]:
    """Return which schedules are due and since when, the longest first: one statement."""
    wanted = select(Schedule.name, Schedule.next_run_at).where(Schedule.next_run_at <= now)
    rows = session.execute(wanted.order_by(Schedule.next_run_at, Schedule.id).limit(limit))
    return [(name, due_at) for name, due_at in rows if due_at is not None]


def _newest_firings() -> Select[Any]:
    newer = aliased(ScheduleFiring)
    newest = select(func.max(newer.id)).where(newer.schedule_id == Schedule.id).scalar_subquery()
    return (
        select(Schedule, ScheduleFiring, _jobs.c.state)
        .select_from(Schedule)
        .outerjoin(ScheduleFiring, ScheduleFiring.id == newest)
        .outerjoin(_jobs, _jobs.c.id == ScheduleFiring.job_id)
        .order_by(Schedule.name)
    )


def _view(row: Row[Any], *, now: datetime) -> ScheduleView:
    """Return a schedule without its next runs: reckoning those is the dear part of a long list."""
    schedule, firing, job_state = row
    draft = draft_of(schedule)
    problem = problem_of(draft)
    state = state_of(
        enabled=schedule.enabled,
        problem=problem,
        next_run_at=schedule.next_run_at,
        last_outcome=firing.outcome if firing else None,
        last_job_state=job_state,
        now=now,
    )
    return ScheduleView(
        **{item.name: getattr(draft, item.name) for item in fields(draft)},
        words=_words(schedule.cron),
        enabled=schedule.enabled,
        version=schedule.version,
        state=state,
        problem=problem,
        last_run_at=schedule.last_run_at,
        next_run_at=schedule.next_run_at,
        next_runs=(),
        last=_firing(firing, job_state) if firing else None,
        created_at=schedule.created_at,
        created_by=schedule.created_by,
        updated_at=schedule.updated_at,
        updated_by=schedule.updated_by,
    )


def _with_runs(view: ScheduleView, now: datetime, count: int) -> ScheduleView:
    if view.next_run_at is None:
        return view
    try:
        runs = next_runs(view.cron, check_zone(view.timezone), now, count)
    except Invalid:
        return view
    return replace(view, next_runs=runs)


def _words(cron: str) -> str:
    try:
        return in_words(check_cron(cron))
    except Invalid:
        return cron


def _firing(firing: ScheduleFiring, job_state: str | None) -> FiringView:
    return FiringView(
        id=firing.id,
        due_at=firing.due_at,
        fired_at=firing.fired_at,
        outcome=FiringOutcome(firing.outcome),
        planned=firing.planned,
        passed=firing.passed,
        job_id=firing.job_id,
        job_state=job_state,
        note=firing.note,
    )
