"""Writes what processes tell of their circuits, and resets a circuit on a person's word.

A transition is written where the teller knew the newest state (``version``), else it is dropped:
of several processes that open the same circuit at once, one tells it.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import CursorResult

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.breakers.lifecycle import state_at
from webapp.breakers.models import CircuitBreakerEvent, CircuitBreakerState
from webapp.breakers.values import BreakerState, SharedState, Transition
from webapp.db import DbSession
from webapp.errors import Invalid, NotFound

PROGRAM = "switchyard"
MAX_REASON = 500


def states_by_name(session: DbSession, *, now: datetime) -> dict[str, BreakerState]:
    """Return how each circuit stands, by name; one that has been open for its time is half open."""
    rows = session.execute(
        select(
            CircuitBreakerState.name,
            CircuitBreakerState.state,
            CircuitBreakerState.opened_at,
            CircuitBreakerState.open_seconds,
        ).order_by(CircuitBreakerState.name)
    )
    return {
        row.name: state_at(BreakerState(row.state), row.opened_at, row.open_seconds, now)
        for row in rows
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCount:
    """Failures in a row of a closed circuit, as one process has counted them."""

    name: str
    failures: int
    error: str | None
    version: int


def register(session: DbSession, circuit: SharedState, *, now: datetime) -> None:
    """Add a circuit that nobody has told of yet; one that stands already is left as it is."""
    insert = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
    session.execute(
        insert(CircuitBreakerState)
        .values(
            name=circuit.name,
            state=circuit.state,
            opened_at=circuit.opened_at,
            open_seconds=circuit.open_seconds,
            failures=circuit.failures,
            failure_threshold=circuit.failure_threshold,
            last_error=circuit.last_error,
            updated_at=now,
            version=circuit.version,
        )
        .on_conflict_do_nothing()
    )


def record_transition(session: DbSession, transition: Transition, *, version: int) -> bool:
    """Write a transition that followed on ``version``; False where another came first."""
    opened = transition.new == BreakerState.OPEN
    values: dict[str, object] = {
        "state": transition.new,
        "opened_at": transition.at if opened else None,
        "open_seconds": transition.open_seconds,
        "failures": transition.failures,
        "failure_threshold": transition.failure_threshold,
        "updated_at": transition.at,
        "version": version + 1,
    }
    values |= {"last_error": transition.error} if transition.error else {}
    # The version settles the race between processes, and between them and a person's reset.
    if not _update(session, transition.name, values, version=version):
        return False
    session.add(
        CircuitBreakerEvent(
            name=transition.name,
            at=transition.at,
            old_state=transition.old,
            new_state=transition.new,
            error=transition.error,
            actor=PROGRAM,
        )
    )
    return True


def record_failures(session: DbSession, count: FailureCount, *, now: datetime) -> None:
    """Write how near a closed circuit is to opening; no transition, so the version stays."""
    values: dict[str, object] = {"failures": count.failures, "updated_at": now}
    values |= {"last_error": count.error} if count.error else {}
    _update(session, count.name, values, version=count.version)


def reset(session: DbSession, name: str, *, by: Actor, now: datetime, reason: str) -> None:
    """Close a circuit and forget its failures; every process follows within two seconds."""
    reason = reason.strip()
    if not reason:
        raise Invalid.field("reason", "Say why the circuit is reset.")
    if len(reason) > MAX_REASON:
        raise Invalid.field("reason", f"Use at most {MAX_REASON} characters, not {len(reason):,}.")
    row = session.get(CircuitBreakerState, name, with_for_update=True)
    if row is None:
        raise NotFound(f"There is no circuit breaker {name!r}.")
    old = BreakerState(row.state)
    row.state, row.opened_at, row.failures = BreakerState.CLOSED, None, 0
    row.updated_at, row.version = now, row.version + 1
    session.add(
        CircuitBreakerEvent(
            name=name,
            at=now,
            old_state=old,
            new_state=BreakerState.CLOSED,
            error=None,
            actor=by.name,
        )
    )
    record(
        session,
        by=by,
        at=now,
        action="breaker.reset",
        subject="breaker",
        name=name,
        reason=reason,
        changes={"state": Change(old, BreakerState.CLOSED)},
    )


def _update(session: DbSession, name: str, values: dict[str, object], *, version: int) -> bool:
    result = session.execute(
        update(CircuitBreakerState)
        .where(CircuitBreakerState.name == name, CircuitBreakerState.version == version)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return isinstance(result, CursorResult) and result.rowcount == 1
