"""How a flag is decided: each step, and each pair of steps that could be swapped."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate, permutations
from typing import Any

import mmh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.flags.strategies import contexts, deployments, percentages, rules
from webapp.flags.bucketing import bucket_of
from webapp.flags.evaluation import CompiledFlag, Surroundings, compile_flag, state_of
from webapp.flags.tables import FlagTable
from webapp.flags.values import (
    Condition,
    EvaluationContext,
    FlagDefinition,
    FlagSet,
    FlagState,
    Operator,
    Prerequisite,
    Reason,
    Rule,
    Variant,
    subject_id,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
FULL = FlagDefinition(name="f", enabled=True, percentage=100.0)

# Bucket of each in the rollout of "f"; the tests below check that they are what they say.
INSIDE, OUTSIDE = "user-3", "user-0"

ON, OFF = True, False
SUBJECTS = 100_000

# (the flag, beside on at 100 % for everybody; subject; environment; answer; reason)
CASES: list[tuple[str, dict[str, Any], str | None, bool, Reason]] = [
    # Each step alone.
    ("switched off", {"enabled": False}, "u", OFF, Reason.DISABLED),
    ("not started", {"starts_at": LATER}, "u", OFF, Reason.NOT_STARTED),
    ("starts this moment", {"starts_at": NOW}, "u", ON, Reason.EVERYONE),
    ("expired", {"expires_at": EARLIER}, "u", OFF, Reason.EXPIRED),
    ("expires this moment", {"expires_at": NOW}, "u", OFF, Reason.EXPIRED),
    ("within its window", {"starts_at": EARLIER, "expires_at": LATER}, "u", ON, Reason.EVERYONE),
    ("blacklisted", {"blacklist": ("u",)}, "u", OFF, Reason.BLACKLIST),
    ("another is blacklisted", {"blacklist": ("v",)}, "u", ON, Reason.EVERYONE),
    (
        "forced on",
        {"percentage": 0.0, "environment_overrides": {"production": True}},
        "u",
        ON,
        Reason.ENVIRONMENT_OVERRIDE,
    ),
    (
        "forced off",
        {"environment_overrides": {"production": False}},
        "u",
        OFF,
        Reason.ENVIRONMENT_OVERRIDE,
    ),
    (
        "forced off elsewhere",
        {"environment_overrides": {"staging": False}},
        "u",
        ON,
        Reason.EVERYONE,
    ),
    ("another environment", {"environments": ("staging",)}, "u", OFF, Reason.ENVIRONMENT),
    ("its environment", {"environments": ("staging", "production")}, "u", ON, Reason.EVERYONE),
    ("whitelisted", {"percentage": 0.0, "whitelist": ("u",)}, "u", ON, Reason.WHITELIST),
    ("another is whitelisted", {"percentage": 0.0, "whitelist": ("v",)}, "u", OFF, Reason.NOBODY),
    ("at 100", {}, "u", ON, Reason.EVERYONE),
    ("at 100 without a subject", {}, None, ON, Reason.EVERYONE),
    ("at 0", {"percentage": 0.0}, "u", OFF, Reason.NOBODY),
    ("at 0 without a subject", {"percentage": 0.0}, None, OFF, Reason.NOBODY),
    ("inside the rollout", {"percentage": 50.0}, INSIDE, ON, Reason.PERCENTAGE),
    ("outside the rollout", {"percentage": 50.0}, OUTSIDE, OFF, Reason.PERCENTAGE),
    ("partial without a subject", {"percentage": 50.0}, None, OFF, Reason.NO_SUBJECT),
    ("partial with an empty subject", {"percentage": 50.0}, "", OFF, Reason.NO_SUBJECT),
    (
        "the environment's own percentage",
        {"percentage": 0.0, "environment_overrides": {"production": 50.0}},
        INSIDE,
        ON,
        Reason.PERCENTAGE,
    ),
    (
        "the environment's own 0",
        {"environment_overrides": {"production": 0.0}},
        "u",
        OFF,
        Reason.NOBODY,
    ),
    (
        "the environment's own 100",
        {"percentage": 0.0, "environment_overrides": {"production": 100}},
        "u",
        ON,
        Reason.EVERYONE,
    ),
    (
        "the bucket of another flag",
        {"percentage": 50.0, "stickiness": "g"},
        "u",
        ON,
        Reason.PERCENTAGE,
    ),
    # Each pair of neighbours, and pairs further apart that answer differently.
    ("off before not started", {"enabled": False, "starts_at": LATER}, "u", OFF, Reason.DISABLED),
    ("off before expired", {"enabled": False, "expires_at": EARLIER}, "u", OFF, Reason.DISABLED),
    ("off before blacklist", {"enabled": False, "blacklist": ("u",)}, "u", OFF, Reason.DISABLED),
    (
        "off before forced on",
        {"enabled": False, "environment_overrides": {"production": True}},
        "u",
        OFF,
        Reason.DISABLED,
    ),
    ("off before whitelist", {"enabled": False, "whitelist": ("u",)}, "u", OFF, Reason.DISABLED),
    (
        "not started before expired",
        {"starts_at": LATER, "expires_at": EARLIER},
        "u",
        OFF,
        Reason.NOT_STARTED,
    ),
    (
        "not started before blacklist",
        {"starts_at": LATER, "blacklist": ("u",)},
        "u",
        OFF,
        Reason.NOT_STARTED,
    ),
    (
        "not started before forced on",
        {"starts_at": LATER, "environment_overrides": {"production": True}},
        "u",
        OFF,
        Reason.NOT_STARTED,
    ),
    (
        "not started before environment",
        {"starts_at": LATER, "environments": ("staging",)},
        "u",
        OFF,
        Reason.NOT_STARTED,
    ),
    (
        "not started before whitelist",
        {"starts_at": LATER, "whitelist": ("u",)},
        "u",
        OFF,
        Reason.NOT_STARTED,
    ),
    (
        "expired before blacklist",
        {"expires_at": EARLIER, "blacklist": ("u",)},
        "u",
        OFF,
        Reason.EXPIRED,
    ),
    (
        "expired before forced on",
        {"expires_at": EARLIER, "environment_overrides": {"production": True}},
        "u",
        OFF,
        Reason.EXPIRED,
    ),
    (
        "expired before whitelist",
        {"expires_at": EARLIER, "whitelist": ("u",)},
        "u",
        OFF,
        Reason.EXPIRED,
    ),
    (
        "blacklist before forced on",
        {"blacklist": ("u",), "environment_overrides": {"production": True}},
        "u",
        OFF,
        Reason.BLACKLIST,
    ),
    (
        "blacklist before environment",
        {"blacklist": ("u",), "environments": ("staging",)},
        "u",
        OFF,
        Reason.BLACKLIST,
    ),
    (
        "blacklist before whitelist",
        {"blacklist": ("u",), "whitelist": ("u",)},
        "u",
        OFF,
        Reason.BLACKLIST,
    ),
    (
        "forced on before environment",
        {"environments": ("staging",), "environment_overrides": {"production": True}},
        "u",
        ON,
        Reason.ENVIRONMENT_OVERRIDE,
    ),
    (
        "forced off before whitelist",
        {"whitelist": ("u",), "environment_overrides": {"production": False}},
        "u",
        OFF,
        Reason.ENVIRONMENT_OVERRIDE,
    ),
    (
        "forced on before whitelist",
        {"whitelist": ("u",), "environment_overrides": {"production": True}},
        "u",
        ON,
        Reason.ENVIRONMENT_OVERRIDE,
    ),
    (
        "forced on before a missing subject",
        {"percentage": 50.0, "environment_overrides": {"production": True}},
        None,
        ON,
        Reason.ENVIRONMENT_OVERRIDE,
    ),
    (
        "environment before whitelist",
        {"environments": ("staging",), "whitelist": ("u",)},
        "u",
        OFF,
        Reason.ENVIRONMENT,
    ),
    (
        "environment before its own percentage",
        {"environments": ("staging",), "environment_overrides": {"production": 100.0}},
        "u",
        OFF,
        Reason.ENVIRONMENT,
    ),
    ("whitelist before everyone", {"whitelist": ("u",)}, "u", ON, Reason.WHITELIST),
    (
        "whitelist before a percentage",
        {"percentage": 50.0, "whitelist": (OUTSIDE,)},
        OUTSIDE,
        ON,
        Reason.WHITELIST,
    ),
]


# What the rules and prerequisites of the next table refer to.
PRO = Condition(attribute="plan", operator=Operator.IN, values=("pro",))
GROWN = Condition(attribute="age", operator=Operator.GTE, values=("18",))
SEGMENTS = {"pros": (PRO,), "grown pros": (PRO, GROWN)}
OTHERS = {
    "on": replace(FULL, name="on"),
    "off": replace(FULL, name="off", enabled=False),
    "half": replace(FULL, name="half", percentage=50.0, stickiness="f"),
    "later": replace(FULL, name="later", starts_at=LATER),
    "staging": replace(FULL, name="staging", environments=("staging",)),
    "pro": replace(
        FULL,
        name="pro",
        percentage=0.0,
        rules=(Rule(name="r", conditions=(PRO,), percentage=100.0),),
    ),
    "deep": replace(FULL, name="deep", prerequisites=(Prerequisite(flag="half"),)),
}


def needs(flag: str, *, on: bool = True) -> dict[str, Any]:
    return {"prerequisites": (Prerequisite(flag=flag, enabled=on),)}


def rule(percentage: float, name: str = "r", **more: Any) -> Rule:
    return replace(Rule(name=name, conditions=(PRO,), percentage=percentage), **more)


def ruled(own: float, *found: Rule, **more: Any) -> dict[str, Any]:
    return {"percentage": own, "rules": found} | more


ELSE, PRO_PLAN = {"plan": "free"}, {"plan": "pro"}
FORCED_ON = {"environment_overrides": {"production": True}}
FORCED_OFF = {"environment_overrides": {"production": False}}
# In the bucket 15.52, 47.83 and 86.25: see the test of the subjects below.
NEAR, FAR, BEYOND = INSIDE, "user-9", OUTSIDE

# (the flag, beside on at 100 %; subject; its attributes; answer; reason; the rule that is named)
TARGETED: list[tuple[str, dict[str, Any], str | None, dict[str, Any], bool, Reason, str | None]] = [
    # Prerequisites, each alone.
    ("needs one that is on", needs("on"), "u", {}, ON, Reason.EVERYONE, None),
    ("needs one that is off", needs("off"), "u", {}, OFF, Reason.PREREQUISITE, None),
    ("needs one off that is", needs("off", on=False), "u", {}, ON, Reason.EVERYONE, None),
    ("needs one off that is on", needs("on", on=False), "u", {}, OFF, Reason.PREREQUISITE, None),
    ("needs one there is not", needs("none"), "u", {}, OFF, Reason.PREREQUISITE, None),
    ("needs one off there is not", needs("none", on=False), "u", {}, ON, Reason.EVERYONE, None),
    ("needs one that starts later", needs("later"), "u", {}, OFF, Reason.PREREQUISITE, None),
    ("needs one of elsewhere", needs("staging"), "u", {}, OFF, Reason.PREREQUISITE, None),
    ("needs one on for it", needs("half"), NEAR, {}, ON, Reason.EVERYONE, None),
    ("needs one off for it", needs("half"), BEYOND, {}, OFF, Reason.PREREQUISITE, None),
    ("needs one on without it", needs("half"), None, {}, OFF, Reason.PREREQUISITE, None),
    ("needs one on by a rule", needs("pro"), "u", PRO_PLAN, ON, Reason.EVERYONE, None),
    ("needs one off by a rule", needs("pro"), "u", ELSE, OFF, Reason.PREREQUISITE, None),
    ("needs one that needs one", needs("deep"), NEAR, {}, ON, Reason.EVERYONE, None),
    ("needs one that lacks one", needs("deep"), BEYOND, {}, OFF, Reason.PREREQUISITE, None),
    (
        "needs two, lacks the second",
        {"prerequisites": (Prerequisite(flag="on"), Prerequisite(flag="off"))},
        *("u", {}, OFF, Reason.PREREQUISITE, None),
    ),
    (
        "needs two, has both",
        {"prerequisites": (Prerequisite(flag="on"), Prerequisite(flag="off", enabled=False))},
        *("u", {}, ON, Reason.EVERYONE, None),
    ),
    # Prerequisites and each step that they could be swapped with.
    (
        "off before prerequisite",
        needs("off") | {"enabled": False},
        *("u", {}, OFF, Reason.DISABLED, None),
    ),
    (
        "not started before prerequisite",
        needs("off") | {"starts_at": LATER},
        *("u", {}, OFF, Reason.NOT_STARTED, None),
    ),
    (
        "expired before prerequisite",
        needs("off") | {"expires_at": NOW},
        *("u", {}, OFF, Reason.EXPIRED, None),
    ),
    (
        "prerequisite within the window",
        needs("off") | {"starts_at": EARLIER, "expires_at": LATER},
        *("u", {}, OFF, Reason.PREREQUISITE, None),
    ),
    (
        "prerequisite before blacklist",
        needs("off") | {"blacklist": ("u",)},
        *("u", {}, OFF, Reason.PREREQUISITE, None),
    ),
    (
        "blacklist where the prerequisite is met",
        needs("on") | {"blacklist": ("u",)},
        *("u", {}, OFF, Reason.BLACKLIST, None),
    ),
    (
        "prerequisite before forced on",
        needs("off") | FORCED_ON,
        *("u", {}, OFF, Reason.PREREQUISITE, None),
    ),
    (
        "prerequisite before forced off",
        needs("off") | FORCED_OFF,
        *("u", {}, OFF, Reason.PREREQUISITE, None),
    ),
    (
        "prerequisite before environment",
        needs("off") | {"environments": ("staging",)},
        *("u", {}, OFF, Reason.PREREQUISITE, None),
    ),
    (
        "prerequisite before whitelist",
        needs("off") | {"whitelist": ("u",)},
        *("u", {}, OFF, Reason.PREREQUISITE, None),
    ),
    (
        "prerequisite before rule",
        needs("off") | ruled(0.0, rule(100.0)),
        *("u", PRO_PLAN, OFF, Reason.PREREQUISITE, None),
    ),
    (
        "prerequisite before nobody",
        needs("off") | {"percentage": 0.0},
        *("u", {}, OFF, Reason.PREREQUISITE, None),
    ),
    (
        "prerequisite before a missing subject",
        needs("off") | {"percentage": 50.0},
        *(None, {}, OFF, Reason.PREREQUISITE, None),
    ),
    # Rules, each alone: the own percentage, the rule's, and where the subject's bucket lies.
    ("raised to 100", ruled(0.0, rule(100.0)), "u", PRO_PLAN, ON, Reason.RULE, "r"),
    ("not raised", ruled(0.0, rule(100.0)), "u", ELSE, OFF, Reason.NOBODY, None),
    ("not raised, unknown", ruled(0.0, rule(100.0)), "u", {}, OFF, Reason.NOBODY, None),
    ("raised to its bucket", ruled(0.0, rule(20.0)), NEAR, PRO_PLAN, ON, Reason.RULE, "r"),
    (
        "raised, and beyond",
        *(ruled(0.0, rule(20.0)), FAR, PRO_PLAN, OFF, Reason.PERCENTAGE, None),
    ),
    ("raised from 20 to 50", ruled(20.0, rule(50.0)), FAR, PRO_PLAN, ON, Reason.RULE, "r"),
    (
        "within the own percentage already",
        *(ruled(20.0, rule(50.0)), NEAR, PRO_PLAN, ON, Reason.PERCENTAGE, None),
    ),
    (
        "beyond both",
        *(ruled(20.0, rule(50.0)), BEYOND, PRO_PLAN, OFF, Reason.PERCENTAGE, None),
    ),
    ("not raised from 20", ruled(20.0, rule(50.0)), FAR, ELSE, OFF, Reason.PERCENTAGE, None),
    ("everyone before rule", ruled(100.0, rule(100.0)), "u", PRO_PLAN, ON, Reason.EVERYONE, None),
    (
        "a rule lower than the own percentage, within",
        *(ruled(50.0, rule(20.0)), FAR, PRO_PLAN, ON, Reason.PERCENTAGE, None),
    ),
    (
        "a rule lower than the own percentage, beyond",
        *(ruled(50.0, rule(20.0)), BEYOND, PRO_PLAN, OFF, Reason.PERCENTAGE, None),
    ),
    (
        "a rule equal to the own percentage",
        *(ruled(50.0, rule(50.0)), FAR, PRO_PLAN, ON, Reason.PERCENTAGE, None),
    ),
    ("a rule at 0", ruled(0.0, rule(0.0)), "u", PRO_PLAN, OFF, Reason.NOBODY, None),
    # Without a subject.
    ("a rule at 100 without one", ruled(0.0, rule(100.0)), None, PRO_PLAN, ON, Reason.RULE, "r"),
    (
        "a rule at 100 over 50 without one",
        *(ruled(50.0, rule(100.0)), None, PRO_PLAN, ON, Reason.RULE, "r"),
    ),
    (
        "a rule at 50 without one",
        *(ruled(0.0, rule(50.0)), None, PRO_PLAN, OFF, Reason.NO_SUBJECT, None),
    ),
    (
        "another rule at 100 without one",
        *(ruled(50.0, rule(100.0)), None, ELSE, OFF, Reason.NO_SUBJECT, None),
    ),
    (
        "no rule that holds, at 0, without one",
        *(ruled(0.0, rule(100.0)), None, ELSE, OFF, Reason.NOBODY, None),
    ),
    (
        "everyone before rule, without one",
        *(ruled(100.0, rule(100.0)), None, PRO_PLAN, ON, Reason.EVERYONE, None),
    ),
    # Two rules.
    (
        "the higher of two",
        ruled(0.0, rule(20.0, "low"), rule(50.0, "high")),
        *(NEAR, PRO_PLAN, ON, Reason.RULE, "high"),
    ),
    (
        "the higher of two reaches further",
        ruled(0.0, rule(20.0, "low"), rule(50.0, "high")),
        *(FAR, PRO_PLAN, ON, Reason.RULE, "high"),
    ),
    (
        "the lower where the higher does not hold",
        ruled(0.0, rule(20.0, "low"), rule(50.0, "high", conditions=(PRO, GROWN))),
        *(NEAR, PRO_PLAN, ON, Reason.RULE, "low"),
    ),
    (
        "beyond the lower where the higher does not hold",
        ruled(0.0, rule(20.0, "low"), rule(50.0, "high", conditions=(PRO, GROWN))),
        *(FAR, PRO_PLAN, OFF, Reason.PERCENTAGE, None),
    ),
    (
        "of equals the first by name",
        ruled(0.0, rule(50.0, "b"), rule(50.0, "a")),
        *(FAR, PRO_PLAN, ON, Reason.RULE, "a"),
    ),
    # The environment's own percentage takes the place of the flag's.
    (
        "raised from the environment's 0",
        ruled(100.0, rule(50.0), environment_overrides={"production": 0.0}),
        *(FAR, PRO_PLAN, ON, Reason.RULE, "r"),
    ),
    (
        "not raised from the environment's 0",
        ruled(100.0, rule(50.0), environment_overrides={"production": 0.0}),
        *(FAR, ELSE, OFF, Reason.NOBODY, None),
    ),
    (
        "the environment's higher than the rule's",
        ruled(0.0, rule(20.0), environment_overrides={"production": 50.0}),
        *(NEAR, PRO_PLAN, ON, Reason.PERCENTAGE, None),
    ),
    (
        "the environment's 100 before rule",
        ruled(0.0, rule(20.0), environment_overrides={"production": 100.0}),
        *(BEYOND, PRO_PLAN, ON, Reason.EVERYONE, None),
    ),
    (
        "another environment's percentage",
        ruled(0.0, rule(50.0), environment_overrides={"staging": 100.0}),
        *(FAR, PRO_PLAN, ON, Reason.RULE, "r"),
    ),
    # Rules and each step that they could be swapped with.
    (
        "off before rule",
        ruled(0.0, rule(100.0), enabled=False),
        *("u", PRO_PLAN, OFF, Reason.DISABLED, None),
    ),
    (
        "not started before rule",
        ruled(0.0, rule(100.0), starts_at=LATER),
        *("u", PRO_PLAN, OFF, Reason.NOT_STARTED, None),
    ),
    (
        "expired before rule",
        ruled(0.0, rule(100.0), expires_at=NOW),
        *("u", PRO_PLAN, OFF, Reason.EXPIRED, None),
    ),
    (
        "blacklist before rule",
        ruled(0.0, rule(100.0), blacklist=("u",)),
        *("u", PRO_PLAN, OFF, Reason.BLACKLIST, None),
    ),
    (
        "forced off before rule",
        ruled(0.0, rule(100.0)) | FORCED_OFF,
        *("u", PRO_PLAN, OFF, Reason.ENVIRONMENT_OVERRIDE, None),
    ),
    (
        "forced on before rule",
        ruled(0.0, rule(100.0)) | FORCED_ON,
        *("u", PRO_PLAN, ON, Reason.ENVIRONMENT_OVERRIDE, None),
    ),
    (
        "environment before rule",
        ruled(0.0, rule(100.0), environments=("staging",)),
        *("u", PRO_PLAN, OFF, Reason.ENVIRONMENT, None),
    ),
    (
        "whitelist before rule",
        ruled(0.0, rule(100.0), whitelist=("u",)),
        *("u", PRO_PLAN, ON, Reason.WHITELIST, None),
    ),
    # Segments.
    (
        "a segment that holds",
        ruled(0.0, rule(100.0, conditions=(), segments=("pros",))),
        *("u", PRO_PLAN, ON, Reason.RULE, "r"),
    ),
    (
        "a segment that does not",
        ruled(0.0, rule(100.0, segments=("grown pros",))),
        *("u", PRO_PLAN | {"age": 17}, OFF, Reason.NOBODY, None),
    ),
    (
        "a segment beside a condition",
        ruled(0.0, rule(100.0, segments=("pros", "grown pros"))),
        *("u", PRO_PLAN | {"age": 18}, ON, Reason.RULE, "r"),
    ),
    (
        "an unknown segment",
        ruled(0.0, rule(100.0, segments=("pros", "gone"))),
        *("u", PRO_PLAN, OFF, Reason.NOBODY, None),
    ),
    (
        "an unknown segment of one rule only",
        ruled(0.0, rule(100.0, "gone", segments=("gone",)), rule(20.0)),
        *(NEAR, PRO_PLAN, ON, Reason.RULE, "r"),
    ),
]

SPLIT = (
    Variant(name="none", weight=0),
    Variant(name="red", weight=1, value="#f00"),
    Variant(name="green", weight=2, value={"shade": 3}),
    Variant(name="blue", weight=7),
)
# (the flag, beside on at 100 % with the split; subject; attributes; reason; whether it has one)
SPLITS: list[tuple[str, dict[str, Any], str | None, dict[str, Any], Reason, bool]] = [
    ("everyone", {}, "u", {}, Reason.EVERYONE, True),
    ("everyone without a subject", {}, None, {}, Reason.EVERYONE, False),
    ("everyone with an empty subject", {}, "", {}, Reason.EVERYONE, False),
    ("within", {"percentage": 50.0}, NEAR, {}, Reason.PERCENTAGE, True),
    ("beyond", {"percentage": 50.0}, BEYOND, {}, Reason.PERCENTAGE, False),
    ("nobody", {"percentage": 0.0}, "u", {}, Reason.NOBODY, False),
    ("whitelisted", {"percentage": 0.0, "whitelist": ("u",)}, "u", {}, Reason.WHITELIST, True),
    ("blacklisted", {"blacklist": ("u",)}, "u", {}, Reason.BLACKLIST, False),
    ("forced on", {"percentage": 0.0} | FORCED_ON, "u", {}, Reason.ENVIRONMENT_OVERRIDE, True),
    ("forced on without one", FORCED_ON, None, {}, Reason.ENVIRONMENT_OVERRIDE, False),
    ("forced off", FORCED_OFF, "u", {}, Reason.ENVIRONMENT_OVERRIDE, False),
    ("elsewhere", {"environments": ("staging",)}, "u", {}, Reason.ENVIRONMENT, False),
    ("by a rule", ruled(0.0, rule(100.0)), "u", PRO_PLAN, Reason.RULE, True),
    ("by a rule without one", ruled(0.0, rule(100.0)), None, PRO_PLAN, Reason.RULE, False),
    ("off", {"enabled": False}, "u", {}, Reason.DISABLED, False),
    ("not started", {"starts_at": LATER}, "u", {}, Reason.NOT_STARTED, False),
    ("expired", {"expires_at": NOW}, "u", {}, Reason.EXPIRED, False),
    ("within its window", {"starts_at": NOW, "expires_at": LATER}, "u", {}, Reason.EVERYONE, True),
    ("lacks what it needs", needs("off"), "u", {}, Reason.PREREQUISITE, False),
    ("has what it needs", needs("on"), "u", {}, Reason.EVERYONE, True),
]


def compiled(flag: FlagDefinition) -> CompiledFlag:
    """Compile a flag where the others and the segments of the tables are known."""

    def find(name: str) -> CompiledFlag | None:
        return compiled(OTHERS[name]) if name in OTHERS else None

    return compile_flag(flag, Surroundings("production", SEGMENTS, find))


def asked(subject: str | None, **attributes: Any) -> EvaluationContext:
    return EvaluationContext(subject, "production", NOW, attributes)


@pytest.mark.parametrize(
    ("changes", "subject", "enabled", "reason"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_first_match_wins(
    changes: dict[str, Any], subject: str | None, enabled: bool, reason: Reason
) -> None:
    decision = compiled(replace(FULL, **changes)).ask(asked(subject))
    assert (decision.enabled, decision.reason) == (enabled, reason)
    assert decision.variant is None


@pytest.mark.parametrize(
    ("changes", "subject", "attributes", "enabled", "reason", "named"),
    [case[1:] for case in TARGETED],
    ids=[case[0] for case in TARGETED],
)
def test_rules_and_prerequisites_have_their_place_among_the_steps(
    changes: dict[str, Any],
    subject: str | None,
    attributes: dict[str, Any],
    enabled: bool,
    reason: Reason,
    named: str | None,
) -> None:
    decision = compiled(replace(FULL, **changes)).ask(asked(subject, **attributes))
    assert (decision.enabled, decision.reason, decision.rule) == (enabled, reason, named)


@pytest.mark.parametrize(
    ("changes", "subject", "attributes", "reason", "given_one"),
    [case[1:] for case in SPLITS],
    ids=[case[0] for case in SPLITS],
)
def test_whoever_is_on_has_a_variant_if_there_is_a_subject(
    changes: dict[str, Any],
    subject: str | None,
    attributes: dict[str, Any],
    reason: Reason,
    given_one: bool,
) -> None:
    flag = replace(FULL, variants=SPLIT, **changes)
    decision = compiled(flag).ask(asked(subject, **attributes))
    assert decision.reason is reason
    assert (decision.variant is not None) is given_one
    values = {variant.name: variant.value for variant in SPLIT} | {None: None}
    assert decision.value == values[decision.variant]


def test_a_prerequisite_is_asked_at_the_same_moment() -> None:
    flag = compiled(replace(FULL, **needs("later")))
    assert flag.timed
    assert not flag.ask(asked("u")).enabled
    assert flag.ask(asked("u")._replace(now=LATER)).enabled


def test_the_subjects_of_the_table_are_in_the_buckets_they_claim() -> None:
    assert bucket_of("f", INSIDE) < 5_000 <= bucket_of("f", OUTSIDE)
    assert bucket_of("g", "u") < 5_000 <= bucket_of("f", "u")
    assert bucket_of("f", NEAR) < 2_000 <= bucket_of("f", FAR) < 5_000 <= bucket_of("f", BEYOND)


def test_flags_of_one_stickiness_put_a_subject_in_one_bucket() -> None:
    flags = [
        compiled(FlagDefinition(name=name, enabled=True, percentage=33.0, stickiness="shared"))
        for name in ("one", "other")
    ]
    for number in range(500):
        context = asked(f"user-{number}")
        assert len({flag.ask(context).enabled for flag in flags}) == 1


@pytest.mark.parametrize(
    "changes", [{"percentage": 0.0}, {"variants": SPLIT[:2]}, ruled(0.0, rule(100.0)), needs("off")]
)
def test_deciding_allocates_no_answer(changes: dict[str, Any]) -> None:
    flag = compiled(replace(FULL, **changes))
    assert flag.ask(asked("u", **PRO_PLAN)) is flag.ask(asked("v", **PRO_PLAN))


def reached(found: FlagSet, context: EvaluationContext) -> set[str]:
    """Return the flags that are on."""
    table = FlagTable(found, context.environment, None)
    answers = {
        name: compiled.ask(context) for name in found.flags if (compiled := table.find(name))
    }
    assert answers.keys() == found.flags.keys()
    return {name for name, answer in answers.items() if answer.enabled}


def first_of(found: FlagSet, **changes: Any) -> FlagSet:
    """Return a deployment's first flag changed and alone: one that wants it off may go off."""
    name, flag = next(iter(found.flags.items()))
    return FlagSet(found.revision, {name: replace(flag, **changes)}, found.segments)


