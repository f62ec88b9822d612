"""What only the pages of alerts ask: what fires first, and what stands around one alert or rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Subquery, case, func, select

from webapp.alerts.models import Alert, AlertRule, AlertSilence, AlertTransition
from webapp.alerts.queries import (
    AlertFilters,
    AlertView,
    SilenceView,
    fitting,
    list_alerts,
    view_alert,
    view_silence,
)
from webapp.alerts.values import ACTIVE, AlertEvent, Metric, Severity
from webapp.breakers.callers import job_caller
from webapp.breakers.queries import breakers_of
from webapp.db import DbSession
from webapp.paging import PAGE_SIZE, REACH, Cursor, Page, Scan, counted_up_to_cap, fetch_page

#: What fires stands before all else, as far as anybody reads.
MOST_PINNED: Final = 100
SILENCES_SHOWN: Final = 20
ALERTS_OF_RULE: Final = 10
_FIRED: Final = (AlertEvent.FIRED, AlertEvent.ROSE, AlertEvent.FELL)
_WITHIN: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class AlertList:
    """What fires, the worst first, and a page of the others, the newest first.

    ``firing`` is empty on the pages behind the first, and where a state was asked for: then the
    page is of that.  ``more`` tells that more fires than is shown.
    """

    firing: Sequence[AlertView]
    more: bool
    page: Page[AlertView]

    @property
    def rows(self) -> Sequence[AlertView]:
        """Return all that is shown on this page."""
        return (*self.firing, *self.page.rows)


def list_worst_first(session: DbSession, filters: AlertFilters, cursor: Cursor) -> AlertList:
    """Return what fires before all others: four statements at most."""
    if filters.state:
        return AlertList((), more=False, page=list_alerts(session, filters, cursor))
    firing, more = ((), False) if cursor.moved else _firing(session, filters)
    others = fitting(filters).where(Alert.state.not_in(sorted(ACTIVE)))
    # No index carries a text.
    scan = Scan(Alert.id, rows=REACH if filters.text else None)
    page = fetch_page(session, others, scan, cursor, present=view_alert, size=PAGE_SIZE)
    return AlertList(firing, more, page)


def _firing(session: DbSession, filters: AlertFilters) -> tuple[Sequence[AlertView], bool]:
    rank = case({name.value: name.rank for name in Severity}, value=Alert.severity)
    wanted = fitting(filters).where(Alert.state.in_(sorted(ACTIVE)))
    worst = wanted.order_by(rank.desc(), Alert.id.desc()).limit(MOST_PINNED + 1)
    rows = [view_alert(row) for row in session.scalars(worst)]
    return rows[:MOST_PINNED], len(rows) > MOST_PINNED


def silences_of(session: DbSession, alert: AlertView, *, now: datetime) -> list[SilenceView]:
    """Return what keeps people from being told of an alert now, what ends last first."""
    rows = session.scalars(
        select(AlertSilence)
        .where(
            AlertSilence.ends_at > now,
            AlertSilence.rule.in_(["", alert.rule]),
            AlertSilence.label.in_(["", alert.label]),
        )
        .order_by(AlertSilence.ends_at.desc(), AlertSilence.id.desc())
        .limit(SILENCES_SHOWN)
    )
    return [view_silence(row, now=now) for row in rows]


def active_silences(session: DbSession, *, now: datetime) -> int:
    """Count the silences that have not ended, up to one past the cap."""
    wanted = counted_up_to_cap(select(AlertSilence.id).where(AlertSilence.ends_at > now))
    return session.scalar(select(wanted)) or 0


def breakers_behind(session: DbSession, alert: AlertView, *, now: datetime) -> list[str]:
    """Return the breakers that a failing job type calls through; none for other alerts."""
    if alert.metric != Metric.JOB_FAILURE_RATE:
        return []
    caller = job_caller(alert.label)
    return sorted(breakers_of(session, [caller], since=now - _WITHIN).get(caller, []))


def last_fired(session: DbSession) -> Mapping[str, datetime]:
    """Return when each rule fired last, as far as the newest history tells: one statement."""
    newest = _newest()
    rows = session.execute(
        select(newest.c.rule, func.max(newest.c.at))
        .where(newest.c.event.in_(sorted(_FIRED)))
        .group_by(newest.c.rule)
    )
    return dict(rows.tuples().all())


def alerts_of_rule(session: DbSession, name: str) -> list[AlertView]:
    """Return the last alerts that a rule had a part in, the newest first: one statement."""
    newest = _newest()
    part = select(newest.c.alert_id).where(newest.c.rule == name)
    rows = session.scalars(
        select(Alert).where(Alert.id.in_(part)).order_by(Alert.id.desc()).limit(ALERTS_OF_RULE)
    )
    return [view_alert(row) for row in rows]


def _newest() -> Subquery:
    """Return the newest lines of all histories: no index carries their rules."""
    line = AlertTransition
    columns = select(line.alert_id, line.at, line.event, line.rule)
    return columns.order_by(line.id.desc()).limit(REACH).subquery()


def rule_names(session: DbSession) -> list[str]:
    """Return the names of all rules."""
    return list(session.scalars(select(AlertRule.name).order_by(AlertRule.name)))
