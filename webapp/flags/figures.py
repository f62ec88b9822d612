"""Reads usage: how often flags are asked and what they answer, and names that nobody made."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from webapp.db import DbSession
from webapp.flags.models import (
    FeatureFlag,
    FeatureFlagEvaluation,
    FeatureFlagSubjects,
    FeatureFlagUse,
    UnknownFlag,
)
from webapp.flags.sampling import estimate_of, joined, unpacked

DAY_HOURS: Final = 24
MAX_HOURS: Final = 31 * DAY_HOURS
UNKNOWN_SHOWN: Final = 50
# A name that nobody asked for in so long is nobody's mistake any more.
UNKNOWN_FOR: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class AnswerCount:
    """How often one answer was given in one hour; ``hour`` is when that begins."""

    hour: datetime
    environment: str
    enabled: bool
    reason: str
    variant: str | None
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one flag answered in the hours from ``since`` on; the last of them is not over.

    ``last_evaluated_at`` is exact to ten seconds, and may lie before ``since``.
    """

    since: datetime
    hours: int
    counts: Sequence[AnswerCount]
    last_evaluated_at: datetime | None

    @property
    def on(self) -> int:
        """Return how often it was on."""
        return sum(item.count for item in self.counts if item.enabled)

    @property
    def off(self) -> int:
        """Return how often it was off."""
        return sum(item.count for item in self.counts if not item.enabled)

    @property
    def series(self) -> list[tuple[int, int]]:
        """Return on and off of each hour, oldest first, with those in which nobody asked."""
        totals: Counter[tuple[datetime, bool]] = Counter()
        for item in self.counts:
            totals[item.hour, item.enabled] += item.count
        hours = [self.since + timedelta(hours=place) for place in range(self.hours)]
        return [(totals[hour, True], totals[hour, False]) for hour in hours]

    @property
    def by_reason(self) -> list[tuple[str, bool, int]]:
        """Return how often each reason decided, with its answer, the most frequent first."""
        totals: Counter[tuple[str, bool]] = Counter()
        for item in self.counts:
            totals[item.reason, item.enabled] += item.count
        return [(reason, on, count) for (reason, on), count in totals.most_common()]

    @property
    def by_variant(self) -> list[tuple[str, int]]:
        """Return how often each variant was given, the most frequent first."""
        totals: Counter[str] = Counter()
        for item in self.counts:
            if item.variant is not None:
                totals[item.variant] += item.count
        return totals.most_common()


@dataclass(frozen=True, slots=True)
class UnknownName:
    """A name that programs asked for and nobody made."""

    name: str
    count: int
    first_asked_at: datetime
    last_asked_at: datetime


def usage_of(session: DbSession, name: str, *, hours: int, now: datetime) -> Usage:
    """Return what a flag answered in the last ``hours``, the present one included: two statements.

    That there is such a flag is for the caller to know.
    """
    since = _first_hour(now, hours)
    rows = session.scalars(
        select(FeatureFlagEvaluation)
        .where(FeatureFlagEvaluation.flag == name, FeatureFlagEvaluation.hour >= since)
        .order_by(
            FeatureFlagEvaluation.hour,
            FeatureFlagEvaluation.environment,
            FeatureFlagEvaluation.enabled,
            FeatureFlagEvaluation.reason,
            FeatureFlagEvaluation.variant,
        )
    )
    counts = [
        AnswerCount(
            hour=row.hour,
            environment=row.environment,
            enabled=row.enabled,
            reason=row.reason,
            variant=row.variant or None,
            count=row.count,
        )
        for row in rows
    ]
    last = session.scalar(
        select(FeatureFlagUse.last_evaluated_at).where(FeatureFlagUse.flag == name)
    )
    return Usage(since=since, hours=hours, counts=counts, last_evaluated_at=last)


def recent_usage(
    session: DbSession, names: Sequence[str], *, now: datetime
) -> Mapping[str, Sequence[int]]:
    """Return how often each of these flags was asked, by hour of the last day: one statement."""
    since = _first_hour(now, DAY_HOURS)
    hours: dict[str, list[int]] = {name: [0] * DAY_HOURS for name in names}
    rows = session.execute(
        select(
            FeatureFlagEvaluation.flag,
            FeatureFlagEvaluation.hour,
            func.sum(FeatureFlagEvaluation.count),
        )
        .where(FeatureFlagEvaluation.flag.in_(names), FeatureFlagEvaluation.hour >= since)
        .group_by(FeatureFlagEvaluation.flag, FeatureFlagEvaluation.hour)
    )
    for name, hour, total in rows:
        place = (hour - since) // timedelta(hours=1)
        # A process whose clock is ahead may have told of an hour that has not begun here.
        if place < DAY_HOURS:
            hours[name][place] = int(total)
    return hours


def subjects_seen(session: DbSession, name: str, *, now: datetime) -> int | None:
    """Return about how many subjects a flag was asked for in the last day: one statement.

    None where it was asked for none, or nobody counted.
    """
    samples = session.scalars(
        select(FeatureFlagSubjects.sample).where(
            FeatureFlagSubjects.flag == name,
            FeatureFlagSubjects.hour >= _first_hour(now, DAY_HOURS),
        )
    )
    return estimate_of(joined(map(unpacked, samples))) or None


def unknown_names(session: DbSession, *, now: datetime) -> list[UnknownName]:
    """Return names asked for lately that no flag bears, archived ones included, newest first."""
    made = select(FeatureFlag.id).where(FeatureFlag.name == UnknownFlag.name)
    rows = session.scalars(
        select(UnknownFlag)
        .where(UnknownFlag.last_asked_at >= now - UNKNOWN_FOR, ~made.exists())
        .order_by(UnknownFlag.last_asked_at.desc(), UnknownFlag.name)
        .limit(UNKNOWN_SHOWN)
    )
    return [UnknownName(row.name, row.count, row.first_asked_at, row.last_asked_at) for row in rows]


def _first_hour(now: datetime, hours: int) -> datetime:
    present = now.replace(minute=0, second=0, microsecond=0)
    return present - timedelta(hours=hours - 1)
