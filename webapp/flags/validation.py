"""What a flag may hold: every rule that a draft breaks, by field, in words for whoever typed it.

Pure: it sees one draft, and what that may refer to.  That a name is free is for the service to
find out.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any, Final, NamedTuple

import orjson

from webapp.flags.targeting import moment_of, number_of, pattern_of, version_of
from webapp.flags.values import (
    GUARD_METRICS,
    LEAST_WINDOW,
    MAX_CONDITIONS,
    MAX_DECIDED,
    MAX_DESCRIPTION,
    MAX_ENVIRONMENTS,
    MAX_GUARDS,
    MAX_ID,
    MAX_IDS,
    MAX_METADATA,
    MAX_METADATA_LEVELS,
    MAX_NAME,
    MAX_PREREQUISITES,
    MAX_RULES,
    MAX_SAMPLE,
    MAX_SCOPE,
    MAX_SEGMENTS,
    MAX_STEPS,
    MAX_TAGS,
    MAX_THRESHOLD,
    MAX_VALUE,
    MAX_VALUES,
    MAX_VARIANTS,
    MAX_WEIGHT,
    MAX_WINDOW,
    MAX_WORD,
    SINGLE_VALUE,
    Condition,
    FlagDraft,
    GroupDraft,
    GuardFacts,
    GuardMetric,
    Operator,
    PlanStep,
    Prerequisite,
    RolloutGuard,
    Rule,
    SegmentDraft,
    Variant,
)
from webapp.reasons import UNFIT_TEXT

_NAME: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
# Control characters break lines and tables, half surrogates break databases and hashes.
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

# Steps are put off by as long as a plan was stopped, and stay in the calendar.
_FIRST_YEAR: Final = 2000
_LAST_YEAR: Final = 2999
_OFF: Final = "off"

Complaints = dict[str, list[str]]


def complaints_about(draft: FlagDraft) -> Complaints:
    """Return the messages for each field that breaks a rule; empty where all is well."""
    found = {
        "name": _name(draft.name),
        "description": _text(draft.description, MAX_DESCRIPTION),
        "percentage": _percentage(draft.percentage),
        "whitelist": _ids(draft.whitelist),
        "blacklist": _ids(draft.blacklist) + _in_both(draft.whitelist, draft.blacklist),
        "environments": _words(draft.environments, MAX_ENVIRONMENTS),
        "environment_overrides": _overrides(draft.environment_overrides),
        "starts_at": _moment(draft.starts_at),
        "expires_at": _moment(draft.expires_at) or _window(draft),
        "rules": _rules(draft.rules),
        "variants": _variants(draft.variants),
        "prerequisites": _prerequisites(draft),
        "stickiness": _text(draft.stickiness, MAX_ID),
        "group": [] if draft.group is None else _words((draft.group,), 1),
        "tags": _words(draft.tags, MAX_TAGS),
        "metadata": _metadata(draft.metadata),
        "rollout_plan": _plan(draft.rollout_plan),
        "guards": _guards(draft),
    }
    return _given(found)


class References(NamedTuple):
    """What a flag may refer to; ``prerequisites`` has every flag, with those it builds on."""

    prerequisites: Mapping[str, Iterable[str]]
    segments: Iterable[str]
    groups: Iterable[str]


def complaints_about_references(draft: FlagDraft, known: References) -> Complaints:
    """Return the messages for each field that names what there is not, or leads in a circle."""
    segments = [name for rule in draft.rules for name in rule.segments]
    needed = [item.flag for item in draft.prerequisites]
    found = {
        "rules": _unknown("segment", segments, known.segments),
        "prerequisites": _unknown("flag", needed, known.prerequisites)
        or _circle(draft.name, needed, known.prerequisites)
        or _too_much(draft.name, needed, known.prerequisites),
        "group": _unknown("group", [draft.group] if draft.group is not None else [], known.groups),
    }
    return _given(found)


def complaints_about_segment(draft: SegmentDraft) -> Complaints:
    """Return the messages for each field of a segment that breaks a rule."""
    found = {
        "name": _words((draft.name,), 1),
        "description": _text(draft.description, MAX_DESCRIPTION),
        "conditions": _conditions(draft.conditions, "")
        or ([] if draft.conditions else ["At least one condition."]),
    }
    return _given(found)


def complaints_about_group(draft: GroupDraft) -> Complaints:
    """Return the messages for each field of a group that breaks a rule."""
    found = {
        "name": _words((draft.name,), 1),
        "description": _text(draft.description, MAX_DESCRIPTION),
    }
    return _given(found)


def _given(found: Complaints) -> Complaints:
    return {field: messages for field, messages in found.items() if messages}


def _name(name: str) -> list[str]:
    if len(name) > MAX_NAME:
        return [f"At most {MAX_NAME} characters."]
    if not _NAME.fullmatch(name):
        return ["Lower-case words joined by '.', '_' or '-', such as ui.dashboard.new_layout."]
    return []


def _text(text: str, most: int) -> list[str]:
    if len(text) > most:
        return [f"At most {most:,} characters, not {len(text):,}."]
    return ["Holds characters that cannot be shown."] if UNFIT_TEXT.search(text) else []


def _percentage(value: float) -> list[str]:
    # Written so that "not a number", which compares as false, is refused too.
    if not 0 <= value <= 100:  # noqa: PLR2004  # of a hundred
        return ["Must be from 0 to 100."]
    if round(value, 2) != value:
        return ["At most two decimals."]
    return []


def _ids(ids: tuple[str, ...]) -> list[str]:
    if len(ids) > MAX_IDS:
        return [f"At most {MAX_IDS:,} ids, not {len(ids):,}."]
    if any(not 0 < len(item) <= MAX_ID or item != item.strip() for item in ids):
        return [f"Each id has 1 to {MAX_ID} characters and no space around it."]
    if any(map(_UNFIT.search, ids)):
        return ["An id holds characters that cannot be shown."]
    return _repeated(ids)


def _in_both(whitelist: tuple[str, ...], blacklist: tuple[str, ...]) -> list[str]:
    both = sorted(set(whitelist) & set(blacklist))
    return [f"On the whitelist too: {_some(both)}."] if both else []


def _words(words: tuple[str, ...], most: int) -> list[str]:
    if len(words) > most:
        return [f"At most {most}, not {len(words):,}."]
    wrong = [word for word in words if not _is_word(word)]
    if wrong:
        return [f"Lower-case words of at most {MAX_WORD} characters, unlike {_some(wrong)}."]
    return _repeated(words)


def _is_word(word: str) -> bool:
    return len(word) <= MAX_WORD and _NAME.fullmatch(word) is not None


def _overrides(overrides: Mapping[str, bool | float]) -> list[str]:
    messages = _words(tuple(overrides), MAX_ENVIRONMENTS)
    for environment, value in overrides.items():
        wrong = [] if isinstance(value, bool) else _percentage(value)
        messages += [f"{environment}: {message}" for message in wrong]
    return messages


def _moment(when: datetime | None) -> list[str]:
    """Refuse a time that its zone carries out of the calendar: UTC is what is kept of it."""
    if when is not None:
        try:
            when.astimezone(UTC)
        except OverflowError:
            return ["Lies outside the years 1 to 9999 in UTC."]
    return []


def _window(draft: FlagDraft) -> list[str]:
    if draft.starts_at and draft.expires_at and draft.expires_at <= draft.starts_at:
        return ["Must be later than the start."]
    return []


def _rules(rules: tuple[Rule, ...]) -> list[str]:
    if len(rules) > MAX_RULES:
        return [f"At most {MAX_RULES}, not {len(rules):,}."]
    messages = _repeated(tuple(rule.name for rule in rules))
    for number, rule in enumerate(rules, start=1):
        messages += _label(rule.name, f"Rule {number}")
        messages += _rule(rule)
    return messages


def _rule(rule: Rule) -> list[str]:
    """Name the rule in each message: a flag has many of them in one field."""
    place = f"{rule.name}: "
    messages = [f"{place}{message}" for message in _percentage(rule.percentage)]
    if len(rule.segments) > MAX_SEGMENTS:
        messages.append(f"{place}At most {MAX_SEGMENTS} segments.")
    messages += [f"{place}{message}" for message in _repeated(rule.segments)]
    if not rule.conditions and not rule.segments:
        messages.append(f"{place}At least one condition or segment.")
    return messages + _conditions(rule.conditions, place)


def _conditions(conditions: tuple[Condition, ...], place: str) -> list[str]:
    if len(conditions) > MAX_CONDITIONS:
        return [f"{place}At most {MAX_CONDITIONS} conditions, not {len(conditions):,}."]
    return [f"{place}{message}" for item in conditions for message in _condition(item)]


def _condition(condition: Condition) -> list[str]:
    about = condition.attribute or "a condition"
    messages = _label(condition.attribute, "The attribute of a condition")
    if not condition.values:
        return [*messages, f"{about}: At least one value."]
    if len(condition.values) > MAX_VALUES:
        return [*messages, f"{about}: At most {MAX_VALUES:,} values."]
    if any(len(value) > MAX_VALUE or _UNFIT.search(value) for value in condition.values):
        messages.append(f"{about}: A value is too long or cannot be shown.")
    elif condition.operator in SINGLE_VALUE and len(condition.values) > 1:
        messages.append(f"{about}: One value only for {condition.operator}.")
    elif complaint := _unreadable(condition):
        messages.append(f"{about}: {complaint}")
    return messages


def _unreadable(condition: Condition) -> str:
    """Say what is wrong with a value that its operator must be able to read."""
    value, operator = condition.values[0], condition.operator
    if operator is Operator.MATCHES:
        try:
            pattern_of(value)
        except ValueError as error:
            return f"Is no regular expression: {error}."
    read, kind = _READERS.get(operator, (None, ""))
    return f"{value!r} is no {kind}." if read and read(value) is None else ""


_READERS: Final[Mapping[Operator, tuple[Callable[[str], object], str]]] = {
    **dict.fromkeys((Operator.GT, Operator.GTE, Operator.LT, Operator.LTE), (number_of, "number")),
    **dict.fromkeys((Operator.BEFORE, Operator.AFTER), (moment_of, "time, such as 2026-11-22")),
    **dict.fromkeys(
        (Operator.SEMVER_EQ, Operator.SEMVER_GT, Operator.SEMVER_LT),
        (version_of, "version, such as 2.10.0"),
    ),
}


def _label(text: str, what: str) -> list[str]:
    """Check a short text that people and programs read: a rule, an attribute, a variant."""
    if not 0 < len(text) <= MAX_WORD or text != text.strip() or _UNFIT.search(text):
        return [f"{what} has a name of 1 to {MAX_WORD} characters and no space around it."]
    return []


def _variants(variants: tuple[Variant, ...]) -> list[str]:
    if len(variants) > MAX_VARIANTS:
        return [f"At most {MAX_VARIANTS}, not {len(variants):,}."]
    messages = _repeated(tuple(variant.name for variant in variants))
    for number, variant in enumerate(variants, start=1):
        messages += _label(variant.name, f"Variant {number}")
        if not 0 <= variant.weight <= MAX_WEIGHT:
            messages.append(f"{variant.name}: A weight is a whole number from 0 to {MAX_WEIGHT:,}.")
        messages += [f"{variant.name}: {message}" for message in _value(variant.value)]
    if variants and not any(variant.weight > 0 for variant in variants):
        messages.append("At least one needs a weight above 0.")
    return messages


def _prerequisites(draft: FlagDraft) -> list[str]:
    items: tuple[Prerequisite, ...] = draft.prerequisites
    if len(items) > MAX_PREREQUISITES:
        return [f"At most {MAX_PREREQUISITES}, not {len(items):,}."]
    return _repeated(tuple(item.flag for item in items))


def _plan(plan: tuple[PlanStep, ...]) -> list[str]:
    if len(plan) > MAX_STEPS:
        return [f"At most {MAX_STEPS} steps, not {len(plan):,}."]
    messages = []
    for number, step in enumerate(plan, start=1):
        wrong = _percentage(step.percentage) + _moment(step.at)
        if not wrong and not _FIRST_YEAR <= step.at.astimezone(UTC).year <= _LAST_YEAR:
            wrong = [f"Lies outside the years {_FIRST_YEAR} to {_LAST_YEAR}."]
        messages += [f"Step {number}: {message}" for message in wrong]
    if not messages:
        pairs = enumerate(pairwise(plan), start=2)
        messages = [message for number, pair in pairs for message in _rising(number, *pair)]
    if not messages and plan and plan[0].percentage == 0:
        messages.append("Step 1: Must be above 0 %.")
    return messages


def _rising(number: int, before: PlanStep, step: PlanStep) -> list[str]:
    found = []
    if step.at <= before.at:
        found.append(f"Step {number}: Must come later than the one before it.")
    if step.percentage <= before.percentage:
        found.append(f"Step {number}: Must be above the {before.percentage:g} % before it.")
    return found


def _guards(draft: FlagDraft) -> list[str]:
    guards = draft.guards
    if len(guards) > MAX_GUARDS:
        return [f"At most {MAX_GUARDS}, not {len(guards):,}."]
    messages = _repeated(tuple(guard.name for guard in guards))
    for number, guard in enumerate(guards, start=1):
        messages += _label(guard.name, f"Guard {number}")
        messages += [f"{guard.name}: {message}" for message in _guard(guard)]
        if guard.metric is GuardMetric.JOB_COMPARISON and any(
            variant.name == _OFF for variant in draft.variants
        ):
            messages.append(
                f"{guard.name}: A variant called {_OFF} cannot be told from the flag being off."
            )
    return messages


def _guard(guard: RolloutGuard) -> list[str]:
    facts = GUARD_METRICS[guard.metric]
    most = 100 if facts.percent else MAX_THRESHOLD
    window = f"whole seconds from {LEAST_WINDOW} to {MAX_WINDOW:,}"
    sample = f"a whole number from 1 to {MAX_SAMPLE:,}"
    return [
        *_scope(guard, facts),
        *_bound("threshold", guard.threshold, 0, most, facts.threshold, f"0 to {most:,}"),
        *_bound("window", guard.window, LEAST_WINDOW, MAX_WINDOW, facts.window, window),
        *_bound("min_sample", guard.min_sample, 1, MAX_SAMPLE, facts.sample, sample),
    ]


def _scope(guard: RolloutGuard, facts: GuardFacts) -> list[str]:
    if not facts.scope:
        return [f"{guard.metric} has no scope."] if guard.scope else []
    if not guard.scope:
        return [] if facts.of_all else [f"Name the {facts.scope} in its scope."]
    fits = len(guard.scope) <= MAX_SCOPE and guard.scope == guard.scope.strip()
    return [] if fits and not _UNFIT.search(guard.scope) else [f"That is no {facts.scope}."]


def _bound(
    field: str,
    value: float | None,
    least: float,
    most: float,
    wanted: bool,  # noqa: FBT001  # one row of a table
    words: str,
) -> list[str]:
    if not wanted:
        return [] if value is None else [f"Its metric has no {field}."]
    # Written so that "not a number", which compares as false, is refused too.
    return [] if value is not None and least <= value <= most else [f"{field}: {words}."]


def _unknown(kind: str, names: Iterable[str], known: Iterable[str]) -> list[str]:
    there = set(known)
    missing = sorted({name for name in names if name not in there})
    return [f"There is no {kind} {_some(missing)}."] if missing else []


def _circle(name: str, needed: Iterable[str], graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Walk what the flag builds on, and what that builds on; it may not come back to itself."""
    paths = [[name, other] for other in needed]
    visited: set[str] = set()
    while paths:
        path = paths.pop()
        if path[-1] == name:
            return [f"Leads in a circle: {' → '.join(path)}."]
        if path[-1] not in visited:
            visited.add(path[-1])
            paths += [[*path, other] for other in graph.get(path[-1], ())]
    return []