@given(deployments(), contexts, percentages, percentages)
def test_growing_a_percentage_only_adds_subjects(
    found: FlagSet, context: EvaluationContext, one: float, other: float
) -> None:
    smaller, larger = sorted((one, other))
    before = reached(first_of(found, percentage=smaller), context)
    assert before <= reached(first_of(found, percentage=larger), context)


@given(deployments(), contexts, rules)
def test_a_further_rule_only_adds_subjects(
    found: FlagSet, context: EvaluationContext, added: Rule
) -> None:
    stands = next(iter(found.flags.values())).rules
    more = (*stands, replace(added, name="added"))
    assert reached(first_of(found), context) <= reached(first_of(found, rules=more), context)


@given(st.lists(rules, min_size=2, max_size=3, unique_by=lambda item: item.name), contexts)
def test_the_order_of_rules_means_nothing(found: list[Rule], context: EvaluationContext) -> None:
    answers = {
        compiled(replace(FULL, percentage=10.0, rules=order)).ask(context)
        for order in permutations(found)
    }
    assert len(answers) == 1


@pytest.mark.parametrize("percentage", [0.01, 1.0, 12.34, 50.0, 99.5])
def test_the_share_of_many_subjects_is_the_percentage(percentage: float) -> None:
    own = compiled(replace(FULL, percentage=percentage))
    raised = compiled(replace(FULL, **ruled(0.0, rule(percentage))))
    for flag in (own, raised):
        on = sum(flag.decide(f"user-{n}", PRO_PLAN, NOW).enabled for n in range(SUBJECTS))
        assert abs(100 * on / SUBJECTS - percentage) < 0.5


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.integers(0, 100))
def test_whole_percentages_agree_with_the_unleash_sdks(subject: str, percentage: int) -> None:
    normalized = mmh3.hash(f"f:{subject}", seed=0, signed=False) % 100 + 1
    flag = compiled(replace(FULL, percentage=float(percentage)))
    assert flag.ask(asked(subject)).enabled is (normalized <= percentage)


