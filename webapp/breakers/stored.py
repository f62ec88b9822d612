"""The row of a circuit: as processes know it, and how it is closed, forced and counted."""

from datetime import datetime

from webapp.breakers.lifecycle import effective_state, state_at
from webapp.breakers.meters import count_transition
from webapp.breakers.models import CircuitBreakerState
from webapp.breakers.values import BreakerState, Control, Force, SharedState, Thresholds
from webapp.db import DbSession, after_commit


def shared_state(row: CircuitBreakerState) -> SharedState:
    """Return a row as processes know it."""
    return SharedState(
        name=row.name,
        state=BreakerState(row.state),
        opened_at=row.opened_at,
        open_until=row.open_until,
        open_seconds=row.open_seconds,
        failures=row.failures,
        failure_threshold=row.failure_threshold,
        last_error=row.last_error,
        version=row.version,
        opens=row.opens,
        successes=row.successes,
        trial_until=row.trial_until,
        declared=Thresholds.stored(row.declared),
        thresholds=Thresholds.stored(row.thresholds),
        revision=row.revision,
        control=Control(
            force=Force(row.force),
            until=row.force_until,
            reason=row.force_reason,
            by=row.force_by,
        ),
    )


def effective_thresholds(row: CircuitBreakerState) -> Thresholds:
    """Return the thresholds that hold: a person's, else the code's."""
    return Thresholds.stored(row.thresholds) or declared_thresholds(row)


def declared_thresholds(row: CircuitBreakerState) -> Thresholds:
    """Return the thresholds of the code."""
    declared = Thresholds.stored(row.declared)
    if declared is None:
        # Registered by a version of this program that knew but two of them.
        return Thresholds(failures=max(row.failure_threshold, 1))
    return declared


def state_shown(row: CircuitBreakerState, now: datetime) -> str:
    """Return the state that a person saw."""
    return effective_state(
        state_at(BreakerState(row.state), row.open_until, now),
        Control(force=Force(row.force), until=row.force_until).at(now),
    )


def stood_open(row: CircuitBreakerState, now: datetime) -> float:
    """Return for how many seconds it has refused calls since it opened, 0 where it is not open."""
    if row.opened_at is None:
        return 0.0
    # After its open time it only waits for a call.
    until = now if row.open_until is None else min(now, row.open_until)
    return max(0.0, (until - row.opened_at).total_seconds())


def close(session: DbSession, row: CircuitBreakerState, *, now: datetime) -> None:
    """Close it with nothing counted; a change of state only where it was not closed already."""
    if row.state != BreakerState.CLOSED:
        count_after_commit(session, row.name, BreakerState.CLOSED, stood_open(row, now))
    row.state, row.opened_at, row.open_until = BreakerState.CLOSED, None, None
    row.failures = row.opens = row.successes = 0
    row.trial_until, row.updated_at, row.version = None, now, row.version + 1


def set_force(row: CircuitBreakerState, control: Control) -> None:
    """Note what is forced, or that nothing is."""
    forced = control.force != Force.NONE
    row.force, row.force_until = control.force, control.until
    row.force_reason = control.reason if forced else None
    row.force_by = control.by if forced else None


def count_after_commit(
    session: DbSession, name: str, to: BreakerState, open_seconds: float
) -> None:
    """Count a change of state once it stands."""

    def count() -> None:
        count_transition(name, to, open_seconds=open_seconds)

    after_commit(session, count)
