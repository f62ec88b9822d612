"""Conditions as constraints of Unleash: those that hold for exactly the same subjects.  Pure.

Attributes are taken to be texts, as they are in Unleash.  A condition that no constraint equals in
every SDK has none:

- a regular expression: SDKs differ in their dialects, and older ones know none;
- a time of an attribute: the SDK for Node.js compares the present time, whatever is named;
- a comparison of texts or versions turned round: there it also holds for whoever lacks the
  attribute, here for nobody who does;
- a value that is empty or has space around it, which SDKs strip, and a number that is no float;
- an attribute by the name of a field of Unleash's context, which is another thing there.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from webapp.flags.targeting import number_of
from webapp.flags.values import Condition, Operator

Document = Mapping[str, Any]

SUBJECT: Final = "userId"
CONTEXT_FIELDS: Final = frozenset(
    {SUBJECT, "appName", "currentTime", "environment", "properties", "remoteAddress", "sessionId"}
)
# By operator and whether it is turned round.
_OF_TEXTS: Final[Mapping[tuple[Operator, bool], str]] = {
    (Operator.IN, False): "IN",
    (Operator.EQUALS, False): "IN",
    (Operator.NOT_IN, False): "NOT_IN",
    # Who lacks the attribute is in no list: this holds for nobody who does.
    (Operator.NOT_IN, True): "IN",
    (Operator.CONTAINS, False): "STR_CONTAINS",
    (Operator.STARTS_WITH, False): "STR_STARTS_WITH",
    (Operator.ENDS_WITH, False): "STR_ENDS_WITH",
}
_OF_NUMBERS: Final[Mapping[tuple[Operator, bool], str]] = {
    (Operator.GT, False): "NUM_GT",
    (Operator.LTE, True): "NUM_GT",
    (Operator.GTE, False): "NUM_GTE",
    (Operator.LT, True): "NUM_GTE",
    (Operator.LT, False): "NUM_LT",
    (Operator.GTE, True): "NUM_LT",
    (Operator.LTE, False): "NUM_LTE",
    (Operator.GT, True): "NUM_LTE",
}
_OF_VERSIONS: Final[Mapping[tuple[Operator, bool], str]] = {
    (Operator.SEMVER_EQ, False): "SEMVER_EQ",
    (Operator.SEMVER_GT, False): "SEMVER_GT",
    (Operator.SEMVER_LT, False): "SEMVER_LT",
}
_MOST_EXACT: Final = 2**53
_MILLISECOND: Final = timedelta(milliseconds=1)
# Before it there may be no millisecond, and nobody asks.
_EARLIEST: Final = datetime(1, 1, 2, tzinfo=UTC)


def constraint_of(condition: Condition) -> Document | None:
    """Return the constraint that equals a condition, None where there is none."""
    name, key = condition.attribute, (condition.operator, condition.negate)
    if name in CONTEXT_FIELDS:
        return None
    if operator := _OF_TEXTS.get(key):
        return _constraint(name, operator, condition.values) if _plain(condition.values) else None
    (value, *_) = condition.values
    if (operator := _OF_NUMBERS.get(key)) and (number := _number(value)):
        return _constraint(name, operator, value=number)
    if operator := _OF_VERSIONS.get(key):
        return _constraint(name, operator, value=value.strip())
    return None


def among(ids: Sequence[str]) -> Document:
    """Return what holds for the subjects of a list."""
    return _constraint(SUBJECT, "IN", ids)


def not_among(ids: Sequence[str]) -> Document:
    """Return what holds for everybody else, also where nobody is named."""
    return _constraint(SUBJECT, "NOT_IN", ids)


def window(starts_at: datetime | None, expires_at: datetime | None) -> list[Document]:
    """Return what holds from a moment on, and before another."""
    found = []
    if starts_at is not None and starts_at > _EARLIEST:
        # The moment itself is within, so it is "after" the millisecond before: "not before it"
        # would hold as well where an SDK cannot read a time.
        found.append(_at("DATE_AFTER", starts_at - _MILLISECOND))
    if expires_at is not None:
        found.append(_at("DATE_BEFORE", expires_at))
    return found


def _constraint(
    name: str,
    operator: str,
    values: Sequence[str] = (),
    *,
    value: str | None = None,
) -> Document:
    written = {
        "contextName": name,
        "operator": operator,
        "values": list(values),
        "inverted": False,
        "caseInsensitive": False,
    }
    return written if value is None else written | {"value": value}


def _plain(values: Sequence[str]) -> bool:
    return all(value and value == value.strip() for value in values)


def _number(text: str) -> str | None:
    number = number_of(text)
    if number is None or abs(number) > _MOST_EXACT:
        return None
    return repr(number)


def _at(operator: str, moment: datetime) -> Document:
    # In whole milliseconds: the engine of most SDKs reads no more digits.
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return _constraint("currentTime", operator, value=text)
