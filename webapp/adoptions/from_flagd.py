"""Flags of flagd as flags of ours.

A flag of booleans is taken over where its targeting can be said as a whitelist, a blacklist, a
percentage and rules that only add subjects; one of other values where it gives one variant, or
variants by weights.  Whatever else a flag does, it is left out as a whole.  Who is within a share
changes, since flagd reckons buckets in another way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final

from webapp.adoptions.adoption import Adoption, Notes, NotTaken, adoption_of, texts
from webapp.adoptions.schemas import FlagdFile, FlagdFlag
from webapp.flags.values import (
    MAX_RULES,
    Condition,
    FlagChanges,
    Operator,
    Rule,
    Variant,
    text_of,
)

_ALL: Final = 100.0
_SUBJECT: Final = "targetingKey"
_MOST_LEVELS: Final = 20
_TURNED: Final[Mapping[str, str]] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NUMBERS: Final[Mapping[str, Operator]] = {
    "<": Operator.LT,
    "<=": Operator.LTE,
    ">": Operator.GT,
    ">=": Operator.GTE,
}
_VERSIONS: Final[Mapping[str, tuple[Operator, ...]]] = {
    "=": (Operator.SEMVER_EQ,),
    "<": (Operator.SEMVER_LT,),
    ">": (Operator.SEMVER_GT,),
    # Either of them.
    "<=": (Operator.SEMVER_LT, Operator.SEMVER_EQ),
    ">=": (Operator.SEMVER_GT, Operator.SEMVER_EQ),
}
# How many things a comparison is of, where it is not two.
_PLACES: Final[Mapping[str, int]] = {"sem_ver": 3}
_TEXTS: Final[Mapping[str, Operator]] = {
    "starts_with": Operator.STARTS_WITH,
    "ends_with": Operator.ENDS_WITH,
}
_ANEW: Final = "Shares are of the same size, of other subjects: flagd reckons buckets differently."


@dataclass(frozen=True, slots=True)
class _Ids:
    """Subjects that are named."""

    ids: tuple[str, ...]


# What must hold together, and of such lists one that must.
_All = tuple[Condition | _Ids, ...]
_Any = list[_All]


@dataclass(frozen=True, slots=True)
class _Way:
    """A share of those for whom something holds."""

    share: float
    holds: _All = ()


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Whom a flag is on for; ``never`` comes before all ways."""

    ways: tuple[_Way, ...] = ()
    never: tuple[str, ...] = ()

    @property
    def share(self) -> float | None:
        """Return the share of everybody that this comes to, None where it depends on whom."""
        if not self.ways and not self.never:
            return 0.0
        alone = len(self.ways) == 1 and not self.ways[0].holds and not self.never
        return self.ways[0].share if alone else None


def adopt_flagd(file: FlagdFile, environment: str | None) -> Adoption:
    """Return the flags of a file, for one environment where that is named."""
    flags: dict[str, FlagChanges] = {}
    notes: Notes = {}
    left_out: Notes = {}
    for name, flag in file.flags.items():
        try:
            changes = _Reading(flag, file.evaluators or {}).changes(name)
        except NotTaken as reason:
            left_out[name] = [f"{str(reason)[:1].upper()}{str(reason)[1:]}."]
            continue
        if environment:
            changes = replace(changes, environments=(environment,))
        flags[name] = changes
        notes[name] = _notes(flag)
    return adoption_of(flags, notes, left_out)


def _notes(flag: FlagdFlag) -> list[str]:
    found = []
    if flag.state == "DISABLED":
        found.append("It is off; there the caller's default stood.")
    if "fractional" in repr(flag.targeting):
        found.append(_ANEW)
    return found


