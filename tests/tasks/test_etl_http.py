"""The ``etl`` job over HTTP: every row exactly once, whatever the other side does meanwhile."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tasks.work import run
from tests.http_server import answer
from tests.sources.site import Headers, Query, Site, as_json, feed, orders, site, with_cursor
from tests.tasks.test_etl import count, counts, last_run
from tests.tasks.workers import Context, Killed, claim, kill, lose_worker
from webapp.actors import COMMAND
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.errors import Invalid, NotFound
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.service import enqueue
from webapp.jobs.values import Deferred, JobState
from webapp.sources.definitions import draft_of
from webapp.sources.models import Record, RejectedRecord
from webapp.sources.service import change_source, create_source, find_source, remove_source
from webapp.sources.values import Options, RunStatus, SourceDraft

CURSOR = Options(items="data.items", pagination="cursor", cursor_path="meta.next")


@pytest.fixture
def name() -> str:
    """A name that no guard of this process knows yet."""
    return f"s{uuid.uuid4().hex}"


@pytest.fixture
def ingest(app: Flask) -> Iterator[Callable[[Context], Any]]:
    from tasks import etl  # noqa: PLC0415 - once the application stands

    def _ingest(context: Context) -> Any:
        return etl.ingest(context, etl.EtlArguments.model_validate(context.claim.arguments))

    with app.app_context():
        yield _ingest


def add(name: str, server: Site, kind: str = "api", options: Options | None = None) -> None:
    with transaction() as session:
        create_source(
            session,
            name,
            kind=kind,
            location=server.url + "orders",
            key_field="id",
            options=options,
            by=COMMAND,
            now=now(),
        )


def enqueue_run(name: str, batch_size: int = 1000) -> int:
    with transaction() as session:
        arguments = {"source": name, "batch_size": batch_size}
        return enqueue(session, "etl", arguments, by=COMMAND, now=now()).id


def change(name: str, **fields: Any) -> None:
    with transaction() as session:
        draft = draft_of(find_source(session, name))
        facts = {
            field: getattr(draft, field)
            for field in ("kind", "location", "key_field", "options", "mapping")
        }
        new = SourceDraft(**(facts | fields))
        change_source(session, name, new, by=COMMAND, now=now(), reason="Test")


def test_an_api_is_read_once_and_a_second_run_changes_nothing(
    ingest: Callable[[Context], Any], name: str
) -> None:
    with site(with_cursor(25, 10)) as server:
        add(name, server, options=CURSOR)
        ingest(Context(claim(enqueue_run(name))))
        assert counts(last_run()) == (25, 25, 0, 0, 0)
        assert last_run().pages == 3
        ingest(Context(claim(enqueue_run(name))))
    assert counts(last_run()) == (25, 0, 0, 25, 0)
    assert count(Record) == 25


def test_a_run_over_http_whose_worker_is_killed_again_and_again_keeps_every_row_once(
    ingest: Callable[[Context], Any], name: str
) -> None:
    with site(with_cursor(40, 10)) as server:
        add(name, server, options=CURSOR)
        job_id = enqueue_run(name, batch_size=4)
        for _ in range(3):
            with pytest.raises(Killed):
                ingest(Context(claim(job_id), after=3, happen=kill))
            lose_worker()
        ingest(Context(claim(job_id)))
    assert counts(last_run()) == (40, 40, 0, 0, 0)
    assert count(Record) == 40


def test_what_has_not_changed_is_a_success_without_rows_until_the_source_is_changed(
    ingest: Callable[[Context], Any], name: str
) -> None:
    def reply(_: str, __: Query, headers: Headers) -> bytes:
        if headers.get("if-none-match") == '"1"':
            return answer("304 Not Modified")
        return answer("200 OK", 'ETag: "1"', body=feed("a", "b"))

    with site(reply) as server:
        add(name, server, "rss")
        assert ingest(Context(claim(enqueue_run(name))))["inserted"] == 2
        again = ingest(Context(claim(enqueue_run(name))))
        assert (again["processed"], again["unchanged_since_last_run"]) == (0, True)
        assert last_run().status == RunStatus.SUCCEEDED
        change(name, mapping={"headline": "title"})
        third = ingest(Context(claim(enqueue_run(name))))
    assert (third["updated"], third["unchanged_since_last_run"]) == (2, False)
    with reading() as session:
        found = session.scalars(select(Record).order_by(Record.key)).all()
    assert [record.fields for record in found] == [
        {"headline": "About a"},
        {"headline": "About b"},
    ]
    assert found[0].raw["title"] == "About a"


def test_a_source_that_is_changed_under_a_run_is_read_anew(
    ingest: Callable[[Context], Any], name: str
) -> None:
    with site(with_cursor(20, 5)) as server:
        add(name, server, options=CURSOR)
        job_id = enqueue_run(name)
        context = Context(claim(job_id), after=2, happen=lambda: change(name, mapping={"n": "id"}))
        with pytest.raises(Deferred):
            ingest(context)
        lose_worker()
        ingest(Context(claim(job_id)))
    assert counts(last_run()) == (20, 10, 10, 0, 0)
    with reading() as session:
        assert all(set(record.fields) == {"n"} for record in session.scalars(select(Record)))


def test_a_source_that_is_removed_under_a_run_ends_it_and_leaves_nothing(
    ingest: Callable[[Context], Any], name: str
) -> None:
    def remove() -> None:
        with transaction() as session:
            remove_source(session, name, by=COMMAND, now=now(), reason="Test")

    with site(with_cursor(20, 5)) as server:
        add(name, server, options=CURSOR)
        with pytest.raises(NotFound, match="removed while it was read"):
            ingest(Context(claim(enqueue_run(name)), after=2, happen=remove))
    assert count(Record) == 0


def test_pages_that_go_round_end_the_job_in_words_and_what_was_read_stays(
    app: Flask, name: str, ingest: Callable[[Context], Any]
) -> None:
    def reply(*_: object) -> bytes:
        page = orders(range(len(server.received) * 5, len(server.received) * 5 + 5))
        return as_json({"data": {"items": page}, "meta": {"next": "same"}})

    with site(reply) as server:
        add(name, server, options=CURSOR)
        job_id = enqueue_run(name)
        assert run(app, job_id, worker="w")
    with reading() as session:
        job = session.get_one(Job, job_id)
        assert job.state == JobState.DEAD
        assert "go round in a circle" in (job.error or "")
    assert count(Record) == last_run().inserted == 5
    assert last_run().status == RunStatus.FAILED


def test_a_source_that_asks_for_patience_is_put_off_and_read_on(
    app: Flask, name: str, ingest: Callable[[Context], Any]
) -> None:
    late = [answer("429 Too Many Requests", "Retry-After: 3600")]
    pages = with_cursor(20, 10)

    def reply(path: str, query: Query, headers: Headers) -> bytes:
        return late.pop() if "cursor" in query and late else pages(path, query, headers)

    with site(reply) as server:
        add(name, server, options=CURSOR)
        job_id = enqueue_run(name)
        assert run(app, job_id, worker="w")
        with reading() as session:
            job = session.get_one(Job, job_id)
            assert job.state == JobState.RETRYING
            assert (job.run_at - now()).total_seconds() > 3000
            assert session.scalars(select(JobAttempt)).one().error_class == "rate_limited"
    assert counts(last_run()) == (10, 10, 0, 0, 0)
    assert last_run().status == RunStatus.WAITING


@pytest.mark.parametrize(("percent", "fails"), [("10", True), ("60", False)])
def test_how_many_rejected_rows_fail_a_run_is_a_setting(
    ingest: Callable[[Context], Any],
    app: Flask,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    percent: str,
    fails: bool,
) -> None:
    settings = app.extensions["settings"]
    changed = type(settings)(
        **{field: getattr(settings, field) for field in settings.__slots__}
        | {"max_rejected_percent": float(percent)}
    )
    monkeypatch.setitem(app.extensions, "settings", changed)
    items: list[Any] = [{"id": 1}, {"id": 2}, {"id": "\0"}, {"no": "key"}]
    with site(lambda *_: as_json(items)) as server:
        add(name, server)
        job_id = enqueue_run(name)
        if fails:
            with pytest.raises(Invalid, match="2 of 4 rows were rejected"):
                ingest(Context(claim(job_id)))
            # Who tries it again after the other side was mended has it read again.
            items[2:] = [{"id": 3}, {"id": 4}]
            lose_worker()
            assert ingest(Context(claim(job_id)))["processed"] == 4
        else:
            assert ingest(Context(claim(job_id)))["rejected"] == 2
            assert count(RejectedRecord) == 2
