"""What pages and programs are shown of alerts: lists, one with its history, rules, silences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ScalarSelect, Select, func, select

from webapp.alerts.models import Alert, AlertRule, AlertSilence, AlertTransition
from webapp.alerts.values import (
    ACTIVE,
    METRICS,
    OPEN,
    AlertEvent,
    AlertState,
    Direction,
    Metric,
    MetricFacts,
    Mute,
    Severity,
    Telling,
)
from webapp.channels.service import channels_of
from webapp.db import DbSession
from webapp.paging import PAGE_SIZE, Cursor, Page, Scan, counted_up_to_cap, fetch_page

HISTORY_PAGE = 50
#: More rules than anybody can keep in mind.
MOST_RULES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView:
    """One alert; ``value`` is the last that was measured while a rule held.

    ``muted`` is why nobody is told of it, None where people are.
    """

    id: int
    key: str
    metric: Metric
    label: str
    state: AlertState
    severity: Severity
    rule: str
    value: float | None
    comparison: Direction
    threshold: float
    sample: int | None
    began_at: datetime
    fired_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    ended_at: datetime | None
    muted: Mute | None
    told: bool
    told_at: datetime | None
    told_channels: Sequence[str]

    @property
    def facts(self) -> MetricFacts:
        """Return what is known of the metric: its title and unit."""
        return METRICS[self.metric]

    @property
    def title(self) -> str:
        """Return what it is about, for people."""
        return title_of(self.metric, self.label)

    @property
    def acknowledgeable(self) -> bool:
        """Tell whether somebody can say that they look after it."""
        return self.state == AlertState.FIRING

    @property
    def open(self) -> bool:
        """Tell whether it has not ended."""
        return self.state in OPEN


def title_of(metric: Metric, label: str) -> str:
    """Return what an alert is about, for people."""
    title = METRICS[metric].title
    return f"{title}: {label}" if label else title


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionView:
    """One line of an alert's history; ``telling`` is what ``channels`` were told then."""

    id: int
    at: datetime
    event: AlertEvent
    state: AlertState
    severity: Severity
    rule: str
    value: float | None
    comparison: Direction
    threshold: float
    sample: int | None
    telling: Telling | None
    channels: Sequence[str]
    muted: Mute | None
    actor: str
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleView:
    """One rule.

    ``missing_channels`` are those of its channels that there are no longer, ``firing`` how many
    alerts fire by it.
    """

    name: str
    metric: Metric
    scope: str
    comparison: Direction
    threshold: float
    window_seconds: int
    min_sample: int
    severity: Severity
    for_seconds: int
    cooldown_seconds: int
    channels: Sequence[str]
    missing_channels: Sequence[str]
    enabled: bool
    firing: int
    version: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str

    @property
    def facts(self) -> MetricFacts:
        """Return what is known of the metric: its title and unit."""
        return METRICS[self.metric]


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceView:
    """One silence; an empty rule or label stands for all of them."""

    id: int
    rule: str
    label: str
    reason: str
    active: bool
    ends_at: datetime
    created_at: datetime
    created_by: str
    ended_by: str | None


@dataclass(frozen=True, slots=True)
class AlertFilters:
    """What narrows the list; an empty text asks for everything.

    ``state`` is one of :class:`AlertState`, or ``open`` or ``active`` for those that are; ``key``
    tells all alerts of one thing.
    """

    state: str = ""
    severity: str = ""
    key: str = ""

    @property
    def any(self) -> bool:
        """Tell whether anything is narrowed."""
        return self != AlertFilters()


#: What the filter by state takes besides the states themselves.
STATE_GROUPS: Mapping[str, frozenset[AlertState]] = {"open": OPEN, "active": ACTIVE}


def list_alerts(
    session: DbSession, filters: AlertFilters, cursor: Cursor, *, size: int = PAGE_SIZE
) -> Page[AlertView]:
    """Return one page of the alerts that fit, the newest first: two statements."""
    return fetch_page(
        session, _fitting(filters), Scan(Alert.id), cursor, present=view_alert, size=size
    )


def _fitting(filters: AlertFilters) -> Select[tuple[Alert]]:
    wanted = select(Alert)
    if filters.state:
        states = STATE_GROUPS.get(filters.state, {filters.state})
        wanted = wanted.where(Alert.state.in_(sorted(states)))
    if filters.severity:
        wanted = wanted.where(Alert.severity == filters.severity)
    if filters.key:
        wanted = wanted.where(Alert.key == filters.key)
    return wanted


def active_alerts(session: DbSession, limit: int) -> list[AlertView]:
    """Return what fires, the worst first, then the newest: one statement."""
    rows = session.scalars(select(Alert).where(Alert.state.in_(sorted(ACTIVE))).limit(MOST_RULES))
    views = [view_alert(row) for row in rows]
    return sorted(views, key=lambda view: (-view.severity.rank, -view.id))[:limit]


def firing_count() -> ScalarSelect[int]:
    """Return a statement that counts what fires and nobody has acknowledged, up to the cap."""
    return counted_up_to_cap(select(Alert.id).where(Alert.state == AlertState.FIRING))


