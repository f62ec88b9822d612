"""The shapes of the JSON API: what a body may hold, and how a flag is written."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, Field

from webapp.audit.values import Entry
from webapp.flags.comparison import Side
from webapp.flags.explanation import Explanation
from webapp.flags.figures import Usage
from webapp.flags.harm import figures_from
from webapp.flags.models import FeatureFlag, FlagGroup, FlagSegment
from webapp.flags.planning import Imported, WantedFlag
from webapp.flags.progress import GuardView
from webapp.flags.service import draft_of
from webapp.flags.transfer import Export
from webapp.flags.values import (
    Condition,
    Decision,
    FlagChanges,
    FlagDraft,
    GroupDraft,
    GuardAction,
    GuardMetric,
    Operator,
    Override,
    PlanStep,
    Prerequisite,
    RolloutGuard,
    Rule,
    SegmentDraft,
    Variant,
    text_of,
)
from webapp.web.schemas import Moment, ReasonText, Schema

MAX_BULK: Final = 1_000
MAX_IMPORT: Final = 5_000
MAX_ERRORS: Final = 1_000_000
FORMAT: Final = "switchyard.feature-flags/1"

# Fields whose items are objects.
_OBJECTS: Final = frozenset({"rules", "variants", "prerequisites", "rollout_plan", "guards"})

Id = Annotated[str, Field(max_length=255)]


# Programs write numbers as numbers; conditions compare their text.
Scalar = str | int | float | bool


class ConditionBody(Schema):
    """A condition of a rule or a segment."""

    attribute: str
    operator: Operator
    values: tuple[Scalar, ...]
    negate: bool = False

    def as_value(self) -> Condition:
        """Return the condition, its values as texts."""
        texts = tuple(text_of(value) or "" for value in self.values)
        return Condition(
            attribute=self.attribute, operator=self.operator, values=texts, negate=self.negate
        )


class RuleBody(Schema):
    """A rule of a flag."""

    name: str
    conditions: tuple[ConditionBody, ...] = ()
    segments: tuple[str, ...] = ()
    percentage: float

    def as_value(self) -> Rule:
        """Return the rule."""
        return Rule(
            name=self.name,
            conditions=tuple(item.as_value() for item in self.conditions),
            segments=self.segments,
            percentage=self.percentage,
        )


class VariantBody(Schema):
    """A variant of a flag."""

    name: str
    weight: int
    value: Any = None

    def as_value(self) -> Variant:
        """Return the variant."""
        return Variant(name=self.name, weight=self.weight, value=self.value)


class PrerequisiteBody(Schema):
    """A prerequisite of a flag."""

    flag: str
    enabled: bool = True

    def as_value(self) -> Prerequisite:
        """Return the prerequisite."""
        return Prerequisite(flag=self.flag, enabled=self.enabled)


class PlanStepBody(Schema):
    """A step of a plan: from a moment on, this share."""

    at: Moment
    percentage: float

    def as_value(self) -> PlanStep:
        """Return the step, its time to the second."""
        return PlanStep(at=self.at.replace(microsecond=0), percentage=self.percentage)


class GuardBody(Schema):
    """A guard of a flag; what its metric has no use for is null."""

    name: str
    metric: GuardMetric
    scope: str = ""
    threshold: float | None = None
    window: int | None = None
    min_sample: int | None = None
    action: GuardAction = GuardAction.ROLL_BACK

    def as_value(self) -> RolloutGuard:
        """Return the guard."""
        return RolloutGuard(
            **{item.name: getattr(self, item.name) for item in fields(RolloutGuard)}
        )


class ErrorsReport(Schema):
    """The body of ``POST /feature-flags/{name}/errors``."""

    count: Annotated[int, Field(ge=1, le=MAX_ERRORS)] = 1


class RolloutMove(Schema):
    """The body of what is done to a plan."""

    reason: ReasonText = ""
    version: int | None = None


class _Settings(Schema):
    """The fields that make and change a flag alike."""

    description: str = ""
    enabled: bool = False
    percentage: float = 0.0
    whitelist: tuple[str, ...] = ()
    blacklist: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    environment_overrides: dict[str, Override] = Field(default_factory=dict)
    starts_at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None
    rules: tuple[RuleBody, ...] = ()
    variants: tuple[VariantBody, ...] = ()
    prerequisites: tuple[PrerequisiteBody, ...] = ()
    stickiness: str = ""
    group: str | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = Field(default_factory=dict)
    rollout_plan: tuple[PlanStepBody, ...] = ()
    guards: tuple[GuardBody, ...] = ()

    def settings(self) -> dict[str, Any]:
        """Return the fields that the body gave, by name."""
        known = {item.name for item in fields(FlagChanges)}
        given = {name: getattr(self, name) for name in known & self.model_fields_set}
        for name in given.keys() & _OBJECTS:
            given[name] = tuple(item.as_value() for item in given[name])
        return given


class NewFlag(_Settings):
    """The body of ``POST /feature-flags``."""

    name: str
    reason: ReasonText = "Created over the API."

    def draft(self) -> FlagDraft:
        """Return the flag that is asked for."""
        return FlagDraft(name=self.name, **self.settings())


class FlagUpdate(_Settings):
    """The body of ``PUT /feature-flags/{name}``: the fields given change, the rest stays."""

    reason: ReasonText
    version: int | None = None

    def changes(self) -> FlagChanges:
        """Return the changes that are asked for."""
        return FlagChanges(**self.settings())


class FlagToImport(_Settings):
    """One flag of an import: the fields given change, the rest stays."""

    name: Id
    archived: bool | None = None

    def wanted(self) -> WantedFlag:
        """Return the flag as the import wants it."""
        changes = FlagChanges(**self.settings())
        return WantedFlag(name=self.name, changes=changes, archived=self.archived)


class NewSegment(Schema):
    """The body of ``POST /segments``."""

    name: Id
    description: str = ""
    conditions: tuple[ConditionBody, ...]
    reason: ReasonText = "Created over the API."

    def draft(self) -> SegmentDraft:
        """Return the segment that is asked for."""
        return SegmentDraft(
            name=self.name,
            description=self.description,
            conditions=tuple(item.as_value() for item in self.conditions),
        )


class SegmentUpdate(Schema):
    """The body of ``PUT /segments/{name}``: the fields given change, the rest stays."""

    description: str | None = None
    conditions: tuple[ConditionBody, ...] | None = None
    reason: ReasonText
    version: int | None = None

    def draft(self, stands: SegmentDraft) -> SegmentDraft:
        """Return the segment as it is to be."""
        wanted = stands.conditions
        if self.conditions is not None:
            wanted = tuple(item.as_value() for item in self.conditions)
        description = stands.description if self.description is None else self.description
        return replace(stands, description=description, conditions=wanted)


class NewGroup(Schema):
    """The body of ``POST /feature-flag-groups``."""

    name: Id
    description: str = ""
    reason: ReasonText = "Created over the API."

    def draft(self) -> GroupDraft:
        """Return the group that is asked for."""
        return GroupDraft(name=self.name, description=self.description)


class GroupUpdate(Schema):
    """The body of ``PUT /feature-flag-groups/{name}``."""

    description: str
    reason: ReasonText
    version: int | None = None


class SegmentToImport(Schema):
    """One segment of an import."""

    name: Id
    description: str = ""
    conditions: tuple[ConditionBody, ...]

    def wanted(self) -> SegmentDraft:
        """Return the segment as the import wants it."""
        conditions = tuple(item.as_value() for item in self.conditions)
        return SegmentDraft(name=self.name, description=self.description, conditions=conditions)


class GroupToImport(Schema):
    """One group of an import."""

    name: Id
    description: str = ""

    def wanted(self) -> GroupDraft:
        """Return the group as the import wants it."""
        return GroupDraft(name=self.name, description=self.description)


class FlagsToImport(Schema):
    """The body of an import: an export as it was written, and perhaps a reason.

    What it holds is read one by one, so that what is wrong with one is told under its name.
    """

    format: Literal["switchyard.feature-flags/1"]
    groups: Annotated[list[Any], Field(max_length=MAX_IMPORT)] = Field(default_factory=list)
    segments: Annotated[list[Any], Field(max_length=MAX_IMPORT)] = Field(default_factory=list)
    flags: Annotated[list[Any], Field(max_length=MAX_IMPORT)]
    reason: ReasonText | None = None


class Question(Schema):
    """The body of an evaluation."""

    user_id: Id | None = None
    environment: Annotated[str, Field(max_length=64)] | None = None
    attributes: dict[str, Any] = Field(default_factory=dict)


class BulkQuestion(Question):
    """The body of an evaluation of several flags; without names, of all."""

    flag_names: Annotated[list[Id], Field(max_length=MAX_BULK)] | None = None


def decision_as_json(decision: Decision) -> dict[str, Any]:
    """Write an answer."""
    return {
        "enabled": decision.enabled,
        "reason": decision.reason,
        "rule": decision.rule,
        "variant": decision.variant,
        "value": decision.value,
    }


def explanation_as_json(name: str, explanation: Explanation) -> Mapping[str, Any]:
    """Write an answer with the steps that lead to it."""
    steps = [
        {"step": step.name, "outcome": step.outcome, "inputs": step.inputs}
        for step in explanation.steps
    ]
    answer = {"flag_name": name, **decision_as_json(explanation.decision)}
    split = explanation.split and explanation.split._asdict()
    return answer | {"decided_by": explanation.decided_by, "steps": steps, "split": split}


def entry_as_json(entry: Entry) -> Mapping[str, Any]:
    """Write one entry of a flag's audit, its values in full."""
    return {
        "id": entry.id,
        "at": entry.at,
        "actor_kind": entry.actor_kind,
        "actor": entry.actor,
        "action": entry.action,
        "reason": entry.reason,
        "changes": {
            change.field: {"old": change.old, "new": change.new} for change in entry.changes
        },
        "request_id": entry.request_id,
    }


