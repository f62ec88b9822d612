"""The forms of the pages of alerts: rules and silences as text fields, and as values again.

Works on plain mappings of text, so that it knows neither Flask nor the database.  What was typed is
kept as it was typed, whether or not it can be read.  People write minutes where rules hold seconds.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from webapp.alerts.values import (
    DEFAULT_COOLDOWN,
    DEFAULT_WINDOW,
    LEAST_SAMPLE,
    MAX_COOLDOWN,
    MAX_FOR,
    MAX_SAMPLE,
    MAX_THRESHOLD,
    MAX_WINDOW,
    METRICS,
    MINUTE,
    Direction,
    Metric,
    RuleDraft,
    Severity,
    SilenceDraft,
    Unit,
)
from webapp.errors import FieldErrors, Invalid

_UNITS: Final = {
    Unit.PERCENT: "in percent",
    Unit.SECONDS: "in seconds",
    Unit.COUNT: "a number",
}
METRIC_OPTIONS: Final = tuple(
    (metric, f"{facts.title}, {_UNITS[facts.unit]}") for metric, facts in METRICS.items()
)
COMPARISONS: Final = ((Direction.ABOVE, "is above"), (Direction.BELOW, "is below"))
SEVERITIES: Final = tuple((severity, severity.capitalize()) for severity in Severity)
SPANS: Final = (("24", "the last 24 hours"), ("168", "the last 7 days"))
UNTIL: Final = "until"
LASTS: Final = (
    ("60", "1 hour"),
    ("480", "8 hours"),
    ("1440", "1 day"),
    (UNTIL, "until a time"),
)
#: What a silence that is made on the page of an alert covers.
THIS, LABEL, RULE = "this", "label", "rule"
_LONGEST: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleForm:
    """Every field of a rule as text, times as minutes; ``hours`` is what its preview looks back."""

    name: str = ""
    metric: str = Metric.JOB_FAILURE_RATE
    scope: str = ""
    comparison: str = Direction.ABOVE
    threshold: str = ""
    window_seconds: str = f"{DEFAULT_WINDOW / MINUTE:g}"
    min_sample: str = str(LEAST_SAMPLE)
    severity: str = Severity.WARNING
    for_seconds: str = "0"
    cooldown_seconds: str = f"{DEFAULT_COOLDOWN / MINUTE:g}"
    channels: Sequence[str] = ()
    enabled: bool = True
    hours: str = "24"
    reason: str = ""
    version: str = ""
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Mapping[str, str], channels: Sequence[str]) -> "RuleForm":
        """Take what a browser sent."""
        names = {item.name for item in fields(cls)} - {"errors", "channels", "enabled"}
        typed: dict[str, Any] = {name: sent[name] for name in names & set(sent)}
        return cls(channels=tuple(channels), enabled="enabled" in sent, **typed)

    def draft(self) -> RuleDraft:
        """Return the rule that was typed; :class:`Invalid` with all that cannot be read."""
        values: dict[str, Any] = {}
        errors: dict[str, Sequence[str]] = {}
        for name, read in _READERS.items():
            try:
                values[name] = read(getattr(self, name))
            except Invalid as error:
                errors[name] = [error.detail]
        if errors:
            name, messages = next(iter(errors.items()))
            raise Invalid(f"{name}: {messages[0]}", errors)
        return RuleDraft(
            name=self.name.strip(),
            metric=self.metric,
            scope=self.scope.strip(),
            comparison=self.comparison,
            severity=self.severity,
            channels=self.channels,
            enabled=self.enabled,
            **values,
        )

    def based_on(self) -> int | None:
        """Return the version that the form was made from."""
        return int(self.version) if re.fullmatch(r"[0-9]{1,9}", self.version) else None

    def looks_back(self) -> int:
        """Return how many hours the preview looks back: the first choice for what is none."""
        return int(self.hours if self.hours in dict(SPANS) else SPANS[0][0])


def form_of(draft: RuleDraft, version: int) -> RuleForm:
    """Write a rule into the fields of its form."""
    return RuleForm(
        name=draft.name,
        metric=draft.metric,
        scope=draft.scope,
        comparison=draft.comparison,
        threshold=f"{draft.threshold:.12g}",
        window_seconds=_minutes(draft.window_seconds),
        min_sample=str(draft.min_sample),
        severity=draft.severity,
        for_seconds=_minutes(draft.for_seconds),
        cooldown_seconds=_minutes(draft.cooldown_seconds),
        channels=draft.channels,
        enabled=draft.enabled,
        version=str(version),
    )


def _minutes(seconds: int) -> str:
    return f"{seconds / MINUTE:.12g}"


def _number(text: str) -> float:
    value = float(text.strip()[:_LONGEST])
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _threshold(text: str) -> float:
    try:
        value = _number(text)
    except ValueError:
        value = math.nan
    if 0 <= value <= MAX_THRESHOLD:
        return value
    raise Invalid(f"A number from 0 to {MAX_THRESHOLD:,.0f}.")


def _seconds(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            seconds = round(_number(text) * MINUTE)
        except (ValueError, OverflowError):
            seconds = -1
        if least <= seconds <= most:
            return seconds
        raise Invalid(f"A number of minutes from {least / MINUTE:g} to {most / MINUTE:,.0f}.")

    return read


def _sample(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,7}", text.strip()) and 1 <= int(text) <= MAX_SAMPLE:
        return int(text)
    raise Invalid(f"A whole number from 1 to {MAX_SAMPLE:,}.")


_READERS: Final[Mapping[str, Callable[[str], float]]] = {
    "threshold": _threshold,
    "window_seconds": _seconds(MINUTE, MAX_WINDOW),
    "min_sample": _sample,
    "for_seconds": _seconds(0, MAX_FOR),
    "cooldown_seconds": _seconds(MINUTE, MAX_COOLDOWN),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceForm:
    """Every field of a silence as text; ``covers`` is asked on the page of an alert alone."""

    rule: str = ""
    label: str = ""
    covers: str = THIS
    lasts: str = LASTS[0][0]
    until: str = ""
    reason: str = ""
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Mapping[str, str]) -> "SilenceForm":
        """Take what a browser sent."""
        names = {item.name for item in fields(cls)} - {"errors"}
        typed: dict[str, Any] = {name: sent[name] for name in names & set(sent)}
        return cls(**typed)

    def draft(self, now: datetime) -> SilenceDraft:
        """Return the silence that was typed; :class:`Invalid` names what cannot be read."""
        return SilenceDraft(
            rule=self.rule.strip(),
            label=self.label.strip(),
            ends_at=self._end(now),
            reason=self.reason,
        )

    def about(self, rule: str, label: str, now: datetime) -> SilenceDraft:
        """Return the silence of an alert of this rule and label, as far as it is to reach."""
        covers = self.covers if label else RULE
        if covers not in {THIS, LABEL, RULE}:
            raise Invalid.field("covers", "One of those in the list.")
        return SilenceDraft(
            rule="" if covers == LABEL else rule,
            label="" if covers == RULE else label,
            ends_at=self._end(now),
            reason=self.reason,
        )

    def _end(self, now: datetime) -> datetime:
        if self.lasts not in dict(LASTS):
            raise Invalid.field("lasts", "One of those in the list.")
        if self.lasts != UNTIL:
            return now + timedelta(minutes=int(self.lasts))
        try:
            end = datetime.fromisoformat(self.until.strip())
            # What lies at the ends of the calendar has no time in UTC.
            return end.replace(tzinfo=UTC) if end.tzinfo is None else end.astimezone(UTC)
        except (ValueError, OverflowError):
            raise Invalid.field("ends_at", "A date and a time, such as 2026-11-22T09:30.") from None
