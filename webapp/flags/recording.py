"""Writes usage: adds what one process has counted to the rows that all processes share."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast

from sqlalchemy import Table, case, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from webapp.db import DbSession
from webapp.flags.batches import Span, UsageBatch, UsageKey
from webapp.flags.models import (
    FeatureFlagError,
    FeatureFlagEvaluation,
    FeatureFlagSubjects,
    FeatureFlagUse,
    UnknownFlag,
)
from webapp.flags.sampling import joined, packed, unpacked

# Names come from whoever may evaluate, so the table of them has a bound: those asked for last.
MAX_UNKNOWN_KEPT: Final = 1_000
# Nobody asks how many subjects there were before that.
SUBJECTS_KEPT: Final = timedelta(hours=26)
# So many can be asked for in one statement.
MOST_KEYS: Final = 1_000

_INSERTS: Final = {"postgresql": postgresql_insert, "sqlite": sqlite_insert}


def add_usage(session: DbSession, batch: UsageBatch) -> None:
    """Add a batch to the shared rows.

    Each statement goes through its rows in order of their keys: processes that write at the same
    time then wait for each other, and never in a circle.
    """
    _add_counts(session, batch.counts)
    _add_uses(session, batch.uses)
    _add_subjects(session, batch.subjects)
    _add_unknown(session, batch.unknown)


def add_errors(session: DbSession, flag: str, count: int, *, now: datetime) -> None:
    """Add errors that a program reports of a flag to those of this minute, for guards."""
    minute = now.replace(second=0, microsecond=0)
    rows = [{"flag": flag, "minute": minute, "count": count}]
    table = cast("Table", FeatureFlagError.__table__)
    _upsert(session, table, rows, keys=["flag", "minute"], added=["count"])


def forget_oldest(session: DbSession, *, before: datetime) -> int:
    """Remove the counts of the oldest hour, where it is old enough; returns how many rows it had.

    When a flag was first and last asked stays.
    """
    oldest = session.scalar(select(func.min(FeatureFlagEvaluation.hour)))
    if oldest is None or oldest >= before:
        return 0
    gone = session.execute(
        delete(FeatureFlagEvaluation)
        .where(FeatureFlagEvaluation.hour == oldest)
        .execution_options(synchronize_session=False)
    )
    return int(gone.rowcount)  # type: ignore[attr-defined]


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


def _add_subjects(
    session: DbSession, subjects: Mapping[tuple[str, datetime], Sequence[int]]
) -> None:
    """Join samples with those that stand.

    Two processes that join at once would each overwrite the other's: whoever tells of a flag has
    the lock of its row of use by now, and reads what the one before wrote.
    """
    keys = sorted(subjects)
    for start in range(0, len(keys), MOST_KEYS):
        _add_samples(session, keys[start : start + MOST_KEYS], subjects)


def _add_samples(
    session: DbSession,
    keys: Sequence[tuple[str, datetime]],
    subjects: Mapping[tuple[str, datetime], Sequence[int]],
) -> None:
    table = cast("Table", FeatureFlagSubjects.__table__)
    wanted = select(FeatureFlagSubjects).where(
        tuple_(FeatureFlagSubjects.flag, FeatureFlagSubjects.hour).in_(keys)
    )
    stand = {(row.flag, row.hour): unpacked(row.sample) for row in session.scalars(wanted)}
    rows = [
        {
            "flag": flag,
            "hour": hour,
            "sample": packed(joined([stand.get((flag, hour), ()), sample])),
        }
        for flag, hour in keys
        for sample in [subjects[flag, hour]]
    ]
    _upsert(session, table, rows, keys=["flag", "hour"], replaced=["sample"])
    oldest = max(hour for _, hour in keys) - SUBJECTS_KEPT
    session.execute(
        delete(FeatureFlagSubjects)
        .where(FeatureFlagSubjects.flag.in_([key[0] for key in keys]))
        .where(FeatureFlagSubjects.hour < oldest)
        .execution_options(synchronize_session=False)
    )


def _add_unknown(session: DbSession, unknown: Mapping[str, tuple[int, Span]]) -> None:
    rows = [
        {"name": name, "count": count, "first_asked_at": span.first, "last_asked_at": span.last}
        for name, (count, span) in sorted(unknown.items())
    ]
    table = cast("Table", UnknownFlag.__table__)
    _upsert(session, table, rows, keys=["name"], added=["count"], latest="last_asked_at")
    if rows:
        _forget_oldest(session)


def _upsert(  # noqa: PLR0913  # all but the first three are named at the call
    session: DbSession,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    keys: Iterable[str],
    added: Iterable[str] = (),
    replaced: Iterable[str] = (),
    latest: str = "",
) -> None:
    """Insert rows; where the keys stand already, add to ``added``, put in ``replaced`` and keep the
    later ``latest``.
    """
    if not rows:
        return
    upsert: Any = _INSERTS[session.get_bind().dialect.name](table)
    new = upsert.excluded
    changed: dict[str, Any] = {name: table.c[name] + new[name] for name in added}
    changed |= {name: new[name] for name in replaced}
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
