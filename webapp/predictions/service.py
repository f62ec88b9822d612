"""Writes models: what is asked for, what was trained, which version is the champion, what it said.

Never trains, predicts or reads a file: the jobs do.  Each write of a model's versions locks the
model first, so that two that would decide at once take turns.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import Table, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Conflict, Invalid, NotFound
from webapp.jobs.service import enqueue
from webapp.predictions.lifecycle import may, target_of
from webapp.predictions.models import Model, ModelVersion, Prediction, PredictionRun, sources
from webapp.predictions.values import (
    MAX_FIELDS,
    MAX_SEED,
    MAX_SHARE,
    MAX_TARGET,
    MIN_SHARE,
    PREDICTION,
    TASKS,
    TRAINING,
    Algorithm,
    Feature,
    NewPrediction,
    PredictionBatch,
    Task,
    Trained,
    TrainingDraft,
    VersionRef,
    VersionState,
)
from webapp.reasons import checked_reason
from webapp.sources.service import find_source

MAX_REASONS = 20
OTHER_REASONS = "For other reasons."
_INSERTS: Mapping[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def request_training(session: DbSession, draft: TrainingDraft, *, by: Actor, now: datetime) -> int:
    """Enqueue the job that trains, and return its number; :class:`Invalid` names each field.

    While one trains the same model, that job is the answer.
    """
    check_draft(session, draft)
    arguments = {
        "source": draft.source,
        "target": draft.target,
        "algorithm": draft.algorithm or None,
        "task": draft.task or None,
        "fields": list(draft.fields),
        "held_out_share": draft.held_out_share,
        "seed": draft.seed,
    }
    key = f"{TRAINING}:{draft.source}:{draft.target}"
    return enqueue(session, TRAINING, arguments, by=by, now=now, unique_key=key).id


def request_predictions(session: DbSession, model_id: int, *, by: Actor, now: datetime) -> int:
    """Enqueue the job that predicts, and return its number; :class:`Conflict` without a champion.

    While one predicts with the same model, that job is the answer.
    """
    model, source = find_model(session, model_id)
    if champion_of(session, model) is None:
        raise Conflict(f"{name_of(source, model.target)} has no champion: promote a version first.")
    arguments = {"source": source, "target": model.target}
    key = f"{PREDICTION}:{source}:{model.target}"
    return enqueue(session, PREDICTION, arguments, by=by, now=now, unique_key=key).id


def check_draft(session: DbSession, draft: TrainingDraft) -> None:
    """Refuse what could not be trained; :class:`Invalid` names every field."""
    errors: dict[str, Sequence[str]] = {}
    try:
        find_source(session, draft.source)
    except NotFound:
        errors["source"] = [
            f"There is no source {draft.source!r}." if draft.source else "Choose a source."
        ]
    if not 0 < len(draft.target) <= MAX_TARGET:
        errors["target"] = [f"Name a field, in at most {MAX_TARGET} characters."]
    errors |= _kind_errors(draft)
    if draft.target in draft.fields:
        errors["fields"] = [f"{draft.target} is what is predicted: it tells itself."]
    elif len(draft.fields) > MAX_FIELDS:
        errors["fields"] = [f"Name at most {MAX_FIELDS}."]
    if not MIN_SHARE <= draft.held_out_share <= MAX_SHARE:
        errors["held_out_share"] = [f"From {MIN_SHARE} to {MAX_SHARE}."]
    if not 0 <= draft.seed <= MAX_SEED:
        errors["seed"] = [f"A whole number from 0 to {MAX_SEED}."]
    if errors:
        field, messages = next(iter(errors.items()))
        raise Invalid(f"{field}: {messages[0]}", errors)


def _kind_errors(draft: TrainingDraft) -> dict[str, Sequence[str]]:
    errors: dict[str, Sequence[str]] = {}
    if draft.algorithm and draft.algorithm not in set(Algorithm):
        errors["algorithm"] = [f"One of {', '.join(Algorithm)}."]
    if draft.task and draft.task not in set(Task):
        errors["task"] = [f"One of {', '.join(Task)}."]
    if draft.algorithm and draft.task and not errors:
        algorithm = Algorithm(draft.algorithm)
        if Task(draft.task) not in TASKS[algorithm]:
            errors["algorithm"] = [f"A {algorithm} model does no {draft.task}."]
    return errors


def find_model(session: DbSession, model_id: int) -> tuple[Model, str]:
    """Return a model and the name of its source; :class:`NotFound` where there is none."""
    found = session.execute(
        select(Model, sources.c.name)
        .join(sources, sources.c.id == Model.source_id)
        .where(Model.id == model_id)
    ).one_or_none()
    if found is None:
        raise NotFound(f"There is no model {model_id}.")
    return found[0], found[1]


def find_model_of(session: DbSession, source: str, target: str) -> Model:
    """Return the model of a source that predicts ``target``, or its only one where that is empty.

    :class:`Invalid` names what is missing.
    """
    wanted = select(Model).where(Model.source_id == find_source(session, source).id)
    if target:
        wanted = wanted.where(Model.target == target)
    found = session.scalars(wanted.order_by(Model.id).limit(2)).all()
    if len(found) == 1:
        return found[0]
    if found:
        raise Invalid.field("target", f"{source} has several models: say which field.")
    about = f"predicts {target!r}" if target else "predicts anything"
    raise Invalid.field("target", f"No model of {source} {about}: train one first.")


def find_version(session: DbSession, version_id: int) -> ModelVersion:
    """Return one version; :class:`NotFound` where there is none."""
    version = session.get(ModelVersion, version_id, populate_existing=True)
    if version is None:
        raise NotFound(f"There is no version {version_id} of a model.")
    return version


def name_of(source: str, target: str) -> str:
    """Return what a model is called, in the audit and by people."""
    return f"{source}: {target}"


def champion_of(session: DbSession, model: Model) -> ModelVersion | None:
    """Return the version that predicts."""
    return session.scalar(
        select(ModelVersion)
        .where(ModelVersion.model_id == model.id, ModelVersion.state == VersionState.CHAMPION)
        .execution_options(populate_existing=True)
    )


def challenger_of(session: DbSession, champion: ModelVersion) -> ModelVersion | None:
    """Return the newest candidate, if it is newer than the champion.

    An older one was passed over when the champion was promoted.
    """
    return session.scalar(
        select(ModelVersion)
        .where(
            ModelVersion.model_id == champion.model_id,
            ModelVersion.state == VersionState.CANDIDATE,
            ModelVersion.number > champion.number,
        )
        .order_by(ModelVersion.number.desc())
        .limit(1)
    )


def ref_of(version: ModelVersion) -> VersionRef:
    """Return all that is needed to use a version."""
    return VersionRef(
        id=version.id,
        number=version.number,
        task=Task(version.task),
        features=[Feature.from_json(kept) for kept in version.features],
        file_hash=version.file_hash,
        held_out_share=version.held_out_share,
    )


def version_of_job(session: DbSession, job_id: int) -> ModelVersion | None:
    """Return the version that an earlier attempt of a job has registered."""
    return session.scalar(select(ModelVersion).where(ModelVersion.job_id == job_id))


def standing_champion(session: DbSession, source: str, target: str) -> VersionRef | None:
    """Return the champion that a new version of this model has to beat."""
    wanted = select(Model).where(
        Model.source_id == find_source(session, source).id, Model.target == target
    )
    model = session.scalar(wanted)
    champion = champion_of(session, model) if model else None
    return ref_of(champion) if champion else None


def register_version(
    session: DbSession, trained: Trained, *, job_id: int, by: Actor, now: datetime
) -> ModelVersion:
    """Add a version, and make it the champion where it has proved itself."""
    draft = trained.draft
    model = _lock_model(session, _model_of(session, draft, by=by, now=now))
    newest = session.scalar(
        select(func.max(ModelVersion.number)).where(ModelVersion.model_id == model.id)
    )
    version = ModelVersion(
        model_id=model.id,
        number=(newest or 0) + 1,
        state=VersionState.CANDIDATE,
        revision=1,
        state_at=now,
        state_by=by.name,
        task=trained.task,
        algorithm=trained.algorithm,
        seed=draft.seed,
        held_out_share=draft.held_out_share,
        features=[feature.to_json() for feature in trained.features],
        left_out=dict(trained.left_out),
        metrics=dict(trained.metrics),
        comparison=trained.comparison.to_json(),
        rows_read=trained.rows_read,
        rows_trained=trained.rows_trained,
        rows_held_out=trained.rows_held_out,
        rows_unlabelled=trained.rows_unlabelled,
        data_hash=trained.data_hash,
        file_hash=trained.file_hash,
        file_size=trained.file_size,
        trained_at=now,
        trained_by=by.name,
        job_id=job_id,
    )
    session.add(version)
    session.flush()
    name = name_of(draft.source, draft.target)
    compared = trained.comparison
    changes = {
        "version": Change(None, version.number),
        compared.metric: Change(None, trained.metrics[compared.metric]),
    }
    _audit(session, name, "model.trained", by=by, now=now, changes=changes)
    if trained.comparison.promote:
        _promote_if_proved(session, version, trained, name, by=by, now=now)
    session.flush()
    return version


def _promote_if_proved(
    session: DbSession,
    version: ModelVersion,
    trained: Trained,
    name: str,
    *,
    by: Actor,
    now: datetime,
) -> None:
    """Promote a version, unless the champion is another by now than the one that it has beaten."""
    standing = session.scalar(
        select(ModelVersion.id).where(
            ModelVersion.model_id == version.model_id,
            ModelVersion.state == VersionState.CHAMPION,
        )
    )
    compared = trained.comparison
    if standing != compared.champion_id:
        reason = "The champion changed while it was trained: compare and promote it by hand."
        version.comparison = {**version.comparison, "promoted": False, "reason": reason}
        return
    _enthrone(session, version, name, by=by, now=now, reason=compared.reason)


def promote(
    session: DbSession,
    version_id: int,
    *,
    revision: int | None,
    by: Actor,
    now: datetime,
    reason: str,
) -> ModelVersion:
    """Make a version the champion; the one before is retired, and can be promoted again.

    :class:`Conflict` where it is the champion already, or its ``revision`` is another by now.
    """
    version, name = _hold(session, version_id, "promote", revision=revision, reason=reason)
    _enthrone(session, version, name, by=by, now=now, reason=reason)
    return version


def retire(
    session: DbSession,
    version_id: int,
    *,
    revision: int | None,
    by: Actor,
    now: datetime,
    reason: str,
) -> ModelVersion:
    """Take a version out of use; without a champion nothing is predicted."""
    version, name = _hold(session, version_id, "retire", revision=revision, reason=reason)
    _turn(session, version, "retire", name, by=by, now=now, reason=reason)
    return version


def _hold(
    session: DbSession, version_id: int, action: str, *, revision: int | None, reason: str
) -> tuple[ModelVersion, str]:
    """Lock the model of a version, and refuse what may not be done to it."""
    checked_reason(reason)
    model, source = find_model(session, find_version(session, version_id).model_id)
    _lock_model(session, model)
    version = find_version(session, version_id)
    if revision is not None and revision != version.revision:
        raise Conflict(
            f"Version {version.number} was {version.state} by {version.state_by} meanwhile."
        )
    if not may(action, VersionState(version.state)):
        raise Conflict(f"Version {version.number} is {version.state}: it cannot be {action}d.")
    return version, name_of(source, model.target)


def _enthrone(
    session: DbSession,
    version: ModelVersion,
    name: str,
    *,
    by: Actor,
    now: datetime,
    reason: str,
) -> None:
    standing = session.scalar(
        select(ModelVersion).where(
            ModelVersion.model_id == version.model_id,
            ModelVersion.state == VersionState.CHAMPION,
        )
    )
    if standing is not None:
        _turn(session, standing, "retire", name, by=by, now=now, reason=reason)
    _turn(session, version, "promote", name, by=by, now=now, reason=reason)


def _turn(  # noqa: PLR0913 - private; all but the first four are named at the call
    session: DbSession,
    version: ModelVersion,
    action: str,
    name: str,
    *,
    by: Actor,
    now: datetime,
    reason: str,
) -> None:
    before, target = version.state, target_of(action)
    # On the condition that it is as it was read: the loser of two changes nothing.
    won = session.execute(
        update(ModelVersion)
        .where(ModelVersion.id == version.id, ModelVersion.revision == version.revision)
        .values(state=target, revision=version.revision + 1, state_at=now, state_by=by.name)
        .execution_options(synchronize_session=False)
    )
    if not won.rowcount:  # type: ignore[attr-defined]
        raise Conflict(f"Version {version.number} was changed meanwhile.")
    session.refresh(version)
    changes = {f"version {version.number}": Change(before, target.value)}
    _audit(session, name, f"model.{action}d", by=by, now=now, changes=changes, reason=reason)


def _model_of(session: DbSession, draft: TrainingDraft, *, by: Actor, now: datetime) -> Model:
    """Return the model of a source and a target, made where there is none."""
    source_id = find_source(session, draft.source).id
    wanted = select(Model).where(Model.source_id == source_id, Model.target == draft.target)
    standing = session.scalar(wanted)
    if standing is not None:
        return standing
    model = Model(source_id=source_id, target=draft.target, created_at=now, created_by=by.name)
    try:
        # The unique pair settles the race between two first trainings.
        with session.begin_nested():
            session.add(model)
    except IntegrityError:
        return session.scalars(wanted).one()
    return model


def _lock_model(session: DbSession, model: Model) -> Model:
    """Keep others from changing a model's versions; on SQLite the write lock does."""
    return session.scalars(select(Model).where(Model.id == model.id).with_for_update()).one()


