"""Reads circuits: for the processes that share them, for the pages and for the overview."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, ScalarSelect, Select, and_, case, func, or_, select
from sqlalchemy.orm import aliased

from webapp.breakers.lifecycle import state_at
from webapp.breakers.models import (
    CircuitBreakerEvent,
    CircuitBreakerMinute,
    CircuitBreakerState,
    CircuitBreakerUse,
)
from webapp.breakers.stored import effective_thresholds, shared_state
from webapp.breakers.values import (
    BreakerState,
    Control,
    EventKind,
    Force,
    SharedState,
    Tally,
)
from webapp.breakers.views import (
    BreakerFilters,
    BreakerList,
    BreakerRow,
    Event,
    Place,
    Standing,
    Summary,
    Use,
)
from webapp.db import DbSession
from webapp.paging import Cursor, Page, Scan, counted_up_to_cap, fetch_page

EVENTS_SHOWN: Final = 3
EVENTS_PAGE: Final = 25
USES_SHOWN: Final = 20
PAGE_SIZE: Final = 50
#: So many minutes are drawn: in a row of the list, and on the page of one.
LIST_MINUTES: Final = 30
PAGE_MINUTES: Final = 120
SUMMARY_MINUTES: Final = 60


_FORCED = {
    Force.OPEN: Standing.FORCED_OPEN,
    Force.CLOSED: Standing.FORCED_CLOSED,
    Force.SHADOW: Standing.SHADOW,
}


def states_of(session: DbSession, names: Collection[str], *, now: datetime) -> list[SharedState]:
    """Return these circuits as processes know them, and those whose force is over."""
    return _shared(session, _named(names), now)


def changed_states(
    session: DbSession, since: datetime, *, also: Collection[str], now: datetime
) -> list[SharedState]:
    """Return the circuits that were written since, these too, and those whose force is over."""
    changed = CircuitBreakerState.updated_at >= since
    return _shared(session, or_(changed, _named(also)) if also else changed, now)


def _named(names: Collection[str]) -> ColumnElement[bool]:
    return CircuitBreakerState.name.in_(sorted(names))


def _shared(session: DbSession, wanted: ColumnElement[bool], now: datetime) -> list[SharedState]:
    over = CircuitBreakerState.force_until <= now
    rows = session.scalars(select(CircuitBreakerState).where(or_(wanted, over)))
    return [shared_state(row) for row in rows]


def list_breakers(
    session: DbSession,
    filters: BreakerFilters,
    *,
    now: datetime,
    place: Place | None = None,
    limit: int = PAGE_SIZE,
) -> BreakerList:
    """Return one page of the circuits that fit, those that refuse calls first: five statements.

    An open circuit whose time is over shows as half open, since its next call is a trial.
    """
    standing = _standing(now)
    rank = case((_refuses(now), 0), else_=1)
    wanted = select(CircuitBreakerState)
    if filters.text:
        found = func.lower(CircuitBreakerState.name).contains(filters.text.lower(), autoescape=True)
        wanted = wanted.where(found)
    counts = dict.fromkeys(Standing.ALL, 0)
    totals = wanted.with_only_columns(standing, func.count()).group_by(standing)
    counts |= dict(session.execute(totals).tuples().all())
    if filters.state:
        wanted = wanted.where(standing == filters.state)
    total = counts.get(filters.state, 0) if filters.state else sum(counts.values())
    rows, before, after = _fetch(session, wanted, rank, place, limit)
    shown = _present(session, rows, now=now, minutes=LIST_MINUTES)
    return BreakerList(
        rows=shown,
        total=total,
        counts=counts,
        previous=_place_of(shown[0], now) if shown and before else None,
        next=_place_of(shown[-1], now) if shown and after else None,
    )


def _fetch(
    session: DbSession,
    wanted: Select[tuple[CircuitBreakerState]],
    rank: ColumnElement[int],
    place: Place | None,
    limit: int,
) -> tuple[list[CircuitBreakerState], bool, bool]:
    """Fetch the rows next to a place, and tell whether there are more before and after them."""
    name = CircuitBreakerState.name
    back = place is not None and place.backwards
    if place is not None:
        beyond = name < place.name if back else name > place.name
        further = rank < place.rank if back else rank > place.rank
        wanted = wanted.where(or_(further, and_(rank == place.rank, beyond)))
    order = (rank.desc(), name.desc()) if back else (rank, name)
    found = list(session.scalars(wanted.order_by(*order).limit(limit + 1)))
    more, kept = len(found) > limit, found[:limit]
    if back:
        return kept[::-1], more, True
    return kept, place is not None, more


def _place_of(row: BreakerRow, now: datetime) -> str:
    refuses = row.control.at(now) == Force.OPEN or (
        row.control.at(now) == Force.NONE and row.state != BreakerState.CLOSED
    )
    return f"{0 if refuses else 1}:{row.name}"


def view_breaker(session: DbSession, row: CircuitBreakerState, *, now: datetime) -> BreakerRow:
    """Return one circuit as its page shows it: three statements."""
    (view,) = _present(session, [row], now=now, minutes=PAGE_MINUTES)
    return view


def events_of(session: DbSession, name: str, cursor: Cursor) -> Page[Event]:
    """Return a page of the history of one circuit, newest first: two statements."""
    wanted = select(CircuitBreakerEvent).where(CircuitBreakerEvent.name == name)
    return fetch_page(
        session, wanted, Scan(CircuitBreakerEvent.id), cursor, present=_event, size=EVENTS_PAGE
    )


def open_count(*, now: datetime) -> ScalarSelect[int]:
    """Return a statement that counts the circuits which refuse calls, or wait for a trial."""
    return counted_up_to_cap(select(CircuitBreakerState).where(_refuses(now)))


def breakers_of(
    session: DbSession, callers: Collection[str], *, since: datetime
) -> dict[str, list[str]]:
    """Return the breakers that each of these callers has called through lately: one statement."""
    rows = session.execute(
        select(CircuitBreakerUse.caller, CircuitBreakerUse.name).where(
            CircuitBreakerUse.caller.in_(sorted(callers)), CircuitBreakerUse.seen_at >= since
        )
    )
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        found[row.caller].append(row.name)
    return found


def changes_since(
    session: DbSession, since: datetime, limit: int
) -> list[tuple[str, datetime, str, str]]:
    """Return when circuits went from which state to which, oldest first; the newest so many."""
    event = CircuitBreakerEvent
    rows = session.execute(
        select(event.name, event.at, event.old_state, event.new_state)
        .where(event.at >= since)
        .order_by(event.at.desc(), event.id.desc())
        .limit(limit)
    ).tuples()
    return list(rows)[::-1]


def openings_between(
    session: DbSession, since: datetime, until: datetime, limit: int
) -> list[tuple[str, int]]:
    """Return how often circuits opened in a time, the most frequent first: one statement."""
    count = func.count().label("number")
    rows = session.execute(
        select(CircuitBreakerEvent.name, count)
        .where(
            CircuitBreakerEvent.at >= since,
            CircuitBreakerEvent.at < until,
            CircuitBreakerEvent.kind == EventKind.TRANSITION,
            CircuitBreakerEvent.new_state == "open",
        )
        .group_by(CircuitBreakerEvent.name)
        .order_by(count.desc(), CircuitBreakerEvent.name)
        .limit(limit)
    )
    return [(row.name, row.number) for row in rows]


WORST_SHOWN: Final = 5


def summarize(session: DbSession, *, now: datetime) -> Summary:
    """Sum all circuits up: three statements."""
    standing = _standing(now)
    counts = dict.fromkeys(Standing.ALL, 0)
    totals = select(standing, func.count()).select_from(CircuitBreakerState).group_by(standing)
    counts |= dict(session.execute(totals).tuples().all())
    since = now - timedelta(minutes=SUMMARY_MINUTES)
    rows = session.execute(
        select(
            CircuitBreakerMinute.name,
            *(func.sum(getattr(CircuitBreakerMinute, name)) for name in _COUNTED),
        )
        .where(CircuitBreakerMinute.minute > since)
        .group_by(CircuitBreakerMinute.name)
    )
    tallies = {name: Tally(*(int(number) for number in numbers)) for name, *numbers in rows}
    trips = session.scalar(
        select(func.count()).where(
            CircuitBreakerEvent.at > since,
            CircuitBreakerEvent.kind == EventKind.TRANSITION,
            CircuitBreakerEvent.new_state == BreakerState.OPEN,
        )
    )
    failing = sorted(
        (item for item in tallies.items() if item[1].failures),
        key=lambda item: (-item[1].failures, item[0]),
    )
    return Summary(
        counts=counts,
        minutes=SUMMARY_MINUTES,
        total=sum(tallies.values(), Tally()),
        trips=trips or 0,
        worst=failing[:WORST_SHOWN],
    )


_COUNTED: Final = tuple(field.name for field in fields(Tally))


def _forced(now: datetime) -> ColumnElement[bool]:
    until = CircuitBreakerState.force_until
    return and_(CircuitBreakerState.force != Force.NONE, or_(until.is_(None), until > now))


def _refuses(now: datetime) -> ColumnElement[bool]:
    forced = _forced(now)
    return or_(
        and_(forced, CircuitBreakerState.force == Force.OPEN),
        and_(~forced, CircuitBreakerState.state != BreakerState.CLOSED),
    )


def _standing(now: datetime) -> ColumnElement[str]:
    forced, force = _forced(now), CircuitBreakerState.force
    waits = and_(
        CircuitBreakerState.state == BreakerState.OPEN, CircuitBreakerState.open_until <= now
    )
    return case(
        *((and_(forced, force == kind), words) for kind, words in _FORCED.items()),
        (waits, Standing.HALF_OPEN),
        else_=CircuitBreakerState.state,
    )


def _present(
    session: DbSession, rows: Sequence[CircuitBreakerState], *, now: datetime, minutes: int
) -> list[BreakerRow]:
    """Return rows as they are shown, with what hangs on them: three statements."""
    names = [row.name for row in rows]
    events = _last_events(session, names)
    series = _series(session, names, now=now, minutes=minutes)
    uses = _uses(session, names)
    return [
        _row(row, now, series[row.name], events.get(row.name, ()), uses.get(row.name, ()))
        for row in rows
    ]


def _row(
    row: CircuitBreakerState,
    now: datetime,
    series: Sequence[Tally],
    events: Sequence[Event],
    callers: Sequence[Use],
) -> BreakerRow:
    known = shared_state(row)
    state = state_at(known.state, known.open_until, now)
    force = known.control.at(now)
    control = known.control if force != Force.NONE else Control()
    waits = state == BreakerState.OPEN and force in {Force.NONE, Force.SHADOW}
    return BreakerRow(
        name=row.name,
        state=state,
        standing=_FORCED.get(force, state.value),
        failures=row.failures,
        thresholds=effective_thresholds(row),
        declared=known.declared,
        customized=row.thresholds is not None,
        revision=row.revision,
        open_seconds=row.open_seconds,
        open_until=row.open_until,
        trial_at=row.open_until if waits else None,
        trial_until=row.trial_until if row.trial_until and row.trial_until > now else None,
        successes=row.successes,
        last_error=row.last_error,
        control=control,
        updated_at=row.updated_at,
        series=series,
        events=events,
        callers=callers,
    )


def _series(
    session: DbSession, names: Sequence[str], *, now: datetime, minutes: int
) -> Mapping[str, list[Tally]]:
    """Return the counts of the last minutes of each circuit, those without calls too."""
    since = now.replace(second=0, microsecond=0) - timedelta(minutes=minutes - 1)
    series = {name: [Tally()] * minutes for name in names}
    rows = session.scalars(
        select(CircuitBreakerMinute).where(
            CircuitBreakerMinute.name.in_(names), CircuitBreakerMinute.minute >= since
        )
    )
    for row in rows:
        place = (row.minute - since) // timedelta(minutes=1)
        # A process whose clock is ahead may have told of a minute that has not begun here.
        if place < minutes:
            counts: list[Any] = [getattr(row, name) for name in _COUNTED]
            series[row.name][place] = Tally(*counts)
    return series


def _uses(session: DbSession, names: Sequence[str]) -> Mapping[str, Sequence[Use]]:
    rows = session.scalars(
        select(CircuitBreakerUse)
        .where(CircuitBreakerUse.name.in_(names))
        .order_by(CircuitBreakerUse.name, CircuitBreakerUse.caller)
    )
    uses: defaultdict[str, list[Use]] = defaultdict(list)
    for row in rows:
        if len(uses[row.name]) < USES_SHOWN:
            uses[row.name].append(Use(row.caller, row.seen_at))
    return uses


def _last_events(session: DbSession, names: list[str]) -> Mapping[str, Sequence[Event]]:
    """The last few events of each circuit, in one statement that reads no others."""
    event, older = CircuitBreakerEvent, aliased(CircuitBreakerEvent)
    # From this one on; None where there are fewer.
    oldest_shown = (
        select(older.id)
        .where(older.name == CircuitBreakerState.name)
        .order_by(older.id.desc())
        .offset(EVENTS_SHOWN - 1)
        .limit(1)
        .scalar_subquery()
    )
    rows = session.scalars(
        select(event)
        .join(CircuitBreakerState, CircuitBreakerState.name == event.name)
        .where(CircuitBreakerState.name.in_(names), event.id >= func.coalesce(oldest_shown, 0))
        .order_by(event.id.desc())
    )
    events: defaultdict[str, list[Event]] = defaultdict(list)
    for row in rows:
        events[row.name].append(_event(row))
    return events


def _event(row: CircuitBreakerEvent) -> Event:
    return Event(
        id=row.id,
        at=row.at,
        kind=EventKind(row.kind),
        old=BreakerState(row.old_state),
        new=BreakerState(row.new_state),
        error=row.error,
        note=row.note,
        reason=row.reason,
        actor=row.actor,
    )
