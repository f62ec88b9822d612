"""What the JSON API of models answers with, by type."""

from datetime import datetime

from webapp.web.openapi import Answer, PageQuery


class VersionResponse(Answer):
    """A version; ``score`` is the figure that versions are compared by, named by ``metric``."""

    id: int
    model_id: int
    number: int
    state: str
    revision: int
    state_at: datetime
    state_by: str
    task: str
    algorithm: str
    metric: str
    score: float
    rows_trained: int
    rows_held_out: int
    trained_at: datetime
    trained_by: str
    job_id: int | None


class FeatureResponse(Answer):
    """A field that a version reads; ``gaps`` tells whether it may be empty."""

    name: str
    kind: str
    gaps: bool


class ComparisonResponse(Answer):
    """How a version did against the champion of then, on records that neither had learnt from."""

    champion: int | None
    metric: str
    rows: int
    champion_score: float | None
    score: float
    promoted: bool
    reason: str


class VersionDetailsResponse(VersionResponse):
    """All that is known of a version; hashes are SHA-256."""

    seed: int
    held_out_share: float
    features: list[FeatureResponse]
    left_out: dict[str, str]
    metrics: dict[str, float]
    comparison: ComparisonResponse
    rows_read: int
    rows_unlabelled: int
    data_hash: str
    file_hash: str
    file_size: int


class ModelResponse(Answer):
    """A model with the versions that predict."""

    id: int
    source: str
    target: str
    champion: VersionResponse | None
    challenger: VersionResponse | None
    versions: int
    trained_at: datetime | None


class JobStartedResponse(Answer):
    """The job that does what was asked for."""

    job_id: int


class PredictionRunResponse(Answer):
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
    by_challenger: int
    rejected: int
    rejections: dict[str, int]


class PredictionResponse(Answer):
    """What a version says of a record: a class with its probability, or a number."""

    key: str
    value: str | float | None
    probability: float | None
    version: int
    run_id: int
    predicted_at: datetime


class ModelsQuery(PageQuery):
    """Which models are wanted: those of a source."""

    source: str


class PredictionsQuery(PageQuery):
    """Which predictions are wanted: of one record."""

    key: str
