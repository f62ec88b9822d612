"""What a model looks at: which fields of a source, how they are read, and what is predicted.  Pure.

Decides from a sample of rows.  Afterwards a record is read as the model expects, or is refused with
the reason: nothing that a model has not learnt is made up for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from webapp.errors import Invalid
from webapp.predictions.cells import cell_of, label_of
from webapp.predictions.sampling import Row
from webapp.predictions.values import (
    MAX_FIELDS,
    TASKS,
    Algorithm,
    Cell,
    Feature,
    FeatureKind,
    Task,
    TrainingDraft,
)

#: Of the values of a number's field so many are numbers; the others count as empty.
NUMBERS: Final = 0.95
#: A number with more different values than that is measured, and no name of a class.
MOST_WHOLE_CLASSES: Final = 20
MAX_CLASSES: Final = 50
#: A text that is another one in more than this share of the rows tells them apart, and no more.
DISTINCT: Final = 0.5
#: So many rows with a target are needed.
MIN_ROWS: Final = 50


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained: on which rows, with which features, for what."""

    task: Task
    algorithm: Algorithm
    features: Sequence[Feature]
    left_out: Mapping[str, str]
    rows: Sequence[Row]
    targets: Sequence[float | str]
    unlabelled: int


class Lacking(Exception):
    """A record that a model cannot read; the text is the reason."""


def make_plan(
    rows: Sequence[Row], draft: TrainingDraft, *, key_field: str, standing: Task | None
) -> Plan:
    """Decide what is trained; :class:`Invalid` where the records do not allow it.

    ``standing`` is what the champion does, which a new version does too where nobody says else.
    """
    labelled = [row for row in rows if row.cells.get(draft.target) is not None]
    if rows and not any(draft.target in row.cells for row in rows):
        raise Invalid.field("target", f"No record has a field {draft.target!r}.")
    if len(labelled) < MIN_ROWS:
        raise Invalid.field(
            "target",
            f"{len(labelled)} of {len(rows)} records have a value of {draft.target!r}; "
            f"{MIN_ROWS} are needed.",
        )
    cells = [row.cells[draft.target] for row in labelled]
    task, algorithm = _kind(draft, cells, standing)
    targets = _targets(cells, task)
    if task is Task.REGRESSION:
        kept = [at for at, target in enumerate(targets) if isinstance(target, float)]
        labelled = [labelled[at] for at in kept]
        targets = [targets[at] for at in kept]
    features, left_out = choose_features(labelled, draft, key_field=key_field)
    return Plan(task, algorithm, features, left_out, labelled, targets, len(rows) - len(labelled))


def _kind(
    draft: TrainingDraft, cells: Sequence[Cell], standing: Task | None
) -> tuple[Task, Algorithm]:
    """Return what is learnt and how: as it was asked for, else as the target suggests."""
    algorithm = Algorithm(draft.algorithm) if draft.algorithm else None
    if draft.task:
        task = Task(draft.task)
    elif algorithm and len(TASKS[algorithm]) == 1:
        task = TASKS[algorithm][0]
    else:
        task = standing or suggested_task(cells)
    if algorithm is None:
        algorithm = Algorithm.LOGISTIC if task is Task.CLASSIFICATION else Algorithm.LINEAR
    if task not in TASKS[algorithm]:
        raise Invalid.field("algorithm", f"A {algorithm} model does no {task}.")
    return task, algorithm


def suggested_task(cells: Sequence[Cell]) -> Task:
    """Tell what a target is: a number where its values are measured, else a class."""
    numbers = [cell for cell in cells if isinstance(cell, float)]
    if len(numbers) < NUMBERS * len(cells):
        return Task.CLASSIFICATION
    measured = any(not number.is_integer() for number in numbers)
    return (
        Task.REGRESSION
        if measured or len(set(numbers)) > MOST_WHOLE_CLASSES
        else Task.CLASSIFICATION
    )


