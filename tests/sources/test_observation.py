"""What a source's runs note of its fields, and what people decide of it."""

from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.actors import COMMAND
from webapp.audit.service import history
from webapp.errors import Conflict, Invalid, NotFound
from webapp.jobs.models import Job
from webapp.paging import Cursor
from webapp.sources.definitions import draft_of
from webapp.sources.drift_queries import drifts_of, fields_of, held_renames, shown_drifts
from webapp.sources.ingestion import begin_run, finish_run, ingest_batch, note_fields
from webapp.sources.mapping import KeyFieldMissing
from webapp.sources.models import EtlRun, Record, SchemaDrift, Source
from webapp.sources.renaming import accept_rename, reject_rename
from webapp.sources.service import change_source, create_source, remove_source
from webapp.sources.values import Batch, Checkpoint, Row

Read = Callable[..., EtlRun]
VALUES = [f"value {number}" for number in range(30)]
OTHERS = [f"other {number}" for number in range(30)]


@pytest.fixture
def source(session: Session, now: datetime) -> Source:
    return create_source(session, "fruit", location="/f.csv", key_field="k", by=COMMAND, now=now)


@pytest.fixture
def read(session: Session, source: Source, now: datetime) -> Read:
    """Run the source once over these columns, in batches of so many rows."""

    def _read(size: int = 1000, *, finish: bool = True, **columns: list[str]) -> EtlRun:
        job = Job(
            type="etl",
            queue="default",
            priority=50,
            state="running",
            arguments={},
            run_at=now,
            created_at=now,
            created_by="test",
        )
        session.add(job)
        session.flush()
        place = Checkpoint(size=1000, definition=source.version)
        run = begin_run(session, source, job_id=job.id, at=place, now=now)
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        for start in range(0, len(rows), size):
            part = [Row(1, fields, "") for fields in rows[start : start + size]]
            last = start + size >= len(rows)
            batch = Batch(list(columns), part, [], place, last=last)
            ingest_batch(session, run.id, batch, now=now)
        return finish_run(session, run.id, now=now) if finish else run

    return _read


def keys(count: int = 30) -> list[str]:
    return [f"key {number}" for number in range(count)]


def told(session: Session) -> list[tuple[str, str, str | None, str]]:
    found = session.scalars(select(SchemaDrift).order_by(SchemaDrift.id))
    return [(row.kind, row.field, row.new_field, row.state) for row in found]


def record(session: Session, key: str = "key 0") -> Record:
    wanted = select(Record).where(Record.key == key)
    return session.scalars(wanted.execution_options(populate_existing=True)).one()


def the_held(session: Session) -> SchemaDrift:
    return session.scalars(select(SchemaDrift).where(SchemaDrift.state == "held")).one()


def test_what_the_first_run_finds_is_no_drift(session: Session, source: Source, read: Read) -> None:
    run = read(10, k=keys(), v=VALUES)
    assert told(session) == []
    assert run.drift == {}
    assert run.profile is None
    fields = {item.name: (item.type, item.share, item.is_key) for item in fields_of(source)}
    assert fields == {"k": ("text", 1.0, True), "v": ("text", 1.0, False)}


def test_each_drift_is_told_once_and_counted_by_its_run(session: Session, read: Read) -> None:
    read(k=keys(), v=["1"] * 30, gone=VALUES)
    run = read(10, k=keys(), v=["x"] * 30, fresh=OTHERS)
    expected = [
        ("removed", "gone", None, "noted"),
        ("added", "fresh", None, "noted"),
        ("retyped", "v", None, "noted"),
    ]
    assert told(session) == expected
    assert run.drift == {"removed": 1, "added": 1, "retyped": 1}
    again = read(10, k=keys(), v=["x"] * 30, fresh=OTHERS)
    assert told(session) == expected
    assert again.drift == {}


def test_a_type_that_only_a_later_batch_shows_is_told_at_the_end(
    session: Session, read: Read
) -> None:
    read(k=keys(), v=["1"] * 30)
    run = read(10, finish=False, k=keys(), v=[*["1"] * 29, "x"])
    assert told(session) == []
    finish_run(session, run.id, now=run.started_at)
    assert told(session) == [("retyped", "v", None, "noted")]


def test_a_sure_rename_is_followed_from_the_first_row(
    session: Session, source: Source, read: Read
) -> None:
    read(k=keys(), qty=VALUES)
    run = read(1, k=keys(), quantity=VALUES)
    assert told(session) == [("renamed", "qty", "quantity", "applied")]
    assert run.drift == {"renamed": 1}
    assert source.renames == {"qty": "quantity"}
    assert record(session).fields == {"k": "key 0", "qty": "value 0"}
    assert record(session).raw == {"k": "key 0", "quantity": "value 0"}
    assert [item.first_name for item in fields_of(source)] == [None, "qty"]