def active_by_severity(session: DbSession) -> dict[Severity, int]:
    """Count what fires by how bad it is, what is acknowledged too: one statement."""
    rows = session.execute(
        select(Alert.severity, func.count())
        .where(Alert.state.in_(sorted(ACTIVE)))
        .group_by(Alert.severity)
    )
    counts = dict.fromkeys(Severity, 0)
    return counts | {Severity(severity): number for severity, number in rows}


def count_by_state(session: DbSession) -> dict[AlertState, int]:
    """Count the alerts of each state, each up to one past the cap: one statement."""
    counted = (
        counted_up_to_cap(select(Alert.id).where(Alert.state == name)) for name in AlertState
    )
    return dict(zip(AlertState, session.execute(select(*counted)).one(), strict=True))


def view_alert(alert: Alert) -> AlertView:
    """Return an alert as it is shown."""
    return AlertView(
        id=alert.id,
        key=alert.key,
        metric=Metric(alert.metric),
        label=alert.label,
        state=AlertState(alert.state),
        severity=Severity(alert.severity),
        rule=alert.rule,
        value=alert.value,
        comparison=Direction(alert.comparison),
        threshold=alert.threshold,
        sample=alert.sample,
        began_at=alert.began_at,
        fired_at=alert.fired_at,
        acknowledged_at=alert.acknowledged_at,
        acknowledged_by=alert.acknowledged_by,
        ended_at=alert.ended_at,
        muted=Mute(alert.muted) if alert.muted else None,
        told=alert.told,
        told_at=alert.told_at,
        told_channels=alert.told_channels,
    )


def history_of(
    session: DbSession, alert_id: int, cursor: Cursor, *, size: int = HISTORY_PAGE
) -> Page[TransitionView]:
    """Return a page of the history of one alert, the newest first: two statements."""
    wanted = select(AlertTransition).where(AlertTransition.alert_id == alert_id)
    return fetch_page(
        session, wanted, Scan(AlertTransition.id), cursor, present=_transition, size=size
    )


def _transition(row: AlertTransition) -> TransitionView:
    return TransitionView(
        id=row.id,
        at=row.at,
        event=AlertEvent(row.event),
        state=AlertState(row.state),
        severity=Severity(row.severity),
        rule=row.rule,
        value=row.value,
        comparison=Direction(row.comparison),
        threshold=row.threshold,
        sample=row.sample,
        telling=Telling(row.telling) if row.telling else None,
        channels=row.channels,
        muted=Mute(row.muted) if row.muted else None,
        actor=row.actor,
        note=row.note,
    )


def list_rules(session: DbSession, *, text: str = "") -> list[RuleView]:
    """Return the rules by name whose name, metric or scope holds a text: three statements."""
    rows = session.scalars(select(AlertRule).order_by(AlertRule.name).limit(MOST_RULES)).all()
    wanted = text.casefold()
    fitting = [row for row in rows if wanted in f"{row.name} {row.metric} {row.scope}".casefold()]
    return _rules(session, fitting)


def view_rule(session: DbSession, rule: AlertRule) -> RuleView:
    """Return one rule as it is shown: two statements."""
    return _rules(session, [rule])[0]


def _rules(session: DbSession, rows: Sequence[AlertRule]) -> list[RuleView]:
    known = channels_of(session, sorted({name for row in rows for name in row.channels}))
    firing = dict(
        session.execute(
            select(Alert.rule, func.count())
            .where(Alert.state.in_(sorted(ACTIVE)))
            .group_by(Alert.rule)
        )
        .tuples()
        .all()
    )
    return [
        RuleView(
            name=row.name,
            metric=Metric(row.metric),
            scope=row.scope,
            comparison=Direction(row.comparison),
            threshold=row.threshold,
            window_seconds=row.window_seconds,
            min_sample=row.min_sample,
            severity=Severity(row.severity),
            for_seconds=row.for_seconds,
            cooldown_seconds=row.cooldown_seconds,
            channels=row.channels,
            missing_channels=[name for name in row.channels if name not in known],
            enabled=row.enabled,
            firing=firing.get(row.name, 0),
            version=row.version,
            created_at=row.created_at,
            created_by=row.created_by,
            updated_at=row.updated_at,
            updated_by=row.updated_by,
        )
        for row in rows
    ]


def list_silences(
    session: DbSession, cursor: Cursor, *, now: datetime, active: bool, size: int = PAGE_SIZE
) -> Page[SilenceView]:
    """Return one page of silences, the newest first, or of those that have not ended."""
    wanted = select(AlertSilence)
    if active:
        wanted = wanted.where(AlertSilence.ends_at > now)
    return fetch_page(
        session,
        wanted,
        Scan(AlertSilence.id),
        cursor,
        present=lambda row: view_silence(row, now=now),
        size=size,
    )


def view_silence(silence: AlertSilence, *, now: datetime) -> SilenceView:
    """Return a silence as it is shown."""
    return SilenceView(
        id=silence.id,
        rule=silence.rule,
        label=silence.label,
        reason=silence.reason,
        active=silence.ends_at > now,
        ends_at=silence.ends_at,
        created_at=silence.created_at,
        created_by=silence.created_by,
        ended_by=silence.ended_by,
    )
