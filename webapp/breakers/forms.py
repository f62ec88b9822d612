"""The forms on the page of a breaker: thresholds and forces as text fields, and as values again.

Works on plain mappings of text, so that it knows neither Flask nor the database.  What was typed is
kept as it was typed, whether or not it can be read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from webapp.breakers.values import BOUNDS, MAY_BE_OFF, WHOLE, Control, Force, Thresholds
from webapp.errors import FieldErrors, Invalid

#: The fields in the order of the form, by group: their labels and what they mean.
LABELS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "Opens": {
        "failures": ("Failures in a row", "So many open it."),
        "failure_rate": ("Failure rate", "Percent of the calls in the window. Empty: off."),
        "window_seconds": ("Window", "Seconds."),
        "window_calls": ("Fewest calls", "Below so many in the window no rate opens it."),
        "slow_seconds": ("Slow call", "Seconds from which a call is slow. Empty: off."),
        "slow_rate": ("Slow rate", "Percent of slow calls in the window that open it."),
    },
    "Closes": {
        "open_seconds": ("Open time", "Seconds until the first trial."),
        "growth": ("Growth", "Each failed trial makes that so many times as long."),
        "max_open_seconds": ("Longest open time", "Seconds; growth ends there."),
        "successes": ("Successes", "So many trials in a row close it."),
        "trial_seconds": ("Trial limit", "Seconds after which a trial is given up for lost."),
    },
}
NAMES: Final = tuple(name for group in LABELS.values() for name in group)
FORCES: Final = (
    (Force.OPEN, "Refuse every call"),
    (Force.CLOSED, "Let every call through"),
    (Force.SHADOW, "Only watch: count, refuse nobody"),
)
DURATIONS: Final = (
    ("15", "15 minutes"),
    ("60", "1 hour"),
    ("240", "4 hours"),
    ("1440", "1 day"),
    ("10080", "7 days"),
    ("", "until somebody ends it"),
)
_LONGEST: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdsForm:
    """Every threshold as text."""

    values: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    version: str = ""
    errors: FieldErrors = field(default_factory=dict)
    problem: str = ""

    @classmethod
    def read(cls, sent: Mapping[str, str]) -> "ThresholdsForm":
        """Take what a browser sent."""
        values = {name: sent.get(name, "") for name in NAMES}
        return cls(values=values, reason=sent.get("reason", ""), version=sent.get("version", ""))

    @classmethod
    def of(cls, thresholds: Thresholds, revision: int) -> "ThresholdsForm":
        """Write thresholds into the fields."""
        values = {
            name: "" if value is None else f"{value:g}"
            for name, value in thresholds.to_json().items()
        }
        return cls(values=values, version=str(revision))

    def given(self) -> dict[str, Any]:
        """Return the thresholds that were typed; :class:`Invalid` with all that cannot be read."""
        values: dict[str, Any] = {}
        errors: dict[str, list[str]] = {}
        for name in NAMES:
            text = self.values.get(name, "").strip()[:_LONGEST]
            try:
                values[name] = _number(name, text)
            except ValueError:
                least, most = BOUNDS[name]
                errors[name] = [f"A number from {least:g} to {most:g}."]
        if errors:
            name, messages = next(iter(errors.items()))
            raise Invalid(f"{name}: {messages[0]}", errors)
        return values

    def based_on(self) -> int:
        """Return the revision that the form was made from; what is no number fits none."""
        return int(self.version) if re.fullmatch(r"[0-9]{1,9}", self.version) else -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ForceForm:
    """What is to be forced, for how many minutes, and why."""

    force: str = Force.OPEN
    minutes: str = "60"
    reason: str = ""
    errors: FieldErrors = field(default_factory=dict)

    @classmethod
    def read(cls, sent: Mapping[str, str]) -> "ForceForm":
        """Take what a browser sent."""
        return cls(
            force=sent.get("force", ""),
            minutes=sent.get("minutes", ""),
            reason=sent.get("reason", ""),
        )

    def control(self, now: datetime) -> Control:
        """Return what was chosen; :class:`Invalid` where it was none of the choices."""
        if self.force not in {force for force, _ in FORCES}:
            raise Invalid.field("force", "One of the three.")
        if self.minutes not in {minutes for minutes, _ in DURATIONS}:
            raise Invalid.field("minutes", "One of the times in the list.")
        until = now + timedelta(minutes=int(self.minutes)) if self.minutes else None
        return Control(force=Force(self.force), until=until, reason=self.reason)


def _number(name: str, text: str) -> float | None:
    if not text and name in MAY_BE_OFF:
        return None
    return int(text) if name in WHOLE else float(text)
