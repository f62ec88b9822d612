"""What the JSON API of flags answers with, by type: the document of the API is made from these."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from webapp.flags.explanation import StepName, StepOutcome
from webapp.flags.schemas import (
    ConditionBody,
    GuardBody,
    PlanStepBody,
    PrerequisiteBody,
    RuleBody,
    VariantBody,
)
from webapp.flags.values import (
    FlagState,
    GuardAction,
    GuardMetric,
    GuardState,
    Override,
    Reason,
    RolloutState,
)
from webapp.web.openapi import Answer, Query, WindowQuery

Truth = Literal["true", "false"]


class _History(Answer):
    version: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


class RolloutResponse(Answer):
    """How a flag stands in its plan; ``next_at`` is null where no step is taken by itself."""

    state: RolloutState
    since: datetime | None
    by: str | None
    reason: str | None
    next_percentage: float | None
    next_at: datetime | None


class FlagResponse(_History):
    """A whole flag."""

    name: str
    description: str
    enabled: bool
    percentage: float
    whitelist: list[str]
    blacklist: list[str]
    environments: list[str]
    environment_overrides: dict[str, Override]
    starts_at: datetime | None
    expires_at: datetime | None
    rules: list[RuleBody]
    variants: list[VariantBody]
    prerequisites: list[PrerequisiteBody]
    stickiness: str
    group: str | None
    tags: list[str]
    metadata: dict[str, Any]
    rollout_plan: list[PlanStepBody]
    guards: list[GuardBody]
    rollout: RolloutResponse
    archived_at: datetime | None


class SideResponse(Answer):
    """How attempts ended that had a flag on, or off."""

    failed: int
    attempts: int
    failure_rate: float | None


class _Measured(Answer):
    limit: float
    value: float | None
    sample: int | None
    on: SideResponse | None
    off: SideResponse | None


class TripResponse(_Measured):
    """The evidence with which a guard tripped, and what it did."""

    action: GuardAction
    from_: Annotated[float, Field(alias="from")]
    to: float
    since: datetime
    metric: GuardMetric
    scope: str
    text: str
    note: str


class GuardResponse(_Measured):
    """A guard, what it sees, and how it tripped last.

    ``value`` is held against ``limit``; of a comparison it is how many times likelier what was seen
    is with harm than without.
    """

    name: str
    metric: GuardMetric
    scope: str
    threshold: float | None
    window: int | None
    min_sample: int | None
    action: GuardAction
    when: str
    state: GuardState
    since: datetime | None
    checked_at: datetime | None
    seen: str
    tripped_at: datetime | None
    trip: TripResponse | None


class GuardsResponse(Answer):
    """How a rollout stands, and what its guards see."""

    flag_name: str
    percentage: float
    rollout: RolloutResponse
    guards: list[GuardResponse]


class DecisionResponse(Answer):
    """What a flag answers, and why."""

    enabled: bool
    reason: Reason
    rule: str | None
    variant: str | None
    value: Any


class EvaluationResponse(DecisionResponse):
    """What one flag answers."""

    flag_name: str
    evaluation_time_ms: float


class BulkEvaluationResponse(Answer):
    """What several flags answer, by name."""

    flags: dict[str, DecisionResponse]
    evaluation_time_ms: float


class DecisionStepResponse(Answer):
    """One step of a decision, and what it looked at."""

    step: StepName
    outcome: StepOutcome
    inputs: dict[str, Any]


class VariantSplitResponse(Answer):
    """Where among the weights of the variants the subject lies."""

    place: int | None
    total: int
    weights: dict[str, int]


class ExplanationResponse(DecisionResponse):
    """Every step of a decision."""

    flag_name: str
    decided_by: StepName
    steps: list[DecisionStepResponse]
    split: VariantSplitResponse | None


class ValuesResponse(Answer):
    """One field before and after."""

    old: Any
    new: Any


class FlagChangeResponse(Answer):
    """One change of a flag."""

    id: int
    at: datetime
    actor_kind: str
    actor: str
    action: str
    reason: str
    changes: dict[str, ValuesResponse]
    request_id: str | None


class UsageCountResponse(Answer):
    """How often one answer was given in one hour."""

    hour: datetime
    environment: str
    variant: str | None
    enabled: bool
    reason: str
    count: int


class UsageResponse(Answer):
    """How often a flag was asked, by hour and answer."""

    flag_name: str
    hours: int
    since: datetime
    last_evaluated_at: datetime | None
    on: int
    off: int
    counts: list[UsageCountResponse]


class SegmentResponse(_History):
    """A segment, and the flags whose rules name it."""

    name: str
    description: str
    conditions: list[ConditionBody]
    flags: list[str]


class GroupResponse(_History):
    """A group, and its flags."""

    name: str
    description: str
    flags: list[str]


class ImportedResponse(Answer):
    """What became of one entry of an import."""

    outcome: str
    changes: dict[str, ValuesResponse]
    errors: dict[str, list[str]]


class ImportResponse(Answer):
    """What an import did, or would do."""

    dry_run: bool
    counts: dict[str, int]
    groups: dict[str, ImportedResponse]
    segments: dict[str, ImportedResponse]
    flags: dict[str, ImportedResponse]


class ExportResponse(Answer):
    """The whole state, in the form that an import reads."""

    format: str
    groups: list[dict[str, Any]]
    segments: list[dict[str, Any]]
    flags: list[dict[str, Any]]


class SnapshotResponse(Answer):
    """All that decides."""

    revision: int
    flags: list[dict[str, Any]]
    segments: dict[str, Any]


class FlagsQuery(WindowQuery):
    """What a list of flags is narrowed to."""

    q: str
    state: FlagState
    rollout: RolloutState
    environment: str
    tag: str
    group: str
    enabled: Truth
    archived: Truth
    stale: Truth


class HoursQuery(Query):
    """How far back usage is told."""

    hours: int


class CheckQuery(Query):
    """The subject of an evaluation, in the query."""

    user_id: str
    environment: str


class ImportQuery(Query):
    """How an import is meant."""

    dry_run: Truth
    reason: str


class RemovalQuery(Query):
    """Why something is removed, where no body says it."""

    reason: str
    version: int


class FlagRemovalQuery(RemovalQuery):
    """Whether an archived flag is to be removed for good."""

    purge: Truth
