"""The pages of sources, with and without htmx, by role."""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, func, select, update

from tests.conftest import ConsoleClient
from webapp.actors import COMMAND
from webapp.db import db, transaction
from webapp.jobs.models import Job
from webapp.sources import edit_pages
from webapp.sources.ingestion import begin_run, finish_run, ingest_batch
from webapp.sources.locations import find_file
from webapp.sources.models import Source
from webapp.sources.previews import Preview, preview
from webapp.sources.readers import read_batch, start_of
from webapp.sources.service import create_source
from webapp.sources.values import SourceDraft

AIRPORTS = "package:airportsdata/airports.csv"


@pytest.fixture
def airports(app: Flask, now: datetime) -> None:
    """The airports, with one run that read a thousand of them."""
    with app.app_context(), transaction() as session:
        source = create_source(
            session, "airports", location=AIRPORTS, key_field="icao", by=COMMAND, now=now
        )
        job = Job(
            type="etl",
            queue="default",
            priority=50,
            state="succeeded",
            arguments={},
            run_at=now,
            created_at=now,
            created_by="test",
        )
        session.add(job)
        session.flush()
        file = find_file(AIRPORTS)
        run = begin_run(session, source, job_id=job.id, at=start_of(file), now=now)
        ingest_batch(session, run.id, read_batch(file, start_of(file), 1000), now=now)
        finish_run(session, run.id, now=now)


@pytest.fixture
def statements(app: Flask) -> Iterator[list[str]]:
    """Every statement that the application sends."""
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        sent.append(statement)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


def test_an_empty_list_says_what_to_do(admin: FlaskClient) -> None:
    assert "Add a source" in admin.get("/sources").text


def test_only_an_admin_is_offered_to_add_a_source(viewer: FlaskClient) -> None:
    assert "/sources/new" not in viewer.get("/sources").text
    assert viewer.get("/sources/new").status_code == 403
    assert viewer.post("/sources").status_code == 403


def test_the_list_shows_each_source_with_its_last_run(airports: None, viewer: FlaskClient) -> None:
    page = viewer.get("/sources").text
    assert "<html" in page
    assert "airports" in page
    assert "1,000" in page
    assert "Succeeded" in page


def test_a_polled_part_comes_alone_and_only_when_it_changed(airports: None, viewer: Any) -> None:
    for url, target in (
        ("/sources", "sources-table"),
        ("/sources/airports", "sources-activity"),
    ):
        part = viewer.htmx(url, target)
        assert f'<section id="{target}"' in part.text[:300]
        assert "csrf_token" not in part.text
        again = viewer.htmx(url, target, headers={"If-None-Match": part.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")


def test_the_search_narrows_the_list(airports: None, viewer: FlaskClient) -> None:
    assert "/sources/airports" in viewer.get("/sources?q=AIR".lower()).text
    page = viewer.get("/sources?q=%25").text
    assert "/sources/airports" not in page
    assert "No source matches" in page


def test_a_source_shows_its_runs_and_first_records(airports: None, viewer: FlaskClient) -> None:
    page = viewer.get("/sources/airports").text
    assert "Aero B Ranch Airport" in page
    assert "1,000" in page
    assert "Run now" not in page


def test_an_unknown_source_is_not_found(viewer: FlaskClient) -> None:
    assert viewer.get("/sources/nothing").status_code == 404


@pytest.mark.parametrize("url", ["/sources", "/sources/airports"])
def test_a_page_costs_at_most_twelve_statements(
    airports: None, viewer: FlaskClient, statements: list[str], url: str
) -> None:
    assert viewer.get(url).status_code == 200
    assert 0 < len(statements) <= 12


def test_an_operator_runs_a_source_once_at_a_time(
    airports: None, operator: Any, app: Flask
) -> None:
    first = operator.post("/sources/airports/runs", follow_redirects=True)
    assert "reads airports" in first.text
    second = operator.htmx("/sources/airports/runs", method="POST")
    assert second.status_code == 204
    assert "is reading airports already" in second.headers["HX-Trigger"]
    with app.app_context():
        waiting = select(func.count()).select_from(Job).where(Job.state == "queued")
        assert db.session.scalar(waiting) == 1


def test_a_viewer_runs_nothing(airports: None, viewer: FlaskClient) -> None:
    assert viewer.post("/sources/airports/runs").status_code == 403


def test_a_look_into_a_file_shows_its_first_rows_and_a_likely_key(admin: Any) -> None:
    data = {"kind": "csv", "location": AIRPORTS, "mapping": "town = city"}
    page = admin.post("/sources/preview", data=data).text
    assert "<html" in page
    assert "Aero B Ranch Airport" in page
    part = admin.htmx("/sources/preview", "sources-form", "POST", data=data).text
    assert part.lstrip().startswith('<section id="sources-form"')
    assert '<option value="icao" selected>' in part
    assert "town = city" in part


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("/nowhere/a.csv", "cannot be read: No such file or directory"),
        ("/etc/passwd", "ends in .csv"),
        ("a.csv", "absolute path"),
        ("http://127.0.0.1/a.csv", "no place to call: loopback address"),
        ("https://example.com/a.csv?api_key=1", "no secret may stand in it"),
    ],
)
def test_a_location_that_does_not_do_is_told_why(admin: Any, location: str, words: str) -> None:
    for answer in (
        admin.post("/sources/preview", data={"location": location}),
        admin.htmx("/sources/preview", "sources-form", "POST", data={"location": location}),
    ):
        assert answer.status_code == 200
        assert words in answer.text
        assert "What it holds" not in answer.text


