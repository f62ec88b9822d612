"""Measures what rules are about, from what the program keeps anyway.

Each metric costs one or two statements for each window that rules look at it through, and none of
them looks at more than a cap of rows, however many jobs there are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from webapp.alerts.models import AlertReport, AlertRule
from webapp.alerts.values import METRICS, MOST_READINGS, Metric, Missing, Reading, applies
from webapp.breakers.service import states_by_name
from webapp.breakers.values import BreakerState
from webapp.db import DbSession
from webapp.dead_letters.figures import open_count
from webapp.idempotency.queries import replays_since
from webapp.jobs.figures import outcomes_since
from webapp.jobs.queries import queue_figures
from webapp.jobs.rollup import HOUR, MINUTE, MINUTES_KEPT
from webapp.schedules.queries import overdue
from webapp.sources.queries import list_sources
from webapp.sources.values import RunStatus
from webapp.workers.queries import alive_count

Readings = Mapping[tuple[Metric, int], Sequence[Reading]]


@dataclass(frozen=True, slots=True)
class Measured:
    """The rules that are enabled, and what was measured for them, by metric and window."""

    rules: Sequence[AlertRule]
    readings: Readings

    def of_rule(self, rule: AlertRule) -> Iterable[Reading]:
        """Return what a rule is about; one that names its scope is about that alone."""
        found = self.readings.get(_place(rule.metric, rule.window_seconds), ())
        return (item for item in found if rule.scope in {"", item.label})

    def of_alert(self, metric: Metric, label: str) -> Reading:
        """Return what is known now of what an alert is about, by whatever window."""
        for (measured, _), readings in self.readings.items():
            for item in readings:
                if measured == metric and item.label == label:
                    return item
        zero = METRICS[metric].missing == Missing.ZERO and any(
            measured == metric for measured, _ in self.readings
        )
        return Reading(metric=metric, label=label, value=0.0 if zero else None)


def measure(session: DbSession, *, now: datetime, has_workers: bool = True) -> Measured:
    """Measure what the enabled rules are about; ``has_workers`` tells who runs jobs here."""
    wanted = select(AlertRule).where(AlertRule.enabled).order_by(AlertRule.name)
    rules = session.scalars(wanted).all()
    places = dict.fromkeys(_place(rule.metric, rule.window_seconds) for rule in rules)
    readings = {place: read(session, *place, now=now, has_workers=has_workers) for place in places}
    return Measured(rules, readings)


def read(
    session: DbSession, metric: Metric, window: int, *, now: datetime, has_workers: bool = True
) -> list[Reading]:
    """Measure one metric; of more things than are judged, those with the highest values.

    One that does not apply has a reading without a value, which no rule holds for.
    """
    if not applies(metric, has_workers=has_workers):
        return [Reading(metric=metric, value=None)]
    found = _READERS[metric](session, timedelta(seconds=window), now)
    found.sort(key=lambda item: (-(item.value or 0.0), item.label))
    return found[:MOST_READINGS]


def _place(metric: str, window: int) -> tuple[Metric, int]:
    known = Metric(metric)
    return known, window if METRICS[known].windowed else 0


def _job_failures(session: DbSession, window: timedelta, now: datetime) -> list[Reading]:
    # Minutes are kept for a day and a bit.
    seconds = MINUTE if window < MINUTES_KEPT else HOUR
    counts = outcomes_since(session, now - window, seconds=seconds)
    return [
        Reading(
            metric=Metric.JOB_FAILURE_RATE,
            label=name,
            value=100 * bad / (good + bad),
            sample=good + bad,
        )
        for name, (good, bad) in counts.items()
        if good + bad
    ]


def _open_breakers(session: DbSession, window: timedelta, now: datetime) -> list[Reading]:
    del window
    # Half open is not well yet: it becomes closed by calls that succeed.
    return [
        Reading(metric=Metric.BREAKER_OPEN, label=name, value=1.0)
        for name, state in states_by_name(session, now=now).items()
        if state != BreakerState.CLOSED
    ]


def _dead_letters(session: DbSession, window: timedelta, now: datetime) -> list[Reading]:
    del window, now
    number = session.scalar(select(open_count())) or 0
    return [Reading(metric=Metric.DEAD_LETTERS_OPEN, value=float(number))]


def _workers(session: DbSession, window: timedelta, now: datetime) -> list[Reading]:
    del window
    number = session.scalar(select(alive_count(now=now))) or 0
    return [Reading(metric=Metric.WORKERS_ALIVE, value=float(number))]


def _oldest_queued(session: DbSession, window: timedelta, now: datetime) -> list[Reading]:
    del window
    seconds = queue_figures(session, now=now).oldest_seconds
    return [Reading(metric=Metric.OLDEST_QUEUED_SECONDS, value=seconds or 0.0)]


def _replays(session: DbSession, window: timedelta, now: datetime) -> list[Reading]:
    keys, replays = replays_since(session, now - window)
    writes = keys + replays
    value = 100 * replays / writes if writes else None
    return [Reading(metric=Metric.IDEMPOTENCY_REPLAY_RATE, value=value, sample=writes)]


def _late_schedules(session: DbSession, window: timedelta, now: datetime) -> list[Reading]:
    del window
    return [
        Reading(
            metric=Metric.SCHEDULE_LATE_SECONDS, label=name, value=(now - due_at).total_seconds()
        )
        for name, due_at in overdue(session, MOST_READINGS, now=now)
    ]


def _failing_sources(session: DbSession, window: timedelta, now: datetime) -> list[Reading]:
    del window, now
    return [
        Reading(metric=Metric.SOURCE_FAILING, label=view.source.name, value=1.0)
        for view in list_sources(session)
        if view.last_run is not None and view.last_run.status == RunStatus.FAILED
    ]


def _reported(metric: Metric) -> "_Read":
    def read(session: DbSession, window: timedelta, now: datetime) -> list[Reading]:
        count = func.count()
        rows = session.execute(
            select(AlertReport.label, count)
            .where(AlertReport.metric == metric, AlertReport.at > now - window)
            .group_by(AlertReport.label)
            .order_by(count.desc(), AlertReport.label)
            .limit(MOST_READINGS)
        )
        return [Reading(metric=metric, label=label, value=float(number)) for label, number in rows]

    return read


_Read = Callable[[DbSession, timedelta, datetime], list[Reading]]
_READERS: Final[Mapping[Metric, _Read]] = {
    Metric.JOB_FAILURE_RATE: _job_failures,
    Metric.BREAKER_OPEN: _open_breakers,
    Metric.DEAD_LETTERS_OPEN: _dead_letters,
    Metric.WORKERS_ALIVE: _workers,
    Metric.OLDEST_QUEUED_SECONDS: _oldest_queued,
    Metric.FLAGS_STALE: _reported(Metric.FLAGS_STALE),
    Metric.ROLLOUT_ROLLED_BACK: _reported(Metric.ROLLOUT_ROLLED_BACK),
    Metric.IDEMPOTENCY_REPLAY_RATE: _replays,
    Metric.SCHEDULE_LATE_SECONDS: _late_schedules,
    Metric.SOURCE_FAILING: _failing_sources,
}