class _Reading:
    """One flag being read."""

    def __init__(self, flag: FlagdFlag, evaluators: Mapping[str, Any]) -> None:
        self._flag = flag
        self._evaluators = evaluators
        self._booleans = all(isinstance(value, bool) for value in flag.variants.values())

    def changes(self, name: str) -> FlagChanges:
        flag = self._flag
        if not flag.variants:
            raise NotTaken("it has no variants")
        common = FlagChanges(
            enabled=flag.state == "ENABLED",
            stickiness=name,
            metadata={"flagd": flag.metadata} if flag.metadata else {},
        )
        return self._of_booleans(common) if self._booleans else self._of_values(common)

    def _of_values(self, common: FlagChanges) -> FlagChanges:
        """Give one variant, or several by their weights."""
        targeting = self._flag.targeting
        weights = dict.fromkeys(self._flag.variants, 0)
        if not targeting:
            if self._flag.default is not None:
                weights[self._known(self._flag.default)] = 1
        elif isinstance(targeting, dict) and set(targeting) == {"fractional"}:
            for variant, weight in self._weights(targeting["fractional"]):
                weights[variant] += weight
        else:
            raise NotTaken("whom it gives which value depends on more than weights")
        variants = [
            Variant(name=name, weight=weight, value=self._flag.variants[name])
            for name, weight in weights.items()
        ]
        any_given = any(weights.values())
        return replace(
            common,
            percentage=_ALL if any_given else 0.0,
            variants=tuple(variants) if any_given else (),
            rules=(),
            whitelist=(),
            blacklist=(),
        )

    def _of_booleans(self, common: FlagChanges) -> FlagChanges:
        outcome = self._outcome(self._flag.targeting or None, 0)
        whole = [way for way in outcome.ways if not way.holds]
        listed = [way for way in outcome.ways if any(isinstance(item, _Ids) for item in way.holds)]
        if any(len(way.holds) > 1 or way.share < _ALL for way in listed):
            raise NotTaken("it names subjects and asks for more than that")
        ruled = [way for way in outcome.ways if way.holds and way not in listed]
        ids = [name for way in listed for item in way.holds for name in _ids_of(item)]
        rules = [
            Rule(
                name=f"targeting {number}",
                conditions=tuple(item for item in way.holds if isinstance(item, Condition)),
                percentage=way.share,
            )
            for number, way in enumerate(ruled, start=1)
        ]
        return replace(
            common,
            percentage=max((way.share for way in whole), default=0.0),
            whitelist=tuple(name for name in texts(ids) if name not in outcome.never),
            blacklist=texts(list(outcome.never)),
            rules=tuple(rules),
            variants=(),
        )

    def _outcome(self, tree: Any, level: int) -> _Outcome:
        """Return whom an expression turns the flag on for."""
        if level > _MOST_LEVELS:
            raise NotTaken("its targeting is too deep")
        if tree is None:
            return self._given(self._flag.default)
        if isinstance(tree, bool | str):
            return self._given(tree if isinstance(tree, str) else str(tree).lower())
        operator, arguments = _operation(tree)
        if operator == "$ref":
            return self._outcome(self._evaluator(arguments), level + 1)
        if operator == "fractional":
            weights = self._weights(arguments)
            total = sum(weight for _, weight in weights)
            on = sum(weight for name, weight in weights if self._flag.variants[name])
            return _on(round(100 * on / total, 2)) if total else _Outcome()
        if operator == "if":
            return self._chosen(_list(arguments), level)
        # A condition gives true or false, which are names of variants.
        return self._chosen([tree, "true", "false"], level)

    def _chosen(self, arguments: list[Any], level: int) -> _Outcome:
        if level > _MOST_LEVELS:
            raise NotTaken("its targeting is too deep")
        condition, then, *rest = [*arguments, None, None][: max(3, len(arguments))]
        other = (
            self._chosen(rest, level + 1) if len(rest) > 1 else self._outcome(rest[0], level + 1)
        )
        on = self._outcome(then, level + 1)
        holds = self._condition(condition, level + 1)
        if on.share == 0:
            return self._without(holds, other)
        if other.share != 0 and on.share != _ALL and not _reaches(on, other):
            raise NotTaken("who fits its targeting gets less than who does not")
        if on.never or other.never:
            raise NotTaken("it is off for some subjects in one place, and not in another")
        ways = [_Way(way.share, (*both, *way.holds)) for both in holds for way in on.ways]
        if len(ways) > MAX_RULES:
            raise NotTaken("its targeting has too many cases")
        return _Outcome((*ways, *other.ways))

    def _without(self, holds: _Any, other: _Outcome) -> _Outcome:
        """Leave out those for whom something holds."""
        if all(len(both) == 1 and isinstance(both[0], _Ids) for both in holds):
            ids = [name for both in holds for name in _ids_of(both[0])]
            return replace(other, never=(*other.never, *ids))
        turned: list[Condition] = []
        for both in holds:
            if len(both) != 1 or not isinstance(both[0], Condition):
                raise NotTaken("it is off for whom several things hold")
            turned.append(_turned(both[0]))
        if other.never:
            raise NotTaken("it is off for some subjects in one place, and not in another")
        return _Outcome(tuple(_Way(way.share, (*turned, *way.holds)) for way in other.ways))

    def _condition(self, tree: Any, level: int) -> _Any:
        if level > _MOST_LEVELS:
            raise NotTaken("its targeting is too deep")
        operator, arguments = _operation(tree)
        if operator == "$ref":
            return self._condition(self._evaluator(arguments), level + 1)
        if operator == "and":
            parts = [self._condition(item, level + 1) for item in _list(arguments)]
            if _size(parts) > MAX_RULES:
                raise NotTaken("its targeting has too many cases")
            return [tuple(item for part in both for item in part) for both in product(*parts)]
        if operator == "or":
            return [both for item in _list(arguments) for both in self._condition(item, level + 1)]
        if operator in {"!", "!=", "!=="}:
            same = {"!=": "==", "!==": "==="}.get(operator)
            inner = {same: arguments} if same else _only(arguments)
            return [_negated(self._condition(inner, level + 1))]
        return [(found,) for found in _compared(operator, arguments)]

    def _weights(self, arguments: Any) -> list[tuple[str, int]]:
        found = []
        for item in arguments if isinstance(arguments, list) else ():
            if isinstance(item, dict):
                # What the bucket is of; here that is the subject.
                if not _is_of_subject(item):
                    raise NotTaken("its shares are not of subjects")
                continue
            if not isinstance(item, list) or not item or not isinstance(item[0], str):
                raise NotTaken("its shares cannot be read")
            weight = item[1] if len(item) > 1 else 1
            if not isinstance(weight, int) or isinstance(weight, bool) or weight < 0:
                raise NotTaken("a weight is no whole number")
            found.append((self._known(item[0]), weight))
        return found

    def _given(self, name: str | None) -> _Outcome:
        if name is None:
            return _Outcome()
        return _on(_ALL) if self._flag.variants[self._known(name)] is True else _Outcome()

    def _known(self, name: str) -> str:
        if name not in self._flag.variants:
            raise NotTaken(f"it has no variant {name!r}")
        return name

    def _evaluator(self, name: Any) -> Any:
        if not isinstance(name, str) or name not in self._evaluators:
            raise NotTaken(f"there is no evaluator {name!r}")
        return self._evaluators[name]


