"""The queue on both of its storages, and the set-up that has none."""

import json
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from flask import Flask
from huey import Huey
from huey.registry import Message
from redis.exceptions import RedisError

import tasks
from tasks.periodic import due_now, rescue_lost
from tasks.queue import CallerBroker, HueyBroker, JsonSerializer, build_huey
from tasks.work import run
from tests.conftest import make_settings
from tests.servers import RedisServer
from webapp.actors import SYSTEM
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.jobs import attempts, service
from webapp.jobs.broker import WINDOW, provide_broker
from webapp.jobs.models import Job
from webapp.jobs.values import JobState


class Queue:
    """A Huey object of a test's own, and the jobs whose messages were taken from it."""

    def __init__(self, huey: Huey) -> None:
        self.huey = huey
        self.taken: list[int] = []
        self.broker = HueyBroker(huey, huey.task(name="run_job")(self.taken.append))

    def work(self) -> None:
        """Take every message, as a worker does."""
        while (task := self.huey.dequeue()) is not None:
            self.huey.execute(task)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    """An empty queue on either storage."""
    environ = {}
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.flush()
        environ = {"REDIS_URL": server.url}
    huey = build_huey(make_settings(tmp_path, **environ))
    yield Queue(huey)
    huey.storage.close()
    if request.param == "redis":
        huey.storage.pool.disconnect()


def test_the_queue_tells_which_jobs_wait(queue: Queue) -> None:
    for job_id in (3, 5):
        queue.broker.send(job_id, 50)
    assert queue.broker.waiting() == {3, 5}


def test_messages_come_by_priority_and_then_in_order(queue: Queue) -> None:
    for job_id, priority in ((1, 50), (2, 90), (3, 50), (4, 0)):
        queue.broker.send(job_id, priority)
    assert queue.broker.size() == 4
    queue.work()
    assert queue.taken == [2, 1, 3, 4]
    assert queue.broker.size() == 0


def test_a_message_is_the_id_of_a_job_in_json(queue: Queue) -> None:
    queue.broker.send(7, 50)
    (data,) = queue.huey.storage.enqueued_items()
    message = json.loads(bytes(data))
    assert (message["args"], message["name"].endswith("run_job")) == ([7], True)


def test_a_message_of_a_newer_version_is_still_read() -> None:
    serializer = JsonSerializer()
    data = serializer.serialize(Message(id="a", name="n", args=(7,)))
    fields = json.loads(data) | {"of_tomorrow": 1}
    read = serializer.deserialize(json.dumps(fields).encode())
    assert (read.id, read.name, list(read.args)) == ("a", "n", [7])


@pytest.mark.redis
def test_a_redis_that_is_away_is_noticed_at_once(redis_server: RedisServer, tmp_path: Path) -> None:
    huey = build_huey(make_settings(tmp_path, REDIS_URL=redis_server.url))
    broker = HueyBroker(huey, huey.task(name="run_job")(print))
    redis_server.stop()
    try:
        with pytest.raises(RedisError):
            broker.send(1, 50)
        with pytest.raises(RedisError):
            broker.ping()
    finally:
        redis_server.start()
        huey.storage.pool.disconnect()


class FakeBroker:
    """A port with nothing behind it: full, or away, as a test wants it."""

    def __init__(self, *, size: int = 0, away: bool = False) -> None:
        self.sent: list[int] = []
        self._size = size
        self._away = away

    def send(self, job_id: int, priority: int) -> None:
        del priority
        self.ping()
        self.sent.append(job_id)

    def size(self) -> int:
        self.ping()
        return self._size

    def waiting(self) -> set[int]:
        return set(self.sent)

    def ping(self) -> None:
        if self._away:
            raise ConnectionError("away")


@pytest.fixture
def provided(app: Flask) -> Iterator[None]:
    """The context of the application; whatever broker was provided is taken back."""
    with app.app_context():
        yield
    provide_broker(None)


def enqueue() -> int:
    with transaction() as session:
        return service.enqueue(session, "test_echo", {"value": 7}, by=SYSTEM, now=now()).id


def dispatched(job_id: int) -> bool:
    with reading() as session:
        return session.get_one(Job, job_id).dispatched_at is not None


@pytest.mark.usefixtures("provided")
@pytest.mark.parametrize(
    ("broker", "sent"),
    [
        (FakeBroker(), True),
        (FakeBroker(size=WINDOW), False),
        (FakeBroker(away=True), False),
    ],
)
def test_a_job_is_marked_as_sent_exactly_where_it_was(broker: FakeBroker, *, sent: bool) -> None:
    provide_broker(broker)
    job_id = enqueue()
    assert bool(broker.sent) is sent
    assert dispatched(job_id) is sent


@pytest.mark.usefixtures("provided")
def test_a_job_of_a_transaction_that_failed_is_not_sent() -> None:
    broker = FakeBroker()
    provide_broker(broker)
    with pytest.raises(ZeroDivisionError):
        enqueue_and_fail()
    assert broker.sent == []


def enqueue_and_fail() -> None:
    with transaction() as session:
        service.enqueue(session, "test_echo", {}, by=SYSTEM, now=now())
        raise ZeroDivisionError


def caller_broker(app: Flask) -> CallerBroker:
    def catch_up() -> list[int]:
        rescue_lost(app)
        return due_now(app)

    return CallerBroker(partial(run, app, worker="caller", early=True), catch_up)


@pytest.mark.usefixtures("provided")
def test_without_a_queue_the_next_enqueue_runs_what_came_due_or_was_left_behind(
    app: Flask,
) -> None:
    past = now() - timedelta(hours=1)
    with transaction() as session:
        killed = service.enqueue(session, "test_echo", {}, by=SYSTEM, now=past).id
        attempts.claim(session, killed, worker="caller", lease_seconds=30, now=past)
        ahead = past + timedelta(minutes=1)
        came_due = service.enqueue(session, "test_echo", {}, by=SYSTEM, now=past, run_at=ahead).id
    provide_broker(caller_broker(app))
    enqueue()
    with reading() as session:
        states = service.states_of(session, [killed, came_due])
    assert set(states.values()) == {JobState.SUCCEEDED}


@pytest.mark.usefixtures("provided")
def test_a_savepoint_that_fails_does_not_forget_what_is_to_be_sent() -> None:
    broker = FakeBroker()
    provide_broker(broker)
    with transaction() as session:
        for key in ("a", "b", "a"):
            service.enqueue(session, "test_echo", {}, by=SYSTEM, now=now(), unique_key=key)
    assert len(broker.sent) == 2


@pytest.mark.usefixtures("provided")
def test_without_a_queue_jobs_run_in_their_caller_and_collapse_their_delays(app: Flask) -> None:
    provide_broker(caller_broker(app))
    done = enqueue()
    with transaction() as session:
        failing = service.enqueue(session, "test_fail", {}, by=SYSTEM, now=now()).id
    with reading() as session:
        assert service.states_of(session, [done, failing]) == {
            done: JobState.SUCCEEDED,
            failing: JobState.DEAD,
        }
        assert session.get_one(Job, failing).attempts == 3


def test_the_task_has_the_name_that_messages_of_every_version_bear() -> None:
    assert tasks.run_job.task_class.__name__ == "run_job"
    assert tasks.run_job.task_class.__module__ == "tasks"
