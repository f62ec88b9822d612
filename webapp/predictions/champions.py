"""Reads which version of a model predicts, which one challenges it, and what it takes to use one.

Whether a version may become the champion is decided in ``lifecycle`` and written in ``versions``.
"""

from sqlalchemy import select

from webapp.db import DbSession
from webapp.predictions.models import Model, ModelVersion
from webapp.predictions.values import Feature, Task, VersionRef, VersionState
from webapp.sources.service import find_source


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


def standing_champion(session: DbSession, source: str, target: str) -> VersionRef | None:
    """Return the champion that a new version of this model has to beat."""
    wanted = select(Model).where(
        Model.source_id == find_source(session, source).id, Model.target == target
    )
    model = session.scalar(wanted)
    champion = champion_of(session, model) if model else None
    return ref_of(champion) if champion else None


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
