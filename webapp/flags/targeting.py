"""Whether a condition holds for a subject's attributes.  Pure.

A condition is compiled once into a function of the attributes.  What can be read beforehand (sets,
numbers, times, patterns, versions) is read then.  An attribute that is a list holds where one of
its items does.
"""

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import re2
from semver import Version

from webapp.flags.values import Condition, Operator, Rule, Segments, text_of

Predicate = Callable[[Mapping[str, Any]], bool]
# What a comparison says of one item: None where it cannot read it.
_Test = Callable[[Any], bool | None]

# int() and float() read more than anybody means by a number, underscores among it.
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE: Final = re.compile(r"[+-]?\d+", re.ASCII)
# Beyond this, reading digits is work; no figure of anybody's is longer.
_MOST_DIGITS: Final = 100


def compile_rule(rule: Rule, segments: Segments) -> tuple[Predicate, ...] | None:
    """Return what must all hold for a rule, None where it names a segment that there is not."""
    if any(name not in segments for name in rule.segments):
        return None
    shared = [condition for name in rule.segments for condition in segments[name]]
    return tuple(compile_condition(condition) for condition in (*rule.conditions, *shared))


def compile_condition(condition: Condition) -> Predicate:
    """Return the function that tells whether a condition holds for some attributes."""
    absent = condition.operator is Operator.NOT_IN
    inverted = condition.negate != absent
    if condition.operator in {Operator.IN, Operator.NOT_IN}:
        return _membership(condition, inverted=inverted)
    test = _TESTS[condition.operator](condition.values)
    return _predicate(condition.attribute, test, inverted=inverted, absent=False)


def number_of(value: object) -> int | float | None:
    """Read a number, whole ones exactly; None where it is none, or not finite."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
        if len(text) > _MOST_DIGITS or not _NUMBER.fullmatch(text):
            return None
        value = int(text) if _WHOLE.fullmatch(text) else float(text)
    if isinstance(value, int):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else None


def moment_of(value: object) -> datetime | None:
    """Read a time in ISO 8601; one without a zone is UTC, a day its first moment."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def version_of(value: object) -> Version | None:
    """Read a version as semver.org 2.0 writes it."""
    with suppress(ValueError):
        return Version.parse(value.strip()) if isinstance(value, str) else None
    return None


def pattern_of(text: str) -> Any:
    """Compile a regular expression of RE2, whose time is linear in what it searches.

    Raises :class:`ValueError` with what is wrong with it.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        raise ValueError(said.decode() if isinstance(said, bytes) else str(said)) from None


def _predicate(attribute: str, test: _Test, *, inverted: bool, absent: bool) -> Predicate:
    def holds(attributes: Mapping[str, Any]) -> bool:
        found = _outcome(attributes.get(attribute), test)
        return absent if found is None else found is not inverted

    return holds


def _membership(condition: Condition, *, inverted: bool) -> Predicate:
    """Be quick where most conditions are: one text looked up in a set."""
    known, attribute = frozenset(condition.values), condition.attribute
    absent = condition.operator is Operator.NOT_IN and not condition.negate
    other = _predicate(attribute, _known_in(known), inverted=inverted, absent=absent)

    def holds(attributes: Mapping[str, Any]) -> bool:
        value = attributes.get(attribute)
        if type(value) is str:
            return (value in known) is not inverted
        return other(attributes)

    return holds


def _outcome(value: Any, test: _Test) -> bool | None:
    """Test a value, or the items of a list: true where one fits, None where none can be read."""
    if not isinstance(value, list | tuple | set | frozenset):
        return None if value is None else test(value)
    found = [outcome for item in value if (outcome := test(item)) is not None]
    return any(found) if found else None


def _known_in(known: frozenset[str]) -> _Test:
    def test(item: Any) -> bool | None:
        text = text_of(item)
        return None if text is None else text in known

    return test


def _equals(values: Iterable[str]) -> _Test:
    texts = frozenset(values)
    numbers = frozenset(number for text in texts if (number := number_of(text)) is not None)

    def test(item: Any) -> bool | None:
        if isinstance(item, int | float) and not isinstance(item, bool):
            return item in numbers
        text = text_of(item)
        return None if text is None else text in texts

    return test


def _text_test(compare: Callable[[str, str], bool]) -> Callable[[Iterable[str]], _Test]:
    def build(values: Iterable[str]) -> _Test:
        wanted = tuple(values)

        def test(item: Any) -> bool | None:
            text = text_of(item)
            return None if text is None else any(compare(text, value) for value in wanted)

        return test

    return build


def _order_test(
    read: Callable[[Any], Any], compare: Callable[[Any, Any], bool]
) -> Callable[[Iterable[str]], _Test]:
    def build(values: Iterable[str]) -> _Test:
        (limit,) = map(read, values)

        def test(item: Any) -> bool | None:
            found = read(item)
            return None if found is None or limit is None else bool(compare(found, limit))

        return test

    return build


def _matches(values: Iterable[str]) -> _Test:
    (text,) = values
    pattern = pattern_of(text)

    def test(item: Any) -> bool | None:
        searched = text_of(item)
        if searched is None:
            return None
        try:
            return pattern.search(searched) is not None
        except UnicodeEncodeError:
            # Half of a surrogate pair, which JSON can carry: no text that a pattern could fit.
            return None

    return test


_TESTS: Final[Mapping[Operator, Callable[[Iterable[str]], _Test]]] = {
    Operator.EQUALS: _equals,
    Operator.CONTAINS: _text_test(operator.contains),
    Operator.STARTS_WITH: _text_test(str.startswith),
    Operator.ENDS_WITH: _text_test(str.endswith),
    Operator.MATCHES: _matches,
    Operator.GT: _order_test(number_of, operator.gt),
    Operator.GTE: _order_test(number_of, operator.ge),
    Operator.LT: _order_test(number_of, operator.lt),
    Operator.LTE: _order_test(number_of, operator.le),
    Operator.BEFORE: _order_test(moment_of, operator.lt),
    Operator.AFTER: _order_test(moment_of, operator.gt),
    Operator.SEMVER_EQ: _order_test(version_of, operator.eq),
    Operator.SEMVER_GT: _order_test(version_of, operator.gt),
    Operator.SEMVER_LT: _order_test(version_of, operator.lt),
}
