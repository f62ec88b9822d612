"""What has changed between the fields that a source had and those that a run finds.  Pure.

Decides which fields are new, gone or of another type, and which go by another name now, and how
surely.  A schema is what is known of a source's fields, by the names that they had last; renames go
from the name that a field had at first to the one that it has now.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product
from typing import Any

from webapp.sources.naming import likeness
from webapp.sources.profiles import MOST_FIELDS, FieldProfile, FieldType, Profile, joined, overlap

#: A rename that is at least so sure is applied without asking.
RENAME_CONFIDENCE = 0.8
# Less sure than this nobody need be asked.
LEAST_CONFIDENCE = 0.4
# Where more fields came and went than this, it is another table, and not one with renamed fields.
MOST_PAIRS = 10_000
# Names that disagree are not outdone by values: start and end dates have many in common.
_MOST_IN_DISAGREEMENT = 0.6
_EVIDENCE = 0.9
_EVIDENCE_IN_DISAGREEMENT = 0.6
# So many different values say as much as values can.
_TELLING_VALUES = 16
# Numbers and days of two fields may be the same by chance.
_TELLING: Mapping[FieldType, float] = {
    FieldType.EMPTY: 0.0,
    FieldType.BOOLEAN: 0.0,
    FieldType.INTEGER: 0.5,
    FieldType.NUMBER: 0.7,
    FieldType.DATE: 0.5,
    FieldType.TIME: 0.8,
    FieldType.TEXT: 1.0,
}
_NOT_THE_SAME = 0.5
_BECAME_TEXT = 0.9
# Two candidates as good as each other, within this, are for somebody to tell apart.
_TIE = 0.05
# A field that some rows lack is missed once it is this unlikely that the rows looked at lack it.
_CHANCE = 0.01


class DriftKind(StrEnum):
    """How a source's fields changed."""

    ADDED = "added"
    REMOVED = "removed"
    RETYPED = "retyped"
    RENAMED = "renamed"


class DriftState(StrEnum):
    """What became of a drift; all but renames are only noted."""

    NOTED = "noted"
    APPLIED = "applied"
    HELD = "held"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    #: The field is back under its name, so there is nothing to decide any more.
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class KnownField:
    """One field of a schema; ``since`` is a time in ISO 8601 and ``run`` the run that found it.

    ``share`` is that of the first rows that had it.
    """

    type: FieldType
    head: FieldType
    sample: tuple[int, ...]
    share: float
    since: str
    run: int

    @classmethod
    def of(cls, seen: FieldProfile, rows: int, since: str, run: int) -> "KnownField":
        """Make a field known as a run has seen it."""
        share = seen.rows / rows if rows else 1.0
        return cls(seen.type, seen.head, seen.sample, share, since, run)


Schema = Mapping[str, KnownField]


def schema_to_json(schema: Schema) -> list[list[Any]]:
    """Return what a source keeps of its fields."""
    return [
        [name, item.type, item.head, list(item.sample), item.share, item.since, item.run]
        for name, item in schema.items()
    ]