def test_a_look_may_send_a_secret_so_that_no_link_asks_for_one(admin: ConsoleClient) -> None:
    assert admin.get("/sources/preview").status_code in {404, 405}
    admin.csrf = False
    assert admin.post("/sources/preview", data={"location": AIRPORTS}).status_code == 400


@pytest.mark.parametrize("path", ["/sources/preview", "/sources/airports/preview"])
def test_whoever_looks_holds_nobody_up(
    airports: None, admin: ConsoleClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A place may take its time to answer, and workers write meanwhile."""

    def look(draft: SourceDraft) -> Preview:
        with transaction() as session:
            session.execute(update(Source).values(record_count=7))
        return preview(draft)

    monkeypatch.setattr(edit_pages, "preview", look)
    data = {"kind": "csv", "location": AIRPORTS}
    assert "Aero B Ranch Airport" in admin.post(path, data=data).text


def test_text_from_a_file_is_text_on_the_page(admin: FlaskClient, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id,<b>name</b>\n1,<script>alert(1)</script>\n")
    page = admin.post("/sources/preview", data={"location": str(file)}).text
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "<b>name" not in page


def test_an_admin_adds_a_source(admin: FlaskClient, app: Flask) -> None:
    answer = admin.post(
        "/sources",
        data={"name": "airports", "location": AIRPORTS, "key_field": "icao"},
        follow_redirects=True,
    )
    assert "airports is added" in answer.text
    assert "Never run" in answer.text
    with app.app_context():
        assert db.session.scalars(select(Source.key_field)).all() == ["icao"]


def test_a_refused_form_keeps_what_was_typed(airports: None, admin: FlaskClient) -> None:
    for name, words in (("airports", "already"), ("Not A Name", "small letters")):
        answer = admin.post(
            "/sources", data={"name": name, "location": AIRPORTS, "key_field": "iata"}
        )
        assert answer.status_code == 422
        assert words in answer.text
        assert f'value="{name}"' in answer.text
        assert re.search(r'name="key_field"[^>]* value="iata"', answer.text)


def test_what_stands_in_fields_of_another_kind_is_in_nobodys_way(
    admin: ConsoleClient, app: Flask
) -> None:
    data = {"kind": "csv", "location": AIRPORTS, "pagination": "cursor", "auth_env": "typo"}
    assert "Aero B Ranch Airport" in admin.post("/sources/preview", data=data).text
    admin.post("/sources", data=data | {"name": "airports", "key_field": "icao"})
    with app.app_context():
        assert db.session.scalars(select(Source.options)).all() == [{}]


def test_a_source_is_edited_and_a_change_of_somebody_else_is_told(
    airports: None, admin: ConsoleClient, app: Flask
) -> None:
    form = admin.get("/sources/airports/edit").text
    assert AIRPORTS in form
    data = {
        "kind": "csv",
        "location": AIRPORTS,
        "key_field": "icao",
        "mapping": "town = city",
        "reason": "Shorter",
        "version": "1",
    }
    assert admin.post("/sources/airports", data=data | {"reason": ""}).status_code == 422
    assert admin.post("/sources/airports", data=data).status_code == 303
    late = admin.post("/sources/airports", data=data | {"mapping": "place = city"})
    assert late.status_code == 409
    assert "Changed meanwhile" in late.text
    assert "place = city" in late.text
    with app.app_context():
        assert db.session.scalars(select(Source.mapping)).all() == [{"town": "city"}]


def test_a_source_is_removed_by_an_admin_who_says_why(
    airports: None, admin: ConsoleClient, app: Flask
) -> None:
    asked = admin.post("/sources/airports/remove")
    assert asked.status_code == 422
    assert "Its 1,000 records and all its runs go with it" in asked.text
    gone = admin.post("/sources/airports/remove", data={"reason": "Gone"}, follow_redirects=True)
    assert "airports is removed" in gone.text
    assert admin.get("/sources/airports").status_code == 404


def test_a_source_leads_to_a_schedule_of_its_own(airports: None, admin: ConsoleClient) -> None:
    link = re.search(r'href="(/schedules/new[^"]+)"', admin.get("/sources/airports").text)
    assert link
    page = admin.get(link[1].replace("&amp;", "&")).text
    assert '<option value="etl" selected' in page
    assert "airports" in page
