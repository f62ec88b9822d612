"""Keyset paging: a page of a list is what comes before or after one row, never an offset.

The key is a row's id, newest first, so that rows of one second are neither dropped nor repeated
and the thousandth page costs as much as the first.  Totals are counted up to a cap.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, func, select
from sqlalchemy.orm import InstrumentedAttribute

from webapp.db import DbSession

Row = TypeVar("Row")
Item = TypeVar("Item")
PAGE_SIZE = 50
COUNT_CAP = 10_000


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page lies: older than ``before``, or newer than ``after``, or the newest rows."""

    before: int | None = None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """One page of a list, newest first; the cursors are row ids, None where there is no more."""

    rows: Sequence[Row]
    newer: int | None
    older: int | None
    total: int
    capped: bool


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
        # The rows next to the cursor are wanted, so they are taken oldest first and turned round.
        nearest = wanted.where(key > cursor.after).order_by(key)
        found = list(session.scalars(nearest.limit(size + 1)))
        more, kept = len(found) > size, list(reversed(found[:size]))
    else:
        older = wanted if cursor.before is None else wanted.where(key < cursor.before)
        found = list(session.scalars(older.order_by(key.desc()).limit(size + 1)))
        more, kept = len(found) > size, found[:size]
    has_newer = more if cursor.after is not None else cursor.before is not None
    has_older = more if cursor.after is None else True
    return Page(
        rows=[present(item) for item in kept],
        newer=getattr(kept[0], key.key) if kept and has_newer else None,
        older=getattr(kept[-1], key.key) if kept and has_older else None,
        total=min(total, COUNT_CAP),
        capped=total > COUNT_CAP,
    )


def count_up_to_cap(session: DbSession, wanted: Select[Any]) -> int:
    """Count the rows of a statement, but no further than one past the cap."""
    some = wanted.order_by(None).limit(COUNT_CAP + 1).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0