def unleash_variant(group: str, subject: str) -> str:
    """Choose a variant as the Unleash SDKs do: the first that the sum of weights reaches."""
    total = sum(variant.weight for variant in SPLIT)
    place = mmh3.hash(f"{group}:{subject}", seed=86_028_157, signed=False) % total + 1
    ends = accumulate(variant.weight for variant in SPLIT)
    return next(variant.name for variant, end in zip(SPLIT, ends, strict=True) if place <= end)


@given(
    st.text(st.characters(codec="utf-8"), min_size=1),
    st.sampled_from(["", "checkout", "é"]),
    percentages,
)
def test_a_variant_is_that_of_the_unleash_sdks_whatever_the_percentage(
    subject: str, stickiness: str, percentage: float
) -> None:
    flag = replace(FULL, percentage=percentage, stickiness=stickiness, variants=SPLIT)
    decision = compiled(flag).ask(asked(subject))
    wanted = unleash_variant(stickiness or "f", subject) if decision.enabled else None
    assert decision.variant == wanted


def test_the_shares_of_variants_are_their_weights() -> None:
    flag = compiled(replace(FULL, variants=SPLIT))
    chosen = {n: flag.decide(f"user-{n}", {}, NOW).variant for n in range(SUBJECTS)}
    counted = Counter(chosen.values())
    assert set(counted) == {"red", "green", "blue"}
    for variant in SPLIT:
        share = 100 * counted[variant.name] / SUBJECTS
        assert abs(share - 10 * variant.weight) < 0.5, variant.name
    assert all(name == unleash_variant("f", f"user-{n}") for n, name in chosen.items())


