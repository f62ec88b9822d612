"""Why a flag answers as it does: every step of the decision, what it looked at, and which decided.

Pure, like the evaluation, and written apart from it: the compiled closure is made to be quick,
this one to be read.  A test holds the two to one answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from webapp.flags.bucketing import EVERYBODY, bucket_of, threshold_of
from webapp.flags.evaluation import (
    BEYOND,
    BLACKLISTED,
    DISABLED,
    EVERYONE,
    EXPIRED,
    FORCED_OFF,
    FORCED_ON,
    NO_SUBJECT,
    NOBODY,
    NOT_FOUND,
    NOT_STARTED,
    OTHER_ENVIRONMENT,
    WHITELISTED,
    WITHIN,
)
from webapp.flags.values import Decision, EvaluationContext, FlagDefinition

_HUNDREDTHS: Final = 100


class StepName(StrEnum):
    """The steps of a decision, in their order."""

    KNOWN = "known"
    SWITCH = "switch"
    WINDOW = "window"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """An answer and the steps that lead to it; exactly one of them decided."""

    decision: Decision
    steps: Sequence[Step]

    @property
    def decided_by(self) -> StepName:
        """Return the step that decided."""
        return next(step.name for step in self.steps if step.outcome is StepOutcome.DECIDED)


class _Check(NamedTuple):
    """A step by itself: what it would answer, None where it leaves that to the next."""

    name: StepName
    inputs: Mapping[str, Any]
    answer: Decision | None


def explain(
    flag: FlagDefinition | None, context: EvaluationContext, *, archived: bool = False
) -> Explanation:
    """Decide a flag step by step; None is a flag that does not exist."""
    checks = [_known(flag, archived=archived)]
    if flag is not None:
        checks += [
            _switch(flag),
            _window(flag, context),
            _blacklist(flag, context),
            _override(flag, context),
            _environments(flag, context),
            _whitelist(flag, context),
            _percentage(flag, context),
        ]
    return _told(checks)


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
    return _Check(StepName.SWITCH, {"enabled": flag.enabled}, None if flag.enabled else DISABLED)


def _window(flag: FlagDefinition, context: EvaluationContext) -> _Check:
    inputs = {"now": context.now, "starts_at": flag.starts_at, "expires_at": flag.expires_at}
    answer = None
    if flag.starts_at is not None and context.now < flag.starts_at:
        answer = NOT_STARTED
    elif flag.expires_at is not None and context.now >= flag.expires_at:
        answer = EXPIRED
    return _Check(StepName.WINDOW, inputs, answer)


def _blacklist(flag: FlagDefinition, context: EvaluationContext) -> _Check:
    inputs = _listing(flag.blacklist, context.subject)
    return _Check(StepName.BLACKLIST, inputs, BLACKLISTED if inputs["listed"] else None)


def _override(flag: FlagDefinition, context: EvaluationContext) -> _Check:
    override = flag.environment_overrides.get(context.environment)
    inputs = {"environment": context.environment, "override": override}
    answer = None
    if isinstance(override, bool):
        answer = FORCED_ON if override else FORCED_OFF
    return _Check(StepName.ENVIRONMENT_OVERRIDE, inputs, answer)


def _environments(flag: FlagDefinition, context: EvaluationContext) -> _Check:
    inputs = {"environment": context.environment, "environments": flag.environments}
    fits = not flag.environments or context.environment in flag.environments
    return _Check(StepName.ENVIRONMENTS, inputs, None if fits else OTHER_ENVIRONMENT)


def _whitelist(flag: FlagDefinition, context: EvaluationContext) -> _Check:
    inputs = _listing(flag.whitelist, context.subject)
    return _Check(StepName.WHITELIST, inputs, WHITELISTED if inputs["listed"] else None)


def _listing(ids: Sequence[str], subject: str | None) -> Mapping[str, Any]:
    """Tell whether the subject is on a list, and how long it is: ten thousand ids tell no more."""
    return {"subject": subject, "size": len(ids), "listed": subject in ids}


def _percentage(flag: FlagDefinition, context: EvaluationContext) -> _Check:
    override = flag.environment_overrides.get(context.environment)
    own = override is not None and not isinstance(override, bool)
    percentage = float(override) if own and override is not None else flag.percentage
    stickiness = flag.stickiness or flag.name
    bucket = bucket_of(stickiness, context.subject) if context.subject else None
    inputs = {
        "percentage": percentage,
        "percentage_of": "environment" if own else "flag",
        "stickiness": stickiness,
        "subject": context.subject,
        "bucket": None if bucket is None else bucket / _HUNDREDTHS,
    }
    return _Check(StepName.PERCENTAGE, inputs, _by_bucket(bucket, threshold_of(percentage)))


def _by_bucket(bucket: int | None, threshold: int) -> Decision:
    if threshold >= EVERYBODY:
        return EVERYONE
    if threshold <= 0:
        return NOBODY
    if bucket is None:
        return NO_SUBJECT
    return WITHIN if bucket < threshold else BEYOND
