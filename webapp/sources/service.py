"""Adding sources, and writing what a run reads: one batch, one transaction.

Never reads a file.  A batch locks its source first, so two runs of one source take turns and
their counts stay exact; on SQLite the write lock does the same.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import Table, delete, func, insert, literal, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession, Json, gather_for_commit
from webapp.errors import Invalid, NotFound
from webapp.limits.policy import check_rule
from webapp.reasons import complaint_about_reason
from webapp.sources.counting import End, Read, count_ends, count_read
from webapp.sources.locations import check_location
from webapp.sources.mapping import KEY_LENGTH, MappedRow, Standing, check_columns, compare, map_row
from webapp.sources.models import EtlRun, Record, RejectedRecord, Source
from webapp.sources.values import MAX_NAME, Batch, Checkpoint, Rejection, RunStatus, SourceKind

NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_NAME - 1}}}\Z")
# The page that adds one has this place in the URL.
RESERVED_NAMES = frozenset({"new"})
MAX_REJECTED_SHARE = 0.1
_UPSERTS: Mapping[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}
_UNNESTS = {"sqlite": func.json_each, "postgresql": func.json_array_elements_text}


def create_source(
    session: DbSession, name: str, *, location: str, key_field: str, by: Actor, now: datetime
) -> Source:
    """Add a CSV source; :class:`Invalid` names the field that breaks a rule."""
    if not NAME.match(name) or name in RESERVED_NAMES:
        raise Invalid.field(
            "name",
            f"Use 1 to {MAX_NAME} small letters, digits, dots, dashes and underscores, "
            "but not just 'new'.",
        )
    if not 0 < len(key_field) <= KEY_LENGTH:
        raise Invalid.field("key_field", "Name the column whose value tells the rows apart.")
    source = Source(
        name=name,
        kind=SourceKind.CSV,
        location=check_location(location),
        key_field=key_field,
        record_count=0,
        created_at=now,
    )
    try:
        # The unique name settles the race between two who add the same source.
        with session.begin_nested():
            session.add(source)
    except IntegrityError:
        raise Invalid.field("name", f"There is a source {name!r} already.") from None
    record(
        session,
        by=by,
        at=now,
        action="source.created",
        subject="source",
        name=name,
        changes={"location": Change(None, location), "key_field": Change(None, key_field)},
    )
    return source


def set_rate_limit(  # noqa: PLR0913 - all but the first two are named at the call
    session: DbSession,
    name: str,
    *,
    calls: int | None,
    seconds: int | None,
    by: Actor,
    now: datetime,
    reason: str,
) -> Source:
    """Say how often a source may be called; every process follows within two seconds.

    Neither number means the default of its kind, 0 calls no limit; the same again changes nothing.
    """
    errors: dict[str, Sequence[str]] = {}
    try:
        calls, seconds = check_rule(calls, seconds)
    except Invalid as error:
        errors |= error.errors
    if complaint := complaint_about_reason(reason):
        errors["reason"] = [complaint]
    if errors:
        field, messages = next(iter(errors.items()))
        raise Invalid(f"{field}: {messages[0]}", errors)
    # Locked, so that the audit has what was there before, whoever writes at the same time.
    wanted = select(Source).where(Source.name == name).with_for_update()
    source = session.scalar(wanted.execution_options(populate_existing=True))
    if source is None:
        raise NotFound(f"There is no source {name!r}.")
    before = (source.rate_limit, source.rate_window)
    if before == (calls, seconds):
        return source
    source.rate_limit, source.rate_window = calls, seconds
    session.flush()
    names = ("rate_limit", "rate_window")
    record(
        session,
        by=by,
        at=now,
        action="source.limited",
        subject="source",
        name=name,
        reason=reason,
        changes={
            field: Change(old, new)
            for field, old, new in zip(names, before, (calls, seconds), strict=True)
            if old != new
        },
    )
    return source


def find_source(session: DbSession, name: str) -> Source:
    """Return one source; :class:`NotFound` where there is none of that name."""
    source = session.scalar(select(Source).where(Source.name == name))
    if source is None:
        raise NotFound(f"There is no source {name!r}.")
    return source


def source_names(session: DbSession) -> list[str]:
    """Return the names of all sources."""
    return list(session.scalars(select(Source.name).order_by(Source.name)))


def register_run(session: DbSession, source: Source, *, job_id: int, now: datetime) -> None:
    """Make the job's run, if it has none, before its file is opened.

    So a file that cannot be opened shows as a failed run of its source, and not as none.
    """
    if session.scalar(select(EtlRun.id).where(EtlRun.job_id == job_id)) is None:
        begin_run(session, source, job_id=job_id, at=Checkpoint.unopened(), now=now)


def begin_run(
    session: DbSession, source: Source, *, job_id: int, at: Checkpoint, now: datetime
) -> EtlRun:
    """Return the job's run, ready to go on at ``at``: a new one, or the one that it began before.

    A run that starts over, since its file has changed, counts from nothing again; what it wrote
    before stands, and counts as unchanged where the file still has it.
    """
    run = session.scalar(select(EtlRun).where(EtlRun.job_id == job_id))
    if run is None:
        run = EtlRun(source_id=source.id, job_id=job_id, started_at=now)
        _start_over(run)
        session.add(run)
    elif at.offset == 0:
        session.execute(delete(RejectedRecord).where(RejectedRecord.run_id == run.id))
        _start_over(run)
    run.status = RunStatus.RUNNING
    run.ended_at = None
    run.checkpoint = at.to_json()
    session.flush()
    return run


def _start_over(run: EtlRun) -> None:
    run.processed = run.inserted = run.updated = run.unchanged = run.rejected = 0


def ingest_batch(session: DbSession, run_id: int, batch: Batch, *, now: datetime) -> EtlRun:
    """Write one batch: its records, its rejected rows, the run's counts and place.

    :class:`Invalid` where the source has lost its key column.
    """
    _plan_afresh(session)
    run = session.get_one(EtlRun, run_id, populate_existing=True)
    source = session.get_one(Source, run.source_id, with_for_update=True, populate_existing=True)
    check_columns(batch.columns, source.key_field)
    mapped = [map_row(row, source.key_field) for row in batch.rows]
    rows = [item for item in mapped if isinstance(item, MappedRow)]
    rejected = [*batch.rejected, *(item for item in mapped if isinstance(item, Rejection))]
    comparison = compare(rows, _standing(session, source.id, [row.key for row in rows]))
    _write(session, run, comparison.write, now=now)
    _touch(session, run, comparison.touch, now=now)
    _reject(session, run, rejected)
    source.record_count += comparison.inserted
    run.processed += len(rows) + len(rejected)
    run.inserted += comparison.inserted
    run.updated += comparison.updated
    run.unchanged += comparison.unchanged
    run.rejected += len(rejected)
    run.checkpoint = batch.end.to_json()
    session.flush()
    read = Read(source.kind, len(rows) + len(rejected), comparison.inserted, len(rejected))
    gather_for_commit(session, count_read, read)
    return run


def _plan_afresh(session: DbSession) -> None:
    """Keep PostgreSQL from reusing the plans that it made while the tables were still empty.

    They read the whole table for each batch: measured, a second run took ten times as long.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))


