"""What is typed into a field, as a value: numbers, times, lists and JSON.

A ValueError says in words for whoever typed it what is wrong.
"""

import json
import re
from datetime import UTC, datetime
from typing import Any


def items_of(text: str) -> tuple[str, ...]:
    """Read one item a line."""
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def words_of(text: str) -> tuple[str, ...]:
    """Read words that spaces or commas part."""
    return tuple(re.findall(r"[^\s,]+", text))


def share_of(text: str) -> float:
    """Read a percentage."""
    try:
        return float(text.strip().removesuffix("%"))
    except ValueError:
        raise ValueError("Must be a number from 0 to 100.") from None


def weight_of(text: str) -> int:
    """Read a whole number of at most nine digits."""
    if not re.fullmatch(r"-?[0-9]{1,9}", text.strip()):
        raise ValueError("Must be a whole number.")
    return int(text.strip())


def moment_typed(text: str) -> datetime | None:
    """Read a time; one without a zone is UTC, an empty one is none."""
    if not text.strip():
        return None
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError("Must be a date and a time, such as 2026-11-22T09:30.") from None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when


def moment_needed(text: str) -> datetime | None:
    """Read a time that must be there, in UTC and to the second."""
    when = moment_typed(text)
    if when is None:
        raise ValueError("A date and a time.")
    try:
        return when.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise ValueError("Lies outside the years 1 to 9999 in UTC.") from None


def number_typed(text: str) -> float | None:
    """Read a number."""
    try:
        return float(text.strip().removesuffix("%"))
    except ValueError:
        raise ValueError("Must be a number.") from None


def json_of(text: str) -> Any:
    """Read JSON; nothing is null."""
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Is not JSON: {error}") from None


def object_of(text: str, example: str = '{"owner": "growth"}') -> dict[str, Any]:
    """Read a JSON object; nothing is an empty one."""
    value = json_of(text)
    if value is None and not text.strip():
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"Must be a JSON object, such as {example}.")  # noqa: TRY004
    return value
