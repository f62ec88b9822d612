"""Writes what processes tell of their circuits.

A transition is written where the teller knew the newest state (``version``), else it is dropped:
of several processes that open the same circuit at once, one tells it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import update
from sqlalchemy.engine import CursorResult

from webapp.breakers.lifecycle import effective_state, opens_at, state_at
from webapp.breakers.models import CircuitBreakerEvent, CircuitBreakerState
from webapp.breakers.stored import close, count_after_commit, set_force, shared_state, stood_open
from webapp.breakers.values import (
    BreakerState,
    Control,
    EventKind,
    Force,
    SharedState,
    Thresholds,
    Transition,
    TrialEnd,
)
from webapp.db import DbSession, insert_into

PROGRAM: Final = "switchyard"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCount:
    """Failures in a row of a closed circuit, as one process has counted them."""

    name: str
    failures: int
    error: str | None
    version: int


def register(session: DbSession, circuit: SharedState, *, now: datetime) -> None:
    """Add a circuit that nobody has told of yet; one that stands already is left as it is."""
    session.execute(
        insert_into(session, CircuitBreakerState)
        .values(
            name=circuit.name,
            state=circuit.state,
            opened_at=circuit.opened_at,
            open_until=circuit.open_until or opens_at(circuit.opened_at, circuit.open_seconds),
            open_seconds=circuit.open_seconds,
            failures=circuit.failures,
            failure_threshold=circuit.failure_threshold,
            last_error=circuit.last_error,
            opens=circuit.opens,
            successes=circuit.successes,
            declared=circuit.declared.to_json() if circuit.declared else None,
            revision=0,
            force=Force.NONE,
            updated_at=now,
            version=circuit.version,
        )
        .on_conflict_do_nothing()
    )


def declare(session: DbSession, name: str, declared: Thresholds, *, now: datetime) -> None:
    """Note the thresholds that code gives, where they are others by now; no person did it."""
    values: dict[str, Any] = {"declared": declared.to_json(), "updated_at": now}
    session.execute(
        update(CircuitBreakerState)
        .where(CircuitBreakerState.name == name)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def record_transition(session: DbSession, transition: Transition, *, version: int) -> bool:
    """Write a transition that followed on ``version``; False where another came first."""
    opened = transition.new == BreakerState.OPEN
    values: dict[str, object] = {
        "state": transition.new,
        "opened_at": transition.at if opened else None,
        "open_until": opens_at(transition.at, transition.open_seconds) if opened else None,
        "open_seconds": transition.open_seconds,
        "failures": transition.failures,
        "failure_threshold": transition.failure_threshold,
        "opens": transition.opens,
        "successes": transition.successes,
        "trial_until": None,
        "updated_at": transition.at,
        "version": version + 1,
    }
    values |= {"last_error": transition.error} if transition.error else {}
    stood = _stood_open(session, transition)
    # The version settles the race between processes, and between them and a person's reset.
    if not _update(session, transition.name, values, version=version):
        return False
    session.add(
        CircuitBreakerEvent(
            name=transition.name,
            at=transition.at,
            kind=EventKind.TRANSITION,
            old_state=transition.old,
            new_state=transition.new,
            error=transition.error,
            actor=PROGRAM,
        )
    )
    count_after_commit(session, transition.name, transition.new, stood)
    return True


def _stood_open(session: DbSession, transition: Transition) -> float:
    """Return how long the circuit was open that is so no longer, by what all processes know."""
    if transition.old != BreakerState.OPEN:
        return 0.0
    row = _locked(session, transition.name)
    return stood_open(row, transition.at) if row is not None else 0.0


def record_failures(session: DbSession, count: FailureCount, *, now: datetime) -> None:
    """Write how near a closed circuit is to opening; no transition, so the version stays."""
    values: dict[str, object] = {"failures": count.failures, "updated_at": now}
    values |= {"last_error": count.error} if count.error else {}
    _update(session, count.name, values, version=count.version)


def take_trial(
    session: DbSession, name: str, *, seconds: float, now: datetime
) -> tuple[SharedState | None, bool]:
    """Take the one trial of a circuit for so many seconds: its state now, and whether it is ours.

    The first trial after its open time makes it half open.  None where there is no such circuit.
    """
    # The row's lock settles which process it is.
    row = _locked(session, name)
    if row is None:
        return None, False
    state = state_at(BreakerState(row.state), row.open_until, now)
    taken = row.trial_until is not None and row.trial_until > now
    forced = Control(force=Force(row.force), until=row.force_until).at(now) != Force.NONE
    if state != BreakerState.HALF_OPEN or taken or forced:
        return shared_state(row), False
    if row.state == BreakerState.OPEN:
        _half_open(session, row, now=now)
    row.trial_until, row.updated_at = now + timedelta(seconds=seconds), now
    session.flush()
    return shared_state(row), True


def _half_open(session: DbSession, row: CircuitBreakerState, *, now: datetime) -> None:
    stood = stood_open(row, now)
    row.state, row.opened_at, row.open_until = BreakerState.HALF_OPEN, None, None
    row.successes, row.version = 0, row.version + 1
    session.add(
        CircuitBreakerEvent(
            name=row.name,
            at=now,
            kind=EventKind.TRANSITION,
            old_state=BreakerState.OPEN,
            new_state=BreakerState.HALF_OPEN,
            actor=PROGRAM,
        )
    )
    count_after_commit(session, row.name, BreakerState.HALF_OPEN, stood)


def end_trial(
    session: DbSession, end: TrialEnd, *, version: int, lease: datetime, now: datetime
) -> None:
    """Let the next trial begin, where nothing else has happened meanwhile.

    ``lease`` is until when this one might run: a trial that was given up for lost must not end the
    one that another process has begun since.
    """
    session.execute(
        update(CircuitBreakerState)
        .where(
            CircuitBreakerState.name == end.name,
            CircuitBreakerState.version == version,
            CircuitBreakerState.trial_until == lease,
        )
        .values(trial_until=None, successes=end.successes, updated_at=now)
        .execution_options(synchronize_session=False)
    )


def end_force(session: DbSession, name: str, *, version: int, now: datetime) -> None:
    """Let a circuit decide by itself again, since the time that a person gave is over."""
    row = _locked(session, name)
    # Of all processes that see it end, one writes it.
    if row is None or row.version != version or row.force == Force.NONE:
        return
    ended = Force(row.force)
    old = effective_state(state_at(BreakerState(row.state), row.open_until, now), ended)
    close(session, row, now=now)
    set_force(row, Control())
    session.add(
        CircuitBreakerEvent(
            name=name,
            at=now,
            kind=EventKind.FORCE,
            old_state=old,
            new_state=BreakerState.CLOSED,
            note=f"{ended} is over",
            actor=PROGRAM,
        )
    )


def _locked(session: DbSession, name: str) -> CircuitBreakerState | None:
    return session.get(CircuitBreakerState, name, with_for_update=True, populate_existing=True)


def _update(session: DbSession, name: str, values: dict[str, Any], *, version: int) -> bool:
    result = session.execute(
        update(CircuitBreakerState)
        .where(CircuitBreakerState.name == name, CircuitBreakerState.version == version)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return isinstance(result, CursorResult) and result.rowcount == 1
