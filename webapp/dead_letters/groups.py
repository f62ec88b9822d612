"""Reads open letters by cause: what is the same trouble is one group.

Groups are of the letters that ``filters`` looks at, never of all.  Nothing here is about one letter
beyond the sample that stands for its group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Subquery, func, select

from webapp.db import DbSession
from webapp.dead_letters.ages import counts_by_age, newer_counts
from webapp.dead_letters.filters import looked_at
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.values import LetterFilters, Reason
from webapp.paging import COUNT_CAP, PAGE_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Open letters that are the same trouble.

    ``ages`` counts them by age, each letter once; ``retryable`` are those that may well succeed.
    The newest of them stands for all.
    """

    fingerprint: str
    type: str
    exception_type: str
    sample: str
    sample_id: int
    sample_job_id: int
    count: int
    retryable: int
    first_failed_at: datetime
    last_failed_at: datetime
    ages: Mapping[str, int]

    @property
    def retryable_share(self) -> float:
        """Return the share that may well succeed, 0-100."""
        return 100 * self.retryable / self.count


@dataclass(frozen=True, slots=True)
class GroupList:
    """One page of groups; ``letters`` is how many were looked at for all of them together."""

    rows: Sequence[Group]
    total: int
    letters: int
    skip: int

    @property
    def capped(self) -> bool:
        """Tell whether there are older letters that were not looked at."""
        return self.letters > COUNT_CAP


def list_groups(
    session: DbSession,
    filters: LetterFilters,
    *,
    now: datetime,
    newest_first: bool = False,
    skip: int = 0,
    limit: int = PAGE_SIZE,
) -> GroupList:
    """Return the groups of the letters that fit, the largest first: one statement."""
    looked = looked_at(filters, now)
    count, last = func.count().label("count"), func.max(looked.c.failed_at).label("last")
    orders = (last.desc(), count.desc()) if newest_first else (count.desc(), last.desc())
    groups = (
        select(
            looked.c.fingerprint,
            count,
            last,
            func.min(looked.c.failed_at).label("first"),
            func.max(looked.c.id).label("newest"),
            _passing(looked).label("retryable"),
            *newer_counts(looked, now),
            # Taken over all groups, before the limit.
            func.count().over().label("groups"),
            func.sum(func.count()).over().label("letters"),
        )
        .group_by(looked.c.fingerprint)
        .order_by(*orders, looked.c.fingerprint)
        .offset(skip)
        .limit(limit)
        .subquery()
    )
    sample = (DeadLetter.type, DeadLetter.exception_type, DeadLetter.message, DeadLetter.job_id)
    found = session.execute(
        select(groups, *sample)
        .join(DeadLetter, DeadLetter.id == groups.c.newest)
        .order_by(*_same_order(groups, newest_first=newest_first))
    )
    rows = found.mappings().all()
    total, letters = (rows[0]["groups"], int(rows[0]["letters"])) if rows else (0, 0)
    return GroupList([_group(row) for row in rows], total, letters, skip)


def _passing(looked: Subquery) -> ColumnElement[int]:
    passing = [reason for reason in Reason if reason.may_pass]
    return func.count().filter(looked.c.reason.in_(passing))


def _same_order(groups: Subquery, *, newest_first: bool) -> tuple[ColumnElement[Any], ...]:
    last, count = groups.c.last.desc(), groups.c.count.desc()
    return (*((last, count) if newest_first else (count, last)), groups.c.fingerprint)


def _group(row: RowMapping) -> Group:
    return Group(
        fingerprint=row["fingerprint"],
        type=row["type"],
        exception_type=row["exception_type"],
        sample=row["message"],
        sample_id=row["newest"],
        sample_job_id=row["job_id"],
        count=row["count"],
        retryable=row["retryable"],
        first_failed_at=row["first"],
        last_failed_at=row["last"],
        ages=counts_by_age(row, row["count"]),
    )
