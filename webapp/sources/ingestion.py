"""Writing what a run reads: one batch, one transaction.

Never reads a source.  A batch locks its source first, so two runs of one source take turns and
their counts stay exact; on SQLite the write lock does the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import cast

import orjson
from sqlalchemy import (
    Table,
    TableValuedAlias,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)

from webapp.db import DbSession, Json, UtcTime, gather_for_commit
from webapp.errors import NotFound
from webapp.sources.counting import End, Read, count_ends, count_read
from webapp.sources.drift import RENAME_CONFIDENCE, DriftState
from webapp.sources.mapping import MappedRow, check_columns, compare, map_row
from webapp.sources.models import EtlRun, Record, RejectedRecord, SchemaDrift, Source
from webapp.sources.observation import conclude, observe
from webapp.sources.values import (
    Batch,
    Checkpoint,
    Rejection,
    RunStatus,
    Validators,
)

MAX_REJECTED_SHARE = 0.1
_REPLACE = """
    ON CONFLICT (source_id, key) DO UPDATE SET content_hash = excluded.content_hash,
    raw = excluded.raw, mapped = excluded.mapped, last_seen_at = excluded.last_seen_at,
    run_id = excluded.run_id
"""
_INSERT = """
    INSERT INTO records
    (source_id, key, content_hash, raw, mapped, first_seen_at, last_seen_at, run_id)
"""
_UPSERT_ROWS = _INSERT + "VALUES (?, ?, ?, ?, ?, ?, ?, ?)" + _REPLACE
_ARRAYS = """
    SELECT :source, key, hash, CAST(raw AS JSON), CAST(mapped AS JSON), :now, :now, :run
    FROM unnest(
        CAST(:keys AS TEXT[]), CAST(:hashes AS TEXT[]), CAST(:raws AS TEXT[]),
        CAST(:mapped AS TEXT[])
    ) AS given (key, hash, raw, mapped)
"""
_UPSERT_ARRAYS = text(_INSERT + _ARRAYS + _REPLACE)
# Past the ORM, which would look at each row of each batch.
_records = cast("Table", Record.__table__)
_UNNESTS = {"sqlite": func.json_each, "postgresql": func.json_array_elements_text}


def register_run(session: DbSession, source: Source, *, job_id: int, now: datetime) -> None:
    """Make the job's run, if it has none, before its source is opened.

    So one that cannot be opened shows as a failed run of its source, and not as none.
    """
    if session.scalar(select(EtlRun.id).where(EtlRun.job_id == job_id)) is None:
        begin_run(session, source, job_id=job_id, at=Checkpoint(), now=now)


def begin_run(
    session: DbSession, source: Source, *, job_id: int, at: Checkpoint, now: datetime
) -> EtlRun:
    """Return the job's run, ready to go on at ``at``: a new one, or the one that it began before.

    A run that starts over, since its file has changed, counts from nothing again; what it wrote
    before stands, and counts as unchanged where the file still has it.
    """
    run = session.scalar(select(EtlRun).where(EtlRun.job_id == job_id))
    if run is None:
        run = EtlRun(source_id=source.id, job_id=job_id, started_at=now, drift={})
        _start_over(run)
        session.add(run)
    elif at.at_start:
        session.execute(delete(RejectedRecord).where(RejectedRecord.run_id == run.id))
        _start_over(run)
    run.status = RunStatus.RUNNING
    run.ended_at = None
    run.checkpoint = at.to_json()
    session.flush()
    return run


def _start_over(run: EtlRun) -> None:
    run.profile = None
    run.processed = run.inserted = run.updated = run.unchanged = run.rejected = 0


def ingest_batch(
    session: DbSession,
    run_id: int,
    batch: Batch,
    *,
    now: datetime,
    sure: float = RENAME_CONFIDENCE,
) -> EtlRun:
    """Write one batch: its records, its rejected rows, the run's counts and place.

    The first one shows whether the source's fields have changed; a field that has another name now
    is found under it where that is at least so ``sure``.  :class:`KeyFieldMissing` where the source
    has lost its key column, :class:`SourceChanged` where it is another one by now,
    :class:`NotFound` where it is gone.
    """
    _plan_afresh(session)
    run, source = _reading(session, run_id)
    if source.version != batch.end.definition:
        raise SourceChanged(f"{source.name} was changed while it was read")
    observe(session, source, run, batch, sure=sure, now=now)
    if batch.columns and not run.processed:
        # Later on a row without it is a row among others.
        check_columns(batch.columns, source.key_field, source.renames)
    # Read once: whatever is asked of each row is asked a million times.
    terms = source.key_field, source.mapping, source.renames
    mapped = [map_row(row, *terms) for row in batch.rows]
    rows = [item for item in mapped if isinstance(item, MappedRow)]
    rejected = [*batch.rejected, *(item for item in mapped if isinstance(item, Rejection))]
    comparison = compare(rows, _standing(session, source.id, [row.key for row in rows]))
    _touch(session, run, comparison.touch, now=now)
    _write(session, run, comparison.write, now=now)
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


def note_fields(
    session: DbSession,
    run_id: int,
    batch: Batch,
    *,
    now: datetime,
    sure: float = RENAME_CONFIDENCE,
) -> bool:
    """Note how the fields have changed of a source that cannot be read any more.

    Returns whether somebody is asked for the name that its key has now.
    """
    run, source = _reading(session, run_id)
    observe(session, source, run, batch, sure=sure, now=now)
    session.flush()
    key = source.renames.get(source.key_field, source.key_field)
    asked = select(SchemaDrift.id).where(
        SchemaDrift.source_id == source.id,
        SchemaDrift.state == DriftState.HELD,
        SchemaDrift.field == key,
    )
    return session.scalar(asked.limit(1)) is not None


class SourceChanged(Exception):
    """What was read was read of a source that is another one by now."""


def _reading(session: DbSession, run_id: int) -> tuple[EtlRun, Source]:
    """Return a run and its source, which is locked: two runs of one source take turns."""
    run = session.get(EtlRun, run_id, populate_existing=True)
    if run is not None:
        source = session.get(Source, run.source_id, with_for_update=True, populate_existing=True)
        if source is not None:
            return run, source
    raise NotFound("The source was removed while it was read.")


def _plan_afresh(session: DbSession) -> None:
    """Keep PostgreSQL from reusing the plans that it made while the tables were still empty.

    They read the whole table for each batch: measured, a second run took ten times as long.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))


