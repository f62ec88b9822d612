"""What runs have read, for ``/metrics``; counted once it is committed."""

from collections.abc import Sequence
from dataclasses import dataclass

from webapp.metrics import (
    ETL_FAILED,
    ETL_INSERTED,
    ETL_PROCESSED,
    ETL_RUN_DURATION,
    ETL_RUNS,
    SCHEMA_DRIFT,
    name_label,
)


@dataclass(frozen=True, slots=True)
class Read:
    """What one batch came to, of a source of this kind."""

    kind: str
    processed: int
    inserted: int
    rejected: int


@dataclass(frozen=True, slots=True)
class End:
    """How one run ended, and the seconds from its start."""

    kind: str
    status: str
    seconds: float


def count_read(batches: Sequence[Read]) -> None:
    """Count what has been written."""
    for batch in batches:
        ETL_PROCESSED.labels(batch.kind).inc(batch.processed)
        ETL_INSERTED.labels(batch.kind).inc(batch.inserted)
        ETL_FAILED.labels(batch.kind).inc(batch.rejected)


def count_ends(ends: Sequence[End]) -> None:
    """Count runs that have ended of themselves."""
    for end in ends:
        ETL_RUNS.labels(end.kind, end.status).inc()
        ETL_RUN_DURATION.labels(end.kind).observe(end.seconds)


def count_drift(changes: Sequence[tuple[str, str]]) -> None:
    """Count changes of fields that have been noted: the names of their sources, and their kinds."""
    for source, kind in changes:
        SCHEMA_DRIFT.labels(name_label(source), kind).inc()
