"""What a rule would have fired on, by the figures that are kept, and what it measures now.

Nothing is written and nobody told.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from webapp.alerts.lifecycle import holds
from webapp.alerts.measuring import read
from webapp.alerts.models import AlertReport
from webapp.alerts.values import METRICS, REPORTED, Direction, Metric, Reading, RuleDraft, applies
from webapp.breakers.queries import changes_since
from webapp.breakers.service import states_by_name
from webapp.breakers.values import BreakerState
from webapp.db import DbSession
from webapp.errors import Invalid
from webapp.jobs.figures import Ended, ended_since
from webapp.jobs.rollup import HOUR, MINUTE, MINUTES_KEPT

#: So far back a preview may look, in hours.
SPANS: Final = (24, 168)
MOST_SHOWN: Final = 100
#: Rows of figures that a preview looks at.
MOST_ROWS: Final = 100_000
NOT_APPLYING: Final = "It does not apply here: jobs run in the process that enqueues them."
_FINE: Final = timedelta(minutes=5)
_COARSE: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured from ``at`` until the next point."""

    at: datetime
    value: float | None
    sample: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewedFiring:
    """A time in which a rule would have fired; ``sample`` is that of the peak."""

    label: str
    fired_at: datetime
    ended_at: datetime | None
    peak: float
    sample: int | None


