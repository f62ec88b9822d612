"""The ``report_generation`` job: a file for each kind and format, once, and who is told."""

import csv
import json
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from tasks.work import run
from tests.conftest import SECRET, clear_tables
from webapp.actors import COMMAND, SYSTEM
from webapp.breakers.models import CircuitBreakerEvent
from webapp.channels.service import create_channel, remove_channel
from webapp.channels.values import ChannelDraft
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.dead_letters.service import write
from webapp.dead_letters.values import Cause, Reason
from webapp.files import write_whole
from webapp.flags.service import create_flag
from webapp.flags.values import FlagDraft
from webapp.jobs import service
from webapp.jobs.models import Job, JobLogLine, JobMetric
from webapp.jobs.values import JobState
from webapp.reports.models import Report
from webapp.reports.queries import record_rows
from webapp.reports.service import begin_report, find_file, remove_report, request_report
from webapp.reports.values import JOB_TYPE, ReportDraft
from webapp.sources.models import EtlRun, Record
from webapp.sources.service import create_source
from webapp.sources.values import RunStatus

CAUSE = Cause(
    reason=Reason.NOT_RETRYABLE,
    error_class="bug",
    exception_type="TypeError",
    message="no",
    traceback="Traceback",
)


@pytest.fixture(autouse=True)
def figures(app: Flask) -> Iterator[None]:
    """Yesterday's job figures, a letter, an opening, a flag; long ago the same once more."""
    with app.app_context():
        with transaction() as session:
            for days, runs in ((1, 10), (50, 1000)):
                hour = now().replace(minute=0, second=0, microsecond=0) - timedelta(days=days)
                session.add(
                    JobMetric(
                        type="etl",
                        seconds=3600,
                        at=hour,
                        runs=runs,
                        succeeded=runs - 4,
                        failed=3,
                        retried=2,
                        dead=1,
                        deferred=0,
                        lost=1,
                        canceled=0,
                        run_buckets=[],
                        wait_buckets=[],
                    )
                )
                session.add(
                    CircuitBreakerEvent(
                        name="mail",
                        at=hour,
                        old_state="closed",
                        new_state="open",
                        actor="switchyard",
                    )
                )
            job = Job(
                type="test_echo",
                queue="default",
                priority=50,
                state=JobState.DEAD,
                arguments={},
                run_at=now(),
                created_at=now(),
                finished_at=now(),
                created_by="tests",
            )
            session.add(job)
            session.flush()
            write(session, job.id, CAUSE, now=now())
            create_flag(session, FlagDraft(name="shop"), by=COMMAND, now=now(), reason="New")
        yield


def make_source(*rows: dict[str, str]) -> None:
    with transaction() as session:
        source = create_source(
            session, "airports", location="/srv/a.csv", key_field="id", by=COMMAND, now=now()
        )
        source.record_count = len(rows)
        run_row = EtlRun(
            source_id=source.id,
            started_at=now(),
            ended_at=now(),
            status=RunStatus.SUCCEEDED,
            processed=len(rows),
            inserted=len(rows),
            checkpoint={"offset": 0, "line": 1, "size": 1, "modified": 1},
        )
        session.add(run_row)
        session.flush()
        for row in rows:
            session.add(
                Record(
                    source_id=source.id,
                    key=row["id"],
                    content_hash="0" * 32,
                    raw=row,
                    first_seen_at=now(),
                    last_seen_at=now(),
                    run_id=run_row.id,
                )
            )


def folder(app: Flask) -> Path:
    path: Path = app.extensions["settings"].reports_dir
    return path


def make(app: Flask, **fields: Any) -> tuple[Job, Path]:
    with transaction() as session:
        report = request_report(session, ReportDraft(**fields), by=COMMAND, now=now())
        job_id, report_id = report.job_id, report.id
    assert job_id is not None
    job = attempt(app, job_id)
    assert job.state == JobState.SUCCEEDED, job.error
    with reading() as session:
        return job, find_file(session, report_id, folder=folder(app))[1]


def attempt(app: Flask, job_id: int) -> Job:
    assert run(app, job_id, worker="w", early=True)
    with reading() as session:
        return service.find_job(session, job_id)


def test_operations_as_json_have_the_figures_of_these_days_only(app: Flask) -> None:
    job, path = make(app, format="json", days=7)
    facts = json.loads(path.read_text())
    assert facts["total"] == {
        "runs": 10,
        "succeeded": 6,
        "failed": 4,
        "retried": 2,
        "dead": 1,
        "success_rate": 60.0,
    }
    assert [(item["exception_type"], item["count"]) for item in facts["dead_letters"]] == [
        ("TypeError", 1)
    ]
    assert facts["breaker_openings"] == [{"breaker": "mail", "count": 1}]
    assert facts["flag_changes"] == [{"flag": "shop", "action": "flag.created", "count": 1}]
    assert facts["written_at"].endswith("Z")
    assert job.result == {
        "written": True,
        "report": int(path.stem.removeprefix("report-")),
        "bytes": path.stat().st_size,
    }


