"""What a process tells of its evaluations.  Plain values, and their form on the wire.  Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple


class UsageKey(NamedTuple):
    """What one row of counts is about; ``variant`` is empty where there is none."""

    flag: str
    hour: datetime
    environment: str
    variant: str
    enabled: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Span:
    """When something happened first and last within what is told."""

    first: datetime
    last: datetime

    def reaching(self, when: datetime) -> "Span":
        """Return the span that also holds ``when``."""
        return Span(min(self.first, when), max(self.last, when))


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """What one process has counted since it last told.

    ``unknown`` has names that nobody made with how often they were asked for; ``subjects`` a sample
    of hashes for each flag and hour.
    """

    counts: Mapping[UsageKey, int] = field(default_factory=dict)
    uses: Mapping[str, Span] = field(default_factory=dict)
    unknown: Mapping[str, tuple[int, Span]] = field(default_factory=dict)
    subjects: Mapping[tuple[str, datetime], Sequence[int]] = field(default_factory=dict)


def batch_as_document(batch: UsageBatch) -> Mapping[str, Any]:
    """Write a batch as what JSON is made of."""
    return {
        "counts": [key._asdict() | {"count": count} for key, count in batch.counts.items()],
        "uses": [{"flag": flag, **_span(span)} for flag, span in batch.uses.items()],
        "unknown": [
            {"name": name, "count": count, **_span(span)}
            for name, (count, span) in batch.unknown.items()
        ],
        "subjects": [
            {"flag": flag, "hour": hour, "sample": sample}
            for (flag, hour), sample in batch.subjects.items()
        ],
    }


def _span(span: Span) -> Mapping[str, datetime]:
    return {"first": span.first, "last": span.last}
