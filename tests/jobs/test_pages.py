"""The pages Jobs and Job, whole and in parts."""

import json
import shlex
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from tests.conftest import ConsoleClient
from tests.statements import statements
from webapp.actors import SYSTEM
from webapp.clock import now
from webapp.db import transaction
from webapp.jobs import attempts, service
from webapp.jobs.attempts import Failure
from webapp.jobs.models import Job, JobAttempt, JobBatch, JobLogLine, JobMetric
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


def test_an_argument_is_searched_by_its_name(viewer: ConsoleClient, enqueue: Enqueue) -> None:
    job_id = enqueue(value=2**70)
    assert f'id="job-{job_id}"' in viewer.get(f"/jobs?q=value:{2**70}").text
    assert f'id="job-{job_id}"' not in viewer.get(f"/jobs?q=seconds:{2**70}").text


def test_the_oldest_come_first_where_that_is_asked_for(
    viewer: ConsoleClient, enqueue: Enqueue
) -> None:
    first, second = enqueue(), enqueue()
    page = viewer.get("/jobs?sort=id").text
    assert page.index(f'id="job-{first}"') < page.index(f'id="job-{second}"')
    page = viewer.get("/jobs").text
    assert page.index(f'id="job-{first}"') > page.index(f'id="job-{second}"')


def test_the_chart_shows_the_last_hour_by_minute(
    app: Flask, viewer: ConsoleClient, enqueue: Enqueue
) -> None:
    minute = now().replace(second=0, microsecond=0)
    counted = {"runs": 9, "retried": 0, "dead": 0, "deferred": 0, "canceled": 0}
    counted |= {"run_buckets": [], "wait_buckets": []}  # type: ignore[dict-item]
    with app.app_context(), transaction() as session:
        for type_name, seconds, back, good, bad, lost in (
            ("etl", 60, 1, 5, 1, 1),
            ("test_echo", 60, 1, 2, 0, 0),
            ("etl", 3600, 1, 99, 99, 0),
            ("etl", 60, 61, 99, 99, 0),
        ):
            at = minute - timedelta(minutes=back)
            row = {"succeeded": good, "failed": bad, "lost": lost, "type": type_name}
            session.add(JobMetric(seconds=seconds, at=at, **counted, **row))
    assert "7 attempts succeeded, 2 failed" in viewer.htmx("/jobs", "jobs-chart").text
    one = viewer.htmx("/jobs?type=etl", "jobs-chart").text
    assert "etl: 5 attempts succeeded, 2 failed" in one


def test_a_job_shows_all_that_is_known_of_it_in_few_statements(
    app: Flask, operator: ConsoleClient, enqueue: Enqueue
) -> None:
    before = enqueue()
    job_id = enqueue(depends_on=[before], callback_url="https://host/done", priority=77)
    needed_by = enqueue(depends_on=[job_id])
    at = now()
    with app.app_context(), transaction() as session:
        batch = JobBatch(name="imports", size=3, created_at=at, created_by="a", then_type="etl")
        session.add(batch)
        session.flush()
        session.execute(update(Job).where(Job.id == job_id).values(batch_id=batch.id))
        line = {"level": "info", "event": "rows_read", "facts": {"rows": 2**70}}
        session.add(JobLogLine(job_id=job_id, fence=1, at=at, **line))
        session.add(
            JobAttempt(
                job_id=job_id,
                type="test_echo",
                fence=1,
                started_at=at,
                ended_at=at,
                outcome="failed",
                worker="w",
                flags_seen={"new.reader": ["off", "on"]},
                strategy="exponential",
                delay_seconds=60,
            )
        )
    operator.get(f"/jobs/{job_id}")
    with statements(app) as seen:
        page = operator.get(f"/jobs/{job_id}").text
    assert len(seen) <= 12
    for text in (
        f"test_echo {before}",
        f"test_echo {needed_by}",
        "imports",
        "rows_read",
        str(2**70),
        "new.reader",
        "off, on",
        "https://host/done",
        "exponential",
        "priority 77",
    ):
        assert text in page, text
    assert "geheim" not in page


def test_a_job_is_copied_as_curl_without_what_is_secret(
    app: Flask, viewer: ConsoleClient, enqueue: Enqueue
) -> None:
    job_id = enqueue()
    arguments = {"password": "geheim", "value": 2**70, "text": "it's"}
    with app.app_context(), transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(arguments=arguments))
    page = unescape(viewer.get(f"/jobs/{job_id}").text)
    snippet = page[page.index('id="curl"') :].split("</pre>")[0].split(">", 1)[1]
    words = shlex.split(snippet.replace("$TOKEN", "T"))
    assert words[:4] == ["curl", "-X", "POST", "http://localhost/api/v1/queue/jobs/test_echo"]
    body = json.loads(words[-1])
    assert body["arguments"] == {"password": "[masked]", "value": 2**70, "text": "it's"}


def test_half_a_character_in_a_result_can_be_shown(
    app: Flask, viewer: ConsoleClient, enqueue: Enqueue
) -> None:
    job_id = enqueue()
    with app.app_context(), transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(result="\ud800"))
    assert "\\ud800" in viewer.get(f"/jobs/{job_id}").text
