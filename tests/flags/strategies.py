"""Flags, deployments of flags, and questions, as hypothesis draws them: small, so that they meet.

A deployment's flags build only on those drawn before them, so there are no circles.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

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

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NAMES = ("f", "ui.beta", "shop")
# What an operator must be able to read; of several, a condition takes one or more.
VALUES = {
    **dict.fromkeys(Operator, ("pro", "1", "true")),
    **dict.fromkeys((Operator.GT, Operator.GTE, Operator.LT, Operator.LTE), ("0", "1", "1.5")),
    **dict.fromkeys((Operator.BEFORE, Operator.AFTER), ("2026-11-22", "2026-11-22T12:00Z")),
    **dict.fromkeys(
        (Operator.SEMVER_EQ, Operator.SEMVER_GT, Operator.SEMVER_LT), ("1.0.0", "1.0.0-rc.1")
    ),
    Operator.MATCHES: ("^p", "[0-9]"),
}

environments = st.sampled_from(["production", "staging", "demo"])
# The ends often: what is decided without a bucket.
percentages = st.sampled_from([0.0, 100.0]) | st.integers(0, 10_000).map(lambda n: n / 100)
# Of what ends a decision early, little: the later steps must be reached often.
starts = st.sampled_from([*[None] * 4, NOW - timedelta(hours=1), NOW, NOW + timedelta(hours=1)])
expiries = st.sampled_from([*[None] * 4, NOW + timedelta(hours=1), NOW, NOW - timedelta(hours=1)])
few_subjects = st.sampled_from([(), (), ("a",), ("b",)])
attribute_names = st.sampled_from(["plan", "seats", "version"])
plain_values = st.sampled_from(
    ["pro", "free", "", "1", "1.0.0", "2026-11-22", 0, 1, 1.5, True, None, NOW, {"deep": 1}]
)
attributes = st.fixed_dictionaries(
    {"plan": st.sampled_from(["pro", "free"]) | plain_values},
    optional={"seats": plain_values, "version": st.lists(plain_values, max_size=2)},
)
segment_names = st.sampled_from(["team", "press"])


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    operator = draw(st.sampled_from([*Operator, *[Operator.EQUALS] * 5]))
    return Condition(
        attribute=draw(attribute_names),
        operator=operator,
        values=(draw(st.sampled_from(VALUES[operator])),),
        negate=draw(st.sampled_from([False, False, True])),
    )


some_conditions = st.lists(conditions(), max_size=2).map(tuple)
# A name that is no segment's is drawn now and then: such a rule holds for nobody.
rules = st.builds(
    Rule,
    name=st.sampled_from(["r", "s", "t"]),
    conditions=some_conditions,
    segments=st.sampled_from([(), (), ("team",), ("press",), ("gone",)]),
    percentage=percentages,
)
variants = st.builds(
    Variant,
    name=st.sampled_from(["red", "green", "blue"]),
    weight=st.integers(0, 3),
    value=st.none() | st.integers(0, 9),
)


def has_weight(found: Sequence[Variant]) -> bool:
    return not found or any(variant.weight for variant in found)


flags = st.builds(
    FlagDefinition,
    name=st.sampled_from(NAMES),
    enabled=st.sampled_from([*[True] * 7, False]),
    percentage=percentages,
    whitelist=few_subjects,
    blacklist=few_subjects,
    environments=st.sampled_from([*[()] * 4, ("production",), ("production", "staging")]),
    environment_overrides=st.just({})
    | st.dictionaries(environments, percentages | st.booleans(), max_size=1),
    starts_at=starts,
    expires_at=expiries,
    rules=st.lists(rules, max_size=2, unique_by=lambda rule: rule.name).map(tuple),
    variants=st.lists(variants, max_size=3, unique_by=lambda variant: variant.name)
    .filter(has_weight)
    .map(tuple),
    stickiness=st.sampled_from(["", "f", "group"]),
)
contexts = st.builds(
    EvaluationContext,
    subject=st.sampled_from(["a", "b", "c", "d", "", None]) | st.text(max_size=10),
    environment=environments,
    now=st.sampled_from([NOW, NOW + timedelta(minutes=30), NOW - timedelta(hours=2)]),
    attributes=attributes,
)


@st.composite
def deployments(draw: st.DrawFn) -> FlagSet:
    """Draw some flags, each of which may build on earlier ones or on one that there is not."""
    found: dict[str, FlagDefinition] = {}
    segments = draw(st.dictionaries(segment_names, some_conditions, max_size=2))
    for name in NAMES[: draw(st.integers(1, len(NAMES)))]:
        needed = st.lists(st.sampled_from([*found, "gone"]), max_size=2, unique=True)
        prerequisites = tuple(
            Prerequisite(flag=other, enabled=other in found and draw(st.booleans()))
            for other in draw(needed if found else st.just([]))
        )
        found[name] = replace(draw(flags), name=name, prerequisites=prerequisites)
    return FlagSet(1, found, segments)
