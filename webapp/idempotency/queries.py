"""Reads keys for their page: what was sent under each, and how often it came again."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import load_only

from webapp.db import DbSession
from webapp.idempotency.models import IS_REPEATED, IdempotencyKey
from webapp.idempotency.values import CLAIM_LASTS
from webapp.paging import COUNT_CAP, Cursor, Page, Scan, fetch_page


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key; ``state`` is running, lost (its process died), answered or expired."""

    id: int
    kind: str
    name: str
    key: str
    request: str
    state: str
    status: int | None
    claimed_at: datetime
    expires_at: datetime
    replays: int
    conflicts: int
    mismatches: int


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """How the keys that are kept were repeated, added up over the newest 10,000 of those."""

    replays: int
    conflicts: int
    mismatches: int


@dataclass(frozen=True, slots=True)
class KeyFilters:
    """What a list shows: one key, whosesoever, or those that came again."""

    key: str = ""
    repeated: bool = False


def list_keys(
    session: DbSession, filters: KeyFilters, cursor: Cursor, *, now: datetime
) -> Page[KeyRow]:
    """Return one page of keys, the newest first: two statements."""
    wanted = select(IdempotencyKey).options(
        load_only(
            IdempotencyKey.principal,
            IdempotencyKey.key,
            IdempotencyKey.request,
            IdempotencyKey.status,
            IdempotencyKey.claimed_at,
            IdempotencyKey.expires_at,
            IdempotencyKey.answered_at,
            IdempotencyKey.replays,
            IdempotencyKey.conflicts,
            IdempotencyKey.mismatches,
        )
    )
    if filters.key:
        wanted = wanted.where(IdempotencyKey.key == filters.key)
    if filters.repeated:
        wanted = wanted.where(text(IS_REPEATED))
    return fetch_page(
        session, wanted, Scan(IdempotencyKey.id), cursor, present=lambda key: _row(key, now)
    )


def key_figures(session: DbSession) -> KeyFigures:
    """Add up how keys were repeated: one statement."""
    repeated = (
        select(IdempotencyKey.replays, IdempotencyKey.conflicts, IdempotencyKey.mismatches)
        .where(text(IS_REPEATED))
        .order_by(IdempotencyKey.id.desc())
        .limit(COUNT_CAP)
        .subquery()
    )
    row = session.execute(
        select(
            func.coalesce(func.sum(repeated.c.replays), 0),
            func.coalesce(func.sum(repeated.c.conflicts), 0),
            func.coalesce(func.sum(repeated.c.mismatches), 0),
        )
    ).one()
    return KeyFigures(*row)


def replays_since(session: DbSession, since: datetime) -> tuple[int, int]:
    """Count the keys claimed since a time and the replays of them: one statement.

    The newest 10,000 keys are looked at.
    """
    newest = (
        select(IdempotencyKey.claimed_at, IdempotencyKey.replays)
        .order_by(IdempotencyKey.id.desc())
        .limit(COUNT_CAP)
        .subquery()
    )
    counted = select(func.count(), func.coalesce(func.sum(newest.c.replays), 0))
    row = session.execute(counted.where(newest.c.claimed_at >= since)).one()
    return int(row[0]), int(row[1])


def _row(key: IdempotencyKey, now: datetime) -> KeyRow:
    kind, _, name = key.principal.partition(":")
    return KeyRow(
        id=key.id,
        kind=kind,
        name=name,
        key=key.key,
        request=key.request,
        state=_state(key, now),
        status=key.status,
        claimed_at=key.claimed_at,
        expires_at=key.expires_at,
        replays=key.replays,
        conflicts=key.conflicts,
        mismatches=key.mismatches,
    )


def _state(key: IdempotencyKey, now: datetime) -> str:
    if key.expires_at <= now:
        return "expired"
    if key.answered_at is not None:
        return "answered"
    return "lost" if key.claimed_at <= now - CLAIM_LASTS else "running"
