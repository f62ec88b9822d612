"""Writes what people have breakers do; what processes tell of them is for ``transitions``."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.breakers.lifecycle import effective_state, state_at
from webapp.breakers.models import CircuitBreakerEvent, CircuitBreakerState
from webapp.breakers.news import news
from webapp.breakers.stored import (
    close,
    declared_thresholds,
    effective_thresholds,
    set_force,
    state_shown,
)
from webapp.breakers.values import BreakerState, Control, EventKind, Force
from webapp.db import DbSession, after_commit
from webapp.errors import Conflict, Invalid, NotFound
from webapp.reasons import checked_reason

# A force that is to end later than that is meant to have no end.
MAX_FORCED: Final = timedelta(days=366)


def states_by_name(session: DbSession, *, now: datetime) -> dict[str, BreakerState]:
    """Return what calls meet at each circuit, by name: its state by the time, or what is forced."""
    rows = session.execute(
        select(
            CircuitBreakerState.name,
            CircuitBreakerState.state,
            CircuitBreakerState.open_until,
            CircuitBreakerState.force,
            CircuitBreakerState.force_until,
        ).order_by(CircuitBreakerState.name)
    )
    return {
        row.name: effective_state(
            state_at(BreakerState(row.state), row.open_until, now),
            Control(force=Force(row.force), until=row.force_until).at(now),
        )
        for row in rows
    }


def openings_since(
    session: DbSession, names: Collection[str], since: datetime
) -> dict[str, tuple[datetime, str | None]]:
    """Return when these breakers opened last since a time, and by which error: one statement.

    What a person forced open is no sign of anything.
    """
    rows = session.execute(
        select(CircuitBreakerEvent.name, CircuitBreakerEvent.at, CircuitBreakerEvent.error)
        .where(
            CircuitBreakerEvent.at >= since,
            CircuitBreakerEvent.name.in_(sorted(names)),
            CircuitBreakerEvent.kind == EventKind.TRANSITION,
            CircuitBreakerEvent.new_state == BreakerState.OPEN,
        )
        .order_by(CircuitBreakerEvent.id)
    )
    return {row.name: (row.at, row.error) for row in rows}


def reset(session: DbSession, name: str, *, by: Actor, now: datetime, reason: str) -> None:
    """Close a circuit and forget its failures and what was forced; every process follows."""
    reason = checked_reason(reason, missing="Say why the circuit is reset.")
    row = _locked(session, name)
    old, forced = state_shown(row, now), Force(row.force)
    close(session, row, now=now)
    set_force(row, Control())
    _tell(session, row, EventKind.RESET, old, by=by, reason=reason)
    changes = {"state": Change(BreakerState(old), BreakerState.CLOSED)}
    if forced != Force.NONE:
        changes["force"] = Change(forced, Force.NONE)
    _audit(session, "reset", name, changes, by=by, now=now, reason=reason)


def force(
    session: DbSession, name: str, control: Control, *, by: Actor, now: datetime
) -> CircuitBreakerState:
    """Have a circuit refuse or let through all calls, or only watch; ``none`` ends that.

    Whatever is forced, the circuit under it begins closed, with nothing counted.
    """
    reason = checked_reason(control.reason or "")
    if control.until is not None and not now < control.until <= now + MAX_FORCED:
        raise Invalid.field("until", "A time ahead, at most a year.")
    row = _locked(session, name)
    if control.force == Force.NONE and row.force == Force.NONE:
        raise Conflict(f"Nothing is forced on {name}.")
    old, before = state_shown(row, now), Force(row.force)
    close(session, row, now=now)
    until = None if control.force == Force.NONE else control.until
    set_force(row, replace(control, until=until, reason=reason, by=by.name))
    end = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
    note = "ended" if control.force == Force.NONE else f"{control.force}{end}"
    _tell(session, row, EventKind.FORCE, old, by=by, reason=reason, note=note)
    changes = {"force": Change(before, control.force)}
    if until:
        changes["force_until"] = Change(None, until.isoformat())
    _audit(session, "forced", name, changes, by=by, now=now, reason=reason)
    return row


def change_thresholds(  # noqa: PLR0913  # all but the first two are named
    session: DbSession,
    name: str,
    given: Mapping[str, Any] | None,
    *,
    by: Actor,
    now: datetime,
    reason: str,
    version: int,
) -> CircuitBreakerState:
    """Put a person's thresholds before those in code; None goes back to the code's.

    ``version`` is the row's ``revision`` that they were made from.
    """
    reason = checked_reason(reason, missing="Say why the thresholds change.")
    row = _locked(session, name)
    if row.revision != version:
        raise Conflict(f"The thresholds of {name} changed meanwhile (version {row.revision}).")
    before = effective_thresholds(row)
    after = declared_thresholds(row) if given is None else before.with_given(given)
    changed = {
        field: Change(old, after.to_json()[field])
        for field, old in before.to_json().items()
        if old != after.to_json()[field]
    }
    kept = None if given is None else after.to_json()
    if not changed and kept == row.thresholds:
        raise Invalid("Nothing would change.")
    row.thresholds, row.revision, row.updated_at = kept, row.revision + 1, now
    row.failure_threshold = after.failures
    note = ", ".join(
        f"{field} {_word(item.old)} to {_word(item.new)}" for field, item in changed.items()
    )
    old = state_shown(row, now)
    _tell(session, row, EventKind.THRESHOLDS, old, by=by, reason=reason, note=note or None)
    changes = changed or {"thresholds": Change("a person's", "the code's")}
    _audit(session, "thresholds", name, changes, by=by, now=now, reason=reason)
    return row


def find_breaker(session: DbSession, name: str) -> CircuitBreakerState:
    """Return a circuit; :class:`NotFound` where there is none."""
    row = session.get(CircuitBreakerState, name)
    if row is None:
        raise NotFound(f"There is no circuit breaker {name!r}.")
    return row


def _word(value: float | None) -> str:
    return "off" if value is None else f"{value:g}"


def _locked(session: DbSession, name: str) -> CircuitBreakerState:
    # Locked, so that no process's transition comes between what is read and what is written.
    row = session.get(CircuitBreakerState, name, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound(f"There is no circuit breaker {name!r}.")
    return row


def _tell(  # noqa: PLR0913  # the columns of one event
    session: DbSession,
    row: CircuitBreakerState,
    kind: EventKind,
    old: str,
    *,
    by: Actor,
    reason: str,
    note: str | None = None,
) -> None:
    session.add(
        CircuitBreakerEvent(
            name=row.name,
            at=row.updated_at,
            kind=kind,
            old_state=old,
            new_state=state_shown(row, row.updated_at),
            note=note,
            reason=reason,
            actor=by.name,
        )
    )
    after_commit(session, news.spread)


def _audit(  # noqa: PLR0913  # the facts of one entry
    session: DbSession,
    action: str,
    name: str,
    changes: dict[str, Change],
    *,
    by: Actor,
    now: datetime,
    reason: str,
) -> None:
    record(
        session,
        by=by,
        at=now,
        action=f"breaker.{action}",
        subject="breaker",
        name=name,
        reason=reason,
        changes=changes,
    )
