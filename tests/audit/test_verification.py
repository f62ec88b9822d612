"""``flask audit verify``: a whole chain, and each way in which one can be broken."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import delete, insert, select, update

from webapp.actors import Actor
from webapp.audit.chain import GENESIS, Facts, Fault, Link, fault_of, hash_after
from webapp.audit.models import AuditEntry, AuditHead
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.audit.verification import Breach, Verdict, verify
from webapp.db import Base, reading, transaction

# The table itself: through the model the session refuses.
ENTRIES = Base.metadata.tables[AuditEntry.__tablename__]
Run = Callable[..., Result]


@pytest.fixture
def ids(app: Flask, now: datetime) -> list[int]:
    """Seven entries, in transactions of one and of several; their ids."""
    with app.app_context():
        for batch in (range(1), range(1, 4), range(4, 7)):
            with transaction() as session:
                for number in batch:
                    record(
                        session,
                        by=Actor("user", "änna", None if number % 2 else "request-1"),
                        at=now + timedelta(microseconds=number),
                        action="flag.updated",
                        subject="flag",
                        name="beta",
                        reason=f"reason {number}",
                        changes={"percentage": Change(number, number / 3), "big": Change(0, 2**60)},
                    )
        with reading() as session:
            return list(session.scalars(select(AuditEntry.id).order_by(AuditEntry.id)))


@pytest.fixture
def run(app: Flask) -> Run:
    def invoke(*words: str) -> Result:
        with app.app_context():
            return app.test_cli_runner().invoke(args=("audit", "verify", *words))

    return invoke


def judged(app: Flask) -> Verdict:
    with app.app_context(), reading() as session:
        return verify(session, batch=2)


def rewrite(app: Flask, *statements: object) -> None:
    """Change the table as somebody would who has the database's password."""
    with app.app_context(), transaction() as session:
        for statement in statements:
            session.execute(statement)  # type: ignore[call-overload]


def renumber(number: int, other: int) -> object:
    return update(ENTRIES).where(ENTRIES.c.id == number).values(id=other)


def test_a_chain_is_whole_over_all_batches(app: Flask, ids: list[int], run: Run) -> None:
    verdict = judged(app)
    assert (verdict.right, verdict.breach) == (7, None)
    told = run()
    assert told.exit_code == 0
    assert told.stdout == f"The chain is whole: 7 entries, up to {verdict.hash}\n"


def test_an_audit_without_entries_is_whole(run: Run) -> None:
    assert run().stdout == f"The chain is whole: 0 entries, up to {GENESIS}\n"