def _too_much(name: str, needed: Iterable[str], graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Bound what one evaluation decides: for this flag, and for those that build on it."""
    there = {**graph, name: needed}
    decided: dict[str, int] = {}
    try:
        # Each flag comes behind those that it builds on.
        order = list(TopologicalSorter({key: set(there[key]) for key in there}).static_order())
    except CycleError:
        # One of others, which was refused where it would have been made.
        return []
    for other in order:
        decided[other] = 1 + sum(decided[item] for item in there.get(other, ()))
    builders = {name}
    for other in decided:
        if builders.intersection(there.get(other, ())):
            builders.add(other)
    worst = max(builders, key=lambda other: decided[other])
    if decided[worst] <= MAX_DECIDED:
        return []
    return [
        f"To decide {worst}, {decided[worst]:,} flags would be asked; at most {MAX_DECIDED} may be."
    ]


def _metadata(metadata: Mapping[str, Any]) -> list[str]:
    return _value(metadata, "a JSON object")


def _value(value: Any, kind: str = "a JSON value") -> list[str]:
    """Check what people keep with a flag and programs get from it."""
    # Before anything walks down into it: whatever writes JSON has a depth at which it fails.
    if _has_more_levels(value, MAX_METADATA_LEVELS):
        return [f"At most {MAX_METADATA_LEVELS} levels deep."]
    value = dict(value) if isinstance(value, Mapping) else value
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError):
        return [f"Must be {kind}."]
    # JSON writes the null character as an escape; PostgreSQL stores it in no form.
    if "\\u0000" in text or UNFIT_TEXT.search(text):
        return ["Holds characters that cannot be shown."]
    if len(text) > MAX_METADATA:
        return [f"At most {MAX_METADATA:,} characters."]
    return _unwritable(value)


def _has_more_levels(value: Any, levels: int) -> bool:
    if not isinstance(value, Mapping | list | tuple):
        return False
    inside = value.values() if isinstance(value, Mapping) else value
    return levels == 0 or any(_has_more_levels(item, levels - 1) for item in inside)


def _unwritable(value: Any) -> list[str]:
    """Say where the API could not write it back: one such flag would break every list of flags."""
    try:
        orjson.dumps(value)
    except TypeError:
        return ["Holds a whole number of more than 64 bits."]
    return []


def _repeated(items: tuple[str, ...]) -> list[str]:
    twice = sorted(item for item, times in Counter(items).items() if times > 1)
    return [f"Given twice: {_some(twice)}."] if twice else []


def _some(items: Iterable[str]) -> str:
    """Name the first few of many."""
    named = list(items)
    return ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")  # noqa: PLR2004
