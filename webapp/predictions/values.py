"""The vocabulary of models.  Nothing here touches the database, a file, the queue or the clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

TRAINING: Final = "model_retraining"
PREDICTION: Final = "batch_prediction"
#: Where this flag is on for the key of a record, the challenger predicts it.
FLAG: Final = "new_prediction_model"

MAX_NAME: Final = 64
MAX_TARGET: Final = 128
MAX_FIELDS: Final = 200
MAX_LABEL: Final = 200
MAX_KEY: Final = 255
MAX_SEED: Final = 2**31 - 1
DEFAULT_SHARE: Final = 0.2
MIN_SHARE: Final = 0.05
MAX_SHARE: Final = 0.5

#: A value of a record as models read it: a number, a text, or nothing.
Cell = float | str | None
#: The figures of a version by name.
Metrics = Mapping[str, float]


class Task(StrEnum):
    """What is predicted: one of some classes, or a number."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class Algorithm(StrEnum):
    """How it is learnt."""

    LOGISTIC = "logistic"
    LINEAR = "linear"
    GRADIENT_BOOSTING = "gradient_boosting"


class VersionState(StrEnum):
    """What a version is used for."""

    CANDIDATE = "candidate"
    CHAMPION = "champion"
    RETIRED = "retired"


class FeatureKind(StrEnum):
    """How a field is read."""

    NUMBER = "number"
    CATEGORY = "category"


#: What versions are compared by: more is better.  Of a classification the mean of how much of each
#: class was found, so that a rare class counts like a frequent one; of a regression the share of
#: the variance that is explained.
SCORE: Final[Mapping[Task, str]] = {
    Task.CLASSIFICATION: "balanced_accuracy",
    Task.REGRESSION: "r2",
}
#: What each algorithm can learn.
TASKS: Final[Mapping[Algorithm, Sequence[Task]]] = {
    Algorithm.LOGISTIC: (Task.CLASSIFICATION,),
    Algorithm.LINEAR: (Task.REGRESSION,),
    Algorithm.GRADIENT_BOOSTING: tuple(Task),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingDraft:
    """What somebody asks to be trained.

    ``algorithm`` and ``task`` are empty where they follow from the target, ``fields`` where all
    that can be used are.
    """

    source: str
    target: str
    algorithm: str = ""
    task: str = ""
    fields: Sequence[str] = ()
    held_out_share: float = DEFAULT_SHARE
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Feature:
    """A field that a model looks at; ``gaps`` tells whether it was empty in some of what was learnt
    from, so that the model knows what to make of that.
    """

    name: str
    kind: FeatureKind
    gaps: bool

    def to_json(self) -> dict[str, Any]:
        """Return what the registry keeps."""
        return {"name": self.name, "kind": self.kind.value, "gaps": self.gaps}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Read back what :meth:`to_json` wrote."""
        return cls(kept["name"], FeatureKind(kept["kind"]), kept["gaps"])


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRef:
    """All that is needed to use a version: which it is, what it reads, and the hash of its file."""

    id: int
    number: int
    task: Task
    features: Sequence[Feature]
    file_hash: str
    held_out_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a new version did against the champion, None where there was none.

    Both were scored on the same ``rows``, which neither had learnt from.
    """

    champion_id: int | None
    champion: int | None
    metric: str
    rows: int
    champion_score: float | None
    score: float
    promote: bool
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return what the registry keeps; which row the champion was is found by its number."""
        return {
            "champion": self.champion,
            "metric": self.metric,
            "rows": self.rows,
            "champion_score": self.champion_score,
            "score": self.score,
            "promoted": self.promote,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A version that is to be registered, with its file already in place."""

    draft: TrainingDraft
    task: Task
    algorithm: Algorithm
    features: Sequence[Feature]
    left_out: Mapping[str, str]
    metrics: Metrics
    comparison: Comparison
    rows_read: int
    rows_trained: int
    rows_held_out: int
    rows_unlabelled: int
    data_hash: str
    file_hash: str
    file_size: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says of one record: a class with its probability, or a number."""

    label: str | None = None
    number: float | None = None
    probability: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPrediction:
    """A prediction to be written; ``content_hash`` is that of the record as it was."""

    version_id: int
    key: str
    content_hash: str
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionBatch:
    """What one batch of records came to; ``rejected`` counts by reason."""

    predictions: Sequence[NewPrediction]
    unchanged: int
    challenged: int
    rejected: Mapping[str, int]
    last_key: str
