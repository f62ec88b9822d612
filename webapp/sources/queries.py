"""What pages show of sources and runs.

An unfinished run stands where its job stands: so a run whose worker was killed is never shown as
running for ever, whoever failed to say so.  Jobs are known here by the name of their table only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    String,
    Text,
    case,
    cast,
    column,
    func,
    select,
    table,
)
from sqlalchemy.orm import aliased

from webapp.db import BigId, DbSession, Json, UtcTime
from webapp.jobs.lifecycle import WAITING
from webapp.jobs.values import JobState
from webapp.paging import Cursor, Page, Scan, fetch_page
from webapp.sources.drift_queries import held_renames
from webapp.sources.models import EtlRun, Record, RejectedRecord, Source
from webapp.sources.values import MAX_NAME, RunStatus

RUNS = 20

_jobs = table("jobs", column("id", BigId), column("state", String), column("finished_at", UtcTime))
_status: ColumnElement[str] = case(
    (EtlRun.status != RunStatus.RUNNING, EtlRun.status),
    (_jobs.c.state == JobState.RUNNING, RunStatus.RUNNING.value),
    (_jobs.c.state.in_(WAITING), RunStatus.WAITING.value),
    (_jobs.c.state == JobState.CANCELED, RunStatus.CANCELED.value),
    else_=RunStatus.FAILED.value,
)
_ended_at = func.coalesce(EtlRun.ended_at, _jobs.c.finished_at, type_=UtcTime())


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One run as it is shown; sizes in bytes, 0 of what is no file; ``pages`` were read so far."""

    id: int
    source: str
    job_id: int | None
    status: RunStatus
    started_at: datetime
    ended_at: datetime | None
    processed: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int
    drift: Mapping[str, int]
    bytes_read: int
    bytes_total: int
    pages: int

    @property
    def share_read(self) -> float:
        """Return how much of the file it has read, in percent."""
        return round(100 * self.bytes_read / self.bytes_total, 1) if self.bytes_total else 0.0

    def duration(self, now: datetime) -> float:
        """Return the seconds from its start to its end, or until ``now``."""
        return ((self.ended_at or now) - self.started_at).total_seconds()

    def rows_per_second(self, now: datetime) -> float | None:
        """Return its speed, pauses included; None where no time has passed."""
        seconds = self.duration(now)
        return round(self.processed / seconds) if seconds > 0 else None


@dataclass(frozen=True, slots=True)
class SourceView:
    """One source, its last run, and how many of its renames wait for a decision."""

    source: Source
    last_run: RunView | None
    held: int = 0


def list_sources(
    session: DbSession, *, text: str = "", skip: int = 0, limit: int | None = None
) -> list[SourceView]:
    """Return the sources whose name holds ``text``, by name, each with its last run."""
    newest = aliased(EtlRun)
    last = select(func.max(newest.id)).where(newest.source_id == Source.id).scalar_subquery()
    found = session.execute(
        select(Source, held_renames(Source.id).label("held"), *_run_columns())
        .outerjoin(EtlRun, EtlRun.id == last)
        .outerjoin(_jobs, _jobs.c.id == EtlRun.job_id)
        .where(_is_named(text))
        .order_by(Source.name)
        .offset(skip)
        .limit(limit)
    )
    return [
        SourceView(row.Source, _view(row) if row.id is not None else None, row.held)
        for row in found
    ]


def rate_limits() -> Select[tuple[str, str, int | None, int | None]]:
    """Return the statement that tells how often each source may be called."""
    return select(Source.name, Source.kind, Source.rate_limit, Source.rate_window)


def count_sources(session: DbSession, *, text: str = "") -> int:
    """Return how many sources have a name that holds ``text``."""
    return session.scalar(select(func.count()).select_from(Source).where(_is_named(text))) or 0


def _is_named(text: str) -> ColumnElement[bool]:
    # One more than a name has: it finds nothing either, and SQLite refuses very long patterns.
    return Source.name.contains(text[: MAX_NAME + 1], autoescape=True)


