"""Signs people in: counts tries before it looks at the password, and locks where they fail.

A try is counted first and given back when it was good.  So a hundred tries at one moment, on any
number of processes, are still five and a lock.  The password is compared between the two
transactions, never inside one: it takes tens of milliseconds, and nobody should wait for it.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from webapp.accounts.models import SignInThrottle, User
from webapp.accounts.passwords import hash_password, is_outdated, password_matches
from webapp.accounts.policy import (
    THROTTLE_MEMORY,
    lock_seconds,
    throttle_keys,
    wait_in_words,
)
from webapp.accounts.queries import find_user
from webapp.accounts.signatures import AccessClaims, claims_for, sign
from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Throttled
from webapp.roles import Role

PURGED_AT_ONCE = 500
TOKEN_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Try:
    """One counted try; ``user`` is None where no such account may sign in.

    ``lock`` is for how many seconds it locks unless it turns out good, 0 for not at all.
    """

    user: User | None
    address: str
    account_key: str
    address_key: str
    tries: int
    lock: int

    def password_matches(self, password: str) -> bool:
        """Compare the password; takes as long for an account that does not exist."""
        return password_matches(password, self.user.password_hash if self.user else None)


def count_try(session: DbSession, username: str, *, address: str, now: datetime) -> Try:
    """Count a try against its account and its address; :class:`Throttled` where one is locked.

    Commit before comparing the password.
    """
    account_key, address_key = throttle_keys(username, address)
    # Always in this order, so that two tries cannot wait for each other.
    tries = _count(session, account_key, now)
    tries_there = _count(session, address_key, now)
    return Try(
        user=find_user(session, username),
        address=address,
        account_key=account_key,
        address_key=address_key,
        tries=tries,
        lock=max(lock_seconds(tries), lock_seconds(tries_there)),
    )


def accept_try(session: DbSession, good: Try, *, password: str, now: datetime) -> bool:
    """Note a sign-in, forget the account's tries, and give this one back to the address.

    False, and nothing of it, where the account has been given another password, signed out
    everywhere or deactivated since the try was counted: such a try is no good any more.
    """
    user = good.user
    assert user is not None  # noqa: S101 - a password matched, so there was something to match
    # Before the first statement, since it takes as long as comparing.
    renewed = hash_password(password) if is_outdated(user.password_hash) else None
    if not _note_sign_in(session, user, now):
        return False
    if renewed:
        # Two who sign in at once renew it once.
        session.execute(
            update(User)
            .where(User.id == user.id, User.password_hash == user.password_hash)
            .values(password_hash=renewed)
            .execution_options(synchronize_session=False)
        )
    session.execute(delete(SignInThrottle).where(SignInThrottle.key == good.account_key))
    # Only this one: whoever has an account of their own must not clear what they tried on others'.
    # A lock that stands was set by this try, since a locked address counts no other.
    session.execute(
        update(SignInThrottle)
        .where(SignInThrottle.key == good.address_key, SignInThrottle.failures > 0)
        .values(failures=SignInThrottle.failures - 1, locked_until=None)
    )
    _purge(session, now)
    return True


def _note_sign_in(session: DbSession, user: User, now: datetime) -> bool:
    """Write when somebody signed in, and hold the account; False where it is not what it was."""
    # The epoch decides between this and a change of the password at the same moment.
    noted = session.scalar(
        update(User)
        .where(User.id == user.id, User.epoch == user.epoch, User.active)
        .values(last_sign_in_at=now)
        .returning(User.id)
        .execution_options(synchronize_session=False)
    )
    return noted is not None


def issue_access_token(
    session: DbSession, good: Try, *, key: bytes, by: Actor, now: datetime
) -> tuple[str, AccessClaims]:
    """Sign an access token for whoever a good try was made by; the audit says so, and not what."""
    user = good.user
    assert user is not None  # noqa: S101 - a good try has one
    claims = claims_for(
        user.id,
        role=Role(user.role),
        epoch=user.epoch,
        now=now,
        token_id=secrets.token_hex(TOKEN_ID_BYTES),
    )
    record(
        session,
        by=by,
        at=now,
        action="user.token_issued",
        subject="user",
        name=user.username,
        changes={
            "role": Change(None, claims.role),
            "expires_at": Change(None, claims.expires_at),
            "jti": Change(None, claims.token_id),
        },
    )
    return sign(claims, key), claims


def refuse_try(session: DbSession, bad: Try, *, by: Actor, now: datetime) -> None:
    """Let a failed try stand; the audit says so where it has locked somebody's account."""
    lock = lock_seconds(bad.tries)
    if bad.user is None or not lock:
        return
    record(
        session,
        by=by,
        at=now,
        action="user.locked",
        subject="user",
        name=bad.user.username,
        reason=f"{bad.tries} failed tries, the last from {bad.address}",
        changes={"locked_until": Change(None, now + timedelta(seconds=lock))},
    )


def throttled(seconds: float) -> Throttled:
    """Return the error that names the wait."""
    return Throttled(
        f"Too many failed tries. Try again in {wait_in_words(seconds)}.", retry_after=seconds
    )


def _count(session: DbSession, key: str, now: datetime) -> int:
    """Count one more try and return how many there are; the row stays locked until the commit."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    session.execute(
        insert(SignInThrottle)
        .values(key=key, failures=0, last_try_at=now)
        .on_conflict_do_nothing(index_elements=["key"])
    )
    session.execute(
        update(SignInThrottle)
        .where(SignInThrottle.key == key, SignInThrottle.last_try_at < now - THROTTLE_MEMORY)
        .values(failures=0, locked_until=None)
    )
    # The condition and the count are one statement: of two processes only one makes the last try.
    tries = session.scalar(
        update(SignInThrottle)
        .where(SignInThrottle.key == key)
        .where(or_(SignInThrottle.locked_until.is_(None), SignInThrottle.locked_until <= now))
        .values(failures=SignInThrottle.failures + 1, last_try_at=now)
        .returning(SignInThrottle.failures)
    )
    if tries is None:
        until = session.scalar(select(SignInThrottle.locked_until).where(SignInThrottle.key == key))
        raise throttled((until - now).total_seconds() if until else 1)
    lock = lock_seconds(tries)
    if lock:
        session.execute(
            update(SignInThrottle)
            .where(SignInThrottle.key == key)
            .values(locked_until=now + timedelta(seconds=lock))
        )
    return tries


def _purge(session: DbSession, now: datetime) -> None:
    """Remove some of what is forgotten anyway; rows that somebody counts on are left out."""
    old = (
        select(SignInThrottle.key)
        .where(SignInThrottle.last_try_at < now - THROTTLE_MEMORY)
        .limit(PURGED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    session.execute(delete(SignInThrottle).where(SignInThrottle.key.in_(old)))
