"""How a flag is decided: one definition becomes one closure, which answers without any I/O.

Everything that can be known beforehand is prepared when the flag is compiled: sets, thresholds,
the answer objects, and what each environment comes to.  First match wins, in this order:

1. no such flag: the snapshot answers ``not_found``
2. switched off
3. outside its window
4. (the place of prerequisites)
5. on the blacklist
6. an override of the environment that says on or off
7. outside its environments
8. on the whitelist
9. the percentage: the environment's own where it has one, else the flag's
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from webapp.flags.bucketing import EVERYBODY, bucket_of, threshold_of
from webapp.flags.values import Decision, EvaluationContext, FlagDefinition, FlagState, Reason

Evaluator = Callable[[EvaluationContext], Decision]

NOT_FOUND: Final = Decision(enabled=False, reason=Reason.NOT_FOUND)
DISABLED: Final = Decision(enabled=False, reason=Reason.DISABLED)
NOT_STARTED: Final = Decision(enabled=False, reason=Reason.NOT_STARTED)
EXPIRED: Final = Decision(enabled=False, reason=Reason.EXPIRED)
BLACKLISTED: Final = Decision(enabled=False, reason=Reason.BLACKLIST)
FORCED_ON: Final = Decision(enabled=True, reason=Reason.ENVIRONMENT_OVERRIDE)
FORCED_OFF: Final = Decision(enabled=False, reason=Reason.ENVIRONMENT_OVERRIDE)
OTHER_ENVIRONMENT: Final = Decision(enabled=False, reason=Reason.ENVIRONMENT)
WHITELISTED: Final = Decision(enabled=True, reason=Reason.WHITELIST)
EVERYONE: Final = Decision(enabled=True, reason=Reason.EVERYONE)
NOBODY: Final = Decision(enabled=False, reason=Reason.NOBODY)
NO_SUBJECT: Final = Decision(enabled=False, reason=Reason.NO_SUBJECT)
WITHIN: Final = Decision(enabled=True, reason=Reason.PERCENTAGE)
BEYOND: Final = Decision(enabled=False, reason=Reason.PERCENTAGE)


class _Environment(NamedTuple):
    """What one environment comes to: settled for all, or a threshold for the bucket."""

    settled: Decision | None
    threshold: int


def compile_flag(flag: FlagDefinition) -> Evaluator:
    """Return the function that decides this flag."""
    if not flag.enabled:
        return lambda context: DISABLED  # noqa: ARG005  # the same shape as every evaluator
    decide = _by_subject(flag)
    if flag.starts_at is None and flag.expires_at is None:
        return decide
    return _within_window(flag.starts_at, flag.expires_at, decide)


def _within_window(
    starts_at: datetime | None, expires_at: datetime | None, decide: Evaluator
) -> Evaluator:
    """Ask ``decide`` from ``starts_at`` on and before ``expires_at`` only."""

    def decide_within(context: EvaluationContext) -> Decision:
        if starts_at is not None and context.now < starts_at:
            return NOT_STARTED
        if expires_at is not None and context.now >= expires_at:
            return EXPIRED
        return decide(context)

    return decide_within


def _by_subject(flag: FlagDefinition) -> Evaluator:
    """Steps 5 to 9.  The names are local, so that the closure looks nothing up elsewhere."""
    blacklist, whitelist = frozenset(flag.blacklist), frozenset(flag.whitelist)
    stickiness = flag.stickiness or flag.name
    named = {*flag.environments, *flag.environment_overrides}
    environments = {name: _environment(flag, name) for name in named}
    elsewhere = _environment(flag, None)

    def decide(context: EvaluationContext) -> Decision:
        subject = context.subject
        if subject in blacklist:
            return BLACKLISTED
        settled, threshold = environments.get(context.environment, elsewhere)
        if settled is not None:
            return settled
        if subject in whitelist:
            return WHITELISTED
        if threshold >= EVERYBODY:
            return EVERYONE
        if threshold <= 0:
            return NOBODY
        if not subject:
            return NO_SUBJECT
        return WITHIN if bucket_of(stickiness, subject) < threshold else BEYOND

    return decide


def _environment(flag: FlagDefinition, name: str | None) -> _Environment:
    """Work out one environment; None stands for every one that the flag does not name."""
    override = flag.environment_overrides.get(name) if name is not None else None
    if isinstance(override, bool):
        return _Environment(FORCED_ON if override else FORCED_OFF, 0)
    if flag.environments and name not in flag.environments:
        return _Environment(OTHER_ENVIRONMENT, 0)
    return _Environment(None, threshold_of(flag.percentage if override is None else override))


def state_of(flag: FlagDefinition, *, now: datetime, archived: bool) -> FlagState:
    """Sum a flag up in one word: killed is a flag that would reach somebody, but is switched off.

    On means everybody in the environments that it is for, partial only some.
    """
    if archived:
        return FlagState.ARCHIVED
    shares = [flag.percentage, *flag.environment_overrides.values()]
    reaches = any(shares) or bool(flag.whitelist)
    if not flag.enabled:
        return FlagState.KILLED if reaches else FlagState.OFF
    if flag.starts_at is not None and now < flag.starts_at:
        return FlagState.NOT_STARTED
    if flag.expires_at is not None and now >= flag.expires_at:
        return FlagState.EXPIRED
    if not reaches:
        return FlagState.OFF
    whole = all(share is True or float(share) == 100.0 for share in shares)  # noqa: PLR2004
    return FlagState.ON if whole and not flag.blacklist else FlagState.PARTIAL
