"""Entries that a transaction has recorded and not yet written, and how they join the chain.

They are written as the last thing before the commit.  Joining the chain takes the lock of its head,
and a transaction that holds that lock waits for no other: so the audit brings no deadlock, however
services order their own locks, and writers wait for one another for the length of a commit only.
As the lock is held until then, entries are numbered in the order of their commits.

Knows nothing of what is recorded, and of no capability.
"""

from dataclasses import fields
from typing import Final
from weakref import WeakKeyDictionary

from sqlalchemy import event, insert, select
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from webapp.audit.chain import GENESIS, Facts, hash_after
from webapp.audit.models import HEAD_ROW, AuditEntry, AuditHead
from webapp.db import DbSession, insert_into

# Under these names in ``session.info``: the facts in order, and how many there were at a savepoint.
_PENDING: Final = "audit_pending"
_MARKS: Final = "audit_marks"

_FACTS: Final = tuple(item.name for item in fields(Facts))


def add_pending(session: DbSession, facts: Facts) -> None:
    """Keep an entry until this transaction's commit; a rollback forgets it."""
    real = session() if isinstance(session, scoped_session) else session
    if not real.in_transaction():
        # Else a rollback would find no transaction, and the entry would slip into the next one.
        real.begin()
    real.info.setdefault(_PENDING, []).append(facts)


def write_pending(session: DbSession) -> None:
    """Write what is pending behind the newest entry, and hold the chain until the commit.

    Inside a savepoint nothing is written: its rollback would undo it, and no longer know it.
    """
    real = session() if isinstance(session, scoped_session) else session
    if real.in_nested_transaction() or not real.info.get(_PENDING):
        return
    pending: list[Facts] = real.info.pop(_PENDING)
    # Whatever else this transaction locks, it locks before the chain.
    real.flush()
    head = _lock_head(real)
    rows = []
    for facts in pending:
        row = {name: getattr(facts, name) for name in _FACTS}
        row["previous_hash"], row["hash"] = head.hash, hash_after(head.hash, facts)
        rows.append(row)
        head.hash = row["hash"]
    # As one statement: an import has thousands of them, and others wait for the chain.
    real.execute(insert(AuditEntry), rows)
    real.flush()


def _lock_head(session: Session) -> AuditHead:
    """Wait for other writers, then read the newest hash as they left it.

    SQLite has one writer at a time anyway.
    """
    for_writing = {"with_for_update": True, "populate_existing": True}
    head = session.get(AuditHead, HEAD_ROW, **for_writing)  # type: ignore[arg-type]
    if head is None:
        _begin_chain(session)
        head = session.get_one(AuditHead, HEAD_ROW, **for_writing)  # type: ignore[arg-type]
    return head


def _begin_chain(session: Session) -> None:
    """Make the head of an emptied database; of two that try, one waits and finds it made."""
    newest = session.scalar(select(AuditEntry.hash).order_by(AuditEntry.id.desc()).limit(1))
    made = insert_into(session, AuditHead).values(id=HEAD_ROW, hash=newest or GENESIS)
    session.execute(made.on_conflict_do_nothing())


@event.listens_for(Session, "before_commit")
def _write_before_commit(session: Session) -> None:
    write_pending(session)


@event.listens_for(Session, "after_transaction_create")
def _mark_savepoint(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        marks = session.info.setdefault(_MARKS, WeakKeyDictionary())
        marks[transaction] = len(session.info.get(_PENDING, ()))


@event.listens_for(Session, "after_soft_rollback")
def _forget_since_savepoint(session: Session, previous: SessionTransaction) -> None:
    """Forget what was recorded inside; a savepoint is rolled back after it has ended."""
    mark = session.info.get(_MARKS, {}).get(previous)
    if mark is not None:
        del session.info.get(_PENDING, [])[mark:]


@event.listens_for(Session, "after_transaction_end")
def _forget_transaction(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_PENDING, None)
        session.info.pop(_MARKS, None)
