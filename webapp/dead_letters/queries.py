"""Reads dead letters: the groups, the list, one letter, the figures.

Groups and figures look at the newest open letters up to the cap, so that they cost the same however
many there are; who narrows the list reaches the others.  Jobs are known here by the name of their
table only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Label,
    RowMapping,
    ScalarSelect,
    Select,
    String,
    Subquery,
    column,
    exists,
    func,
    literal,
    or_,
    select,
    table,
    union_all,
)

from webapp.db import BigId, DbSession
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.values import (
    AGES,
    OLDER,
    BulkAction,
    BulkOrder,
    LetterFilters,
    Reason,
    Status,
)
from webapp.jobs.lifecycle import may, sources_of
from webapp.jobs.service import states_of
from webapp.jobs.values import JobState
from webapp.paging import (
    COUNT_CAP,
    PAGE_SIZE,
    REACH,
    Cursor,
    Page,
    Scan,
    count_up_to_cap,
    counted_up_to_cap,
    fetch_page,
)

#: A bulk is counted further than a list, since whoever confirms it wants to know.
BULK_CAP: Final = 100_000
#: So many kinds of exception are offered to choose from.
EXCEPTIONS_OFFERED: Final = 100

_jobs = table("jobs", column("id", BigId), column("state", String))


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
    wanted = select(DeadLetter).where(*_fitting(filters, now))
    scan = Scan(DeadLetter.id, rows=REACH if filters.text else None)
    found: Page[DeadLetter] = fetch_page(
        session, wanted, scan, cursor, present=lambda letter: letter, size=size
    )
    rows = _rows(session, found.rows)
    return found.showing(rows)


def get_row(session: DbSession, letter: DeadLetter) -> LetterRow:
    """Return one letter as lists show it."""
    return _rows(session, [letter])[0]


def older_letters(
    session: DbSession, filters: LetterFilters, size: int, *, before: int | None, now: datetime
) -> Sequence[DeadLetter]:
    """Return so many of the letters that fit, newest first, from behind one: one statement."""
    wanted = select(DeadLetter).where(*_fitting(filters, now))
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
    looked = _looked_at(filters, now)
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
            *_ages(looked, now),
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
        ages=_by_age(row, row["count"]),
    )


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
    looked = _looked_at(LetterFilters(), now)
    found = session.execute(
        select(looked.c.type, looked.c.reason, func.count().label("count"), *_ages(looked, now))
        .group_by(looked.c.type, looked.c.reason)
        .order_by(func.count().desc(), looked.c.type, looked.c.reason)
    )
    by_reason: dict[str, int] = {reason.value: 0 for reason in Reason}
    by_type: dict[str, int] = {}
    by_age: dict[str, int] = dict.fromkeys([*AGES, OLDER], 0)
    for row in found.mappings():
        by_reason[row["reason"]] += row["count"]
        by_type[row["type"]] = by_type.get(row["type"], 0) + row["count"]
        for age, count in _by_age(row, row["count"]).items():
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
    looked = _looked_at(LetterFilters(), now)
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


def count_ordered(session: DbSession, order: BulkOrder, *, after: int = 0) -> int:
    """Count the letters that a bulk is for, from behind one, up to one past its cap."""
    return count_up_to_cap(session, _ordered(order).where(DeadLetter.id > after), BULK_CAP)


def sample_ordered(session: DbSession, order: BulkOrder, size: int) -> list[LetterRow]:
    """Return the first letters that a bulk will come to."""
    ids = _ordered(order).order_by(DeadLetter.id).limit(size)
    found = select(DeadLetter).where(DeadLetter.id.in_(ids.subquery().select()))
    return _rows(session, session.scalars(found.order_by(DeadLetter.id)).all())


def next_ordered(session: DbSession, order: BulkOrder, after: int, size: int) -> Sequence[int]:
    """Return the next letters of a bulk, oldest first, by their ids: one statement."""
    following = _ordered(order).where(DeadLetter.id > after)
    return session.scalars(following.order_by(DeadLetter.id).limit(size)).all()


def _ordered(order: BulkOrder) -> Select[tuple[int]]:
    """Select the letters that a bulk is for.

    What is under way again is neither retried nor given up, so it is not counted either.
    """
    wanted = select(DeadLetter.id).where(
        *_fitting(order.filters, order.at), DeadLetter.failed_at <= order.at
    )
    if order.job_ids is not None:
        wanted = wanted.where(DeadLetter.job_id.in_(order.job_ids))
    if order.action != BulkAction.RESOLVE:
        ended = exists().where(
            _jobs.c.id == DeadLetter.job_id, _jobs.c.state.in_(sources_of("revive"))
        )
        wanted = wanted.where(ended)
    return wanted


def _fitting(filters: LetterFilters, now: datetime) -> list[ColumnElement[bool]]:
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


def _looked_at(filters: LetterFilters, now: datetime) -> Subquery:
    """Select the newest letters that fit, up to one past the cap, from one index."""
    return (
        select(
            DeadLetter.id,
            DeadLetter.failed_at,
            DeadLetter.fingerprint,
            DeadLetter.type,
            DeadLetter.reason,
        )
        .where(*_fitting(filters, now))
        .order_by(DeadLetter.id.desc())
        .limit(COUNT_CAP + 1)
        .subquery()
    )


def _passing(looked: Subquery) -> ColumnElement[int]:
    passing = [reason for reason in Reason if reason.may_pass]
    return func.count().filter(looked.c.reason.in_(passing))


def _ages(looked: Subquery, now: datetime) -> list[Label[int]]:
    """Count what is newer than each age."""
    return [
        func.count().filter(looked.c.failed_at > now - span).label(f"newer_{age}")
        for age, span in AGES.items()
    ]


def _by_age(row: RowMapping, count: int) -> dict[str, int]:
    """Turn counts of what is newer than each age into counts of what lies between two."""
    ages: dict[str, int] = {}
    before = 0
    for age in AGES:
        newer = row[f"newer_{age}"]
        ages[age] = newer - before
        before = newer
    return ages | {OLDER: count - before}


def _rows(session: DbSession, letters: Sequence[DeadLetter]) -> list[LetterRow]:
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
