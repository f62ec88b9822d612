"""Rows of a form: fields under numbers, such as ``rules-0-name``, and one row more or less of them.

Works on plain mappings of text.  What a row means is for whoever reads it: here it is a number
between two dashes.  Numbers may have gaps, and whoever reads the rows numbers them anew.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple

Sent = Mapping[str, str]

# Above any limit of what a flag may hold, so that nothing is dropped that could be saved.
_MOST: Final = 100
# What a new row brings along, so that its first question is there to be answered.
_INSIDE: Final = {"rules": "conditions-0-attribute"}


class Edited(NamedTuple):
    """The fields with a row more or less, and the path at which whoever types goes on."""

    sent: Sent
    focus: str


def rows_of(sent: Sent, path: str) -> list[dict[str, str]]:
    """Return the fields of each row below a path, in the order of their numbers."""
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for number, field, value in _below(sent, path):
        found[number][field] = value
    return [found[number] for number in sorted(found)[:_MOST]]


def edited(sent: Sent) -> Edited | None:
    """Add or remove the row that a button of the form asks for; None where none was pressed."""
    if path := sent.get("add", ""):
        return _with_row(sent, path)
    if path := sent.get("remove", ""):
        return _without_row(sent, path)
    return None


def _with_row(sent: Sent, path: str) -> Edited:
    """Put an empty row behind the last; the new one is where to go on."""
    count = len(rows_of(sent, path))
    number = max((number for number, _, _ in _below(sent, path)), default=-1) + 1
    field = _INSIDE.get(path, "new")
    return Edited({**sent, f"{path}-{number}-{field}": ""}, f"{path}-{count}")


def _without_row(sent: Sent, path: str) -> Edited:
    """Leave a row out; what is left of its list is where to go on."""
    kept = {name: value for name, value in sent.items() if not name.startswith(f"{path}-")}
    return Edited(kept, re.sub(r"-[0-9]+\Z", "", path))


def _below(sent: Sent, path: str) -> list[tuple[int, str, str]]:
    pattern = re.compile(rf"{re.escape(path)}-([0-9]{{1,6}})-(.+)", re.DOTALL)
    matches = ((pattern.fullmatch(name), value) for name, value in sent.items())
    return [(int(match[1]), match[2], value) for match, value in matches if match]
