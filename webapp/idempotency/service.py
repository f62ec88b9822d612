"""Claims keys, and writes what a request was answered.

Of many equal requests one claims the key, by a unique insert.  Its answer is written in the
transaction of what it did, under the name of its claim: so a request whose claim somebody else took
over has its transaction refused, and however often a request is sent, what it did stands once.
"""

import secrets
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Update, and_, delete, null, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from webapp.db import DbSession
from webapp.errors import Conflict
from webapp.idempotency.models import IdempotencyKey
from webapp.idempotency.values import (
    CLAIM_LASTS,
    MAX_REQUEST,
    Answer,
    Claim,
    Mismatch,
    Replay,
    Running,
    Slot,
)

# A key may be released between the look at it and the next try to insert it.
_TRIES: Final = 3


def claim(
    session: DbSession, slot: Slot, *, lasts: timedelta, now: datetime
) -> Claim | Replay | Running | Mismatch:
    """Claim a key, or tell why it is not to be had.  Commit before the request is carried out."""
    for _ in range(_TRIES):
        token = secrets.token_hex(16)
        key_id = _insert(session, slot, token, lasts=lasts, now=now)
        if key_id is None:
            key_id = _take_over(session, slot, token, lasts=lasts, now=now)
        if key_id is not None:
            return Claim(key_id, token)
        found = _look(session, slot)
        if found is not None:
            return found
    return Running()


def settle(session: DbSession, claimed: Claim, answer: Answer, *, now: datetime) -> None:
    """Write what a request was answered, in the transaction of what it did.

    :class:`Conflict` where the claim has been taken over: then nothing of it may be committed.
    """
    # The condition decides between this request and one that took it for dead.
    settled = session.execute(
        _of_claim(claimed).values(
            answered_at=now,
            status=answer.status,
            headers=[list(pair) for pair in answer.headers],
            body=answer.body,
        )
    )
    if not settled.rowcount:  # type: ignore[attr-defined]
        raise Conflict(
            "This took too long, and a request with the same key was let in. Nothing was changed."
        )


def release(session: DbSession, claimed: Claim) -> None:
    """Give a claim back, so that the request can be sent again under its key."""
    session.execute(
        delete(IdempotencyKey).where(
            IdempotencyKey.id == claimed.key_id,
            IdempotencyKey.claim == claimed.token,
            IdempotencyKey.answered_at.is_(None),
        )
    )


def remove_expired(session: DbSession, *, now: datetime, most: int) -> int:
    """Remove keys that are no longer kept, and return how many went."""
    old = (
        select(IdempotencyKey.id)
        .where(IdempotencyKey.expires_at <= now)
        .order_by(IdempotencyKey.expires_at)
        .limit(most)
    )
    gone = session.execute(
        delete(IdempotencyKey)
        # One that was claimed anew since it was looked at stays.
        .where(IdempotencyKey.id.in_(old), IdempotencyKey.expires_at <= now)
        .execution_options(synchronize_session=False)
    )
    return int(gone.rowcount)  # type: ignore[attr-defined]


def _insert(
    session: DbSession, slot: Slot, token: str, *, lasts: timedelta, now: datetime
) -> int | None:
    """Claim a key that is new; of many that try at once the unique constraint lets one through."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    return session.scalar(
        insert(IdempotencyKey)
        .values(
            principal=slot.principal,
            key=slot.key,
            request=slot.request[:MAX_REQUEST],
            fingerprint=slot.fingerprint,
            claim=token,
            claimed_at=now,
            expires_at=now + lasts,
            replays=0,
            conflicts=0,
            mismatches=0,
        )
        .on_conflict_do_nothing(index_elements=["key", "principal"])
        .returning(IdempotencyKey.id)
    )


def _take_over(
    session: DbSession, slot: Slot, token: str, *, lasts: timedelta, now: datetime
) -> int | None:
    """Claim a key whose time is over, or whose process died; of several that try one finds it."""
    died = and_(
        IdempotencyKey.answered_at.is_(None), IdempotencyKey.claimed_at <= now - CLAIM_LASTS
    )
    return session.scalar(
        update(IdempotencyKey)
        .where(IdempotencyKey.principal == slot.principal, IdempotencyKey.key == slot.key)
        .where(or_(IdempotencyKey.expires_at <= now, died))
        .values(
            request=slot.request[:MAX_REQUEST],
            fingerprint=slot.fingerprint,
            claim=token,
            claimed_at=now,
            expires_at=now + lasts,
            answered_at=None,
            status=None,
            headers=null(),
            body=None,
        )
        .returning(IdempotencyKey.id)
        .execution_options(synchronize_session=False)
    )


def _look(session: DbSession, slot: Slot) -> Replay | Running | Mismatch | None:
    """Tell what stands under a key, and count that it was asked for; None where it has gone."""
    row = session.execute(
        select(
            IdempotencyKey.id,
            IdempotencyKey.fingerprint,
            IdempotencyKey.answered_at,
            IdempotencyKey.status,
            IdempotencyKey.headers,
            IdempotencyKey.body,
        ).where(IdempotencyKey.principal == slot.principal, IdempotencyKey.key == slot.key)
    ).one_or_none()
    if row is None:
        return None
    counting = update(IdempotencyKey).where(IdempotencyKey.id == row.id)
    if row.fingerprint != slot.fingerprint:
        session.execute(counting.values(mismatches=IdempotencyKey.mismatches + 1))
        return Mismatch()
    if row.answered_at is None:
        session.execute(counting.values(conflicts=IdempotencyKey.conflicts + 1))
        return Running()
    session.execute(counting.values(replays=IdempotencyKey.replays + 1))
    headers = tuple((name, value) for name, value in row.headers)
    return Replay(Answer(row.status, headers, row.body), row.answered_at)


def _of_claim(claimed: Claim) -> Update:
    return (
        update(IdempotencyKey)
        .where(
            IdempotencyKey.id == claimed.key_id,
            IdempotencyKey.claim == claimed.token,
            IdempotencyKey.answered_at.is_(None),
        )
        .execution_options(synchronize_session=False)
    )