def begin_run(session: DbSession, model: Model, *, job_id: int, now: datetime) -> PredictionRun:
    """Return the run of a job, made with the versions of this moment where there is none."""
    standing = session.scalar(select(PredictionRun).where(PredictionRun.job_id == job_id))
    if standing is not None:
        return standing
    champion = champion_of(session, model)
    if champion is None:
        raise Invalid.field(
            "target", f"The model of {model.target!r} has no champion: promote a version first."
        )
    challenger = challenger_of(session, champion)
    run = PredictionRun(
        model_id=model.id,
        champion_id=champion.id,
        challenger_id=challenger.id if challenger else None,
        job_id=job_id,
        started_at=now,
        processed=0,
        written=0,
        unchanged=0,
        challenged=0,
        rejected=0,
        rejections={},
    )
    session.add(run)
    session.flush()
    return run


def predicted_hashes(
    session: DbSession, version_ids: Sequence[int], keys: Sequence[str]
) -> dict[tuple[int, str], str]:
    """Return for which contents of these records these versions have answered."""
    rows = session.execute(
        select(Prediction.version_id, Prediction.key, Prediction.content_hash).where(
            Prediction.version_id.in_(version_ids), Prediction.key.in_(keys)
        )
    )
    return {(row.version_id, row.key): row.content_hash for row in rows}


