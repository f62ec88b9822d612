"""Flags in words: operators, conditions, rules, variants, prerequisites, and changes of them.

Pure: it writes what it is given, and knows neither the page nor the database.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from webapp.audit.differences import told
from webapp.audit.values import FieldChange
from webapp.flags.documents import (
    condition_from,
    guard_from,
    prerequisite_from,
    rule_from,
    step_from,
    variant_from,
)
from webapp.flags.harm import guard_in_words
from webapp.flags.values import (
    Condition,
    Operator,
    Override,
    PlanStep,
    Prerequisite,
    Rule,
    Variant,
)

FEW: Final = 5

# As they are chosen in a form.
OPERATORS: Final[Mapping[Operator, str]] = {
    Operator.IN: "in",
    Operator.NOT_IN: "not in",
    Operator.EQUALS: "equals",
    Operator.CONTAINS: "contains",
    Operator.STARTS_WITH: "starts with",
    Operator.ENDS_WITH: "ends with",
    Operator.MATCHES: "matches (RE2)",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.BEFORE: "before",
    Operator.AFTER: "after",
    Operator.SEMVER_EQ: "version =",
    Operator.SEMVER_GT: "version >",
    Operator.SEMVER_LT: "version <",
}
# As they are read in a sentence, and how one reads that is negated.
_VERBS: Final[Mapping[Operator, tuple[str, str]]] = {
    Operator.IN: ("is in", "is not in"),
    Operator.NOT_IN: ("is none of", "is one of"),
    Operator.EQUALS: ("is", "is not"),
    Operator.CONTAINS: ("contains", "does not contain"),
    Operator.STARTS_WITH: ("starts with", "does not start with"),
    Operator.ENDS_WITH: ("ends with", "does not end with"),
    Operator.MATCHES: ("matches", "does not match"),
    Operator.GT: (">", "is not >"),
    Operator.GTE: (">=", "is not >="),
    Operator.LT: ("<", "is not <"),
    Operator.LTE: ("<=", "is not <="),
    Operator.BEFORE: ("is before", "is not before"),
    Operator.AFTER: ("is after", "is not after"),
    Operator.SEMVER_EQ: ("is version", "is not version"),
    Operator.SEMVER_GT: ("is above version", "is not above version"),
    Operator.SEMVER_LT: ("is below version", "is not below version"),
}
_LISTS: Final = frozenset({Operator.IN, Operator.NOT_IN})


def some_of(items: Sequence[str], nothing: str = "nobody", joint: str = ", ") -> str:
    """Name the first few of a list, and count the rest."""
    if not items:
        return nothing
    rest = len(items) - FEW
    return joint.join(items[:FEW]) + (f" and {rest:,} more" if rest > 0 else "")


def override_text(value: Override) -> str:
    """Write an override as it is typed: on, off or a percentage."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g} %"


def condition_in_words(condition: Condition) -> str:
    """Write a condition as part of a sentence: ``country is in DE, AT``."""
    verb = _VERBS[condition.operator][condition.negate]
    joint = ", " if condition.operator in _LISTS else " or "
    return f"{condition.attribute} {verb} {some_of(condition.values, 'nothing', joint)}"


def conditions_in_words(conditions: Sequence[Condition]) -> str:
    """Write conditions that must all hold."""
    return " and ".join(map(condition_in_words, conditions))


def rule_in_words(rule: Rule) -> str:
    """Write what a rule says of whom: ``50 % where plan is in pro; segment germans``."""
    parts = [f"where {conditions_in_words(rule.conditions)}"] if rule.conditions else []
    if rule.segments:
        noun = "segment" if len(rule.segments) == 1 else "segments"
        parts.append(f"{noun} {', '.join(rule.segments)}")
    return f"{rule.percentage:g} % " + ("; ".join(parts) or "for everybody")


def variant_in_words(variant: Variant) -> str:
    """Write a variant's weight, and its value where it has one."""
    value = "" if variant.value is None else f", value {_json(variant.value)}"
    return f"weight {variant.weight:,}{value}"


def prerequisite_in_words(item: Prerequisite) -> str:
    """Write how the other flag must answer."""
    return "must be on" if item.enabled else "must be off"


