"""Queues: a worker of some leaves the others alone, one of all lets none starve."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import update

from tasks import steering as set_up
from tasks.queue import HueyBroker, build_huey
from tasks.steering import steering_of, take_only
from tasks.work import work
from tests.conftest import make_settings
from tests.servers import RedisServer
from webapp.actors import SYSTEM
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs import attempts, service
from webapp.jobs.dispatch import SENT_TO_OTHERS, anything_due, anything_left, mark_due
from webapp.jobs.models import Job
from webapp.jobs.steering import UNSTEERED, Steering
from webapp.jobs.turns import next_queue
from webapp.jobs.values import JobState

REPORTS = replace(UNSTEERED, only_queues=frozenset({"reports"}))


@pytest.fixture(autouse=True)
def in_app(app: Flask) -> Iterator[None]:
    """Sessions of our own; whatever this process was limited to, it no longer is."""
    app.extensions.pop(set_up._EXTENSION, None)
    with app.app_context():
        yield
    take_only(())
    app.extensions.pop(set_up._EXTENSION, None)


def enqueue(queue: str, name: str = "test_nothing") -> int:
    with transaction() as session:
        return service.enqueue(session, name, {}, by=SYSTEM, now=now(), queue=queue).id


def state(job_id: int) -> JobState:
    with reading() as session:
        return JobState(service.find_job(session, job_id).state)


def look(app: Flask, job_id: int) -> None:
    work(app, job_id, worker="w1", stopping=lambda: False)


def due(steering: Steering = UNSTEERED) -> list[int]:
    with transaction() as session:
        found = mark_due(session, room=9, waiting=(), now=now(), steering=steering)
    return [item.job_id for item in found]


def test_a_worker_of_some_queues_leaves_others_alone_whatever_it_is_told(app: Flask) -> None:
    take_only(("reports",))
    mine, other = enqueue("reports"), enqueue("default")
    unknown = enqueue("default", "test_echo")
    with transaction() as session:
        session.execute(update(Job).where(Job.id == unknown).values(type="of a newer version"))
    for job_id in (other, unknown, mine):
        look(app, job_id)
    assert [state(item) for item in (mine, other, unknown)] == [
        JobState.SUCCEEDED,
        JobState.QUEUED,
        JobState.QUEUED,
    ]
    assert steering_of(app).only_queues == {"reports"}


def test_it_hands_over_to_itself_what_is_due_in_its_queues(app: Flask) -> None:
    mine, other = enqueue("reports"), enqueue("default")
    assert due(REPORTS) == [mine]
    assert due() == [other]


def test_it_takes_what_was_sent_to_workers_of_all_queues_and_not_begun(app: Flask) -> None:
    mine = enqueue("reports")
    assert due() == [mine]
    assert due(REPORTS) == []
    with transaction() as session:
        session.execute(update(Job).values(dispatched_at=now() - 2 * SENT_TO_OTHERS))
    with reading() as session:
        assert not anything_due(session, now=now())
        assert anything_due(session, now=now(), steering=REPORTS)
    assert due(REPORTS) == [mine]


def test_what_is_left_is_what_runs_here_and_what_is_due_in_its_queues(app: Flask) -> None:
    def left(steering: Steering = REPORTS, worker: str = "w1") -> bool:
        with reading() as session:
            return anything_left(session, worker, now=now(), steering=steering)

    enqueue("default")
    with transaction() as session:
        ahead = now() + timedelta(hours=1)
        service.enqueue(
            session, "test_echo", {}, by=SYSTEM, now=now(), queue="reports", run_at=ahead
        )
    assert not left()
    assert left(UNSTEERED)
    assert not left(replace(UNSTEERED, paused_queues=frozenset({"default"})))
    mine = enqueue("reports")
    assert left()
    with transaction() as session:
        attempts.claim(session, mine, worker="w1", lease_seconds=30, now=now())
    assert left()
    assert not left(worker="w2")


def test_queues_take_turns_by_name_and_round_again(app: Flask) -> None:
    for queue in ("a", "c", "c", "e"):
        enqueue(queue)

    def after(queue: str, steering: Steering = UNSTEERED) -> str | None:
        with reading() as session:
            return next_queue(session, queue, steering=steering)

    assert [after(queue) for queue in ("a", "b", "c", "e", "z")] == ["c", "c", "e", "a", "a"]
    assert after("a", replace(UNSTEERED, paused_queues=frozenset({"c"}))) == "e"
    assert after("a", replace(UNSTEERED, only_queues=frozenset({"c"}))) == "c"
    assert after("a", REPORTS) is None


def test_a_queue_that_never_empties_does_not_keep_a_worker_from_the_others(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("tasks.work"), "SPELL_SECONDS", 0.0)
    first = enqueue("busy")
    for _ in range(70):
        enqueue("busy")
    other = enqueue("quiet")
    look(app, first)
    assert state(other) == JobState.SUCCEEDED


@pytest.mark.parametrize("backend", ["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def test_a_worker_of_some_queues_has_messages_of_its_own(
    backend: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    environ = {}
    if backend == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.flush()
        environ = {"REDIS_URL": server.url}
    settings = make_settings(tmp_path, **environ)
    hueys = [build_huey(settings, queues=queues) for queues in ((), ("b", "a"), ("a", "b"))]
    shared, own, same = (HueyBroker(huey, huey.task(name="run_job")(print)) for huey in hueys)
    shared.send(1, 50)
    own.send(2, 50)
    assert [broker.waiting() for broker in (shared, own, same)] == [{1}, {2}, {2}]
    for huey in hueys:
        huey.storage.close()
        if backend == "redis":
            huey.storage.pool.disconnect()
