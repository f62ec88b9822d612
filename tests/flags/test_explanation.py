"""Why a flag answers as it does: always the evaluator's answer, and one step that decides."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.flags.evaluation import NOT_FOUND, Surroundings, compile_flag
from webapp.flags.explanation import Explanation, StepName, StepOutcome, explain
from webapp.flags.values import EvaluationContext, FlagDefinition

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
FULL = FlagDefinition(name="f", enabled=True, percentage=100.0)

# Few of each, so that lists, environments and subjects meet often.
environments = st.sampled_from(["production", "staging", "demo"])
subjects = st.sampled_from(["a", "b", "c", "d"])
# The ends often: what is decided without a bucket.
percentages = st.sampled_from([0.0, 100.0]) | st.integers(0, 10_000).map(lambda n: n / 100)
times = st.none() | st.integers(-2, 2).map(lambda hours: NOW + timedelta(hours=hours))
flags = st.builds(
    FlagDefinition,
    name=st.sampled_from(["f", "ui.beta"]),
    enabled=st.sampled_from([True, True, True, False]),
    percentage=percentages,
    whitelist=st.lists(subjects, unique=True, max_size=1).map(tuple),
    blacklist=st.lists(subjects, unique=True, max_size=1).map(tuple),
    environments=st.lists(environments, unique=True, max_size=2).map(tuple),
    environment_overrides=st.dictionaries(environments, st.booleans() | percentages, max_size=2),
    starts_at=times,
    expires_at=times,
    stickiness=st.sampled_from(["", "f", "group"]),
)
contexts = st.builds(
    EvaluationContext,
    subject=st.none() | st.just("") | subjects | st.text(max_size=10),
    environment=environments,
    now=st.integers(-2, 2).map(lambda hours: NOW + timedelta(hours=hours)),
    attributes=st.just({}),
)


def ask(subject: str | None = "u", environment: str = "production") -> EvaluationContext:
    return EvaluationContext(subject, environment, NOW)


def outcomes(told: Explanation) -> list[StepOutcome]:
    return [step.outcome for step in told.steps]


@settings(max_examples=1_000)
@given(flags, contexts)
def test_the_answer_is_the_evaluators(flag: FlagDefinition, context: EvaluationContext) -> None:
    assert explain(flag, context).decision == compile_flag(
        flag, Surroundings(context.environment)
    ).ask(context)


@given(flags, contexts, st.booleans())
def test_one_step_decides_and_those_before_it_were_passed(
    flag: FlagDefinition, context: EvaluationContext, archived: bool
) -> None:
    told = explain(flag, context, archived=archived)
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
        ({"blacklist": ("u",)}, "u", StepName.BLACKLIST),
        ({"environment_overrides": {"production": True}}, "u", StepName.ENVIRONMENT_OVERRIDE),
        ({"environments": ("staging",)}, "u", StepName.ENVIRONMENTS),
        ({"whitelist": ("u",)}, "u", StepName.WHITELIST),
        ({}, "u", StepName.PERCENTAGE),
        ({"percentage": 50.0}, None, StepName.PERCENTAGE),
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
