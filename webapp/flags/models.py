"""The tables of flags: flags, what they share, the number that any change raises, their usage."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base, Json, UtcTime
from webapp.flags.documents import (
    condition_from,
    guard_from,
    prerequisite_from,
    rule_from,
    step_from,
    variant_from,
)
from webapp.flags.rollout import Rollout
from webapp.flags.values import (
    Condition,
    FlagDefinition,
    Override,
    RolloutGuard,
    RolloutState,
)
from webapp.reasons import MAX_REASON

REVISION_ROW = 1


class FeatureFlag(Base):
    """One flag; ``version`` rises by one with each change and settles who came first."""

    __tablename__ = "feature_flags"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    description: Mapped[str] = mapped_column(Text)
    enabled: Mapped[bool] = mapped_column(Boolean)
    percentage: Mapped[float] = mapped_column(Numeric(5, 2, asdecimal=False))
    whitelist: Mapped[list[str]] = mapped_column(Json)
    blacklist: Mapped[list[str]] = mapped_column(Json)
    environments: Mapped[list[str]] = mapped_column(Json)
    environment_overrides: Mapped[dict[str, Override]] = mapped_column(Json)
    starts_at: Mapped[datetime | None] = mapped_column(UtcTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    rules: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    variants: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    prerequisites: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    stickiness: Mapped[str] = mapped_column(String(255))
    # "group" alone is a word of SQL.
    group: Mapped[str | None] = mapped_column("group_name", String(64), index=True)
    tags: Mapped[list[str]] = mapped_column(Json)
    # SQLAlchemy keeps the attribute name "metadata" for itself.
    details: Mapped[dict[str, Any]] = mapped_column("metadata", Json)
    rollout_plan: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    guards: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    rollout_state: Mapped[str] = mapped_column(String(16))
    # When the next step is to be taken, None where none will be by itself.
    rollout_next_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    # Since when, by whom and why it stands so.
    rollout_since: Mapped[datetime | None] = mapped_column(UtcTime)
    rollout_by: Mapped[str | None] = mapped_column(String(255))
    rollout_reason: Mapped[str | None] = mapped_column(String(MAX_REASON))
    archived_at: Mapped[datetime | None] = mapped_column(UtcTime)
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    created_by: Mapped[str] = mapped_column(String(255))
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_by: Mapped[str] = mapped_column(String(255))

    def definition(self) -> FlagDefinition:
        """Return the part of the flag that decides."""
        return definition_of(self)

    def rollout(self) -> Rollout:
        """Return how the rollout stands."""
        return rollout_of(self)

    def own_guards(self) -> tuple[RolloutGuard, ...]:
        """Return the guards as values."""
        return tuple(map(guard_from, self.guards))


#: What decides of a flag, so that no more is read of two thousand of them.
DECIDING: Final = (
    FeatureFlag.name,
    FeatureFlag.enabled,
    FeatureFlag.percentage,
    FeatureFlag.whitelist,
    FeatureFlag.blacklist,
    FeatureFlag.environments,
    FeatureFlag.environment_overrides,
    FeatureFlag.starts_at,
    FeatureFlag.expires_at,
    FeatureFlag.rules,
    FeatureFlag.variants,
    FeatureFlag.prerequisites,
    FeatureFlag.stickiness,
)


def definition_of(row: Any) -> FlagDefinition:
    """Return the part that decides of a flag, or of a row with the columns of :data:`DECIDING`."""
    return FlagDefinition(
        name=row.name,
        enabled=row.enabled,
        percentage=float(row.percentage),
        whitelist=tuple(row.whitelist),
        blacklist=tuple(row.blacklist),
        environments=tuple(row.environments),
        environment_overrides=row.environment_overrides,
        starts_at=row.starts_at,
        expires_at=row.expires_at,
        rules=tuple(map(rule_from, row.rules)),
        variants=tuple(map(variant_from, row.variants)),
        prerequisites=tuple(map(prerequisite_from, row.prerequisites)),
        stickiness=row.stickiness,
    )


#: All that somebody may change of a flag, and how it stands.
STANDING: Final = (
    *DECIDING,
    FeatureFlag.description,
    FeatureFlag.group,
    FeatureFlag.tags,
    FeatureFlag.details,
    FeatureFlag.rollout_plan,
    FeatureFlag.guards,
    FeatureFlag.rollout_state,
    FeatureFlag.rollout_since,
    FeatureFlag.archived_at,
)


#: What tells how a rollout stands.
MOVING: Final = (
    FeatureFlag.name,
    FeatureFlag.enabled,
    FeatureFlag.percentage,
    FeatureFlag.rollout_plan,
    FeatureFlag.rollout_state,
    FeatureFlag.rollout_since,
)


def rollout_of(row: Any) -> Rollout:
    """Return how the rollout of a flag stands, or of a row with the columns of :data:`MOVING`."""
    return Rollout(
        plan=tuple(map(step_from, row.rollout_plan)),
        percentage=float(row.percentage),
        enabled=row.enabled,
        state=RolloutState(row.rollout_state),
        since=row.rollout_since,
    )


class _Shared(Base):
    """What flags share under a name; ``version`` rises by one with each change."""

    __abstract__ = True

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    description: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    created_by: Mapped[str] = mapped_column(String(255))
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_by: Mapped[str] = mapped_column(String(255))


class FlagGroup(_Shared):
    """Flags that belong together: a feature, a team, a release."""

    __tablename__ = "feature_flag_groups"


class FlagSegment(_Shared):
    """Conditions under a name, for the rules of many flags."""

    __tablename__ = "feature_flag_segments"

    conditions: Mapped[list[dict[str, Any]]] = mapped_column(Json)

    def as_conditions(self) -> tuple[Condition, ...]:
        """Return the conditions as values."""
        return tuple(map(condition_from, self.conditions))


class FlagRevision(Base):
    """One row: a number that every change of a flag raises in its own transaction."""

    __tablename__ = "feature_flag_revision"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(BigInteger)


class FeatureFlagEvaluation(Base):
    """How often one answer was given in one hour, summed over all processes.

    Its name is the key: a flag's never changes.  An empty ``variant`` stands for none, since NULL
    equals nothing and the upsert needs a key.
    """

    __tablename__ = "feature_flag_evaluations"
    __table_args__ = (Index(None, "hour"),)

    flag: Mapped[str] = mapped_column(String(255), primary_key=True)
    hour: Mapped[datetime] = mapped_column(UtcTime, primary_key=True)
    environment: Mapped[str] = mapped_column(String(64), primary_key=True)
    variant: Mapped[str] = mapped_column(String(255), primary_key=True)
    enabled: Mapped[bool] = mapped_column(Boolean, primary_key=True)
    reason: Mapped[str] = mapped_column(String(32), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)


class FeatureFlagUse(Base):
    """When a flag was first and last asked for: a list need not add up all hours for that."""

    __tablename__ = "feature_flag_use"

    flag: Mapped[str] = mapped_column(String(255), primary_key=True)
    first_evaluated_at: Mapped[datetime] = mapped_column(UtcTime)
    last_evaluated_at: Mapped[datetime] = mapped_column(UtcTime)


class FeatureFlagSubjects(Base):
    """A sample of the subjects that a flag was asked for in one hour, see ``sampling``."""

    __tablename__ = "feature_flag_subjects"

    flag: Mapped[str] = mapped_column(String(255), primary_key=True)
    hour: Mapped[datetime] = mapped_column(UtcTime, primary_key=True)
    sample: Mapped[bytes] = mapped_column(LargeBinary)


class UnknownFlag(Base):
    """A name that programs asked for and no flag bore at that time."""

    __tablename__ = "unknown_feature_flags"
    __table_args__ = (Index(None, "last_asked_at"),)

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    first_asked_at: Mapped[datetime] = mapped_column(UtcTime)
    last_asked_at: Mapped[datetime] = mapped_column(UtcTime)


class FeatureFlagGuard(Base):
    """What a guard of a flag has seen; ``definition`` is the guard that saw it.

    ``since`` is from when on it counts, None while there is nothing to guard.  Attempts of jobs are
    read up to ``read_until``, and ``memory`` is what remains of them.  ``trip`` is the evidence
    with which it tripped last.
    """

    __tablename__ = "feature_flag_guards"

    flag: Mapped[str] = mapped_column(String(255), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    definition: Mapped[dict[str, Any]] = mapped_column(Json)
    since: Mapped[datetime | None] = mapped_column(UtcTime)
    read_until: Mapped[datetime | None] = mapped_column(UtcTime)
    memory: Mapped[dict[str, Any]] = mapped_column(Json)
    state: Mapped[str] = mapped_column(String(16))
    figures: Mapped[dict[str, Any]] = mapped_column(Json)
    checked_at: Mapped[datetime | None] = mapped_column(UtcTime)
    tripped_at: Mapped[datetime | None] = mapped_column(UtcTime)
    trip: Mapped[dict[str, Any] | None] = mapped_column(Json)


class FeatureFlagGuardHead(Base):
    """One row: the minute that guards were checked in last, which nobody checks again."""

    __tablename__ = "feature_flag_guard_head"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    checked_at: Mapped[datetime] = mapped_column(UtcTime)


class FeatureFlagError(Base):
    """How many errors programs reported of a flag in one minute."""

    __tablename__ = "feature_flag_errors"
    __table_args__ = (Index(None, "minute"),)

    flag: Mapped[str] = mapped_column(String(255), primary_key=True)
    minute: Mapped[datetime] = mapped_column(UtcTime, primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
