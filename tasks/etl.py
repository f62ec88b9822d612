"""The ``etl`` job: reads one source in batches, from wherever its last committed batch ended."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

from flask import current_app, has_app_context
from pydantic import (
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from webapp.clock import now
from webapp.db import transaction
from webapp.errors import Invalid
from webapp.jobs.registry import JobArguments, job
from webapp.jobs.service import save_checkpoint
from webapp.jobs.values import Deferred, JobCancelled, JobContext, RetryPolicy
from webapp.limits.registry import hand_over
from webapp.limits.values import SOURCE_PREFIX
from webapp.settings import Settings
from webapp.sources.definitions import draft_of
from webapp.sources.fetching import Reader, open_reader
from webapp.sources.ingestion import (
    SourceChanged,
    begin_run,
    cancel_run,
    finish_run,
    ingest_batch,
    note_fields,
    register_run,
)
from webapp.sources.mapping import KeyFieldMissing
from webapp.sources.models import EtlRun, Source
from webapp.sources.rehearsals import MOST_LATENCY_MS, Failure, Rehearsal
from webapp.sources.service import find_source
from webapp.sources.values import Batch, Checkpoint, RunStatus, Validators

ONE_HOUR = 3600.0
REHEARSED = ("fail_at_row", "fail_with", "latency_ms")


class EtlArguments(JobArguments):
    """What a run reads, and how much of it in one transaction; and what it rehearses.

    Rehearsals are refused, and not shown, unless the deployment lets them be.
    """

    source: str = Field(min_length=1, max_length=64, description="Name of the source")
    batch_size: int = Field(default=1000, ge=1, le=5000, description="Rows in one transaction")
    fail_at_row: int | None = Field(
        default=None, ge=1, description="Rehearsal: the row at which each attempt fails"
    )
    fail_with: Failure | None = Field(
        default=None,
        title="Fail with",
        description="Rehearsal: how it fails; by its connection if nothing is said",
    )
    latency_ms: int = Field(
        default=0, ge=0, le=MOST_LATENCY_MS, description="Rehearsal: milliseconds more per batch"
    )

    @field_validator(*REHEARSED)
    @classmethod
    def _only_where_rehearsals_are_on(cls, value: object) -> object:
        if value and not _may_rehearse():
            message = "rehearsals are off: ENABLE_FAILURE_INJECTION turns them on"
            raise ValueError(message)
        return value

    @model_serializer(mode="wrap")
    def _without_what_is_not_rehearsed(
        self, serialize: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        """Keep a job that rehearses nothing as it is anywhere."""
        found: dict[str, Any] = serialize(self)
        return {name: value for name, value in found.items() if value or name not in REHEARSED}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Show rehearsals only where they are on."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        if not _may_rehearse():
            for name in REHEARSED:
                schema["properties"].pop(name, None)
        return schema

    def rehearsal(self) -> Rehearsal | None:
        """Return what goes wrong in this run; a way to fail without a row is at the first."""
        row = self.fail_at_row or (1 if self.fail_with else None)
        if row is None and not self.latency_ms:
            return None
        return Rehearsal(
            fail_at_row=row,
            fail_with=self.fail_with or Failure.CONNECTION,
            latency_ms=self.latency_ms,
        )


def _may_rehearse() -> bool:
    return has_app_context() and _settings().failure_injection


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
    with closing(_reader(source)) as reader:
        saved = context.claim.checkpoint
        place = reader.begin(Checkpoint.from_json(saved) if saved else None)
        unchanged = place is None
        run, place = _begin(context, source, place or Checkpoint(definition=source.version))
        if not unchanged:
            read = _rehearsed(arguments, reader)
            run, place = _read_all(context, read, run, place, arguments.batch_size)
    return _finish(context, run, place) | {"unchanged_since_last_run": unchanged}


#: Reads a batch: from a place, so many rows, with so many read before.
Read = Callable[[Checkpoint, int, int], Batch]


def _rehearsed(arguments: EtlArguments, reader: Reader) -> Read:
    rehearsal = arguments.rehearsal()
    if rehearsal is None:
        return lambda place, size, _done: reader.read(place, size)
    return rehearsal.applied_to(reader, SOURCE_PREFIX + arguments.source)


def _reader(source: Source) -> Reader:
    hand_over(source)
    return open_reader(
        draft_of(source),
        SOURCE_PREFIX + source.name,
        validators=Validators(**(source.validators or {})),
        definition=source.version,
    )


def _begin(context: JobContext, source: Source, place: Checkpoint) -> tuple[EtlRun, Checkpoint]:
    with transaction() as session:
        run = begin_run(session, source, job_id=context.claim.job_id, at=place, now=now())
        save_checkpoint(session, context.claim, place.to_json())
    return run, place


def _read_all(
    context: JobContext, read: Read, run: EtlRun, place: Checkpoint, size: int
) -> tuple[EtlRun, Checkpoint]:
    """Read and write one batch after the other; no transaction is open while one is read."""
    last = place.complete
    while not last:
        batch = read(place, size, run.processed)
        run = _commit(context, run, batch)
        place, last = batch.end, batch.last
        if not last and context.cancelled():
            _cancel(context, run, place)
    return run, place


def _commit(context: JobContext, run: EtlRun, batch: Batch) -> EtlRun:
    """Write the batch and the job's place together, so that no crash can part them."""
    try:
        with transaction() as session:
            run = ingest_batch(session, run.id, batch, now=now(), sure=_settings().drift_confidence)
            save_checkpoint(session, context.claim, batch.end.to_json())
    except SourceChanged as error:
        raise Deferred(str(error), seconds=0) from None
    except KeyFieldMissing as error:
        raise _without_key(context, run, batch, error) from None
    context.progress(run.processed, _expected_rows(run.processed, batch.end))
    return run


def _without_key(context: JobContext, run: EtlRun, batch: Batch, error: KeyFieldMissing) -> Invalid:
    """Return what to say of a source whose key is gone, once it is noted what its fields are now.

    The batch was rolled back, and with it what it had shown.
    """
    with transaction() as session:
        asked = note_fields(session, run.id, batch, now=now(), sure=_settings().drift_confidence)
        save_checkpoint(session, context.claim, run.checkpoint)
    if not asked:
        return error
    return Invalid(f"{error.detail} The source's page asks whether it goes by another name now.")


def _settings() -> Settings:
    settings: Settings = current_app.extensions["settings"]
    return settings


def _expected_rows(processed: int, place: Checkpoint) -> int | None:
    """Guess how many rows a file has from the bytes that those so far took; exact at its end.

    None where nobody can tell.
    """
    if not place.size or not place.offset:
        return None
    return round(processed * place.size / place.offset)


def _cancel(context: JobContext, run: EtlRun, place: Checkpoint) -> None:
    with transaction() as session:
        save_checkpoint(session, context.claim, place.to_json())
        cancel_run(session, run.id, now=now())
    raise JobCancelled


def _finish(context: JobContext, run: EtlRun, place: Checkpoint) -> dict[str, Any]:
    """Settle the run; saving the place once more keeps out a worker that lost the job."""
    settings = _settings()
    share, sure = settings.max_rejected_percent / 100, settings.drift_confidence
    with transaction() as session:
        run = finish_run(session, run.id, now=now(), max_rejected_share=share, sure=sure)
        failed = run.status == RunStatus.FAILED
        # Who tries it again by hand wants it to be read again.
        save_checkpoint(session, context.claim, (Checkpoint() if failed else place).to_json())
    if failed:
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
        "drift": run.drift,
    }