def _on(share: float) -> _Outcome:
    return _Outcome((_Way(share),)) if share else _Outcome()


def _reaches(on: _Outcome, other: _Outcome) -> bool:
    """Tell whether who fits is on wherever they would be without fitting."""
    return on.share is not None and all(way.share <= on.share for way in other.ways)


def _size(parts: Sequence[_Any]) -> int:
    size = 1
    for part in parts:
        size *= len(part)
    return size


def _operation(tree: Any) -> tuple[str, Any]:
    if not isinstance(tree, dict) or len(tree) != 1:
        raise NotTaken("its targeting cannot be read")
    ((operator, arguments),) = tree.items()
    return operator, arguments


def _list(arguments: Any) -> list[Any]:
    if not isinstance(arguments, list):
        raise NotTaken("its targeting cannot be read")
    return arguments


def _only(arguments: Any) -> Any:
    return arguments[0] if isinstance(arguments, list) and len(arguments) == 1 else arguments


def _compared(operator: str, arguments: Any) -> list[Condition | _Ids]:
    """Read one comparison; several are one of which must hold."""
    if not isinstance(arguments, list) or len(arguments) != _PLACES.get(operator, 2):
        raise NotTaken(f"nothing here compares as {operator} does")
    first, second = arguments[:2]
    if operator == "in" and isinstance(second, dict):
        return [_condition(_name(second), Operator.CONTAINS, [first])]
    if operator in {"==", "===", *_NUMBERS} and not isinstance(first, dict):
        first, second, operator = second, first, _TURNED.get(operator, operator)
    name = _name(first)
    if operator in {"in", "==", "==="}:
        values = second if isinstance(second, list) else [second]
        if operator == "in" and not isinstance(second, list):
            raise NotTaken("it looks for an attribute in a text")
        if name == _SUBJECT:
            return [_Ids(tuple(_texts(values)))]
        return [_condition(name, Operator.IN if operator == "in" else Operator.EQUALS, values)]
    if operator in _TEXTS or operator in _NUMBERS:
        return [_condition(name, _TEXTS.get(operator) or _NUMBERS[operator], [second])]
    if operator == "sem_ver" and isinstance(second, str) and second in _VERSIONS:
        return [_condition(name, kind, arguments[2:]) for kind in _VERSIONS[second]]
    raise NotTaken(f"nothing here compares as {operator} does")


