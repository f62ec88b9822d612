"""The ``etl`` job: reads one source in batches, from wherever its last committed batch ended."""

from typing import Any

from pydantic import Field

from webapp.clock import now
from webapp.db import transaction
from webapp.errors import Invalid
from webapp.guards import Guard, guard
from webapp.jobs.registry import JobArguments, job
from webapp.jobs.service import save_checkpoint
from webapp.jobs.values import Deferred, JobCancelled, JobContext, RetryPolicy
from webapp.limits.registry import hand_over
from webapp.limits.values import SOURCE_PREFIX
from webapp.retries.values import RetryConfig
from webapp.sources.locations import find_file
from webapp.sources.models import EtlRun, Source
from webapp.sources.readers import read_batch, start_of
from webapp.sources.service import (
    begin_run,
    cancel_run,
    find_source,
    finish_run,
    ingest_batch,
    register_run,
)
from webapp.sources.values import Batch, Checkpoint, RunStatus

ONE_HOUR = 3600.0
# A short hiccup of a file system is waited for here; a longer one is the job's next attempt.
READ_RETRY = RetryConfig(max_attempts=3, initial_delay=0.5, max_delay=5.0)
# Whoever writes a file is given this long before the file is read from its start again.
CHANGED_PAUSE = 10.0


class EtlArguments(JobArguments):
    """What a run reads, and how much of it in one transaction."""

    source: str = Field(min_length=1, max_length=64, description="Name of the source")
    batch_size: int = Field(default=1000, ge=1, le=5000, description="Rows in one transaction")


@job(
    "etl",
    EtlArguments,
    policy=RetryPolicy(max_retries=3, initial_delay=300, backoff_factor=2.0),
    timeout=ONE_HOUR,
)
def ingest(context: JobContext, arguments: EtlArguments) -> dict[str, Any]:
    """Ingest one source: read it in batches and keep each row as a record by its key."""
    with transaction() as session:
        source = find_source(session, arguments.source)
        register_run(session, source, job_id=context.claim.job_id, now=now())
    place = _start(source).resumed(context.claim.checkpoint)
    with transaction() as session:
        run = begin_run(session, source, job_id=context.claim.job_id, at=place, now=now())
        save_checkpoint(session, context.claim, place.to_json())
    last = False
    while not last:
        batch = _read(source, place, arguments.batch_size)
        run = _commit(context, run, batch)
        place, last = batch.end, batch.last
        if not last and context.cancelled():
            _cancel(context, run, place)
    return _finish(context, run, place)


def _start(source: Source) -> Checkpoint:
    return _guard(source).call(lambda: start_of(find_file(source.location)))


def _read(source: Source, place: Checkpoint, size: int) -> Batch:
    """Read one batch; no transaction is open meanwhile."""
    batch = _guard(source).call(lambda: read_batch(find_file(source.location), place, size))
    if not batch.end.same_version(place):
        raise Deferred(
            f"The file of {source.name} changed while it was read", seconds=CHANGED_PAUSE
        )
    return batch


def _guard(source: Source) -> Guard:
    """Each batch is read by a call of its own, so one that fails is read again as a whole."""
    hand_over(source)
    return guard(SOURCE_PREFIX + source.name, retry=READ_RETRY)


def _commit(context: JobContext, run: EtlRun, batch: Batch) -> EtlRun:
    """Write the batch and the job's place together, so that no crash can part them."""
    with transaction() as session:
        run = ingest_batch(session, run.id, batch, now=now())
        save_checkpoint(session, context.claim, batch.end.to_json())
    context.progress(run.processed, _expected_rows(run.processed, batch.end))
    return run


def _expected_rows(processed: int, place: Checkpoint) -> int:
    """Guess how many rows the file has from the bytes that those so far took; exact at its end."""
    return round(processed * place.size / place.offset)


def _cancel(context: JobContext, run: EtlRun, place: Checkpoint) -> None:
    with transaction() as session:
        save_checkpoint(session, context.claim, place.to_json())
        cancel_run(session, run.id, now=now())
    raise JobCancelled


def _finish(context: JobContext, run: EtlRun, place: Checkpoint) -> dict[str, Any]:
    """Settle the run; saving the place once more keeps out a worker that lost the job."""
    with transaction() as session:
        save_checkpoint(session, context.claim, place.to_json())
        run = finish_run(session, run.id, now=now())
    if run.status == RunStatus.FAILED:
        raise Invalid(
            f"{run.rejected:,} of {run.processed:,} rows were rejected, which is too many; "
            "the source's page shows the first of them."
        )
    return {
        "processed": run.processed,
        "inserted": run.inserted,
        "updated": run.updated,
        "unchanged": run.unchanged,
        "rejected": run.rejected,
    }
