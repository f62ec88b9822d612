"""Removes circuits that nothing uses any more, and the oldest of their history."""

from datetime import datetime

from sqlalchemy import Text, cast, delete, exists, or_, select

from webapp.breakers.models import (
    CircuitBreakerEvent,
    CircuitBreakerMinute,
    CircuitBreakerState,
    CircuitBreakerUse,
)
from webapp.breakers.values import Force
from webapp.db import DbSession


def remove_events(session: DbSession, *, before: datetime, most: int) -> int:
    """Remove the oldest events from before a time, and return how many went."""
    oldest = (
        select(CircuitBreakerEvent.id)
        .where(CircuitBreakerEvent.at < before)
        .order_by(CircuitBreakerEvent.at, CircuitBreakerEvent.id)
        .limit(most)
    )
    gone = session.execute(
        delete(CircuitBreakerEvent)
        .where(CircuitBreakerEvent.id.in_(oldest))
        .execution_options(synchronize_session=False)
    )
    return int(gone.rowcount)  # type: ignore[attr-defined]


def remove_unused(session: DbSession, *, before: datetime, most: int) -> int:
    """Remove circuits that nothing has used since a time, and return how many went.

    What a person forces or has set is kept.  Guards are named after hosts that somebody typed, so
    without this there would be more of them for ever.  One that is called again begins closed, as
    it would anyhow: no circuit stays open for so long by itself.
    """
    state = CircuitBreakerState
    minutes = exists().where(
        CircuitBreakerMinute.name == state.name, CircuitBreakerMinute.minute >= before
    )
    uses = exists().where(CircuitBreakerUse.name == state.name, CircuitBreakerUse.seen_at >= before)
    # In order of names, as processes write; one that is being written is in use.
    names = session.scalars(
        select(state.name)
        .where(state.updated_at < before, state.force == Force.NONE, ~minutes, ~uses)
        # "Nothing" is null to JSON where somebody went back to the thresholds of the code.
        .where(or_(state.thresholds.is_(None), cast(state.thresholds, Text) == "null"))
        .order_by(state.name)
        .limit(most)
        .with_for_update(skip_locked=True)
    ).all()
    for model in (CircuitBreakerEvent, CircuitBreakerMinute, CircuitBreakerUse, state):
        session.execute(
            delete(model).where(model.name.in_(names)).execution_options(synchronize_session=False)
        )
    return len(names)
