"""The bucket of a subject: the stated formula, and what growing a percentage may never do."""

import mmh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.flags.bucketing import EVERYBODY, bucket_of, threshold_of

texts = st.text(st.characters(codec="utf-8"), max_size=40)
hundredths = st.integers(0, EVERYBODY)
SUBJECTS = 100_000


@given(texts, texts)
def test_bucket_is_the_stated_formula(stickiness: str, subject: str) -> None:
    m = mmh3.hash(f"{stickiness}:{subject}", seed=0, signed=False)
    stated = m % 100 + (m // 100 % 100) / 100
    assert bucket_of(stickiness, subject) == round(stated * 100)
    assert 0 <= bucket_of(stickiness, subject) < EVERYBODY


@pytest.mark.parametrize(
    ("stickiness", "subject", "bucket"),
    # Worked out once with another implementation of murmur3, so that a change of hash shows.
    [
        ("ui.dashboard", "user-1", 4_721),
        ("ui.dashboard", "user-2", 349),
        ("a", "é", 3_065),
        ("", "", 3_074),
    ],
)
def test_buckets_stay_for_ever(stickiness: str, subject: str, bucket: int) -> None:
    assert bucket_of(stickiness, subject) == bucket


@given(texts, texts, hundredths, hundredths)
def test_growing_a_percentage_only_adds_subjects(
    stickiness: str, subject: str, one: int, other: int
) -> None:
    smaller, larger = sorted((one / 100, other / 100))
    bucket = bucket_of(stickiness, subject)
    assert not (bucket < threshold_of(smaller)) or bucket < threshold_of(larger)


@given(texts, texts, st.integers(0, 100))
def test_whole_percentages_agree_with_the_unleash_sdks(
    stickiness: str, subject: str, percentage: int
) -> None:
    normalized = mmh3.hash(f"{stickiness}:{subject}", seed=0, signed=False) % 100 + 1
    ours = bucket_of(stickiness, subject) < threshold_of(percentage)
    assert ours == (normalized <= percentage)


@given(hundredths)
def test_every_step_of_a_hundredth_has_its_own_threshold(step: int) -> None:
    assert threshold_of(step / 100) == step
    assert threshold_of(float(f"{step / 100:.2f}")) == step


@pytest.mark.parametrize("percentage", [0.5, 1, 5, 12.34, 25, 50, 75, 99.5])
def test_the_share_of_many_subjects_is_the_percentage(percentage: float) -> None:
    threshold = threshold_of(percentage)
    reached = sum(bucket_of("share", f"user-{n}") < threshold for n in range(SUBJECTS))
    assert abs(100 * reached / SUBJECTS - percentage) < 0.5


def test_half_a_surrogate_pair_is_a_subject_like_any_other() -> None:
    # JSON can carry one, and the hash library crashes the process where it is given such text.
    assert 0 <= bucket_of("a", "\ud800") < EVERYBODY
