"""The tables of sources: sources, their runs, their records, and the rows that became none."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base, BigId, Json, UtcTime


class Source(Base):
    """Where records come from; ``location`` is as in ``locations``.

    ``version`` rises with each change of what is read and how: a place in an older one means
    nothing.
    """

    __tablename__ = "sources"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    location: Mapped[str] = mapped_column(String(1000))
    key_field: Mapped[str] = mapped_column(String(255))
    # What differs from the defaults of ``values.Options``.
    options: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    # From new names of fields to old ones; empty keeps rows as they are.
    mapping: Mapped[dict[str, str]] = mapped_column(Json, default=dict)
    # From the names that fields had at first to those that they have now.
    renames: Mapped[dict[str, str]] = mapped_column(Json, default=dict)
    # The fields that it had last, as in ``drift``; none before its first run.
    # Read where it is needed: it may be long, and lists of sources do not show it.
    schema: Mapped[list[Any] | None] = mapped_column(Json, deferred=True)
    # What the server told of the version that was last read to its end.
    validators: Mapped[dict[str, str] | None] = mapped_column(Json)
    # How often it may be called; none for the default of its kind, and 0 calls for no limit.
    rate_limit: Mapped[int | None]
    rate_window: Mapped[int | None]
    # Kept by each batch in its own transaction, since counting a million rows is not free.
    record_count: Mapped[int] = mapped_column(BigId, default=0)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class EtlRun(Base):
    """One reading of a source by one job, however many attempts that takes.

    ``status`` is only what the run found of itself: succeeded or failed at its end, else running.
    What is shown is in ``queries``: an unfinished run stands where its job stands.
    """

    __tablename__ = "etl_runs"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("sources.id"))
    job_id: Mapped[int | None] = mapped_column(
        BigId, ForeignKey("jobs.id", ondelete="SET NULL"), unique=True
    )
    started_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    status: Mapped[str] = mapped_column(String(16))
    processed: Mapped[int] = mapped_column(BigId, default=0)
    inserted: Mapped[int] = mapped_column(BigId, default=0)
    updated: Mapped[int] = mapped_column(BigId, default=0)
    unchanged: Mapped[int] = mapped_column(BigId, default=0)
    rejected: Mapped[int] = mapped_column(BigId, default=0)
    checkpoint: Mapped[dict[str, Any]] = mapped_column(Json)
    # How many drifts of each kind it found.
    drift: Mapped[dict[str, int]] = mapped_column(Json, default=dict)
    # What its fields look like so far, as in ``profiles``; none before its first batch and at its
    # end.
    profile: Mapped[dict[str, Any] | None] = mapped_column(Json)

    __table_args__ = (Index("ix_etl_runs_source_id_id", "source_id", "id"),)


class Record(Base):
    """The newest row of one key; ``run_id`` is the run that saw it last.

    That is no foreign key: without an index, which each run would have to rewrite for each record,
    the removal of a run would read all records of all sources.
    """

    __tablename__ = "records"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("sources.id"))
    key: Mapped[str] = mapped_column(String(255))
    content_hash: Mapped[str] = mapped_column(String(32))
    raw: Mapped[dict[str, str]] = mapped_column(Json)
    # The row under the names of the source's mapping, or under those that its fields had at first;
    # none where these are the row's own.
    mapped: Mapped[dict[str, str] | None] = mapped_column(Json)
    first_seen_at: Mapped[datetime] = mapped_column(UtcTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcTime)
    run_id: Mapped[int] = mapped_column(BigId)

    @property
    def fields(self) -> dict[str, str]:
        """Return the row as the source's mapping names its fields, else as it was read."""
        return self.raw if self.mapped is None else self.mapped

    __table_args__ = (Index("uq_records_source_id_key", "source_id", "key", unique=True),)


class RejectedRecord(Base):
    """A row that could not become a record, as it was read."""

    __tablename__ = "rejected_records"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    run_id: Mapped[int] = mapped_column(BigId, ForeignKey("etl_runs.id"), index=True)
    line: Mapped[int] = mapped_column(BigId)
    error: Mapped[str] = mapped_column(String(500))
    text: Mapped[str] = mapped_column(Text)


class SchemaDrift(Base):
    """A change of a source's fields; one row for each, by the run that found it.

    ``state`` is as in ``drift``: of a rename that is held, somebody decides.
    """

    __tablename__ = "schema_drifts"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("sources.id"))
    run_id: Mapped[int | None] = mapped_column(
        BigId, ForeignKey("etl_runs.id", ondelete="SET NULL")
    )
    found_at: Mapped[datetime] = mapped_column(UtcTime)
    kind: Mapped[str] = mapped_column(String(16))
    field: Mapped[str] = mapped_column(Text)
    new_field: Mapped[str | None] = mapped_column(Text)
    from_type: Mapped[str | None] = mapped_column(String(16))
    to_type: Mapped[str | None] = mapped_column(String(16))
    confidence: Mapped[float | None]
    state: Mapped[str] = mapped_column(String(16))
    decided_at: Mapped[datetime | None] = mapped_column(UtcTime)
    decided_by: Mapped[str | None] = mapped_column(String(255))
    reason: Mapped[str | None] = mapped_column(String(500))

    __table_args__ = (
        Index("ix_schema_drifts_source_id_id", "source_id", "id"),
        Index("ix_schema_drifts_run_id", "run_id"),
        # Counted beside the menu, on each page.
        Index(
            "ix_schema_drifts_held",
            "source_id",
            sqlite_where=text("state = 'held'"),
            postgresql_where=text("state = 'held'"),
        ),
    )