@pytest.mark.parametrize(
    "values",
    [
        {"reason": "another"},
        {"actor": "bert"},
        {"request_id": "request-2"},
        {"changes": {"percentage": [0, 100]}},
        {"changes": []},
        {"at": datetime.fromisoformat("2026-11-22T12:00:00.000004+00:00")},
        {"hash": "f" * 64},
        {"previous_hash": "f" * 64},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_changed_entry_is_found(
    app: Flask, ids: list[int], run: Run, values: dict[str, object]
) -> None:
    rewrite(app, update(ENTRIES).where(ENTRIES.c.id == ids[3]).values(values))
    verdict = judged(app)
    assert (verdict.right, verdict.breach) == (3, Breach(fault=Fault.CHANGED, entry=ids[3]))
    told = run()
    assert told.exit_code == 1
    assert told.stderr.startswith(f"Error: Entry {ids[3]} was changed")
    assert told.stderr.endswith("The 3 entries before that are right.\n")


@pytest.mark.parametrize("column", ["at", "changes"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")
def test_an_entry_that_was_made_unreadable_is_told_as_changed(
    app: Flask, ids: list[int], column: str
) -> None:
    with app.app_context(), transaction() as session:
        session.connection().exec_driver_sql(
            f"UPDATE audit_entries SET {column} = '{{' WHERE id = {ids[3]}"  # noqa: S608
        )
    assert judged(app).breach == Breach(fault=Fault.CHANGED, entry=ids[3])


@pytest.mark.parametrize("gone", [[0], [2], [2, 3], [5]])
def test_removed_entries_are_missed_by_the_one_after_them(
    app: Flask, ids: list[int], run: Run, gone: list[int]
) -> None:
    rewrite(app, delete(ENTRIES).where(ENTRIES.c.id.in_([ids[place] for place in gone])))
    after = ids[gone[-1] + 1]
    verdict = judged(app)
    assert (verdict.right, verdict.breach) == (gone[0], Breach(fault=Fault.REMOVED, entry=after))
    told = run()
    assert told.exit_code == 1
    assert told.stderr.startswith(f"Error: Before entry {after},")


def test_an_entry_that_was_replaced_with_a_right_hash_is_missed_by_the_next(
    app: Flask, ids: list[int]
) -> None:
    with app.app_context(), reading() as session:
        row = session.get_one(AuditEntry, ids[3])
        names = Facts.__dataclass_fields__
        facts = Facts(**{name: getattr(row, name) for name in names} | {"reason": "another"})
        own = hash_after(row.previous_hash, facts)
    rewrite(app, update(ENTRIES).where(ENTRIES.c.id == ids[3]).values(reason="another", hash=own))
    assert judged(app).breach == Breach(fault=Fault.REMOVED, entry=ids[4])


@pytest.mark.parametrize("last", [1, 3, 7])
def test_entries_that_are_missing_at_the_end_are_found(
    app: Flask, ids: list[int], run: Run, last: int
) -> None:
    rewrite(app, delete(ENTRIES).where(ENTRIES.c.id.in_(ids[-last:])))
    verdict = judged(app)
    assert (verdict.right, verdict.breach) == (7 - last, Breach(fault=Fault.REMOVED))
    told = run()
    assert told.exit_code == 1
    assert told.stderr.startswith("Error: Entries are missing at the end")


def test_a_lost_head_is_no_whole_chain(app: Flask, ids: list[int]) -> None:
    rewrite(app, delete(AuditHead))
    assert judged(app).breach == Breach(fault=Fault.REMOVED)


def test_two_entries_that_changed_places_are_out_of_order(
    app: Flask, ids: list[int], run: Run
) -> None:
    rewrite(app, renumber(ids[3], 10**6), renumber(ids[4], ids[3]), renumber(10**6, ids[4]))
    breach = Breach(fault=Fault.ORDER, entry=ids[3], follows=ids[4])
    assert judged(app).breach == breach
    assert "out of order: it was written after entry" in run().stderr


def test_the_first_entry_moved_to_the_end_is_out_of_order(app: Flask, ids: list[int]) -> None:
    rewrite(app, renumber(ids[0], 10**6))
    assert judged(app).breach == Breach(fault=Fault.ORDER, entry=ids[1], follows=10**6)


def test_a_forged_entry_in_between_is_found(app: Flask, ids: list[int], now: datetime) -> None:
    rewrite(app, renumber(ids[4], 10**6 + 4), renumber(ids[5], 10**6 + 5))
    rewrite(app, renumber(ids[6], 10**6 + 6))
    facts = Facts(
        at=now,
        actor_kind="user",
        actor="bert",
        action="flag.updated",
        subject="flag",
        name="beta",
        reason="",
        changes={},
        request_id=None,
    )
    with app.app_context(), reading() as session:
        newest = session.get_one(AuditEntry, 10**6 + 6).hash
    values = {name: getattr(facts, name) for name in Facts.__dataclass_fields__}
    forged = {"id": ids[4], "previous_hash": newest, "hash": hash_after(newest, facts)}
    rewrite(app, insert(ENTRIES).values(**values, **forged))
    assert judged(app).breach == Breach(fault=Fault.ORDER, entry=ids[4], follows=10**6 + 6)


def test_a_chain_that_was_written_anew_does_not_hold_the_hash_of_before(
    app: Flask, ids: list[int], run: Run, now: datetime
) -> None:
    kept = judged(app).hash
    with app.app_context(), transaction() as session:
        record(session, by=Actor("user", "a"), at=now, action="a.b", subject="a", name="b")
    assert run("--expect", kept).exit_code == 0
    assert run("--expect", GENESIS).exit_code == 0
    refused = run("--expect", "f" * 64)
    assert refused.exit_code == 1
    assert "is not in it" in refused.stderr


def test_what_is_written_while_the_chain_is_followed_is_no_breach(
    app: Flask, ids: list[int], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_meanwhile(link: Link, before: str) -> Fault | None:
        with transaction() as session:
            record(session, by=Actor("user", "a"), at=now, action="a.b", subject="a", name="b")
        return fault_of(link, before)

    monkeypatch.setattr("webapp.audit.verification.fault_of", write_meanwhile)
    verdict = judged(app)
    assert (verdict.right, verdict.breach) == (7, None)
