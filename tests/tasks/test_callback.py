"""The ``callback`` job against a real receiver: what arrives, and what becomes of what does not."""

import json
import time
from functools import partial
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tasks.callback import tell_ends
from tasks.queue import CallerBroker
from tasks.work import run
from tests.conftest import SECRET
from tests.http_server import OK, Server, answer, reset_connection
from webapp.actors import COMMAND, SYSTEM
from webapp.breakers.registry import breaker
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.dead_letters.models import DeadLetter
from webapp.jobs import service
from webapp.jobs.broker import provide_broker
from webapp.jobs.callbacks import TYPE
from webapp.jobs.models import Job
from webapp.jobs.registry import find_job_type
from webapp.jobs.values import JobState
from webapp.outbound.clients import allow_hosts
from webapp.outbound.signatures import keys_of, secret_in_force, signed_headers

pytestmark = pytest.mark.usefixtures("in_app")


def enqueue(type_name: str, url: str, **arguments: Any) -> int:
    with transaction() as session:
        return service.enqueue(
            session, type_name, arguments, by=SYSTEM, now=now(), callback_url=url
        ).id


def job(job_id: int) -> Job:
    with reading() as session:
        return service.find_job(session, job_id)


def end_and_tell(app: Flask, job_id: int) -> Job:
    """Run a job to its end, beat, and run its callback once."""
    while run(app, job_id, worker="w1", early=True):
        pass
    tell_ends(app)
    callback_id = job(job_id).callback_job_id
    assert callback_id is not None
    assert run(app, callback_id, worker="w1", early=True)
    return job(callback_id)


def test_a_success_is_told_whole_and_signed(app: Flask, receiver: Server) -> None:
    job_id = enqueue("test_echo", receiver.url + "hooks?a=b", value=7)
    callback = end_and_tell(app, job_id)
    assert callback.state == JobState.SUCCEEDED
    assert callback.result == {"told": True, "status": 200}
    (request,) = receiver.received
    assert request.line == "POST /hooks?a=b HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    ended = job(job_id)
    assert ended.finished_at is not None
    finished_at = ended.finished_at.isoformat().replace("+00:00", "Z")
    assert json.loads(request.body) == {
        "type": "job.succeeded",
        "timestamp": finished_at,
        "data": {
            "id": job_id,
            "type": "test_echo",
            "state": "succeeded",
            "attempts": 1,
            "result": {"value": 7},
            "error": None,
            "finished_at": finished_at,
        },
    }
    timestamp = int(request.headers["webhook-timestamp"])
    assert abs(time.time() - timestamp) < 60
    wanted = signed_headers(
        keys_of(secret_in_force("", SECRET)),
        callback.arguments["delivery_id"],
        request.body,
        timestamp=timestamp,
    )
    assert {name: request.headers[name] for name in wanted} == wanted


@pytest.mark.parametrize("state", [JobState.DEAD, JobState.CANCELED])
def test_every_other_end_is_told_too(app: Flask, receiver: Server, state: JobState) -> None:
    job_id = enqueue("test_fail", receiver.url, error="TypeError")
    if state == JobState.CANCELED:
        with transaction() as session:
            service.cancel(session, job_id, by=COMMAND, now=now())
    end_and_tell(app, job_id)
    message = json.loads(receiver.received[0].body)
    assert message["type"] == f"job.{state}"
    assert (message["data"]["error"] is not None) is (state == JobState.DEAD)


def test_a_receiver_in_trouble_is_told_again_with_the_same_name_and_body(
    app: Flask, receiver: Server
) -> None:
    receiver.answers = [answer("503 Unavailable"), reset_connection, OK]
    callback = end_and_tell(app, enqueue("test_echo", receiver.url))
    assert (callback.state, callback.attempts) == (JobState.RETRYING, 1)
    while run(app, callback.id, worker="w1", early=True):
        pass
    assert job(callback.id).state == JobState.SUCCEEDED
    assert len(receiver.received) == 3
    assert len({request.body for request in receiver.received}) == 1
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "410 Gone", "302 Found"])
def test_a_receiver_that_refuses_is_not_asked_again(
    app: Flask, receiver: Server, status: str
) -> None:
    receiver.answers = [answer(status, f"Location: {receiver.url}")]
    callback = end_and_tell(app, enqueue("test_echo", receiver.url + "hush"))
    assert callback.state == JobState.DEAD
    assert receiver.methods == ["POST"]
    with reading() as session:
        letter = session.scalars(select(DeadLetter)).one()
    assert "hush" not in letter.message + letter.traceback


def test_an_address_inside_is_not_called_and_is_a_dead_letter(app: Flask, receiver: Server) -> None:
    job_id = enqueue("test_echo", receiver.url)
    allow_hosts(())
    callback = end_and_tell(app, job_id)
    assert callback.state == JobState.DEAD
    assert "loopback" in (callback.error or "")
    assert receiver.received == []


def test_a_host_that_is_away_opens_its_own_breaker_and_messages_wait(
    app: Flask, receiver: Server
) -> None:
    receiver.answers = [answer("503 Unavailable")]
    for _ in range(5):
        end_and_tell(app, enqueue("test_echo", receiver.url))
    assert breaker("callback:127.0.0.1").current_state == "open"
    waiting = end_and_tell(app, enqueue("test_echo", receiver.url))
    assert (waiting.state, waiting.attempts, waiting.deferrals) == (JobState.RETRYING, 0, 1)
    assert len(receiver.received) == 5


def test_a_job_retried_before_it_was_told_of_is_told_of_at_its_next_end(
    app: Flask, receiver: Server
) -> None:
    job_id = enqueue("test_fail", receiver.url, error="TypeError")
    receiver.answers = [answer("503 Unavailable"), OK]
    first = end_and_tell(app, job_id)
    with transaction() as session:
        service.retry(session, job_id, by=COMMAND, now=now())
    second = end_and_tell(app, job_id)
    assert second.result == {"told": True, "status": 200}
    assert run(app, first.id, worker="w1", early=True)
    assert job(first.id).result == {"told": False, "reason": f"Job {job_id} was retried since."}
    assert len(receiver.received) == 2


def test_without_a_queue_the_end_is_told_by_whoever_enqueued(app: Flask, receiver: Server) -> None:
    def catch_up() -> list[int]:
        tell_ends(app)
        return []

    provide_broker(CallerBroker(partial(run, app, worker="caller", early=True), catch_up))
    try:
        enqueue("test_echo", receiver.url)
    finally:
        provide_broker(None)
    assert json.loads(receiver.received[0].body)["type"] == "job.succeeded"
    assert len(receiver.received) == 1


def test_nobody_can_have_something_said_by_hand() -> None:
    assert find_job_type(TYPE).internal