def export_as_json(found: Export) -> Mapping[str, Any]:
    """Write the whole state in the form that an import reads."""
    written = [
        {item.name: getattr(draft, item.name) for item in fields(draft)} | {"archived": archived}
        for draft, archived in found.flags
    ]
    shared = {"groups": found.groups, "segments": found.segments}
    return {"format": FORMAT, **shared, "flags": written}


def imported_as_json(item: Imported) -> Mapping[str, Any]:
    """Write what became of something in an import."""
    changes = {
        field: {"old": change.old, "new": change.new} for field, change in item.changes.items()
    }
    return {"outcome": item.outcome, "changes": changes, "errors": item.errors}


def flag_as_json(flag: FeatureFlag) -> Mapping[str, Any]:
    """Write a flag as the API answers it; times are RFC 3339."""
    draft = draft_of(flag)
    body: dict[str, Any] = {item.name: getattr(draft, item.name) for item in fields(draft)}
    standing = {"rollout": rollout_as_json(flag), "archived_at": flag.archived_at}
    return body | standing | _history_of(flag)


def rollout_as_json(flag: FeatureFlag) -> Mapping[str, Any]:
    """Write how a flag stands in its plan, since when, by whom and why."""
    rollout = flag.rollout()
    step = rollout.next_step
    return {
        "state": rollout.state,
        "since": rollout.since,
        "by": flag.rollout_by,
        "reason": flag.rollout_reason,
        "next_percentage": step.percentage if step else None,
        "next_at": rollout.next_at,
    }