def test_more_days_have_more(app: Flask) -> None:
    _, path = make(app, format="json", days=60)
    assert json.loads(path.read_text())["total"]["runs"] == 1010


def test_operations_as_csv_have_a_line_for_each_day_and_type(app: Flask) -> None:
    _, path = make(app, format="csv", days=7)
    head, line = csv.reader(StringIO(path.read_text()))
    assert dict(zip(head, line, strict=True))["success_rate"] == "60.00"


def test_operations_as_html_show_them(app: Flask) -> None:
    _, path = make(app)
    html = path.read_text()
    assert all(word in html for word in ("<svg", "60.0 %", "TypeError", "mail", "shop"))


def test_a_source_as_csv_is_all_of_its_records_harmless_in_a_spreadsheet(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.reports.queries.RECORDS_AT_ONCE", 2)
    rows = [{"id": f"{number:02}", "name": f"=1+{number}"} for number in range(5)]
    make_source(*rows)
    _, path = make(app, kind="source", source="airports", format="csv")
    found = list(csv.reader(StringIO(path.read_text())))
    assert found == [["id", "name"], *([row["id"], "'" + row["name"]] for row in rows)]


def test_a_source_as_csv_has_the_columns_of_every_record(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.reports.queries.RECORDS_AT_ONCE", 2)
    make_source({"id": "1"}, {"id": "2"}, {"id": "3", "late": "x"}, {"later": "y", "id": "4"})
    _, path = make(app, kind="source", source="airports", format="csv")
    assert list(csv.reader(StringIO(path.read_text()))) == [
        ["id", "late", "later"],
        ["1", "", ""],
        ["2", "", ""],
        ["3", "x", ""],
        ["4", "", "y"],
    ]


def test_records_with_more_fields_than_a_spreadsheet_has_are_a_dead_letter_that_says_so(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.reports.MOST_COLUMNS", 2)
    make_source({"id": "1", "a": ""}, {"id": "2", "b": ""})
    with transaction() as session:
        draft = ReportDraft(kind="source", source="airports", format="csv")
        job_id = request_report(session, draft, by=COMMAND, now=now()).job_id
    assert job_id is not None
    job = attempt(app, job_id)
    assert (job.state, job.error) == (
        JobState.DEAD,
        "Invalid: The records have more than 2 fields between them.",
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 40), max_size=12),
    rows=st.integers(1, 5),
    size=st.integers(1, 100),
)
def test_every_record_is_read_once_in_batches_within_both_bounds(
    app: Flask, sizes: list[int], rows: int, size: int
) -> None:
    clear_tables()
    make_source(*({"id": f"{number:02}", "x": "y" * width} for number, width in enumerate(sizes)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("webapp.reports.queries.RECORDS_AT_ONCE", rows)
        patch.setattr("webapp.reports.queries.BYTES_AT_ONCE", size)
        with reading() as session:
            batches = list(record_rows(session, "airports"))
    assert [int(record["id"]) for batch in batches for record in batch] == list(range(len(sizes)))
    for batch in batches:
        assert 1 <= len(batch) <= rows
        # Those before the last one leave room for it.
        assert sum(len(json.dumps(record)) for record in batch[:-1]) < size


def test_a_report_is_of_one_moment_however_long_it_takes(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.reports.queries.RECORDS_AT_ONCE", 1)
    make_source({"id": "1"}, {"id": "2"})
    written, untouched = write_whole, True

    def with_a_run_meanwhile(path: Path, pieces: Iterator[bytes]) -> int:
        def passing() -> Iterator[bytes]:
            nonlocal untouched
            for piece in pieces:
                yield piece
                if untouched:
                    untouched = False
                    change_records()

        return written(path, passing())

    monkeypatch.setattr("tasks.reports.write_whole", with_a_run_meanwhile)
    _, path = make(app, kind="source", source="airports", format="csv")
    assert not untouched
    assert list(csv.reader(StringIO(path.read_text()))) == [["id"], ["1"], ["2"]]


def change_records() -> None:
    """Read the source anew: one record has another field, and one is new."""
    with transaction() as session:
        first, second = session.scalars(select(Record).order_by(Record.key))
        second.raw = {"id": "2", "colour": "red"}
        session.add(
            Record(
                source_id=first.source_id,
                key="3",
                content_hash="0" * 32,
                raw={"id": "3"},
                first_seen_at=now(),
                last_seen_at=now(),
                run_id=first.run_id,
            )
        )


@pytest.mark.parametrize("form", ["html", "json", "csv"])
def test_a_source_that_was_never_read_has_a_report_too(app: Flask, form: str) -> None:
    make_source()
    _, path = make(app, kind="source", source="airports", format=form)
    assert path.exists()


def test_a_source_as_html_and_json_has_runs_and_first_records(app: Flask) -> None:
    make_source({"id": "1", "name": "<b>ü\ud800"})
    _, html = make(app, kind="source", source="airports")
    assert "&lt;b&gt;ü" in html.read_text()
    _, facts = make(app, kind="source", source="airports", format="json")
    found = json.loads(facts.read_text())
    assert found["source"] == {"name": "airports", "kind": "csv", "records": 1}
    assert [item["processed"] for item in found["runs"]] == [1]
    assert found["sample"] == [{"id": "1", "name": "<b>ü\ud800"}]


def test_a_job_that_nobody_asked_for_on_the_page_makes_its_report_once(app: Flask) -> None:
    with transaction() as session:
        job_id = service.enqueue(session, JOB_TYPE, {"format": "csv"}, by=SYSTEM, now=now()).id
        begin_report(session, ReportDraft(format="csv"), job_id=job_id, by="x", now=now())
    assert attempt(app, job_id).state == JobState.SUCCEEDED
    with reading() as session:
        (report,) = session.scalars(select(Report)).all()
    assert (report.job_id, report.size) == (job_id, folder_size(app, report.id))


def folder_size(app: Flask, report_id: int) -> int:
    return (folder(app) / f"report-{report_id}.csv").stat().st_size


def test_channels_are_told_once_by_a_job_each(app: Flask) -> None:
    make_channel("a")
    make_channel("b")
    job, _ = make(app, channels=("a", "b"))
    with reading() as session:
        told = session.scalars(select(Job).where(Job.type == "notification")).all()
    assert sorted(item.arguments["channel"] for item in told) == ["a", "b"]
    assert job.result is not None
    assert str(job.result["report"]) in told[0].arguments["title"]


def make_channel(name: str) -> None:
    with transaction() as session:
        create_channel(
            session,
            ChannelDraft(name=name, url="json://hooks.example.com"),
            secret_key=SECRET,
            by=COMMAND,
            now=now(),
            reason="Needed",
        )


def test_a_channel_that_was_removed_takes_no_report_with_it(app: Flask) -> None:
    make_channel("a")
    make_channel("b")
    with transaction() as session:
        draft = ReportDraft(channels=("a", "b"))
        report = request_report(session, draft, by=COMMAND, now=now())
        report_id, job_id = report.id, report.job_id
        remove_channel(session, "a", by=COMMAND, now=now(), reason="Gone")
    assert job_id is not None
    job = attempt(app, job_id)
    assert job.state == JobState.SUCCEEDED, job.error
    with reading() as session:
        assert find_file(session, report_id, folder=folder(app))[1].is_file()
        told = session.scalars(select(Job).where(Job.type == "notification")).all()
        assert [item.arguments["channel"] for item in told] == ["b"]
        lines = session.scalars(select(JobLogLine).where(JobLogLine.job_id == job_id)).all()
        assert [(line.event, line.facts) for line in lines] == [
            ("channel_is_gone", {"channel": "a"})
        ]


def test_a_report_that_a_schedule_asks_for_is_written_without_its_channel(app: Flask) -> None:
    with transaction() as session:
        arguments = {"format": "csv", "channels": ["gone"]}
        job_id = service.enqueue(session, JOB_TYPE, arguments, by=SYSTEM, now=now()).id
    assert attempt(app, job_id).state == JobState.SUCCEEDED


def test_a_report_that_was_deleted_while_it_waits_leaves_no_file(app: Flask) -> None:
    with transaction() as session:
        report = request_report(session, ReportDraft(), by=COMMAND, now=now())
        report_id, job_id = report.id, report.job_id
    with transaction() as session:
        remove_report(
            session, report_id, folder=folder(app), by=COMMAND, now=now(), reason="Not needed"
        )
    assert job_id is not None
    with reading() as session:
        assert service.find_job(session, job_id).state == JobState.CANCELED
        assert session.scalars(select(Report)).all() == []
    assert not (folder(app) / f"report-{report_id}.html").exists()


def test_a_report_that_was_deleted_while_it_was_written_leaves_no_file(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction() as session:
        report = request_report(session, ReportDraft(), by=COMMAND, now=now())
        report_id, job_id = report.id, report.job_id
    written = write_whole

    def deleted_meanwhile(path: Path, pieces: Iterator[bytes]) -> int:
        size = written(path, pieces)
        with transaction() as session:
            session.execute(delete(Report))
        return size

    monkeypatch.setattr("tasks.reports.write_whole", deleted_meanwhile)
    assert job_id is not None
    job = attempt(app, job_id)
    assert job.result is not None
    assert job.result["written"] is False
    assert not (folder(app) / f"report-{report_id}.html").exists()


def test_a_run_that_is_canceled_leaves_nothing(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.runner.RunningJob.cancelled", lambda self: True)
    with transaction() as session:
        report = request_report(session, ReportDraft(), by=COMMAND, now=now())
        report_id, job_id = report.id, report.job_id
    assert job_id is not None
    assert attempt(app, job_id).state == JobState.CANCELED
    assert [path for path in folder(app).iterdir() if f"report-{report_id}." in path.name] == []


def test_a_source_that_went_away_is_a_dead_letter_with_the_reason(app: Flask) -> None:
    with transaction() as session:
        arguments = {"kind": "source", "source": "gone"}
        job_id = service.enqueue(session, JOB_TYPE, arguments, by=SYSTEM, now=now()).id
    job = attempt(app, job_id)
    assert job.state == JobState.DEAD
    assert "There is no source 'gone'" in (job.error or "")
