"""The one module that knows scikit-learn and skops: pipelines, their scores and their files.

Loading it takes seconds and a hundred megabytes, so nothing imports it but ``training``, which only
the jobs that train and predict load, when they run.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    mean_absolute_error,
    r2_score,
    recall_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skops import io as skops_io
from threadpoolctl import threadpool_limits

from webapp.errors import Invalid
from webapp.predictions.values import Algorithm, Answer, Feature, FeatureKind, Task

Values = Sequence[Sequence[float | str]]
Targets = Sequence[float | str]

#: A category that fewer rows have is folded into one with the other rare ones.
RARE: Final = 5
MAX_CATEGORIES: Final = 20
ITERATIONS: Final = 1000
#: What a file may hold beside what skops trusts by itself: numbers, texts and scikit-learn's own
#: estimators.  These two are of its making as well, and are what our pipelines need.
TRUSTED: Final = frozenset(
    {"numpy.dtype", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"}
)
_DIGITS: Final = 6
_BINARY: Final = 2


def fit(
    features: Sequence[Feature],
    values: Values,
    targets: Targets,
    *,
    task: Task,
    algorithm: Algorithm,
    seed: int,
) -> Any:
    """Return a pipeline that has learnt; :class:`Invalid` where there is nothing to tell apart."""
    if task is Task.CLASSIFICATION and len(set(targets)) < _BINARY:
        raise Invalid.field("target", "All rows that would be learnt from are of one class.")
    pipeline = Pipeline(
        [("fields", _reading(features)), ("model", _estimator(task, algorithm, seed))]
    )
    # One core for each training: workers are as many as there are cores, and threads that wait for
    # one another on a busy machine take twenty times as long.
    with threadpool_limits(limits=1):
        return pipeline.fit(_table(values), _column(targets, task))


def _reading(features: Sequence[Feature]) -> Any:
    """Numbers are imputed and scaled; categories become a column each, the rare ones one."""
    places = {
        kind: [at for at, feature in enumerate(features) if feature.kind is kind]
        for kind in FeatureKind
    }
    numbers = Pipeline(
        [
            # A field may have no number at all among the rows that are learnt from.
            ("impute", SimpleImputer(strategy="median", keep_empty_features=True)),
            ("scale", StandardScaler()),
        ]
    )
    # An empty text is a category like any other: that nothing was said may tell something.
    categories = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        min_frequency=RARE,
        max_categories=MAX_CATEGORIES,
        sparse_output=False,
    )
    chosen = ((FeatureKind.NUMBER, numbers), (FeatureKind.CATEGORY, categories))
    return ColumnTransformer(
        [(kind.value, how, places[kind]) for kind, how in chosen if places[kind]]
    )


def _estimator(task: Task, algorithm: Algorithm, seed: int) -> Any:
    if algorithm is Algorithm.LOGISTIC:
        return LogisticRegression(max_iter=ITERATIONS, random_state=seed)
    if algorithm is Algorithm.LINEAR:
        return Ridge(random_state=seed)
    boosting = (
        HistGradientBoostingClassifier
        if task is Task.CLASSIFICATION
        else HistGradientBoostingRegressor
    )
    # Stopping early would hold out rows of its own, which a class of one row cannot afford.
    return boosting(early_stopping=False, random_state=seed)


def predict(pipeline: Any, values: Values, task: Task) -> list[Answer]:
    """Return an answer for each row."""
    if not values:
        return []
    table = _table(values)
    if task is Task.REGRESSION:
        with threadpool_limits(limits=1):
            found = pipeline.predict(table)
        return [Answer(number=float(number)) for number in found]
    with threadpool_limits(limits=1):
        likely = pipeline.predict_proba(table)
    best = likely.argmax(axis=1)
    return [
        Answer(label=str(pipeline.classes_[at]), probability=round(float(row[at]), _DIGITS))
        for row, at in zip(likely, best, strict=True)
    ]


def score(pipeline: Any, values: Values, targets: Targets, task: Task) -> dict[str, float]:
    """Return the figures of a pipeline on rows that it has not learnt from."""
    wanted = _column(targets, task)
    with threadpool_limits(limits=1):
        found = pipeline.predict(_table(values))
        figures = (
            _of_numbers(wanted, found)
            if task is Task.REGRESSION
            else _of_classes(pipeline, values, wanted, found)
        )
    return {name: round(float(figure), _DIGITS) for name, figure in figures.items()}


def _of_classes(pipeline: Any, values: Values, wanted: Any, found: Any) -> dict[str, Any]:
    classes = np.unique(wanted)
    of_each = {"labels": classes, "average": "macro", "zero_division": 0.0}
    figures = {
        "balanced_accuracy": recall_score(wanted, found, **of_each),
        "accuracy": accuracy_score(wanted, found),
        "f1_macro": f1_score(wanted, found, **of_each),
    }
    if len(classes) == _BINARY and list(pipeline.classes_) == list(classes):
        likely = pipeline.predict_proba(_table(values))[:, 1]
        figures["roc_auc"] = roc_auc_score(wanted == classes[1], likely)
    return figures


def _of_numbers(wanted: Any, found: Any) -> dict[str, Any]:
    return {
        "r2": r2_score(wanted, found),
        "mean_absolute_error": mean_absolute_error(wanted, found),
        "root_mean_squared_error": root_mean_squared_error(wanted, found),
    }


def baseline(targets: Targets, task: Task) -> float:
    """Return the score of whoever guesses: always one class, or always the mean."""
    return 1 / len(set(targets)) if task is Task.CLASSIFICATION else 0.0


def write(pipeline: Any) -> bytes:
    """Return a pipeline as the bytes of a file."""
    data: bytes = skops_io.dumps(pipeline)
    return data


def read(data: bytes) -> Any:
    """Read a pipeline back; :class:`Invalid` where it holds anything that was not meant.

    A pickle would run whatever somebody put into it.  Here every type is looked at first, and
    nothing is made of one that is not on the list.
    """
    try:
        foreign = sorted(set(skops_io.get_untrusted_types(data=data)) - TRUSTED)
    except Exception as error:  # noqa: BLE001 - whatever a broken archive makes of the reader
        raise Invalid(f"The file of this version is no model: {type(error).__name__}.") from None
    if foreign:
        raise Invalid(f"The file of this version holds {foreign[0]}, which no model needs.")
    return skops_io.loads(data, trusted=sorted(TRUSTED))


def _table(values: Values) -> Any:
    table = np.empty((len(values), len(values[0])), dtype=object)
    table[:] = [tuple(row) for row in values]
    return table


def _column(targets: Targets, task: Task) -> Any:
    return np.asarray(targets, dtype=float if task is Task.REGRESSION else str)
