"""What is said of each type of job and of the whole, for which reasons: tables of cases."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.alerts.values import Severity
from webapp.health.values import (
    Assessment,
    Ended,
    FiringAlert,
    IssueKind,
    Level,
    Signs,
    TypeEvidence,
    TypeVerdict,
)
from webapp.health.verdict import assess, judge

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
WELL: dict[str, Any] = {
    "workers_alive": 1,
    "schedulers_alive": 1,
    "open_breakers": 0,
    "open_letters": 0,
    "flags_stale": False,
    "signals_down": False,
}


def judged(name: str = "etl", **evidence: Any) -> TypeVerdict:
    return judge(TypeEvidence(type=name, **evidence))


@pytest.mark.parametrize(
    ("evidence", "level", "words"),
    [
        ({}, Level.HEALTHY, None),
        # Of four nobody can tell; of five one in five is nothing to speak of.
        ({"hour": Ended(0, 4), "day": Ended(0, 4)}, Level.HEALTHY, None),
        ({"hour": Ended(4, 1)}, Level.HEALTHY, None),
        ({"hour": Ended(79, 21)}, Level.DEGRADED, "21 of 100 attempts failed in the last hour."),
        ({"hour": Ended(5, 5)}, Level.DEGRADED, "5 of 10 attempts failed in the last hour."),
        ({"hour": Ended(4, 6)}, Level.UNHEALTHY, "6 of 10 attempts failed in the last hour."),
        ({"hour": Ended(0, 5)}, Level.UNHEALTHY, "5 of 5 attempts failed in the last hour."),
        # Too few in the last hour: the day tells, of what mostly fails.
        (
            {"hour": Ended(0, 1), "day": Ended(499, 1_501)},
            Level.UNHEALTHY,
            "1,501 of 2,000 attempts failed in 24 h.",
        ),
        ({"hour": Ended(2, 1), "day": Ended(6, 4)}, Level.HEALTHY, None),
        # It went badly, and is mended.
        ({"hour": Ended(5, 0), "day": Ended(5, 500)}, Level.HEALTHY, None),
        ({"oldest_due": 900.0}, Level.HEALTHY, None),
        (
            {"oldest_due": 960.0},
            Level.UNHEALTHY,
            "The oldest due job has waited for 16 minutes.",
        ),
        (
            {"unserved": ["slow"]},
            Level.CRITICAL,
            "Jobs are due in slow, which no living worker serves.",
        ),
        ({"paused": "The type"}, Level.DEGRADED, "The type is paused."),
        ({"open_letters": 1}, Level.DEGRADED, "1 dead letter is open."),
        ({"open_letters": 1_200}, Level.DEGRADED, "1,200 dead letters are open."),
    ],
)
def test_each_sign_of_a_type_has_its_level_and_its_words(
    evidence: dict[str, Any], level: Level, words: str | None
) -> None:
    verdict = judged(**evidence)
    assert verdict.level == level
    assert [issue.words for issue in verdict.issues] == ([words] if words else [])


def test_all_issues_of_a_type_are_told_worst_first() -> None:
    verdict = judged(
        hour=Ended(1, 9), oldest_due=1e6, unserved=["a"], open_letters=2, paused="The queue b"
    )
    assert [issue.kind for issue in verdict.issues] == [
        IssueKind.UNSERVED,
        IssueKind.FAILING,
        IssueKind.LATE,
        IssueKind.PAUSED,
        IssueKind.DEAD_LETTERS,
    ]
    assert verdict.level == Level.CRITICAL


def whole(*types: TypeVerdict, alerts: tuple[FiringAlert, ...] = (), **signs: Any) -> Assessment:
    return assess(Signs(**(WELL | signs)), types, alerts)


@pytest.mark.parametrize(
    ("sign", "level", "reason"),
    [
        ({}, Level.HEALTHY, None),
        ({"workers_alive": 0}, Level.CRITICAL, "No worker is alive: jobs wait."),
        (
            {"schedulers_alive": 0},
            Level.UNHEALTHY,
            "No worker has a scheduler: schedules do not fire, and lost jobs stay lost.",
        ),
        # Of none that lives, none schedules either.
        (
            {"workers_alive": 0, "schedulers_alive": 0},
            Level.CRITICAL,
            "No worker is alive: jobs wait.",
        ),
        ({"open_breakers": 1}, Level.DEGRADED, "1 breaker is open."),
        ({"open_breakers": 2}, Level.DEGRADED, "2 breakers are open."),
        ({"open_letters": 50}, Level.DEGRADED, "50 dead letters are open."),
        ({"open_letters": 51}, Level.UNHEALTHY, "51 dead letters are open."),
        ({"open_letters": 100}, Level.UNHEALTHY, "100 dead letters are open."),
        ({"open_letters": 1_200}, Level.CRITICAL, "1,200 dead letters are open."),
        ({"flags_stale": True}, Level.DEGRADED, "Flags are decided on an old snapshot."),
        (
            {"signals_down": True},
            Level.DEGRADED,
            "Redis does not answer: changes of flags are seen a second later.",
        ),
    ],
)
def test_each_sign_of_the_whole_has_its_level_and_its_sentence(
    sign: dict[str, Any], level: Level, reason: str | None
) -> None:
    assessment = whole(**sign)
    assert assessment.level == level
    assert assessment.reasons == ((reason,) if reason else ())


@pytest.mark.parametrize(
    ("evidence", "level", "reason"),
    [
        ({"unserved": ["slow"]}, Level.CRITICAL, "No living worker takes waiting jobs of a, b."),
        ({"hour": Ended(0, 5)}, Level.UNHEALTHY, "a, b failed more often than not."),
        (
            {"oldest_due": 901.0},
            Level.UNHEALTHY,
            "Jobs of a, b have waited for over 15 minutes.",
        ),
        (
            {"hour": Ended(3, 2)},
            Level.DEGRADED,
            "More than one in five attempts of a, b failed.",
        ),
        ({"paused": "The type"}, Level.DEGRADED, "Jobs of a, b wait for whoever paused them."),
    ],
)
def test_types_that_share_an_issue_share_a_sentence(
    evidence: dict[str, Any], level: Level, reason: str
) -> None:
    types = [judged("a", **evidence), judged("well"), judged("b", **evidence)]
    assert whole(*types) == Assessment(level, (reason,), tuple(types))


def test_of_many_types_some_are_named() -> None:
    types = [judged(name, hour=Ended(0, 9)) for name in "abcde"]
    assert whole(*types).reasons == ("a, b, c and 2 more failed more often than not.",)


@pytest.mark.parametrize(
    ("severity", "level"),
    [
        (Severity.INFO, Level.HEALTHY),
        (Severity.WARNING, Level.DEGRADED),
        (Severity.ERROR, Level.UNHEALTHY),
        (Severity.CRITICAL, Level.CRITICAL),
    ],
)
def test_an_alert_that_fires_counts_by_its_severity(severity: Severity, level: Level) -> None:
    alerts = (FiringAlert("Many replays", severity, NOW),)
    assessment = whole(alerts=alerts)
    assert assessment.level == level
    told = (f"Firing ({severity}): Many replays.",)
    assert assessment.reasons == (() if level == Level.HEALTHY else told)
    assert assessment.alerts == alerts


def test_reasons_are_told_worst_first_wherever_they_come_from() -> None:
    assessment = whole(
        judged("a", unserved=["slow"]),
        alerts=(
            FiringAlert("one", Severity.WARNING, NOW),
            FiringAlert("two", Severity.CRITICAL, NOW),
        ),
        schedulers_alive=0,
        open_breakers=1,
    )
    assert assessment.level == Level.CRITICAL
    assert [reason.split()[0] for reason in assessment.reasons] == [
        "No",
        "Firing",
        "No",
        "1",
        "Firing",
    ]


counts = st.integers(0, 10_000)
evidences = st.builds(
    TypeEvidence,
    type=st.sampled_from("abc"),
    hour=st.builds(Ended, counts, counts),
    day=st.builds(Ended, counts, counts),
    last_run_ago=st.none(),
    oldest_due=st.none() | st.floats(0, 1e6),
    unserved=st.lists(st.sampled_from("xyz")),
    open_letters=counts,
    paused=st.sampled_from(["", "The type"]),
)


@given(st.lists(evidences), st.integers(0, 3), counts)
def test_nothing_is_worse_than_healthy_without_a_reason_nor_better_than_its_parts(
    evidences: list[TypeEvidence], workers: int, letters: int
) -> None:
    types = [judge(evidence) for evidence in evidences]
    for verdict in types:
        assert (verdict.level == Level.HEALTHY) == (not verdict.issues)
        ranks = [issue.level.rank for issue in verdict.issues]
        assert ranks == sorted(ranks, reverse=True)
    # As whoever reads counts them: the whole has all letters of its types.
    letters = max(letters, sum(item.open_letters for item in evidences))
    assessment = whole(*types, workers_alive=workers, open_letters=letters)
    assert (assessment.level == Level.HEALTHY) == (not assessment.reasons)
    assert assessment.level.rank >= max((item.level.rank for item in types), default=0)
