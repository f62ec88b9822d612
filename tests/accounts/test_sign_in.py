"""Counting tries, locking and unlocking, on both databases and from several threads at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from argon2 import PasswordHasher
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from webapp.accounts import passwords
from webapp.accounts.models import SignInThrottle, User
from webapp.accounts.passwords import password_matches
from webapp.accounts.service import change_password, create_user
from webapp.accounts.sign_in import Try, accept_try, count_try, refuse_try
from webapp.actors import COMMAND, Actor
from webapp.audit.service import history
from webapp.db import transaction
from webapp.errors import Throttled
from webapp.roles import Role

PASSWORD = "correct horse battery"
STRANGER = Actor("anonymous", "anonymous")
HOME, OFFICE = "192.0.2.7", "198.51.100.9"


@pytest.fixture
def anna(session: Session, now: datetime) -> User:
    return create_user(session, "anna", password=PASSWORD, role=Role.VIEWER, by=COMMAND, now=now)


def fail(session: Session, username: str, address: str, now: datetime) -> Try:
    failed = count_try(session, username, address=address, now=now)
    assert not failed.password_matches("wrong")
    refuse_try(session, failed, by=STRANGER, now=now)
    return failed


def succeed(session: Session, username: str, address: str, now: datetime) -> None:
    good = count_try(session, username, address=address, now=now)
    assert good.password_matches(PASSWORD)
    assert accept_try(session, good, password=PASSWORD, now=now)


def waits(session: Session, username: str, address: str, now: datetime) -> float:
    with pytest.raises(Throttled) as refused:
        count_try(session, username, address=address, now=now)
    return refused.value.retry_after


def addresses() -> Iterator[str]:
    return (f"203.0.113.{number}" for number in range(250))


def test_five_failed_tries_lock_an_account_from_everywhere(
    session: Session, anna: User, now: datetime
) -> None:
    locks = [
        fail(session, "anna", address, now).lock
        for address, _ in zip(addresses(), range(5), strict=False)
    ]
    assert locks == [0, 0, 0, 0, 30]
    assert waits(session, "Anna", OFFICE, now + timedelta(seconds=10)) == pytest.approx(20)


def test_five_failed_tries_lock_an_address_for_every_account(
    session: Session, anna: User, now: datetime
) -> None:
    for number in range(5):
        fail(session, f"guess{number}", HOME, now)
    assert waits(session, "anna", HOME, now) == pytest.approx(30)
    succeed(session, "anna", OFFICE, now)


def test_an_account_that_does_not_exist_locks_like_one_that_does(
    session: Session, now: datetime
) -> None:
    for address, _ in zip(addresses(), range(5), strict=False):
        fail(session, "nobody", address, now)
    assert waits(session, "nobody", HOME, now) == pytest.approx(30)


def test_each_further_failure_locks_for_twice_as_long(
    session: Session, anna: User, now: datetime
) -> None:
    for _ in range(5):
        fail(session, "anna", HOME, now)
    locks = []
    for _ in range(9):
        now += timedelta(seconds=waits(session, "anna", HOME, now))
        locks.append(fail(session, "anna", HOME, now).lock)
    assert locks == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_tries_while_locked_do_not_count(session: Session, anna: User, now: datetime) -> None:
    for _ in range(5):
        fail(session, "anna", HOME, now)
    for _ in range(20):
        waits(session, "anna", HOME, now)
    succeed(session, "anna", HOME, now + timedelta(seconds=30))


def test_of_two_good_tries_at_once_both_are_and_one_renews_the_hash(
    session: Session, anna: User, now: datetime
) -> None:
    anna.password_hash = PasswordHasher(time_cost=1, memory_cost=8192).hash(PASSWORD)
    session.commit()
    good = count_try(session, "anna", address=HOME, now=now)
    session.commit()
    with transaction() as other:
        succeed(other, "anna", OFFICE, now)
        renewed = password_hash_of(other)
    assert accept_try(session, good, password=PASSWORD, now=now)
    assert password_hash_of(session) == renewed


@pytest.mark.parametrize("kept", ["outdated", "of today"])
def test_a_try_with_the_password_of_before_does_not_stand(
    session: Session, anna: User, now: datetime, kept: str
) -> None:
    """Nor does it undo the change: it was made between the comparison and the answer."""
    if kept == "outdated":
        anna.password_hash = PasswordHasher(time_cost=1, memory_cost=8192).hash(PASSWORD)
    session.commit()
    late = count_try(session, "anna", address=HOME, now=now)
    session.commit()
    assert late.password_matches(PASSWORD)
    with transaction() as other:
        change_password(other, anna.id, "another long password", by=COMMAND, now=now)
    assert not accept_try(session, late, password=PASSWORD, now=now)
    assert password_matches("another long password", password_hash_of(session))


def test_a_try_of_an_account_that_was_deactivated_meanwhile_does_not_stand(
    session: Session, anna: User, now: datetime
) -> None:
    session.commit()
    late = count_try(session, "anna", address=HOME, now=now)
    session.commit()
    with transaction() as other:
        other.execute(update(User).values(active=False))
    assert not accept_try(session, late, password=PASSWORD, now=now)


def password_hash_of(session: Session) -> str:
    return session.execute(select(User.password_hash)).scalar_one()


def test_a_good_try_clears_the_account(session: Session, anna: User, now: datetime) -> None:
    for _ in range(4):
        fail(session, "anna", HOME, now)
    succeed(session, "anna", HOME, now)
    for address, _ in zip(addresses(), range(4), strict=False):
        assert fail(session, "anna", address, now).lock == 0


def test_a_good_try_does_not_clear_what_its_address_tried_on_others(
    session: Session, anna: User, now: datetime
) -> None:
    for number in range(4):
        fail(session, f"guess{number}", HOME, now)
    succeed(session, "anna", HOME, now)
    assert fail(session, "guess9", HOME, now).lock == 30


def test_good_tries_never_lock_an_address(session: Session, anna: User, now: datetime) -> None:
    for _ in range(12):
        succeed(session, "anna", HOME, now)


def test_a_good_try_after_a_lock_opens_the_address_again(
    session: Session, anna: User, now: datetime
) -> None:
    for _ in range(5):
        fail(session, "anna", HOME, now)
    later = now + timedelta(seconds=30)
    succeed(session, "anna", HOME, later)
    succeed(session, "anna", HOME, later)


def test_tries_of_yesterday_are_forgotten(session: Session, anna: User, now: datetime) -> None:
    for _ in range(4):
        fail(session, "anna", HOME, now)
    assert fail(session, "anna", HOME, now + timedelta(hours=25)).lock == 0


def test_what_is_forgotten_is_removed(session: Session, anna: User, now: datetime) -> None:
    fail(session, "nobody", OFFICE, now)
    succeed(session, "anna", HOME, now + timedelta(hours=25))
    assert session.scalars(select(SignInThrottle.key)).all() == ["address:192.0.2.7"]


def test_a_lock_of_a_known_account_is_audited(session: Session, anna: User, now: datetime) -> None:
    for _ in range(5):
        fail(session, "anna", HOME, now)
    entry = history(session, "user", "anna")[0]
    assert entry.action == "user.locked"
    assert HOME in entry.reason


def test_what_was_typed_as_an_unknown_name_is_not_audited(session: Session, now: datetime) -> None:
    # It may well be a password that went into the wrong field.
    for _ in range(5):
        fail(session, "hunter2 hunter2", HOME, now)
    assert history(session, "user", "hunter2 hunter2") == []


def test_a_good_try_renews_a_hash_of_another_cost(
    session: Session,
    anna: User,
    now: datetime,
    real_hasher: PasswordHasher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passwords, "_hasher", real_hasher)
    anna.password_hash = PasswordHasher(time_cost=1, memory_cost=8192).hash(PASSWORD)
    session.flush()
    succeed(session, "anna", HOME, now)
    session.refresh(anna)
    assert "m=19456,t=2,p=1" in anna.password_hash
    assert anna.last_sign_in_at == now


def test_of_many_tries_at_one_moment_five_are_made(app: Flask, now: datetime) -> None:
    def attempt(number: int) -> bool:
        with app.app_context():
            try:
                with transaction() as session:
                    count_try(session, "anna", address=f"203.0.113.{number}", now=now)
            except Throttled:
                return False
            return True

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(attempt, range(24)))
    assert made.count(True) == 5
