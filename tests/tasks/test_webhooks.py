"""The ``webhook_delivery`` job against a real receiver."""

import json
import time
from typing import Any

import pytest
from flask import Flask

from tasks.webhooks import TYPE
from tasks.work import run
from tests.conftest import SECRET
from tests.http_server import OK, Server, answer
from webapp.actors import SYSTEM
from webapp.breakers.registry import breaker
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.errors import Invalid
from webapp.jobs import service
from webapp.jobs.models import Job
from webapp.jobs.values import JobState
from webapp.outbound.signatures import keys_of, secret_in_force, signed_headers

pytestmark = pytest.mark.usefixtures("in_app")


def enqueue(**arguments: Any) -> int:
    with transaction() as session:
        return service.enqueue(session, TYPE, arguments, by=SYSTEM, now=now()).id


def attempt(app: Flask, job_id: int) -> Job:
    assert run(app, job_id, worker="w", early=True)
    with reading() as session:
        return service.find_job(session, job_id)


def test_the_payload_arrives_whole_and_signed(app: Flask, receiver: Server) -> None:
    payload = {"order": 2**70, "name": "ü\ud800", "lines": [1, None, {"a": "b"}]}
    job = attempt(app, enqueue(url=receiver.url + "hooks?a=b", payload=payload))
    assert job.state == JobState.SUCCEEDED, job.error
    assert job.result == {"status": 200, "delivery_id": f"msg_job_{job.id}"}
    (request,) = receiver.received
    assert request.line == "POST /hooks?a=b HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == payload
    timestamp = int(request.headers["webhook-timestamp"])
    assert abs(time.time() - timestamp) < 60
    keys = keys_of(secret_in_force("", SECRET))
    wanted = signed_headers(keys, f"msg_job_{job.id}", request.body, timestamp=timestamp)
    assert {name: request.headers[name] for name in wanted} == wanted


def test_every_try_has_the_same_name_and_body(app: Flask, receiver: Server) -> None:
    receiver.answers = [answer("503 Unavailable"), OK]
    job_id = enqueue(url=receiver.url, payload={"a": 1}, delivery_id="order-7")
    assert attempt(app, job_id).state == JobState.RETRYING
    assert attempt(app, job_id).state == JobState.SUCCEEDED
    assert {request.headers["webhook-id"] for request in receiver.received} == {"order-7"}
    assert len({request.body for request in receiver.received}) == 1


def test_a_receiver_that_refuses_is_a_dead_letter(app: Flask, receiver: Server) -> None:
    receiver.answers = [answer("410 Gone")]
    assert attempt(app, enqueue(url=receiver.url, payload={})).state == JobState.DEAD
    assert len(receiver.received) == 1


def test_a_host_in_trouble_opens_its_own_breaker(app: Flask, receiver: Server) -> None:
    receiver.answers = [answer("503 Unavailable")]
    for _ in range(5):
        attempt(app, enqueue(url=receiver.url, payload={}))
    assert breaker("webhook:127.0.0.1").current_state == "open"


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "http://127.0.0.1:1/", "payload": {}},
        {"url": "ftp://example.com/", "payload": {}},
        {"url": "https://ada:hunter2@example.com/", "payload": {}},
        {"url": "", "payload": {}},
        {"url": "https://example.com/", "payload": [1]},
        {"url": "https://example.com/"},
        {"url": "https://example.com/", "payload": {}, "delivery_id": "a b"},
        {"url": "https://example.com/", "payload": {}, "delivery_id": "a\nb"},
        {"url": "https://example.com/", "payload": {}, "delivery_id": "a\n"},
        {"url": "https://example.com/", "payload": {}, "headers": {}},
    ],
)
def test_what_cannot_be_sent_is_refused_when_it_is_enqueued(arguments: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        enqueue(**arguments)
