"""The pages Jobs and Job, whole and in parts."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from tests.conftest import ConsoleClient
from webapp.actors import SYSTEM
from webapp.clock import now
from webapp.db import transaction
from webapp.jobs import attempts, service
from webapp.jobs.attempts import Failure
from webapp.jobs.values import JobState
from webapp.paging import PAGE_SIZE

Enqueue = Callable[..., int]


@pytest.fixture
def enqueue(app: Flask) -> Enqueue:
    """Enqueue one echo job, and bury it if asked to."""

    def make(*, dead: bool = False, **options: Any) -> int:
        arguments = {"value": options.pop("value", 0)}
        with app.app_context(), transaction() as session:
            job = service.enqueue(session, "test_echo", arguments, by=SYSTEM, now=now(), **options)
            if dead:
                held = attempts.claim(session, job.id, worker="w", lease_seconds=9, now=now())
                assert held is not None
                failure = Failure("bug", "TypeError", "no such thing", "Traceback: <b>bold</b>")
                attempts.bury(session, held, failure, now=now())
            return job.id

    return make


def state(app: Flask, job_id: int) -> str:
    with app.app_context(), transaction() as session:
        return service.find_job(session, job_id).state


def test_the_list_shows_jobs_and_their_states(viewer: ConsoleClient, enqueue: Enqueue) -> None:
    enqueue()
    enqueue(dead=True)
    page = viewer.get("/jobs").text
    assert "Queued" in page
    assert "Dead" in page
    assert "TypeError: no such thing" in page


def test_a_poll_gets_the_table_alone_and_304_when_nothing_changed(
    viewer: ConsoleClient, enqueue: Enqueue
) -> None:
    enqueue()
    first = viewer.htmx("/jobs", "jobs-table")
    assert first.text.lstrip().startswith('<section id="jobs-table"')
    etag = first.headers["ETag"]
    again = viewer.htmx("/jobs", "jobs-table", headers={"If-None-Match": etag})
    assert (again.status_code, again.text) == (304, "")
    enqueue()
    changed = viewer.htmx("/jobs", "jobs-table", headers={"If-None-Match": etag})
    assert changed.status_code == 200


@pytest.mark.parametrize("header", ["HX-Boosted", "HX-History-Restore-Request"])
def test_boosted_and_history_requests_get_the_whole_page(
    viewer: ConsoleClient, header: str
) -> None:
    answer = viewer.htmx("/jobs", "jobs-table", headers={header: "true"})
    assert "<!DOCTYPE html>" in answer.text
    assert {"HX-Request", "HX-Target"} <= set(answer.vary)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("state=dead", False),
        ("state=queued", True),
        ("type=test_echo", True),
        ("type=etl", False),
        ("q=77123", True),
        ("q=77%25", False),
        ("q=nothing", False),
    ],
)
def test_filters_stand_in_the_address(
    viewer: ConsoleClient, enqueue: Enqueue, query: str, shown: bool
) -> None:
    job_id = enqueue(value=77123)
    assert (f'id="job-{job_id}"' in viewer.get(f"/jobs?{query}").text) is shown


def test_pages_follow_each_other_without_a_gap(viewer: ConsoleClient, enqueue: Enqueue) -> None:
    ids = [enqueue() for _ in range(PAGE_SIZE + 5)]
    first = viewer.get("/jobs").text
    assert f'id="job-{ids[-1]}"' in first
    assert f'id="job-{ids[5]}"' in first
    assert f'id="job-{ids[4]}"' not in first
    second = viewer.get(f"/jobs?before={ids[5]}").text
    assert f'id="job-{ids[4]}"' in second
    assert f'id="job-{ids[0]}"' in second
    back = viewer.get(f"/jobs?after={ids[4]}").text
    assert f'id="job-{ids[5]}"' in back
    assert f'id="job-{ids[4]}"' not in back


def test_a_job_shows_its_attempts_with_what_went_wrong(
    viewer: ConsoleClient, enqueue: Enqueue
) -> None:
    page = viewer.get(f"/jobs/{enqueue(dead=True)}").text
    assert "no such thing" in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page


def test_a_job_that_is_not_there_is_said_so(viewer: ConsoleClient) -> None:
    answer = viewer.get("/jobs/12345")
    assert answer.status_code == 404
    assert "There is no job 12345." in answer.text


def test_an_operator_retries_a_dead_job(
    app: Flask, operator: ConsoleClient, enqueue: Enqueue
) -> None:
    job_id = enqueue(dead=True)
    answer = operator.post(f"/jobs/{job_id}/retry")
    assert (answer.status_code, answer.location) == (303, f"/jobs/{job_id}")
    assert state(app, job_id) == JobState.QUEUED


def test_an_action_by_htmx_answers_with_a_toast(
    app: Flask, operator: ConsoleClient, enqueue: Enqueue
) -> None:
    job_id = enqueue(dead=True)
    answer = operator.htmx(f"/jobs/{job_id}/retry", method="POST")
    assert answer.status_code == 204
    assert f"Job {job_id} is queued again." in answer.headers["HX-Trigger"]


def test_a_refused_action_says_why(operator: ConsoleClient, enqueue: Enqueue) -> None:
    answer = operator.htmx(f"/jobs/{enqueue()}/retry", method="POST")
    assert answer.status_code == 409
    assert "is queued" in answer.text


def test_only_an_admin_cancels(app: Flask, operator: ConsoleClient, enqueue: Enqueue) -> None:
    job_id = enqueue()
    assert operator.post(f"/jobs/{job_id}/cancel").status_code == 403
    assert state(app, job_id) == JobState.QUEUED


def test_an_admin_cancels_a_waiting_job(app: Flask, admin: ConsoleClient, enqueue: Enqueue) -> None:
    job_id = enqueue(run_at=now() + timedelta(hours=1))
    assert admin.post(f"/jobs/{job_id}/cancel").status_code == 303
    assert state(app, job_id) == JobState.CANCELED


def test_a_viewer_is_offered_no_action(viewer: ConsoleClient, enqueue: Enqueue) -> None:
    job_id = enqueue(dead=True)
    assert "/retry" not in viewer.get("/jobs").text
    assert viewer.post(f"/jobs/{job_id}/retry").status_code == 403
