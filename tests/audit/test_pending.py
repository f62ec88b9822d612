"""When entries are written, who waits for whom, and that nothing changes them afterwards."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from flask import Flask
from sqlalchemy import delete, event, func, select, update
from sqlalchemy.orm import Session

from webapp.actors import Actor
from webapp.audit.models import AuditEntry, AuditHead
from webapp.audit.service import history, record
from webapp.audit.verification import verify
from webapp.breakers.service import reset
from webapp.breakers.transitions import register
from webapp.breakers.values import BreakerState, SharedState
from webapp.db import db, reading, transaction
from webapp.flags.service import change_flag, create_flag
from webapp.flags.values import FlagChanges, FlagDraft
from webapp.jobs.models import Job
from webapp.jobs.service import cancel, enqueue
from webapp.jobs.values import JobState

ANNA = Actor("user", "anna")
THREADS, WRITES = 8, 20


def write(session: Session, now: datetime, reason: str = "") -> None:
    record(session, by=ANNA, at=now, action="a.done", subject="a", name="b", reason=reason)


def reasons(session: Session) -> list[str]:
    return [entry.reason for entry in history(session, "a", "b")][::-1]


def test_an_entry_is_written_by_the_commit_and_not_before(session: Session, now: datetime) -> None:
    count = select(func.count()).select_from(AuditEntry)
    write(session, now)
    session.flush()
    assert session.scalar(count) == 0
    session.commit()
    assert session.scalar(count) == 1


def test_a_transaction_sees_its_own_entries(session: Session, now: datetime) -> None:
    write(session, now, "1")
    assert reasons(session) == ["1"]
    write(session, now, "2")
    session.commit()
    assert reasons(session) == ["1", "2"]


def test_the_chain_is_locked_after_everything_else(session: Session, now: datetime) -> None:
    statements: list[str] = []

    def note(*arguments: object) -> None:
        statements.append(str(arguments[2]))

    engine = session.get_bind()
    event.listen(engine, "before_cursor_execute", note)
    try:
        write(session, now)
        session.add(Job(**job_values(now)))
        session.commit()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    of_job, of_chain = (
        next(place for place, text in enumerate(statements) if text.find(table) > 0)
        for table in ("INTO jobs", "FROM audit_head")
    )
    assert of_job < of_chain
    assert not [text for text in statements[of_chain:] if "audit_" not in text]


def job_values(now: datetime) -> dict[str, object]:
    return {
        "type": "etl",
        "queue": "default",
        "priority": 50,
        "state": JobState.QUEUED,
        "arguments": {},
        "run_at": now,
        "created_at": now,
        "created_by": "anna",
    }


def test_what_is_rolled_back_leaves_no_entry(session: Session, now: datetime) -> None:
    write(session, now, "no transaction had begun")
    session.rollback()
    session.add(Job(**job_values(now)))
    session.flush()
    write(session, now, "in one")
    session.rollback()
    write(session, now, "closed")
    session.close()
    write(session, now, "kept")
    session.commit()
    assert reasons(session) == ["kept"]


def test_a_savepoint_takes_back_its_own_entries_alone(session: Session, now: datetime) -> None:
    write(session, now, "before")
    with session.begin_nested():
        write(session, now, "kept")
    with session.begin_nested() as outer:
        with session.begin_nested():
            write(session, now, "inner")
        write(session, now, "outer")
        outer.rollback()
    write(session, now, "after")
    session.commit()
    assert reasons(session) == ["before", "kept", "after"]


def test_a_savepoint_that_reads_the_audit_loses_nothing(session: Session, now: datetime) -> None:
    write(session, now, "before")
    with session.begin_nested() as savepoint:
        assert reasons(session) == []
        savepoint.rollback()
    session.commit()
    assert reasons(session) == ["before"]


def test_entries_of_one_transaction_are_chained_in_their_order(
    session: Session, now: datetime
) -> None:
    for number in range(5):
        write(session, now, str(number))
    session.commit()
    assert reasons(session) == list("01234")
    rows = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
    assert [row.previous_hash for row in rows[1:]] == [row.hash for row in rows[:-1]]


def test_a_chain_whose_head_is_lost_goes_on_from_its_newest_entry(
    session: Session, now: datetime
) -> None:
    write(session, now)
    session.commit()
    session.execute(delete(AuditHead))
    write(session, now)
    session.commit()
    assert_whole(2)


def change_one(session: Session, entry: AuditEntry) -> None:
    entry.reason = "other"
    session.commit()


def delete_one(session: Session, entry: AuditEntry) -> None:
    session.delete(entry)
    session.commit()


def change_all(session: Session, entry: AuditEntry) -> None:
    session.execute(update(AuditEntry).values(reason="other"))


def delete_all(session: Session, entry: AuditEntry) -> None:
    session.execute(delete(AuditEntry))


@pytest.mark.parametrize("meddle", [change_one, delete_one, change_all, delete_all])
def test_the_session_refuses_to_change_an_entry(
    session: Session, now: datetime, meddle: Callable[[Session, AuditEntry], None]
) -> None:
    write(session, now, "as written")
    session.commit()
    entry = session.scalars(select(AuditEntry)).one()
    with pytest.raises(RuntimeError, match="as it was written"):
        meddle(session, entry)
    session.rollback()
    assert reasons(session) == ["as written"]


def test_writers_of_every_kind_neither_deadlock_nor_break_the_chain(
    app: Flask, now: datetime
) -> None:
    """Each order of flags, jobs and breakers that a lock on the chain could close to a circle."""
    total = THREADS * WRITES
    with app.app_context(), transaction() as session:
        create_flag(session, FlagDraft(name="beta"), by=ANNA, now=now, reason="first")
        circuit = SharedState(
            name="mail",
            state=BreakerState.CLOSED,
            opened_at=None,
            open_seconds=30.0,
            failures=0,
            failure_threshold=5,
            last_error=None,
            version=1,
        )
        register(session, circuit, now=now)
        source = {"source": "airports"}
        jobs = [enqueue(session, "etl", source, by=ANNA, now=now).id for _ in range(total)]
    with app.app_context():
        before = db.session.scalar(select(func.count()).select_from(AuditEntry)) or 0

    def flag(session: Session, number: int) -> None:
        changes = FlagChanges(percentage=number % 99 + 1, description=str(number))
        change_flag(session, "beta", changes, by=ANNA, now=now, reason="r")

    def job(session: Session, number: int) -> None:
        cancel(session, jobs[number], by=ANNA, now=now)

    def breaker(session: Session, number: int) -> None:
        reset(session, "mail", by=ANNA, now=now, reason=str(number))

    mixes: tuple[tuple[Callable[[Session, int], None], ...], ...] = (
        (flag, job, breaker),
        (breaker,),
        (job, breaker),
        (job,),
        (flag,),
    )

    def work(thread: int) -> int:
        entries = 0
        for number in range(thread * WRITES, (thread + 1) * WRITES):
            mix = mixes[(number + thread) % len(mixes)]
            with app.app_context(), transaction() as session:
                for act in mix:
                    act(session, number)
            entries += len(mix)
        return entries

    with ThreadPoolExecutor(THREADS) as threads:
        written = sum(threads.map(work, range(THREADS)))
    with app.app_context():
        assert_whole(before + written)


def assert_whole(entries: int) -> None:
    with reading() as session:
        verdict = verify(session)
    assert (verdict.right, verdict.breach) == (entries, None)
