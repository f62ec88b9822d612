"""Sources are added once and audited; batches are written with exact counts."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.actors import COMMAND
from webapp.audit.service import history
from webapp.errors import Invalid, NotFound
from webapp.jobs.models import Job
from webapp.jobs.values import JobState
from webapp.sources import queries
from webapp.sources.ingestion import begin_run, cancel_run, finish_run, ingest_batch
from webapp.sources.models import EtlRun, Record, RejectedRecord, Source
from webapp.sources.service import create_source, find_source
from webapp.sources.values import Batch, Checkpoint, Rejection, Row, RunStatus

START = Checkpoint(0, 1, 1000, 1)
END = Checkpoint(1000, 9, 1000, 1)
OLD = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def source(session: Session, now: datetime) -> Source:
    return create_source(
        session, "fruit", location="/data/fruit.csv", key_field="k", by=COMMAND, now=now
    )


@pytest.fixture
def make_job(session: Session, now: datetime) -> Callable[..., int]:
    def _make(state: JobState = JobState.RUNNING, **columns: Any) -> int:
        job = Job(
            type="etl",
            queue="default",
            priority=50,
            state=state,
            arguments={},
            run_at=now,
            created_at=now,
            created_by="test",
            **columns,
        )
        session.add(job)
        session.flush()
        return job.id

    return _make


@pytest.fixture
def run(session: Session, source: Source, make_job: Callable[..., int], now: datetime) -> EtlRun:
    return begin_run(session, source, job_id=make_job(), at=START, now=now)


def batch(*rows: tuple[str, str], rejected: int = 0, end: Checkpoint = END) -> Batch:
    return Batch(
        ("k", "v"),
        [
            Row(2 + i, {"k": key, "v": value}, f"{key},{value}")
            for i, (key, value) in enumerate(rows)
        ],
        [Rejection.of(90 + i, "no good", "x") for i in range(rejected)],
        end,
        last=True,
    )


def counts(run: EtlRun) -> tuple[int, int, int, int, int]:
    return (run.processed, run.inserted, run.updated, run.unchanged, run.rejected)


def records(session: Session) -> dict[str, str]:
    return {row.key: row.raw["v"] for row in session.scalars(select(Record))}


@pytest.mark.parametrize("name", ["", "Fruit", "new", "-a", "a b", "a/b", "x" * 65])
def test_a_name_is_small_and_fits_into_an_address(
    session: Session, now: datetime, name: str
) -> None:
    with pytest.raises(Invalid) as caught:
        create_source(session, name, location="/a.csv", key_field="k", by=COMMAND, now=now)
    assert list(caught.value.errors) == ["name"]


def test_a_second_source_of_one_name_is_refused_and_the_first_stays(
    session: Session, source: Source, now: datetime
) -> None:
    with pytest.raises(Invalid) as caught:
        create_source(session, "fruit", location="/b.csv", key_field="k", by=COMMAND, now=now)
    assert list(caught.value.errors) == ["name"]
    assert find_source(session, "fruit").location == "/data/fruit.csv"


def test_a_source_needs_a_key_and_a_location(session: Session, now: datetime) -> None:
    for key_field, location in (("", "/a.csv"), ("k", "a.txt")):
        with pytest.raises(Invalid):
            create_source(session, "a", location=location, key_field=key_field, by=COMMAND, now=now)


def test_adding_a_source_is_in_the_audit(session: Session, source: Source) -> None:
    (entry,) = history(session, "source", "fruit")
    assert entry.action == "source.created"


def test_an_unknown_source_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound):
        find_source(session, "nothing")


def test_each_row_counts_as_new_changed_unchanged_or_rejected(
    session: Session, source: Source, run: EtlRun, now: datetime
) -> None:
    ingest_batch(session, run.id, batch(("a", "1"), ("b", "1"), rejected=1), now=now)
    assert counts(run) == (3, 2, 0, 0, 1)
    ingest_batch(session, run.id, batch(("a", "2"), ("b", "1"), ("c", "1"), ("", "x")), now=now)
    assert counts(run) == (7, 3, 1, 1, 2)
    assert records(session) == {"a": "2", "b": "1", "c": "1"}
    assert source.record_count == 3
    assert run.checkpoint == END.to_json()


def test_texts_that_mean_something_to_a_database_are_kept_as_they_are(
    session: Session, run: EtlRun, now: datetime
) -> None:
    texts = (
        "",
        "NULL",
        "null",
        "{}",
        "{a,b}",
        '"',
        "\\",
        '\\"',
        "a\nb",
        "\t",
        ",",
        "'",
        "Zoë €",
        "\\u0041",
    )
    rows = [(f"k{text or '-'}", text) for text in texts]
    ingest_batch(session, run.id, batch(*rows), now=now)
    assert records(session) == {key.strip(): text for key, text in rows}
    # They are found as they stand.
    assert counts(ingest_batch(session, run.id, batch(*rows), now=now))[3] == len(rows)


def test_of_a_key_that_stands_twice_the_last_row_wins(
    session: Session, source: Source, run: EtlRun, now: datetime
) -> None:
    ingest_batch(session, run.id, batch(("a", "1"), ("a", "2"), ("a", "2")), now=now)
    assert counts(run) == (3, 1, 1, 1, 0)
    assert records(session) == {"a": "2"}
    assert source.record_count == 1


def test_a_record_keeps_when_it_was_first_and_last_seen(
    session: Session, source: Source, run: EtlRun, make_job: Callable[..., int], now: datetime
) -> None:
    ingest_batch(session, run.id, batch(("a", "1"), ("b", "1"), ("c", "1")), now=now)
    later = now + timedelta(hours=1)
    second = begin_run(session, source, job_id=make_job(), at=START, now=later)
    ingest_batch(session, second.id, batch(("a", "1"), ("b", "2")), now=later)
    seen = {
        row.key: (row.first_seen_at, row.last_seen_at, row.run_id)
        for row in session.scalars(select(Record).execution_options(populate_existing=True))
    }
    assert seen == {
        "a": (now, later, second.id),
        "b": (now, later, second.id),
        "c": (now, now, run.id),
    }


def test_two_sources_may_have_the_same_keys(
    session: Session, run: EtlRun, make_job: Callable[..., int], now: datetime
) -> None:
    other = create_source(session, "other", location="/b.csv", key_field="k", by=COMMAND, now=now)
    ingest_batch(session, run.id, batch(("a", "1")), now=now)
    second = begin_run(session, other, job_id=make_job(), at=START, now=now)
    ingest_batch(session, second.id, batch(("a", "1")), now=now)
    assert counts(second) == (1, 1, 0, 0, 0)
    assert session.scalar(select(func.count()).select_from(Record)) == 2


def test_a_file_that_lost_its_key_column_is_refused_whole(
    session: Session, run: EtlRun, now: datetime
) -> None:
    odd = Batch(("x",), [Row(2, {"x": "1"}, "1")], [], END, last=True)
    with pytest.raises(Invalid, match="no column 'k'"):
        ingest_batch(session, run.id, odd, now=now)


def test_the_same_job_goes_on_with_its_own_run(
    session: Session, source: Source, run: EtlRun, now: datetime
) -> None:
    middle = Checkpoint(500, 4, 1000, 1)
    ingest_batch(session, run.id, batch(("a", "1"), rejected=1, end=middle), now=now)
    again = begin_run(
        session, source, job_id=run.job_id or 0, at=middle, now=now + timedelta(hours=1)
    )
    assert again.id == run.id
    assert again.started_at == now
    assert counts(again) == (2, 1, 0, 0, 1)


def test_a_run_that_starts_over_counts_from_nothing(
    session: Session, source: Source, run: EtlRun, now: datetime
) -> None:
    ingest_batch(session, run.id, batch(("a", "1"), rejected=1), now=now)
    again = begin_run(session, source, job_id=run.job_id or 0, at=START, now=now)
    assert counts(again) == (0, 0, 0, 0, 0)
    assert session.scalar(select(func.count()).select_from(RejectedRecord)) == 0
    ingest_batch(session, run.id, batch(("a", "1")), now=now)
    assert counts(again) == (1, 0, 0, 1, 0)
    assert source.record_count == 1


@pytest.mark.parametrize(
    ("good", "bad", "status"),
    [
        (0, 0, RunStatus.SUCCEEDED),
        (10, 0, RunStatus.SUCCEEDED),
        (9, 1, RunStatus.SUCCEEDED),
        (8, 1, RunStatus.FAILED),
        (0, 1, RunStatus.FAILED),
    ],
)
def test_a_run_fails_where_more_than_a_tenth_was_rejected(
    session: Session, run: EtlRun, now: datetime, good: int, bad: int, status: RunStatus
) -> None:
    rows = [(str(i), "1") for i in range(good)]
    ingest_batch(session, run.id, batch(*rows, rejected=bad), now=now)
    finish_run(session, run.id, now=now)
    assert run.status == status
    assert run.ended_at == now


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (JobState.RUNNING, RunStatus.RUNNING),
        (JobState.QUEUED, RunStatus.WAITING),
        (JobState.RETRYING, RunStatus.WAITING),
        (JobState.DEAD, RunStatus.FAILED),
        (JobState.CANCELED, RunStatus.CANCELED),
    ],
)
def test_an_unfinished_run_is_shown_where_its_job_stands(
    session: Session,
    source: Source,
    make_job: Callable[..., int],
    now: datetime,
    state: JobState,
    status: RunStatus,
) -> None:
    ended = now + timedelta(minutes=1)
    job_id = make_job(state, finished_at=ended if status.value in {"failed", "canceled"} else None)
    begin_run(session, source, job_id=job_id, at=START, now=now)
    (view,) = queries.recent_runs(session, 5)
    assert view.status == status
    assert (view.ended_at is None) == (status.value in {"running", "waiting"})
    assert queries.latest_run(session, source) == view
    assert queries.list_sources(session)[0].last_run == view


def test_a_run_whose_job_is_gone_is_not_shown_as_running(
    session: Session, source: Source, run: EtlRun
) -> None:
    job = session.get_one(Job, run.job_id)
    session.delete(job)
    session.flush()
    (view,) = queries.recent_runs(session, 5)
    assert (view.job_id, view.status) == (None, RunStatus.FAILED)


def test_a_canceled_run_is_settled(session: Session, run: EtlRun, now: datetime) -> None:
    cancel_run(session, run.id, now=now)
    (view,) = queries.recent_runs(session, 5)
    assert (view.status, view.ended_at) == (RunStatus.CANCELED, now)


def test_the_success_rate_is_of_runs_that_ended_by_themselves(
    session: Session, source: Source, make_job: Callable[..., int], now: datetime
) -> None:
    assert queries.recent_runs_and_rate(session, 2, since=OLD) == ([], None)
    for state in (JobState.DEAD, JobState.CANCELED, JobState.RUNNING):
        begin_run(session, source, job_id=make_job(state), at=START, now=now)
    for _ in range(3):
        good = begin_run(session, source, job_id=make_job(), at=START, now=now)
        finish_run(session, good.id, now=now)
    runs, rate = queries.recent_runs_and_rate(session, 2, since=OLD)
    assert (runs, rate) == (queries.recent_runs(session, 2), 75.0)
    later = now + timedelta(seconds=1)
    assert queries.recent_runs_and_rate(session, 2, since=later) == (runs, None)


def test_a_runs_speed_is_rows_by_seconds(
    session: Session, source: Source, run: EtlRun, now: datetime
) -> None:
    ingest_batch(session, run.id, batch(("a", "1"), ("b", "1")), now=now)
    (view,) = queries.recent_runs(session, 5)
    assert view.rows_per_second(now) is None
    assert view.rows_per_second(now + timedelta(seconds=1)) == 2
    assert view.share_read == 100.0
