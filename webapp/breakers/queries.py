"""Reads circuits: for the processes that share them, for the page and for the overview."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ScalarSelect, func, select

from webapp.breakers.lifecycle import state_at
from webapp.breakers.models import CircuitBreakerEvent, CircuitBreakerState
from webapp.breakers.values import BreakerState, SharedState
from webapp.db import DbSession

EVENTS_SHOWN = 5
# More circuits than anybody reads; the page says so where there are.
BREAKERS_SHOWN = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One transition as the page shows it."""

    at: datetime
    old: BreakerState
    new: BreakerState
    error: str | None
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRow:
    """One circuit as the page shows it; ``trial_at`` is when an open one lets a call through."""

    name: str
    state: BreakerState
    failures: int
    failure_threshold: int
    open_seconds: float
    trial_at: datetime | None
    last_error: str | None
    updated_at: datetime
    events: Sequence[Event]


def shared_states(session: DbSession) -> list[SharedState]:
    """Return every circuit as the processes know it."""
    rows = session.scalars(select(CircuitBreakerState))
    return [
        SharedState(
            name=row.name,
            state=BreakerState(row.state),
            opened_at=row.opened_at,
            open_seconds=row.open_seconds,
            failures=row.failures,
            failure_threshold=row.failure_threshold,
            last_error=row.last_error,
            version=row.version,
        )
        for row in rows
    ]


def breaker_rows(session: DbSession, *, now: datetime) -> list[BreakerRow]:
    """Return the circuits, those that are not closed first, each with its last transitions.

    An open circuit whose time is over shows as half open, since its next call is a trial.
    """
    rows = session.scalars(
        select(CircuitBreakerState)
        .order_by(CircuitBreakerState.state == BreakerState.CLOSED, CircuitBreakerState.name)
        .limit(BREAKERS_SHOWN)
    ).all()
    events = _last_events(session, [row.name for row in rows])
    return [_row(row, events.get(row.name, ()), now) for row in rows]


def open_count() -> ScalarSelect[int]:
    """Return a statement that counts the circuits which refuse calls, or wait for a trial."""
    return (
        select(func.count())
        .select_from(CircuitBreakerState)
        .where(CircuitBreakerState.state != BreakerState.CLOSED)
        .scalar_subquery()
    )


def _row(row: CircuitBreakerState, events: Sequence[Event], now: datetime) -> BreakerRow:
    state = state_at(BreakerState(row.state), row.opened_at, row.open_seconds, now)
    trial_at = None
    if state == BreakerState.OPEN and row.opened_at is not None:
        trial_at = row.opened_at + timedelta(seconds=row.open_seconds)
    return BreakerRow(
        name=row.name,
        state=state,
        failures=row.failures,
        failure_threshold=row.failure_threshold,
        open_seconds=row.open_seconds,
        trial_at=trial_at,
        last_error=row.last_error,
        updated_at=row.updated_at,
        events=events,
    )


def _last_events(session: DbSession, names: list[str]) -> Mapping[str, Sequence[Event]]:
    """The last few transitions of each circuit, in one statement."""
    place = func.row_number().over(
        partition_by=CircuitBreakerEvent.name, order_by=CircuitBreakerEvent.id.desc()
    )
    ranked = (
        select(CircuitBreakerEvent.id, place.label("place"))
        .where(CircuitBreakerEvent.name.in_(names))
        .subquery()
    )
    rows = session.scalars(
        select(CircuitBreakerEvent)
        .join(ranked, ranked.c.id == CircuitBreakerEvent.id)
        .where(ranked.c.place <= EVENTS_SHOWN)
        .order_by(CircuitBreakerEvent.id.desc())
    )
    events: defaultdict[str, list[Event]] = defaultdict(list)
    for row in rows:
        events[row.name].append(
            Event(
                at=row.at,
                old=BreakerState(row.old_state),
                new=BreakerState(row.new_state),
                error=row.error,
                actor=row.actor,
            )
        )
    return events
