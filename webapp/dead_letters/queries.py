"""Reads dead letters: the list, one letter, the figures by cause."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select

from webapp.db import DbSession
from webapp.dead_letters.models import DeadLetter
from webapp.jobs.lifecycle import may
from webapp.jobs.service import states_of
from webapp.jobs.values import JobState
from webapp.paging import Cursor, Page, count_up_to_cap, fetch_page


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFilters:
    """What a list of letters is narrowed to; an empty text means anything."""

    status: str = "open"
    type: str = ""
    fingerprint: str = ""
    text: str = ""

    @property
    def any(self) -> bool:
        """Tell whether more than the open letters is asked for."""
        return bool(self.status != "open" or self.type or self.fingerprint or self.text)


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
        """Tell whether the job can be run again now."""
        return self.open and may("revive", self.job_state)


def list_letters(session: DbSession, filters: LetterFilters, cursor: Cursor) -> Page[LetterRow]:
    """Return one page of the letters that fit, newest first."""
    wanted = select(DeadLetter)
    if filters.status == "open":
        wanted = wanted.where(DeadLetter.resolved_at.is_(None))
    elif filters.status == "resolved":
        wanted = wanted.where(DeadLetter.resolved_at.is_not(None))
    if filters.type:
        wanted = wanted.where(DeadLetter.type == filters.type)
    if filters.fingerprint:
        wanted = wanted.where(DeadLetter.fingerprint == filters.fingerprint)
    if filters.text:
        fits = (DeadLetter.message, DeadLetter.exception_type, DeadLetter.type)
        wanted = wanted.where(
            or_(*(column.icontains(filters.text, autoescape=True) for column in fits))
        )
    found: Page[DeadLetter] = fetch_page(
        session, wanted, DeadLetter.id, cursor, present=lambda letter: letter
    )
    states = states_of(session, [letter.job_id for letter in found.rows])
    rows = [_row(letter, states[letter.job_id]) for letter in found.rows]
    return Page(rows, found.newer, found.older, found.total, found.capped)


def get_row(session: DbSession, letter: DeadLetter) -> LetterRow:
    """Return one letter as lists show it."""
    return _row(letter, states_of(session, [letter.job_id])[letter.job_id])


@dataclass(frozen=True, slots=True)
class Trouble:
    """Open letters that are the same trouble."""

    fingerprint: str
    type: str
    exception_type: str
    sample: str
    count: int
    last_failed_at: datetime


@dataclass(frozen=True, slots=True)
class Troubles:
    """The commonest troubles among the open letters, and how many letters are open in all."""

    commonest: Sequence[Trouble]
    open_letters: int


def open_troubles(session: DbSession, limit: int = 5) -> Troubles:
    """Return the commonest troubles and the count of all open letters: one statement."""
    count = func.count().label("count")
    rows = session.execute(
        select(
            DeadLetter.fingerprint,
            DeadLetter.type,
            DeadLetter.exception_type,
            func.max(DeadLetter.message).label("sample"),
            count,
            func.max(DeadLetter.failed_at).label("last_failed_at"),
            # Taken over all groups, before the limit.
            func.sum(func.count()).over().label("open_letters"),
        )
        .where(DeadLetter.resolved_at.is_(None))
        .group_by(DeadLetter.fingerprint, DeadLetter.type, DeadLetter.exception_type)
        .order_by(count.desc(), DeadLetter.fingerprint)
        .limit(limit)
    ).all()
    commonest = [Trouble(*row[:-1]) for row in rows]
    return Troubles(commonest, int(rows[0].open_letters) if rows else 0)


def count_open(session: DbSession) -> int:
    """Count the open letters, up to one past the cap."""
    return count_up_to_cap(session, select(DeadLetter.id).where(DeadLetter.resolved_at.is_(None)))


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