def _standing(session: DbSession, source_id: int, keys: Sequence[str]) -> dict[str, str]:
    """Return the content hashes of those of these records that stand, by key.

    One look into the unique index for each key, whatever the planner knows of the table: it is
    asked while the table grows, when its statistics are always old.
    """
    given = _as_table(session, keys)
    records = _records.c
    hash_ = select(records.content_hash).where(
        records.source_id == source_id, records.key == given.c.value
    )
    looked_up = select(given.c.value, hash_.scalar_subquery().label("hash")).cte("looked_up")
    # Materialized, else whatever leaves out new keys would look each of the others up anew.
    looked_up = looked_up.prefix_with("MATERIALIZED")
    found = session.execute(select(looked_up).where(looked_up.c.hash.is_not(None)))
    return dict(found.tuples().all())


def _as_table(session: DbSession, keys: Sequence[str]) -> TableValuedAlias:
    """Return keys as a table of one column, ``value``; one parameter, however many there are."""
    unnest = _UNNESTS[session.get_bind().dialect.name]
    return unnest(literal(list(keys), Json)).table_valued("value", name="given")


def _write(session: DbSession, run: EtlRun, rows: Sequence[MappedRow], *, now: datetime) -> None:
    """Insert or replace records; the first sight of a key is kept.

    Past SQLAlchemy's own handling of each value: with it a batch takes twice as long.
    """
    if not rows:
        return
    keys = [row.key for row in rows]
    hashes = [row.content_hash for row in rows]
    raws = [_json(row.raw) for row in rows]
    mapped = [None if row.mapped is None else _json(row.mapped) for row in rows]
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        # Else the foreign key is planned anew for each row, which takes longer than to insert it.
        connection.execute(text("SET LOCAL plan_cache_mode = auto"))
        columns = {
            "keys": _array(keys),
            "hashes": _array(hashes),
            "raws": _array(raws),
            "mapped": _array(mapped),
        }
        at = {"source": run.source_id, "run": run.id, "now": now}
        connection.execute(_UPSERT_ARRAYS, columns | at)
        return
    stamp = UtcTime().dialect_impl(connection.dialect).bind_processor(connection.dialect)
    moment = now if stamp is None else stamp(now)
    source_id, run_id = run.source_id, run.id
    connection.exec_driver_sql(
        _UPSERT_ROWS,
        [
            (source_id, key, hash_, raw, other, moment, moment, run_id)
            for key, hash_, raw, other in zip(keys, hashes, raws, mapped, strict=True)
        ],
    )


def _json(fields: Mapping[str, str]) -> str:
    return orjson.dumps(fields).decode()


def _array(texts: Sequence[str | None]) -> str:
    """Write an array of texts as PostgreSQL reads it: the driver takes twenty times as long."""
    quoted = (
        "NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for text in texts
    )
    return "{" + ",".join(quoted) + "}"


def _touch(session: DbSession, run: EtlRun, keys: Sequence[str], *, now: datetime) -> None:
    """Note that these records were seen again, unchanged.

    One statement that sends no content.  Without it nobody could tell a record that is still there
    from one that the source has dropped.
    """
    if keys:
        given = _as_table(session, keys)
        session.execute(
            update(Record)
            .where(Record.source_id == run.source_id, Record.key.in_(select(given.c.value)))
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


def finish_run(
    session: DbSession,
    run_id: int,
    *,
    now: datetime,
    max_rejected_share: float = MAX_REJECTED_SHARE,
    sure: float = RENAME_CONFIDENCE,
) -> EtlRun:
    """Settle a run that has read its source to the end.

    It failed where more rows were rejected than may be: such a file is hardly what was meant.  What
    the server told of the version that was read is kept, so that the same is not fetched again.
    """
    run, source = _reading(session, run_id)
    failed = run.rejected > run.processed * max_rejected_share
    run.status = RunStatus.FAILED if failed else RunStatus.SUCCEEDED
    run.ended_at = now
    conclude(session, source, run, sure=sure, now=now)
    place = Checkpoint.from_json(run.checkpoint)
    if not failed and place.definition == source.version and place.validators != Validators():
        source.validators = asdict(place.validators)
    session.flush()
    _count_end(session, run, source.kind, now)
    return run


def cancel_run(session: DbSession, run_id: int, *, now: datetime) -> None:
    """Settle a run that was asked to stop."""
    run, source = _reading(session, run_id)
    run.status = RunStatus.CANCELED
    run.ended_at = now
    session.flush()
    _count_end(session, run, source.kind, now)


def _count_end(session: DbSession, run: EtlRun, kind: str, now: datetime) -> None:
    ended = End(kind, run.status, (now - run.started_at).total_seconds())
    gather_for_commit(session, count_ends, ended)
