"""Checks guards once a minute: what they look at, whether it tells of harm, and what follows.

What is measured is read outside the writing transaction: no job waits for it.  Whoever writes first
has the minute, by a conditional update; a rollout that is stopped, its audit entry and the report
for alerts are one transaction.  So however many processes look, a guard trips once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, or_, select, update

from webapp.actors import Actor
from webapp.alerts.reporting import report
from webapp.alerts.values import Metric
from webapp.db import DbSession, insert_into
from webapp.flags import rollout as deciding
from webapp.flags.comparison import comparison_as_document
from webapp.flags.documents import plain
from webapp.flags.harm import figures_as_document, figures_in_words, judge, threshold_of
from webapp.flags.measuring import Key, Measured, Watched
from webapp.flags.models import (
    FeatureFlag,
    FeatureFlagError,
    FeatureFlagGuard,
    FeatureFlagGuardHead,
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
from webapp.moments import rfc3339
from webapp.reasons import MAX_REASON

GUARD: Final = Actor("system", "guard")
_HEAD: Final = 1
# A minute that lies so far ahead was written by a clock that was wrong.
_AHEAD: Final = timedelta(minutes=5)


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
    _stop(session, flag, stands, trip, evidence, now=now)
    return trip


def _stop(
    session: DbSession,
    flag: FeatureFlag,
    stands: Rollout,
    trip: Trip,
    evidence: list[dict[str, Any]],
    *,
    now: datetime,
) -> None:
    """Write that a rollout was stopped, by which guards, and why; they begin anew."""
    back = trip.action is GuardAction.ROLL_BACK
    action = "flag.rollout_rolled_back" if back else "flag.rollout_halted"
    move(
        session,
        flag,
        stands,
        action=action,
        by=GUARD,
        now=now,
        reason=trip.reason,
        evidence=evidence,
    )
    arm_guards(session, trip.flag, now=now)
    for seen in evidence:
        session.execute(
            update(FeatureFlagGuard)
            .where(FeatureFlagGuard.flag == trip.flag, FeatureFlagGuard.name == seen["guard"])
            .values(tripped_at=now, trip=seen)
            .execution_options(synchronize_session=False)
        )
    facts = {"action": trip.action, "from": trip.before, "to": trip.after, "evidence": evidence}
    report(session, Metric.ROLLOUT_ROLLED_BACK, trip.flag, now=now, facts=facts)


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