def _standing(session: DbSession, source_id: int, keys: Sequence[str]) -> dict[str, Standing]:
    """Return which of these records stand, by key.

    One look into the unique index for each key, whatever the planner knows of the table: it is
    asked while the table grows, when its statistics are always old.
    """
    unnest = _UNNESTS[session.get_bind().dialect.name]
    given = unnest(literal(list(keys), Json)).table_valued("value", name="given")
    here = (Record.source_id == source_id) & (Record.key == given.c.value)
    found = session.execute(
        select(
            given.c.value,
            select(Record.id).where(here).scalar_subquery(),
            select(Record.content_hash).where(here).scalar_subquery(),
        )
    )
    return {key: Standing(id_, hash_) for key, id_, hash_ in found if id_ is not None}


def _write(session: DbSession, run: EtlRun, rows: Sequence[MappedRow], *, now: datetime) -> None:
    """Insert or replace records; the first sight of a key is kept."""
    if not rows:
        return
    upsert = _UPSERTS[session.get_bind().dialect.name](cast("Table", Record.__table__))
    changed = ("content_hash", "raw", "last_seen_at", "run_id")
    session.execute(
        upsert.on_conflict_do_update(
            index_elements=["source_id", "key"],
            set_={name: upsert.excluded[name] for name in changed},
        ),
        [
            {
                "source_id": run.source_id,
                "key": row.key,
                "content_hash": row.content_hash,
                "raw": dict(row.raw),
                "first_seen_at": now,
                "last_seen_at": now,
                "run_id": run.id,
            }
            for row in rows
        ],
    )


def _touch(session: DbSession, run: EtlRun, ids: Sequence[int], *, now: datetime) -> None:
    """Note that these records were seen again, unchanged.

    One statement that sends no content.  Without it nobody could tell a record that is still there
    from one that the source has dropped.
    """
    if ids:
        session.execute(
            update(Record)
            .where(Record.id.in_(ids))
            .values(last_seen_at=now, run_id=run.id)
            .execution_options(synchronize_session=False)
        )


def _reject(session: DbSession, run: EtlRun, rejected: Sequence[Rejection]) -> None:
    if rejected:
        session.execute(
            insert(RejectedRecord),
            [
                {"run_id": run.id, "line": item.line, "error": item.error, "text": item.text}
                for item in sorted(rejected, key=lambda item: item.line)
            ],
        )


def finish_run(session: DbSession, run_id: int, *, now: datetime) -> EtlRun:
    """Settle a run that has read its source to the end.

    It failed where more rows were rejected than may be: such a file is hardly what was meant.
    """
    run = session.get_one(EtlRun, run_id, populate_existing=True)
    failed = run.rejected > run.processed * MAX_REJECTED_SHARE
    run.status = RunStatus.FAILED if failed else RunStatus.SUCCEEDED
    run.ended_at = now
    session.flush()
    _count_end(session, run, now)
    return run


def cancel_run(session: DbSession, run_id: int, *, now: datetime) -> None:
    """Settle a run that was asked to stop."""
    run = session.get_one(EtlRun, run_id, populate_existing=True)
    run.status = RunStatus.CANCELED
    run.ended_at = now
    session.flush()
    _count_end(session, run, now)


def _count_end(session: DbSession, run: EtlRun, now: datetime) -> None:
    kind = session.get_one(Source, run.source_id).kind
    ended = End(kind, run.status, (now - run.started_at).total_seconds())
    gather_for_commit(session, count_ends, ended)
