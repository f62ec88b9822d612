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
    prerequisite_from,
    rule_from,
    variant_from,
)
from webapp.flags.values import Condition, FlagDefinition, Override

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
    archived_at: Mapped[datetime | None] = mapped_column(UtcTime)
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    created_by: Mapped[str] = mapped_column(String(255))
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_by: Mapped[str] = mapped_column(String(255))

    def definition(self) -> FlagDefinition:
        """Return the part of the flag that decides."""
        return definition_of(self)


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
