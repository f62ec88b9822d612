"""Checks guards once a minute: what they look at, whether it tells of harm, and what follows.

What is measured is read outside the writing transaction: no job waits for it.  Whoever writes first
has the minute, by a conditional update; a rollout that is stopped, its audit entry and the report
for alerts are one transaction.  So however many processes look, a guard trips once.

Checks read what all minutes have in sums anyway.  Only comparisons look at attempts: at those that
ended since the last check, each once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, func, or_, select, update

from webapp.actors import Actor
from webapp.alerts.reporting import report
from webapp.alerts.values import Metric
from webapp.breakers.service import openings_since
from webapp.db import DbSession, insert_into
from webapp.flags import rollout as deciding
from webapp.flags.comparison import (
    Comparison,
    Side,
    comparison_as_document,
    comparison_from,
    with_block,
)
from webapp.flags.documents import guard_from, plain
from webapp.flags.harm import (
    MAX_NOTE,
    Figures,
    figures_as_document,
    figures_in_words,
    figures_of,
    judge,
    threshold_of,
)
from webapp.flags.models import (
    MOVING,
    FeatureFlag,
    FeatureFlagError,
    FeatureFlagGuard,
    FeatureFlagGuardHead,
    rollout_of,
)
from webapp.flags.rollout import Rollout
from webapp.flags.rollouts import arm_guards, move
from webapp.flags.service import flag_to_change, raise_revision
from webapp.flags.values import (
    MAX_WINDOW,
    STOPPED,
    GuardAction,
    GuardMetric,
    GuardState,
    RolloutGuard,
    RolloutState,
)
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
from webapp.reasons import MAX_REASON

GUARD: Final = Actor("system", "guard")
#: An end is written within this time, or no comparison sees it.
SETTLED_AFTER: Final = timedelta(seconds=5)
#: So much is read of attempts at once; after a longer time without checks there are more.
MOST_READ: Final = timedelta(minutes=10)
#: A breaker that opened longer ago was seen by a check then.
OPENED_WITHIN: Final = timedelta(hours=1)
_HEAD: Final = 1
# A minute that lies so far ahead was written by a clock that was wrong.
_AHEAD: Final = timedelta(minutes=5)
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


@dataclass(frozen=True, slots=True)
class Trip:
    """A rollout that guards have stopped, and the evidence in words."""

    flag: str
    guards: Sequence[str]
    action: GuardAction
    before: float
    after: float
    reason: str


@dataclass(frozen=True, slots=True)
class Check:
    """What a check came to."""

    minute: datetime
    guards: int
    trips: Sequence[Trip] = field(default_factory=list)


def is_due(session: DbSession, *, now: datetime) -> bool:
    """Tell whether nobody has checked this minute yet."""
    minute = floor(now, MINUTE)
    checked_at = session.scalar(select(FeatureFlagGuardHead.checked_at))
    return checked_at is None or not minute <= checked_at < minute + _AHEAD


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
            FeatureFlag.percentage > deciding.NOBODY,
            FeatureFlag.percentage < deciding.EVERYBODY,
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


def check(session: DbSession, measured: Measured, *, now: datetime, alpha: float) -> Check | None:
    """Judge what was measured; None where somebody else has checked this minute."""
    minute = floor(now, MINUTE)
    if not _claim(session, minute):
        return None
    states = {
        item.key: judge(item.guard, measured.figures[item.key], alpha=alpha)
        for item in measured.watched
    }
    harmful = [
        item
        for item in measured.watched
        if states[item.key] is GuardState.HARM and _acts(item.guard, measured.rollouts[item.flag])
    ]
    if harmful:
        # Before the guards' rows, as those who resume do it: none waits for another in a circle.
        raise_revision(session, now=now)
    _forget(session, measured, now=now)
    current = _current(session, measured)
    _write(session, current, measured, states, now=now)
    harmed: dict[str, list[Watched]] = {}
    for item in harmful:
        if item in current:
            harmed.setdefault(item.flag, []).append(item)
    trips = [
        trip
        for name, items in harmed.items()
        if (trip := _trip(session, name, items, measured, now=now, alpha=alpha)) is not None
    ]
    return Check(minute, len(measured.watched), trips)


def _claim(session: DbSession, minute: datetime) -> bool:
    """Take a minute.  The row is locked until the end of the transaction: nobody checks beside."""
    first = insert_into(session, FeatureFlagGuardHead).values(id=_HEAD, checked_at=minute)
    first = first.on_conflict_do_nothing(index_elements=["id"])
    if session.scalar(first.returning(FeatureFlagGuardHead.id)) is not None:
        return True
    # Conditional, so that of many who look one checks.
    won = session.execute(
        update(FeatureFlagGuardHead)
        .where(
            or_(
                FeatureFlagGuardHead.checked_at < minute,
                FeatureFlagGuardHead.checked_at >= minute + _AHEAD,
            )
        )
        .values(checked_at=minute)
        .execution_options(synchronize_session=False)
    )
    return bool(won.rowcount)  # type: ignore[attr-defined]


def _forget(session: DbSession, measured: Measured, *, now: datetime) -> None:
    """Let guards rest that have nothing to guard, and forget errors that no window reaches."""
    session.execute(
        update(FeatureFlagGuard)
        .where(
            FeatureFlagGuard.since.is_not(None),
            FeatureFlagGuard.flag.not_in(list(measured.rollouts)),
        )
        .values(since=None, read_until=None, memory={}, figures={}, state=GuardState.IDLE)
        .execution_options(synchronize_session=False)
    )
    oldest = floor(now, MINUTE) - timedelta(seconds=MAX_WINDOW + MINUTE)
    session.execute(
        delete(FeatureFlagError)
        .where(FeatureFlagError.minute < oldest)
        .execution_options(synchronize_session=False)
    )


def _current(session: DbSession, measured: Measured) -> list[Watched]:
    """Return the guards that still stand where they stood when they were measured.

    Somebody may have begun one anew, and a check that took its time comes too late.  The rows are
    locked: whoever resumes comes before or after.  Those of guards that are gone are removed.
    """
    rows = session.scalars(
        select(FeatureFlagGuard)
        .where(FeatureFlagGuard.flag.in_(list(measured.rollouts)))
        .order_by(FeatureFlagGuard.flag, FeatureFlagGuard.name)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    stored = {(row.flag, row.name): row for row in rows}
    for key in stored.keys() - {item.key for item in measured.watched}:
        session.delete(stored[key])
    return [item for item in measured.watched if _is_current(item, stored.get(item.key))]


def _is_current(item: Watched, row: FeatureFlagGuard | None) -> bool:
    if row is None or row.since is None or row.definition != plain(item.guard):
        return True
    return (row.since, row.read_until) == (item.since, item.read_until)


def _write(
    session: DbSession,
    items: Sequence[Watched],
    measured: Measured,
    states: Mapping[Key, GuardState],
    *,
    now: datetime,
) -> None:
    rows = [
        {
            "flag": item.flag,
            "name": item.guard.name,
            "definition": plain(item.guard),
            "since": item.since,
            "read_until": measured.read_until[item.key],
            "memory": _memory(item, measured),
            "state": states[item.key],
            "figures": figures_as_document(measured.figures[item.key]),
            "checked_at": now,
        }
        for item in items
    ]
    if rows:
        upsert = insert_into(session, FeatureFlagGuard)
        keys = ("flag", "name")
        changed = {name: upsert.excluded[name] for name in rows[0] if name not in keys}
        session.execute(upsert.on_conflict_do_update(index_elements=keys, set_=changed), rows)


def _memory(item: Watched, measured: Measured) -> dict[str, Any]:
    compares = item.guard.metric is GuardMetric.JOB_COMPARISON
    return comparison_as_document(measured.seen[item.key]) if compares else {}


def _acts(guard: RolloutGuard, rollout: Rollout) -> bool:
    """Tell whether a guard can do anything: what was stopped by a guard cannot be halted again."""
    stopped = rollout.state in STOPPED - {RolloutState.PAUSED}
    return guard.action is GuardAction.ROLL_BACK or not stopped


def _trip(
    session: DbSession,
    name: str,
    items: Sequence[Watched],
    measured: Measured,
    *,
    now: datetime,
    alpha: float,
) -> Trip | None:
    """Stop a rollout; of several guards that trip at once the one that goes back decides."""
    flag = flag_to_change(session, name, None, now=now)
    stood = flag.rollout()
    mine = [item for item in items if item.guard in flag.own_guards()]
    # Somebody may have moved it since it was measured: there is nothing to go back from then.
    if not mine or not stood.partial or stood.percentage != measured.rollouts[name].percentage:
        return None
    back = any(item.guard.action is GuardAction.ROLL_BACK for item in mine)
    stands = deciding.roll_back(stood, now=now) if back else deciding.halt(stood, now=now)
    words = {
        item.guard.name: figures_in_words(item.guard, measured.figures[item.key], alpha=alpha)
        for item in mine
    }
    trip = Trip(
        flag=name,
        guards=list(words),
        action=GuardAction.ROLL_BACK if back else GuardAction.HALT,
        before=stood.percentage,
        after=stands.percentage,
        reason="; ".join(f"{guard}: {text}" for guard, text in words.items())[:MAX_REASON],
    )
    evidence = [_evidence(item, measured, trip, words, alpha=alpha) for item in mine]
    move(
        session,
        flag,
        stands,
        action="flag.rollout_rolled_back" if back else "flag.rollout_halted",
        by=GUARD,
        now=now,
        reason=trip.reason,
        evidence=evidence,
    )
    arm_guards(session, name, now=now)
    for item, facts in zip(mine, evidence, strict=True):
        session.execute(
            update(FeatureFlagGuard)
            .where(FeatureFlagGuard.flag == name, FeatureFlagGuard.name == item.guard.name)
            .values(tripped_at=now, trip=facts)
            .execution_options(synchronize_session=False)
        )
    facts = {"action": trip.action, "from": trip.before, "to": trip.after, "evidence": evidence}
    report(session, Metric.ROLLOUT_ROLLED_BACK, name, now=now, facts=facts)
    return trip


def _evidence(
    item: Watched, measured: Measured, trip: Trip, words: Mapping[str, str], *, alpha: float
) -> dict[str, Any]:
    return {
        "guard": item.guard.name,
        "metric": item.guard.metric,
        "scope": item.guard.scope,
        "threshold": threshold_of(item.guard, alpha=alpha),
        "action": trip.action,
        "from": trip.before,
        "to": trip.after,
        "since": rfc3339(item.since, timespec="seconds"),
        "text": words[item.guard.name],
        **figures_as_document(measured.figures[item.key]),
    }
