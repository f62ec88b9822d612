"""Selects the letters that a bulk order is for: counts them, samples them, finds the next.

Acts on none of them.  Jobs are known here by the name of their table only.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Select, String, column, exists, select, table

from webapp.db import BigId, DbSession
from webapp.dead_letters.filters import fitting
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.queries import LetterRow, rows_of
from webapp.dead_letters.values import BulkAction, BulkOrder
from webapp.jobs.lifecycle import sources_of
from webapp.paging import count_up_to_cap

#: A bulk is counted further than a list, since whoever confirms it wants to know.
BULK_CAP: Final = 100_000

_jobs = table("jobs", column("id", BigId), column("state", String))


def count_ordered(session: DbSession, order: BulkOrder, *, after: int = 0) -> int:
    """Count the letters that a bulk is for, from behind one, up to one past its cap."""
    return count_up_to_cap(session, _ordered(order).where(DeadLetter.id > after), BULK_CAP)


def _ordered(order: BulkOrder) -> Select[tuple[int]]:
    """Select the letters that a bulk is for.

    What is under way again is neither retried nor given up, so it is not counted either.
    """
    wanted = select(DeadLetter.id).where(
        *fitting(order.filters, order.at), DeadLetter.failed_at <= order.at
    )
    if order.job_ids is not None:
        wanted = wanted.where(DeadLetter.job_id.in_(order.job_ids))
    if order.action != BulkAction.RESOLVE:
        ended = exists().where(
            _jobs.c.id == DeadLetter.job_id, _jobs.c.state.in_(sources_of("revive"))
        )
        wanted = wanted.where(ended)
    return wanted


def sample_ordered(session: DbSession, order: BulkOrder, size: int) -> list[LetterRow]:
    """Return the first letters that a bulk will come to."""
    ids = _ordered(order).order_by(DeadLetter.id).limit(size)
    found = select(DeadLetter).where(DeadLetter.id.in_(ids.subquery().select()))
    return rows_of(session, session.scalars(found.order_by(DeadLetter.id)).all())


def next_ordered(session: DbSession, order: BulkOrder, after: int, size: int) -> Sequence[int]:
    """Return the next letters of a bulk, oldest first, by their ids: one statement."""
    following = _ordered(order).where(DeadLetter.id > after)
    return session.scalars(following.order_by(DeadLetter.id).limit(size)).all()
