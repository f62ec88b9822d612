"""Flags as plain data, and back: what a JSON column, a snapshot and an export hold.  Pure.

Reading trusts what it reads, since only what has been validated is ever written.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from webapp.flags.values import (
    Condition,
    FlagDefinition,
    FlagSet,
    GuardAction,
    GuardMetric,
    Operator,
    PlanStep,
    Prerequisite,
    RolloutGuard,
    Rule,
    Segments,
    Variant,
)
from webapp.moments import rfc3339

Document = Mapping[str, Any]


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: objects and mappings as dicts, tuples as lists."""
    # Most are, and an import asks this a hundred times of each of thousands.
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, PlanStep):
        return {"at": rfc3339(value.at), "percentage": value.percentage}
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def condition_from(document: Document) -> Condition:
    """Read a condition."""
    return Condition(
        attribute=document["attribute"],
        operator=Operator(document["operator"]),
        values=tuple(document["values"]),
        negate=document["negate"],
    )


def rule_from(document: Document) -> Rule:
    """Read a rule."""
    return Rule(
        name=document["name"],
        conditions=tuple(map(condition_from, document["conditions"])),
        segments=tuple(document["segments"]),
        percentage=float(document["percentage"]),
    )


def variant_from(document: Document) -> Variant:
    """Read a variant."""
    return Variant(**document)


def prerequisite_from(document: Document) -> Prerequisite:
    """Read a prerequisite."""
    return Prerequisite(**document)


def step_from(document: Document) -> PlanStep:
    """Read a step of a plan."""
    at = datetime.fromisoformat(document["at"])
    return PlanStep(at=at, percentage=float(document["percentage"]))


def guard_from(document: Document) -> RolloutGuard:
    """Read a guard."""
    metric, action = GuardMetric(document["metric"]), GuardAction(document["action"])
    return RolloutGuard(**{**document, "metric": metric, "action": action})


def segments_from(document: Document) -> Segments:
    """Read segments, by name."""
    return {name: tuple(map(condition_from, items)) for name, items in document.items()}


def definition_from(document: Document) -> FlagDefinition:
    """Read all of a flag that decides."""
    values = {item.name: document[item.name] for item in fields(FlagDefinition)}
    for name in ("whitelist", "blacklist", "environments"):
        values[name] = tuple(values[name])
    for name in ("starts_at", "expires_at"):
        values[name] = datetime.fromisoformat(values[name]) if values[name] else None
    for name, read in (
        ("rules", rule_from),
        ("variants", variant_from),
        ("prerequisites", prerequisite_from),
    ):
        values[name] = tuple(map(read, values[name]))
    return FlagDefinition(**values)


def flag_set_as_document(found: FlagSet) -> Document:
    """Write all that decides; times are ISO 8601."""
    return {
        "revision": found.revision,
        "flags": [plain(flag) for flag in found.flags.values()],
        "segments": plain(found.segments),
    }


def flag_set_from(document: Document) -> FlagSet:
    """Read all that decides."""
    flags = {item["name"]: definition_from(item) for item in document["flags"]}
    return FlagSet(int(document["revision"]), flags, segments_from(document["segments"]))
