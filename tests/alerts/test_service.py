"""What people write of alerts: checked, versioned, and told to the audit."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from tests.alerts.conftest import WARN, MakeChannel, MakeRule
from webapp.actors import Actor
from webapp.alerts import service
from webapp.alerts.models import Alert
from webapp.alerts.values import AlertState, Metric, Severity, SilenceDraft
from webapp.audit.service import history
from webapp.errors import Conflict, Invalid, NotFound

ANNA = Actor("user", "anna")
HOUR = timedelta(hours=1)


@pytest.fixture
def alert(session: Session, now: datetime) -> int:
    """An alert that fires."""
    row = Alert(
        key="workers_alive",
        metric=Metric.WORKERS_ALIVE,
        label="",
        state=AlertState.FIRING,
        severity=Severity.CRITICAL,
        rule="no-worker",
        value=0.0,
        comparison="below",
        threshold=1.0,
        holding={},
        began_at=now,
        fired_at=now,
        told=False,
        told_channels=[],
    )
    session.add(row)
    session.flush()
    return row.id


def test_a_rule_is_made_with_what_it_says_and_audited(
    make: MakeRule, channel: MakeChannel, session: Session
) -> None:
    rule = make(channels=[channel("ops"), "ops"], for_seconds=60)
    assert (rule.version, rule.created_by, rule.channels) == (1, "command line", ["ops"])
    assert (rule.cooldown_seconds, rule.window_seconds, rule.min_sample, rule.enabled) == (
        1800,
        3600,
        5,
        True,
    )
    (entry,) = history(session, "alert_rule", "warn")
    assert (entry.action, entry.reason) == ("alert_rule.created", "Needed")
    assert {"metric", "threshold", "severity", "channels"} <= {c.field for c in entry.changes}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "Not A Name"}, "name"),
        ({"name": "new"}, "name"),
        ({"name": "preview"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"metric": "moon_phase"}, "metric"),
        ({"metric": Metric.WORKERS_ALIVE, "scope": "etl"}, "scope"),
        ({"scope": "a" * 256}, "scope"),
        ({"scope": "a\0"}, "scope"),
        ({"comparison": "near"}, "comparison"),
        ({"threshold": float("nan")}, "threshold"),
        ({"threshold": float("inf")}, "threshold"),
        ({"threshold": -1}, "threshold"),
        ({"window_seconds": 59}, "window_seconds"),
        ({"window_seconds": 7 * 86_400 + 1}, "window_seconds"),
        ({"min_sample": 0}, "min_sample"),
        ({"severity": "awful"}, "severity"),
        ({"for_seconds": -1}, "for_seconds"),
        ({"cooldown_seconds": 0}, "cooldown_seconds"),
        ({"channels": ["nobody"]}, "channels"),
        ({"channels": ["a"] * 51}, "channels"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_field(
    make: MakeRule, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        make(**fields)
    assert list(refused.value.errors) == [field]


def test_all_that_is_wrong_is_told_at_once(session: Session, now: datetime) -> None:
    bad = replace(WARN, name="X", metric="x", severity="x", channels=("x",), window_seconds=0)
    with pytest.raises(Invalid) as refused:
        service.create_rule(session, bad, by=ANNA, now=now, reason=" ")
    assert set(refused.value.errors) == {
        "name",
        "metric",
        "severity",
        "channels",
        "window_seconds",
        "reason",
    }


def test_a_name_is_taken_once(make: MakeRule) -> None:
    make()
    with pytest.raises(Conflict):
        make()


def test_a_change_is_one_version_and_one_entry(
    make: MakeRule, session: Session, now: datetime
) -> None:
    make()
    draft = replace(WARN, threshold=30, for_seconds=120)
    changed = service.change_rule(session, draft, by=ANNA, now=now, reason="Noise", version=1)
    assert (changed.version, changed.threshold, changed.updated_by) == (2, 30.0, "anna")
    entry, _ = history(session, "alert_rule", "warn")
    assert {item.field: (item.old, item.new) for item in entry.changes} == {
        "threshold": (20.0, 30.0),
        "for_seconds": (0, 120),
    }
    same = service.change_rule(session, draft, by=ANNA, now=now, reason="Again")
    assert same.version == 2
    with pytest.raises(Conflict):
        service.change_rule(session, WARN, by=ANNA, now=now, reason="Late", version=1)
    assert service.find_rule(session, "warn").threshold == 30.0


def test_a_removed_rule_leaves_its_last_state_to_the_audit(
    make: MakeRule, session: Session, now: datetime
) -> None:
    make()
    with pytest.raises(Invalid):
        service.remove_rule(session, "warn", by=ANNA, now=now, reason="")
    service.remove_rule(session, "warn", by=ANNA, now=now, reason="Noise", version=1)
    with pytest.raises(NotFound):
        service.find_rule(session, "warn")
    entry, _ = history(session, "alert_rule", "warn")
    assert entry.action == "alert_rule.removed"
    assert {item.field: item.old for item in entry.changes}["threshold"] == 20.0


def test_an_alert_is_acknowledged_once(session: Session, alert: int, now: datetime) -> None:
    done = service.acknowledge(session, alert, by=ANNA, now=now, note=" Mine ")
    assert (done.state, done.acknowledged_by, done.acknowledged_at) == (
        AlertState.ACKNOWLEDGED,
        "anna",
        now,
    )
    (entry,) = history(session, "alert", str(alert))
    assert (entry.action, entry.reason, entry.actor) == ("alert.acknowledged", "Mine", "anna")
    with pytest.raises(Conflict, match="acknowledged by anna"):
        service.acknowledge(session, alert, by=Actor("user", "ben"), now=now)
    assert len(history(session, "alert", str(alert))) == 1


@pytest.mark.parametrize("state", ["pending", "resolved", "inactive"])
def test_what_does_not_fire_cannot_be_acknowledged(
    session: Session, alert: int, now: datetime, state: str
) -> None:
    session.execute(update(Alert).values(state=state))
    with pytest.raises(Conflict, match=f"is {state}"):
        service.acknowledge(session, alert, by=ANNA, now=now)
    with pytest.raises(NotFound):
        service.acknowledge(session, alert + 1, by=ANNA, now=now)


def test_a_silence_is_made_and_ended_once(make: MakeRule, session: Session, now: datetime) -> None:
    make()
    draft = SilenceDraft(rule="warn", label="etl", ends_at=now + HOUR, reason="Rehearsal")
    silence = service.create_silence(session, draft, by=ANNA, now=now)
    (entry,) = history(session, "alert_silence", str(silence.id))
    assert (entry.action, entry.reason) == ("alert_silence.created", "Rehearsal")
    ended = service.end_silence(session, silence.id, by=ANNA, now=now, reason="Over")
    assert (ended.ends_at, ended.ended_by) == (now, "anna")
    with pytest.raises(Conflict):
        service.end_silence(session, silence.id, by=ANNA, now=now, reason="Over")
    actions = [item.action for item in history(session, "alert_silence", str(silence.id))]
    assert actions == ["alert_silence.ended", "alert_silence.created"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"rule": "", "label": ""}, "rule"),
        ({"rule": "nothing"}, "rule"),
        ({"label": "a" * 256}, "label"),
        ({"hours": 0}, "ends_at"),
        ({"hours": 91 * 24}, "ends_at"),
        ({"reason": " "}, "reason"),
    ],
)
def test_a_silence_that_cannot_be_is_refused_by_field(
    session: Session, now: datetime, fields: dict[str, Any], field: str
) -> None:
    given: dict[str, Any] = {"label": "etl", "hours": 1, "reason": "Rehearsal"} | fields
    ends_at = now + given.pop("hours") * HOUR
    with pytest.raises(Invalid) as refused:
        service.create_silence(session, SilenceDraft(ends_at=ends_at, **given), by=ANNA, now=now)
    assert list(refused.value.errors) == [field]
