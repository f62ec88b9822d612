"""The audit as rows of a table, newest first, however many entries fit.

They are read in batches, each in a reading of its own: while whoever takes them takes their time,
neither a connection nor a transaction waits.  All batches together are still one view, that of
the start: entries are only added, and in the order of their numbers.
"""

import json
from collections.abc import Iterator
from typing import Final

from webapp.audit.queries import older_entries
from webapp.audit.values import Entry, Filters
from webapp.db import reading
from webapp.moments import rfc3339

BATCH: Final = 1_000
COLUMNS: Final = (
    "id",
    "at",
    "actor_kind",
    "actor",
    "action",
    "subject",
    "name",
    "reason",
    "changes",
    "request_id",
    "hash",
)


def row_batches(filters: Filters, *, size: int = BATCH) -> Iterator[list[list[str]]]:
    """Yield the rows of all entries that fit, batch by batch: one statement for each."""
    before: int | None = None
    full = True
    while full:
        with reading() as session:
            entries = older_entries(session, filters, size, before=before)
        if entries:
            before = entries[-1].id
            yield [_row(entry) for entry in entries]
        full = len(entries) == size


def _row(entry: Entry) -> list[str]:
    """Return the cells of an entry: its time as RFC 3339, its changes in full as JSON."""
    changes = {change.field: {"old": change.old, "new": change.new} for change in entry.changes}
    return [
        str(entry.id),
        rfc3339(entry.at),
        entry.actor_kind,
        entry.actor,
        entry.action,
        entry.subject,
        entry.name,
        entry.reason,
        json.dumps(changes, ensure_ascii=False, separators=(",", ":")),
        entry.request_id or "",
        entry.hash,
    ]
