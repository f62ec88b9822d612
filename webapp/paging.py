"""Keyset paging: a page of a list is what comes before or after one row, never an offset.

The key is a row's id, newest first or oldest first, so that rows of one second are neither dropped
nor repeated and the thousandth page costs as much as the first.  Totals are counted up to a cap.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute

from webapp.db import DbSession

Row = TypeVar("Row")
Item = TypeVar("Item")
PAGE_SIZE = 50
COUNT_CAP = 10_000


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page lies: older than ``before``, or newer than ``after``, or where the list begins.

    Lists begin with their newest row, or with their oldest where ``oldest_first`` says so.
    """

    before: int | None = None
    after: int | None = None
    oldest_first: bool = False


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """One page of a list; the cursors are row ids, None where there is no more."""

    rows: Sequence[Row]
    newer: int | None
    older: int | None
    total: int
    capped: bool
    oldest_first: bool = False


def fetch_page(
    session: DbSession,
    wanted: Select[tuple[Item]],
    key: InstrumentedAttribute[int],
    cursor: Cursor,
    *,
    present: Callable[[Item], Row],
    size: int = PAGE_SIZE,
) -> Page[Row]:
    """Fetch one page of ``wanted`` and count its rows up to the cap: two statements."""
    total = count_up_to_cap(session, wanted)
    if cursor.after is not None:
        wanted = wanted.where(key > cursor.after)
    elif cursor.before is not None:
        wanted = wanted.where(key < cursor.before)
    # The rows next to the cursor are wanted: on the way back they are taken in the other order,
    # and turned round.
    rising = cursor.after is not None or (cursor.oldest_first and cursor.before is None)
    back = rising != cursor.oldest_first
    nearest = wanted.order_by(key if rising else key.desc())
    found = list(session.scalars(nearest.limit(size + 1)))
    more, kept = len(found) > size, found[:size]
    if back:
        kept.reverse()
    has_previous = more if back else (cursor.before or cursor.after) is not None
    has_next = more or back
    first = getattr(kept[0], key.key) if kept and has_previous else None
    last = getattr(kept[-1], key.key) if kept and has_next else None
    return Page(
        rows=[present(item) for item in kept],
        newer=last if cursor.oldest_first else first,
        older=first if cursor.oldest_first else last,
        total=min(total, COUNT_CAP),
        capped=total > COUNT_CAP,
        oldest_first=cursor.oldest_first,
    )


def count_up_to_cap(session: DbSession, wanted: Select[Any], cap: int = COUNT_CAP) -> int:
    """Count the rows of a statement, but no further than one past the cap."""
    # Without its columns the rows themselves need not be read, where an index has what is asked.
    bare = wanted.with_only_columns(literal(1), maintain_column_froms=True)
    some = bare.order_by(None).limit(cap + 1).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0
