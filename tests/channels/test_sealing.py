"""An address is read again under its own SECRET_KEY, and under no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.channels.sealing import seal, unseal

KEY = "k" * 40


@given(st.text(st.characters(codec="utf-8"), max_size=300), st.text("ab", min_size=32, max_size=50))
def test_an_address_comes_back_as_it_was_sealed(url: str, key: str) -> None:
    assert unseal(key, seal(key, url)) == url


@given(st.text("abc", min_size=32, max_size=34), st.text("abc", min_size=32, max_size=34))
def test_only_under_its_own_key(one: str, other: str) -> None:
    found = unseal(other, seal(one, "json://example.com"))
    assert (found is not None) is (one == other)


@pytest.mark.parametrize("damaged", ["", "gAAAAA", "not base64 …", "A" * 200])
def test_what_is_damaged_is_unreadable_and_no_error(damaged: str) -> None:
    assert unseal(KEY, damaged) is None


def test_one_changed_character_is_found_out() -> None:
    sealed = seal(KEY, "json://example.com")
    changed = ("B" if sealed[20] != "B" else "C").join((sealed[:20], sealed[21:]))
    assert unseal(KEY, changed) is None


def test_the_address_does_not_stand_in_what_is_stored() -> None:
    assert "example" not in seal(KEY, "json://example.com")
