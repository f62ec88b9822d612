"""Whether the sign of harm that a guard looks at is there, and how that reads.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from webapp.flags.comparison import Comparison, Side
from webapp.flags.values import GuardMetric, GuardState, RolloutGuard

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
MAX_NOTE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured for a guard.

    ``value`` is what its threshold is compared with: percent, a number of things, or evidence.
    ``on`` and ``off`` are the sides of a comparison, ``note`` is what was seen besides.
    """

    value: float = 0.0
    sample: int | None = None
    on: Side | None = None
    off: Side | None = None
    note: str = ""


def figures_of(seen: Comparison) -> Figures:
    """Return what a comparison has come to."""
    return Figures(
        value=seen.evidence,
        sample=min(seen.on.attempts, seen.off.attempts),
        on=seen.on,
        off=seen.off,
    )


def threshold_of(guard: RolloutGuard, *, alpha: float) -> float:
    """Return what the value has to exceed; a comparison has to reach it."""
    if guard.metric is GuardMetric.JOB_COMPARISON:
        return 1 / alpha
    return guard.threshold or 0.0


def judge(guard: RolloutGuard, figures: Figures, *, alpha: float) -> GuardState:
    """Tell whether the sign is there."""
    limit = threshold_of(guard, alpha=alpha)
    reached = guard.metric is GuardMetric.JOB_COMPARISON and figures.value >= limit
    if guard.min_sample is not None and (figures.sample or 0) < guard.min_sample:
        return GuardState.COLLECTING
    return GuardState.HARM if reached or figures.value > limit else GuardState.CALM


def guard_in_words(guard: RolloutGuard) -> str:
    """Write when a guard trips and what it does then, as one sentence without its end."""
    then = "halts" if guard.action == "halt" else "rolls back"
    return f"{then} {_WHEN[guard.metric](guard)}"


_WHEN: Final = {
    GuardMetric.BREAKER_OPEN: lambda guard: f"when the breaker {guard.scope} opens",
    GuardMetric.JOB_FAILURE_RATE: lambda guard: (
        f"when over {guard.threshold:g} % of {guard.scope} fail in {span(guard.window)}, "
        f"of {guard.min_sample:,} attempts or more"
    ),
    GuardMetric.JOB_COMPARISON: lambda guard: (
        f"when {guard.scope} fails more with the flag on than off, "
        f"of {guard.min_sample:,} attempts or more on either side"
    ),
    GuardMetric.DEAD_LETTERS: lambda guard: (
        f"when over {guard.threshold:,.0f} jobs {_of(guard)}die in {span(guard.window)}"
    ),
    GuardMetric.ERRORS: lambda guard: (
        f"when over {guard.threshold:,.0f} errors are reported in {span(guard.window)}"
    ),
}


def _of(guard: RolloutGuard) -> str:
    return f"of {guard.scope} " if guard.scope else ""


def figures_in_words(guard: RolloutGuard, figures: Figures, *, alpha: float) -> str:
    """Write what was seen, beside what a guard's threshold is."""
    match guard.metric:
        case GuardMetric.BREAKER_OPEN:
            verb = "opened" if figures.value else "has not opened"
            opened = f"breaker {guard.scope} {verb}"
            return f"{opened}: {figures.note}" if figures.note else opened
        case GuardMetric.JOB_FAILURE_RATE:
            return (
                f"{figures.value:.1f} % of {figures.sample or 0:,} attempts of {guard.scope} "
                f"failed in {span(guard.window)}, {guard.threshold:g} % allowed"
            )
        case GuardMetric.JOB_COMPARISON:
            return (
                f"{guard.scope}: {_side(figures.on)} failed with the flag on, "
                f"{_side(figures.off)} with it off: {_times(figures.value)} as likely with harm "
                f"as without, {1 / alpha:,.0f} times trip it"
            )
        case GuardMetric.DEAD_LETTERS:
            return (
                f"{figures.value:,.0f} jobs {_of(guard)}died in {span(guard.window)}, "
                f"{guard.threshold:,.0f} allowed"
            )
    reported = f"{figures.value:,.0f} errors reported in {span(guard.window)}"
    return f"{reported}, {guard.threshold:,.0f} allowed"


def _side(side: Side | None) -> str:
    if side is None or not side.attempts:
        return "0 of 0"
    return f"{side.failed:,} of {side.attempts:,} ({side.rate:.1f} %)"


def _times(number: float) -> str:
    return f"{number:,.0f} times" if number >= 10 else f"{number:.2f} times"  # noqa: PLR2004


def span(seconds: float | None) -> str:
    """Write a time in the largest unit that makes it a whole number: ``90 min``, ``2 h``."""
    whole = int(seconds or 0)
    for unit, word in _UNITS:
        if whole and whole % unit == 0:
            return f"{whole // unit:,} {word}"
    return f"{whole} s"


def figures_as_document(figures: Figures) -> dict[str, Any]:
    """Write figures as JSON."""
    sides = {
        name: [side.failed, side.attempts]
        for name in ("on", "off")
        if (side := getattr(figures, name)) is not None
    }
    return {"value": figures.value, "sample": figures.sample, "note": figures.note} | sides


def figures_from(document: Mapping[str, Any]) -> Figures:
    """Read figures."""
    sides = {name: Side(*document[name]) for name in ("on", "off") if name in document}
    return Figures(
        value=document["value"], sample=document["sample"], note=document["note"], **sides
    )
