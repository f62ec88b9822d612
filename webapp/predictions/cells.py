"""What a value of a record is for a model: a number, a text, or nothing.  Pure.

Sources write most of their values as texts, so a text that is a number is one.  A code with leading
zeros, such as a postcode, is not.
"""

import math
import re
import sys
from typing import Final

from webapp.predictions.values import MAX_LABEL, Cell

_NUMBER: Final = re.compile(
    r"[+-]?(?:(?:0|[1-9][0-9]{0,399})(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?"
)


def cell_of(value: object) -> Cell:
    """Read a value; empty texts, lists, objects and what no float can hold are nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _finite(value)
    return _of_text(value.strip()) if isinstance(value, str) else None


def label_of(cell: Cell) -> str:
    """Write a value as the name of a class or category: 1 and 1.0 are one."""
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(cell)
    return cell or ""


def _of_text(text: str) -> Cell:
    if not text:
        return None
    if _NUMBER.fullmatch(text):
        return _finite(float(text))
    # Kept once, however many records have it.
    return sys.intern(text[:MAX_LABEL])


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
