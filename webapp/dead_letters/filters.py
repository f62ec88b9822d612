"""Which letters fit what a list is narrowed to: as conditions, and the newest of them.

Groups and figures look at the newest up to the cap, so that they cost the same however many letters
there are; who narrows the list reaches the others.  Knows nothing of what is told of the letters.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, Subquery, or_, select

from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.values import AGES, LetterFilters, Status
from webapp.paging import COUNT_CAP


def fitting(filters: LetterFilters, now: datetime) -> list[ColumnElement[bool]]:
    """Return the conditions of the letters that fit."""
    conditions: list[ColumnElement[bool]] = []
    if filters.status == Status.OPEN:
        conditions.append(DeadLetter.resolved_at.is_(None))
    elif filters.status == Status.RESOLVED:
        conditions.append(DeadLetter.resolved_at.is_not(None))
    for name, value in (
        (DeadLetter.type, filters.type),
        (DeadLetter.exception_type, filters.exception),
        (DeadLetter.fingerprint, filters.fingerprint),
    ):
        if value:
            conditions.append(name == value)
    if filters.older:
        conditions.append(DeadLetter.failed_at <= now - AGES[filters.older])
    if filters.newer:
        conditions.append(DeadLetter.failed_at > now - AGES[filters.newer])
    if filters.text:
        # Not in the arguments: a search would tell, letter by letter, what is masked in them.
        fits = (DeadLetter.message, DeadLetter.exception_type, DeadLetter.type)
        conditions.append(or_(*(item.icontains(filters.text, autoescape=True) for item in fits)))
    return conditions


def looked_at(filters: LetterFilters, now: datetime) -> Subquery:
    """Select the newest letters that fit, up to one past the cap, from one index."""
    return (
        select(
            DeadLetter.id,
            DeadLetter.failed_at,
            DeadLetter.fingerprint,
            DeadLetter.type,
            DeadLetter.reason,
        )
        .where(*fitting(filters, now))
        .order_by(DeadLetter.id.desc())
        .limit(COUNT_CAP + 1)
        .subquery()
    )