def test_a_mapping_finds_a_renamed_field(
    session: Session, source: Source, read: Read, now: datetime
) -> None:
    draft = draft_of(source)
    draft = type(draft)(
        kind=draft.kind, location=draft.location, key_field="k", mapping={"amount": "qty"}
    )
    change_source(session, "fruit", draft, by=COMMAND, now=now, reason="Shorter")
    read(k=keys(), qty=VALUES)
    read(k=keys(), quantity=VALUES)
    assert record(session).mapped == {"amount": "value 0"}
    assert [item.mapped_to for item in fields_of(source)] == [[], ["amount"]]


def test_the_key_is_found_under_its_new_name(session: Session, source: Source, read: Read) -> None:
    change = {"key_field": "cust_id"}
    source.key_field = change["key_field"]
    read(cust_id=keys(), v=VALUES)
    run = read(customer_id=keys(), v=VALUES)
    assert told(session) == [("renamed", "cust_id", "customer_id", "applied")]
    assert (run.inserted, run.updated, run.rejected) == (0, 30, 0)
    again = read(customer_id=keys(), v=VALUES)
    assert (again.inserted, again.updated, again.unchanged) == (0, 0, 30)


def test_a_name_that_is_back_ends_its_rename(session: Session, source: Source, read: Read) -> None:
    read(k=keys(), qty=VALUES)
    read(k=keys(), quantity=VALUES)
    read(k=keys(), qty=VALUES)
    assert source.renames == {}
    assert record(session).mapped is None
    assert [state for *_, state in told(session)] == ["applied", "applied"]


def test_a_doubtful_rename_waits_and_the_run_goes_on(
    session: Session, source: Source, read: Read
) -> None:
    read(k=keys(), email=VALUES)
    run = read(k=keys(), email_address=OTHERS)
    assert told(session) == [("renamed", "email", "email_address", "held")]
    assert (run.updated, source.renames) == (30, {})
    assert record(session).fields == {"k": "key 0", "email_address": "other 0"}
    assert session.scalar(select(held_renames())) == 1
    assert session.scalar(select(held_renames()).select_from(Source)) == 1
    read(k=keys(), email_address=OTHERS)
    assert len(told(session)) == 1


def test_an_accepted_rename_reaches_rows_that_did_not_change(
    session: Session, source: Source, read: Read, now: datetime
) -> None:
    read(k=keys(), email=VALUES)
    read(k=keys(), email_address=OTHERS)
    source.validators = {"etag": "x"}
    version = source.version
    drift = accept_rename(
        session, "fruit", the_held(session).id, by=COMMAND, now=now, reason="They said so"
    )
    assert (drift.state, drift.decided_at, drift.decided_by, drift.reason) == (
        "accepted",
        now,
        "command line",
        "They said so",
    )
    assert source.version == version + 1
    assert not source.validators
    run = read(k=keys(), email_address=OTHERS)
    assert run.updated == 30
    assert record(session).fields == {"k": "key 0", "email": "other 0"}
    assert read(k=keys(), email_address=OTHERS).unchanged == 30
    entry = history(session, "source", "fruit")[0]
    assert (entry.action, entry.reason) == ("source.rename_accepted", "They said so")


def test_a_rejected_pair_is_not_proposed_again(
    session: Session, source: Source, read: Read, now: datetime
) -> None:
    read(k=keys(), email=VALUES)
    read(k=keys(), email_address=OTHERS)
    reject_rename(session, "fruit", the_held(session).id, by=COMMAND, now=now, reason="No")
    assert source.renames == {}
    read(k=keys(), email=VALUES)
    read(k=keys(), email_address=OTHERS)
    # Nor the other way round: they are two things.
    assert told(session)[1:] == [
        ("removed", "email_address", None, "noted"),
        ("added", "email", None, "noted"),
        ("removed", "email", None, "noted"),
        ("added", "email_address", None, "noted"),
    ]


def test_a_rename_that_was_followed_can_be_rejected(
    session: Session, source: Source, read: Read, now: datetime
) -> None:
    read(k=keys(), qty=VALUES)
    read(k=keys(), quantity=VALUES)
    (drift,) = session.scalars(select(SchemaDrift))
    reject_rename(session, "fruit", drift.id, by=COMMAND, now=now, reason="Two things")
    assert source.renames == {}
    assert read(k=keys(), quantity=VALUES).updated == 30
    assert record(session).fields == {"k": "key 0", "quantity": "value 0"}
    assert [state for *_, state in told(session)] == ["rejected"]


