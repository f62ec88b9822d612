"""What fields look like: types, and samples that do not depend on the order of rows."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.sources.profiles import (
    HEAD_ROWS,
    LATER_ROWS,
    MOST_FIELDS,
    SAMPLE,
    FieldType,
    Profile,
    extend,
    joined,
    overlap,
    type_of,
)

VALUES = [
    ("", "empty"),
    ("true", "boolean"),
    ("No", "boolean"),
    ("0", "integer"),
    ("-12", "integer"),
    ("12345678901234567890", "integer"),
    ("01234", "text"),
    ("+491701234567", "text"),
    ("1.5", "number"),
    ("-.5", "number"),
    ("1e-9", "number"),
    ("1,5", "text"),
    ("nan", "text"),
    ("2024-02-29", "date"),
    ("29.02.2024", "date"),
    ("2/29/24", "date"),
    ("2024-02/29", "text"),
    ("2024-02-29T12:00:00Z", "time"),
    ("2024-02-29 12:00:00.123+02:00", "time"),
    ("Thu, 29 Feb 2024 12:00:00 GMT", "time"),
    ("12:30", "time"),
    ("12345678901234567890123456789012345678901", "text"),
    ("١٢", "text"),
    ("KAUS", "text"),
]
types = st.sampled_from(list(FieldType))


@pytest.mark.parametrize(("value", "kind"), VALUES)
def test_a_value_has_a_type(value: str, kind: str) -> None:
    assert type_of(value) == kind


@given(types, types, types)
def test_joining_types_depends_on_no_order(
    one: FieldType, two: FieldType, three: FieldType
) -> None:
    assert joined(one, two) == joined(two, one)
    assert joined(one, one) == one
    assert joined(joined(one, two), three) == joined(one, joined(two, three))


def rows(*values: str) -> list[dict[str, str]]:
    return [{"v": value} for value in values]


def profile_of(*values: str) -> Profile:
    return extend(Profile(), ["v"], rows(*values))


def test_a_field_has_the_narrowest_type_of_all_its_values() -> None:
    assert profile_of("1", "", "2").fields["v"].type == "integer"
    assert profile_of("1", "2.5").fields["v"].type == "number"
    assert profile_of("1", "n/a").fields["v"].type == "text"
    assert profile_of(" ", "").fields["v"].type == "empty"


@given(st.lists(st.text("ab1.", max_size=3), max_size=40), st.integers(1, 9))
def test_batches_of_any_size_in_any_order_give_the_same(values: list[str], size: int) -> None:
    whole = profile_of(*values)
    random.Random(0).shuffle(values)
    parts = Profile()
    for start in range(0, max(len(values), 1), size):
        parts = extend(parts, ["v"], rows(*values[start : start + size]))
    assert parts == whole
    assert Profile.from_json(whole.to_json()) == whole


def test_of_later_batches_a_few_rows_from_all_over_are_looked_at() -> None:
    head = extend(Profile(), ["v"], rows(*map(str, range(HEAD_ROWS))))
    batch = ["1"] * 500
    for place in range(0, 500, 500 // LATER_ROWS):
        seen = extend(head, ["v"], rows(*batch[:place], "x", *batch[place + 1 :]))
        assert (seen.fields["v"].type, seen.fields["v"].head) == ("text", "integer")
    assert extend(head, ["v"], rows(*batch)) == head


def test_a_field_that_some_rows_lack_has_a_share() -> None:
    seen = extend(Profile(), ["a", "b"], [{"a": "1"}, {"a": "2", "b": "3"}])
    assert (seen.rows, seen.fields["a"].rows, seen.fields["b"].rows) == (2, 2, 1)


def test_names_that_no_database_holds_and_too_many_are_left_out() -> None:
    assert list(extend(Profile(), ["a", "b\0", "\ud800", "x" * 300], []).fields) == ["a"]
    many = [f"f{number}" for number in range(MOST_FIELDS + 5)]
    assert len(extend(Profile(), many, []).fields) == MOST_FIELDS


def sample_of(values: range) -> tuple[int, ...]:
    return profile_of(*(f"value {number}" for number in values)).fields["v"].sample


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (range(0), range(9), 0.0),
        (range(9), range(9), 1.0),
        (range(900), range(900), 1.0),
        (range(400), range(400, 800), 0.0),
        (range(900), range(450, 900), 1.0),
        (range(600), range(300, 900), 0.5),
    ],
)
def test_samples_tell_about_how_many_values_are_shared(
    one: range, other: range, expected: float
) -> None:
    first, second = sample_of(one), sample_of(other)
    assert len(first) <= SAMPLE
    assert overlap(first, second) == pytest.approx(expected, abs=0.15)
    assert overlap(first, second) == overlap(second, first)
