"""Writes versions of models: registers what was trained, promotes and retires.

Each write of a model's versions locks the model first, so that two that would decide at once take
turns.  Does not know how a version was trained, nor what it says of records.
"""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from webapp.actors import Actor
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.db import DbSession
from webapp.errors import Conflict
from webapp.predictions.lifecycle import may, target_of
from webapp.predictions.models import Model, ModelVersion
from webapp.predictions.service import find_model, find_version, name_of
from webapp.predictions.values import Trained, TrainingDraft, VersionState
from webapp.reasons import checked_reason
from webapp.sources.service import find_source


def version_of_job(session: DbSession, job_id: int) -> ModelVersion | None:
    """Return the version that an earlier attempt of a job has registered."""
    return session.scalar(select(ModelVersion).where(ModelVersion.job_id == job_id))


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
