"""Features decide in an SDK as flags do here: held against the engine of Unleash's own SDKs."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yggdrasil_engine.engine import UnleashEngine

from tests.flags import strategies
from tests.unleash.every_field import (
    BY_BUCKET,
    FEW,
    FLAGS,
    NOW,
    PRO,
    SETTLED,
    SUBJECTS,
    condition,
    flag,
    rule,
    subject_of,
    there,
)
from webapp.flags.tables import FlagTables
from webapp.flags.values import (
    Decision,
    EvaluationContext,
    FlagDefinition,
    FlagSet,
    Operator,
    Override,
    Prerequisite,
)
from webapp.unleash.constraints import CONTEXT_FIELDS
from webapp.unleash.documents import features_of, losses_of


class Engine:
    """The engine of Unleash's SDKs, fed with features."""

    def __init__(self, found: FlagSet, environment: str) -> None:
        self._engine = UnleashEngine()
        self._with_variants = {name for name, item in found.flags.items() if item.variants}
        document = {"version": 2, "features": features_of(found, environment)}
        assert not self._engine.take_state(json.dumps(document))

    def decide(self, name: str, context: Mapping[str, Any]) -> tuple[bool, str | None, Any]:
        """Return whether a feature is on, its variant, and what that gives.

        What the engine does beside, counting among it, costs more than deciding.
        """
        if name not in self._with_variants:
            return bool(self._engine._do_is_enabled(name, context)), None, None
        variant = self._engine._do_get_variant(name, context)
        if variant is None or not variant.enabled:
            return variant is not None and variant.feature_enabled, None, None
        return variant.feature_enabled, variant.name, payload_of(variant.payload)


def payload_of(payload: Mapping[str, str] | None) -> Any:
    if payload is None:
        return None
    return payload["value"] if payload["type"] == "string" else json.loads(payload["value"])


def as_told(decision: Decision) -> tuple[bool, str | None, Any]:
    return decision.enabled, decision.variant, decision.value


def test_an_sdk_decides_as_the_server_for_ten_thousand_subjects_over_every_field() -> None:
    assert {name: losses_of(item, FLAGS) for name, item in FLAGS.flags.items()} == {
        name: [] for name in FLAGS.flags
    }
    engine = Engine(FLAGS, "staging")
    table = FlagTables(FLAGS, "staging", None).table(None)
    answers: dict[str, set[tuple[bool, str | None]]] = {name: set() for name in FLAGS.flags}
    for number in range(SUBJECTS):
        context = subject_of(number)
        asked = there(context)
        # What is settled for all, or for all alike, is soon compared.
        for name in FLAGS.flags if number < FEW else BY_BUCKET:
            compiled = table.find(name)
            assert compiled is not None
            decision = compiled.ask(context)
            assert engine.decide(name, asked) == as_told(decision), (name, context)
            answers[name].add((decision.enabled, decision.variant))
    assert len(BY_BUCKET) >= 20
    # Else nothing was compared: whoever is not settled for all is on for some and off for others.
    assert {name for name, found in answers.items() if len(found) == 1} == SETTLED
    assert len(answers["l.variants"]) == 4


texts = st.sampled_from(["pro", "free", "1", "2", "10", "1.0.0", "1.0.0-rc.1", "2.0.0"])
contexts = st.builds(
    EvaluationContext,
    subject=st.sampled_from(["a", "b", "c", "d"]) | st.text("abcdefghij", min_size=1, max_size=10),
    environment=strategies.environments,
    now=st.sampled_from([strategies.NOW + timedelta(minutes=minutes) for minutes in (-90, 0, 30)]),
    attributes=st.dictionaries(strategies.attribute_names, texts, max_size=3),
)


@given(strategies.deployments(), contexts)
def test_an_sdk_never_turns_on_what_is_off_and_turns_off_only_what_is_told(
    found: FlagSet, context: EvaluationContext
) -> None:
    engine = Engine(found, context.environment)
    table = FlagTables(found, context.environment, None).table(None)
    for name, item in found.flags.items():
        compiled = table.find(name)
        assert compiled is not None
        decision = compiled.ask(context)
        told = engine.decide(name, there(context))
        if told[0] or not losses_of(item, found):
            assert told == as_told(decision)


