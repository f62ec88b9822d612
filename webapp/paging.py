"""Keyset paging: a page of a list is what comes before or after one row, never an offset.

The key is a row's id, newest first or oldest first, so that rows of one second are neither dropped
nor repeated and the thousandth page costs as much as the first.  Totals are counted up to a cap.

What no index carries (a text anywhere in a row) is looked for among so many rows at a time: such a
page may be short, or empty, and still lead to a next one, which looks further.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ScalarSelect, Select, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute

from webapp.db import MOST_ID, DbSession

Row = TypeVar("Row")
Item = TypeVar("Item")
PAGE_SIZE = 50
COUNT_CAP = 10_000
#: Lists that an offset is good enough for can be paged through as far as they are counted.
MOST_SKIPPED = COUNT_CAP
#: So many rows are looked through for one page of what no index carries.
REACH = 10_000
# Ids rise with time, but for machines whose clocks differ and transactions that overtake others:
# so many rows around a moment may stand in another order than their times.
_OUT_OF_ORDER = 1_000


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page lies: older than ``before``, or newer than ``after``, or where the list begins.

    Lists begin with their newest row, or with their oldest where ``oldest_first`` says so.
    """

    before: int | None = None
    after: int | None = None
    oldest_first: bool = False

    @property
    def place(self) -> int | None:
        """Return the row that the page lies next to, None where the list begins."""
        return self.before if self.after is None else self.after

    @property
    def moved(self) -> bool:
        """Tell whether this is not where the list begins."""
        return self.place is not None


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """One page of a list; the cursors are row ids, None where there is no more.

    ``searched`` is how many rows were looked through at most, where that was bounded: the total is
    of these.
    """

    rows: Sequence[Row]
    newer: int | None
    older: int | None
    total: int
    capped: bool
    oldest_first: bool = False
    searched: int | None = None

    def showing(self, rows: Sequence[Item]) -> "Page[Item]":
        """Return the same page with its rows presented in another way."""
        return Page(
            rows, self.newer, self.older, self.total, self.capped, self.oldest_first, self.searched
        )


@dataclass(frozen=True, slots=True)
class Scan:
    """How the rows of a list are gone through: by ``key``, from ``low`` to ``high``, both included.

    ``rows`` bounds how many are looked through for one page; None is open.
    """

    key: InstrumentedAttribute[int]
    low: int | None = None
    high: int | None = None
    rows: int | None = None


def between(
    session: DbSession,
    key: InstrumentedAttribute[int],
    at: InstrumentedAttribute[datetime],
    *,
    since: datetime | None,
    until: datetime | None,
) -> Scan:
    """Return where the rows of a time lie, found by an index of ``at``: one statement at most.

    It is wide enough for rows whose order is not that of their times; who asks compares the times
    as well.
    """
    if since is None and until is None:
        return Scan(key)
    asked: list[ScalarSelect[int]] = []
    # Rows of one moment by their ids: there may be more of them than are looked at, and an index
    # of times alone has those of PostgreSQL in no order that stays.
    if since is not None:
        first = select(key).where(at >= since).order_by(at, key).limit(_OUT_OF_ORDER).subquery()
        asked.append(select(func.coalesce(func.min(first.c[0]), MOST_ID)).scalar_subquery())
    if until is not None:
        backward = at.desc(), key.desc()
        last = select(key).where(at < until).order_by(*backward).limit(_OUT_OF_ORDER).subquery()
        asked.append(select(func.coalesce(func.max(last.c[0]), 0)).scalar_subquery())
    found = list(session.execute(select(*asked)).one())
    low = found.pop(0) if since is not None else None
    return Scan(key, low, found.pop() if found else None)


