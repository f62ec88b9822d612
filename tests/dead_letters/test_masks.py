"""Arguments that somebody edits without seeing their secrets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.dead_letters.masks import unmask
from webapp.errors import Invalid
from webapp.logs import MASK, masked

SECRET = {"url": "https://anna:hunter2@host/x", "token": "t-1", "rows": 5}
KEYS = st.sampled_from(["rows", "url", "token", "password", "deep", "list"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["", "plain", "ä", MASK, "Bearer abc", "https://anna:hunter2@host/x"])
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_what_is_sent_back_as_it_was_shown_is_what_it_was(arguments: dict[str, Any]) -> None:
    assert unmask(masked(arguments), arguments) == arguments


@pytest.mark.parametrize(
    ("edited", "whole"),
    [
        ({"token": MASK, "rows": 2**70}, {"token": "t-1", "rows": 2**70}),
        ({"token": "t-2"}, {"token": "t-2"}),
        ({"url": f"https://anna:{MASK}@host/x"}, {"url": "https://anna:hunter2@host/x"}),
        ({"url": "https://anna:other@host/x"}, {"url": "https://anna:other@host/x"}),
        ({"rows": True}, {"rows": True}),
        ({}, {}),
    ],
)
def test_a_mask_stands_for_the_secret_that_was_there(
    edited: dict[str, Any], whole: dict[str, Any]
) -> None:
    found = unmask(edited, SECRET)
    assert found == whole
    assert [type(value) for value in found.values()] == [type(value) for value in whole.values()]


@pytest.mark.parametrize(
    "edited",
    [
        {"rows": MASK},
        {"password": MASK},
        {"url": f"https://anna:{MASK}@elsewhere/x"},
        {"token": f"x{MASK}"},
        {"new": {"token": MASK}},
    ],
)
def test_a_mask_elsewhere_stands_for_nothing(edited: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=r"holds \[masked\]"):
        unmask(edited, SECRET)


def test_nobody_guesses_whose_secret_it_was_in_a_list_of_another_length() -> None:
    original = {"hosts": [{"token": "a"}, {"token": "b"}]}
    assert unmask({"hosts": [{"token": MASK}, {"token": "c"}]}, original) == {
        "hosts": [{"token": "a"}, {"token": "c"}]
    }
    with pytest.raises(Invalid, match=r"hosts\.0\.token"):
        unmask({"hosts": [{"token": MASK}]}, original)
