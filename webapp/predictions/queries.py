"""What pages and the JSON API show of models, their versions, runs and predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from webapp.db import DbSession
from webapp.jobs.service import states_of
from webapp.logs import masked
from webapp.paging import Cursor, Page, Scan, fetch_page
from webapp.predictions.champions import challenger_of, champion_of
from webapp.predictions.lifecycle import score_of
from webapp.predictions.models import Model, ModelVersion, Prediction, PredictionRun, sources
from webapp.predictions.values import SCORE, Task, VersionState

RUNS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionView:
    """A version in a list."""

    id: int
    model_id: int
    number: int
    state: VersionState
    revision: int
    state_at: datetime
    state_by: str
    task: Task
    algorithm: str
    metric: str
    score: float
    rows_trained: int
    rows_held_out: int
    trained_at: datetime
    trained_by: str
    job_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """A model with the versions that predict, and how many there are."""

    id: int
    source: str
    target: str
    champion: VersionView | None
    challenger: VersionView | None
    versions: int
    trained_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run; ``state`` is succeeded, the state of its job, or lost where that is gone."""

    id: int
    job_id: int | None
    state: str
    champion: int
    challenger: int | None
    started_at: datetime
    ended_at: datetime | None
    processed: int
    written: int
    unchanged: int
    challenged: int
    rejected: int
    rejections: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionView:
    """What a version says of a record; ``value`` is a class or a number."""

    id: int
    key: str
    value: str | float | None
    probability: float | None
    run_id: int
    predicted_at: datetime


def list_models(
    session: DbSession, cursor: Cursor, *, source: str = "", size: int = 50
) -> Page[ModelView]:
    """Return a page of the models, newest first: six statements."""
    wanted = select(Model)
    if source:
        named = select(sources.c.id).where(sources.c.name == source)
        wanted = wanted.where(Model.source_id.in_(named))
    page = fetch_page(session, wanted, Scan(Model.id), cursor, present=_as_is, size=size)
    ids = [model.id for model in page.rows]
    names = _names(session, [model.source_id for model in page.rows])
    counts = _counts(session, ids)
    champions = _champions(session, ids)
    challengers = _challengers(session, ids)
    return page.showing(
        [
            ModelView(
                id=model.id,
                source=names.get(model.source_id, ""),
                target=model.target,
                champion=champions.get(model.id),
                challenger=_newer(challengers.get(model.id), champions.get(model.id)),
                versions=counts.get(model.id, (0, None))[0],
                trained_at=counts.get(model.id, (0, None))[1],
            )
            for model in page.rows
        ]
    )


def _as_is(row: Any) -> Any:
    return row


def _names(session: DbSession, ids: Sequence[int]) -> dict[int, str]:
    rows = session.execute(select(sources.c.id, sources.c.name).where(sources.c.id.in_(ids)))
    return {row.id: row.name for row in rows}


def _counts(session: DbSession, ids: Sequence[int]) -> dict[int, tuple[int, datetime | None]]:
    """Return how many versions each model has, and when the newest was trained.

    The numbers of versions have no gaps, so the highest is how many there are.
    """
    newest = (
        select(func.max(ModelVersion.id))
        .where(ModelVersion.model_id.in_(ids))
        .group_by(ModelVersion.model_id)
    )
    rows = session.execute(
        select(ModelVersion.model_id, ModelVersion.number, ModelVersion.trained_at).where(
            ModelVersion.id.in_(newest)
        )
    )
    return {row.model_id: (row.number, row.trained_at) for row in rows}


def _champions(session: DbSession, ids: Sequence[int]) -> dict[int, VersionView]:
    wanted = select(ModelVersion).where(
        ModelVersion.model_id.in_(ids), ModelVersion.state == VersionState.CHAMPION
    )
    return {item.model_id: view_version(item) for item in session.scalars(wanted)}


def _challengers(session: DbSession, ids: Sequence[int]) -> dict[int, VersionView]:
    newest = (
        select(func.max(ModelVersion.id))
        .where(ModelVersion.model_id.in_(ids), ModelVersion.state == VersionState.CANDIDATE)
        .group_by(ModelVersion.model_id)
    )
    wanted = select(ModelVersion).where(ModelVersion.id.in_(newest))
    return {item.model_id: view_version(item) for item in session.scalars(wanted)}


def _newer(candidate: VersionView | None, champion: VersionView | None) -> VersionView | None:
    """Return the candidate where it challenges: see ``champions.challenger_of``."""
    if candidate is None or champion is None or candidate.number < champion.number:
        return None
    return candidate