def test_a_decision_is_made_once(session: Session, read: Read, now: datetime) -> None:
    read(k=keys(), email=VALUES)
    read(k=keys(), email_address=OTHERS)
    held = the_held(session).id
    reject_rename(session, "fruit", held, by=COMMAND, now=now, reason="No")
    for decide in (accept_rename, reject_rename):
        with pytest.raises(Conflict, match="is rejected already"):
            decide(session, "fruit", held, by=COMMAND, now=now, reason="Yes")


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_a_decision_says_why(session: Session, read: Read, now: datetime, reason: str) -> None:
    read(k=keys(), email=VALUES)
    read(k=keys(), email_address=OTHERS)
    for decide in (accept_rename, reject_rename):
        with pytest.raises(Invalid) as caught:
            decide(session, "fruit", the_held(session).id, by=COMMAND, now=now, reason=reason)
        assert list(caught.value.errors) == ["reason"]


def test_only_a_rename_of_the_source_itself_is_decided(
    session: Session, read: Read, now: datetime
) -> None:
    read(k=keys(), gone=VALUES)
    read(k=keys())
    create_source(session, "other", location="/o.csv", key_field="k", by=COMMAND, now=now)
    (drift,) = session.scalars(select(SchemaDrift))
    for name, number in (("fruit", drift.id), ("fruit", 999), ("other", drift.id), ("none", 1)):
        with pytest.raises(NotFound):
            accept_rename(session, name, number, by=COMMAND, now=now, reason="Why not")


def test_a_field_that_is_gone_again_is_not_accepted(
    session: Session, read: Read, now: datetime
) -> None:
    read(k=keys(), email=VALUES)
    read(k=keys(), email_address=OTHERS)
    read(k=keys(), other=["1"] * 30)
    with pytest.raises(Conflict, match="no field 'email_address' any more"):
        accept_rename(session, "fruit", the_held(session).id, by=COMMAND, now=now, reason="Yes")


def test_nobody_is_asked_about_a_field_that_is_back(session: Session, read: Read) -> None:
    read(k=keys(), email=VALUES)
    read(k=keys(), email_address=OTHERS)
    read(k=keys(), email=VALUES, email_address=OTHERS)
    assert told(session) == [
        ("renamed", "email", "email_address", "withdrawn"),
        ("added", "email", None, "noted"),
    ]


def test_a_lost_key_is_noted_and_its_new_name_asked_for(
    session: Session, source: Source, read: Read, now: datetime
) -> None:
    source.key_field = "email"
    read(email=VALUES, v=VALUES)
    run = read(finish=False, email=[], v=[])
    rows = [Row(1, {"email_address": OTHERS[0], "v": "x"}, "")]
    end = Checkpoint(size=1000, definition=source.version)
    batch = Batch(["email_address", "v"], rows, [], end, last=True)
    savepoint = session.begin_nested()
    with pytest.raises(KeyFieldMissing):
        ingest_batch(session, run.id, batch, now=now)
    savepoint.rollback()
    assert note_fields(session, run.id, batch, now=now)
    assert told(session) == [("renamed", "email", "email_address", "held")]
    accept_rename(session, "fruit", the_held(session).id, by=COMMAND, now=now, reason="Yes")
    assert read(email_address=VALUES, v=VALUES).updated == 30


def test_a_run_that_starts_over_tells_nothing_twice(
    session: Session, source: Source, read: Read, now: datetime
) -> None:
    read(k=keys(), gone=VALUES)
    run = read(10, finish=False, k=keys())
    place = Checkpoint(size=1000, definition=source.version)
    begin_run(session, source, job_id=run.job_id or 0, at=place, now=now)
    batch = Batch(["k"], [Row(1, {"k": "key 0"}, "")], [], place, last=True)
    ingest_batch(session, run.id, batch, now=now)
    finish_run(session, run.id, now=now)
    assert told(session) == [("removed", "gone", None, "noted")]
    assert run.drift == {"removed": 1}


def test_what_waits_stands_before_what_is_newer(
    session: Session, source: Source, read: Read
) -> None:
    read(k=keys(), email=VALUES)
    read(k=keys(), email_address=OTHERS)
    read(k=keys(), email_address=OTHERS, newest=["1"] * 30)
    kinds = [drift.kind for drift in shown_drifts(session, source)]
    assert kinds == ["renamed", "added"]
    page = drifts_of(session, source, Cursor(), size=1)
    assert ([drift.kind for drift in page.rows], page.total) == (["added"], 2)
    held = drifts_of(session, source, Cursor(), state="held", size=9)
    assert [drift.field for drift in held.rows] == ["email"]


def test_the_drifts_of_a_source_go_with_it(session: Session, read: Read, now: datetime) -> None:
    read(k=keys(), gone=VALUES)
    read(k=keys())
    remove_source(session, "fruit", by=COMMAND, now=now, reason="Rotten")
    assert told(session) == []
