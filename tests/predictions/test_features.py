"""What a model looks at, and what it refuses to guess."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from webapp.errors import Invalid
from webapp.predictions.features import (
    MAX_CLASSES,
    Lacking,
    Plan,
    cells_of,
    make_plan,
    read_record,
    read_row,
    suggested_task,
)
from webapp.predictions.sampling import Row
from webapp.predictions.values import (
    Algorithm,
    Cell,
    Feature,
    FeatureKind,
    Task,
    TrainingDraft,
)

COUNT = 100
SIZE = Feature("size", FeatureKind.NUMBER, gaps=False)
COLOUR = Feature("colour", FeatureKind.CATEGORY, gaps=True)


def rows(**fields: Sequence[object]) -> list[Row]:
    """Rows of which each field is the next of its values, round and round."""
    return [
        Row(
            f"{number:03}",
            "hash",
            cells_of({name: values[number % len(values)] for name, values in fields.items()}),
        )
        for number in range(COUNT)
    ]


def plan(found: list[Row], standing: Task | None = None, **draft: Any) -> Plan:
    wanted = TrainingDraft(source="s", target="target", **draft)
    return make_plan(found, wanted, key_field="id", standing=standing)


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (["yes", "no"], Task.CLASSIFICATION),
        ([0.0, 1.0], Task.CLASSIFICATION),
        ([float(number) for number in range(20)], Task.CLASSIFICATION),
        ([float(number) for number in range(21)], Task.REGRESSION),
        ([0.5, 1.0], Task.REGRESSION),
        ([0.5] * 99 + ["unknown"], Task.REGRESSION),
        ([0.5] * 9 + ["unknown"], Task.CLASSIFICATION),
    ],
)
def test_the_target_suggests_what_is_learnt(cells: list[Cell], task: Task) -> None:
    assert suggested_task(cells) is task


@pytest.mark.parametrize(
    ("draft", "standing", "task", "algorithm"),
    [
        ({}, None, Task.CLASSIFICATION, Algorithm.LOGISTIC),
        ({}, Task.REGRESSION, Task.REGRESSION, Algorithm.LINEAR),
        ({"task": "regression"}, None, Task.REGRESSION, Algorithm.LINEAR),
        ({"algorithm": "linear"}, None, Task.REGRESSION, Algorithm.LINEAR),
        ({"algorithm": "logistic"}, Task.REGRESSION, Task.CLASSIFICATION, Algorithm.LOGISTIC),
        (
            {"algorithm": "gradient_boosting"},
            None,
            Task.CLASSIFICATION,
            Algorithm.GRADIENT_BOOSTING,
        ),
        (
            {"algorithm": "gradient_boosting", "task": "regression"},
            None,
            Task.REGRESSION,
            Algorithm.GRADIENT_BOOSTING,
        ),
    ],
)
def test_who_names_something_gets_it_and_the_rest_follows(
    draft: dict[str, str], standing: Task | None, task: Task, algorithm: Algorithm
) -> None:
    found = plan(rows(target=["0", "1"], size=[1.5, 2.5, 3.5]), standing, **draft)
    assert (found.task, found.algorithm) == (task, algorithm)


def test_fields_that_tell_nothing_are_left_out_with_the_reason() -> None:
    found = plan(
        rows(
            target=["a", "b"],
            id=[str(number) for number in range(COUNT)],
            same=["x"],
            text=[f"sentence {number}" for number in range(COUNT)],
            nested=[{"a": 1}],
            size=["1", "2", "3"],
            colour=["red", "", "blue"],
        )
    )
    assert [(item.name, item.kind, item.gaps) for item in found.features] == [
        ("colour", FeatureKind.CATEGORY, True),
        ("size", FeatureKind.NUMBER, False),
    ]
    assert found.left_out == {
        "id": "is the key",
        "nested": "has no value that can be read",
        "same": "is the same everywhere",
        "text": "is a text that hardly repeats",
    }


def test_whoever_names_fields_gets_these() -> None:
    found = plan(
        rows(target=["a", "b"], text=[f"{n} words" for n in range(COUNT)], size=[1, 2]),
        fields=("text",),
    )
    assert [item.name for item in found.features] == ["text"]


def test_a_few_texts_among_numbers_are_gaps() -> None:
    found = plan(rows(target=["a", "b"], size=["1", "2", "3"] * 33 + ["?"]))
    assert found.features == [Feature("size", FeatureKind.NUMBER, gaps=True)]


def test_rows_without_a_target_are_counted_and_left_out() -> None:
    found = plan(rows(target=["a", "b", "b", ""], size=[1, 2, 3]))
    assert (len(found.rows), found.unlabelled) == (75, 25)
    numbers = plan(rows(target=[0.5, 1.5] * 49 + ["?", ""], size=[1, 2, 3]))
    assert (numbers.task, len(numbers.rows), numbers.unlabelled) == (Task.REGRESSION, 98, 2)


@pytest.mark.parametrize(
    ("fields", "draft", "field"),
    [
        ({"size": [1, 2]}, {}, "target"),
        ({"target": ["", "", "a"], "size": [1, 2]}, {}, "target"),
        ({"target": ["a"], "size": [1, 2]}, {}, "target"),
        ({"target": [f"a{n}" for n in range(MAX_CLASSES + 1)], "size": [1]}, {}, "target"),
        ({"target": ["a", "b"]}, {}, "fields"),
        ({"target": ["a", "b"], "same": [1]}, {}, "fields"),
        ({"target": ["a", "b"], "size": [1, 2]}, {"fields": ("gone",)}, "fields"),
        ({"target": ["a", "b"], "size": [1, 2]}, {"task": "regression"}, "target"),
    ],
)
def test_what_cannot_be_learnt_names_its_field(
    fields: dict[str, list[object]], draft: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        plan(rows(**fields), **draft)
    assert set(refused.value.errors) == {field}


@pytest.mark.parametrize(
    ("record", "values"),
    [
        ({"size": "1", "colour": "red", "more": "x"}, [1.0, "red"]),
        ({"size": 1, "colour": ""}, [1.0, ""]),
        ({"size": 1, "colour": 7}, [1.0, "7"]),
    ],
)
def test_a_record_is_read_as_the_model_has_learnt(
    record: dict[str, object], values: list[object]
) -> None:
    assert read_record([SIZE, COLOUR], record) == values


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"colour": "red"}, "lacks the field size"),
        ({"size": "1"}, "lacks the field colour"),
        ({"size": "", "colour": "red"}, "size is empty"),
        ({"size": None, "colour": "red"}, "size is empty"),
        ({"size": [1], "colour": "red"}, "size is empty"),
        ({"size": "large", "colour": "red"}, "size is no number"),
    ],
)
def test_what_the_model_has_not_learnt_is_refused_and_not_guessed(
    record: dict[str, object], reason: str
) -> None:
    with pytest.raises(Lacking, match=reason):
        read_record([SIZE, COLOUR], record)


def test_in_learning_gaps_stay_gaps() -> None:
    size, colour = read_row([SIZE, COLOUR], {"size": "large"})
    assert isinstance(size, float)
    assert math.isnan(size)
    assert colour == ""