def view_model(session: DbSession, model: Model, source: str) -> ModelView:
    """Return what is shown of one model: three statements."""
    champion = champion_of(session, model)
    challenger = challenger_of(session, champion) if champion else None
    versions, trained_at = _counts(session, [model.id]).get(model.id, (0, None))
    return ModelView(
        id=model.id,
        source=source,
        target=model.target,
        champion=view_version(champion) if champion else None,
        challenger=view_version(challenger) if challenger else None,
        versions=versions,
        trained_at=trained_at,
    )


def view_version(version: ModelVersion) -> VersionView:
    """Return a version as lists show it."""
    task = Task(version.task)
    return VersionView(
        id=version.id,
        model_id=version.model_id,
        number=version.number,
        state=VersionState(version.state),
        revision=version.revision,
        state_at=version.state_at,
        state_by=version.state_by,
        task=task,
        algorithm=version.algorithm,
        metric=SCORE[task],
        score=score_of(task, version.metrics),
        rows_trained=version.rows_trained,
        rows_held_out=version.rows_held_out,
        trained_at=version.trained_at,
        trained_by=version.trained_by,
        job_id=version.job_id,
    )


def versions_of(
    session: DbSession, model_id: int, cursor: Cursor, *, size: int = 50
) -> Page[VersionView]:
    """Return a page of a model's versions, newest first."""
    wanted = select(ModelVersion).where(ModelVersion.model_id == model_id)
    return fetch_page(
        session, wanted, Scan(ModelVersion.id), cursor, present=view_version, size=size
    )


def runs_of(session: DbSession, model_id: int, cursor: Cursor, *, size: int = 50) -> Page[RunView]:
    """Return a page of the runs of a model, newest first."""
    wanted = select(PredictionRun).where(PredictionRun.model_id == model_id)
    page: Page[PredictionRun] = fetch_page(
        session, wanted, Scan(PredictionRun.id), cursor, present=_as_is, size=size
    )
    return page.showing(_views(session, page.rows))


def newest_runs(
    session: DbSession, model_id: int, *, version_id: int | None = None
) -> list[RunView]:
    """Return the newest runs of a model, or those of them that asked one version."""
    wanted = select(PredictionRun).where(PredictionRun.model_id == model_id)
    if version_id is not None:
        champion, challenger = PredictionRun.champion_id, PredictionRun.challenger_id
        wanted = wanted.where((champion == version_id) | (challenger == version_id))
    newest = wanted.order_by(PredictionRun.id.desc()).limit(RUNS)
    return _views(session, session.scalars(newest).all())


def _views(session: DbSession, runs: Sequence[PredictionRun]) -> list[RunView]:
    """Return runs as they stand: one that has not ended stands where its job stands."""
    unfinished = [run.job_id for run in runs if run.job_id and run.ended_at is None]
    states = states_of(session, unfinished)
    used = {run.champion_id for run in runs} | {run.challenger_id for run in runs}
    numbers = _numbers(session, [item for item in used if item is not None])
    return [
        RunView(
            id=run.id,
            job_id=run.job_id,
            state="succeeded" if run.ended_at else str(states.get(run.job_id or 0, "lost")),
            champion=numbers[run.champion_id],
            challenger=numbers[run.challenger_id] if run.challenger_id else None,
            started_at=run.started_at,
            ended_at=run.ended_at,
            processed=run.processed,
            written=run.written,
            unchanged=run.unchanged,
            challenged=run.challenged,
            rejected=run.rejected,
            rejections=run.rejections,
        )
        for run in runs
    ]


def _numbers(session: DbSession, ids: Sequence[int]) -> dict[int, int]:
    rows = session.execute(
        select(ModelVersion.id, ModelVersion.number).where(ModelVersion.id.in_(ids))
    )
    return {row.id: row.number for row in rows}


def predictions_of(
    session: DbSession,
    version_id: int,
    cursor: Cursor,
    *,
    target: str,
    key: str = "",
    size: int = 50,
) -> Page[PredictionView]:
    """Return a page of what a version has said, newest first; of one record where it is named.

    Where the name of the field speaks of a secret, its values are masked.
    """
    wanted = select(Prediction).where(Prediction.version_id == version_id)
    if key:
        wanted = wanted.where(Prediction.key == key)

    def present(item: Prediction) -> PredictionView:
        value = item.label if item.number is None else item.number
        return PredictionView(
            id=item.id,
            key=item.key,
            value=masked({target: value})[target],
            probability=item.probability,
            run_id=item.run_id,
            predicted_at=item.predicted_at,
        )

    return fetch_page(session, wanted, Scan(Prediction.id), cursor, present=present, size=size)