def runs_of(
    session: DbSession, source: Source, cursor: Cursor, *, size: int = RUNS
) -> Page[RunView]:
    """Return a page of a source's runs, newest first."""
    wanted = select(EtlRun).where(EtlRun.source_id == source.id)
    page = fetch_page(
        session, wanted, Scan(EtlRun.id), cursor, present=lambda run: run.id, size=size
    )
    found = session.execute(_runs().where(EtlRun.id.in_(page.rows)).order_by(EtlRun.id.desc()))
    return page.showing([_view(row) for row in found])


def latest_run(session: DbSession, source: Source) -> RunView | None:
    """Return the newest run of a source."""
    newest = _runs().where(EtlRun.source_id == source.id).order_by(EtlRun.id.desc()).limit(1)
    row = session.execute(newest).one_or_none()
    return _view(row) if row is not None else None


def runs_between(
    session: DbSession, source: Source, since: datetime, until: datetime, limit: int
) -> list[RunView]:
    """Return the newest runs of a source that began in a time."""
    wanted = (
        _runs()
        .where(EtlRun.source_id == source.id, EtlRun.started_at >= since, EtlRun.started_at < until)
        .order_by(EtlRun.id.desc())
        .limit(limit)
    )
    return [_view(row) for row in session.execute(wanted)]


def recent_runs(session: DbSession, limit: int) -> list[RunView]:
    """Return the newest runs of all sources."""
    found = session.execute(_runs().order_by(EtlRun.id.desc()).limit(limit))
    return [_view(row) for row in found]


def recent_runs_and_rate(
    session: DbSession, limit: int, *, since: datetime
) -> tuple[list[RunView], float | None]:
    """Return the newest runs, and the percentage of those begun since then that succeeded.

    One statement.  Only runs that ended by themselves count: canceled ones say nothing about their
    source.  None where there is none yet.
    """
    good = func.sum(case((_status == RunStatus.SUCCEEDED.value, 100.0), else_=0.0))
    rate = (
        select(good / func.nullif(func.count(), 0))
        .select_from(EtlRun)
        .outerjoin(_jobs, _jobs.c.id == EtlRun.job_id)
        .where(
            EtlRun.started_at >= since,
            _status.in_((RunStatus.SUCCEEDED.value, RunStatus.FAILED.value)),
        )
        .correlate(None)
        .scalar_subquery()
    )
    newest = _runs().add_columns(rate.label("rate")).order_by(EtlRun.id.desc()).limit(limit)
    found = session.execute(newest).all()
    return [_view(row) for row in found], found[0].rate if found else None


def records_by_kind(session: DbSession) -> dict[str, int]:
    """Return how many records there are of each kind of source."""
    rows = session.execute(select(Source.kind, func.sum(Source.record_count)).group_by(Source.kind))
    return {kind: int(number) for kind, number in rows}


def first_records(session: DbSession, source: Source, limit: int) -> Sequence[Record]:
    """Return the first records of a source by key."""
    return session.scalars(
        select(Record).where(Record.source_id == source.id).order_by(Record.key).limit(limit)
    ).all()


def records_after(
    session: DbSession, source: Source, key: str | None, limit: int
) -> Sequence[Record]:
    """Return the records of a source by key, those behind one key only."""
    wanted = select(Record).where(Record.source_id == source.id)
    if key is not None:
        wanted = wanted.where(Record.key > key)
    return session.scalars(wanted.order_by(Record.key).limit(limit)).all()


def fields_after(
    session: DbSession, source: Source, key: str | None, *, most: int, most_bytes: int
) -> Sequence[Row[tuple[str, dict[str, str]]]]:
    """Return keys and ``fields`` by key, those behind one key only, as many as both limits let.

    The fields are named as the source's mapping names them.  There is one row at least, however
    large, unless none is left.
    """
    fields = func.coalesce(Record.mapped, Record.raw, type_=Json).label("fields")
    size = func.length(cast(fields, Text)).label("size")
    wanted = select(Record.key, fields, size).where(Record.source_id == source.id)
    if key is not None:
        wanted = wanted.where(Record.key > key)
    page = wanted.order_by(Record.key).limit(most).subquery()
    # What comes before a row decides, and not its own size.
    before = (func.sum(page.c.size).over(order_by=page.c.key) - page.c.size).label("before")
    sized = select(page, before).subquery()
    fits = select(sized.c.key, sized.c.fields).where(sized.c.before < most_bytes)
    return session.execute(fits.order_by(sized.c.key)).all()