def guard_as_json(view: GuardView) -> Mapping[str, Any]:
    """Write a guard, what it sees, and the evidence with which it tripped last."""
    figures = view.figures
    return asdict(view.guard) | {
        "when": view.when,
        "state": view.state,
        "since": view.since,
        "checked_at": view.checked_at,
        "limit": view.threshold,
        "value": figures.value if figures else None,
        "sample": figures.sample if figures else None,
        "on": _side_as_json(figures.on if figures else None),
        "off": _side_as_json(figures.off if figures else None),
        "seen": view.seen,
        "tripped_at": view.tripped_at,
        "trip": trip_as_json(view.trip),
    }


def _side_as_json(side: Side | None) -> Mapping[str, Any] | None:
    if side is None:
        return None
    return {"failed": side.failed, "attempts": side.attempts, "failure_rate": side.rate}


def trip_as_json(trip: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Write the evidence of a trip."""
    if trip is None:
        return None
    figures = figures_from(trip)
    kept = ("action", "from", "to", "since", "metric", "scope", "text")
    return {name: trip[name] for name in kept} | {
        "limit": trip["threshold"],
        "value": figures.value,
        "sample": figures.sample,
        "on": _side_as_json(figures.on),
        "off": _side_as_json(figures.off),
        "note": figures.note,
    }


def segment_as_json(segment: FlagSegment, flags: Sequence[str]) -> Mapping[str, Any]:
    """Write a segment, and the flags whose rules name it."""
    return {
        "name": segment.name,
        "description": segment.description,
        "conditions": segment.conditions,
        "flags": flags,
    } | _history_of(segment)


def group_as_json(group: FlagGroup, flags: Sequence[str]) -> Mapping[str, Any]:
    """Write a group, and the flags that are in it."""
    about = {"name": group.name, "description": group.description, "flags": flags}
    return about | _history_of(group)


def _history_of(stored: FeatureFlag | FlagSegment | FlagGroup) -> dict[str, Any]:
    return {
        "version": stored.version,
        "created_at": stored.created_at,
        "created_by": stored.created_by,
        "updated_at": stored.updated_at,
        "updated_by": stored.updated_by,
    }


def usage_as_json(name: str, usage: Usage) -> Mapping[str, Any]:
    """Write a flag's usage as the API answers it, each count with all that it is of."""
    return {
        "flag_name": name,
        "hours": usage.hours,
        "since": usage.since,
        "last_evaluated_at": usage.last_evaluated_at,
        "on": usage.on,
        "off": usage.off,
        "counts": [asdict(item) for item in usage.counts],
    }
