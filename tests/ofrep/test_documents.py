"""What a decision is in the words of OFREP: value, variant, reason, and what cannot be decided."""

from typing import Any, Final

import pytest
from hypothesis import given

from tests.flags import strategies
from webapp.flags.evaluation import NOT_FOUND, Surroundings, compile_flag
from webapp.flags.values import (
    Decision,
    EvaluationContext,
    FlagDefinition,
    FlagSet,
    Reason,
    Variant,
)
from webapp.ofrep.documents import flag_document
from webapp.ofrep.values import ErrorCode, FlagReason

PLAIN: Final = FlagDefinition(name="plain")
NAMED: Final = FlagDefinition(
    name="named", variants=(Variant(name="a", weight=1), Variant(name="b", weight=1))
)
TEXTS: Final = FlagDefinition(
    name="texts",
    variants=(
        Variant(name="blue", weight=1, value="#00f"),
        Variant(name="red", weight=1, value="#f00"),
        Variant(name="none", weight=1),
    ),
)
NUMBERS: Final = FlagDefinition(
    name="numbers",
    variants=(Variant(name="one", weight=1, value=1), Variant(name="half", weight=1, value=0.5)),
)
WHOLE: Final = FlagDefinition(
    name="whole",
    variants=(Variant(name="one", weight=1, value=1), Variant(name="true", weight=0, value=True)),
)


def on(reason: Reason, variant: str | None = None, value: Any = None) -> Decision:
    return Decision(enabled=True, reason=reason, variant=variant, value=value)


def off(reason: Reason) -> Decision:
    return Decision(enabled=False, reason=reason)


ABSENT: Final = object()
ANSWERED: Final[dict[str, tuple[FlagDefinition, Decision, FlagReason, str, Any]]] = {
    "on": (PLAIN, on(Reason.EVERYONE), FlagReason.STATIC, "on", True),
    "off": (PLAIN, off(Reason.NOBODY), FlagReason.STATIC, "off", False),
    "by bucket": (PLAIN, on(Reason.PERCENTAGE), FlagReason.SPLIT, "on", True),
    "beyond": (PLAIN, off(Reason.PERCENTAGE), FlagReason.SPLIT, "off", False),
    "by rule": (PLAIN, on(Reason.RULE), FlagReason.TARGETING_MATCH, "on", True),
    "listed": (PLAIN, on(Reason.WHITELIST), FlagReason.TARGETING_MATCH, "on", True),
    "barred": (PLAIN, off(Reason.BLACKLIST), FlagReason.TARGETING_MATCH, "off", False),
    "needs": (PLAIN, off(Reason.PREREQUISITE), FlagReason.TARGETING_MATCH, "off", False),
    "forced": (PLAIN, on(Reason.ENVIRONMENT_OVERRIDE), FlagReason.STATIC, "on", True),
    "killed": (PLAIN, off(Reason.DISABLED), FlagReason.DISABLED, "off", False),
    "not yet": (PLAIN, off(Reason.NOT_STARTED), FlagReason.DISABLED, "off", False),
    "no longer": (PLAIN, off(Reason.EXPIRED), FlagReason.DISABLED, "off", False),
    "not here": (PLAIN, off(Reason.ENVIRONMENT), FlagReason.DISABLED, "off", False),
    # Variants without values: the flag is a boolean one, and says which.
    "named": (NAMED, on(Reason.EVERYONE, "a"), FlagReason.SPLIT, "a", True),
    "named, off": (NAMED, off(Reason.DISABLED), FlagReason.DISABLED, "off", False),
    # With values: off has none, and neither has a variant without one.
    "text": (TEXTS, on(Reason.RULE, "blue", "#00f"), FlagReason.TARGETING_MATCH, "blue", "#00f"),
    "no text": (TEXTS, on(Reason.EVERYONE, "none"), FlagReason.SPLIT, "none", ABSENT),
    "text, off": (TEXTS, off(Reason.DISABLED), FlagReason.DISABLED, "off", ABSENT),
    "a whole one among fractions": (
        NUMBERS,
        on(Reason.PERCENTAGE, "one", 1),
        FlagReason.SPLIT,
        "one",
        1.0,
    ),
    "true is no number": (
        WHOLE,
        on(Reason.EVERYONE, "true", True),
        FlagReason.STATIC,
        "true",
        True,
    ),
    # Only one variant has a weight, so nobody need be named.
    "the only one": (WHOLE, on(Reason.EVERYONE), FlagReason.STATIC, "one", 1),
}


@pytest.mark.parametrize("case", ANSWERED.values(), ids=ANSWERED)
def test_a_decision_has_a_value_a_variant_and_a_reason(
    case: tuple[FlagDefinition, Decision, FlagReason, str, Any],
) -> None:
    flag, decision, reason, variant, value = case
    document = flag_document("key", flag, decision)
    assert document["key"] == "key"
    assert (document["reason"], document["variant"]) == (reason, variant)
    assert document.get("value", ABSENT) == value
    assert type(document.get("value", ABSENT)) is type(value)
    assert document["metadata"]["decision"] == decision.reason


def test_the_rule_that_decided_is_named() -> None:
    decision = Decision(enabled=True, reason=Reason.RULE, rule="pro")
    assert flag_document("key", PLAIN, decision)["metadata"] == {"decision": "rule", "rule": "pro"}


@pytest.mark.parametrize(
    ("flag", "decision", "code"),
    [
        (None, NOT_FOUND, ErrorCode.FLAG_NOT_FOUND),
        (PLAIN, NOT_FOUND, ErrorCode.FLAG_NOT_FOUND),
        (PLAIN, off(Reason.NO_SUBJECT), ErrorCode.TARGETING_KEY_MISSING),
        # On for everybody, and which variant depends on whom.
        (NAMED, on(Reason.EVERYONE), ErrorCode.TARGETING_KEY_MISSING),
    ],
)
def test_what_cannot_be_decided_says_why(
    flag: FlagDefinition | None, decision: Decision, code: ErrorCode
) -> None:
    document = flag_document("key", flag, decision)
    assert (document["key"], document["errorCode"]) == ("key", code)
    assert document["errorDetails"]
    assert "value" not in document


@given(strategies.deployments(), strategies.contexts)
def test_every_decision_is_told_as_it_was(found: FlagSet, context: EvaluationContext) -> None:
    for name, flag in found.flags.items():
        around = Surroundings(context.environment, found.segments)
        decision = compile_flag(flag, around).ask(context)
        document = flag_document(name, flag, decision)
        if "errorCode" in document:
            # Only for want of somebody to decide for.
            assert document["errorCode"] == ErrorCode.TARGETING_KEY_MISSING
            assert not context.subject
            continue
        typed = any(variant.value is not None for variant in flag.variants)
        if context.subject:
            named = decision.variant or ("on" if decision.enabled else "off")
            assert document["variant"] == named
        if not typed:
            assert document["value"] is decision.enabled
        elif not decision.enabled:
            assert "value" not in document
        elif context.subject:
            assert document.get("value") == decision.value
