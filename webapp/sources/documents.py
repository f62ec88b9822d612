"""Pages of an API as rows: the JSON that a server sent, and the place of the next page.  Pure.

Objects inside an item are flattened (``address.city``) and every value is a text, as in the rows of
a CSV file, so that records of all kinds are alike.  It must not know how a page was fetched.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from webapp.errors import Invalid
from webapp.sources.values import Rejection, Row, Unreadable

ITEM_CHARACTERS = 1024 * 1024
# Each row names every field anew, in memory and in the database.
MAX_FIELDS = 2000
# Deeper objects stay JSON.
DEPTH = 5
NAMED_IN_ERROR = 10
_JSON_TYPES: Mapping[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    type(None): "null",
}


class _Twice(dict[str, Any]):
    """An object in which a name stands twice, so that nobody can tell which value is meant."""


@dataclass(frozen=True, slots=True)
class Document:
    """One page: its items, and the cursor of the next one where there is any."""

    items: Sequence[Any]
    cursor: str = ""


def read_document(data: bytes, *, items: str, cursor: str = "") -> Document:
    """Read a page; ``items`` and ``cursor`` are dotted paths, an empty one is the page itself.

    :class:`Unreadable` where it is no JSON, :class:`Invalid` where it is built in another way than
    the source says.
    """
    try:
        # Numbers stay as they are written: no digit is lost, and 1.0 is not 1.
        page = json.loads(
            data,
            parse_float=str,
            parse_int=str,
            parse_constant=_no_constant,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise Invalid("The answer is nested too deeply.") from None
    except ValueError as error:
        raise Unreadable(f"The answer is not JSON: {error}") from None
    found = _at(page, items)
    if not isinstance(found, list):
        place = f"At {items!r}" if items else "The answer itself"
        raise Invalid(f"{place} is {_name_of(found)}, where the list of items should be.")
    return Document(found, _cursor(page, cursor) if cursor else "")


def _no_constant(name: str) -> NoReturn:
    message = f"{name} is no number"
    raise ValueError(message)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Twice(found)


def _at(page: Any, path: str) -> Any:
    found = page
    for name in path.split(".") if path else ():
        if not isinstance(found, dict) or name not in found:
            there = ", ".join(list(found)[:NAMED_IN_ERROR]) if isinstance(found, dict) else ""
            raise Invalid(f"The answer has no {path!r}: at {name!r} there is {there or 'nothing'}.")
        found = found[name]
    return found


def _cursor(page: Any, path: str) -> str:
    """Return the cursor; the last page has none, or one that is null, false or empty."""
    try:
        found = _at(page, path)
    except Invalid:
        return ""
    if found is None or found is False:
        return ""
    if not isinstance(found, str):
        raise Invalid(f"At {path!r} is {_name_of(found)}, where the cursor should be.")
    return found


def _name_of(value: Any) -> str:
    return next((name for kind, name in _JSON_TYPES.items() if isinstance(value, kind)), "no list")


def rows_of(items: Sequence[Any], line: int) -> Iterator[Row | Rejection]:
    """Yield a row for each item, or why it is none; ``line`` is the number of the first."""
    for number, item in enumerate(items, start=line):
        text = json.dumps(item, ensure_ascii=False)
        fields: dict[str, str] = {}
        problem = _flatten(item, fields, text)
        yield Rejection.of(number, problem, text) if problem else Row(number, fields, text)


def _flatten(item: Any, into: dict[str, str], text: str) -> str | None:
    """Write the fields of an item into a mapping; returns why it cannot be a row."""
    if not isinstance(item, dict):
        return f"is {_name_of(item)}, and not an object"
    if len(text) > ITEM_CHARACTERS:
        return f"is larger than {ITEM_CHARACTERS} characters"
    for name, value in _leaves(item, "", 1):
        if name in into or value is None:
            return f"names {name} twice"
        into[name] = value
        if len(into) > MAX_FIELDS:
            return f"has more than {MAX_FIELDS} fields"
    return None


def _leaves(item: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, str | None]]:
    """Yield each field and its text; None where its object names something twice."""
    if isinstance(item, _Twice):
        yield f"{prefix}…" if prefix else "a field", None
    for name, value in item.items():
        if isinstance(value, dict) and value and depth < DEPTH:
            yield from _leaves(value, f"{prefix}{name}.", depth + 1)
        else:
            yield prefix + name, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False)
