"""A report of usage as another process sends it: its shape, its bounds, and the batch it becomes.

Whoever may evaluate may report, so names that no flag bears are left out, and nothing is larger
than a process can have counted.
"""

from collections.abc import Collection
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

    def batch(self, flags: Collection[str]) -> UsageBatch:
        """Return what was counted of these flags, hours on the hour."""
        counts: dict[UsageKey, int] = {}
        for item in self.counts:
            if item.flag in flags:
                row = item.model_dump(exclude={"count", "hour"})
                key = UsageKey(hour=item.hour.replace(minute=0, second=0, microsecond=0), **row)
                counts[key] = counts.get(key, 0) + item.count
        return UsageBatch(
            counts,
            {item.flag: Span(item.first, item.last) for item in self.uses if item.flag in flags},
            {item.name: (item.count, Span(item.first, item.last)) for item in self.unknown},
            {
                (item.flag, item.hour.replace(minute=0, second=0, microsecond=0)): item.sample
                for item in self.subjects
                if item.flag in flags
            },
        )
