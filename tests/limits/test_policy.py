"""Which rule holds, and what one process may use of it."""

import pytest

from webapp.errors import Invalid
from webapp.limits.policy import check_rule, in_force, rule_of, share_of
from webapp.limits.values import NO_LIMIT, Rule


@pytest.mark.parametrize(
    ("kind", "calls", "seconds", "rule"),
    [
        ("csv", None, None, None),
        ("api", None, None, Rule(100, 60)),
        ("second-api", None, None, Rule(50, 60)),
        ("rss", None, None, Rule(30, 60)),
        ("csv", 5, 10, Rule(5, 10)),
        ("api", 5, 10, Rule(5, 10)),
        ("api", 0, None, NO_LIMIT),
        ("unheard-of", None, None, None),
    ],
)
def test_a_source_has_its_own_rule_or_that_of_its_kind(
    kind: str, calls: int | None, seconds: int | None, rule: Rule | None
) -> None:
    assert rule_of(kind, calls, seconds) == rule


@pytest.mark.parametrize(
    ("said", "by_code", "holds"),
    [
        (None, None, None),
        (None, Rule(5, 60), Rule(5, 60)),
        (None, NO_LIMIT, None),
        (Rule(9, 60), Rule(5, 60), Rule(9, 60)),
        (Rule(9, 60), NO_LIMIT, Rule(9, 60)),
        # Somebody has said that there is no limit, which is not the same as having said nothing.
        (NO_LIMIT, Rule(5, 60), None),
        (NO_LIMIT, None, None),
    ],
)
def test_what_is_said_of_a_name_goes_before_what_the_program_sets(
    said: Rule | None, by_code: Rule | None, holds: Rule | None
) -> None:
    assert in_force(said, by_code) == holds


def test_a_deployment_sets_the_rule_of_apis_alone() -> None:
    assert rule_of("api", None, None, api=Rule(7, 1)) == Rule(7, 1)
    assert rule_of("rss", None, None, api=Rule(7, 1)) == Rule(30, 60)


@pytest.mark.parametrize(
    ("given", "stored"),
    [((None, None), (None, None)), ((0, None), (0, None)), ((0, 60), (0, None)), ((1, 1), (1, 1))],
)
def test_a_good_rule_is_stored(
    given: tuple[int | None, int | None], stored: tuple[int | None, int | None]
) -> None:
    assert check_rule(*given) == stored


@pytest.mark.parametrize(
    ("calls", "seconds", "field"),
    [
        (None, 60, "calls"),
        (-1, 60, "calls"),
        (10_001, 60, "calls"),
        (10, None, "seconds"),
        (10, 0, "seconds"),
        (10, 86_401, "seconds"),
    ],
)
def test_a_bad_one_is_refused_at_its_field(
    calls: int | None, seconds: int | None, field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        check_rule(calls, seconds)
    assert list(caught.value.errors) == [field]


@pytest.mark.parametrize(
    ("calls", "processes", "share"),
    [(100, 1, 100), (100, 4, 25), (30, 4, 7), (2, 4, 1), (100, 0, 100)],
)
def test_processes_share_a_rule_and_each_has_something(
    calls: int, processes: int, share: int
) -> None:
    assert share_of(Rule(calls, 60), processes) == share