@given(strategies.deployments(), strategies.contexts)
def test_what_sdks_read_is_json_that_any_context_can_be_asked_with(
    found: FlagSet, context: EvaluationContext
) -> None:
    features = features_of(found, context.environment)
    assert [feature["name"] for feature in features] == sorted(found.flags)
    for feature in json.loads(json.dumps(features)):
        # One without strategies is on for everybody where it is enabled.
        assert feature["enabled"] is bool(feature["strategies"])
        for strategy in feature["strategies"]:
            assert strategy["name"] in {"default", "flexibleRollout"}


def test_nobody_named_is_answered_too() -> None:
    engine = Engine(FLAGS, "staging")
    table = FlagTables(FLAGS, "staging", None).table(None)
    nobody = EvaluationContext(None, "staging", NOW, {"plan": "pro"})
    for name, item in FLAGS.flags.items():
        if item.variants:
            # An SDK gives one by chance.
            continue
        compiled = table.find(name)
        assert compiled is not None
        assert engine.decide(name, there(nobody)) == as_told(compiled.ask(nobody)), name


MAIL: Final = condition("mail", Operator.MATCHES, "^a")
LOST: Final[dict[str, tuple[FlagDefinition, list[str]]]] = {
    "hundredths": (flag("f", 12.5), ["12.5 % counts as 12 %"]),
    "less than one": (flag("f", 0.5), ["0.5 % counts as 0 %"]),
    "of an environment": (
        flag("f", 10, environment_overrides={"demo": 33.33}),
        ["33.33 % counts as 33 %"],
    ),
    "a regular expression": (
        flag("f", rules=(rule("r", 100, MAIL), rule("s", 100, PRO))),
        ["the rule r is left out (mail matches)"],
    ),
    "a time": (
        flag("f", rules=(rule("r", 1, condition("since", Operator.AFTER, "2026-01-01")),)),
        ["the rule r is left out (since after)"],
    ),
    "a list turned round": (
        flag("f", rules=(rule("r", 1, replace(PRO, negate=True)),)),
        ["the rule r is left out (plan not in)"],
    ),
    "a version turned round": (
        flag("f", rules=(rule("r", 1, condition("v", Operator.SEMVER_GT, "1.0.0", negate=True)),)),
        ["the rule r is left out (v not semver gt)"],
    ),
    "space around a value": (
        flag("f", rules=(rule("r", 1, condition("plan", Operator.IN, "pro", " team")),)),
        ["the rule r is left out (plan in)"],
    ),
    "a number that is no float": (
        flag("f", rules=(rule("r", 1, condition("n", Operator.GT, str(2**60))),)),
        ["the rule r is left out (n gt)"],
    ),
    "a field of the context": (
        flag("f", rules=(rule("r", 1, condition("appName", Operator.IN, "shop")),)),
        ["the rule r is left out (appName in)"],
    ),
    "in a segment": (
        flag("f", rules=(rule("r", 1, segments=("press",)),)),
        ["the rule r is left out (mail matches)"],
    ),
    "a prerequisite's prerequisite": (
        flag("f", 100, prerequisites=(Prerequisite(flag="needs"),)),
        ["off for everybody: needs has prerequisites of its own"],
    ),
    "off where a prerequisite is not quite right": (
        flag("f", 100, prerequisites=(Prerequisite(flag="half", enabled=False),)),
        ["off for everybody: half is not decided alike"],
    ),
    "on where a prerequisite is not quite right": (
        flag("f", 100, prerequisites=(Prerequisite(flag="half"),)),
        ["off where half is left off"],
    ),
    "off in an environment of a prerequisite": (
        flag("f", 100, prerequisites=(Prerequisite(flag="there", enabled=False),)),
        ["off for everybody: there is not decided alike"],
    ),
    "a rule that adds nobody": (flag("f", 50, rules=(rule("r", 50, MAIL),)), []),
    "switched off": (flag("f", 12.5, enabled=False, rules=(rule("r", 100, MAIL),)), []),
}
AROUND: Final = {
    item.name: item
    for item in (
        flag("half", 49.5),
        flag("there", 0.01, environments=("demo",)),
        flag("needs", 100, prerequisites=(Prerequisite(flag="half"),)),
    )
}


