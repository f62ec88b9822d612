"""What a process tells of its evaluations.  Plain values, and their form on the wire.  Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest
from typing import Any, NamedTuple, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


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


def parts_of(batch: UsageBatch, most: int) -> list[UsageBatch]:
    """Return a batch in parts that have about ``most`` rows of a kind.

    Each has the uses of its flags. Those may be told twice, since times are joined and not added.
    """
    chunks = zip_longest(
        _chunks(batch.counts, most),
        _chunks(batch.subjects, most),
        _chunks(batch.uses, most),
        _chunks(batch.unknown, most),
    )
    parts = []
    for counts, subjects, uses, unknown in chunks:
        flags = {key.flag for key in counts or ()} | {flag for flag, _ in subjects or ()}
        mentioned = {flag: batch.uses[flag] for flag in flags & batch.uses.keys()}
        parts.append(
            UsageBatch(counts or {}, {**mentioned, **(uses or {})}, unknown or {}, subjects or {})
        )
    return parts


def _chunks(rows: Mapping[Key, Value], most: int) -> Iterator[Mapping[Key, Value]]:
    items = list(rows.items())
    return (dict(items[start : start + most]) for start in range(0, len(items), most))


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
