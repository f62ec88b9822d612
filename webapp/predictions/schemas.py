"""Models as JSON: the bodies that are taken, and the answers."""

from typing import Any

from pydantic import Field

from webapp.predictions.models import ModelVersion
from webapp.predictions.queries import (
    ModelView,
    PredictionView,
    RunView,
    VersionView,
    view_version,
)
from webapp.predictions.values import DEFAULT_SHARE, TrainingDraft
from webapp.web.schemas import ReasonText, Schema, Text


class NewTraining(Schema):
    """The body that asks for a training."""

    source: Text
    target: Text
    algorithm: Text = ""
    task: Text = ""
    fields: list[Text] = Field(default_factory=list)
    held_out_share: float = DEFAULT_SHARE
    seed: int = 0

    def draft(self) -> TrainingDraft:
        """Return the training that is asked for."""
        return TrainingDraft(
            source=self.source,
            target=self.target,
            algorithm=self.algorithm,
            task=self.task,
            fields=tuple(self.fields),
            held_out_share=self.held_out_share,
            seed=self.seed,
        )


class VersionDecision(Schema):
    """Why a version is promoted or retired, and from which revision of it."""

    reason: ReasonText
    revision: int | None = None


def model_as_json(view: ModelView) -> dict[str, Any]:
    """Write a model with the versions that predict."""
    return {
        "id": view.id,
        "source": view.source,
        "target": view.target,
        "champion": version_as_json(view.champion) if view.champion else None,
        "challenger": version_as_json(view.challenger) if view.challenger else None,
        "versions": view.versions,
        "trained_at": view.trained_at,
    }


def version_as_json(view: VersionView) -> dict[str, Any]:
    """Write a version as lists show it."""
    return {
        "id": view.id,
        "model_id": view.model_id,
        "number": view.number,
        "state": view.state,
        "revision": view.revision,
        "state_at": view.state_at,
        "state_by": view.state_by,
        "task": view.task,
        "algorithm": view.algorithm,
        "metric": view.metric,
        "score": view.score,
        "rows_trained": view.rows_trained,
        "rows_held_out": view.rows_held_out,
        "trained_at": view.trained_at,
        "trained_by": view.trained_by,
        "job_id": view.job_id,
    }


def version_details_as_json(version: ModelVersion) -> dict[str, Any]:
    """Write all that is known of a version."""
    return version_as_json(view_version(version)) | {
        "seed": version.seed,
        "held_out_share": version.held_out_share,
        "features": version.features,
        "left_out": version.left_out,
        "metrics": version.metrics,
        "comparison": version.comparison,
        "rows_read": version.rows_read,
        "rows_unlabelled": version.rows_unlabelled,
        "data_hash": version.data_hash,
        "file_hash": version.file_hash,
        "file_size": version.file_size,
    }


def run_as_json(view: RunView) -> dict[str, Any]:
    """Write a run."""
    return {
        "id": view.id,
        "job_id": view.job_id,
        "state": view.state,
        "champion": view.champion,
        "challenger": view.challenger,
        "started_at": view.started_at,
        "ended_at": view.ended_at,
        "processed": view.processed,
        "written": view.written,
        "unchanged": view.unchanged,
        "by_challenger": view.challenged,
        "rejected": view.rejected,
        "rejections": view.rejections,
    }


def prediction_as_json(view: PredictionView, version: VersionView) -> dict[str, Any]:
    """Write a prediction with the version that made it."""
    return {
        "key": view.key,
        "value": view.value,
        "probability": view.probability,
        "version": version.number,
        "run_id": view.run_id,
        "predicted_at": view.predicted_at,
    }
