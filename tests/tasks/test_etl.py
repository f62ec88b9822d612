"""The ``etl`` job: every row exactly once, whatever happens between two batches."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from prometheus_client import REGISTRY
from sqlalchemy import func, select

from tasks.work import run
from tests.tasks.workers import Context, Killed, claim, kill, lose_worker
from webapp.actors import COMMAND
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.errors import Invalid, Throttled
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.service import enqueue
from webapp.jobs.values import Deferred, JobCancelled, JobState, LeaseLost
from webapp.limits.registry import LimitRegistry, use_registry
from webapp.sources import queries
from webapp.sources.models import EtlRun, Record, RejectedRecord, SchemaDrift
from webapp.sources.queries import RunView
from webapp.sources.service import create_source, set_rate_limit
from webapp.sources.values import RunStatus

AIRPORTS = "package:airportsdata/airports.csv"
AIRPORT_COUNT = 28_298

Ingest = Callable[["Context"], Mapping[str, Any]]


@pytest.fixture
def ingest(app: Flask) -> Iterator[Ingest]:
    """Run the function of the job once, with its arguments checked."""
    etl = import_module("tasks.etl")

    def _ingest(context: Context) -> Mapping[str, Any]:
        arguments = etl.EtlArguments.model_validate(context.claim.arguments)
        result: Mapping[str, Any] = etl.ingest(context, arguments)
        return result

    with app.app_context():
        yield _ingest


def add_source(location: str, key_field: str, name: str = "data") -> None:
    with transaction() as session:
        create_source(session, name, location=location, key_field=key_field, by=COMMAND, now=now())


def enqueue_run(batch_size: int = 1000) -> int:
    with transaction() as session:
        arguments = {"source": "data", "batch_size": batch_size}
        return enqueue(session, "etl", arguments, by=COMMAND, now=now()).id


def last_run() -> RunView:
    with reading() as session:
        return queries.recent_runs(session, 1)[0]


def counts(run: RunView) -> tuple[int, int, int, int, int]:
    return (run.processed, run.inserted, run.updated, run.unchanged, run.rejected)


def count(model: type[Record | EtlRun | RejectedRecord]) -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def write_rows(file: Path, number: int, value: str = "v") -> str:
    file.write_text("id,value\n" + "".join(f"{i},{value}{i}\n" for i in range(number)))
    return str(file)


def test_a_worker_ingests_the_real_airports_and_a_second_run_changes_nothing(
    ingest: Ingest, app: Flask
) -> None:
    add_source(AIRPORTS, "icao")
    first = enqueue_run()
    assert run(app, first, worker="w")
    assert counts(last_run()) == (AIRPORT_COUNT, AIRPORT_COUNT, 0, 0, 0)
    assert count(Record) == AIRPORT_COUNT
    second = enqueue_run(batch_size=5000)
    assert run(app, second, worker="w")
    assert counts(last_run()) == (AIRPORT_COUNT, 0, 0, AIRPORT_COUNT, 0)
    with reading() as session:
        job = session.get_one(Job, second)
        assert job.state == JobState.SUCCEEDED
        assert job.result is not None
        assert job.result["unchanged"] == AIRPORT_COUNT
        assert job.progress_done == job.progress_total == AIRPORT_COUNT
        kjfk = session.scalars(select(Record).where(Record.key == "KJFK")).one()
        assert kjfk.raw["city"] == "New York"


def test_a_run_whose_worker_is_killed_again_and_again_keeps_every_row_exactly_once(
    ingest: Ingest,
) -> None:
    add_source(AIRPORTS, "icao")
    job_id = enqueue_run()
    for done in (7, 14, 21, 28):
        with pytest.raises(Killed):
            ingest(Context(claim(job_id), after=7, happen=kill))
        assert last_run().processed == done * 1000
        assert last_run().status == RunStatus.RUNNING
        lose_worker()
        assert last_run().status == RunStatus.WAITING
    context = Context(claim(job_id))
    result = ingest(context)
    assert context.shown == [(AIRPORT_COUNT, AIRPORT_COUNT)]
    assert result["inserted"] == result["processed"] == AIRPORT_COUNT
    assert counts(last_run()) == (AIRPORT_COUNT, AIRPORT_COUNT, 0, 0, 0)
    assert count(Record) == AIRPORT_COUNT
    assert count(EtlRun) == 1


def test_a_worker_that_was_thought_dead_writes_nothing_more(ingest: Ingest, tmp_path: Path) -> None:
    add_source(write_rows(tmp_path / "a.csv", 10), "id")
    job_id = enqueue_run(batch_size=4)

    def overtake() -> None:
        lose_worker()
        claim(job_id)

    with pytest.raises(LeaseLost):
        ingest(Context(claim(job_id), after=1, happen=overtake))
    assert counts(last_run()) == (4, 4, 0, 0, 0)
    assert count(Record) == 4


def test_two_runs_of_one_source_at_once_count_each_record_as_new_once(
    ingest: Ingest, app: Flask, tmp_path: Path
) -> None:
    add_source(write_rows(tmp_path / "a.csv", 3000), "id")
    jobs = [enqueue_run(batch_size=100), enqueue_run(batch_size=70)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        assert all(pool.map(lambda job_id: run(app, job_id, worker="w"), jobs))
    with reading() as session:
        runs = queries.recent_runs(session, 2)
        (view,) = queries.list_sources(session)
    assert [run.status for run in runs] == [RunStatus.SUCCEEDED] * 2
    assert sum(run.inserted for run in runs) == sum(run.unchanged for run in runs) == 3000
    assert view.source.record_count == count(Record) == 3000


def test_a_run_that_is_asked_to_stop_stops_after_its_batch(ingest: Ingest, tmp_path: Path) -> None:
    add_source(write_rows(tmp_path / "a.csv", 10), "id")
    context = Context(claim(enqueue_run(batch_size=4)))
    context.asked_to_stop = True
    with pytest.raises(JobCancelled):
        ingest(context)
    assert counts(last_run()) == (4, 4, 0, 0, 0)
    assert last_run().status == RunStatus.CANCELED


def test_a_file_that_changes_under_a_run_is_read_again_from_its_start(
    ingest: Ingest, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    add_source(write_rows(file, 10), "id")
    job_id = enqueue_run(batch_size=4)

    def rewrite() -> None:
        write_rows(file, 12, value="another")

    with pytest.raises(Deferred):
        ingest(Context(claim(job_id), after=1, happen=rewrite))
    assert count(Record) == 4
    lose_worker()
    ingest(Context(claim(job_id)))
    assert counts(last_run()) == (12, 8, 4, 0, 0)
    with reading() as session:
        values = session.scalars(select(Record)).all()
    assert {record.raw["value"][:7] for record in values} == {"another"}


def test_a_run_with_too_many_rejected_rows_fails_and_shows_them(
    ingest: Ingest, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id,value\n1,a\n2\n")
    add_source(str(file), "id")
    with pytest.raises(Invalid, match="1 of 2 rows were rejected"):
        ingest(Context(claim(enqueue_run())))
    assert counts(last_run()) == (2, 1, 0, 0, 1)
    assert last_run().status == RunStatus.FAILED
    assert count(RejectedRecord) == 1


@pytest.mark.parametrize(
    ("content", "error_class"),
    [(None, "misconfigured"), ("", "invalid_input"), ("other\n1\n", "invalid_input")],
)
def test_a_source_that_cannot_be_read_ends_its_job_at_once(
    ingest: Ingest, app: Flask, tmp_path: Path, content: str | None, error_class: str
) -> None:
    file = tmp_path / "a.csv"
    if content is not None:
        file.write_text(content)
    add_source(str(file), "id", name="data")
    job_id = enqueue_run()
    assert run(app, job_id, worker="w")
    with reading() as session:
        assert session.get_one(Job, job_id).state == JobState.DEAD
        attempt = session.scalars(select(JobAttempt)).one()
        assert attempt.error_class == error_class
        assert all(run.status == RunStatus.FAILED for run in queries.recent_runs(session, 5))


@pytest.mark.parametrize("size", [0, 5001])
def test_a_batch_has_one_to_five_thousand_rows(ingest: Ingest, size: int) -> None:
    with pytest.raises(Invalid):
        enqueue_run(batch_size=size)


def test_the_rate_limit_of_a_source_holds_from_its_first_call(
    ingest: Ingest, tmp_path: Path
) -> None:
    """Also where the process has not looked for it yet, and the database does not let it."""
    add_source(write_rows(tmp_path / "rows.csv", 10), "id")
    with transaction() as session:
        set_rate_limit(
            session, "data", calls=2, seconds=3600, by=COMMAND, now=now(), reason="They asked"
        )
    use_registry(LimitRegistry("sqlite:////nowhere/at/all.db"))
    try:
        # To open the file is a call, and so is each batch.
        with pytest.raises(Throttled):
            ingest(Context(claim(enqueue_run(batch_size=2))))
    finally:
        use_registry(LimitRegistry())
    assert count(Record) == 2


def drifts() -> list[tuple[str, str, str | None, str]]:
    with reading() as session:
        found = session.scalars(select(SchemaDrift).order_by(SchemaDrift.id))
        return [(item.kind, item.field, item.new_field, item.state) for item in found]


def drift_metric(kind: str) -> float:
    labels = {"source_name": "data", "kind": kind}
    return REGISTRY.get_sample_value("schema_drift_detected_total", labels) or 0.0


def write_columns(file: Path, names: str, number: int = 20) -> str:
    width = names.count(",") + 1
    rows = (",".join([f"k{n}", *(f"{n} of {c}" for c in range(1, width))]) for n in range(number))
    file.write_text("\n".join([names, *rows]) + "\n")
    return str(file)


def test_a_killed_run_tells_each_drift_once_and_follows_its_rename(
    ingest: Ingest, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    add_source(write_columns(file, "id,qty,gone"), "id")
    ingest(Context(claim(enqueue_run(batch_size=4))))
    write_columns(file, "id,quantity,fresh,more")
    job_id = enqueue_run(batch_size=4)
    before = {kind: drift_metric(kind) for kind in ("added", "removed", "renamed")}
    told = [
        ("renamed", "qty", "quantity", "applied"),
        ("removed", "gone", None, "noted"),
        ("added", "fresh", None, "noted"),
        ("added", "more", None, "noted"),
    ]
    for _ in range(3):
        with pytest.raises(Killed):
            ingest(Context(claim(job_id), after=1, happen=kill))
        assert drifts() == told
        lose_worker()
    result = ingest(Context(claim(job_id)))
    assert drifts() == told
    assert result["drift"] == {"renamed": 1, "removed": 1, "added": 2}
    counted = {kind: drift_metric(kind) - number for kind, number in before.items()}
    assert counted == result["drift"]
    with reading() as session:
        fields = [set(record.fields) for record in session.scalars(select(Record))]
    assert fields == [{"id", "qty", "fresh", "more"}] * 20


def test_a_run_without_its_key_notes_the_drift_and_says_where_it_is_decided(
    ingest: Ingest, app: Flask, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    add_source(write_columns(file, "email,v"), "email")
    ingest(Context(claim(enqueue_run())))
    file.write_text("email_address,v\nx,1\n")
    job_id = enqueue_run()
    assert run(app, job_id, worker="w")
    assert drifts()[0] == ("renamed", "email", "email_address", "held")
    with reading() as session:
        job = session.get_one(Job, job_id)
        assert job.state == JobState.DEAD
        assert job.error is not None
        assert "asks whether it goes by another name now" in job.error
        assert queries.list_sources(session)[0].held == 1


def test_two_first_runs_at_once_find_no_drift_in_each_other(
    ingest: Ingest, app: Flask, tmp_path: Path
) -> None:
    add_source(write_rows(tmp_path / "a.csv", 300), "id")
    with (tmp_path / "a.csv").open("a") as file:
        file.write("x,v\n")
    jobs = [enqueue_run(batch_size=40), enqueue_run(batch_size=70)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        assert all(pool.map(lambda job_id: run(app, job_id, worker="w"), jobs))
    assert drifts() == []
