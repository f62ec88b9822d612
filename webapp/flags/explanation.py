"""Why a flag answers as it does: every step of the decision, what it looked at, and which decided.

Pure, like the evaluation, and written apart from it: the compiled closure is made to be quick,
this one to be read.  A test holds the two to one answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from webapp.flags.bucketing import EVERYBODY, bucket_of, threshold_of, variant_place
from webapp.flags.evaluation import NOT_FOUND
from webapp.flags.targeting import compile_condition
from webapp.flags.values import (
    NO_SEGMENTS,
    Condition,
    Decision,
    EvaluationContext,
    FlagDefinition,
    Prerequisite,
    Reason,
    Rule,
    Segments,
    Variant,
)

_HUNDREDTHS: Final = 100


class StepName(StrEnum):
    """The steps of a decision, in their order."""

    KNOWN = "known"
    SWITCH = "switch"
    WINDOW = "window"
    PREREQUISITES = "prerequisites"
    BLACKLIST = "blacklist"
    ENVIRONMENT_OVERRIDE = "environment_override"
    ENVIRONMENTS = "environments"
    WHITELIST = "whitelist"
    PERCENTAGE = "percentage"


class StepOutcome(StrEnum):
    """What a step came to."""

    PASSED = "passed"
    DECIDED = "decided"
    NOT_REACHED = "not_reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: ``inputs`` is what it looks at, also where an earlier step has decided."""

    name: StepName
    inputs: Mapping[str, Any]
    outcome: StepOutcome


class Split(NamedTuple):
    """How a variant was chosen: at ``place``, from 1 to ``total``, of the weights in their order.

    ``place`` is None without a subject, who then gets no variant.
    """

    place: int | None
    total: int
    weights: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """An answer and the steps that lead to it; exactly one of them decided.

    ``split`` is None where the flag is off or has no variants.
    """

    decision: Decision
    steps: Sequence[Step]
    split: Split | None = None

    @property
    def decided_by(self) -> StepName:
        """Return the step that decided."""
        return next(step.name for step in self.steps if step.outcome is StepOutcome.DECIDED)


class Known(NamedTuple):
    """What a flag may refer to: the segments, and the flags in use by name."""

    segments: Segments = NO_SEGMENTS
    flags: Mapping[str, FlagDefinition] = MappingProxyType({})


class _Check(NamedTuple):
    """A step by itself: what it would answer, None where it leaves that to the next."""

    name: StepName
    inputs: Mapping[str, Any]
    answer: Decision | None


def explain(
    flag: FlagDefinition | None,
    context: EvaluationContext,
    *,
    known: Known = Known(),  # noqa: B008  # a tuple, and never changed
    archived: bool = False,
) -> Explanation:
    """Decide a flag step by step; None is a flag that does not exist."""
    checks = [_known(flag, archived=archived)]
    if flag is None:
        return _told(checks)
    checks += [
        _switch(flag),
        _window(flag, context),
        _prerequisites(flag, context, known),
        _blacklist(flag, context),
        _override(flag, context),
        _environments(flag, context),
        _whitelist(flag, context),
        _percentage(flag, context, known.segments),
    ]
    told = _told(checks)
    if not (told.decision.enabled and flag.variants):
        return told
    return _with_variant(told, flag, context.subject)


def _told(checks: Sequence[_Check]) -> Explanation:
    place, decision = next(
        (number, check.answer) for number, check in enumerate(checks) if check.answer is not None
    )
    outcomes = [StepOutcome.PASSED] * place + [StepOutcome.DECIDED]
    outcomes += [StepOutcome.NOT_REACHED] * (len(checks) - len(outcomes))
    steps = [
        Step(name=check.name, inputs=check.inputs, outcome=outcome)
        for check, outcome in zip(checks, outcomes, strict=True)
    ]
    return Explanation(decision=decision, steps=steps)


def _known(flag: FlagDefinition | None, *, archived: bool) -> _Check:
    inputs = {"exists": flag is not None, "archived": archived}
    return _Check(StepName.KNOWN, inputs, NOT_FOUND if flag is None or archived else None)


def _switch(flag: FlagDefinition) -> _Check:
    answer = None if flag.enabled else _off(Reason.DISABLED)
    return _Check(StepName.SWITCH, {"enabled": flag.enabled}, answer)


def _window(flag: FlagDefinition, context: EvaluationContext) -> _Check:
    inputs = {"now": context.now, "starts_at": flag.starts_at, "expires_at": flag.expires_at}
    answer = None
    if flag.starts_at is not None and context.now < flag.starts_at:
        answer = _off(Reason.NOT_STARTED)
    elif flag.expires_at is not None and context.now >= flag.expires_at:
        answer = _off(Reason.EXPIRED)
    return _Check(StepName.WINDOW, inputs, answer)


def _blacklist(flag: FlagDefinition, context: EvaluationContext) -> _Check:
    inputs = _listing(flag.blacklist, context.subject)
    return _Check(StepName.BLACKLIST, inputs, _off(Reason.BLACKLIST) if inputs["listed"] else None)


def _override(flag: FlagDefinition, context: EvaluationContext) -> _Check:
    override = flag.environment_overrides.get(context.environment)
    inputs = {"environment": context.environment, "override": override}
    answer = None
    if isinstance(override, bool):
        answer = Decision(enabled=override, reason=Reason.ENVIRONMENT_OVERRIDE)
    return _Check(StepName.ENVIRONMENT_OVERRIDE, inputs, answer)


