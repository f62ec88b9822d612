"""Dead letters as rows of a file, newest first, however many fit.

They are read in batches, each in a reading of its own, so that neither a connection nor a
transaction waits for whoever takes them.  Letters that change meanwhile are told as they are when
their batch is read; each is told once.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from webapp.db import reading
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.queries import older_letters
from webapp.dead_letters.values import LetterFilters
from webapp.logs import masked
from webapp.moments import rfc3339

BATCH: Final = 500
COLUMNS: Final = (
    "job_id",
    "type",
    "reason",
    "error_class",
    "exception_type",
    "message",
    "fingerprint",
    "retry_count",
    "failed_at",
    "resolution",
    "resolved_at",
    "resolved_by",
    "notes",
    "arguments",
    "traceback",
)


def letter_batches(
    filters: LetterFilters, *, now: datetime, size: int = BATCH
) -> Iterator[list[dict[str, Any]]]:
    """Yield all letters that fit, batch by batch: one statement for each."""
    before: int | None = None
    full = True
    while full:
        with reading() as session:
            letters = older_letters(session, filters, size, before=before, now=now)
        if letters:
            before = letters[-1].id
            yield [_values(letter) for letter in letters]
        full = len(letters) == size


def row_batches(
    filters: LetterFilters, *, now: datetime, size: int = BATCH
) -> Iterator[list[list[str]]]:
    """Yield the same as the cells of a table."""
    for batch in letter_batches(filters, now=now, size=size):
        yield [[_cell(values[name]) for name in COLUMNS] for values in batch]


def _values(letter: DeadLetter) -> dict[str, Any]:
    """Return a letter by column, its times as RFC 3339, its arguments without what is secret."""
    values = {name: getattr(letter, name) for name in COLUMNS}
    return {
        name: rfc3339(value) if isinstance(value, datetime) else value
        for name, value in (values | {"arguments": masked(letter.arguments)}).items()
    }


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
