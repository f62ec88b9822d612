"""Judges what was measured, once in each minute: what becomes of each alert, and who is told.

Whoever writes first has the minute, by a conditional update; a message is enqueued in the very
transaction that changes its alert.  So however many processes look, each thing is told once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from sqlalchemy import func, or_, select, text, union_all, update

from webapp.actors import SYSTEM
from webapp.alerts.lifecycle import (
    Decision,
    Held,
    Outage,
    Silence,
    Standing,
    decide,
    explained,
    holds,
    muting_of,
)
from webapp.alerts.measuring import Measured
from webapp.alerts.models import IS_TOLD, Alert, AlertHead, AlertRule, AlertSilence, AlertTransition
from webapp.alerts.queries import title_of
from webapp.alerts.values import (
    ACTIVE,
    MAX_WINDOW,
    OPEN,
    AlertEvent,
    AlertState,
    Direction,
    Metric,
    Reading,
    Severity,
    Telling,
    key_of,
)
from webapp.alerts.wording import Notice, digest_of, message_of
from webapp.breakers.queries import breakers_of
from webapp.channels.service import channels_of, incident_channels, notify
from webapp.db import DbSession, insert_into
from webapp.jobs.rollup import MINUTE, floor

_HEAD: Final = 1
#: A minute that lies so far ahead was written by a clock that was wrong.
_AHEAD: Final = timedelta(minutes=5)
#: Who has not called through a breaker for so long is not explained by it.
_USED_WITHIN: Final = timedelta(days=7)
#: What breakers call the jobs of a type.
_CALLER: Final = "job "


@dataclass(frozen=True, slots=True)
class Change:
    """What an evaluation did about one alert, for the log."""

    alert_id: int
    key: str
    event: AlertEvent | None
    severity: Severity
    telling: Telling | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one evaluation came to; ``jobs`` are those that tell people."""

    minute: datetime
    changes: Sequence[Change]
    jobs: Sequence[int]
    missing_channels: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Judged:
    """What became of one alert; people were told of ``before`` as its severity last."""

    case: "_Case"
    alert: Alert
    decision: Decision
    before: Severity | None


@dataclass(slots=True)
class _Case:
    """What an alert may be made of: the rules that hold for one thing, each with its reading."""

    metric: Metric
    label: str
    held: list[Held] = field(default_factory=list)
    rules: dict[str, tuple[AlertRule, Reading]] = field(default_factory=dict)


def is_due(session: DbSession, *, now: datetime) -> bool:
    """Tell whether nobody has judged this minute yet."""
    minute = floor(now, MINUTE)
    evaluated_at = session.scalar(select(AlertHead.evaluated_at))
    return evaluated_at is None or not minute <= evaluated_at < minute + _AHEAD


def evaluate(
    session: DbSession, measured: Measured, *, now: datetime, console_url: str = ""
) -> Evaluation | None:
    """Judge this minute; None where somebody else has."""
    minute = floor(now, MINUTE)
    if not _claim(session, minute):
        return None
    cases = _cases(measured)
    standing = _standing(session, cases)
    for alert in standing.values():
        cases.setdefault(alert.key, _Case(Metric(alert.metric), alert.label))
    judge = _Judge(session, measured, cases, now=now)
    # Breakers first: what they explain is judged by what became of them.
    keys = sorted(cases, key=lambda key: (cases[key].metric != Metric.BREAKER_OPEN, key))
    judged = [
        done for key in keys if (done := judge.judge(cases[key], standing.get(key))) is not None
    ]
    # Those that are new have their numbers from here on.
    session.flush()
    session.add_all(_line(item, measured, now=now) for item in judged)
    changes = [_change(item.alert, item.decision) for item in judged]
    notices = [
        (_notice(item, measured, console_url), item.decision.channels)
        for item in judged
        if item.decision.telling is not None
    ]
    jobs, missing = _tell(session, notices, now=now, console_url=console_url)
    return Evaluation(minute, changes, jobs, missing)


def _claim(session: DbSession, minute: datetime) -> bool:
    """Take a minute.  The row is locked until the end of the transaction: nobody judges beside."""
    first = insert_into(session, AlertHead).values(id=_HEAD, evaluated_at=minute)
    first = first.on_conflict_do_nothing(index_elements=["id"]).returning(AlertHead.id)
    if session.scalar(first) is not None:
        return True
    # Conditional, so that of many who look one judges.
    won = session.execute(
        update(AlertHead)
        .where(or_(AlertHead.evaluated_at < minute, AlertHead.evaluated_at >= minute + _AHEAD))
        .values(evaluated_at=minute)
        .execution_options(synchronize_session=False)
    )
    return bool(won.rowcount)  # type: ignore[attr-defined]