def schema_from_json(saved: Sequence[Sequence[Any]] | None) -> dict[str, KnownField]:
    """Read back what :func:`schema_to_json` wrote; none is a source that never was read."""
    return {
        name: KnownField(FieldType(kind), FieldType(head), tuple(sample), share, since, run)
        for name, kind, head, sample, share, since, run in saved or ()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One change; of a rename ``new_field`` and how sure it is, of a type both types."""

    kind: DriftKind
    field: str
    state: DriftState = DriftState.NOTED
    new_field: str | None = None
    from_type: FieldType | None = None
    to_type: FieldType | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How renames are decided: which are sure enough, and which pairs are proposed no more.

    ``keys`` are the names that the key field goes by.
    """

    threshold: float = RENAME_CONFIDENCE
    rejected: Collection[tuple[str, str]] = ()
    keys: Collection[str] = ()


def find_drift(schema: Schema, seen: Profile, terms: Terms) -> list[Drift]:
    """Return how the fields of a run differ from those that are known: names, and not types.

    A field that only some rows have is missed only where that is hardly by chance.  Of more fields
    than are looked at nobody can tell.
    """
    if len(seen.fields) >= MOST_FIELDS:
        return []
    added = [name for name in seen.fields if name not in schema]
    removed = [
        name
        for name, known in schema.items()
        if name not in seen.fields and _is_missed(known, seen.rows)
    ]
    renames = list(_renames(schema, seen, removed, added, terms))
    old = {drift.field for drift in renames}
    new = {drift.new_field for drift in renames}
    return [
        *renames,
        *(
            Drift(kind=DriftKind.REMOVED, field=name, from_type=schema[name].type)
            for name in removed
            if name not in old
        ),
        *(
            Drift(kind=DriftKind.ADDED, field=name, to_type=seen.fields[name].type)
            for name in added
            if name not in new
        ),
    ]


def _is_missed(known: KnownField, rows: int) -> bool:
    return (1 - known.share) ** max(rows, 1) <= _CHANCE


def find_retyped(schema: Schema, seen: Profile) -> list[Drift]:
    """Return the fields whose values are of another type by the end of a run."""
    return [
        Drift(
            kind=DriftKind.RETYPED,
            field=name,
            from_type=known.type,
            to_type=seen.fields[name].type,
        )
        for name, known in schema.items()
        if name in seen.fields and _is_retyped(known, seen.fields[name])
    ]


def _is_retyped(known: KnownField, seen: FieldProfile) -> bool:
    """Tell whether a type is another one.

    One that is narrower counts only where the first rows used to have what is missed now: of later
    rows only some are looked at, and a rare value may stand in the others.
    """
    if FieldType.EMPTY in {known.type, seen.type} or known.type == seen.type:
        return False
    return joined(known.type, seen.type) != known.type or joined(known.head, seen.type) != seen.type


def learned(
    schema: Schema, seen: Profile, drifts: Collection[Drift], *, since: str, run: int
) -> dict[str, KnownField]:
    """Return the schema with the names that a run has found.

    What was known of a field stays until the run's end, and of new ones the type is known then:
    that of a run's beginning says little.
    """
    gone = {drift.field for drift in drifts if drift.kind != DriftKind.ADDED}
    renamed = {
        drift.new_field: drift.field for drift in drifts if drift.state == DriftState.APPLIED
    }
    found: dict[str, KnownField] = {}
    for name, item in seen.fields.items():
        if name in schema:
            found[name] = schema[name]
        elif name in renamed:
            found[name] = replace(schema[renamed[name]], since=since)
        else:
            fresh = KnownField.of(item, seen.rows, since, run)
            found[name] = replace(fresh, type=FieldType.EMPTY, head=FieldType.EMPTY)
    rare = {name: item for name, item in schema.items() if name not in found and name not in gone}
    return found | rare


def settled(schema: Schema, seen: Profile) -> dict[str, KnownField]:
    """Return the schema with the types, samples and shares that a whole run has found."""
    return {
        name: _settled(known, seen.fields[name], seen.rows) if name in seen.fields else known
        for name, known in schema.items()
    }


def _settled(known: KnownField, seen: FieldProfile, rows: int) -> KnownField:
    fresh = KnownField.of(seen, rows, known.since, known.run)
    if seen.type == FieldType.EMPTY:
        return replace(known, share=fresh.share)
    narrower = known.type not in {FieldType.EMPTY, seen.type} and not _is_retyped(known, seen)
    return replace(fresh, type=known.type, head=known.head) if narrower else fresh


def _renames(
    schema: Schema, seen: Profile, removed: Sequence[str], added: Sequence[str], terms: Terms
) -> Iterator[Drift]:
    """Pair fields that are gone with fields that are new, each once and the surest first."""
    if len(removed) * len(added) > MOST_PAIRS:
        return
    sure = {
        (old, new): score
        for old, new in product(removed, added)
        if (old, new) not in terms.rejected
        and (score := confidence(old, schema[old], new, seen.fields[new])) > 0
    }
    taken: dict[tuple[int, str], float] = {}
    for (old, new), score in sorted(sure.items(), key=lambda item: (-item[1], item[0])):
        if score < LEAST_CONFIDENCE or not taken.keys().isdisjoint({(0, old), (1, new)}):
            continue
        rival = _rival(sure, old, new, taken)
        taken |= {(0, old): score, (1, new): score}
        shown = score * score / (score + rival) if rival >= score - _TIE else score
        applied = shown >= terms.threshold and not _is_doubtful_key(
            old, schema[old], seen.fields[new], terms
        )
        yield Drift(
            kind=DriftKind.RENAMED,
            field=old,
            state=DriftState.APPLIED if applied else DriftState.HELD,
            new_field=new,
            from_type=schema[old].type,
            to_type=seen.fields[new].type,
            confidence=round(shown, 4),
        )


def _rival(
    sure: Mapping[tuple[str, str], float],
    old: str,
    new: str,
    taken: Mapping[tuple[int, str], float],
) -> float:
    """Return how sure the best other pair of either field is.

    One whose other field has found a clearly better partner is none.
    """
    return max(
        (
            score
            for (other_old, other_new), score in sure.items()
            if (other_old == old) != (other_new == new)
            and max(taken.get((0, other_old), 0.0), taken.get((1, other_new), 0.0)) <= score + _TIE
        ),
        default=0.0,
    )


def _is_doubtful_key(old: str, known: KnownField, seen: FieldProfile, terms: Terms) -> bool:
    """Tell whether this is the key, whose values are others: each record would be a new one."""
    if old not in terms.keys or not (known.sample and seen.sample):
        return False
    return overlap(known.sample, seen.sample) == 0


def confidence(old: str, known: KnownField, new: str, seen: FieldProfile) -> float:
    """Return how surely a field is another one by a new name, from 0 to 1.

    Values in common speak for it (noisy-or with the names), and none in common against nothing.
    """
    names = likeness(old, new)
    evidence = overlap(known.sample, seen.sample) * _telling(known, seen)
    evidence *= _EVIDENCE_IN_DISAGREEMENT if names.disagrees else _EVIDENCE
    score = 1 - (1 - names.score) * (1 - evidence)
    if names.disagrees:
        score = min(score, _MOST_IN_DISAGREEMENT)
    return score * _type_factor(known.type, seen.type)


def _telling(known: KnownField, seen: FieldProfile) -> float:
    values = min(len(known.sample), len(seen.sample))
    kind = min(_TELLING[known.type], _TELLING[seen.type])
    return kind * min(1.0, values / _TELLING_VALUES)


def _type_factor(one: FieldType, other: FieldType) -> float:
    if FieldType.EMPTY in {one, other} or joined(one, other) in {one, other}:
        return _BECAME_TEXT if one != other and FieldType.TEXT in {one, other} else 1.0
    return _NOT_THE_SAME


def with_rename(renames: Mapping[str, str], old: str, new: str) -> dict[str, str]:
    """Return renames with one more; a field that has its first name again has none."""
    first = next((name for name, now in renames.items() if now == old), old)
    found = {name: now for name, now in renames.items() if name != first and now != new}
    return found if first == new else found | {first: new}


def without_rename(renames: Mapping[str, str], new: str) -> dict[str, str]:
    """Return renames without the one to a name."""
    return {name: now for name, now in renames.items() if now != new}
