"""What the fields of a run look like: their types, and a sample of their values.  Pure.

Looks at the first rows and at a few of each later batch, since a run may have millions.  A sample
is of digests: the smallest ones of the first rows' values, so that two runs whose values are the
same have the same sample in whatever order the rows come, and no value is kept.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import mmh3

# The rows that are looked at of the beginning of a run, and of each batch behind it.
HEAD_ROWS = 1000
LATER_ROWS = 8
SAMPLE = 64
# So many digests of all fields together, since they are stored with each run.
SAMPLES = 12_800
# Names beyond these are not looked at: a server that names things by their ids has no fields.
MOST_FIELDS = 2000
MOST_NAME = 255
# Longer values are texts, and their beginnings tell them apart.
_MOST_TYPED = 40
_DIGESTED = 200
# No database holds a NUL or half of a surrogate pair in a text.
_UNFIT = re.compile(r"[\x00\ud800-\udfff]")


class FieldType(StrEnum):
    """What all the values of a field can be read as; a time has a time of day."""

    EMPTY = "empty"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    DATE = "date"
    TIME = "time"
    TEXT = "text"


_DATE = r"(?:\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2(?:\d{4}|\d{2}))"
_ZONE = r"(?:Z|UTC|GMT|[+-]\d{2}:?\d{2})"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?"
# A number with leading zeros is a code, such as a postcode.
_WHOLE = r"(?:0|[1-9]\d*)"
_PATTERNS: tuple[tuple[FieldType, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.ASCII | re.IGNORECASE))
    for kind, pattern in (
        (FieldType.INTEGER, rf"-?{_WHOLE}"),
        (FieldType.NUMBER, rf"-?(?:{_WHOLE}(?:\.\d*)?|\.\d+)(?:e[+-]?\d{{1,3}})?"),
        (FieldType.BOOLEAN, "true|false|yes|no|t|f|y|n|on|off"),
        (FieldType.DATE, _DATE),
        (FieldType.TIME, rf"(?:{_DATE}[T ])?{_CLOCK}\s?{_ZONE}?"),
        # As in mails and feeds.
        (FieldType.TIME, rf"(?:[a-z]{{3}}, )?\d{{1,2}} [a-z]{{3}} \d{{4}} {_CLOCK} ?{_ZONE}?"),
    )
)
_WIDER: Mapping[frozenset[FieldType], FieldType] = {
    frozenset({FieldType.INTEGER, FieldType.NUMBER}): FieldType.NUMBER,
    frozenset({FieldType.DATE, FieldType.TIME}): FieldType.TIME,
}


@dataclass(frozen=True, slots=True)
class FieldProfile:
    """One field: what its values are, those of the first rows (``head``) and those seen so far.

    ``sample`` are the smallest digests of the values of the first rows, in order; ``rows`` is how
    many of these rows have the field.
    """

    type: FieldType = FieldType.EMPTY
    head: FieldType = FieldType.EMPTY
    sample: tuple[int, ...] = ()
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """The fields of a run, in the order in which they came up; ``rows`` is how many first ones."""

    rows: int = 0
    fields: Mapping[str, FieldProfile] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what the run keeps while it goes on."""
        return {
            "rows": self.rows,
            "fields": [
                [name, item.type, item.head, list(item.sample), item.rows]
                for name, item in self.fields.items()
            ],
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Profile":
        """Read back what :meth:`to_json` wrote."""
        fields = {
            name: FieldProfile(FieldType(kind), FieldType(head), tuple(sample), rows)
            for name, kind, head, sample, rows in saved["fields"]
        }
        return cls(saved["rows"], fields)


def extend(profile: Profile, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> Profile:
    """Return a profile with one more batch in it; ``columns`` are the fields of all its rows."""
    fitting = (name for name in columns if len(name) <= MOST_NAME and not _UNFIT.search(name))
    names = list(dict.fromkeys((*profile.fields, *fitting)))[:MOST_FIELDS]
    left = max(0, HEAD_ROWS - profile.rows)
    head, rest = rows[:left], rows[left:]
    fields = {
        name: _widened(
            _grown(profile.fields.get(name, FieldProfile()), name, head, _room(len(names))),
            name,
            _few(rest),
        )
        for name in names
    }
    return Profile(profile.rows + len(head), fields)


def _few(rows: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
    """Return some rows from all over a batch."""
    return rows[:: max(1, len(rows) // LATER_ROWS)]


def _room(fields: int) -> int:
    return max(1, min(SAMPLE, SAMPLES // fields))


def _grown(
    before: FieldProfile, name: str, rows: Sequence[Mapping[str, str]], room: int
) -> FieldProfile:
    if not rows:
        return before
    found = [row[name] for row in rows if name in row]
    values = {value.strip() for value in found} - {""}
    digests = {mmh3.hash(value[:_DIGESTED], signed=False) for value in values}
    head = _type_of(values, before.head)
    return FieldProfile(
        joined(before.type, head),
        head,
        tuple(sorted(digests.union(before.sample))[:room]),
        before.rows + len(found),
    )


def _widened(before: FieldProfile, name: str, rows: Sequence[Mapping[str, str]]) -> FieldProfile:
    kind = _type_of((row.get(name, "").strip() for row in rows), before.type)
    return before if kind == before.type else replace(before, type=kind)


def _type_of(values: Iterable[str], kind: FieldType) -> FieldType:
    """Return the narrowest type that these values have, and those before them."""
    for value in values:
        if kind == FieldType.TEXT:
            break
        kind = joined(kind, type_of(value))
    return kind


def type_of(value: str) -> FieldType:
    """Return the type of one value."""
    if not value:
        return FieldType.EMPTY
    if len(value) <= _MOST_TYPED:
        for kind, pattern in _PATTERNS:
            if pattern.fullmatch(value):
                return kind
    return FieldType.TEXT


def joined(one: FieldType, other: FieldType) -> FieldType:
    """Return the narrowest type that holds the values of both."""
    if other in {one, FieldType.EMPTY}:
        return one
    if one == FieldType.EMPTY:
        return other
    return _WIDER.get(frozenset({one, other}), FieldType.TEXT)


def overlap(one: Sequence[int], other: Sequence[int]) -> float:
    """Return about which share of the values of the smaller sample are in the other: 0 to 1.

    A sample says nothing of digests above its largest, so those are left out of both.
    """
    if not one or not other:
        return 0.0
    bound = min(one[-1], other[-1])
    first, second = ({digest for digest in item if digest <= bound} for item in (one, other))
    fewer = min(len(first), len(second))
    return len(first & second) / fewer if fewer else 0.0
