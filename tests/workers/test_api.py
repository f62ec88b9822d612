"""Workers over JSON: who is there, and the wish that one stops."""

from datetime import timedelta

import pytest
from flask import Flask

from tests.conftest import ConsoleClient
from webapp.actors import SYSTEM
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.jobs import attempts
from webapp.jobs.service import enqueue
from webapp.workers import service
from webapp.workers.values import WorkerFigures, WorkerIdentity

WORKER = WorkerIdentity("box:7:ab12", "here", "box", 7, "process", 2, "0.1.0", ("reports",))
URL = "/api/v1/queue/workers"


@pytest.fixture
def running(app: Flask) -> int:
    """A worker that runs a job; returns the job's id."""
    with app.app_context(), transaction() as session:
        service.beat(session, WORKER, now=clock_now())
        service.beat(session, WORKER, WorkerFigures(12, 3, 50_000_000), now=clock_now())
        job = enqueue(session, "test_echo", {}, by=SYSTEM, now=clock_now())
        attempts.claim(session, job.id, worker=WORKER.name, lease_seconds=30, now=clock_now())
        return job.id


def test_programs_are_told_what_each_worker_is_and_does(
    running: int, viewer: ConsoleClient
) -> None:
    (item,) = viewer.get(URL).get_json()["items"]
    for moment in ("started_at", "beat_at"):
        assert item.pop(moment).endswith("Z")
    assert item == {
        "name": "box:7:ab12",
        "host": "box",
        "pid": 7,
        "kind": "process",
        "processes": 2,
        "queues": ["reports"],
        "scheduler": True,
        "version": "0.1.0",
        "state": "alive",
        "stopped_at": None,
        "stop_requested_at": None,
        "stop_requested_by": None,
        "running_jobs": [running],
        "done": 12,
        "failed": 3,
        "memory_bytes": 50_000_000,
    }


@pytest.mark.usefixtures("running")
def test_a_worker_that_is_to_stop_is_told_so_and_asking_again_changes_nothing(
    operator: ConsoleClient,
) -> None:
    first = operator.post(f"{URL}/{WORKER.name}/stop")
    assert (first.status_code, first.get_json()["state"]) == (202, "stopping")
    assert first.get_json()["stop_requested_by"] == "operator"
    again = operator.post(f"{URL}/{WORKER.name}/stop")
    assert again.status_code == 202
    assert again.get_json()["stop_requested_at"] == first.get_json()["stop_requested_at"]


def test_what_is_not_there_or_has_ended_cannot_be_stopped(
    app: Flask, operator: ConsoleClient
) -> None:
    assert operator.post(f"{URL}/nobody/stop").status_code == 404
    with app.app_context(), transaction() as session:
        service.beat(session, WORKER, now=clock_now() - timedelta(minutes=5))
    silent = operator.post(f"{URL}/{WORKER.name}/stop")
    assert (silent.status_code, "gone" in silent.get_json()["detail"]) == (409, True)
    with app.app_context(), transaction() as session:
        service.farewell(session, WORKER.name, now=clock_now())
    assert operator.post(f"{URL}/{WORKER.name}/stop").status_code == 409


@pytest.mark.usefixtures("running")
def test_viewers_stop_nobody(viewer: ConsoleClient) -> None:
    assert viewer.post(f"{URL}/{WORKER.name}/stop").status_code == 403
