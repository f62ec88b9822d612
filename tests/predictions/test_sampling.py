"""Which records are learnt from: the same ones always, whatever order they come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.predictions.sampling import Row, Sample, is_held_out

KEYS = st.lists(st.text(max_size=8), unique=True, max_size=60)


def taken(keys: list[str], limit: int) -> list[str]:
    sample = Sample(limit)
    for key in keys:
        sample.offer(Row(key, "", {}))
    return [row.key for row in sample.rows()]


@given(KEYS, st.integers(1, 70), st.randoms())
def test_a_sample_does_not_depend_on_the_order(keys: list[str], limit: int, random: object) -> None:
    shuffled = list(keys)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert taken(keys, limit) == taken(shuffled, limit)
    assert len(taken(keys, limit)) == min(limit, len(keys))


@given(KEYS, st.integers(1, 70), st.integers(1, 70))
def test_a_smaller_sample_is_part_of_a_larger_one(keys: list[str], one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert set(taken(keys, small)) <= set(taken(keys, large))
    sample = Sample(large)
    for key in keys:
        sample.offer(Row(key, "", {}))
    sample.shrink(small)
    assert [row.key for row in sample.rows()] == taken(keys, small)
    assert sample.offered == len(keys)


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_what_a_small_share_holds_out_a_larger_one_does_too(
    key: str, one: float, other: float
) -> None:
    small, large = sorted((one, other))
    assert is_held_out(key, large) or not is_held_out(key, small)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_the_share_is_held_out_and_that_of_a_sample_too(share: float) -> None:
    keys = [f"record-{number}" for number in range(20_000)]
    for of in (keys, taken(keys, 5_000)):
        held_out = sum(is_held_out(key, share) for key in of)
        assert held_out == pytest.approx(share * len(of), rel=0.1)
