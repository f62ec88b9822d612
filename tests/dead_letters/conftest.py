"""Dead letters of jobs that only give their value back."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from webapp.actors import SYSTEM
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.dead_letters import service
from webapp.dead_letters.values import Cause, Reason
from webapp.jobs import attempts
from webapp.jobs.attempts import Failure
from webapp.jobs.service import enqueue, find_job

#: Makes letters and returns their ids, which are also in the order of their jobs'.
MakeLetters = Callable[..., list[int]]


def bury(
    session: Session,
    job_id: int,
    *,
    at: datetime,
    message: str = "row 7 is broken",
    exception: str = "ValueError",
    reason: Reason = Reason.NOT_RETRYABLE,
) -> int:
    """Run a waiting job once, to its death; returns its letter."""
    held = attempts.claim(session, job_id, worker="w", lease_seconds=9, now=at)
    assert held is not None
    trace = f"Traceback (most recent call last):\n{exception}: {message}"
    assert attempts.bury(session, held, Failure("bug", exception, message, trace), now=at)
    cause = Cause(reason, "bug", exception, message, trace)
    return service.write(session, job_id, cause, now=at).id


def make_letters(
    session: Session,
    count: int = 1,
    *,
    at: datetime,
    type_name: str = "test_echo",
    arguments: dict[str, Any] | None = None,
    unique_key: str | None = None,
    **cause: Any,
) -> list[int]:
    """Lose so many jobs."""
    letters = []
    for _ in range(count):
        given = arguments or {}
        job = enqueue(session, type_name, given, by=SYSTEM, now=at, unique_key=unique_key)
        letters.append(bury(session, job.id, at=at, **cause))
    return letters


@pytest.fixture
def lose(app: Flask) -> MakeLetters:
    """Lose jobs for good, for tests that ask over HTTP or in several transactions."""

    def make(count: int = 1, *, at: datetime | None = None, **options: Any) -> list[int]:
        with app.app_context(), transaction() as session:
            return make_letters(session, count, at=at or clock_now(), **options)

    return make


def job_of(session: Session, letter_id: int) -> int:
    """Return the job of a letter."""
    return service.find_letter(session, letter_id).job_id


def state_of(session: Session, letter_id: int) -> str:
    """Return where the job of a letter stands."""
    return find_job(session, job_of(session, letter_id)).state
