"""What the JSON API of alerts answers with, by type."""

from datetime import datetime
from typing import Literal

from webapp.alerts.values import (
    AlertEvent,
    AlertState,
    Direction,
    Metric,
    Mute,
    Severity,
    Telling,
    Unit,
)
from webapp.web.openapi import Answer, PageQuery, Query


class AlertResponse(Answer):
    """One alert; ``value`` and ``sample`` are the last that were measured while a rule held."""

    id: int
    key: str
    title: str
    metric: Metric
    unit: Unit
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
    told_at: datetime | None
    told_channels: list[str]


class AlertTransitionResponse(Answer):
    """What happened to an alert; ``told`` is what ``channels`` were told then."""

    at: datetime
    event: AlertEvent
    state: AlertState
    severity: Severity
    rule: str
    value: float | None
    comparison: Direction
    threshold: float
    sample: int | None
    told: Telling | None
    channels: list[str]
    muted: Mute | None
    actor: str
    note: str | None


class AlertDetailsResponse(AlertResponse):
    """An alert with its newest history, newest first."""

    history: list[AlertTransitionResponse]


class AlertRuleResponse(Answer):
    """A rule; ``missing_channels`` are those that there are no longer."""

    name: str
    metric: Metric
    unit: Unit
    scope: str
    comparison: Direction
    threshold: float
    window_seconds: int
    min_sample: int
    severity: Severity
    for_seconds: int
    cooldown_seconds: int
    channels: list[str]
    missing_channels: list[str]
    enabled: bool
    firing: int
    version: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


class PreviewedFiringResponse(Answer):
    """A time in which a rule would have fired; ``ended_at`` is null where it still would."""

    label: str
    fired_at: datetime
    ended_at: datetime | None
    peak: float
    sample: int | None


class PreviewedReadingResponse(Answer):
    """What is measured now, and whether the rule holds for it."""

    label: str
    value: float | None
    sample: int | None
    holds: bool


class AlertRulePreviewResponse(Answer):
    """What a rule would have fired on; ``note`` says by which figures, or that none are kept."""

    since: datetime
    until: datetime
    has_history: bool
    note: str
    total: int
    firings: list[PreviewedFiringResponse]
    now: list[PreviewedReadingResponse]


class AlertSilenceResponse(Answer):
    """A silence; an empty rule or label stands for all of them."""

    id: int
    rule: str
    label: str
    reason: str
    active: bool
    ends_at: datetime
    created_at: datetime
    created_by: str
    ended_by: str | None


class AlertsQuery(PageQuery):
    """What a list of alerts is narrowed to."""

    state: Literal["pending", "firing", "acknowledged", "resolved", "inactive", "open", "active"]
    severity: Severity
    key: str


class RulesQuery(Query):
    """What a list of rules is narrowed to."""

    q: str


class RuleRemovalQuery(Query):
    """Why a rule is removed, where no body says it."""

    reason: str
    version: int


class SilencesQuery(PageQuery):
    """Whether those that have ended are left out."""

    active: bool
