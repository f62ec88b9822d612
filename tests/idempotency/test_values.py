"""What a key may be, and what makes two requests the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.idempotency.values import fingerprint, read_key

KEYS = st.from_regex(r"[A-Za-z0-9_.:-]{3,255}", fullmatch=True)
REQUESTS = st.tuples(st.text(), st.text(), st.binary(), st.binary())


@given(KEYS)
def test_a_key_is_the_same_bare_in_quotes_and_with_space_around(key: str) -> None:
    assert read_key(key) == read_key(f'"{key}"') == read_key(f" {key} ") == key


@pytest.mark.parametrize(
    "text",
    ["", "ab", "a" * 256, '""', '"abc', "'abc'", "a b c", "a,b,c", "abc\n\ndef", "äöü", "٣٣٣"],
)
def test_whatever_else_is_none(text: str) -> None:
    assert read_key(text) is None


@given(REQUESTS, REQUESTS)
def test_two_requests_have_one_fingerprint_only_if_they_are_the_same(
    one: tuple[str, str, bytes, bytes], other: tuple[str, str, bytes, bytes]
) -> None:
    assert (fingerprint(*one) == fingerprint(*other)) == (one == other)


def test_no_end_of_one_part_counts_as_the_beginning_of_the_next() -> None:
    assert fingerprint("POST", "/a", b"b", b"c") != fingerprint("POST", "/ab", b"", b"c")
    assert fingerprint("POST", "/a", b"b", b"c") != fingerprint("POST", "/a", b"", b"bc")
