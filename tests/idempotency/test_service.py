"""Claims on real databases: one of many, fenced, free after a minute, and removed in time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from webapp.db import transaction
from webapp.errors import Conflict
from webapp.idempotency import service
from webapp.idempotency.models import IdempotencyKey
from webapp.idempotency.queries import key_figures
from webapp.idempotency.values import (
    CLAIM_LASTS,
    Answer,
    Claim,
    Mismatch,
    Replay,
    Running,
    Slot,
)

SLOT = Slot("token:shop", "order-1", "POST /a", "f" * 64)
ANSWER = Answer(201, (("Content-Type", "text/plain"),), b"\x00made")
LASTS = timedelta(days=2)


def claim(session: Session, now: datetime, slot: Slot = SLOT) -> object:
    return service.claim(session, slot, lasts=LASTS, now=now)


def test_of_many_at_once_one_claims(app: Flask, now: datetime) -> None:
    def ask(_: int) -> object:
        with app.app_context(), transaction() as session:
            return claim(session, now)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(40)))
    assert sum(isinstance(item, Claim) for item in found) == 1
    assert sum(isinstance(item, Running) for item in found) == 39


def test_a_key_goes_from_claimed_to_answered(session: Session, now: datetime) -> None:
    claimed = claim(session, now)
    assert isinstance(claimed, Claim)
    assert claim(session, now + CLAIM_LASTS - timedelta(seconds=1)) == Running()
    service.settle(session, claimed, ANSWER, now=now + timedelta(seconds=3))
    expected = Replay(ANSWER, now + timedelta(seconds=3))
    assert claim(session, now + LASTS - timedelta(seconds=1)) == expected
    other = Slot(SLOT.principal, SLOT.key, SLOT.request, "0" * 64)
    assert claim(session, now + LASTS - timedelta(seconds=1), other) == Mismatch()
    assert isinstance(claim(session, now + LASTS, other), Claim)


def test_a_released_key_is_free(session: Session, now: datetime) -> None:
    claimed = claim(session, now)
    assert isinstance(claimed, Claim)
    service.release(session, claimed)
    assert isinstance(claim(session, now), Claim)


def test_a_claim_that_was_taken_over_settles_and_releases_nothing(
    session: Session, now: datetime
) -> None:
    first = claim(session, now)
    second = claim(session, now + CLAIM_LASTS)
    assert isinstance(first, Claim)
    assert isinstance(second, Claim)
    with pytest.raises(Conflict):
        service.settle(session, first, ANSWER, now=now)
    service.release(session, first)
    service.settle(session, second, ANSWER, now=now)
    assert isinstance(claim(session, now + CLAIM_LASTS), Replay)
    # What has been answered can no longer be released.
    service.release(session, second)
    assert isinstance(claim(session, now + CLAIM_LASTS), Replay)


def test_ten_thousand_keys_go_in_steps_once_they_have_expired(
    session: Session, now: datetime
) -> None:
    session.execute(insert(IdempotencyKey), [row(number, now) for number in range(10_000)])
    figures = key_figures(session)
    assert (figures.replays, figures.conflicts, figures.mismatches) == (3_333, 0, 0)
    # Every second has expired by then.
    later = now + timedelta(hours=1)
    steps: list[int] = []
    while steps[-1:] != [0]:
        steps.append(service.remove_expired(session, now=later, most=2_000))
    assert steps == [2_000, 2_000, 1_000, 0]
    left = session.scalar(select(func.count()).select_from(IdempotencyKey))
    assert left == 5_000


def row(number: int, now: datetime) -> dict[str, object]:
    return {
        "principal": "token:shop",
        "key": f"order-{number}",
        "request": "POST /a",
        "fingerprint": "f" * 64,
        "claim": "0" * 32,
        "claimed_at": now,
        "expires_at": now + timedelta(hours=1 if number % 2 else 2),
        "answered_at": now,
        "status": 201,
        "headers": [],
        "body": b"{}",
        "replays": int(number % 3 == 1),
        "conflicts": 0,
        "mismatches": 0,
    }
