"""Writes what processes tell of their circuits, and what people have breakers do.

A transition is written where the teller knew the newest state (``version``), else it is dropped:
of several processes that open the same circuit at once, one tells it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import CursorResult

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.breakers.lifecycle import effective_state, opens_at, state_at
from webapp.breakers.meters import count_transition
from webapp.breakers.models import CircuitBreakerEvent, CircuitBreakerState
from webapp.breakers.news import news
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
from webapp.db import DbSession, after_commit
from webapp.errors import Conflict, Invalid, NotFound
from webapp.reasons import checked_reason

PROGRAM: Final = "switchyard"
# A force that is to end later than that is meant to have no end.
MAX_FORCED: Final = timedelta(days=366)
_INSERTS: Final = {"postgresql": postgresql_insert, "sqlite": sqlite_insert}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCount:
    """Failures in a row of a closed circuit, as one process has counted them."""

    name: str
    failures: int
    error: str | None
    version: int


def register(session: DbSession, circuit: SharedState, *, now: datetime) -> None:
    """Add a circuit that nobody has told of yet; one that stands already is left as it is."""
    insert: Any = _INSERTS[session.get_bind().dialect.name](CircuitBreakerState)
    session.execute(
        insert.values(
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
        ).on_conflict_do_nothing()
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
    stood = transition.open_seconds if transition.old == BreakerState.OPEN else 0.0
    _count_after_commit(session, transition.name, transition.new, stood)
    return True


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
    row = session.get(CircuitBreakerState, name, with_for_update=True, populate_existing=True)
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
    stood = (now - row.opened_at).total_seconds() if row.opened_at else 0.0
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
    _count_after_commit(session, row.name, BreakerState.HALF_OPEN, stood)


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
    row = session.get(CircuitBreakerState, name, with_for_update=True, populate_existing=True)
    # Of all processes that see it end, one writes it.
    if row is None or row.version != version or row.force == Force.NONE:
        return
    ended = Force(row.force)
    old = effective_state(state_at(BreakerState(row.state), row.open_until, now), ended)
    _close(row, now=now)
    _set_force(row, Control())
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


def reset(session: DbSession, name: str, *, by: Actor, now: datetime, reason: str) -> None:
    """Close a circuit and forget its failures and what was forced; every process follows."""
    reason = checked_reason(reason, missing="Say why the circuit is reset.")
    row = _locked(session, name)
    old, forced = _shown(row, now), Force(row.force)
    stood = _stood_open(row, now)
    _close(row, now=now)
    _set_force(row, Control())
    _tell(session, row, EventKind.RESET, old, by=by, reason=reason)
    _count_after_commit(session, name, BreakerState.CLOSED, stood)
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
    old, before = _shown(row, now), Force(row.force)
    stood = _stood_open(row, now)
    _close(row, now=now)
    until = None if control.force == Force.NONE else control.until
    _set_force(row, replace(control, until=until, reason=reason, by=by.name))
    end = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
    note = "ended" if control.force == Force.NONE else f"{control.force}{end}"
    _tell(session, row, EventKind.FORCE, old, by=by, reason=reason, note=note)
    if old != BreakerState.CLOSED:
        _count_after_commit(session, name, BreakerState.CLOSED, stood)
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
    after = _declared(row) if given is None else before.with_given(given)
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
    shown = _shown(row, now)
    _tell(session, row, EventKind.THRESHOLDS, shown, by=by, reason=reason, note=note or None)
    changes = changed or {"thresholds": Change("a person's", "the code's")}
    _audit(session, "thresholds", name, changes, by=by, now=now, reason=reason)
    return row


def effective_thresholds(row: CircuitBreakerState) -> Thresholds:
    """Return the thresholds that hold: a person's, else the code's."""
    return Thresholds.stored(row.thresholds) or _declared(row)


def find_breaker(session: DbSession, name: str) -> CircuitBreakerState:
    """Return a circuit; :class:`NotFound` where there is none."""
    row = session.get(CircuitBreakerState, name)
    if row is None:
        raise NotFound(f"There is no circuit breaker {name!r}.")
    return row


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


def _word(value: float | None) -> str:
    return "off" if value is None else f"{value:g}"


def _declared(row: CircuitBreakerState) -> Thresholds:
    declared = Thresholds.stored(row.declared)
    if declared is None:
        # Registered by a version of this program that knew but two of them.
        return Thresholds(failures=max(row.failure_threshold, 1))
    return declared


def _locked(session: DbSession, name: str) -> CircuitBreakerState:
    # Locked, so that no process's transition comes between what is read and what is written.
    row = session.get(CircuitBreakerState, name, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound(f"There is no circuit breaker {name!r}.")
    return row


def _shown(row: CircuitBreakerState, now: datetime) -> str:
    """Return the state that a person saw."""
    return effective_state(
        state_at(BreakerState(row.state), row.open_until, now),
        Control(force=Force(row.force), until=row.force_until).at(now),
    )


def _stood_open(row: CircuitBreakerState, now: datetime) -> float:
    return max(0.0, (now - row.opened_at).total_seconds()) if row.opened_at else 0.0


def _close(row: CircuitBreakerState, *, now: datetime) -> None:
    row.state, row.opened_at, row.open_until = BreakerState.CLOSED, None, None
    row.failures = row.opens = row.successes = 0
    row.trial_until, row.updated_at, row.version = None, now, row.version + 1


def _set_force(row: CircuitBreakerState, control: Control) -> None:
    forced = control.force != Force.NONE
    row.force, row.force_until = control.force, control.until
    row.force_reason = control.reason if forced else None
    row.force_by = control.by if forced else None


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
            new_state=_shown(row, row.updated_at),
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


def _count_after_commit(
    session: DbSession, name: str, to: BreakerState, open_seconds: float
) -> None:
    def count() -> None:
        count_transition(name, to, open_seconds=open_seconds)

    after_commit(session, count)


def _update(session: DbSession, name: str, values: dict[str, Any], *, version: int) -> bool:
    result = session.execute(
        update(CircuitBreakerState)
        .where(CircuitBreakerState.name == name, CircuitBreakerState.version == version)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return isinstance(result, CursorResult) and result.rowcount == 1
