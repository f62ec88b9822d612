"""Reads the whole audit and finds where its chain is broken.

Holds no more than one batch in memory.  What was written is judged by the pure chain; here it is
read, and read so that an entry that somebody made unreadable is told as changed.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Row, Text, cast, select
from sqlalchemy.orm import Session

from webapp.audit.chain import GENESIS, Facts, Fault, Link, fault_of
from webapp.audit.models import HEAD_ROW, AuditEntry, AuditHead
from webapp.db import keep_view

BATCH: Final = 1_000

# As text, since a value that was spoilt would else fail a whole batch when it is read.
_COLUMNS: Final = (
    AuditEntry.id,
    cast(AuditEntry.at, Text).label("at"),
    AuditEntry.actor_kind,
    AuditEntry.actor,
    AuditEntry.action,
    AuditEntry.subject,
    AuditEntry.name,
    AuditEntry.reason,
    cast(AuditEntry.changes, Text).label("changes"),
    AuditEntry.request_id,
    AuditEntry.previous_hash,
    AuditEntry.hash,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """The first thing that is wrong: with which entry, or with the chain's end where it is None.

    ``follows`` is the entry that it was written after, where that stands elsewhere.
    """

    fault: Fault
    entry: int | None = None
    follows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How many entries are right, up to the first breach; ``hash`` is that of the last of them."""

    right: int
    hash: str
    seen_expected: bool
    breach: Breach | None


def verify(session: Session, *, expected: str | None = None, batch: int = BATCH) -> Verdict:
    """Follow the chain from its first entry to its head; the session must be a fresh one.

    ``expected`` is a hash that an earlier verdict ended in: whoever rewrites the whole chain cannot
    make it lead there again.
    """
    # One view for all batches, so that what is written meanwhile is no breach.
    keep_view(session)
    head = session.scalar(select(AuditHead.hash).where(AuditHead.id == HEAD_ROW))
    right, before, seen = 0, GENESIS, expected in {None, GENESIS}
    breach: Breach | None = None
    for link in _links(session, batch):
        if fault := fault_of(link, before):
            breach = _breach(session, link, fault)
            break
        right, before, seen = right + 1, link.hash, seen or link.hash == expected
    if breach is None and before != (head or GENESIS):
        breach = Breach(fault=Fault.REMOVED)
    return Verdict(right=right, hash=before, seen_expected=seen, breach=breach)


def _breach(session: Session, link: Link, fault: Fault) -> Breach:
    if fault == Fault.REMOVED:
        follows = session.scalar(select(AuditEntry.id).where(AuditEntry.hash == link.previous_hash))
        if follows is not None:
            return Breach(fault=Fault.ORDER, entry=link.id, follows=follows)
    return Breach(fault=fault, entry=link.id)


def _links(session: Session, batch: int) -> Iterator[Link]:
    wanted = select(*_COLUMNS).order_by(AuditEntry.id).limit(batch)
    rows = session.execute(wanted).all()
    while rows:
        for row in rows:
            yield Link(id=row.id, facts=_facts(row), previous_hash=row.previous_hash, hash=row.hash)
        rows = session.execute(wanted.where(AuditEntry.id > rows[-1].id)).all()


def _facts(row: Row[Any]) -> Facts | None:
    try:
        at = datetime.fromisoformat(row.at)
        changes = json.loads(row.changes)
    except ValueError:
        return None
    return Facts(
        # SQLite keeps no zone, and everything there is in UTC.
        at=at if at.tzinfo else at.replace(tzinfo=UTC),
        actor_kind=row.actor_kind,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        name=row.name,
        reason=row.reason,
        changes=changes,
        request_id=row.request_id,
    )