def test_a_subject_keeps_its_variant_while_the_rollout_grows() -> None:
    flags = [
        compiled(replace(FULL, percentage=share, variants=SPLIT)) for share in (1.0, 50.0, 100.0)
    ]
    for number in range(2_000):
        answers = [flag.decide(f"user-{number}", {}, NOW) for flag in flags]
        assert len({answer.variant for answer in answers if answer.enabled}) == 1


@pytest.mark.parametrize(
    ("changes", "archived", "state"),
    [
        ({}, False, FlagState.ON),
        ({}, True, FlagState.ARCHIVED),
        ({"enabled": False}, False, FlagState.KILLED),
        ({"enabled": False, "percentage": 0.0}, False, FlagState.OFF),
        ({"enabled": False, "percentage": 0.0, "whitelist": ("u",)}, False, FlagState.KILLED),
        ({"enabled": False, "starts_at": LATER}, False, FlagState.KILLED),
        ({"starts_at": LATER}, False, FlagState.NOT_STARTED),
        ({"expires_at": NOW}, False, FlagState.EXPIRED),
        ({"percentage": 0.0}, False, FlagState.OFF),
        ({"percentage": 0.0, "whitelist": ("u",)}, False, FlagState.PARTIAL),
        ({"percentage": 0.0, "environment_overrides": {"staging": True}}, False, FlagState.PARTIAL),
        ({"percentage": 25.0}, False, FlagState.PARTIAL),
        ({"environment_overrides": {"staging": False}}, False, FlagState.PARTIAL),
        ({"environment_overrides": {"staging": True}}, False, FlagState.ON),
        ({"blacklist": ("u",)}, False, FlagState.PARTIAL),
        ({"environments": ("staging",)}, False, FlagState.ON),
        (ruled(0.0, rule(50.0)), False, FlagState.PARTIAL),
        (ruled(0.0, rule(0.0)), False, FlagState.OFF),
        (ruled(0.0, rule(50.0), enabled=False), False, FlagState.KILLED),
        (ruled(100.0, rule(50.0)), False, FlagState.ON),
        (needs("off"), False, FlagState.PARTIAL),
        ({"variants": SPLIT}, False, FlagState.ON),
    ],
)
def test_state_sums_a_flag_up(changes: dict[str, Any], archived: bool, state: FlagState) -> None:
    assert state_of(replace(FULL, **changes), now=NOW, archived=archived) is state


@pytest.mark.parametrize(
    ("value", "expected"), [(None, None), ("", None), ("u", "u"), (0, "0"), (42, "42")]
)
def test_any_stable_id_is_a_subject(value: object, expected: str | None) -> None:
    assert subject_id(value) == expected
