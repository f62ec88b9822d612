"""Why a flag answers as it does: always the evaluator's answer, and one step that decides."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.flags.strategies import NOW, contexts, deployments
from webapp.flags.evaluation import NOT_FOUND
from webapp.flags.explanation import Explanation, Known, Split, StepName, StepOutcome, explain
from webapp.flags.tables import FlagTable
from webapp.flags.values import (
    Condition,
    EvaluationContext,
    FlagDefinition,
    FlagSet,
    Operator,
    Prerequisite,
    Rule,
    Variant,
)

FULL = FlagDefinition(name="f", enabled=True, percentage=100.0)
PRO = Condition(attribute="plan", operator=Operator.EQUALS, values=("pro",))
FOR_PRO = Rule(name="for pro", conditions=(PRO,), segments=("press", "gone"), percentage=100.0)
SPLIT = (Variant(name="red", weight=1, value="#f00"), Variant(name="blue", weight=3))


def ask(subject: str | None = "u", environment: str = "production") -> EvaluationContext:
    return EvaluationContext(subject, environment, NOW)


def outcomes(told: Explanation) -> list[StepOutcome]:
    return [step.outcome for step in told.steps]


def known_from(found: FlagSet) -> Known:
    return Known(found.segments, found.flags)


@settings(max_examples=1_000)
@given(deployments(), contexts)
def test_the_answer_is_the_evaluators(found: FlagSet, context: EvaluationContext) -> None:
    table = FlagTable(found, context.environment, None)
    for name, flag in found.flags.items():
        told = explain(flag, context, known=known_from(found))
        # The rule, the variant and its value are parts of it.
        compiled = table.find(name)
        assert compiled is not None
        assert told.decision == compiled.ask(context)
        assert (told.decision.variant is not None) is (
            told.split is not None and told.split.place is not None
        )


@given(deployments(), contexts, st.booleans())
def test_one_step_decides_and_those_before_it_were_passed(
    found: FlagSet, context: EvaluationContext, archived: bool
) -> None:
    flag = list(found.flags.values())[-1]
    told = explain(flag, context, known=known_from(found), archived=archived)
    place = [step.name for step in told.steps].index(told.decided_by)
    assert [step.name for step in told.steps] == list(StepName)
    assert outcomes(told) == (
        [StepOutcome.PASSED] * place
        + [StepOutcome.DECIDED]
        + [StepOutcome.NOT_REACHED] * (len(StepName) - place - 1)
    )


@pytest.mark.parametrize(
    ("changes", "subject", "step"),
    [
        ({"enabled": False}, "u", StepName.SWITCH),
        ({"starts_at": NOW + timedelta(hours=1)}, "u", StepName.WINDOW),
        ({"expires_at": NOW}, "u", StepName.WINDOW),
        ({"prerequisites": (Prerequisite(flag="gone"),)}, "u", StepName.PREREQUISITES),
        ({"blacklist": ("u",)}, "u", StepName.BLACKLIST),
        ({"environment_overrides": {"production": True}}, "u", StepName.ENVIRONMENT_OVERRIDE),
        ({"environments": ("staging",)}, "u", StepName.ENVIRONMENTS),
        ({"whitelist": ("u",)}, "u", StepName.WHITELIST),
        ({}, "u", StepName.PERCENTAGE),
        ({"percentage": 50.0}, None, StepName.PERCENTAGE),
        ({"percentage": 0.0, "rules": (FOR_PRO,)}, "u", StepName.PERCENTAGE),
    ],
)
def test_the_step_that_decides_is_named(
    changes: dict[str, Any], subject: str | None, step: StepName
) -> None:
    assert explain(replace(FULL, **changes), ask(subject)).decided_by == step


@pytest.mark.parametrize(("flag", "archived", "steps"), [(None, False, 1), (FULL, True, 9)])
def test_what_is_unknown_or_archived_ends_at_the_first_step(
    flag: FlagDefinition | None, archived: bool, steps: int
) -> None:
    told = explain(flag, ask(), archived=archived)
    assert (told.decision, told.decided_by) == (NOT_FOUND, StepName.KNOWN)
    assert len(told.steps) == steps


def test_a_step_shows_what_it_looked_at() -> None:
    flag = replace(
        FULL, percentage=50.0, environment_overrides={"production": 12.5}, blacklist=("x", "y")
    )
    inputs = {step.name: dict(step.inputs) for step in explain(flag, ask("user-3")).steps}
    assert inputs[StepName.BLACKLIST] == {"subject": "user-3", "size": 2, "listed": False}
    bucket = inputs[StepName.PERCENTAGE].pop("bucket")
    assert 0 <= bucket < 100
    assert inputs[StepName.PERCENTAGE] == {
        "percentage": 12.5,
        "percentage_of": "environment",
        "rules": [],
        "stickiness": "f",
        "subject": "user-3",
    }


def test_a_rule_shows_each_condition_and_segment_with_what_it_found() -> None:
    flag = replace(FULL, percentage=0.0, rules=(FOR_PRO,))
    context = ask()._replace(attributes={"plan": "pro"})
    told = explain(flag, context, known=Known({"press": (PRO,)}))
    (rule,) = told.steps[-1].inputs["rules"]
    assert rule == {
        "name": "for pro",
        "percentage": 100.0,
        "holds": False,
        "conditions": [
            {
                "attribute": "plan",
                "operator": "equals",
                "values": ("pro",),
                "negate": False,
                "found": "pro",
                "holds": True,
            }
        ],
        "segments": [{"name": "press", "holds": True}, {"name": "gone", "holds": False}],
    }


def test_a_prerequisite_shows_what_was_wanted_and_what_it_answered() -> None:
    needed = (Prerequisite(flag="other"), Prerequisite(flag="gone", enabled=False))
    known = Known(flags={"other": replace(FULL, name="other", blacklist=("u",))})
    told = explain(replace(FULL, prerequisites=needed), ask(), known=known)
    assert told.decided_by is StepName.PREREQUISITES
    assert told.steps[3].inputs["flags"] == [
        {"flag": "other", "wanted": True, "enabled": False, "reason": "blacklist", "met": False},
        {"flag": "gone", "wanted": False, "enabled": False, "reason": "not_found", "met": True},
    ]


@pytest.mark.parametrize(
    ("changes", "subject", "split"),
    [
        ({"variants": SPLIT}, None, Split(None, 4, {"red": 1, "blue": 3})),
        ({"variants": SPLIT, "percentage": 0.0}, "u", None),
        ({}, "u", None),
    ],
)
def test_only_a_flag_that_is_on_for_a_subject_is_split(
    changes: dict[str, Any], subject: str | None, split: Split | None
) -> None:
    told = explain(replace(FULL, **changes), ask(subject))
    assert told.split == split
    assert told.decision.variant is None


def test_a_split_shows_where_among_the_weights_the_subject_lies() -> None:
    places = set()
    for number in range(100):
        told = explain(replace(FULL, variants=SPLIT), ask(f"user-{number}"))
        assert told.split is not None
        assert (told.split.total, told.split.weights) == (4, {"red": 1, "blue": 3})
        assert told.decision.variant == ("red" if told.split.place == 1 else "blue")
        assert told.decision.value == ("#f00" if told.split.place == 1 else None)
        places.add(told.split.place)
    assert places == {1, 2, 3, 4}
