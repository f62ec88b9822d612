"""Shortens stored changes to what a person wants to see of them; the database has the whole.

Pure.  Of nested values only what differs is told, each difference with its path, such as
``rules.pro.percentage``.  A list of ten thousand ids that lost one is told as that one, not as
twice ten thousand.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Final

from webapp.audit.values import Entry, FieldChange

SHOWN_ITEMS: Final = 10
SHOWN_ROWS: Final = 10
SHOWN_CHARACTERS: Final = 400

# What an object in a list goes by: rules, segments and variants have a name, prerequisites a flag.
NAMING_KEYS: Final = ("name", "flag")

_NOTHING: Final[tuple[Any, ...]] = (None, "", [], {})


def in_short(entry: Entry) -> Entry:
    """Return the entry with its changes as they are shown."""
    return replace(entry, changes=tuple(row for item in entry.changes for row in told(item)))


def told(change: FieldChange) -> list[FieldChange]:
    """Return what differs between both values of a field, at most ten lines and a count."""
    rows = _inside(change)
    if len(rows) <= SHOWN_ROWS:
        return rows
    more = FieldChange(change.field, None, f"and {len(rows) - SHOWN_ROWS:,} more")
    return [*rows[:SHOWN_ROWS], more]


def brief(change: FieldChange) -> FieldChange:
    """Return the change with long lists told by what they lost and gained, long texts cut."""
    old, new = change.old, change.new
    if _is_long(old) or _is_long(new):
        before, after = _items(old), _items(new)
        return FieldChange(
            change.field,
            _counted(old, before, "removed", _missing(before, after)),
            _counted(new, after, "added", _missing(after, before)),
        )
    return FieldChange(change.field, _cut(old), _cut(new))


def _inside(change: FieldChange) -> list[FieldChange]:
    """Walk down to what differs; two values without parts, or with the same, are told whole."""
    old, new = _parts(change.old), _parts(change.new)
    rows: list[FieldChange] = []
    if old is not None and new is not None:
        rows = [*_by_name(change.field, old, new), *_order(change)]
    elif _is_list_of_objects(change.old) or _is_list_of_objects(change.new):
        rows = list(_by_item(change))
    return rows or [brief(change)]


def _parts(value: Any) -> Mapping[str, Any] | None:
    """Return the parts of a value by what they go by, None where they go by nothing."""
    if isinstance(value, dict):
        return value
    if value is None or value == []:
        return {}
    for key in NAMING_KEYS if _is_list_of_objects(value) else ():
        named = {str(item[key]): _without(item, key) for item in value if key in item}
        if len(named) == len(value):
            return named
    return None


def _without(item: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != key}


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(isinstance(item, dict) for item in value)


def _by_name(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[FieldChange]:
    for name in dict.fromkeys([*old, *new]):
        inner = f"{path}.{name}"
        if name not in new:
            yield _removed(inner, old[name])
        elif name not in old:
            yield _added(inner, new[name])
        elif _written(old[name]) != _written(new[name]):
            yield from _inside(FieldChange(inner, old[name], new[name]))


def _order(change: FieldChange) -> Iterator[FieldChange]:
    """Tell that parts which stayed changed places: of rules the first that fits decides."""
    if not isinstance(change.old, list) or not isinstance(change.new, list):
        return
    old, new = _parts(change.old) or {}, _parts(change.new) or {}
    before, after = [name for name in old if name in new], [name for name in new if name in old]
    if before != after:
        yield FieldChange(f"{change.field} in order", _text(before), _text(after))


def _by_item(change: FieldChange) -> Iterator[FieldChange]:
    """Tell objects without names as wholes, but one that took another's place by what differs."""
    old, new = change.old or [], change.new or []
    if not isinstance(old, list) or not isinstance(new, list):
        return
    before, after = set(map(_written, old)), set(map(_written, new))
    for place, (was, now) in enumerate(zip_longest(old, new), start=1):
        gone = was is not None and _written(was) not in after
        came = now is not None and _written(now) not in before
        if gone and came:
            yield from _inside(FieldChange(f"{change.field} {place}", was, now))
        elif gone:
            yield _removed(change.field, was)
        elif came:
            yield _added(change.field, now)


def _removed(path: str, value: Any) -> FieldChange:
    return brief(FieldChange(f"{path} removed", value, None))


def _added(path: str, value: Any) -> FieldChange:
    return brief(FieldChange(f"{path} added", None, value))


def _written(value: Any) -> str:
    """Write a value so that equal texts are equal values; for Python 1 and True are the same."""
    return json.dumps(value, sort_keys=True)


def _text(value: Any) -> str:
    """Write a nested value for a person: without quotes, and without what is empty."""
    if isinstance(value, dict):
        told_of = ((key, item) for key, item in value.items() if item not in _NOTHING)
        return ", ".join(f"{key}: {_enclosed(item)}" for key, item in told_of)
    if isinstance(value, list):
        return ", ".join(map(_enclosed, value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _enclosed(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{_text(value)}}}"
    return f"[{_text(value)}]" if isinstance(value, list) else _text(value)


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and len(value) > SHOWN_ITEMS


def _items(value: Any) -> list[str]:
    return [_enclosed(item) for item in value] if isinstance(value, list) else []


def _missing(items: list[str], others: list[str]) -> list[str]:
    known = set(others)
    return [item for item in items if item not in known]


def _counted(value: Any, items: list[str], verb: str, differing: list[str]) -> Any:
    if not isinstance(value, list):
        return _cut(value)
    told_of = f"{len(items):,} entries"
    if differing:
        more = len(differing) - SHOWN_ITEMS
        named = ", ".join(differing[:SHOWN_ITEMS]) + (f" and {more:,} more" if more > 0 else "")
        told_of += f", {len(differing):,} {verb}: {named}"
    return _cut(told_of)


def _cut(value: Any) -> Any:
    if (isinstance(value, dict) and value) or _is_list_of_objects(value):
        value = _text(value)
    if isinstance(value, str) and len(value) > SHOWN_CHARACTERS:
        return value[:SHOWN_CHARACTERS] + "…"
    return value
