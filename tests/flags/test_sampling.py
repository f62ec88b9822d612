"""How many subjects there are: exact for few, close for many, nobody counted twice."""

import random
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.flags.bucketing import HASHES, spread_of
from webapp.flags.sampling import SIZE, SubjectSample, estimate_of, joined, packed, unpacked

hashes = st.integers(0, HASHES - 1)
samples = st.lists(hashes, max_size=2 * SIZE)


def drawn(number: int, seed: int = 20_261_122) -> list[int]:
    """Return that many different hashes, the same ones every time."""
    return random.Random(seed).sample(range(HASHES), number)


def sampled(found: list[int]) -> list[int]:
    """Return what a sample keeps, asked as the evaluation asks."""
    sample = SubjectSample()
    for spread in found:
        if spread < sample.limit:
            sample.add(spread)
    return sample.take()


@pytest.mark.parametrize("number", [0, 1, 2, 100, SIZE - 1])
@pytest.mark.parametrize("times", [1, 3])
def test_few_subjects_are_counted_exactly_however_often_they_come(number: int, times: int) -> None:
    assert estimate_of(sampled(drawn(number) * times)) == number


@pytest.mark.parametrize("number", [1_000, 20_000, 200_000])
def test_of_many_subjects_about_so_many_are_told(number: int) -> None:
    found = drawn(number)
    kept = sampled(found)
    assert kept == sorted(found)[:SIZE]
    assert abs(estimate_of(kept) - number) < 0.2 * number


def test_subjects_as_they_are_hashed_lie_as_the_estimate_expects() -> None:
    kept = sampled([spread_of("ui.beta", f"user-{number}") for number in range(20_000)])
    assert abs(estimate_of(kept) - 20_000) < 4_000


@given(samples, st.integers(1, 5))
def test_a_sample_keeps_the_smallest_in_order_whatever_came_first(
    found: list[int], seed: int
) -> None:
    shuffled = random.Random(seed).sample(found, len(found))
    assert sampled(found) == sampled(shuffled) == sorted(set(found))[:SIZE]


@given(samples, samples, samples)
def test_joining_counts_nobody_twice(one: list[int], two: list[int], three: list[int]) -> None:
    whole = sampled([*one, *two, *three])
    assert joined([sampled(one), sampled(two), sampled(three)]) == whole
    # In any grouping, and again and again, as processes and hours come.
    assert joined([joined([sampled(three), sampled(one)]), sampled(two)]) == whole
    assert joined([whole, sampled(two), whole]) == whole


@pytest.mark.parametrize("shared", [0, 5_000, 10_000])
def test_of_two_processes_those_that_both_saw_count_once(shared: int) -> None:
    found = drawn(20_000)
    one, other = sampled(found[:10_000]), sampled(found[10_000 - shared : 20_000 - shared])
    number = 20_000 - shared
    assert abs(estimate_of(joined([one, other])) - number) < 0.2 * number


@given(samples)
def test_what_is_packed_is_unpacked_the_same(found: list[int]) -> None:
    assert unpacked(packed(found)) == found
    assert len(packed(found)) == 4 * len(found)


def test_the_packed_form_is_the_same_on_every_machine() -> None:
    assert packed([1, 0x01020304, HASHES - 1]) == bytes.fromhex("01000000 04030201 ffffffff")


def test_taking_begins_anew() -> None:
    sample = SubjectSample()
    for spread in drawn(5_000):
        sample.add(spread)
    assert sample.limit < HASHES
    assert len(sample.take()) == SIZE
    assert (sample.limit, sample.take()) == (HASHES, [])
    sample.add(HASHES - 1)
    assert sample.take() == [HASHES - 1]


def test_threads_that_add_while_another_takes_lose_hardly_anybody() -> None:
    sample, found = SubjectSample(), drawn(40_000)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def add(mine: list[int]) -> None:
        for spread in mine:
            if spread < sample.limit:
                sample.add(spread)

    threads = [threading.Thread(target=add, args=(found[place::4],)) for place in range(4)]
    taken = []
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            taken.append(sample.take())
        taken.append(sample.take())
    finally:
        sys.setswitchinterval(before)
    whole = joined(taken)
    assert set(whole) <= set(found)
    assert abs(estimate_of(whole) - 40_000) < 8_000
