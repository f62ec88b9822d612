"""Counts how attempts end: rows of ``job_metrics`` by type and minute, and from them by hour.

Attempts are counted afterwards, by when they ended, so that figures cost their jobs nothing and
are exact.  A minute is counted anew until it is closed; once it is, it stays.  However many
consumers beat, one counts at a time: it claims the turn by a conditional update, and what it has
counted is written only while that claim stands.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Integer,
    String,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from webapp.db import DbSession, SecondsBetween, UtcTime
from webapp.jobs.histograms import BOUNDS, LAST, added, counted
from webapp.jobs.models import JobAttempt, JobMetric, JobMetricHead
from webapp.jobs.values import Outcome

MINUTE: Final = 60
HOUR: Final = 3_600
#: The counts that a row holds.
COUNTS: Final = ("runs", "succeeded", "failed", "retried", "dead", "deferred", "lost", "canceled")
EVERY: Final = timedelta(seconds=10)
#: An end that is written so late after its minute is still counted.
CLOSES_AFTER: Final = timedelta(seconds=90)
#: What is counted in one turn; after a longer time without consumers there are more turns.
MOST_AT_ONCE: Final = timedelta(minutes=30)
#: How far back counting begins where there are attempts and no figures yet.
REACH: Final = timedelta(hours=24)
MINUTES_KEPT: Final = timedelta(hours=26)
HOURS_KEPT: Final = timedelta(days=90)
_HEAD: Final = 1


@dataclass(frozen=True, slots=True)
class Turn:
    """Which minutes are to be counted, those before ``closing`` for the last time."""

    claimed_at: datetime
    since: datetime
    until: datetime
    closing: datetime
    behind: bool


def is_due(session: DbSession, *, now: datetime) -> bool:
    """Tell whether nobody has counted for a while; a beat that finds it so takes the turn."""
    claimed_at = session.scalar(select(JobMetricHead.claimed_at))
    return claimed_at is None or not now - EVERY < claimed_at < now + EVERY


def take_turn(
    session: DbSession, *, now: datetime, closes_after: timedelta = CLOSES_AFTER
) -> Turn | None:
    """Take the turn to count; None where somebody else has it."""
    if not _claim(session, now):
        return None
    closed_until = session.scalars(select(JobMetricHead.closed_until)).one()
    since = max(closed_until, floor(now, HOUR) - REACH)
    final = max(since, floor(now - closes_after, MINUTE))
    # A time in which nothing ended is passed over at once, however long it was.
    first = session.scalar(
        select(func.min(JobAttempt.ended_at)).where(JobAttempt.ended_at >= since)
    )
    since = max(since, min(final, floor(first, MINUTE) if first else final))
    present = floor(now, MINUTE) + timedelta(seconds=MINUTE)
    until = max(since, min(present, since + MOST_AT_ONCE))
    return Turn(now, since, until, closing=min(final, until), behind=until < present)


def _claim(session: DbSession, now: datetime) -> bool:
    # Conditional, so that of many consumers one counts; a stamp from the future is a clock's error.
    won = session.execute(
        update(JobMetricHead)
        .where(
            or_(JobMetricHead.claimed_at <= now - EVERY, JobMetricHead.claimed_at >= now + EVERY)
        )
        .values(claimed_at=now)
        .execution_options(synchronize_session=False)
    )
    return bool(won.rowcount) or _claim_first(session, now)  # type: ignore[attr-defined]


def _claim_first(session: DbSession, now: datetime) -> bool:
    if session.scalar(select(JobMetricHead.id)) is not None:
        return False
    try:
        # The key settles the race between two that count for the first time.
        with session.begin_nested():
            start = floor(now, HOUR) - REACH
            session.execute(
                insert(JobMetricHead).values(id=_HEAD, claimed_at=now, closed_until=start)
            )
    except IntegrityError:
        return False
    return True


def count(session: DbSession, turn: Turn) -> list[dict[str, Any]]:
    """Count the attempts of the turn's minutes: one statement, which only reads.

    Left out are attempts that were put back before their end, and the waits of those of which
    nobody knows when they were due.
    """
    rows = session.execute(_GROUPED, {"since": turn.since, "until": turn.until}).all()
    groups: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        groups.setdefault((row.type, row.minute), []).append(row)
    return [
        {"type": name, "seconds": MINUTE, "at": _read_minute(minute)} | _figures(group)
        for (name, minute), group in groups.items()
    ]


def _figures(group: Iterable[Any]) -> dict[str, Any]:
    """Add up the groups of one type and minute.

    An attempt that failed and has no delay before a next one has buried its job, and so has one
    that was lost with the class of an error.
    """
    numbers = dict.fromkeys(COUNTS, 0)
    runs, waits = [], []
    for row in group:
        numbers["runs"] += row.number
        numbers[row.outcome] += row.number
        if row.outcome == Outcome.FAILED:
            numbers["dead" if row.undelayed else "retried"] += row.number
        elif row.outcome == Outcome.LOST and row.classed:
            numbers["dead"] += row.number
        if row.outcome in {Outcome.SUCCEEDED, Outcome.FAILED}:
            runs.append((row.run_bucket, row.number))
        if row.wait_bucket is not None:
            waits.append((row.wait_bucket, row.number))
    return numbers | {"run_buckets": counted(runs), "wait_buckets": counted(waits)}


def write(session: DbSession, turn: Turn, minutes: Sequence[dict[str, Any]]) -> bool:
    """Write what was counted in a turn; False where somebody else has taken it since.

    Where more is to be caught up on, the next turn is due at once.
    """
    held = session.execute(
        update(JobMetricHead)
        .where(JobMetricHead.claimed_at == turn.claimed_at)
        .values(
            closed_until=turn.closing,
            claimed_at=turn.claimed_at - (EVERY if turn.behind else timedelta()),
        )
        .execution_options(synchronize_session=False)
    )
    if not held.rowcount:  # type: ignore[attr-defined]
        return False
    _replace(session, MINUTE, turn.since, turn.until, minutes)
    hours = floor(turn.since, HOUR), floor(turn.until - timedelta(seconds=1), HOUR) + _ONE_HOUR
    _replace(session, HOUR, *hours, _hours_of(session, *hours))
    _forget(session, MINUTE, turn.claimed_at - MINUTES_KEPT)
    _forget(session, HOUR, turn.claimed_at - HOURS_KEPT)
    return True


_ONE_HOUR = timedelta(hours=1)


def _hours_of(session: DbSession, since: datetime, until: datetime) -> list[dict[str, Any]]:
    minutes = session.scalars(select(JobMetric).where(*_in_span(MINUTE, since, until)))
    groups: dict[tuple[str, datetime], list[JobMetric]] = {}
    for row in minutes:
        groups.setdefault((row.type, floor(row.at, HOUR)), []).append(row)
    return [
        {"type": name, "seconds": HOUR, "at": at} | sum_of(rows)
        for (name, at), rows in groups.items()
    ]


def sum_of(rows: Sequence[JobMetric]) -> dict[str, Any]:
    """Return the sums of several rows, by column."""
    numbers: dict[str, Any] = {name: sum(getattr(row, name) for row in rows) for name in COUNTS}
    return numbers | {
        "run_buckets": added(row.run_buckets for row in rows),
        "wait_buckets": added(row.wait_buckets for row in rows),
    }


def _replace(
    session: DbSession,
    seconds: int,
    since: datetime,
    until: datetime,
    rows: Sequence[dict[str, Any]],
) -> None:
    _delete(session, *_in_span(seconds, since, until))
    if rows:
        session.execute(insert(JobMetric), list(rows))


def _forget(session: DbSession, seconds: int, before: datetime) -> None:
    _delete(session, JobMetric.seconds == seconds, JobMetric.at < before)


def _delete(session: DbSession, *which: ColumnElement[bool]) -> None:
    session.execute(delete(JobMetric).where(*which).execution_options(synchronize_session=False))


def _in_span(seconds: int, since: datetime, until: datetime) -> tuple[ColumnElement[bool], ...]:
    return JobMetric.seconds == seconds, JobMetric.at >= since, JobMetric.at < until


def floor(moment: datetime, seconds: int) -> datetime:
    """Return the beginning of the minute or hour that a moment lies in."""
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)


def _read_minute(text: str) -> datetime:
    return datetime.fromisoformat(text.replace(" ", "T")).replace(tzinfo=UTC)


def _bucket(seconds: ColumnElement[float], low: int = 0, high: int = LAST) -> ColumnElement[int]:
    """Search for the bucket by halves, as ``bucket_of`` does."""
    if low == high:
        return case((seconds.is_not(None), low))
    middle = (low + high) // 2
    below, above = _bucket(seconds, low, middle), _bucket(seconds, middle + 1, high)
    return case((seconds < BOUNDS[middle], below), else_=above)


# Apart from what groups it, since a bucket asks for its seconds again and again.
_ATTEMPTS = (
    select(
        JobAttempt.type,
        func.substr(cast(JobAttempt.ended_at, String), 1, 16).label("minute"),
        JobAttempt.outcome,
        JobAttempt.delay_seconds.is_(None).label("undelayed"),
        JobAttempt.error_class.is_not(None).label("classed"),
        SecondsBetween(JobAttempt.started_at, JobAttempt.ended_at).label("run"),
        SecondsBetween(JobAttempt.due_at, JobAttempt.started_at).label("wait"),
    )
    .where(
        JobAttempt.ended_at >= bindparam("since", type_=UtcTime),
        JobAttempt.ended_at < bindparam("until", type_=UtcTime),
        JobAttempt.outcome.not_in((Outcome.RELEASED, Outcome.RUNNING)),
    )
    .cte("ended")
    .prefix_with("MATERIALIZED")
)
_GROUPS = select(
    _ATTEMPTS.c.type,
    _ATTEMPTS.c.minute,
    _ATTEMPTS.c.outcome,
    _ATTEMPTS.c.undelayed,
    _ATTEMPTS.c.classed,
    cast(_bucket(_ATTEMPTS.c.run), Integer).label("run_bucket"),
    cast(_bucket(_ATTEMPTS.c.wait), Integer).label("wait_bucket"),
).subquery()
_GROUPED = select(*_GROUPS.c, func.count().label("number")).group_by(*_GROUPS.c)
