"""The pages of schedules, with and without htmx, by role."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.conftest import ConsoleClient
from tests.schedules.conftest import NIGHTLY
from webapp.actors import COMMAND
from webapp.clock import now as clock_now
from webapp.db import db, transaction
from webapp.jobs.models import Job
from webapp.schedules.firing import fire
from webapp.schedules.models import Schedule
from webapp.schedules.service import create_schedule

FORM = {
    "name": "weekly.report",
    "type": "test_echo",
    "arguments": '{"value": 7}',
    "kind": "weekly",
    "at": "06:30",
    "days": ["mon", "thu"],
    "timezone": "Europe/Berlin",
    "overlap": "skip",
    "catch_up": "one",
    "reason": "Needed",
}


@pytest.fixture
def nightly(app: Flask) -> None:
    """One schedule that is due every day."""
    with app.app_context(), transaction() as session:
        create_schedule(session, NIGHTLY, by=COMMAND, now=clock_now(), reason="Needed")


def stored(app: Flask) -> Schedule:
    with app.app_context():
        return db.session.scalars(select(Schedule)).one()


def come_due(app: Flask, **values: Any) -> None:
    """Fire the schedule, three hours late, after what is given was changed behind its back."""
    at = clock_now()
    with app.app_context(), transaction() as session:
        schedule = session.scalars(select(Schedule)).one()
        # Its own time lies half a day away, whenever this runs: no other one has been missed.
        own = {"next_run_at": at - timedelta(hours=3), "cron": f"0 {(at.hour + 12) % 24} * * *"}
        changes = own | values
        session.execute(update(Schedule).values(**changes))
        session.expire_all()
        fire(session, schedule.id, now=at)


def test_an_empty_list_says_what_to_do(admin: ConsoleClient) -> None:
    page = admin.get("/schedules").text
    assert "New schedule" in page
    assert "No schedules yet" in page


def test_a_viewer_looks_and_is_offered_nothing_else(nightly: None, viewer: ConsoleClient) -> None:
    for url in ("/schedules", "/schedules/nightly"):
        page = viewer.get(url).text
        for words in ("Run now", "Pause schedule", "/edit", "/schedules/new", "Remove"):
            assert words not in page
    for url in ("/schedules/nightly/run", "/schedules/nightly/pause", "/schedules/preview"):
        assert viewer.post(url).status_code == 403


def test_an_operator_runs_a_schedule_and_changes_none(
    nightly: None, operator: ConsoleClient, app: Flask
) -> None:
    page = operator.get("/schedules").text
    assert "Run now" in page
    assert "Pause schedule" not in page
    done = operator.htmx("/schedules/nightly/run", method="POST")
    assert done.status_code == 204
    assert "runs nightly" in done.headers["HX-Trigger"]
    again = operator.htmx("/schedules/nightly/run", method="POST")
    assert (again.status_code, "is unfinished" in again.text) == (409, True)
    assert operator.post("/schedules/nightly/pause").status_code == 403
    with app.app_context():
        assert db.session.scalars(select(Job.created_by)).all() == ["operator"]


def test_the_list_tells_when_it_runs_in_words_and_times(
    nightly: None, viewer: ConsoleClient
) -> None:
    page = viewer.get("/schedules").text
    assert "At 06:00 every day" in page
    assert "0 6 * * *" in page
    assert page.count(", 06:00") == 3
    assert "never run" in page
    assert "Active" in page


def test_a_polled_part_comes_alone_and_only_when_it_changed(
    nightly: None, viewer: ConsoleClient
) -> None:
    for url, target in (
        ("/schedules", "schedules-table"),
        ("/schedules/nightly", "schedules-activity"),
    ):
        part = viewer.htmx(url, target)
        assert part.text.lstrip().startswith(f'<section id="{target}"')
        again = viewer.htmx(url, target, headers={"If-None-Match": part.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")


def test_the_last_run_links_its_job_and_tells_how_late_it_was(
    nightly: None, viewer: ConsoleClient, app: Flask
) -> None:
    come_due(app)
    with app.app_context():
        job_id = db.session.scalar(select(Job.id))
    for url in ("/schedules", "/schedules/nightly"):
        page = viewer.get(url).text
        assert f'href="/jobs/{job_id}"' in page
        assert "Queued" in page
        assert "3 h late" in page


def test_a_type_that_is_gone_shows_as_broken_and_a_paused_one_as_paused(
    nightly: None, admin: ConsoleClient, app: Flask
) -> None:
    come_due(app, type="gone")
    for url in ("/schedules", "/schedules/nightly", "/schedules?state=broken"):
        page = admin.get(url).text
        assert "Broken" in page
        assert "There is no job type &#39;gone&#39;" in page
        assert "Refused" in page
    admin.post("/schedules/nightly/pause", data={"reason": "Calm"})
    assert "Paused" in admin.htmx("/schedules", "schedules-table").text
    assert "No schedule matches" in admin.get("/schedules?state=broken").text


def test_the_form_of_one_whose_type_is_gone_chooses_no_other(
    nightly: None, admin: ConsoleClient, app: Flask
) -> None:
    come_due(app, type="gone")
    page = admin.get("/schedules/nightly/edit").text
    assert '<option value="gone" selected>gone: no longer there</option>' in page


def test_search_narrows_the_list(nightly: None, viewer: ConsoleClient) -> None:
    assert 'href="/schedules/nightly"' in viewer.get("/schedules?q=NIGHT").text
    assert 'href="/schedules/nightly"' in viewer.get("/schedules?q=echo").text
    assert "No schedule matches" in viewer.get("/schedules?q=%25").text


@pytest.mark.parametrize(
    ("fields", "cron"),
    [
        ({}, "30 6 * * mon,thu"),
        ({"kind": "daily"}, "30 6 * * *"),
        ({"kind": "monthly", "day": "last"}, "30 6 L * *"),
        ({"kind": "cron", "cron": " */5  8-18 * * * "}, "*/5 8-18 * * *"),
    ],
)
def test_an_admin_makes_one_in_each_way(
    admin: ConsoleClient, app: Flask, fields: dict[str, Any], cron: str
) -> None:
    answer = admin.post("/schedules", data=FORM | fields, follow_redirects=True)
    assert "weekly.report is made." in answer.text
    schedule = stored(app)
    assert (schedule.cron, schedule.timezone) == (cron, "Europe/Berlin")
    assert (schedule.arguments, schedule.priority) == ({"value": 7}, None)
    # Its form shows it as it was typed, and saving that changes nothing.
    form = admin.get("/schedules/weekly.report/edit").text
    kind = FORM | fields
    assert f'<option value="{kind["kind"]}" selected>' in form
    same = {**FORM, **fields, "version": "1"}
    assert admin.post("/schedules/weekly.report", data=same).status_code == 303
    assert stored(app).version == 1


def test_htmx_is_led_to_the_page_of_what_was_made(admin: ConsoleClient) -> None:
    answer = admin.htmx("/schedules", "schedules-form", method="POST", data=FORM)
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, "/schedules/weekly.report")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "Not A Name"}, "small letters"),
        ({"arguments": '{"value": "x"}'}, "value: "),
        ({"arguments": "[]"}, "Must be a JSON object"),
        ({"arguments": "{"}, "Is not JSON"),
        ({"days": []}, "Choose at least one"),
        ({"at": "6"}, "A time from 00:00"),
        ({"kind": "monthly", "day": "40"}, "A day from 1 to 31"),
        ({"kind": "cron", "cron": "x"}, "Five fields"),
        ({"kind": "cron", "cron": "0 0 31 2 *"}, "day of month cannot be read"),
        ({"timezone": "Berlin"}, "such as Europe/Berlin"),
        ({"priority": "x"}, "A whole number"),
        ({"priority": "101"}, "A whole number"),
        ({"reason": " "}, "Say why"),
    ],
)
def test_a_refused_form_keeps_what_was_typed(
    admin: ConsoleClient, app: Flask, fields: dict[str, Any], words: str
) -> None:
    data = FORM | fields
    for answer in (
        admin.post("/schedules", data=data),
        admin.htmx("/schedules", "schedules-form", method="POST", data=data),
    ):
        assert answer.status_code == 422
        assert words in answer.text
        assert 'value="06:30"' in answer.text or "at" in fields
        assert 'value="Europe/Berlin"' in answer.text or "timezone" in fields
    with app.app_context():
        assert db.session.scalars(select(Schedule)).all() == []


def test_a_name_that_is_taken_is_told_at_its_field(nightly: None, admin: ConsoleClient) -> None:
    answer = admin.post("/schedules", data=FORM | {"name": "nightly"})
    assert answer.status_code == 409
    assert "There is a schedule" in answer.text


def test_the_next_runs_are_shown_before_it_is_saved(admin: ConsoleClient, app: Flask) -> None:
    part = admin.htmx("/schedules/preview", "schedules-preview", method="POST", data=FORM)
    assert part.text.lstrip().startswith('<div id="schedules-preview"')
    assert "At 06:30 on Monday and Thursday" in part.text
    assert part.text.count(", 06:30") == 5
    # Without scripts the whole form comes back, with what was typed.
    page = admin.post("/schedules/preview", data=FORM).text
    assert "<html" in page
    assert 'value="weekly.report"' in page
    assert page.count(", 06:30") == 5
    assert stored_count(app) == 0


def stored_count(app: Flask) -> int:
    with app.app_context():
        return len(db.session.scalars(select(Schedule)).all())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "cron", "cron": "x"}, "Five fields"),
        ({"kind": "cron", "cron": "0 0 */20 * 1L"}, "never comes due"),
        ({"timezone": "x"}, "such as Europe/Berlin"),
    ],
)
def test_a_preview_says_what_is_missing(
    admin: ConsoleClient, fields: dict[str, Any], words: str
) -> None:
    part = admin.htmx("/schedules/preview", "schedules-preview", method="POST", data=FORM | fields)
    assert (part.status_code, words in part.text) == (200, True)


def test_the_preview_of_a_change_stays_with_its_schedule(
    nightly: None, admin: ConsoleClient
) -> None:
    page = admin.post("/schedules/nightly/preview", data=FORM | {"version": "1"}).text
    assert 'action="/schedules/nightly"' in page
    assert "At 06:30 on Monday and Thursday" in page
    assert admin.post("/schedules/nothing/preview", data=FORM).status_code == 404


def test_whoever_saves_second_sees_what_changed_and_may_save_over_it(
    nightly: None, admin: ConsoleClient, app: Flask
) -> None:
    mine = FORM | {"kind": "daily", "at": "09:00", "version": "1", "reason": "Mine"}
    theirs = FORM | {"kind": "daily", "at": "08:00", "version": "1", "reason": "Theirs"}
    assert admin.post("/schedules/nightly", data=theirs).status_code == 303
    # A run is in the history too, and no change.
    admin.post("/schedules/nightly/run")
    refused = admin.post("/schedules/nightly", data=mine)
    assert refused.status_code == 409
    part = admin.htmx("/schedules/nightly", "schedules-form", method="POST", data=mine)
    assert part.status_code == 422
    for answer in (refused, part):
        assert "Changed meanwhile." in answer.text
        assert "Theirs" in answer.text
        assert "0 8 * * *" in answer.text
        assert 'value="09:00"' in answer.text
        assert 'name="version" value="2"' in answer.text
        assert "Needed" not in answer.text
    assert stored(app).cron == "0 8 * * *"
    assert admin.post("/schedules/nightly", data=mine | {"version": "2"}).status_code == 303
    assert stored(app).cron == "0 9 * * *"


def test_pausing_asks_for_a_reason_on_a_page_where_there_are_no_scripts(
    nightly: None, admin: ConsoleClient, app: Flask
) -> None:
    asked = admin.post("/schedules/nightly/pause")
    assert asked.status_code == 422
    assert "Pause nightly?" in asked.text
    assert "Say why" not in asked.text
    assert "Say why" in admin.post("/schedules/nightly/pause", data={"reason": " "}).text
    assert stored(app).enabled
    done = admin.post("/schedules/nightly/pause", data={"reason": "Calm"}, follow_redirects=True)
    assert "nightly is paused." in done.text
    assert "Calm" in done.text
    resumed = admin.htmx("/schedules/nightly/resume", method="POST", data={"reason": "Go on"})
    assert "nightly is resumed." in resumed.headers["HX-Trigger"]
    assert stored(app).enabled


def test_removing_asks_and_leaves_the_audit(
    nightly: None, admin: ConsoleClient, app: Flask
) -> None:
    assert "Remove nightly?" in admin.post("/schedules/nightly/remove").text
    done = admin.post(
        "/schedules/nightly/remove", data={"reason": "Done with"}, follow_redirects=True
    )
    assert "nightly is removed." in done.text
    assert stored_count(app) == 0
    assert "Done with" in admin.get("/audit?subject=schedule").text
    assert admin.get("/schedules/nightly").status_code == 404


def test_secret_arguments_are_masked_on_the_page(admin: ConsoleClient) -> None:
    fields = {"type": "etl", "arguments": '{"source": "postgres://anna:hunter2@db/x"}'}
    admin.post("/schedules", data=FORM | fields)
    assert "hunter2" not in admin.get("/schedules/weekly.report").text
