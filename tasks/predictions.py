"""The jobs of models: ``model_retraining`` learns from a source, ``batch_prediction`` predicts it.

scikit-learn is loaded when one of them runs: a worker that does neither never pays for it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from flask import current_app
from pydantic import Field

from webapp.actors import Actor
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.errors import Invalid
from webapp.flags.decorators import is_enabled
from webapp.jobs.registry import JobArguments, job
from webapp.jobs.service import find_job, save_checkpoint
from webapp.jobs.values import JobCancelled, JobContext, RetryPolicy
from webapp.predictions.champions import ref_of, standing_champion
from webapp.predictions.features import Lacking, cells_of
from webapp.predictions.models import ModelVersion, PredictionRun
from webapp.predictions.runs import begin_run, finish_run, predicted_hashes, write_batch
from webapp.predictions.sampling import Row, Sample
from webapp.predictions.service import check_draft, find_model_of, find_version
from webapp.predictions.values import (
    DEFAULT_SHARE,
    FLAG,
    MAX_FIELDS,
    MAX_NAME,
    MAX_SEED,
    MAX_SHARE,
    MAX_TARGET,
    MIN_SHARE,
    PREDICTION,
    TRAINING,
    Algorithm,
    NewPrediction,
    PredictionBatch,
    Task,
    Trained,
    TrainingDraft,
)
from webapp.predictions.versions import register_version, version_of_job
from webapp.settings import Settings
from webapp.sources.models import Source
from webapp.sources.queries import RecordRow, rows_after
from webapp.sources.service import find_source

if TYPE_CHECKING:
    from webapp.predictions.training import Model

ONE_HOUR = 3600.0
READ_AT_ONCE = 1000
#: What a model is trained on is held in memory: so many rows at most, and so many values.
MAX_ROWS = 50_000
MAX_VALUES = 2_000_000


class TrainingArguments(JobArguments):
    """What is learnt from what, and how."""

    source: str = Field(min_length=1, max_length=MAX_NAME, description="Name of the source")
    target: str = Field(
        min_length=1, max_length=MAX_TARGET, description="The field that is to be predicted"
    )
    algorithm: Algorithm | None = Field(
        default=None,
        description="Logistic or linear, as the target suggests, where nothing is said",
    )
    task: Task | None = Field(
        default=None, description="As the champion or else the target says, where nothing is said"
    )
    fields: tuple[str, ...] = Field(
        default=(), max_length=MAX_FIELDS, description="What it looks at; all that can be used"
    )
    held_out_share: float = Field(
        default=DEFAULT_SHARE,
        ge=MIN_SHARE,
        le=MAX_SHARE,
        description="Share of the records that it does not learn from, and is scored by",
    )
    seed: int = Field(default=0, ge=0, le=MAX_SEED, description="Of what is random in learning")

    def draft(self) -> TrainingDraft:
        """Return what is asked for."""
        return TrainingDraft(
            source=self.source,
            target=self.target,
            algorithm=self.algorithm or "",
            task=self.task or "",
            fields=self.fields,
            held_out_share=self.held_out_share,
            seed=self.seed,
        )


class PredictionArguments(JobArguments):
    """Whose records are predicted."""

    source: str = Field(min_length=1, max_length=MAX_NAME, description="Name of the source")
    target: str = Field(
        default="",
        max_length=MAX_TARGET,
        description="Which of its models; not needed where it has one",
    )
    batch_size: int = Field(default=500, ge=1, le=5000, description="Records in one transaction")


@job(
    TRAINING,
    TrainingArguments,
    policy=RetryPolicy(max_retries=2, initial_delay=300, backoff_factor=2.0),
    timeout=ONE_HOUR,
)
def retrain(context: JobContext, arguments: TrainingArguments) -> dict[str, Any]:
    """Train a model on the records of a source, and register the version."""
    draft, job_id = arguments.draft(), context.claim.job_id
    with reading() as session:
        if (standing := version_of_job(session, job_id)) is not None:
            return _told(standing)
        check_draft(session, draft)
        source = find_source(session, draft.source)
        champion = standing_champion(session, draft.source, draft.target)
        by = Actor("system", find_job(session, job_id).created_by, context.claim.request_id)
    sample = _sample(context, source)
    trained: Trained = _training().train(
        list(sample.rows()),
        draft,
        key_field=source.key_field,
        champion=champion,
        folder=_settings().models_dir,
        go_on=lambda message: _go_on(context, sample.offered, message),
    )
    with transaction() as session:
        # Keeps out a worker that lost the job while it learnt.
        save_checkpoint(session, context.claim, {"file": trained.file_hash})
        version = register_version(session, trained, job_id=job_id, by=by, now=now())
    context.log("model_trained", version=version.number, state=version.state, **version.metrics)
    return _told(version)


def _sample(context: JobContext, source: Source) -> Sample:
    """Read all records in batches; keep as many as memory is for."""
    sample = Sample(MAX_ROWS)
    names: set[str] = set()
    for rows in _batches(source, "", READ_AT_ONCE):
        for row in rows:
            cells = cells_of(row.fields)
            names |= cells.keys()
            sample.offer(Row(row.key, row.content_hash, cells))
        sample.shrink(MAX_VALUES // max(1, len(names)))
        _go_on(context, sample.offered, "reading", source.record_count)
    return sample


def _go_on(context: JobContext, done: int, message: str, total: int | None = None) -> None:
    if context.cancelled():
        raise JobCancelled
    context.progress(done, max(done, total) if total else None, message)


def _batches(source: Source, after: str, size: int) -> Iterator[list[RecordRow]]:
    """Yield the records of a source by key; no transaction is open while one is worked on."""
    while True:
        with reading() as session:
            rows = rows_after(session, source.id, after, size)
        if rows:
            yield rows
            after = rows[-1].key
        if len(rows) < size:
            return


def _told(version: ModelVersion) -> dict[str, Any]:
    return {
        "version": version.id,
        "number": version.number,
        "state": version.state,
        "metrics": version.metrics,
        "comparison": version.comparison,
        "rows_trained": version.rows_trained,
        "rows_held_out": version.rows_held_out,
    }


@job(
    PREDICTION,
    PredictionArguments,
    policy=RetryPolicy(max_retries=2, initial_delay=60, backoff_factor=2.0),
    timeout=ONE_HOUR,
)
def predict(context: JobContext, arguments: PredictionArguments) -> dict[str, Any]:
    """Predict the records of a source with the champion, or with the challenger by flag."""
    with transaction() as session:
        source = find_source(session, arguments.source)
        model = find_model_of(session, arguments.source, arguments.target)
        run = begin_run(session, model, job_id=context.claim.job_id, now=now())
        save_checkpoint(session, context.claim, context.claim.checkpoint or {"after": ""})
    place = (context.claim.checkpoint or {"after": ""})["after"]
    champion, challenger = _load(run)
    for rows in _batches(source, place, arguments.batch_size):
        if context.cancelled():
            raise JobCancelled
        batch = _predict(champion, challenger, rows)
        with transaction() as session:
            run = write_batch(session, run.id, batch, now=now())
            # In the same transaction, so that no crash can part the place from what was written.
            save_checkpoint(session, context.claim, {"after": batch.last_key})
        context.progress(run.processed, max(run.processed, source.record_count))
    return _finish(run)


def _load(run: PredictionRun) -> tuple["Model", "Model | None"]:
    """Load the versions with which the run began; they are checked before they are read."""
    with reading() as session:
        champion = ref_of(find_version(session, run.champion_id))
        challenger = ref_of(find_version(session, run.challenger_id)) if run.challenger_id else None
    load, folder = _training().Model.load, _settings().models_dir
    return load(folder, champion), load(folder, challenger) if challenger else None


def _predict(
    champion: "Model", challenger: "Model | None", rows: Sequence[RecordRow]
) -> PredictionBatch:
    """Ask each record's model, unless it has answered for this content before."""
    chosen = [
        (row, challenger if challenger and is_enabled(FLAG, row.key) else champion) for row in rows
    ]
    versions = [model.version.id for model in (champion, challenger) if model]
    with reading() as session:
        known = predicted_hashes(session, versions, [row.key for row in rows])
    rejected: Counter[str] = Counter()
    unchanged = challenged = 0
    asked: dict[int, list[tuple[RecordRow, list[float | str]]]] = {at: [] for at in versions}
    for row, model in chosen:
        version_id = model.version.id
        try:
            values = model.read(row.fields)
        except Lacking as lacking:
            rejected[str(lacking)] += 1
            continue
        challenged += model is challenger
        if known.get((version_id, row.key)) == row.content_hash:
            unchanged += 1
        else:
            asked[version_id].append((row, values))
    answered = [
        _answers(model, asked[model.version.id]) for model in (champion, challenger) if model
    ]
    return PredictionBatch(
        predictions=[item for items in answered for item in items],
        unchanged=unchanged,
        challenged=challenged,
        rejected=rejected,
        last_key=rows[-1].key,
    )