@pytest.mark.parametrize("case", LOST.values(), ids=LOST)
def test_what_an_sdk_leaves_off_is_told(case: tuple[FlagDefinition, list[str]]) -> None:
    lost, losses = case
    found = FlagSet(1, {**AROUND, lost.name: lost}, {"press": (MAIL,)})
    assert losses_of(lost, found) == losses
    # Also of a flag that is about to be saved.
    assert losses_of(lost, replace(found, flags=AROUND)) == losses


VALUES: Final = {
    Operator.MATCHES: "^a",
    Operator.BEFORE: "2026-01-01",
    Operator.AFTER: "2026-01-01",
    **dict.fromkeys((Operator.GT, Operator.GTE, Operator.LT, Operator.LTE), "3"),
    **dict.fromkeys((Operator.SEMVER_EQ, Operator.SEMVER_GT, Operator.SEMVER_LT), "1.0.0"),
}
LEFT_OUT: Final = {
    *product((Operator.MATCHES, Operator.BEFORE, Operator.AFTER), (False, True)),
    *product((Operator.IN, Operator.EQUALS), (True,)),
    *product((Operator.CONTAINS, Operator.STARTS_WITH, Operator.ENDS_WITH), (True,)),
    *product((Operator.SEMVER_EQ, Operator.SEMVER_GT, Operator.SEMVER_LT), (True,)),
}


@pytest.mark.parametrize("negate", [False, True])
@pytest.mark.parametrize("operator", list(Operator))
def test_a_rule_is_left_out_for_an_operator_that_no_sdk_has(
    operator: Operator, negate: bool
) -> None:
    item = condition("plan", operator, VALUES.get(operator, "pro"), negate=negate)
    lost = losses_of(flag("f", rules=(rule("r", 100, item),)), FlagSet(1, {}, {}))
    assert len(lost) == ((operator, negate) in LEFT_OUT)
    assert all(told.startswith("the rule r is left out (plan ") for told in lost)


@pytest.mark.parametrize("name", sorted(CONTEXT_FIELDS))
def test_a_rule_is_left_out_for_an_attribute_that_is_a_field_of_the_sdks(name: str) -> None:
    item = condition(name, Operator.IN, "a")
    (lost,) = losses_of(flag("f", rules=(rule("r", 100, item),)), FlagSet(1, {}, {}))
    assert lost == f"the rule r is left out ({name} in)"


@pytest.mark.parametrize("override", [True, False, 12.5])
def test_only_what_its_environment_has_of_a_flag_is_handed_out(override: Override) -> None:
    secret = flag("f", whitelist=("user-1",), environment_overrides={"demo": override})
    found = FlagSet(1, {"f": secret}, {})
    (elsewhere,) = features_of(found, "staging")
    assert "user-1" in json.dumps(elsewhere)
    (demo,) = features_of(found, "demo")
    assert ("user-1" in json.dumps(demo)) is (override == 12.5)


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999+00:00"]
)
def test_a_window_may_reach_to_either_end_of_the_calendar(moment: str) -> None:
    at = datetime.fromisoformat(moment)
    begun = flag("begun", 100, starts_at=at)
    over = flag("over", 100, expires_at=at)
    found = FlagSet(1, {"begun": begun, "over": over}, {})
    engine, table = Engine(found, "any"), FlagTables(found, "any", None).table(None)
    context = EvaluationContext("a", "any", NOW)
    for name in found.flags:
        compiled = table.find(name)
        assert compiled is not None
        assert engine.decide(name, there(context)) == as_told(compiled.ask(context))
