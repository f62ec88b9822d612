"""The comparison of attempts with a flag on and off: exact, one-sided, valid however often seen."""

import random
from fractions import Fraction
from math import comb, exp, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.flags.comparison import (
    MOST_EVIDENCE,
    RATIOS,
    Comparison,
    Side,
    comparison_as_document,
    comparison_from,
    log_ratios,
    with_block,
)
from webapp.flags.harm import figures_of, judge
from webapp.flags.values import GuardMetric, GuardState, RolloutGuard
from webapp.settings import Settings

ALPHA = Settings().flag_false_alarm_rate
numbers = st.integers(0, 12)


def is_accused(found: Comparison, *, min_sample: int = 20) -> bool:
    """As a guard decides it."""
    guard = RolloutGuard(
        name="noise", metric=GuardMetric.JOB_COMPARISON, scope="any", min_sample=min_sample
    )
    return judge(guard, figures_of(found), alpha=ALPHA) is GuardState.HARM


def seen(*blocks: tuple[Side, Side]) -> Comparison:
    found = Comparison()
    for on, off in blocks:
        found = with_block(found, on, off)
    return found


@given(numbers, numbers, st.data())
def test_the_likelihood_ratio_is_that_of_fishers_distribution(
    on: int, off: int, data: st.DataObject
) -> None:
    on_failed = data.draw(st.integers(0, on))
    failed = on_failed + data.draw(st.integers(0, off))
    places = range(max(0, failed - off), min(failed, on) + 1)
    chances = {place: comb(on, place) * comb(off, failed - place) for place in places}
    found = log_ratios(Side(on_failed, on), Side(failed - on_failed, off))
    for ratio, gain in zip(RATIOS, found, strict=True):
        odds = Fraction(ratio)
        norm = sum(chance * odds**place for place, chance in chances.items())
        exact = odds**on_failed * comb(on + off, failed) / norm
        assert isclose(exp(gain), float(exact), rel_tol=1e-9)


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_without_harm_a_block_adds_nothing_in_the_mean(
    on: int, off: int, data: st.DataObject
) -> None:
    """The mean over all that can have happened: what makes the products a martingale."""
    failed = data.draw(st.integers(0, on + off))
    whole = comb(on + off, failed)
    mean = [0.0] * len(RATIOS)
    for place in range(max(0, failed - off), min(failed, on) + 1):
        chance = comb(on, place) * comb(off, failed - place) / whole
        gains = log_ratios(Side(place, on), Side(failed - place, off))
        mean = [total + chance * exp(gain) for total, gain in zip(mean, gains, strict=True)]
    assert mean == pytest.approx([1.0] * len(RATIOS))


def test_what_has_one_side_only_tells_nothing_and_joins_the_next() -> None:
    one = seen((Side(3, 10), Side()))
    assert (one.evidence, one.blocks, one.waiting_on) == (1.0, 0, Side(3, 10))
    both = with_block(one, Side(), Side(0, 40))
    assert both.weights == seen((Side(3, 10), Side(0, 40))).weights
    assert (both.waiting_on, both.waiting_off) == (Side(), Side())
    assert (both.on, both.off) == (Side(3, 10), Side(0, 40))


@pytest.mark.parametrize("block", [(Side(0, 9), Side(0, 90)), (Side(9, 9), Side(90, 90))])
def test_where_all_or_none_fail_nothing_is_told(block: tuple[Side, Side]) -> None:
    """An outage that hits both sides accuses nobody, however long it takes."""
    assert seen(*[block] * 50).evidence == pytest.approx(1.0)


def test_evidence_rises_with_harm_and_falls_with_the_opposite() -> None:
    harmful = seen(*[(Side(4, 10), Side(1, 40))] * 5)
    assert is_accused(harmful, min_sample=50)
    assert not is_accused(harmful, min_sample=51)
    helpful = seen(*[(Side(0, 10), Side(8, 40))] * 20)
    assert helpful.evidence < 1


def test_weeks_without_harm_hide_none_that_comes_later() -> None:
    """Ten thousand quiet minutes, then every second attempt with the flag on fails."""
    found = seen(*[(Side(1, 20), Side(1, 20))] * 10_000)
    assert found.evidence < 1
    late = [(Side(10, 20), Side(1, 20))] * 5
    assert any(is_accused(found := with_block(found, *block)) for block in late)


def test_evidence_has_an_end() -> None:
    assert seen(*[(Side(50, 50), Side(0, 50))] * 100).evidence == MOST_EVIDENCE


sides = st.integers(0, 30).flatmap(
    lambda number: st.integers(0, number).map(lambda failed: Side(failed, number))
)


@given(st.lists(st.tuples(sides, sides), max_size=8))
def test_what_is_remembered_survives_being_written(blocks: list[tuple[Side, Side]]) -> None:
    found = seen(*blocks)
    assert comparison_from(comparison_as_document(found)) == found
    assert comparison_from({}) == Comparison()


def test_what_other_ratios_have_seen_keeps_its_sums_alone() -> None:
    document = comparison_as_document(seen((Side(3, 10), Side(1, 40)))) | {"weights": [0.5]}
    found = comparison_from(document)
    assert (found.on, found.blocks, found.evidence) == (Side(3, 10), 0, 1.0)


def simulated(
    draw: random.Random, *, on_rate: float, off_rate: float, share: float, minutes: int
) -> int | None:
    """Return with how many attempts with the flag on it was accused, looked at each minute."""
    found = Comparison()
    for _ in range(minutes):
        number = draw.randint(20, 60)
        on = sum(draw.random() < share for _ in range(number))
        failed = (
            sum(draw.random() < on_rate for _ in range(on)),
            sum(draw.random() < off_rate for _ in range(number - on)),
        )
        found = with_block(found, Side(failed[0], on), Side(failed[1], number - on))
        if is_accused(found):
            return found.on.attempts
    return None


def test_few_rollouts_without_harm_are_accused() -> None:
    """Of 300, three would be too many for chance: ``bench/guards_noise.py`` tries a thousand."""
    draw = random.Random(20261128)
    wrong = [
        simulated(draw, on_rate=0.05, off_rate=0.05, share=share, minutes=60)
        for share in (0.05, 0.25, 0.5)
        for _ in range(100)
    ]
    assert sum(found is not None for found in wrong) < 3


def test_a_doubled_failure_rate_is_seen_within_two_thousand_attempts() -> None:
    draw = random.Random(20261128)
    found = [
        simulated(draw, on_rate=0.10, off_rate=0.05, share=0.5, minutes=100) for _ in range(50)
    ]
    assert sum(number is not None and number <= 2_000 for number in found) >= 45
