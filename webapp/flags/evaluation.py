"""How a flag is decided: one definition becomes one closure, which answers without any I/O.

Everything that can be known beforehand is prepared when the flag is compiled for an environment:
sets, thresholds, conditions, and the answers themselves, which are shared.  First match wins, in
this order:

1. no such flag: whoever looks it up answers ``not_found``
2. switched off
3. outside its window
4. a prerequisite fails
5. on the blacklist
6. an override of the environment that says on or off
7. outside its environments
8. on the whitelist
9. the percentage: the environment's own where it has one, else the flag's, or that of a rule which
   holds for the subject and is higher

A subject whose bucket lies within the own percentage is on by that, whatever rules hold; one
beyond it is on by the highest rule that holds, if that reaches its bucket.  So a rule is named
where it made the difference, and the order of rules means nothing.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, Final, NamedTuple, Protocol

from mmh3 import mmh3_32_uintdigest as murmur3

from webapp.flags.bucketing import EVERYBODY, prefix_of, threshold_of, variant_place
from webapp.flags.targeting import Predicate, compile_rule
from webapp.flags.values import (
    NO_SEGMENTS,
    Decision,
    EvaluationContext,
    FlagDefinition,
    FlagState,
    Reason,
    Rule,
    Segments,
)

Attributes = Mapping[str, Any]
# Takes a decision as it is compiled, and returns the one to hand out: itself, or one that counts.
Ready = Callable[[Decision], Decision]

# What a flag is told that does not look at the time: reading the clock costs as much as the rest.
ANY_TIME: Final = datetime.min.replace(tzinfo=UTC)
NOT_FOUND: Final = Decision(enabled=False, reason=Reason.NOT_FOUND)


class Evaluator(Protocol):
    """Decides for a subject and its attributes; a timed flag must be told the present moment."""

    def __call__(
        self, subject: str | None, attributes: Attributes, now: datetime = ANY_TIME, /
    ) -> Decision: ...


class SeenSubjects(Protocol):
    """Whoever estimates how many subjects there are: told of each hash below ``limit``."""

    limit: int

    def add(self, spread: int) -> object: ...


class _NobodyCares:
    """Stands in where nobody estimates: no hash is below its limit."""

    limit = -1

    def add(self, spread: int) -> None: ...


@dataclass(frozen=True, slots=True)
class CompiledFlag:
    """A flag ready to be asked in one environment; ``timed`` where the moment matters to it."""

    decide: Evaluator
    timed: bool = False

    def ask(self, context: EvaluationContext) -> Decision:
        """Decide for a context of that environment."""
        return self.decide(context.subject, context.attributes, context.now)


def _always(answer: Decision) -> CompiledFlag:
    return CompiledFlag(lambda subject, attributes, now=ANY_TIME: answer)  # noqa: ARG005


#: Answers where there is no such flag.
UNKNOWN: Final = _always(NOT_FOUND)


class Surroundings(NamedTuple):
    """What a flag is compiled with: where, segments, other flags, and who counts.

    ``find`` returns a flag that is a prerequisite, compiled for the same environment.
    """

    environment: str
    segments: Segments = NO_SEGMENTS
    find: Callable[[str], CompiledFlag | None] = lambda name: None  # noqa: ARG005
    ready: Ready = lambda decision: decision
    seen: SeenSubjects = _NobodyCares()


class _RuleInForce(NamedTuple):
    """A rule that reaches further than the own percentage: all its conditions must hold."""

    threshold: int
    answer: Decision
    conditions: tuple[Predicate, ...]


def compile_flag(flag: FlagDefinition, around: Surroundings) -> CompiledFlag:
    """Return what decides this flag in one environment."""
    if not flag.enabled:
        return _always(around.ready(Decision(enabled=False, reason=Reason.DISABLED)))
    decide = _by_subject(flag, around)
    if flag.variants:
        decide = _with_variants(flag, around.ready, decide)
    needed = [(around.find(item.flag), item.enabled) for item in flag.prerequisites]
    if needed:
        decide = _after_prerequisites(needed, around.ready, decide)
    timed = any(other.timed for other, _ in needed if other)
    if flag.starts_at is None and flag.expires_at is None:
        return CompiledFlag(decide, timed=timed)
    return CompiledFlag(_within_window(flag, around.ready, decide), timed=True)


def _within_window(flag: FlagDefinition, ready: Ready, decide: Evaluator) -> Evaluator:
    """Ask ``decide`` from the start on and before the expiry only."""
    starts_at, expires_at = flag.starts_at, flag.expires_at
    not_started = ready(Decision(enabled=False, reason=Reason.NOT_STARTED))
    expired = ready(Decision(enabled=False, reason=Reason.EXPIRED))

    def decide_within(
        subject: str | None, attributes: Attributes, now: datetime = ANY_TIME
    ) -> Decision:
        if starts_at is not None and now < starts_at:
            return not_started
        if expires_at is not None and now >= expires_at:
            return expired
        return decide(subject, attributes, now)

    return decide_within


def _after_prerequisites(
    needed: Sequence[tuple[CompiledFlag | None, bool]], ready: Ready, decide: Evaluator
) -> Evaluator:
    """Ask ``decide`` where every other flag answers as it must; one that is unknown is off."""
    failed = ready(Decision(enabled=False, reason=Reason.PREREQUISITE))

    def decide_after(
        subject: str | None, attributes: Attributes, now: datetime = ANY_TIME
    ) -> Decision:
        for other, enabled in needed:
            answer = NOT_FOUND if other is None else other.decide(subject, attributes, now)
            # It is evaluated, and is not stale for being asked by another flag only.
            next(answer.counter)
            if answer.enabled is not enabled:
                return failed
        return decide(subject, attributes, now)

    return decide_after


def _with_variants(flag: FlagDefinition, ready: Ready, decide: Evaluator) -> Evaluator:
    """Give each subject that is on the variant in which its place among the weights lies.

    Without a subject there is no place, and so no variant.
    """
    weighed = [variant for variant in flag.variants if variant.weight > 0]
    ends = list(accumulate(variant.weight for variant in weighed))
    total, stickiness = ends[-1], flag.stickiness or flag.name
    # By the answer's identity: the few answers of a flag live as long as its closure.
    made: dict[tuple[int, int], Decision] = {}

    def variant_of(answer: Decision, number: int) -> Decision:
        chosen = replace(answer, variant=weighed[number].name, value=weighed[number].value)
        return made.setdefault((id(answer), number), ready(chosen))

    def decide_variant(
        subject: str | None, attributes: Attributes, now: datetime = ANY_TIME
    ) -> Decision:
        answer = decide(subject, attributes, now)
        if not answer.enabled or not subject:
            return answer
        number = bisect_left(ends, variant_place(stickiness, subject, total))
        return made.get((id(answer), number)) or variant_of(answer, number)

    return decide_variant


def _by_subject(flag: FlagDefinition, around: Surroundings) -> Evaluator:  # noqa: C901  # a line a step
    """Steps 5 to 9.  The names are local, so that the closure looks nothing up elsewhere."""
    settled, own = _in_environment(flag, around)
    if settled is not None:
        return _settled(settled, flag, around.ready)
    blacklist, whitelist = frozenset(flag.blacklist), frozenset(flag.whitelist)
    # Hardly anybody is on a list, so one look tells of both.
    listed = blacklist | whitelist
    prefix, seen, ready = prefix_of(flag.stickiness or flag.name), around.seen, around.ready
    rules = _rules_in_force(flag.rules, own, around)
    # In whole percent: below the first everybody is within, from the second on nobody is.  At 0 it
    # is up to the rules which answer that is.
    thresholds = [own, *(rule.threshold for rule in rules)]
    sure, furthest = own // 100, -(-max(thresholds) // 100) if own else 100
    finer = any(threshold % 100 for threshold in thresholds)
    everybody = Reason.EVERYONE if own >= EVERYBODY else Reason.PERCENTAGE
    within = ready(Decision(enabled=True, reason=everybody))
    beyond = ready(Decision(enabled=False, reason=Reason.PERCENTAGE))
    # At 0 nobody is on, unless a rule says otherwise, in which case it decides who is.
    outside = beyond if own > 0 else ready(Decision(enabled=False, reason=Reason.NOBODY))
    # What cannot be answered is not made: a deployment has flags by the thousand.
    blacklisted = ready(Decision(enabled=False, reason=Reason.BLACKLIST)) if blacklist else beyond
    whitelisted = ready(Decision(enabled=True, reason=Reason.WHITELIST)) if whitelist else within
    without_subject = _without_subject(own, rules, ready, within if own >= EVERYBODY else outside)

    def decide(  # noqa: C901  # a line a step
        subject: str | None,
        attributes: Attributes,
        now: datetime = ANY_TIME,  # noqa: ARG001  # the shape of every evaluator
    ) -> Decision:
        if subject in listed:
            return blacklisted if subject in blacklist else whitelisted
        if not subject:
            return without_subject(attributes)
        # As bucketing.spread_of, without the call.
        try:
            spread = murmur3(prefix + subject.encode())
        except UnicodeEncodeError:
            spread = murmur3(prefix + subject.encode("utf-8", "surrogatepass"))
        if spread < seen.limit:
            seen.add(spread)
        percent = spread % 100
        if percent < sure:
            return within
        if percent >= furthest:
            return beyond
        bucket = percent * 100
        if finer:
            # As bucketing.bucket_in; whole percentages need no hundredths.
            bucket += spread // 100 % 100
            if bucket < own:
                return within
        for threshold, answer, conditions in rules:
            for holds in conditions:
                if not holds(attributes):
                    break
            else:
                return answer if bucket < threshold else beyond
        return outside

    return decide


def _settled(answer: Decision, flag: FlagDefinition, ready: Ready) -> Evaluator:
    """Answer alike for all but those on the blacklist."""
    blacklist = frozenset(flag.blacklist)
    if not blacklist:
        return _always(answer).decide
    blacklisted = ready(Decision(enabled=False, reason=Reason.BLACKLIST))

    def decide(
        subject: str | None,
        attributes: Attributes,  # noqa: ARG001  # the shape of every evaluator
        now: datetime = ANY_TIME,  # noqa: ARG001
    ) -> Decision:
        return blacklisted if subject in blacklist else answer

    return decide


def _in_environment(flag: FlagDefinition, around: Surroundings) -> tuple[Decision | None, int]:
    """Return what settles an environment for all, else the own percentage that counts there."""
    override = flag.environment_overrides.get(around.environment)
    if isinstance(override, bool):
        return around.ready(Decision(enabled=override, reason=Reason.ENVIRONMENT_OVERRIDE)), 0
    if flag.environments and around.environment not in flag.environments:
        return around.ready(Decision(enabled=False, reason=Reason.ENVIRONMENT)), 0
    return None, threshold_of(flag.percentage if override is None else override)


def _rules_in_force(
    rules: Sequence[Rule], own: int, around: Surroundings
) -> tuple[_RuleInForce, ...]:
    """Return the rules that can add subjects, the highest first; of equals the name decides."""
    found = []
    for rule in sorted(rules, key=lambda rule: (-rule.percentage, rule.name)):
        threshold, conditions = threshold_of(rule.percentage), compile_rule(rule, around.segments)
        if threshold > own and conditions is not None:
            answer = Decision(enabled=True, reason=Reason.RULE, rule=rule.name)
            found.append(_RuleInForce(threshold, around.ready(answer), conditions))
    return tuple(found)


def _without_subject(
    own: int, rules: Sequence[_RuleInForce], ready: Ready, whole: Decision
) -> Callable[[Attributes], Decision]:
    """Decide for nobody in particular: only 0 and 100 answer, what lies between needs a bucket.

    ``whole`` is the answer of an own percentage that is one of these.
    """
    if own >= EVERYBODY or not (own or rules):
        return lambda attributes: whole  # noqa: ARG005
    no_subject = ready(Decision(enabled=False, reason=Reason.NO_SUBJECT))

    def decide(attributes: Attributes) -> Decision:
        for rule in rules:
            if all(holds(attributes) for holds in rule.conditions):
                return rule.answer if rule.threshold >= EVERYBODY else no_subject
        return no_subject if own else whole

    return decide


def state_of(flag: FlagDefinition, *, now: datetime, archived: bool) -> FlagState:
    """Sum a flag up in one word: killed is a flag that would reach somebody, but is switched off.

    On means everybody in the environments that it is for, partial only some.
    """
    if archived:
        return FlagState.ARCHIVED
    shares = [flag.percentage, *flag.environment_overrides.values()]
    reaches = any(shares) or bool(flag.whitelist) or any(rule.percentage for rule in flag.rules)
    if not flag.enabled:
        return FlagState.KILLED if reaches else FlagState.OFF
    if flag.starts_at is not None and now < flag.starts_at:
        return FlagState.NOT_STARTED
    if flag.expires_at is not None and now >= flag.expires_at:
        return FlagState.EXPIRED
    if not reaches:
        return FlagState.OFF
    whole = all(share is True or float(share) == 100.0 for share in shares)  # noqa: PLR2004
    some = bool(flag.blacklist or flag.prerequisites)
    return FlagState.ON if whole and not some else FlagState.PARTIAL
