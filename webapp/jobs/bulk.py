"""What is done to many jobs at once: which ones an order means, and doing it batch by batch.

Each job is changed by the same service as one alone, in the name of whoever gave the order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, select

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Conflict, DomainError, Invalid
from webapp.jobs import service
from webapp.jobs.filters import JobFilters, narrowed
from webapp.jobs.lifecycle import sources_of
from webapp.jobs.models import Job
from webapp.jobs.values import JobState
from webapp.jobs.wishes import check_priority
from webapp.paging import COUNT_CAP
from webapp.reasons import checked_reason

#: The type of the job that carries out what is too much for a request.
BULK_TYPE: Final = "job-bulk"
#: So many jobs are changed in a request, or in one transaction of that job.
TOGETHER: Final = 100
MOST_IDS: Final = 1_000
NO_FILTERS: Final = JobFilters()
#: So many refusals are told in full.
MOST_REFUSALS: Final = 20


class BulkAction(StrEnum):
    """What can be done to many jobs."""

    RETRY = "retry"
    RUN_NOW = "run_now"
    CANCEL = "cancel"
    REPRIORITIZE = "reprioritize"


#: The states in which a job lets it be done.
STATES: Final[dict[BulkAction, frozenset[JobState]]] = {
    BulkAction.RETRY: sources_of("revive"),
    BulkAction.RUN_NOW: sources_of("hasten"),
    BulkAction.CANCEL: sources_of("cancel") | {JobState.RUNNING},
    BulkAction.REPRIORITIZE: sources_of("cancel"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An action, and the jobs that it is meant for: some by their ids, else those of ``filters``.

    ``until`` is the last job that existed when the order was looked at; later ones are left alone.
    """

    action: BulkAction
    ids: Sequence[int] = ()
    filters: JobFilters = NO_FILTERS
    priority: int | None = None
    until: int | None = None

    def checked(self) -> "Order":
        """Return the order; :class:`Invalid` names what does not fit."""
        if len(self.ids) > MOST_IDS:
            raise Invalid.field("ids", f"Name at most {MOST_IDS:,} jobs, or use a filter.")
        if self.action == BulkAction.REPRIORITIZE:
            if self.priority is None:
                raise Invalid.field("priority", "Say which priority, from 0 to 100.")
            check_priority(self.priority)
        return self


@dataclass(frozen=True, slots=True)
class Refusal:
    """A job to which it was not done, and why."""

    id: int
    why: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a part of an order; ``last`` is its last job, None where there were none."""

    done: int
    refusals: Sequence[Refusal]
    last: int | None


@dataclass(frozen=True, slots=True)
class Survey:
    """What an order would mean now: how many jobs in each state, counted up to one past the cap."""

    states: dict[JobState, int]
    newest: int | None

    @property
    def total(self) -> int:
        """Return how many jobs it means, at most as many as are counted."""
        return min(COUNT_CAP, sum(self.states.values()))

    @property
    def capped(self) -> bool:
        """Tell whether there are more than were counted."""
        return sum(self.states.values()) > COUNT_CAP


def survey(session: DbSession, order: Order) -> Survey:
    """Count what an order means: two statements."""
    some = _fitting(order).with_only_columns(Job.state).limit(COUNT_CAP + 1).subquery()
    counts = select(some.c.state, func.count()).group_by(some.c.state)
    states = {JobState(state): count for state, count in session.execute(counts)}
    return Survey(states, order.until or session.scalar(select(func.max(Job.id))))


def samples(session: DbSession, order: Order, limit: int) -> Sequence[Job]:
    """Return the first jobs that an order means."""
    return session.scalars(_fitting(order).order_by(Job.id).limit(limit)).all()


def carry_out(
    session: DbSession, order: Order, *, by: Actor, now: datetime, after: int = 0
) -> Outcome:
    """Do it to the next jobs behind ``after``, at most a hundred, each or not at all."""
    wanted = _meant(order).with_only_columns(Job.id, Job.state).where(Job.id > after)
    found = session.execute(wanted.order_by(Job.id).limit(TOGETHER)).all()
    verb = _verb(session, order, by=by, now=now)
    refusals = []
    for job_id, state in found:
        try:
            if state not in STATES[order.action]:
                raise Conflict(f"Job {job_id} is {state}.")
            with session.begin_nested():
                verb(job_id)
        except DomainError as error:
            refusals.append(Refusal(job_id, error.detail))
    return Outcome(len(found) - len(refusals), refusals, found[-1].id if found else None)


def note_order(
    session: DbSession, order: Order, *, by: Actor, now: datetime, jobs: int, reason: str
) -> None:
    """Add the order as a whole to the audit; each job has an entry of its own."""
    reason = checked_reason(reason, missing=None)
    told: dict[str, Any] = order.filters.given() | {"jobs": jobs}
    if order.ids:
        told["ids"] = list(order.ids)
    if order.priority is not None:
        told["priority"] = order.priority
    record(
        session,
        by=by,
        at=now,
        action="job_bulk.ordered",
        subject="job_bulk",
        name=order.action,
        reason=reason,
        changes={name: Change(None, value) for name, value in told.items()},
    )


def _verb(session: DbSession, order: Order, *, by: Actor, now: datetime) -> Callable[[int], object]:
    match order.action:
        case BulkAction.RETRY | BulkAction.RUN_NOW:
            return lambda job_id: service.retry(session, job_id, by=by, now=now)
        case BulkAction.CANCEL:
            return lambda job_id: service.cancel(session, job_id, by=by, now=now)
        case BulkAction.REPRIORITIZE:
            priority = order.priority or 0
            return lambda job_id: service.reprioritize(
                session, job_id, by=by, now=now, priority=priority
            )


def _meant(order: Order) -> Select[tuple[Job]]:
    """Return the jobs that are named, in whatever state, or those of the filters that let it."""
    if order.ids:
        return select(Job).where(Job.id.in_(order.ids))
    return _fitting(order)


def _fitting(order: Order) -> Select[tuple[Job]]:
    wanted = narrowed(order.filters).where(*_letting(order))
    if order.ids:
        wanted = wanted.where(Job.id.in_(order.ids))
    return wanted if order.until is None else wanted.where(Job.id <= order.until)


def _letting(order: Order) -> list[ColumnElement[bool]]:
    letting: list[ColumnElement[bool]] = [Job.state.in_(STATES[order.action])]
    if order.action == BulkAction.RUN_NOW:
        # What waits for other jobs is run by its own hand only.
        letting.append(Job.held.is_(False))
    return letting