def _condition(name: str, operator: Operator, values: Sequence[Any]) -> Condition:
    if name == _SUBJECT:
        raise NotTaken("it compares subjects otherwise than by name")
    return Condition(attribute=name, operator=operator, values=tuple(_texts(values)))


def _texts(values: Sequence[Any]) -> list[str]:
    found = [text_of(value) for value in values]
    if any(text is None for text in found):
        raise NotTaken("it compares with something that is no plain value")
    return [text for text in found if text is not None]


def _name(tree: Any) -> str:
    operator, name = _operation(tree)
    name = _only(name)
    if operator != "var" or not isinstance(name, str):
        raise NotTaken("it compares something that is no attribute")
    if "." in name or name.startswith("$"):
        raise NotTaken(f"it looks at {name}, which is no plain attribute")
    return name


def _is_of_subject(tree: Any) -> bool:
    """Tell whether a bucket is of the subject, with the flag's name before it or not."""
    operator, arguments = _operation(tree)
    parts = arguments if operator == "cat" and isinstance(arguments, list) else [tree]
    names = [_only(part.get("var")) for part in parts if isinstance(part, dict)]
    return _SUBJECT in names and set(names) <= {_SUBJECT, "$flagd.flagKey"}


def _negated(holds: _Any) -> _All:
    """Return what holds where none of these does."""
    found: list[Condition | _Ids] = []
    for both in holds:
        if len(both) != 1 or not isinstance(both[0], Condition):
            raise NotTaken("it turns more than one comparison round")
        found.append(_turned(both[0]))
    return tuple(found)


def _turned(condition: Condition) -> Condition:
    """Turn a comparison round; it then holds for whoever lacks the attribute, as it does there."""
    if condition.operator in {Operator.IN, Operator.EQUALS}:
        return replace(condition, operator=Operator.NOT_IN)
    if condition.operator is Operator.NOT_IN:
        return replace(condition, operator=Operator.IN)
    raise NotTaken(f"it turns a comparison by {condition.operator} round")


def _ids_of(item: Condition | _Ids) -> tuple[str, ...]:
    return item.ids if isinstance(item, _Ids) else ()
