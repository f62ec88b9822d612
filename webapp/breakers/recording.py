"""Adds what one process has counted to the rows of minutes and callers that all processes share."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete

from webapp.breakers.models import CircuitBreakerMinute, CircuitBreakerUse
from webapp.breakers.values import Tally
from webapp.db import DbSession, insert_into

# The pages show a few hours; nobody asks for the minutes of the day before yesterday.
MINUTES_KEPT: Final = timedelta(days=2)
# What no caller has used in so long it protects no more.
USES_KEPT: Final = timedelta(days=30)


def add_tallies(session: DbSession, tallies: Mapping[str, Tally], *, now: datetime) -> None:
    """Add counts to the present minute, and forget the oldest minutes of these breakers.

    In order of names: processes that write at the same time wait for each other, and never in a
    circle.
    """
    if not tallies:
        return
    minute = now.replace(second=0, microsecond=0)
    rows = [{"name": name, "minute": minute} | asdict(tallies[name]) for name in sorted(tallies)]
    upsert = insert_into(session, CircuitBreakerMinute)
    added = {
        name: getattr(CircuitBreakerMinute, name) + upsert.excluded[name]
        for name in asdict(Tally())
    }
    session.execute(
        upsert.on_conflict_do_update(index_elements=["name", "minute"], set_=added), rows
    )
    session.execute(
        delete(CircuitBreakerMinute)
        .where(CircuitBreakerMinute.name.in_(sorted(tallies)))
        .where(CircuitBreakerMinute.minute < minute - MINUTES_KEPT)
        .execution_options(synchronize_session=False)
    )


def add_uses(session: DbSession, uses: Mapping[str, Collection[str]], *, now: datetime) -> None:
    """Note who called through which breaker, and forget who has not for long."""
    rows = [
        {"name": name, "caller": caller, "seen_at": now}
        for name in sorted(uses)
        for caller in sorted(uses[name])
    ]
    if not rows:
        return
    upsert = insert_into(session, CircuitBreakerUse)
    seen = {"seen_at": upsert.excluded.seen_at}
    session.execute(
        upsert.on_conflict_do_update(index_elements=["name", "caller"], set_=seen), rows
    )
    session.execute(
        delete(CircuitBreakerUse)
        .where(CircuitBreakerUse.name.in_(sorted(uses)))
        .where(CircuitBreakerUse.seen_at < now - USES_KEPT)
        .execution_options(synchronize_session=False)
    )
