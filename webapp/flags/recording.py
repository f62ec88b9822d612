"""Writes usage: adds what one process has counted to the rows that all processes share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Table, case, delete, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from webapp.db import DbSession
from webapp.flags.models import FeatureFlagEvaluation, FeatureFlagUse, UnknownFlag

# Names come from whoever may evaluate, so the table of them has a bound: those asked for last.
MAX_UNKNOWN_KEPT: Final = 1_000

_INSERTS: Final = {"postgresql": postgresql_insert, "sqlite": sqlite_insert}


class UsageKey(NamedTuple):
    """What one row of counts is about; ``variant`` is empty where there is none."""

    flag: str
    hour: datetime
    environment: str
    variant: str
    enabled: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Span:
    """When something happened first and last within what is told."""

    first: datetime
    last: datetime

    def reaching(self, when: datetime) -> "Span":
        """Return the span that also holds ``when``."""
        return Span(min(self.first, when), max(self.last, when))


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """What one process has counted since it last told; unknown names with how often."""

    counts: Mapping[UsageKey, int] = field(default_factory=dict)
    uses: Mapping[str, Span] = field(default_factory=dict)
    unknown: Mapping[str, tuple[int, Span]] = field(default_factory=dict)


def add_usage(session: DbSession, batch: UsageBatch) -> None:
    """Add a batch to the shared rows.

    Each statement goes through its rows in order of their keys: processes that write at the same
    time then wait for each other, and never in a circle.
    """
    _add_counts(session, batch.counts)
    _add_uses(session, batch.uses)
    _add_unknown(session, batch.unknown)


def _add_counts(session: DbSession, counts: Mapping[UsageKey, int]) -> None:
    rows = [key._asdict() | {"count": count} for key, count in sorted(counts.items())]
    table = cast("Table", FeatureFlagEvaluation.__table__)
    _upsert(session, table, rows, keys=UsageKey._fields, added=["count"])


def _add_uses(session: DbSession, uses: Mapping[str, Span]) -> None:
    rows = [
        {"flag": flag, "first_evaluated_at": span.first, "last_evaluated_at": span.last}
        for flag, span in sorted(uses.items())
    ]
    table = cast("Table", FeatureFlagUse.__table__)
    _upsert(session, table, rows, keys=["flag"], latest="last_evaluated_at")


def _add_unknown(session: DbSession, unknown: Mapping[str, tuple[int, Span]]) -> None:
    rows = [
        {"name": name, "count": count, "first_asked_at": span.first, "last_asked_at": span.last}
        for name, (count, span) in sorted(unknown.items())
    ]
    table = cast("Table", UnknownFlag.__table__)
    _upsert(session, table, rows, keys=["name"], added=["count"], latest="last_asked_at")
    if rows:
        _forget_oldest(session)


def _upsert(
    session: DbSession,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    keys: Iterable[str],
    added: Iterable[str] = (),
    latest: str = "",
) -> None:
    """Insert rows; where the keys stand already, add to ``added`` and keep the later ``latest``."""
    if not rows:
        return
    upsert: Any = _INSERTS[session.get_bind().dialect.name](table)
    new = upsert.excluded
    changed: dict[str, Any] = {name: table.c[name] + new[name] for name in added}
    if latest:
        # A process that could not tell for a while must not turn the time back.
        old = table.c[latest]
        changed[latest] = case((new[latest] > old, new[latest]), else_=old)
    session.execute(
        upsert.on_conflict_do_update(index_elements=list(keys), set_=changed), list(rows)
    )


def _forget_oldest(session: DbSession) -> None:
    kept = (
        select(UnknownFlag.name)
        .order_by(UnknownFlag.last_asked_at.desc(), UnknownFlag.name)
        .limit(MAX_UNKNOWN_KEPT)
    )
    session.execute(
        delete(UnknownFlag)
        .where(UnknownFlag.name.not_in(kept))
        .execution_options(synchronize_session=False)
    )