@dataclass(frozen=True, slots=True)
class RecordRow:
    """A record as models read it; ``content_hash`` changes with its fields."""

    key: str
    content_hash: str
    fields: Mapping[str, Any]


def rows_after(session: DbSession, source_id: int, key: str, limit: int) -> list[RecordRow]:
    """Return the next records of a source by key; an empty key begins with the first."""
    wanted = select(Record.key, Record.content_hash, Record.raw, Record.mapped).where(
        Record.source_id == source_id, Record.key > key
    )
    rows = session.execute(wanted.order_by(Record.key).limit(limit))
    return [
        RecordRow(row.key, row.content_hash, row.raw if row.mapped is None else row.mapped)
        for row in rows
    ]


def field_names(session: DbSession, source_id: int, *, looked_at: int = 50) -> list[str]:
    """Return the fields of the first records of a source, in the order in which they come."""
    rows = rows_after(session, source_id, "", looked_at)
    return list(dict.fromkeys(name for row in rows for name in row.fields))


def rejected_rows(session: DbSession, run_id: int, limit: int) -> Sequence[RejectedRecord]:
    """Return the first rows that a run rejected."""
    return session.scalars(
        select(RejectedRecord)
        .where(RejectedRecord.run_id == run_id)
        .order_by(RejectedRecord.id)
        .limit(limit)
    ).all()


def rejected_page(
    session: DbSession, source: Source, run_id: int | None, cursor: Cursor, *, size: int
) -> Page[RejectedRecord]:
    """Return a page of the rows that a run rejected, the newest run of the source without one."""
    newest = select(func.max(EtlRun.id)).where(EtlRun.source_id == source.id).scalar_subquery()
    wanted = select(RejectedRecord).where(
        RejectedRecord.run_id == (newest if run_id is None else run_id)
    )
    return fetch_page(
        session, wanted, Scan(RejectedRecord.id), cursor, present=lambda row: row, size=size
    )


def is_run_of(session: DbSession, source: Source, run_id: int) -> bool:
    """Tell whether a run is one of this source."""
    wanted = select(EtlRun.id).where(EtlRun.id == run_id, EtlRun.source_id == source.id)
    return session.scalar(wanted) is not None


def _run_columns() -> tuple[ColumnElement[Any], ...]:
    plain = (
        EtlRun.id,
        EtlRun.job_id,
        EtlRun.started_at,
        EtlRun.processed,
        EtlRun.inserted,
        EtlRun.updated,
        EtlRun.unchanged,
        EtlRun.rejected,
        EtlRun.drift,
        EtlRun.checkpoint,
    )
    return (
        *(item.expression for item in plain),
        Source.name.label("source"),
        _status.label("status"),
        _ended_at.label("ended_at"),
    )


def _runs() -> Select[Any]:
    return (
        select(*_run_columns())
        .select_from(EtlRun)
        .join(Source, Source.id == EtlRun.source_id)
        .outerjoin(_jobs, _jobs.c.id == EtlRun.job_id)
    )


def _view(row: Row[Any]) -> RunView:
    facts = dict(row._mapping)  # noqa: SLF001 - the public way to a row as a mapping
    place = facts.pop("checkpoint")
    for name in ("Source", "held", "rate"):
        facts.pop(name, None)
    facts["status"] = RunStatus(facts["status"])
    sizes = {"bytes_read": place["offset"], "bytes_total": place["size"]}
    if not place["size"]:
        sizes["bytes_read"] = 0  # of an API the offset counts items
    return RunView(**facts, **sizes, pages=place.get("page", 0))