def _targets(cells: Sequence[Cell], task: Task) -> Sequence[float | str]:
    """Return the targets; of a regression what is no number stays a text, and is left out."""
    if task is Task.REGRESSION:
        numbers = sum(isinstance(cell, float) for cell in cells)
        if numbers < MIN_ROWS:
            raise Invalid.field("target", f"Only {numbers} of its values are numbers.")
        return [cell if isinstance(cell, float) else "" for cell in cells]
    labels = [label_of(cell) for cell in cells]
    classes = len(set(labels))
    if not 1 < classes <= MAX_CLASSES:
        raise Invalid.field(
            "target",
            f"It has {classes:,} different values; a classification has 2 to {MAX_CLASSES}.",
        )
    return labels


def choose_features(
    rows: Sequence[Row], draft: TrainingDraft, *, key_field: str
) -> tuple[list[Feature], dict[str, str]]:
    """Return the features, and why each other field is none.

    A field that was asked for is used as long as it has values; one that is missing is refused.
    """
    present = sorted({name for row in rows for name in row.cells} - {draft.target})
    if missing := sorted(set(draft.fields) - set(present)):
        raise Invalid.field("fields", f"No record has a field {missing[0]!r}.")
    features: list[Feature] = []
    left_out: dict[str, str] = {}
    for name in present:
        if draft.fields and name not in draft.fields:
            continue
        found = _feature(name, rows, asked_for=bool(draft.fields), key_field=key_field)
        if isinstance(found, Feature):
            features.append(found)
        else:
            left_out[name] = found
    if not features:
        raise Invalid.field("fields", "None of the fields can be learnt from.")
    if len(features) > MAX_FIELDS:
        raise Invalid.field("fields", f"Name at most {MAX_FIELDS} of {len(features)} fields.")
    return features, left_out


def _feature(name: str, rows: Sequence[Row], *, asked_for: bool, key_field: str) -> Feature | str:
    """Return a field as a feature, else why it is none."""
    cells = [row.cells.get(name) for row in rows]
    values = [cell for cell in cells if cell is not None]
    distinct = len(set(values))
    if not values:
        return "has no value that can be read"
    numbers = sum(isinstance(cell, float) for cell in values)
    kind = FeatureKind.NUMBER if numbers >= NUMBERS * len(values) else FeatureKind.CATEGORY
    if not asked_for:
        if name == key_field:
            return "is the key"
        if distinct == 1 and len(values) == len(cells):
            return "is the same everywhere"
        if kind is FeatureKind.CATEGORY and distinct > DISTINCT * len(values):
            return "is a text that hardly repeats"
    readable = numbers if kind is FeatureKind.NUMBER else len(values)
    return Feature(name, kind, gaps=readable < len(cells))


def read_row(features: Sequence[Feature], cells: Mapping[str, Cell]) -> list[float | str]:
    """Return what a model learns from one row; what is not there is NaN or an empty text."""
    return [_learnt(feature.kind, cells.get(feature.name)) for feature in features]


def _learnt(kind: FeatureKind, cell: Cell) -> float | str:
    if kind is FeatureKind.NUMBER:
        return cell if isinstance(cell, float) else float("nan")
    return label_of(cell)


def read_record(features: Sequence[Feature], fields: Mapping[str, object]) -> list[float | str]:
    """Return what a model reads in a record; :class:`Lacking` where it is not what it learnt.

    An empty field is read only where the model has met that: it learnt then what to make of it.
    """
    return [_read(feature, fields) for feature in features]


def _read(feature: Feature, fields: Mapping[str, object]) -> float | str:
    if feature.name not in fields:
        raise Lacking(f"It lacks the field {feature.name}.")
    cell = cell_of(fields[feature.name])
    if cell is None and not feature.gaps:
        raise Lacking(f"Its field {feature.name} is empty, which it never was in training.")
    if feature.kind is FeatureKind.NUMBER and isinstance(cell, str):
        raise Lacking(f"Its field {feature.name} is no number.")
    return _learnt(feature.kind, cell)


def cells_of(fields: Mapping[str, object]) -> dict[str, Cell]:
    """Read all fields of a record."""
    return {name: cell_of(value) for name, value in fields.items()}


def readable(features: Sequence[Feature], rows: Iterable[Row]) -> Iterable[Row]:
    """Yield the rows that hold all fields of a model."""
    names = {feature.name for feature in features}
    return (row for row in rows if names <= row.cells.keys())