def _cases(measured: Measured) -> dict[str, _Case]:
    """Return what rules hold for, by key: all rules of one metric and label are one alert."""
    cases: dict[str, _Case] = {}
    for rule in measured.rules:
        for reading in measured.of_rule(rule):
            if holds(Direction(rule.comparison), rule.threshold, rule.min_sample, reading):
                case = cases.setdefault(reading.key, _Case(reading.metric, reading.label))
                case.held.append(_held(rule))
                case.rules[rule.name] = (rule, reading)
    return cases


def _held(rule: AlertRule) -> Held:
    return Held(
        rule=rule.name,
        severity=Severity(rule.severity),
        lasts=timedelta(seconds=rule.for_seconds),
        cooldown=timedelta(seconds=rule.cooldown_seconds),
        channels=tuple(rule.channels),
    )


def _standing(session: DbSession, keys: Iterable[str]) -> dict[str, Alert]:
    """Return the newest alert of each of these keys, and of those that may have to change."""
    # Each part by an index of its own, however long the history is.
    wanted = union_all(
        select(func.max(Alert.id)).where(Alert.key.in_(sorted(keys))).group_by(Alert.key),
        select(Alert.id).where(Alert.state.in_(sorted(OPEN))),
        select(Alert.id).where(text(IS_TOLD)),
    )
    # Locked, since somebody may acknowledge one at this moment.
    rows = session.scalars(
        select(Alert)
        .where(Alert.id.in_(wanted))
        .order_by(Alert.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return {alert.key: alert for alert in rows}


class _Judge:
    """Decides about alerts one by one, and writes what follows."""

    def __init__(
        self,
        session: DbSession,
        measured: Measured,
        cases: Mapping[str, _Case],
        *,
        now: datetime,
    ) -> None:
        self._session = session
        self._measured = measured
        self._now = now
        self._windows = {
            rule.name: timedelta(seconds=rule.window_seconds) for rule in measured.rules
        }
        self._cases = cases
        self._silences = self._read_silences()

    def judge(self, case: _Case, alert: Alert | None) -> _Judged | None:
        """Decide about one alert and write it; None where nothing happened to it."""
        before = standing_of(alert)
        muting = muting_of(case.label, self._silences, inhibited=self._is_inhibited(case))
        decision = decide(before, case.held, muting=muting, now=self._now)
        row = self._write(case, alert, decision)
        if row is None or (decision.event is None and decision.telling is None):
            return None
        return _Judged(case, row, decision, before.told_severity)

    def _write(self, case: _Case, alert: Alert | None, decision: Decision) -> Alert | None:
        after = decision.after
        if decision.begins:
            if alert is not None:
                # Whoever was told of it is told of the new one from now on.
                alert.told = False
            alert = Alert(
                key=key_of(case.metric, case.label),
                metric=case.metric,
                label=case.label,
                began_at=self._now,
            )
            self._session.add(alert)
        if alert is None:
            return None
        if case.held and after.rule in case.rules:
            rule, reading = case.rules[after.rule]
            alert.value, alert.sample = reading.value, reading.sample
            alert.comparison, alert.threshold = rule.comparison, rule.threshold
        self._write_standing(alert, decision)
        return alert

    def _write_standing(self, alert: Alert, decision: Decision) -> None:
        after = decision.after
        alert.state, alert.rule = after.state, after.rule
        alert.severity = after.severity or Severity.INFO
        alert.holding = {name: since.isoformat() for name, since in after.holding.items()}
        alert.muted = decision.mute
        alert.told, alert.told_at = after.told, after.told_at
        alert.told_severity = after.told_severity
        alert.told_channels = list(after.told_channels)
        if decision.event in {AlertEvent.FIRED, AlertEvent.ROSE}:
            alert.fired_at = alert.fired_at or self._now
            alert.acknowledged_at = alert.acknowledged_by = None
        if decision.event in {AlertEvent.RESOLVED, AlertEvent.WENT_AWAY}:
            alert.ended_at = self._now

    def _is_inhibited(self, case: _Case) -> bool:
        if case.metric != Metric.JOB_FAILURE_RATE or not self._outages:
            return False
        windows = [self._windows[item.rule] for item in case.held]
        since = self._now - max(windows, default=timedelta())
        breakers = self._breakers.get(_CALLER + case.label, [])
        return explained(breakers, self._outages, since=since)

    def _read_silences(self) -> list[Silence]:
        wanted = select(AlertSilence.rule, AlertSilence.label)
        rows = self._session.execute(wanted.where(AlertSilence.ends_at > self._now))
        return [Silence(rule=row.rule, label=row.label) for row in rows]

    @cached_property
    def _outages(self) -> list[Outage]:
        """Return the breakers of which there is an alert, or was as long as anybody looks back."""
        rows = self._session.execute(
            select(Alert.label, Alert.state, Alert.ended_at).where(
                Alert.metric == Metric.BREAKER_OPEN,
                or_(
                    Alert.state.in_(sorted(ACTIVE)),
                    (Alert.state == AlertState.RESOLVED)
                    & (Alert.ended_at > self._now - timedelta(seconds=MAX_WINDOW)),
                ),
            )
        )
        return [
            Outage(breaker=row.label, ended_at=None if row.state in ACTIVE else row.ended_at)
            for row in rows
        ]

    @cached_property
    def _breakers(self) -> Mapping[str, list[str]]:
        callers = [
            _CALLER + case.label
            for case in self._cases.values()
            if case.metric == Metric.JOB_FAILURE_RATE
        ]
        return breakers_of(self._session, callers, since=self._now - _USED_WITHIN)


def standing_of(alert: Alert | None) -> Standing:
    """Return a stored alert as its lifecycle knows it; None is one that there never was."""
    if alert is None:
        return Standing()
    return Standing(
        state=AlertState(alert.state),
        severity=Severity(alert.severity),
        rule=alert.rule,
        holding={name: datetime.fromisoformat(at) for name, at in alert.holding.items()},
        told=alert.told,
        told_at=alert.told_at,
        told_severity=Severity(alert.told_severity) if alert.told_severity else None,
        told_channels=tuple(alert.told_channels),
    )


def _line(judged: _Judged, measured: Measured, *, now: datetime) -> AlertTransition:
    """Return what the history says of it."""
    case, alert, decision = judged.case, judged.alert, judged.decision
    held = case.rules.get(alert.rule)
    reading = held[1] if held else measured.of_alert(case.metric, case.label)
    return AlertTransition(
        alert_id=alert.id,
        at=now,
        event=decision.event or AlertEvent.TOLD,
        state=alert.state,
        severity=alert.severity,
        rule=alert.rule,
        value=reading.value,
        comparison=alert.comparison,
        threshold=alert.threshold,
        sample=reading.sample,
        telling=decision.telling,
        channels=list(decision.channels),
        muted=decision.mute,
        actor=SYSTEM.name,
    )


def _change(alert: Alert, decision: Decision) -> Change:
    severity = Severity(alert.severity)
    return Change(alert.id, alert.key, decision.event, severity, decision.telling)


def _notice(judged: _Judged, measured: Measured, console_url: str) -> Notice:
    alert, telling = judged.alert, judged.decision.telling
    assert telling is not None  # else there is nothing to tell  # noqa: S101
    metric, value, sample = Metric(alert.metric), alert.value, alert.sample
    if telling == Telling.RESOLVED:
        reading = measured.of_alert(metric, alert.label)
        value, sample = reading.value, reading.sample
    return Notice(
        key=alert.key,
        title=title_of(metric, alert.label),
        telling=telling,
        metric=metric,
        severity=Severity(alert.severity),
        before=judged.before,
        rule=alert.rule,
        value=value,
        comparison=Direction(alert.comparison),
        threshold=alert.threshold,
        sample=sample,
        since=alert.began_at,
        link=f"{console_url}/alerts/{alert.id}" if console_url else "",
    )


def _tell(
    session: DbSession,
    notices: Sequence[tuple[Notice, Sequence[str]]],
    *,
    now: datetime,
    console_url: str,
) -> tuple[list[int], list[str]]:
    """Enqueue a message for each channel, and return the jobs and the channels that are gone.

    One message tells a channel of everything at once, but for those that keep an incident for each
    alert: they are told of each by itself, under its key.
    """
    by_channel: dict[str, list[Notice]] = {}
    for notice, channels in notices:
        for name in channels:
            by_channel.setdefault(name, []).append(notice)
    known = channels_of(session, sorted(by_channel))
    apart = incident_channels(session, sorted(known))
    link = f"{console_url}/alerts?state=active" if console_url else ""
    jobs: list[int] = []
    for name in known:
        told = by_channel[name]
        messages = (
            [message_of(notice) for notice in told]
            if name in apart
            else [digest_of(told, link=link)]
        )
        for message in messages:
            jobs += notify(session, [name], message, by=SYSTEM, now=now)
    return jobs, [name for name in sorted(by_channel) if name not in known]