@dataclass(frozen=True, slots=True)
class PreviewedReading:
    """What is measured now, and whether the rule holds for it."""

    label: str
    value: float | None
    sample: int | None
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a rule would have fired on; of very many firings the newest are in the list."""

    since: datetime
    until: datetime
    has_history: bool
    note: str
    total: int
    firings: Sequence[PreviewedFiring]
    present: Sequence[PreviewedReading]


def preview(
    session: DbSession, draft: RuleDraft, *, hours: int, now: datetime, has_workers: bool = True
) -> Preview:
    """Return what a rule would have fired on in the last hours: three statements at most.

    The draft has been checked; :class:`Invalid` where nobody looks so far back.
    """
    if hours not in SPANS:
        raise Invalid.field("hours", f"One of {', '.join(map(str, SPANS))}.")
    metric, since = Metric(draft.metric), now - timedelta(hours=hours)
    readings = read(session, metric, draft.window_seconds, now=now, has_workers=has_workers)
    found: Mapping[str, Sequence[Point]] = {}
    note = "No past figures are kept of this: only what is measured now can be told."
    if not applies(metric, has_workers=has_workers):
        note = NOT_APPLYING
    if METRICS[metric].history:
        found, note = _series(session, draft, metric, since, now)
    firings = sorted(
        (
            firing
            for label, points in found.items()
            if draft.scope in {"", label}
            for firing in firings_of(draft, label, points, since=since)
        ),
        key=lambda item: (item.fired_at, item.label),
        reverse=True,
    )
    return Preview(
        since=since,
        until=now,
        has_history=METRICS[metric].history,
        note=note,
        total=len(firings),
        firings=firings[:MOST_SHOWN],
        present=[_present(draft, item) for item in readings if draft.scope in {"", item.label}][
            :MOST_SHOWN
        ],
    )


def firings_of(
    draft: RuleDraft, label: str, points: Iterable[Point], *, since: datetime
) -> Iterator[PreviewedFiring]:
    """Yield the times after ``since`` in which a rule would have fired.  Pure."""
    held: list[Point] = []
    for point in (*points, None):
        if point is not None and _holds(draft, label, point):
            held.append(point)
            continue
        if held:
            fired_at = max(since, held[0].at + timedelta(seconds=draft.for_seconds))
            end = point.at if point is not None else None
            if end is None or end > fired_at:
                peak = _peak(draft, held)
                yield PreviewedFiring(
                    label=label,
                    fired_at=fired_at,
                    ended_at=end,
                    peak=peak.value or 0.0,
                    sample=peak.sample,
                )
        held = []


def _holds(draft: RuleDraft, label: str, point: Point) -> bool:
    reading = Reading(
        metric=Metric(draft.metric), label=label, value=point.value, sample=point.sample
    )
    return holds(Direction(draft.comparison), draft.threshold, draft.min_sample, reading)


def _peak(draft: RuleDraft, points: Sequence[Point]) -> Point:
    worst = min if draft.comparison == Direction.BELOW else max
    return worst(points, key=lambda point: point.value or 0.0)


def _present(draft: RuleDraft, reading: Reading) -> PreviewedReading:
    held = holds(Direction(draft.comparison), draft.threshold, draft.min_sample, reading)
    return PreviewedReading(reading.label, reading.value, reading.sample, held)


_Series = tuple[Mapping[str, Sequence[Point]], str]


def _series(
    session: DbSession, draft: RuleDraft, metric: Metric, since: datetime, now: datetime
) -> _Series:
    if metric in REPORTED:
        return _reported(session, draft, metric, since), "By what was reported."
    return _PAST[metric](session, draft, since, now)


def _job_failures(session: DbSession, draft: RuleDraft, since: datetime, now: datetime) -> _Series:
    """Add up the minutes of each window, or the hours where the minutes are not kept any longer."""
    window = timedelta(seconds=draft.window_seconds)
    fine = now - since + window <= MINUTES_KEPT
    seconds, step = (MINUTE, _FINE) if fine else (HOUR, _COARSE)
    window = max(window, timedelta(seconds=seconds))
    rows = ended_since(
        session, since - window, seconds=seconds, type_name=draft.scope, limit=MOST_ROWS
    )
    by_type: dict[str, list[Ended]] = {}
    for row in rows:
        by_type.setdefault(row.type, []).append(row)
    found = {
        name: list(_rolling(ended, since, now, window, step)) for name, ended in by_type.items()
    }
    figures = "minutes, every 5 minutes" if fine else "whole hours"
    note = f"By figures of {figures}."
    if len(rows) == MOST_ROWS:
        note += f" There is more than was looked at: since {rows[0].at:%Y-%m-%d %H:%M} UTC."
    return found, note


def _rolling(
    rows: Sequence[Ended], since: datetime, now: datetime, window: timedelta, step: timedelta
) -> Iterator[Point]:
    """Yield the share that went badly within the window before each step."""
    first = last = good = bad = 0
    at = since
    while at <= now:
        while last < len(rows) and rows[last].at < at:
            good, bad = good + rows[last].good, bad + rows[last].bad
            last += 1
        while first < last and rows[first].at < at - window:
            good, bad = good - rows[first].good, bad - rows[first].bad
            first += 1
        runs = good + bad
        yield Point(at, 100 * bad / runs if runs else None, runs)
        at += step


def _open_breakers(session: DbSession, draft: RuleDraft, since: datetime, now: datetime) -> _Series:
    del draft
    changes = changes_since(session, since, MOST_ROWS)
    found: dict[str, list[Point]] = {}
    for name, at, old, new in changes:
        points = found.setdefault(name, [Point(since, _is_open(old))])
        points.append(Point(at, _is_open(new)))
    for name, state in states_by_name(session, now=now).items():
        found.setdefault(name, [Point(since, _is_open(state))])
    return found, "By the changes of breakers."


def _is_open(state: str) -> float:
    return float(state != BreakerState.CLOSED)


def _reported(
    session: DbSession, draft: RuleDraft, metric: Metric, since: datetime
) -> Mapping[str, Sequence[Point]]:
    window = timedelta(seconds=draft.window_seconds)
    rows = session.execute(
        select(AlertReport.label, AlertReport.at)
        .where(AlertReport.metric == metric, AlertReport.at > since - window)
        .order_by(AlertReport.at.desc(), AlertReport.id.desc())
        .limit(MOST_ROWS)
    )
    steps: dict[str, list[tuple[datetime, int]]] = {}
    for label, at in rows:
        steps.setdefault(label, []).extend(((at, 1), (at + window, -1)))
    found: dict[str, Sequence[Point]] = {}
    for label, moments in steps.items():
        points, number = [], 0
        for at, step in sorted(moments):
            number += step
            points.append(Point(at, float(number)))
        found[label] = points
    return found


_Past = Callable[[DbSession, RuleDraft, datetime, datetime], _Series]
_PAST: Final[Mapping[Metric, _Past]] = {
    Metric.JOB_FAILURE_RATE: _job_failures,
    Metric.BREAKER_OPEN: _open_breakers,
}
