"""Measures what guards look at whose flags are on for some and not for all.

Checks read what all minutes have in sums anyway.  Only comparisons look at attempts: at those that
ended since the last check, each once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select

from webapp.breakers.service import openings_since
from webapp.db import DbSession
from webapp.flags.comparison import Comparison, Side, comparison_from, with_block
from webapp.flags.documents import guard_from, plain
from webapp.flags.harm import MAX_NOTE, Figures, figures_of
from webapp.flags.models import (
    MOVING,
    FeatureFlag,
    FeatureFlagError,
    FeatureFlagGuard,
    rollout_of,
)
from webapp.flags.rollout import EVERYBODY, NOBODY, Rollout
from webapp.flags.values import GuardMetric, RolloutGuard
from webapp.jobs.rollup import MINUTE, floor
from webapp.jobs.signs import (
    FlaggedEnds,
    MinuteOfType,
    first_end_since,
    first_ends_with_flags,
    minutes_since,
)
from webapp.logs import mask_text
from webapp.moments import rfc3339

#: An end is written within this time, or no comparison sees it.
SETTLED_AFTER: Final = timedelta(seconds=5)
#: So much is read of attempts at once; after a longer time without checks there are more.
MOST_READ: Final = timedelta(minutes=10)
#: A breaker that opened longer ago was seen by a check then.
OPENED_WITHIN: Final = timedelta(hours=1)
_OFF: Final = "off"

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A guard that has something to guard, with what it has seen until now."""

    flag: str
    guard: RolloutGuard
    since: datetime
    read_until: datetime
    seen: Comparison

    @property
    def key(self) -> Key:
        """Return what the guard is stored under."""
        return self.flag, self.guard.name


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured for each guard, and up to when attempts were read for it."""

    rollouts: Mapping[str, Rollout]
    watched: Sequence[Watched]
    figures: Mapping[Key, Figures]
    seen: Mapping[Key, Comparison]
    read_until: Mapping[Key, datetime]


def measure(session: DbSession, *, now: datetime) -> Measured:
    """Measure what guards look at whose flags are on for some and not for all.

    A handful of statements, whatever the number of flags, guards and jobs.
    """
    rows = _guarded(session)
    watched = _watched(session, rows)
    until = _readable(session, watched, now)
    seen = {item.key: item.seen for item in watched} | _compared(session, watched, until)
    figures = _counted(session, watched, now=now)
    figures |= {key: figures_of(seen[key]) for key in until if key not in figures}
    return Measured({row.name: rollout_of(row) for row in rows}, watched, figures, seen, until)


def _guarded(session: DbSession) -> Sequence[Any]:
    return session.execute(
        select(*MOVING, FeatureFlag.guards, FeatureFlag.updated_at).where(
            FeatureFlag.enabled,
            FeatureFlag.percentage > NOBODY,
            FeatureFlag.percentage < EVERYBODY,
            FeatureFlag.archived_at.is_(None),
            func.json_array_length(FeatureFlag.guards) > 0,
        )
    ).all()


def _watched(session: DbSession, rows: Sequence[Any]) -> list[Watched]:
    """Return the guards of these flags; what another guard of that name has seen is not theirs.

    One that begins to watch counts from the last change of its flag: that is what made it begin.
    """
    names = [row.name for row in rows]
    found = session.scalars(select(FeatureFlagGuard).where(FeatureFlagGuard.flag.in_(names)))
    stored = {(row.flag, row.name): row for row in found}
    watched = []
    for row in rows:
        for guard in map(guard_from, row.guards):
            known = stored.get((row.name, guard.name))
            if known is None or known.since is None or known.definition != plain(guard):
                since = read_until = row.updated_at
                seen = Comparison()
            else:
                since, read_until = known.since, known.read_until or known.since
                seen = comparison_from(known.memory)
            watched.append(
                Watched(flag=row.name, guard=guard, since=since, read_until=read_until, seen=seen)
            )
    return watched


def _readable(session: DbSession, watched: Sequence[Watched], now: datetime) -> dict[Key, datetime]:
    """Return up to when attempts are read for each guard: never back, and not too many at once.

    A time in which nothing ended is passed over at once, however long it was.
    """
    latest = now - SETTLED_AFTER
    behind = [item.read_until for item in watched if item.read_until < latest - MOST_READ]
    first = first_end_since(session, min(behind)) if behind else None
    until = {}
    for item in watched:
        begins = max(item.read_until, first or latest) if behind else item.read_until
        until[item.key] = max(item.read_until, min(latest, begins + MOST_READ))
    return until


def _compared(
    session: DbSession, watched: Sequence[Watched], until: Mapping[Key, datetime]
) -> dict[Key, Comparison]:
    """Add a block to each comparison: guards that have read as far as one another read together."""
    spans: dict[tuple[datetime, datetime], list[Watched]] = {}
    for item in watched:
        if item.guard.metric is GuardMetric.JOB_COMPARISON:
            spans.setdefault((item.read_until, until[item.key]), []).append(item)
    seen: dict[Key, Comparison] = {}
    for (start, end), items in spans.items():
        types = {item.guard.scope for item in items}
        ends = first_ends_with_flags(session, start, end, types) if start < end else []
        seen |= {item.key: with_block(item.seen, *_sides(item, ends)) for item in items}
    return seen


def _sides(item: Watched, ends: Iterable[FlaggedEnds]) -> tuple[Side, Side]:
    """Return how attempts ended that had the flag on, and off; one that had both tells nothing."""
    sides = {True: Side(), False: Side()}
    for end in ends:
        answer = end.answers.get(item.flag)
        if end.type == item.guard.scope and isinstance(answer, str):
            on = answer != _OFF
            sides[on] += Side(end.number if end.failed else 0, end.number)
    return sides[True], sides[False]


def _counted(
    session: DbSession, watched: Sequence[Watched], *, now: datetime
) -> dict[Key, Figures]:
    """Measure all but comparisons."""
    minutes = _job_minutes(session, watched, now)
    openings = _openings(session, watched, now)
    errors = _errors(session, watched, now)
    figures: dict[Key, Figures] = {}
    for item in watched:
        match item.guard.metric:
            case GuardMetric.BREAKER_OPEN:
                figures[item.key] = _opened(item, openings)
            case GuardMetric.ERRORS:
                start = _start(item, now)
                counts = (count for flag, at, count in errors if flag == item.flag and at >= start)
                figures[item.key] = Figures(value=float(sum(counts)))
            case GuardMetric.JOB_FAILURE_RATE | GuardMetric.DEAD_LETTERS:
                figures[item.key] = _of_jobs(item, minutes, now)
            case GuardMetric.JOB_COMPARISON:
                pass
    return figures


def _start(item: Watched, now: datetime) -> datetime:
    """Return the first whole minute that counts for a guard: in its window, and since it began."""
    window = timedelta(seconds=item.guard.window or MINUTE)
    return max(floor(now - window, MINUTE), _ceil(item.since))


def _ceil(moment: datetime) -> datetime:
    whole = floor(moment, MINUTE)
    return whole if whole == moment else whole + timedelta(seconds=MINUTE)


def _earliest(items: Iterable[Watched], now: datetime) -> datetime | None:
    return min((_start(item, now) for item in items), default=None)


def _job_minutes(
    session: DbSession, watched: Sequence[Watched], now: datetime
) -> Sequence[MinuteOfType]:
    counting = {GuardMetric.JOB_FAILURE_RATE, GuardMetric.DEAD_LETTERS}
    items = [item for item in watched if item.guard.metric in counting]
    since = _earliest(items, now)
    if since is None:
        return []
    scopes = {item.guard.scope for item in items}
    return minutes_since(session, since, None if "" in scopes else scopes)


def _of_jobs(item: Watched, minutes: Iterable[MinuteOfType], now: datetime) -> Figures:
    start, scope = _start(item, now), item.guard.scope
    mine = [minute for minute in minutes if minute.at >= start and scope in {"", minute.type}]
    if item.guard.metric is GuardMetric.DEAD_LETTERS:
        return Figures(value=float(sum(minute.dead for minute in mine)))
    failed = sum(minute.failed for minute in mine)
    sample = failed + sum(minute.succeeded for minute in mine)
    return Figures(value=100 * failed / sample if sample else 0.0, sample=sample)


Openings = Mapping[str, tuple[datetime, str | None]]


def _openings(session: DbSession, watched: Sequence[Watched], now: datetime) -> Openings:
    items = [item for item in watched if item.guard.metric is GuardMetric.BREAKER_OPEN]
    if not items:
        return {}
    since = max(now - OPENED_WITHIN, min(item.since for item in items))
    return openings_since(session, {item.guard.scope for item in items}, since)


def _opened(item: Watched, openings: Openings) -> Figures:
    opening = openings.get(item.guard.scope)
    if opening is None or opening[0] <= item.since:
        return Figures()
    at, error = opening
    note = f"at {rfc3339(at, timespec='seconds')}" + (f", {error}" if error else "")
    return Figures(value=1.0, note=mask_text(note)[:MAX_NOTE])


def _errors(
    session: DbSession, watched: Sequence[Watched], now: datetime
) -> Sequence[tuple[str, datetime, int]]:
    items = [item for item in watched if item.guard.metric is GuardMetric.ERRORS]
    since = _earliest(items, now)
    if since is None:
        return []
    rows = session.execute(
        select(FeatureFlagError.flag, FeatureFlagError.minute, FeatureFlagError.count).where(
            FeatureFlagError.flag.in_({item.flag for item in items}),
            FeatureFlagError.minute >= since,
        )
    )
    return [(flag, minute, int(count)) for flag, minute, count in rows]
