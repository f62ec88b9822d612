"""Breakers as JSON: the bodies that are read, and the answers."""

from typing import Any

from webapp.breakers.trace import Step
from webapp.breakers.values import Control, Force, Tally, Thresholds
from webapp.breakers.views import (
    BreakerRow,
    Event,
    Summary,
)
from webapp.errors import Invalid
from webapp.logs import masked
from webapp.web.schemas import Moment, ReasonText, Schema


class Forced(Schema):
    """The body of a force; ``until`` is when it ends by itself."""

    force: str
    reason: ReasonText = ""
    until: Moment | None = None

    def control(self) -> Control:
        """Return what is asked for."""
        if self.force not in set(Force):
            raise Invalid.field("force", f"One of {', '.join(Force)}.")
        return Control(force=Force(self.force), until=self.until, reason=self.reason)


class ThresholdsBody(Schema):
    """Thresholds: those given change, the others stay."""

    failures: int | None = None
    successes: int | None = None
    open_seconds: float | None = None
    failure_rate: float | None = None
    window_seconds: int | None = None
    window_calls: int | None = None
    slow_seconds: float | None = None
    slow_rate: float | None = None
    growth: float | None = None
    max_open_seconds: float | None = None
    trial_seconds: float | None = None

    def given(self) -> dict[str, Any]:
        """Return the thresholds that are given; null is one of them, and switches a rate off."""
        names = set(ThresholdsBody.model_fields) & self.model_fields_set
        return {name: getattr(self, name) for name in sorted(names)}


class ThresholdsUpdate(ThresholdsBody):
    """The body that changes thresholds; ``declared`` goes back to those in code."""

    declared: bool = False
    reason: ReasonText = ""
    version: int | None = None

    def wanted(self) -> dict[str, Any] | None:
        """Return what to change, None for what the code says."""
        given = self.given()
        if self.declared and given:
            raise Invalid.field("declared", "Either thresholds, or those in code.")
        if not (self.declared or given):
            raise Invalid("No threshold is given.")
        return None if self.declared else given


def breaker_as_json(breaker: BreakerRow) -> dict[str, Any]:
    """Write a breaker; ``state`` is what a call meets, ``circuit`` how the circuit stands."""
    control = breaker.control
    return {
        "name": breaker.name,
        "state": breaker.effective,
        "circuit": breaker.state,
        "force": {
            "force": control.force,
            "until": control.until,
            "reason": control.reason,
            "by": control.by,
        },
        "failures": breaker.failures,
        "successes": breaker.successes,
        "open_until": breaker.trial_at,
        "trial_until": breaker.trial_until,
        "last_error": breaker.last_error,
        "thresholds": breaker.thresholds.to_json(),
        "declared": breaker.declared.to_json() if breaker.declared else None,
        "customized": breaker.customized,
        "version": breaker.revision,
        "last_minute": tally_as_json(breaker.last_minute),
        "recent": {"minutes": breaker.recent_minutes} | tally_as_json(breaker.recent),
        "callers": [{"name": use.caller, "seen_at": use.seen_at} for use in breaker.callers],
        "updated_at": breaker.updated_at,
        "events": [event_as_json(event) for event in breaker.events],
    }


def event_as_json(event: Event) -> dict[str, Any]:
    """Write one event of a breaker's history."""
    return {
        "at": event.at,
        "kind": event.kind,
        "from": event.old,
        "to": event.new,
        "error": masked(event.error),
        "note": event.note,
        "reason": event.reason,
        "actor": event.actor,
    }


def tally_as_json(tally: Tally) -> dict[str, Any]:
    """Write counts; rates are in percent, null where there were no calls."""
    return {
        "calls": tally.calls,
        "failures": tally.failures,
        "failure_rate": tally.failure_rate,
        "slow": tally.slow,
        "refused": tally.refused,
        "spared": tally.spared,
        "neutral": tally.neutral,
    }


def summary_as_json(summary: Summary) -> dict[str, Any]:
    """Write how all breakers stand."""
    return {
        "total": sum(summary.counts.values()),
        "by_state": dict(summary.counts),
        "minutes": summary.minutes,
        "counts": tally_as_json(summary.total),
        "trips": summary.trips,
        "most_failures": [{"name": name} | tally_as_json(tally) for name, tally in summary.worst],
    }


def trace_as_json(thresholds: Thresholds, steps: list[Step]) -> dict[str, Any]:
    """Write what a scratch breaker went through; ``at`` counts the seconds of its own clock."""
    return {
        "thresholds": thresholds.to_json(),
        "steps": [
            {
                "at": step.at,
                "step": step.step,
                "outcome": step.outcome,
                "state": step.state,
                "failures": step.failures,
                "seconds_left": step.seconds_left,
            }
            for step in steps
        ],
    }