def write_batch(
    session: DbSession, run_id: int, batch: PredictionBatch, *, now: datetime
) -> PredictionRun:
    """Write what one batch of records came to; its counts stand or fall with it."""
    run = session.get_one(PredictionRun, run_id, populate_existing=True, with_for_update=True)
    _upsert(session, batch.predictions, run_id=run_id, now=now)
    rejected = sum(batch.rejected.values())
    run.processed += len(batch.predictions) + batch.unchanged + rejected
    run.written += len(batch.predictions)
    run.unchanged += batch.unchanged
    run.challenged += batch.challenged
    run.rejected += rejected
    run.rejections = _together(run.rejections, batch.rejected)
    session.flush()
    return run


def _upsert(
    session: DbSession, predictions: Sequence[NewPrediction], *, run_id: int, now: datetime
) -> None:
    if not predictions:
        return
    insert = _INSERTS[session.get_bind().dialect.name](cast("Table", Prediction.__table__))
    changed = ("content_hash", "label", "number", "probability", "run_id", "predicted_at")
    session.execute(
        insert.on_conflict_do_update(
            index_elements=["version_id", "key"],
            set_={name: insert.excluded[name] for name in changed},
        ),
        [
            {
                "version_id": item.version_id,
                "key": item.key,
                "content_hash": item.content_hash,
                "label": item.answer.label,
                "number": item.answer.number,
                "probability": item.answer.probability,
                "run_id": run_id,
                "predicted_at": now,
            }
            for item in predictions
        ],
    )


def _together(before: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Add counts of reasons up; of very many, those beyond the first ones become one."""
    counts = Counter(before)
    for reason, count in more.items():
        known = reason in counts or len(counts) < MAX_REASONS
        counts[reason if known else OTHER_REASONS] += count
    return dict(counts)


def finish_run(session: DbSession, run_id: int, *, now: datetime) -> PredictionRun:
    """Settle a run that has gone through all records."""
    run = session.get_one(PredictionRun, run_id, populate_existing=True)
    run.ended_at = now
    session.flush()
    return run


def _audit(  # noqa: PLR0913 - all but the first three are named at the call
    session: DbSession,
    name: str,
    action: str,
    *,
    by: Actor,
    now: datetime,
    changes: Mapping[str, Change],
    reason: str = "",
) -> None:
    record(
        session,
        by=by,
        at=now,
        action=action,
        subject="model",
        name=name,
        reason=reason,
        changes=changes,
    )
