"""Values of records: what is a number, what a text, and what nothing."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.predictions.cells import cell_of, label_of
from webapp.predictions.values import MAX_LABEL, Cell

CASES: list[tuple[object, Cell]] = [
    ("7", 7.0),
    (" -0.5 ", -0.5),
    ("+1e3", 1000.0),
    (".25", 0.25),
    ("5.", 5.0),
    ("0", 0.0),
    (7, 7.0),
    (0.5, 0.5),
    (True, "true"),
    (False, "false"),
    # Codes are no numbers.
    ("007", "007"),
    ("01234", "01234"),
    ("1_000", "1_000"),
    ("1,5", "1,5"),
    ("0x10", "0x10"),
    ("nan", "nan"),
    ("inf", "inf"),
    ("1e", "1e"),
    ("٣", "٣"),
    ("NA", "NA"),
    ("red", "red"),
    # Nothing.
    ("", None),
    ("  ", None),
    (None, None),
    (math.nan, None),
    (math.inf, None),
    ("1e999", None),
    (10**400, None),
    ([], None),
    ({"a": 1}, None),
]


@pytest.mark.parametrize(("value", "cell"), CASES)
def test_a_value_is_a_number_a_text_or_nothing(value: object, cell: Cell) -> None:
    assert cell_of(value) == cell


@given(
    st.one_of(
        st.text(max_size=300), st.integers(), st.floats(), st.booleans(), st.none(), st.binary()
    )
)
def test_whatever_a_value_is_it_is_read_and_reading_it_again_changes_nothing(value: object) -> None:
    cell = cell_of(value)
    if isinstance(cell, float):
        assert math.isfinite(cell)
    elif isinstance(cell, str):
        assert 0 < len(cell) <= MAX_LABEL
    assert cell_of(cell) == cell or isinstance(cell, str)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_name_of_a_number_is_that_number(number: float) -> None:
    assert float(label_of(number)) == number


def test_a_number_has_one_name_however_it_was_written() -> None:
    assert {label_of(cell_of(text)) for text in ("1", "1.0", "+1", "1e0")} == {"1"}
    assert label_of(None) == ""
