"""How what was measured, and what a rule asks for, read to people: with units and nouns.  Pure."""

from typing import Final

from webapp.alerts.values import METRICS, Direction, Metric, Unit
from webapp.formats import duration, number, percent

# (of nothing, of one, of several); what stands for {} is the number.
_COUNTS: Final = {
    Metric.DEAD_LETTERS_OPEN: ("none open", "1 open", "{} open"),
    Metric.WORKERS_ALIVE: ("none alive", "1 alive", "{} alive"),
    Metric.FLAGS_STALE: ("not reported", "reported once", "reported {} times"),
    Metric.ROLLOUT_ROLLED_BACK: ("not rolled back", "rolled back", "rolled back {} times"),
    Metric.BREAKER_OPEN: ("closed", "open", "open"),
    Metric.SOURCE_FAILING: ("went well", "failed", "failed"),
}
_SPANS: Final = {
    Metric.OLDEST_QUEUED_SECONDS: ("nothing waits", "waits for {}"),
    Metric.SCHEDULE_LATE_SECONDS: ("on time", "{} late"),
}
_SHARES: Final = {
    Metric.JOB_FAILURE_RATE: "{} of {} failed",
    Metric.IDEMPOTENCY_REPLAY_RATE: "{} of {} repeated",
}


def measured(metric: Metric, value: float | None, sample: int | None) -> str:
    """Say what was measured: ``62.5 % of 8 failed``, ``72 open``, ``waits for 20 min``."""
    if value is None:
        return "not measured"
    if metric in _SHARES:
        share = percent(round(value, 1))
        return share if sample is None else _SHARES[metric].format(share, number(sample))
    if metric in _SPANS:
        none, some = _SPANS[metric]
        return some.format(duration(value)) if value > 0 else none
    none, one, several = _COUNTS[metric]
    if value <= 0:
        return none
    return one if value == 1 else several.format(number(value))


def limit(metric: Metric, comparison: Direction, threshold: float) -> str:
    """Say where it fires: ``above 20 %``; nothing where any at all is enough."""
    unit = METRICS[metric].unit
    if unit == Unit.COUNT and comparison == Direction.ABOVE and threshold == 0:
        return ""
    return f"{comparison.value} {amount(unit, threshold)}"


def amount(unit: Unit, value: float) -> str:
    """Write a number with its unit, as short as it can be."""
    if unit == Unit.PERCENT:
        return percent(value)
    if unit == Unit.SECONDS:
        return duration(value) if value else "0 s"
    return number(value)