def fetch_page(
    session: DbSession,
    wanted: Select[tuple[Item]],
    scan: Scan,
    cursor: Cursor,
    *,
    present: Callable[[Item], Row],
    size: int = PAGE_SIZE,
) -> Page[Row]:
    """Fetch one page of ``wanted`` and count its rows up to the cap: two statements, or three.

    Where the scan is bounded, the count is of what was looked through.
    """
    # The rows next to the cursor are wanted: on the way back they are taken in the other order,
    # and turned round.
    rising = cursor.after is not None or (cursor.oldest_first and cursor.before is None)
    key = scan.key
    edge = _edge(session, scan, cursor, rising=rising)
    wanted = _within(wanted, scan)
    placed = _behind(wanted, scan, cursor)
    if edge is not None:
        placed = placed.where(key < edge if rising else key > edge)
    found = _nearest(session, placed, key, size + 1, rising=rising)
    more, kept = len(found) > size, found[:size]
    ids = [getattr(item, key.key) for item in kept]
    total = len(found)
    if scan.rows is None:
        total = count_up_to_cap(session, wanted)
    elif more:
        total = count_up_to_cap(session, placed)
    ahead = ids[-1] if more else _before(edge, rising=rising)
    back = (ids[0] if ids else _before(cursor.place, rising=not rising)) if cursor.moved else None
    if rising != cursor.oldest_first:
        kept.reverse()
    return Page(
        rows=[present(item) for item in kept],
        newer=ahead if rising else back,
        older=back if rising else ahead,
        total=min(total, COUNT_CAP),
        capped=total > COUNT_CAP,
        oldest_first=cursor.oldest_first,
        searched=scan.rows if edge is not None or cursor.moved else None,
    )


def _nearest(
    session: DbSession,
    placed: Select[tuple[Item]],
    key: InstrumentedAttribute[int],
    most: int,
    *,
    rising: bool,
) -> list[Item]:
    """Read the first rows in an order, their keys before them: an index may have those alone.

    A planner that walks through the rows in the order of their keys, and hopes to find some that
    fit, reads a whole table where few do.
    """
    order = key if rising else key.desc()
    keys = placed.with_only_columns(key, maintain_column_froms=True).order_by(order).limit(most)
    return list(session.scalars(placed.where(key.in_(keys)).order_by(order)))


def _edge(session: DbSession, scan: Scan, cursor: Cursor, *, rising: bool) -> int | None:
    """Return the id of the first row that is not looked at any more, None where there is none."""
    if scan.rows is None:
        return None
    passed = _behind(_within(select(scan.key), scan), scan, cursor)
    order = scan.key if rising else scan.key.desc()
    edge: int | None = session.scalar(passed.order_by(order).offset(scan.rows).limit(1))
    return edge


def _within(wanted: Select[Any], scan: Scan) -> Select[Any]:
    if scan.low is not None:
        wanted = wanted.where(scan.key >= scan.low)
    return wanted if scan.high is None else wanted.where(scan.key <= scan.high)


def _behind(wanted: Select[Any], scan: Scan, cursor: Cursor) -> Select[Any]:
    if cursor.after is not None:
        return wanted.where(scan.key > cursor.after)
    return wanted if cursor.before is None else wanted.where(scan.key < cursor.before)


def _before(row_id: int | None, *, rising: bool) -> int | None:
    """Return the cursor from which this row is the next one."""
    if row_id is None:
        return None
    return row_id - 1 if rising else row_id + 1


def count_up_to_cap(session: DbSession, wanted: Select[Any], cap: int = COUNT_CAP) -> int:
    """Count the rows of a statement, but no further than one past the cap."""
    return session.scalar(select(counted_up_to_cap(wanted, cap))) or 0


def counted_up_to_cap(wanted: Select[Any], cap: int = COUNT_CAP) -> ScalarSelect[int]:
    """Return a statement that counts the rows of another, no further than one past the cap."""
    # Without its columns the rows themselves need not be read, where an index has what is asked.
    bare = wanted.with_only_columns(literal(1), maintain_column_froms=True)
    some = bare.order_by(None).limit(cap + 1).subquery()
    return select(func.count()).select_from(some).scalar_subquery()