def _answers(
    model: "Model", asked: Sequence[tuple[RecordRow, list[float | str]]]
) -> list[NewPrediction]:
    answers = model.answer([values for _, values in asked])
    return [
        NewPrediction(
            version_id=model.version.id,
            key=row.key,
            content_hash=row.content_hash,
            answer=answer,
        )
        for (row, _), answer in zip(asked, answers, strict=True)
    ]


def _finish(run: PredictionRun) -> dict[str, Any]:
    """Settle the run; one that could read no record at all has failed."""
    if run.processed and run.rejected == run.processed:
        reason = next(iter(run.rejections))
        raise Invalid(f"None of {run.processed:,} records could be predicted. {reason}")
    with transaction() as session:
        run = finish_run(session, run.id, now=now())
    rejections: Mapping[str, int] = run.rejections
    return {
        "run": run.id,
        "processed": run.processed,
        "written": run.written,
        "unchanged": run.unchanged,
        "by_challenger": run.challenged,
        "rejected": run.rejected,
        "rejections": dict(rejections),
    }


# Those of requirements-ml.txt that are imported.
_PACKAGES = {"numpy", "sklearn", "skops", "threadpoolctl"}


def _training() -> Any:
    """Load what knows scikit-learn; only who trains or predicts does."""
    try:
        return import_module("webapp.predictions.training")
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in {
            "numpy",
            "sklearn",
            "skops",
            "threadpoolctl",
        }:
            raise
        # No later attempt would find it either.
        raise Invalid(
            f"{error.name} is not installed, which models need: pip install --require-hashes"
            " --no-deps -r requirements-ml.txt, and start the worker anew."
        ) from error


def _settings() -> Settings:
    settings: Settings = current_app.extensions["settings"]
    return settings
