"""Features of Unleash as flags.

A feature is on where one of its strategies is, and a flag where its whitelist, its percentage or a
rule says so: a strategy becomes one of these.  What stands in every strategy (a window, subjects
that are left out) becomes the flag's own.  A strategy that no flag has the like of is left out, so
a flag is on for fewer subjects than the feature was, and never for more.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from webapp.adoptions.adoption import Adoption, Notes, NotTaken, adoption_of, fits, texts
from webapp.adoptions.schemas import (
    UnleashConstraint,
    UnleashDependency,
    UnleashExport,
    UnleashFeature,
    UnleashPayload,
    UnleashSegment,
    UnleashStrategy,
    UnleashVariant,
)
from webapp.errors import Invalid
from webapp.flags.targeting import moment_of, number_of
from webapp.flags.values import (
    MAX_VALUE,
    MAX_WORD,
    Condition,
    FlagChanges,
    Operator,
    Prerequisite,
    Rule,
    Variant,
    text_of,
)

_ALL: Final = 100.0
_MILLISECOND: Final = timedelta(milliseconds=1)
# Beyond it there may be no next millisecond.
_LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)
_SUBJECT: Final = "userId"
_NOW: Final = "currentTime"
# Both mean the user id, where there is one.
_STICKY: Final = frozenset({_SUBJECT, "default", ""})
_SINGLE: Final[Mapping[str, tuple[Operator, ...]]] = {
    # Equal as numbers, however they are written.
    "NUM_EQ": (Operator.GTE, Operator.LTE),
    "NUM_GT": (Operator.GT,),
    "NUM_GTE": (Operator.GTE,),
    "NUM_LT": (Operator.LT,),
    "NUM_LTE": (Operator.LTE,),
    "DATE_AFTER": (Operator.AFTER,),
    "DATE_BEFORE": (Operator.BEFORE,),
    "SEMVER_EQ": (Operator.SEMVER_EQ,),
    "SEMVER_GT": (Operator.SEMVER_GT,),
    "SEMVER_LT": (Operator.SEMVER_LT,),
}
_OF_TEXTS: Final[Mapping[str, tuple[Operator, str]]] = {
    "STR_CONTAINS": (Operator.CONTAINS, "{}"),
    "STR_STARTS_WITH": (Operator.STARTS_WITH, "^({})"),
    "STR_ENDS_WITH": (Operator.ENDS_WITH, "({})$"),
}


@dataclass(frozen=True, slots=True)
class _Way:
    """One strategy, read: whom it is on for."""

    name: str
    percentage: float = _ALL
    group: str = ""
    conditions: tuple[Condition, ...] = ()
    only: frozenset[str] | None = None
    never: frozenset[str] = frozenset()
    window: tuple[datetime | None, datetime | None] = (None, None)
    variants: tuple[UnleashVariant, ...] = ()


@dataclass(slots=True)
class _Source:
    """What a feature is made of, wherever it stood."""

    feature: UnleashFeature
    enabled: bool
    strategies: Sequence[UnleashStrategy]
    variants: Sequence[UnleashVariant]
    needs: Sequence[UnleashDependency]
    tags: Sequence[str]
    notes: list[str] = field(default_factory=list)


def adopt_unleash(export: UnleashExport, environment: str | None) -> Adoption:
    """Return the flags of an export, for one environment where that is named.

    Raises :class:`Invalid` where the export has several and none is named.
    """
    chosen = _environment_in(export, environment)
    segments = {segment.id: segment for segment in export.segments or ()}
    flags: dict[str, FlagChanges] = {}
    notes: Notes = {}
    left_out: Notes = {}
    for feature in export.features:
        source = _source(export, feature, chosen)
        if feature.archived:
            left_out[feature.name] = ["It is archived."]
            continue
        changes = _changes(source, segments)
        if environment:
            changes = replace(changes, environments=(environment,))
        flags[feature.name] = changes
        notes[feature.name] = source.notes
    return adoption_of(flags, notes, left_out)


def _environment_in(export: UnleashExport, wanted: str | None) -> str | None:
    """Return whose strategies are meant, None where only one environment is exported."""
    named = {item.environment for item in export.environments or () if item.environment}
    if wanted in named or len(named) <= 1:
        return wanted if wanted in named else None
    raise Invalid.field("environment", f"Name one of those exported: {', '.join(sorted(named))}.")


def _source(export: UnleashExport, feature: UnleashFeature, environment: str | None) -> _Source:
    """Gather what belongs to a feature: it stands in it, or beside it."""

    def is_meant(place: str | None) -> bool:
        return environment is None or place in {None, environment}

    beside = [
        item
        for item in export.strategies or ()
        if item.feature == feature.name and is_meant(item.environment)
    ]
    stands = [
        item
        for item in export.environments or ()
        if item.feature == feature.name and is_meant(item.environment)
    ]
    of_environment = [variant for item in stands for variant in item.variants or ()]
    needs = list(feature.dependencies or ())
    for item in export.dependencies or ():
        needs += item.dependencies if item.feature == feature.name else ()
    return _Source(
        feature=feature,
        enabled=any(item.enabled for item in stands) or bool(feature.enabled),
        strategies=[*(feature.strategies or ()), *beside],
        variants=of_environment or list(feature.variants or ()),
        needs=needs,
        tags=[item.value for item in export.tags or () if item.feature == feature.name],
    )


def _changes(source: _Source, segments: Mapping[int, UnleashSegment]) -> FlagChanges:
    feature = source.feature
    ways = _ways(source, segments)
    common, ways = _in_common(ways, source)
    ways, group = _one_bucket(ways, source)
    lists = [way for way in ways if way.only is not None]
    shares = [way for way in ways if way.only is None]
    listed = [name for way in lists for name in sorted(way.only or ())]
    starts_at, expires_at = common.window
    about = {"project": feature.project, "type": feature.type}
    known = {name: value for name, value in about.items() if value}
    return FlagChanges(
        enabled=source.enabled and _needs_are_met(source),
        percentage=max((way.percentage for way in shares if not way.conditions), default=0.0),
        whitelist=texts([name for name in listed if name not in common.never]),
        blacklist=tuple(sorted(common.never)),
        starts_at=starts_at,
        expires_at=expires_at,
        rules=_rules([way for way in shares if way.conditions]),
        variants=_variants(ways, group or feature.name, source),
        prerequisites=tuple(
            Prerequisite(flag=item.feature, enabled=item.enabled is not False)
            for item in source.needs
        ),
        stickiness=group or feature.name,
        description=feature.description or "",
        tags=texts([tag for tag in source.tags if fits(tags=(tag,))]),
        metadata={"unleash": known} if known else {},
    )


def _ways(source: _Source, segments: Mapping[int, UnleashSegment]) -> list[_Way]:
    if not source.strategies:
        # Without a strategy a feature is on for everybody.
        return [_Way("everybody", group=source.feature.name)]
    found = []
    for number, strategy in enumerate(source.strategies, start=1):
        name = (strategy.title or f"strategy {number}")[:MAX_WORD].strip()
        try:
            if not strategy.disabled:
                found.append(_way(name, strategy, source.feature.name, segments))
        except NotTaken as reason:
            source.notes.append(f"The strategy {name!r} is left out: {reason}.")
    return [way for way in found if way.percentage > 0]


def _way(
    name: str, strategy: UnleashStrategy, feature: str, segments: Mapping[int, UnleashSegment]
) -> _Way:
    given = {key: text_of(value) or "" for key, value in (strategy.parameters or {}).items()}
    way = _Way(name, group=given.get("groupId") or feature, variants=tuple(strategy.variants or ()))
    if strategy.name in {"flexibleRollout", "gradualRolloutUserId"}:
        if given.get("stickiness", "") not in _STICKY:
            raise NotTaken(f"it sticks to {given['stickiness']}, not to the subject")
        way = replace(way, percentage=_share(given.get("rollout") or given.get("percentage")))
    elif strategy.name == "userWithId":
        ids = [item.strip() for item in given.get("userIds", "").split(",")]
        way = replace(way, only=frozenset(filter(None, ids)))
    elif strategy.name != "default":
        raise NotTaken(f"nothing here decides as {strategy.name} does")
    for constraint in _constraints_of(strategy, segments):
        way = _narrowed(way, constraint)
    if way.only is not None and (way.conditions or way.percentage < _ALL):
        raise NotTaken("it names subjects and asks for more than that")
    return way


def _share(text: str | None) -> float:
    share = number_of(text or "0")
    if share is None or not fits(percentage=float(share)):
        raise NotTaken(f"{text!r} is no percentage")
    # Unleash has a hundred buckets.
    return float(int(share))


def _constraints_of(
    strategy: UnleashStrategy, segments: Mapping[int, UnleashSegment]
) -> Iterable[UnleashConstraint]:
    yield from strategy.constraints or ()
    for number in strategy.segments or ():
        segment = segments.get(number)
        if segment is None or segment.constraints is None:
            named = segment.name if segment and segment.name else number
            raise NotTaken(f"the export does not say what the segment {named} is")
        yield from segment.constraints


def _narrowed(way: _Way, constraint: UnleashConstraint) -> _Way:
    """Return a way that a constraint narrows."""
    if constraint.name == _SUBJECT:
        return _of_subjects(way, constraint)
    if constraint.name == _NOW:
        return _of_time(way, constraint)
    return replace(way, conditions=(*way.conditions, *_conditions(constraint)))


def _of_subjects(way: _Way, constraint: UnleashConstraint) -> _Way:
    if constraint.operator not in {"IN", "NOT_IN"}:
        raise NotTaken(f"it compares subjects by {constraint.operator}")
    ids = frozenset(filter(None, (value.strip() for value in constraint.values or ())))
    if (constraint.operator == "IN") is not bool(constraint.inverted):
        return replace(way, only=ids if way.only is None else way.only & ids)
    return replace(way, never=way.never | ids)


def _of_time(way: _Way, constraint: UnleashConstraint) -> _Way:
    moment = moment_of(constraint.value)
    if (
        moment is None
        or moment >= _LATEST
        or constraint.operator not in {"DATE_AFTER", "DATE_BEFORE"}
    ):
        raise NotTaken(f"{constraint.value!r} is no time")
    is_after = constraint.operator == "DATE_AFTER"
    starts, expires = way.window
    if is_after is not bool(constraint.inverted):
        # A window begins with its first moment, and "after" leaves that out.
        first = moment + _MILLISECOND if is_after else moment
        return replace(way, window=(max(starts or first, first), expires))
    return replace(way, window=(starts, min(expires or moment, moment)))


def _conditions(constraint: UnleashConstraint) -> list[Condition]:
    name, operator, turned = constraint.name, constraint.operator, bool(constraint.inverted)
    if operator in {"IN", "NOT_IN"}:
        # In whom the attribute lacks, both mean what they mean here.
        kind = Operator.IN if (operator == "IN") is not turned else Operator.NOT_IN
        return [_condition(name, kind, constraint.values or ())]
    if operator in _OF_TEXTS:
        return [_of_texts(constraint)]
    value = constraint.value
    if operator not in _SINGLE or value is None:
        raise NotTaken(f"nothing here compares as {operator} does")
    kinds = _SINGLE[operator]
    if turned and len(kinds) > 1:
        raise NotTaken(f"{operator} is turned round")
    return [_condition(name, kind, (value,), negate=turned) for kind in kinds]


def _of_texts(constraint: UnleashConstraint) -> Condition:
    kind, pattern = _OF_TEXTS[constraint.operator]
    values = [value for value in constraint.values or () if value]
    turned = bool(constraint.inverted)
    if not constraint.case_insensitive:
        return _condition(constraint.name, kind, values, negate=turned)
    text = "(?i)" + pattern.format("|".join(map(re.escape, values)))
    if len(text) > MAX_VALUE:
        raise NotTaken("it compares with too many texts, upper and lower case alike")
    return _condition(constraint.name, Operator.MATCHES, (text,), negate=turned)


def _condition(
    name: str, operator: Operator, values: Sequence[str], *, negate: bool = False
) -> Condition:
    condition = Condition(
        attribute=name, operator=operator, values=texts(list(values)), negate=negate
    )
    if not fits(rules=(Rule(name="a", conditions=(condition,)),)):
        raise NotTaken(f"nothing here compares {name} with that")
    return condition


def _in_common(ways: list[_Way], source: _Source) -> tuple[_Way, list[_Way]]:
    """Return what all ways have in common, and those that have no more of it than that."""
    if not ways:
        return _Way(""), []
    windows = {way.window for way in ways}
    window = windows.pop() if len(windows) == 1 else (None, None)
    never = frozenset.intersection(*(way.never for way in ways))
    kept = []
    for way in ways:
        if way.window == window and way.never == never:
            kept.append(way)
        else:
            source.notes.append(
                f"The strategy {way.name!r} is left out: it has a time, or subjects that it is "
                "never on for, which others do not have."
            )
    return _Way("", window=window, never=never), kept


def _one_bucket(ways: list[_Way], source: _Source) -> tuple[list[_Way], str]:
    """Keep the ways of one group: a flag has one bucket for a subject."""
    groups = [way.group for way in ways if way.only is None and way.percentage < _ALL]
    group = groups[0] if groups else next((way.group for way in ways if way.variants), "")
    kept = []
    for way in ways:
        if way.only is None and way.percentage < _ALL and way.group != group:
            source.notes.append(f"The strategy {way.name!r} is left out: it has another group.")
        else:
            kept.append(way)
    return kept, group


def _rules(ways: Sequence[_Way]) -> tuple[Rule, ...]:
    names: set[str] = set()
    found = []
    for number, way in enumerate(ways, start=1):
        name = way.name if way.name and way.name not in names else f"strategy {number} again"
        names.add(name)
        found.append(Rule(name=name, conditions=way.conditions, percentage=way.percentage))
    return tuple(found)


def _variants(ways: Sequence[_Way], group: str, source: _Source) -> tuple[Variant, ...]:
    """Return the variants that every way gives, in the strategy or in the feature."""
    given = {way.variants for way in ways}
    if len(given) > 1:
        source.notes.append("Its variants are left out: its strategies have different ones.")
        return ()
    of_strategies = next(iter(given), ())
    found = of_strategies or tuple(source.variants)
    groups = {way.group for way in ways} if of_strategies else {source.feature.name}
    if found and groups - {group}:
        source.notes.append("Subjects are given variants anew: the groups of strategies differ.")
    if any((variant.stickiness or "") not in _STICKY for variant in found):
        source.notes.append("Variants stick to the subject, and to nothing else.")
    if any(variant.overrides for variant in found):
        source.notes.append("Overrides of its variants are left out.")
    return tuple(
        Variant(name=item.name, weight=item.weight, value=_value_of(item.payload)) for item in found
    )


def _value_of(payload: UnleashPayload | None) -> Any:
    if payload is None:
        return None
    if payload.type in {"json", "number"}:
        try:
            return json.loads(payload.value)
        except (ValueError, RecursionError):
            return payload.value
    return payload.value


def _needs_are_met(source: _Source) -> bool:
    """Tell whether parents can be asked for as here; else the flag comes switched off."""
    named = [item.feature for item in source.needs if item.variants]
    if named:
        source.notes.append(f"It is switched off: it needs certain variants of {', '.join(named)}.")
    return not named
