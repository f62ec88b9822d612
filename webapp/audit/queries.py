"""Reads the audit: filtered and paged for its page, and the last entries about one thing."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from webapp.audit.differences import in_short
from webapp.audit.models import AuditEntry
from webapp.audit.values import Entry, FieldChange, Filters
from webapp.db import DbSession
from webapp.paging import (
    PAGE_SIZE,
    REACH,
    Cursor,
    Page,
    Scan,
    between,
    count_up_to_cap,
    fetch_page,
)


def find_entries(
    session: DbSession, filters: Filters, cursor: Cursor, *, size: int = PAGE_SIZE
) -> Page[Entry]:
    """Return one page of the entries that fit: up to four statements."""
    wanted, scan = _narrowed(filters), _scan(session, filters)
    return fetch_page(session, wanted, scan, cursor, present=_brief_entry, size=size)


def older_entries(
    session: DbSession, filters: Filters, limit: int, *, before: int | None = None
) -> list[Entry]:
    """Return the newest entries that fit, or those before one, with their values in full."""
    wanted = _narrowed(filters).order_by(AuditEntry.id.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(AuditEntry.id < before)
    return [_entry(row) for row in session.scalars(wanted)]


def recent_entries(session: DbSession, limit: int) -> list[Entry]:
    """Return the last changes of all, newest first."""
    wanted = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    return [_brief_entry(row) for row in session.scalars(wanted)]


def entries_about(
    session: DbSession, subject: str, name: str, limit: int, *, skip: int = 0
) -> list[Entry]:
    """Return the last entries about one thing, newest first, with their values in full."""
    wanted = (
        select(AuditEntry)
        .where(AuditEntry.subject == subject, AuditEntry.name == name)
        .order_by(AuditEntry.id.desc())
        .offset(skip)
        .limit(limit)
    )
    return [_entry(row) for row in session.scalars(wanted)]


def count_entries_about(session: DbSession, subject: str, name: str) -> int:
    """Count the entries about one thing, up to the cap of every total and one more."""
    return count_up_to_cap(session, _narrowed(Filters(subject=subject, name=name)))


def count_changes(
    session: DbSession, subject: str, since: datetime, until: datetime, limit: int
) -> list[tuple[str, str, int]]:
    """Return how often what happened to which things of a kind in a time: one statement.

    Things by name; each with its action and the number of times.
    """
    wanted = (AuditEntry.name, AuditEntry.action)
    rows = session.execute(
        select(*wanted, func.count().label("number"))
        .where(AuditEntry.subject == subject, AuditEntry.at >= since, AuditEntry.at < until)
        .group_by(*wanted)
        .order_by(*wanted)
        .limit(limit)
    )
    return [(row.name, row.action, row.number) for row in rows]


def known_subjects(session: DbSession) -> Sequence[str]:
    """Return every kind of thing that the audit speaks of, by name."""
    return _distinct(session, AuditEntry.subject)


def known_actions(session: DbSession) -> Sequence[str]:
    """Return every action that the audit speaks of, by name."""
    return _distinct(session, AuditEntry.action)


def _distinct(session: DbSession, column: InstrumentedAttribute[str]) -> Sequence[str]:
    """Skip through the column's index from one value to the next.

    Few values stand in very many rows, and DISTINCT would read every one of them.
    """
    step = select(func.min(column).label("value")).cte("step", recursive=True)
    following = select(func.min(column)).where(column > step.c.value).scalar_subquery()
    step = step.union_all(select(following).where(step.c.value.is_not(None)))
    return session.scalars(select(step.c.value).where(step.c.value.is_not(None))).all()


def _narrowed(filters: Filters) -> Select[tuple[AuditEntry]]:
    wanted = select(AuditEntry)
    for column, value in (
        (AuditEntry.subject, filters.subject),
        (AuditEntry.name, filters.name),
        (AuditEntry.actor, filters.actor),
        (AuditEntry.action, filters.action),
    ):
        wanted = wanted.where(column == value) if value else wanted
    if filters.text:
        wanted = wanted.where(
            or_(
                AuditEntry.name.icontains(filters.text, autoescape=True),
                AuditEntry.reason.icontains(filters.text, autoescape=True),
            )
        )
    if filters.since:
        wanted = wanted.where(AuditEntry.at >= filters.since)
    if filters.until:
        wanted = wanted.where(AuditEntry.at < filters.until)
    return wanted


def _scan(session: DbSession, filters: Filters) -> Scan:
    """Return where the entries lie that fit; what no index carries is bounded."""
    scan = between(session, AuditEntry.id, AuditEntry.at, since=filters.since, until=filters.until)
    kinds = [filters.subject or filters.name, filters.actor, filters.action]
    nameless = filters.name and not filters.subject
    bounded = filters.text or nameless or len([kind for kind in kinds if kind]) > 1
    return replace(scan, rows=REACH) if bounded else scan


def _entry(row: AuditEntry) -> Entry:
    return Entry(
        id=row.id,
        at=row.at,
        actor_kind=row.actor_kind,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        name=row.name,
        reason=row.reason,
        changes=tuple(FieldChange(field, *values) for field, values in row.changes.items()),
        request_id=row.request_id,
        hash=row.hash,
    )


def _brief_entry(row: AuditEntry) -> Entry:
    return in_short(_entry(row))
