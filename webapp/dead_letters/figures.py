"""Counts letters: by type, status, reason, age and cause, for pages, gauges, alerts and reports.

But for causes, which are of a time, no count looks at more letters than the cap.  Returns numbers
and the statements of numbers, never letters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, func, literal, select, union_all

from webapp.db import DbSession
from webapp.dead_letters.ages import counts_by_age, newer_counts
from webapp.dead_letters.filters import looked_at
from webapp.dead_letters.groups import list_groups
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.values import AGES, OLDER, LetterFilters, Reason, Status
from webapp.paging import COUNT_CAP, count_up_to_cap, counted_up_to_cap


@dataclass(frozen=True, slots=True)
class LetterFigures:
    """How many letters there are; what is told of the open ones is of at most the newest 10,001."""

    open: int
    resolved: int
    retryable: int
    by_reason: Mapping[str, int]
    by_type: Mapping[str, int]
    by_age: Mapping[str, int]


def letter_figures(session: DbSession, *, now: datetime) -> LetterFigures:
    """Count the letters: two statements, neither of which looks at more than the cap."""
    looked = looked_at(LetterFilters(), now)
    found = session.execute(
        select(
            looked.c.type, looked.c.reason, func.count().label("count"), *newer_counts(looked, now)
        )
        .group_by(looked.c.type, looked.c.reason)
        .order_by(func.count().desc(), looked.c.type, looked.c.reason)
    )
    by_reason: dict[str, int] = {reason.value: 0 for reason in Reason}
    by_type: dict[str, int] = {}
    by_age: dict[str, int] = dict.fromkeys([*AGES, OLDER], 0)
    for row in found.mappings():
        by_reason[row["reason"]] += row["count"]
        by_type[row["type"]] = by_type.get(row["type"], 0) + row["count"]
        for age, count in counts_by_age(row, row["count"]).items():
            by_age[age] += count
    resolved = select(DeadLetter.id).where(DeadLetter.resolved_at.is_not(None))
    return LetterFigures(
        open=sum(by_type.values()),
        resolved=count_up_to_cap(session, resolved),
        retryable=sum(count for reason, count in by_reason.items() if Reason(reason).may_pass),
        by_reason=by_reason,
        by_type=by_type,
        by_age=by_age,
    )


def open_by_type(*, now: datetime) -> Select[tuple[str, int]]:
    """Return the statement that counts the newest 10,001 open letters by type."""
    looked = looked_at(LetterFilters(), now)
    return select(looked.c.type, func.count()).group_by(looked.c.type)


@dataclass(frozen=True, slots=True)
class LettersOfType:
    """How many letters of one type have a status, and when the first of those failed."""

    type: str
    status: Status
    count: int
    oldest: datetime


def letters_by_type(session: DbSession) -> list[LettersOfType]:
    """Count the letters by type and status: one statement.

    The first 10,001 of each status are looked at, so the oldest is among them.
    """
    statuses = {
        Status.OPEN: DeadLetter.resolved_at.is_(None),
        Status.RESOLVED: DeadLetter.resolved_at.is_not(None),
    }
    rows = session.execute(union_all(*(_by_type(*item) for item in statuses.items())))
    return [LettersOfType(row.type, Status(row.status), row.number, row.oldest) for row in rows]


def _by_type(status: Status, condition: ColumnElement[bool]) -> Select[Any]:
    first = (
        select(DeadLetter.type, DeadLetter.failed_at)
        .where(condition)
        .order_by(DeadLetter.id)
        .limit(COUNT_CAP + 1)
        .subquery()
    )
    return select(
        first.c.type,
        literal(status.value).label("status"),
        func.count().label("number"),
        func.min(first.c.failed_at).label("oldest"),
    ).group_by(first.c.type)


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
    """The commonest troubles among the open letters, and how many are open, up to 10,001."""

    commonest: Sequence[Trouble]
    open_letters: int


def open_troubles(session: DbSession, limit: int = 5, *, now: datetime) -> Troubles:
    """Return the commonest troubles and the count of the open letters: one statement."""
    found = list_groups(session, LetterFilters(), now=now, limit=limit)
    commonest = [
        Trouble(
            group.fingerprint,
            group.type,
            group.exception_type,
            group.sample,
            group.count,
            group.last_failed_at,
        )
        for group in found.rows
    ]
    return Troubles(commonest, found.letters)


@dataclass(frozen=True, slots=True)
class CauseOfDeath:
    """How many letters of a time have one cause."""

    type: str
    exception_type: str
    reason: str
    count: int


def causes_between(
    session: DbSession, since: datetime, until: datetime, limit: int
) -> list[CauseOfDeath]:
    """Return why jobs died in a time, closed letters too, the most frequent first: one statement.

    It reads every letter of that time, which a page has no time for.
    """
    count = func.count().label("number")
    wanted = (DeadLetter.type, DeadLetter.exception_type, DeadLetter.reason)
    rows = session.execute(
        select(*wanted, count)
        .where(DeadLetter.failed_at >= since, DeadLetter.failed_at < until)
        .group_by(*wanted)
        .order_by(count.desc(), *wanted)
        .limit(limit)
    )
    return [CauseOfDeath(row.type, row.exception_type, row.reason, row.number) for row in rows]


def open_count() -> ScalarSelect[int]:
    """Return a statement that counts the open letters, up to one past the cap."""
    return counted_up_to_cap(select(DeadLetter.id).where(DeadLetter.resolved_at.is_(None)))
