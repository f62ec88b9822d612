"""Batches over JSON, and their pages."""

from typing import Any

import pytest
from flask import Flask

from tests.conftest import ConsoleClient
from webapp.clock import now
from webapp.db import transaction
from webapp.jobs import upkeep
from webapp.jobs.models import Job

URL = "/api/v1/queue/batches"


def wanted(**changes: Any) -> dict[str, Any]:
    jobs = [{"type": "test_echo", "arguments": {"value": n}} for n in range(3)]
    return {"name": "Nightly", "jobs": jobs} | changes


def test_a_batch_is_taken_whole_and_tells_how_far_it_is(app: Flask, admin: ConsoleClient) -> None:
    then = {"type": "test_echo", "arguments": {"value": 9}}
    answer = admin.post(URL, json=wanted(then=then))
    assert answer.status_code == 202
    batch = admin.get(answer.headers["Location"]).get_json()
    assert batch["size"] == 3
    assert batch["states"] == {"queued": 3}
    assert batch["then"] == {"type": "test_echo", "job_id": None}
    with app.app_context(), transaction() as session:
        for job in session.query(Job):
            job.state = "succeeded"
        session.flush()
        assert upkeep.finish_batches(session, now=now()) == [batch["id"]]
    batch = admin.get(answer.headers["Location"]).get_json()
    assert (batch["ended"], batch["states"]) == (3, {"succeeded": 3})
    assert batch["finished_at"].endswith("Z")
    assert admin.get(f"/api/v1/queue/jobs/{batch['then']['job_id']}").status_code == 200
    listed = admin.get(URL).get_json()
    assert ([item["id"] for item in listed["items"]], listed["next"]) == ([batch["id"]], None)
    page = admin.get(f"/jobs/batches/{batch['id']}").text
    assert "3 of 3 jobs have ended" in page
    assert "Nightly" in admin.get("/jobs/batches").text


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"jobs": []}, "jobs"),
        ({"jobs": [{"type": "test_echo", "arguments": {"value": "x"}}]}, "jobs.0.value"),
        ({"jobs": [{"type": "test_echo", "priority": 101}]}, "jobs.0.priority"),
        ({"jobs": [{"type": "test_echo", "unique_key": "k"}]}, "jobs.0.unique_key"),
        ({"then": {"type": "test_echo", "arguments": {"no": 1}}}, "then.no"),
    ],
)
def test_a_batch_that_cannot_be_leaves_nothing(
    app: Flask, admin: ConsoleClient, changes: dict[str, Any], field: str
) -> None:
    answer = admin.post(URL, json=wanted(**changes))
    assert answer.status_code == 422
    assert field in answer.get_json()["errors"]
    with app.app_context(), transaction() as session:
        assert session.query(Job).count() == 0


def test_what_there_is_not_is_not_found(admin: ConsoleClient) -> None:
    unknown = wanted(jobs=[{"type": "none_such"}])
    assert admin.post(URL, json=unknown).status_code == 404
    assert admin.get(f"{URL}/77").status_code == 404
    assert admin.get("/jobs/batches/77").status_code == 404


def test_a_viewer_may_look_and_not_enqueue(viewer: ConsoleClient) -> None:
    assert viewer.get(URL).status_code == 200
    assert viewer.post(URL, json=wanted()).status_code == 403