def step_in_words(step: PlanStep) -> str:
    """Write a step of a plan: ``25 % from 2026-11-22 12:00 UTC``."""
    at = step.at.astimezone(UTC)
    clock = f"{at:%Y-%m-%d %H:%M}" + (f":{at:%S}" if at.second else "")
    return f"{step.percentage:g} % from {clock} UTC"


def told_changes(changes: Iterable[FieldChange]) -> list[FieldChange]:
    """Return changes as a person reads them.

    Of rules, variants and prerequisites each that differs is a change of its own, in words; all
    else is told as on the page of the audit.
    """
    return [row for change in changes for row in _told(change)]


def field_in_words(field: str, value: Any, beside: Any = None) -> list[str]:
    """Write one field's value as lines; of a long list what ``beside`` lacks, and how many."""
    if field in _ITEMS:
        return [f"{name}: {words}" for name, words in _items(field, value).items()]
    if field == "environment_overrides":
        return [f"{name} = {override_text(item)}" for name, item in (value or {}).items()]
    if field == "rollout_plan":
        return _steps(value)
    if field == "conditions":
        return [condition_in_words(condition_from(item)) for item in value or ()]
    if isinstance(value, list):
        few = len(value) <= FEW
        return [", ".join(map(str, value)) if few else _without(value, beside or [])]
    return [_text(value)]


def _by_item(change: FieldChange) -> list[FieldChange]:
    field, old, new = change.field, change.old or [], change.new or []
    before, after = _items(field, old), _items(field, new)
    noun = field.removesuffix("s")
    differing = [
        FieldChange(f"{noun} {name}", before.get(name), after.get(name))
        for name in [*before, *(name for name in after if name not in before)]
        if before.get(name) != after.get(name)
    ]
    # Variants share the weights in their order.
    if not differing and list(before) != list(after):
        return [FieldChange(f"order of {field}", ", ".join(before), ", ".join(after))]
    return differing or [FieldChange(field, old, new)]


def _items(field: str, items: Any) -> dict[str, str]:
    """Write each rule, variant or prerequisite under its name."""
    return dict(_ITEMS[field](item) for item in items or ())


def _told(change: FieldChange) -> list[FieldChange]:
    if change.field in _ITEMS:
        return _by_item(change)
    if change.field == "conditions":
        return [FieldChange(change.field, _conditions(change.old), _conditions(change.new))]
    if change.field == "rollout_plan":
        old, new = (", ".join(_steps(plan)) or None for plan in (change.old, change.new))
        return [FieldChange(change.field, old, new)]
    if change.field == "evidence":
        # The reason tells it in words.
        return []
    return told(change)


def _steps(items: Any) -> list[str]:
    return [step_in_words(step_from(item)) for item in items or ()]


def _conditions(items: Any) -> str | None:
    return None if items is None else conditions_in_words([condition_from(item) for item in items])


def _without(items: list[Any], others: list[Any]) -> str:
    """Say how many there are, and which of them are not among the others."""
    known = frozenset(others)
    only = [str(item) for item in items if item not in known]
    named = f": {some_of(only)}" if only else ""
    return f"{len(items):,}{named}"


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str) else _json(value) if value not in (None, {}) else ""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _rule(document: Mapping[str, Any]) -> tuple[str, str]:
    rule = rule_from(document)
    return rule.name, rule_in_words(rule)


def _variant(document: Mapping[str, Any]) -> tuple[str, str]:
    variant = variant_from(document)
    return variant.name, variant_in_words(variant)


def _prerequisite(document: Mapping[str, Any]) -> tuple[str, str]:
    item = prerequisite_from(document)
    return item.flag, prerequisite_in_words(item)


def _guard(document: Mapping[str, Any]) -> tuple[str, str]:
    guard = guard_from(document)
    return guard.name, guard_in_words(guard)


_ITEMS: Final[Mapping[str, Callable[[Mapping[str, Any]], tuple[str, str]]]] = {
    "rules": _rule,
    "variants": _variant,
    "prerequisites": _prerequisite,
    "guards": _guard,
}