def _environments(flag: FlagDefinition, context: EvaluationContext) -> _Check:
    inputs = {"environment": context.environment, "environments": flag.environments}
    fits = not flag.environments or context.environment in flag.environments
    return _Check(StepName.ENVIRONMENTS, inputs, None if fits else _off(Reason.ENVIRONMENT))


def _whitelist(flag: FlagDefinition, context: EvaluationContext) -> _Check:
    inputs = _listing(flag.whitelist, context.subject)
    return _Check(StepName.WHITELIST, inputs, _on(Reason.WHITELIST) if inputs["listed"] else None)


def _listing(ids: Sequence[str], subject: str | None) -> Mapping[str, Any]:
    """Tell whether the subject is on a list, and how long it is: ten thousand ids tell no more."""
    return {"subject": subject, "size": len(ids), "listed": subject in ids}


def _prerequisites(flag: FlagDefinition, context: EvaluationContext, known: Known) -> _Check:
    found = [_prerequisite(item, context, known) for item in flag.prerequisites]
    met = all(item["met"] for item in found)
    answer = None if met else _off(Reason.PREREQUISITE)
    return _Check(StepName.PREREQUISITES, {"flags": found}, answer)


def _prerequisite(
    item: Prerequisite, context: EvaluationContext, known: Known
) -> Mapping[str, Any]:
    answer = explain(known.flags.get(item.flag), context, known=known).decision
    met = answer.enabled is item.enabled
    wanted = {"flag": item.flag, "wanted": item.enabled}
    return wanted | {"enabled": answer.enabled, "reason": answer.reason, "met": met}


def _percentage(flag: FlagDefinition, context: EvaluationContext, segments: Segments) -> _Check:
    override = flag.environment_overrides.get(context.environment)
    own = override is not None and not isinstance(override, bool)
    percentage = float(override) if own and override is not None else flag.percentage
    stickiness = flag.stickiness or flag.name
    bucket = bucket_of(stickiness, context.subject) if context.subject else None
    rules = [_rule(rule, context.attributes, segments) for rule in flag.rules]
    inputs = {
        "percentage": percentage,
        "percentage_of": "environment" if own else "flag",
        "rules": rules,
        "stickiness": stickiness,
        "subject": context.subject,
        "bucket": None if bucket is None else bucket / _HUNDREDTHS,
    }
    raised = [rule for rule in rules if rule["holds"] and rule["percentage"] > percentage]
    highest = min(raised, key=lambda rule: (-rule["percentage"], rule["name"]), default=None)
    return _Check(StepName.PERCENTAGE, inputs, _by_bucket(bucket, percentage, highest))


def _rule(rule: Rule, attributes: Mapping[str, Any], segments: Segments) -> Mapping[str, Any]:
    conditions = [_condition(item, attributes) for item in rule.conditions]
    shared = [
        {"name": name, "holds": _all_hold(segments.get(name), attributes)} for name in rule.segments
    ]
    holds = all(item["holds"] for item in (*conditions, *shared))
    told = {"name": rule.name, "percentage": rule.percentage, "holds": holds}
    return told | {"conditions": conditions, "segments": shared}


def _condition(condition: Condition, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "attribute": condition.attribute,
        "operator": condition.operator,
        "values": condition.values,
        "negate": condition.negate,
        "found": attributes.get(condition.attribute),
        "holds": compile_condition(condition)(attributes),
    }


def _all_hold(conditions: Sequence[Condition] | None, attributes: Mapping[str, Any]) -> bool:
    """Tell whether a segment holds; one that there is not holds for nobody."""
    if conditions is None:
        return False
    return all(compile_condition(condition)(attributes) for condition in conditions)


def _by_bucket(
    bucket: int | None, percentage: float, highest: Mapping[str, Any] | None
) -> Decision:
    """Decide by the own percentage, else by the highest rule that holds and reaches further."""
    own = threshold_of(percentage)
    if own >= EVERYBODY:
        return _on(Reason.EVERYONE)
    if bucket is not None and bucket < own:
        return _on(Reason.PERCENTAGE)
    if highest is None and own <= 0:
        return _off(Reason.NOBODY)
    raised = threshold_of(highest["percentage"]) if highest else own
    if highest and (raised >= EVERYBODY or (bucket is not None and bucket < raised)):
        return Decision(enabled=True, reason=Reason.RULE, rule=highest["name"])
    return _off(Reason.NO_SUBJECT if bucket is None else Reason.PERCENTAGE)


def _with_variant(told: Explanation, flag: FlagDefinition, subject: str | None) -> Explanation:
    total = sum(variant.weight for variant in flag.variants)
    weights = {variant.name: variant.weight for variant in flag.variants}
    if not subject:
        return replace(told, split=Split(None, total, weights))
    place = variant_place(flag.stickiness or flag.name, subject, total)
    chosen = _variant_at(place, flag.variants)
    decision = replace(told.decision, variant=chosen.name, value=chosen.value)
    return replace(told, decision=decision, split=Split(place, total, weights))


def _variant_at(place: int, variants: Sequence[Variant]) -> Variant:
    """Return the first variant at whose end the running sum of weights reaches the place."""
    ends = accumulate(variant.weight for variant in variants)
    return next(variant for variant, end in zip(variants, ends, strict=True) if end >= place)


def _on(reason: Reason) -> Decision:
    return Decision(enabled=True, reason=reason)


def _off(reason: Reason) -> Decision:
    return Decision(enabled=False, reason=reason)
