"""A report of usage as another process sends it: its shape, its bounds, and the batch it becomes.

Whoever may evaluate may report, so names that no flag bears are left out, and nothing is larger
than a process can have counted.  The time is an argument.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from webapp.flags.batches import Span, UsageBatch, UsageKey
from webapp.flags.bucketing import HASHES
from webapp.flags.sampling import SIZE
from webapp.flags.values import MAX_NAME, MAX_WORD
from webapp.web.schemas import Moment, Schema, Text

MOST_ENTRIES: Final = 20_000
MOST_UNKNOWN: Final = 200
_MOST: Final = 2**53
# A process may tell late, after an outage, and its clock may be ahead.
LATE: Final = timedelta(days=31)
AHEAD: Final = timedelta(hours=1)

Name = Annotated[Text, Field(min_length=1, max_length=MAX_NAME)]
Count = Annotated[int, Field(ge=1, le=_MOST)]
Hash = Annotated[int, Field(ge=0, lt=HASHES)]


class CountReport(Schema):
    """How often one answer was given in one hour."""

    flag: Name
    hour: Moment
    environment: Annotated[Text, Field(min_length=1, max_length=MAX_WORD)]
    variant: Annotated[Text, Field(max_length=MAX_WORD)]
    enabled: bool
    reason: Annotated[Text, Field(min_length=1, max_length=32)]
    count: Count


class UseReport(Schema):
    """When a flag was asked for first and last."""

    flag: Name
    first: Moment
    last: Moment


class UnknownReport(Schema):
    """A name that no flag bears there, and how often it was asked for."""

    name: Name
    count: Count
    first: Moment
    last: Moment


class SubjectReport(Schema):
    """A sample of the subjects that a flag was asked for in one hour."""

    flag: Name
    hour: Moment
    sample: Annotated[tuple[Hash, ...], Field(max_length=SIZE)]


class UsageReport(Schema):
    """The body of ``POST /feature-flags/usage``."""

    counts: Annotated[tuple[CountReport, ...], Field(max_length=MOST_ENTRIES)] = ()
    uses: Annotated[tuple[UseReport, ...], Field(max_length=MOST_ENTRIES)] = ()
    unknown: Annotated[tuple[UnknownReport, ...], Field(max_length=MOST_UNKNOWN)] = ()
    subjects: Annotated[tuple[SubjectReport, ...], Field(max_length=MOST_ENTRIES)] = ()

    def batch(self, flags: Collection[str], *, now: datetime) -> UsageBatch:
        """Return what was counted of these flags, hours on the hour.

        What is told of hours long past or to come is left out: nobody can have counted it.
        """
        counts: dict[UsageKey, int] = {}
        for item in self.counts:
            if item.flag in flags and _is_timely(item.hour, now):
                row = item.model_dump(exclude={"count", "hour"})
                key = UsageKey(hour=_hour_of(item.hour), **row)
                counts[key] = counts.get(key, 0) + item.count
        return UsageBatch(
            counts,
            {item.flag: _span_of(item, now) for item in self.uses if item.flag in flags},
            {item.name: (item.count, _span_of(item, now)) for item in self.unknown},
            {
                (item.flag, _hour_of(item.hour)): item.sample
                for item in self.subjects
                if item.flag in flags and _is_timely(item.hour, now)
            },
        )


def _is_timely(when: datetime, now: datetime) -> bool:
    return now - LATE <= when <= now + AHEAD


def _hour_of(when: datetime) -> datetime:
    return when.replace(minute=0, second=0, microsecond=0)


def _span_of(told: UseReport | UnknownReport, now: datetime) -> Span:
    """Return when something happened, as far as that can be: a flag is no fresher than now."""
    first, last = (min(max(when, now - LATE), now) for when in (told.first, told.last))
    return Span(min(first, last), last)
