"""Decides how each type of job stands, and how the whole does: one word, and the reasons.  Pure.

The console, the JSON API and the list of types all say what is decided here, and nothing else.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from webapp.alerts.values import Severity
from webapp.health.values import (
    FAILING_PERCENT,
    LATE_SECONDS,
    MANY_LETTERS,
    SEVERITY_LEVELS,
    TOO_MANY_LETTERS,
    WARNING_PERCENT,
    Assessment,
    Ended,
    FiringAlert,
    Issue,
    IssueKind,
    Level,
    Signs,
    TypeEvidence,
    TypeVerdict,
)

#: What is said of the whole where types have an issue; of letters it has a sentence of its own.
_OF_TYPES: Final = {
    IssueKind.UNSERVED: "No living worker takes waiting jobs of {types}.",
    IssueKind.FAILING: "{types} failed more often than not.",
    IssueKind.LATE: "Jobs of {types} have waited for over 15 minutes.",
    IssueKind.FAILING_OFTEN: "More than one in five attempts of {types} failed.",
    IssueKind.PAUSED: "Jobs of {types} wait for whoever paused them.",
}
#: So many types are named in one sentence.
_MOST_NAMED: Final = 3


def judge(evidence: TypeEvidence) -> TypeVerdict:
    """Return how one type stands: as its worst issue does."""
    issues = tuple(_issues(evidence))
    return TypeVerdict(evidence, _worst(issue.level for issue in issues), issues)


def assess(
    signs: Signs, types: Sequence[TypeVerdict] = (), alerts: Sequence[FiringAlert] = ()
) -> Assessment:
    """Return the worst level that a sign, a type or a firing alert gives, with every reason."""
    found = [*_of_signs(signs), *_of_types(types), *_of_alerts(alerts)]
    # Of one level they stay in the order in which they were found.
    found.sort(key=lambda item: -item[0].rank)
    return Assessment(
        _worst(level for level, _ in found), tuple(reason for _, reason in found), types, alerts
    )


def _worst(levels: Iterator[Level]) -> Level:
    return max(levels, key=lambda level: level.rank, default=Level.HEALTHY)


def _issues(evidence: TypeEvidence) -> Iterator[Issue]:
    """Yield what is wrong with a type, worst first."""
    if evidence.unserved:
        words = f"Jobs are due in {_listed(evidence.unserved)}, which no living worker serves."
        yield Issue(IssueKind.UNSERVED, Level.CRITICAL, words)
    if failing := _failing(evidence):
        yield failing
    if (waited := evidence.oldest_due or 0) > LATE_SECONDS:
        minutes = int(waited // 60)
        words = f"The oldest due job has waited for {minutes:,} minutes."
        yield Issue(IssueKind.LATE, Level.UNHEALTHY, words)
    if often := _failing_often(evidence):
        yield often
    if evidence.paused:
        yield Issue(IssueKind.PAUSED, Level.DEGRADED, f"{evidence.paused} is paused.")
    if evidence.open_letters:
        words = _count(evidence.open_letters, "dead letter is", "dead letters are", "open")
        yield Issue(IssueKind.DEAD_LETTERS, Level.DEGRADED, words)


def _failing(evidence: TypeEvidence) -> Issue | None:
    """Judge by the last hour where enough ended in it: what happened before may be mended."""
    ended, span = evidence.hour, "the last hour"
    if ended.failed_percent is None:
        ended, span = evidence.day, "24 h"
    if (ended.failed_percent or 0) <= FAILING_PERCENT:
        return None
    return Issue(IssueKind.FAILING, Level.UNHEALTHY, _failed(ended, span))


def _failing_often(evidence: TypeEvidence) -> Issue | None:
    percent = evidence.hour.failed_percent or 0
    if not WARNING_PERCENT < percent <= FAILING_PERCENT:
        return None
    return Issue(IssueKind.FAILING_OFTEN, Level.DEGRADED, _failed(evidence.hour, "the last hour"))


def _failed(ended: Ended, span: str) -> str:
    return f"{ended.failed:,} of {ended.runs:,} attempts failed in {span}."


def _of_signs(signs: Signs) -> Iterator[tuple[Level, str]]:
    if signs.has_workers:
        yield from _of_workers(signs)
    if signs.open_breakers:
        yield Level.DEGRADED, _count(signs.open_breakers, "breaker is", "breakers are", "open")
    if signs.open_letters:
        words = _count(signs.open_letters, "dead letter is", "dead letters are", "open")
        yield _level_of_letters(signs.open_letters), words
    if signs.flags_stale:
        yield Level.DEGRADED, "Flags are decided on an old snapshot."
    if signs.signals_down:
        yield Level.DEGRADED, "Redis does not answer: changes of flags are seen a second later."


def _of_workers(signs: Signs) -> Iterator[tuple[Level, str]]:
    if not signs.workers_alive:
        yield Level.CRITICAL, "No worker is alive: jobs wait."
    elif not signs.schedulers_alive:
        yield (
            Level.UNHEALTHY,
            "No worker has a scheduler: schedules do not fire, and lost jobs stay lost.",
        )


def _level_of_letters(number: int) -> Level:
    if number > TOO_MANY_LETTERS:
        return Level.CRITICAL
    return Level.UNHEALTHY if number > MANY_LETTERS else Level.DEGRADED


def _of_types(types: Sequence[TypeVerdict]) -> Iterator[tuple[Level, str]]:
    """Yield a sentence for each kind of issue, with the types that have it."""
    for kind, sentence in _OF_TYPES.items():
        having = [
            (item.type, issue.level)
            for item in types
            for issue in item.issues
            if issue.kind == kind
        ]
        if having:
            names = _listed([name for name, _ in having])
            yield having[0][1], sentence.format(types=names)


def _of_alerts(alerts: Sequence[FiringAlert]) -> Iterator[tuple[Level, str]]:
    for severity in reversed(Severity):
        level = SEVERITY_LEVELS[severity]
        names = [alert.name for alert in alerts if alert.severity == severity]
        if names and level != Level.HEALTHY:
            yield level, f"Firing ({severity}): {_listed(names)}."


def _listed(names: Sequence[str]) -> str:
    """Name the first few, and count the others."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _count(number: int, one: str, many: str, state: str) -> str:
    return f"{number:,} {one if number == 1 else many} {state}."
