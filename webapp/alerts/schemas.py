"""Alerts as JSON: the bodies that are read, and the answers."""

from dataclasses import replace
from typing import Any

from pydantic import Field

from webapp.alerts.models import AlertRule
from webapp.alerts.previewing import Preview
from webapp.alerts.queries import AlertView, RuleView, SilenceView, TransitionView
from webapp.alerts.service import draft_of
from webapp.alerts.values import (
    DEFAULT_COOLDOWN,
    DEFAULT_WINDOW,
    LEAST_SAMPLE,
    Direction,
    RuleDraft,
    SilenceDraft,
)
from webapp.web.schemas import Moment, ReasonText, Schema, Text


class AlertRuleBody(Schema):
    """What a rule may be given."""

    metric: Text | None = None
    scope: Text | None = None
    comparison: Text | None = None
    threshold: float | None = None
    window_seconds: int | None = None
    min_sample: int | None = None
    severity: Text | None = None
    for_seconds: int | None = None
    cooldown_seconds: int | None = None
    channels: list[Text] | None = None
    enabled: bool | None = None

    def given(self) -> dict[str, Any]:
        """Return the fields of a draft that are given."""
        found = {
            name: value
            for name in AlertRuleBody.model_fields
            if (value := getattr(self, name)) is not None
        }
        if "channels" in found:
            found["channels"] = tuple(found["channels"])
        return found


class WholeAlertRule(AlertRuleBody):
    """A rule that stands by itself."""

    metric: Text
    threshold: float
    severity: Text
    scope: Text = ""
    comparison: Text = Direction.ABOVE.value
    window_seconds: int = DEFAULT_WINDOW
    min_sample: int = LEAST_SAMPLE
    for_seconds: int = 0
    cooldown_seconds: int = DEFAULT_COOLDOWN
    channels: list[Text] = Field(default_factory=list)
    enabled: bool = True


class NewAlertRule(WholeAlertRule):
    """The body that makes a rule."""

    name: Text
    reason: ReasonText = ""

    def draft(self) -> RuleDraft:
        """Return the rule that is asked for."""
        return RuleDraft(name=self.name, **self.given())


class AlertRuleUpdate(AlertRuleBody):
    """The body that changes the fields given."""

    reason: ReasonText = ""
    version: int | None = None

    def draft(self, rule: AlertRule) -> RuleDraft:
        """Return what becomes of a rule."""
        return replace(draft_of(rule), **self.given())


class AlertRuleQuestion(WholeAlertRule):
    """The body that asks what a rule would have fired on."""

    hours: int = 24

    def draft(self) -> RuleDraft:
        """Return the rule that is asked about."""
        return RuleDraft(name="preview-of-a-rule", **self.given())


class Acknowledgement(Schema):
    """The body that says that somebody looks after an alert."""

    note: ReasonText = ""


class NewAlertSilence(Schema):
    """The body that makes a silence, of a rule, of a label or of both together."""

    rule: Text = ""
    label: Text = ""
    ends_at: Moment
    reason: ReasonText = ""

    def draft(self) -> SilenceDraft:
        """Return the silence that is asked for."""
        return SilenceDraft(
            rule=self.rule, label=self.label, ends_at=self.ends_at, reason=self.reason
        )


def alert_as_json(view: AlertView) -> dict[str, Any]:
    """Write an alert."""
    return {
        "id": view.id,
        "key": view.key,
        "title": view.title,
        "metric": view.metric,
        "unit": view.facts.unit,
        "label": view.label,
        "state": view.state,
        "severity": view.severity,
        "rule": view.rule,
        "value": view.value,
        "comparison": view.comparison,
        "threshold": view.threshold,
        "sample": view.sample,
        "began_at": view.began_at,
        "fired_at": view.fired_at,
        "acknowledged_at": view.acknowledged_at,
        "acknowledged_by": view.acknowledged_by,
        "ended_at": view.ended_at,
        "muted": view.muted,
        "told_at": view.told_at,
        "told_channels": view.told_channels,
    }


def transition_as_json(view: TransitionView) -> dict[str, Any]:
    """Write one line of an alert's history."""
    return {
        "at": view.at,
        "event": view.event,
        "state": view.state,
        "severity": view.severity,
        "rule": view.rule,
        "value": view.value,
        "comparison": view.comparison,
        "threshold": view.threshold,
        "sample": view.sample,
        "told": view.telling,
        "channels": view.channels,
        "muted": view.muted,
        "actor": view.actor,
        "note": view.note,
    }


def rule_as_json(view: RuleView) -> dict[str, Any]:
    """Write a rule."""
    return {
        "name": view.name,
        "metric": view.metric,
        "unit": view.facts.unit,
        "scope": view.scope,
        "comparison": view.comparison,
        "threshold": view.threshold,
        "window_seconds": view.window_seconds,
        "min_sample": view.min_sample,
        "severity": view.severity,
        "for_seconds": view.for_seconds,
        "cooldown_seconds": view.cooldown_seconds,
        "channels": view.channels,
        "missing_channels": view.missing_channels,
        "enabled": view.enabled,
        "firing": view.firing,
        "version": view.version,
        "created_at": view.created_at,
        "created_by": view.created_by,
        "updated_at": view.updated_at,
        "updated_by": view.updated_by,
    }


def silence_as_json(view: SilenceView) -> dict[str, Any]:
    """Write a silence."""
    return {
        "id": view.id,
        "rule": view.rule,
        "label": view.label,
        "reason": view.reason,
        "active": view.active,
        "ends_at": view.ends_at,
        "created_at": view.created_at,
        "created_by": view.created_by,
        "ended_by": view.ended_by,
    }


def preview_as_json(preview: Preview) -> dict[str, Any]:
    """Write what a rule would have fired on."""
    return {
        "since": preview.since,
        "until": preview.until,
        "has_history": preview.has_history,
        "note": preview.note,
        "total": preview.total,
        "firings": [
            {
                "label": item.label,
                "fired_at": item.fired_at,
                "ended_at": item.ended_at,
                "peak": item.peak,
                "sample": item.sample,
            }
            for item in preview.firings
        ],
        "now": [
            {
                "label": item.label,
                "value": item.value,
                "sample": item.sample,
                "holds": item.holds,
            }
            for item in preview.present
        ],
    }
