"""The page that enqueues a job: its form, and what becomes of it."""

from datetime import datetime

import pytest
from flask import Flask
from sqlalchemy import select

from tests.conftest import ConsoleClient
from tests.odd_texts import ODD_TEXTS, Fields, form_body
from webapp.clock import now
from webapp.db import reading
from webapp.jobs.models import Job
from webapp.jobs.values import JobState

ECHO: Fields = {"type": "test_echo", "arguments.value": "3"}


def jobs(app: Flask) -> list[Job]:
    with app.app_context(), reading() as session:
        return list(session.scalars(select(Job).order_by(Job.id)))


def test_the_form_is_made_from_the_schema_of_the_type(operator: ConsoleClient) -> None:
    page = operator.get("/jobs/new?type=etl").text
    assert "Name of the source" in page
    assert 'name="arguments.batch_size"' in page
    assert "At least 1, at most 5000" in page
    assert 'value="1000"' in page


def test_types_of_the_consoles_own_are_not_offered(operator: ConsoleClient) -> None:
    assert "job-bulk" not in operator.get("/jobs/new").text
    assert operator.get("/jobs/new?type=job-bulk").status_code == 422
    assert operator.post("/jobs", data={"type": "job-bulk"}).status_code == 422


def test_a_job_is_enqueued_with_its_options(app: Flask, operator: ConsoleClient) -> None:
    large = 2**70 + 1
    answer = operator.post(
        "/jobs",
        data=ECHO
        | {"arguments.value": str(large), "priority": "7", "queue": "slow", "delay": "3600"},
    )
    (job,) = jobs(app)
    assert (answer.status_code, answer.location) == (303, f"/jobs/{job.id}")
    assert (job.arguments["value"], job.priority, job.queue) == (large, 7, "slow")
    assert job.state == JobState.SCHEDULED
    assert str(large) in operator.get(answer.location).text


def test_htmx_is_led_to_the_job(app: Flask, operator: ConsoleClient) -> None:
    answer = operator.htmx("/jobs", "jobs-form", method="POST", data=ECHO)
    assert answer.headers["HX-Redirect"] == f"/jobs/{jobs(app)[0].id}"


def test_what_does_not_fit_is_told_at_its_field_and_what_was_typed_stays(
    app: Flask, operator: ConsoleClient
) -> None:
    answer = operator.post("/jobs", data=ECHO | {"arguments.value": "three", "priority": "high"})
    assert answer.status_code == 422
    assert 'id="field-arguments.value-errors"' in answer.text
    assert 'id="field-priority-errors"' in answer.text
    assert 'value="three"' in answer.text
    assert 'value="high"' in answer.text
    assert jobs(app) == []


def test_a_time_and_a_delay_do_not_go_together(app: Flask, operator: ConsoleClient) -> None:
    later = datetime(2100, 1, 1).isoformat()  # noqa: DTZ001 - as a browser sends it
    answer = operator.post("/jobs", data=ECHO | {"delay": "1", "run_at": later})
    assert "either a time or a delay" in answer.text
    assert operator.post("/jobs", data=ECHO | {"run_at": later}).status_code == 303
    assert jobs(app)[0].run_at > now()


def test_a_unique_key_leads_to_the_job_that_stands(app: Flask, operator: ConsoleClient) -> None:
    first, second = (
        operator.post("/jobs", data=ECHO | {"unique_key": "k"}).location for _ in range(2)
    )
    assert first == second
    assert len(jobs(app)) == 1


def test_a_viewer_enqueues_nothing(viewer: ConsoleClient) -> None:
    assert viewer.get("/jobs/new").status_code == 403
    assert "/jobs/new" not in viewer.get("/jobs").text


@pytest.mark.parametrize("odd", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_every_field_answers_whatever_it_holds(operator: ConsoleClient, odd: bytes) -> None:
    options = ("priority", "queue", "delay", "run_at", "expires_at", "unique_key", "depends_on")
    for name in ("type", "arguments.value", "arguments.seconds", *options, "callback_url"):
        answer = operator.post("/jobs", **form_body(ECHO | {name: odd}))
        assert answer.status_code < 500, name
    assert operator.get("/jobs").status_code == 200
