"""The rows of a flag's form that are about its rollout: the steps of its plan, and its guards.

As in ``rule_forms``: what was typed is kept as it was typed, and messages stand at the field or the
row that they are about.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TypeVar

from webapp.flags.rows import Sent, rows_of
from webapp.flags.rule_forms import Messages, RowReader, given_in
from webapp.flags.typed import moment_needed, number_typed, share_of
from webapp.flags.values import (
    GUARD_METRICS,
    GuardAction,
    GuardMetric,
    PlanStep,
    RolloutGuard,
)
from webapp.moments import rfc3339

Word = TypeVar("Word", GuardMetric, GuardAction)
_MINUTE = 60
_SPAN = re.compile(r"\s*([0-9]{1,6})\s*(s|min|m|h|d)?\s*", re.IGNORECASE)
_UNITS = {"s": 1, "m": _MINUTE, "min": _MINUTE, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """A step of a plan as text fields; its time is UTC."""

    at: str = ""
    percentage: str = ""

    @property
    def is_blank(self) -> bool:
        """Tell whether nothing was typed."""
        return not (self.at.strip() or self.percentage.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRow:
    """A guard as text fields; its window is a number with a unit, such as ``30 min``."""

    name: str = ""
    metric: str = GuardMetric.JOB_COMPARISON.value
    scope: str = ""
    threshold: str = ""
    window: str = ""
    min_sample: str = ""
    action: str = GuardAction.ROLL_BACK.value

    @property
    def is_blank(self) -> bool:
        """Tell whether nothing was typed."""
        return not any(
            text.strip()
            for text in (self.name, self.scope, self.threshold, self.window, self.min_sample)
        )


def steps_in(sent: Sent) -> tuple[StepRow, ...]:
    """Return the rows of steps that a form was sent with."""
    names = ("at", "percentage")
    return tuple(StepRow(**given_in(row, names)) for row in rows_of(sent, "rollout_plan"))


def guards_in(sent: Sent) -> tuple[GuardRow, ...]:
    """Return the rows of guards that a form was sent with."""
    names = ("name", "metric", "scope", "threshold", "window", "min_sample", "action")
    return tuple(GuardRow(**given_in(row, names)) for row in rows_of(sent, "guards"))


def read_steps(rows: Sequence[StepRow]) -> tuple[tuple[PlanStep, ...], Messages]:
    """Return the steps that were typed, by their times, and what cannot be read of them."""
    reader = RowReader()
    found = []
    for at, row in enumerate(rows):
        if not row.is_blank:
            path = f"rollout_plan-{at}"
            moment = reader.read(f"{path}-at", row.at, moment_needed, None)
            share = reader.read(f"{path}-percentage", row.percentage, share_of, 0.0)
            if moment is not None:
                found.append(PlanStep(at=moment, percentage=share))
    return tuple(sorted(found, key=lambda step: step.at)), reader.errors


def read_guards(rows: Sequence[GuardRow]) -> tuple[tuple[RolloutGuard, ...], Messages]:
    """Return the guards that were typed, and what cannot be read of them.

    What the metric has no use for is left out: the fields are there for every metric.
    """
    reader = RowReader()
    found = [_guard(row, f"guards-{at}", reader) for at, row in enumerate(rows) if not row.is_blank]
    return tuple(found), reader.errors


def _guard(row: GuardRow, path: str, reader: RowReader) -> RolloutGuard:
    metric = reader.read(
        f"{path}-metric", row.metric, _word(GuardMetric), GuardMetric.JOB_COMPARISON
    )
    action = reader.read(f"{path}-action", row.action, _word(GuardAction), GuardAction.ROLL_BACK)
    facts = GUARD_METRICS[metric]
    return RolloutGuard(
        name=row.name.strip(),
        metric=metric,
        scope=row.scope.strip() if facts.scope else "",
        threshold=reader.read(f"{path}-threshold", row.threshold, number_typed, None)
        if facts.threshold
        else None,
        window=reader.read(f"{path}-window", row.window, _seconds, None) if facts.window else None,
        min_sample=reader.read(f"{path}-min_sample", row.min_sample, _whole, None)
        if facts.sample
        else None,
        action=action,
    )


def _word(words: type[Word]) -> Callable[[str], Word]:
    def read(text: str) -> Word:
        if text not in set(words):
            raise ValueError(f"One of {', '.join(words)}.")
        return words(text)

    return read


def _seconds(text: str) -> int:
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError("A time such as 30 min, 2 h or 90 s.")
    return int(match[1]) * _UNITS[(match[2] or "min").lower()]


def _whole(text: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,7}\s*", text):
        raise ValueError("A whole number.")
    return int(text)


def step_rows(plan: Sequence[PlanStep]) -> tuple[StepRow, ...]:
    """Write a plan into rows, to the second."""
    return tuple(
        StepRow(
            at=rfc3339(step.at.astimezone(UTC), timespec="seconds").removesuffix("Z"),
            percentage=f"{step.percentage:g}",
        )
        for step in plan
    )


def guard_rows(guards: Sequence[RolloutGuard]) -> tuple[GuardRow, ...]:
    """Write guards into rows."""
    return tuple(
        GuardRow(
            name=guard.name,
            metric=guard.metric.value,
            scope=guard.scope,
            threshold="" if guard.threshold is None else f"{guard.threshold:g}",
            window=_window(guard.window),
            min_sample="" if guard.min_sample is None else str(guard.min_sample),
            action=guard.action.value,
        )
        for guard in guards
    )


def _window(seconds: int | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds // _MINUTE} min" if seconds % _MINUTE == 0 else f"{seconds} s"
