"""How passwords are kept."""

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from webapp.accounts import passwords
from webapp.accounts.passwords import _NOBODY, hash_password, is_outdated, password_matches


@pytest.fixture(autouse=True)
def at_real_cost(real_hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what spares other tests the time."""
    monkeypatch.setattr(passwords, "_hasher", real_hasher)


def test_a_password_is_kept_as_argon2id_at_the_stated_cost() -> None:
    assert hash_password("correct horse").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_the_same_password_is_kept_differently_each_time() -> None:
    assert hash_password("correct horse") != hash_password("correct horse")


def test_only_the_same_password_matches() -> None:
    kept = hash_password("correct horse")
    assert password_matches("correct horse", kept)
    assert not password_matches("Correct horse", kept)


def test_nothing_matches_an_account_that_does_not_exist() -> None:
    assert not password_matches("", None)
    assert not password_matches("correct horse", None)


def test_an_unreadable_hash_matches_nothing() -> None:
    assert not password_matches("correct horse", "no hash at all")


def test_what_stands_for_nobody_costs_as_much_as_anybody() -> None:
    # It verifies as a real hash of today's cost: argon2 runs, and finds a mismatch.
    with pytest.raises(VerifyMismatchError):
        PasswordHasher().verify(_NOBODY, "correct horse")
    assert not is_outdated(_NOBODY)


def test_a_hash_of_another_cost_is_outdated() -> None:
    assert is_outdated(PasswordHasher(time_cost=1, memory_cost=8192).hash("correct horse"))
    assert not is_outdated(hash_password("correct horse"))
