"""Shortens stored values to what a person wants to see of a change.

Pure.  A list of ten thousand ids that lost one is told as that one, not as twice ten thousand.
"""

from typing import Any

from webapp.audit.values import FieldChange

SHOWN_ITEMS = 10
SHOWN_CHARACTERS = 400


def brief(change: FieldChange) -> FieldChange:
    """Return the change with long lists told by what they lost and gained, long texts cut."""
    old, new = change.old, change.new
    if _is_long(old) or _is_long(new):
        before, after = _items(old), _items(new)
        return FieldChange(
            change.field,
            _told(old, before, "removed", _missing(before, after)),
            _told(new, after, "added", _missing(after, before)),
        )
    return FieldChange(change.field, _cut(old), _cut(new))


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and len(value) > SHOWN_ITEMS


def _items(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _missing(items: list[str], others: list[str]) -> list[str]:
    known = set(others)
    return [item for item in items if item not in known]


def _told(value: Any, items: list[str], verb: str, differing: list[str]) -> Any:
    if not isinstance(value, list):
        return _cut(value)
    told = f"{len(items):,} entries"
    if differing:
        more = len(differing) - SHOWN_ITEMS
        named = ", ".join(differing[:SHOWN_ITEMS]) + (f" and {more:,} more" if more > 0 else "")
        told += f", {len(differing):,} {verb}: {named}"
    return _cut(told)


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > SHOWN_CHARACTERS:
        return value[:SHOWN_CHARACTERS] + "…"
    return value
