"""Reads dead letters as rows: the list, one letter, and what the list can be narrowed to.

Counts nothing beyond its pages: ``groups`` and ``figures`` do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select

from webapp.db import DbSession
from webapp.dead_letters.filters import fitting
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.values import LetterFilters, Reason
from webapp.jobs.lifecycle import may
from webapp.jobs.service import states_of
from webapp.jobs.values import JobState
from webapp.paging import PAGE_SIZE, REACH, Cursor, Page, Scan, fetch_page

#: So many kinds of exception are offered to choose from.
EXCEPTIONS_OFFERED: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterRow:
    """One letter as lists show it; ``job_state`` tells whether a retry is under way."""

    id: int
    job_id: int
    job_state: JobState
    type: str
    arguments: Mapping[str, Any]
    reason: str
    error_class: str
    exception_type: str
    message: str
    fingerprint: str
    retry_count: int
    failed_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    resolution: str | None
    notes: str | None

    @property
    def open(self) -> bool:
        """Tell whether nobody has closed the letter."""
        return self.resolved_at is None

    @property
    def retryable(self) -> bool:
        """Tell whether the job may well succeed when it is tried again."""
        return Reason(self.reason).may_pass

    @property
    def revivable(self) -> bool:
        """Tell whether the job can be run again now."""
        return self.open and may("revive", self.job_state)


def list_letters(
    session: DbSession,
    filters: LetterFilters,
    cursor: Cursor,
    *,
    now: datetime,
    size: int = PAGE_SIZE,
) -> Page[LetterRow]:
    """Return one page of the letters that fit, newest first."""
    wanted = select(DeadLetter).where(*fitting(filters, now))
    scan = Scan(DeadLetter.id, rows=REACH if filters.text else None)
    found: Page[DeadLetter] = fetch_page(
        session, wanted, scan, cursor, present=lambda letter: letter, size=size
    )
    rows = rows_of(session, found.rows)
    return found.showing(rows)


def get_row(session: DbSession, letter: DeadLetter) -> LetterRow:
    """Return one letter as lists show it."""
    return rows_of(session, [letter])[0]


def rows_of(session: DbSession, letters: Sequence[DeadLetter]) -> list[LetterRow]:
    """Return letters as lists show them, in the order in which they are given."""
    states = states_of(session, [letter.job_id for letter in letters])
    return [_row(letter, states[letter.job_id]) for letter in letters]


def _row(letter: DeadLetter, job_state: JobState) -> LetterRow:
    return LetterRow(
        id=letter.id,
        job_id=letter.job_id,
        job_state=job_state,
        type=letter.type,
        arguments=letter.arguments,
        reason=letter.reason,
        error_class=letter.error_class,
        exception_type=letter.exception_type,
        message=letter.message,
        fingerprint=letter.fingerprint,
        retry_count=letter.retry_count,
        failed_at=letter.failed_at,
        resolved_at=letter.resolved_at,
        resolved_by=letter.resolved_by,
        resolution=letter.resolution,
        notes=letter.notes,
    )


def older_letters(
    session: DbSession, filters: LetterFilters, size: int, *, before: int | None, now: datetime
) -> Sequence[DeadLetter]:
    """Return so many of the letters that fit, newest first, from behind one: one statement."""
    wanted = select(DeadLetter).where(*fitting(filters, now))
    if before is not None:
        wanted = wanted.where(DeadLetter.id < before)
    return session.scalars(wanted.order_by(DeadLetter.id.desc()).limit(size)).all()


def known_exceptions(session: DbSession) -> Sequence[str]:
    """Return the exceptions that letters tell of, by name.

    Skips through the index from one to the next: few stand in very many letters.
    """
    name = DeadLetter.exception_type
    step = select(func.min(name).label("value")).cte("step", recursive=True)
    following = select(func.min(name)).where(name > step.c.value).scalar_subquery()
    step = step.union_all(select(following).where(step.c.value.is_not(None)))
    found = select(step.c.value).where(step.c.value.is_not(None)).limit(EXCEPTIONS_OFFERED)
    return session.scalars(found).all()
