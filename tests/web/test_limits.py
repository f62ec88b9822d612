"""Limits of requests: by kind and asker, told in headers, and refused with the wait."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import ConsoleClient, end
from tests.servers import RedisServer
from webapp.accounts.service import create_token
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.clock import now
from webapp.db import transaction
from webapp.roles import Role
from webapp.settings import Settings

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")

READ = "/api/v1/queue/job-types"
WRITE = "/api/v1/queue/jobs/test_echo"
EVALUATE = "/api/v1/feature-flags/beta/evaluate"
Build = Callable[..., Flask]


@pytest.fixture
def build(settings: Settings, app: Flask) -> Iterator[Build]:
    """Build an application on the same database that limits requests."""
    made: list[Flask] = []

    def another(**changes: Any) -> Flask:
        other = create_app(replace(settings, **({"request_limits": True} | changes)))
        other.test_client_class = ConsoleClient
        made.append(other)
        return other

    yield another
    for other in made:
        end(other)


class Program:
    """A program with a token of its own."""

    def __init__(self, app: Flask, name: str = "shop") -> None:
        with app.app_context(), transaction() as session:
            made = create_token(session, name, role=Role.ADMIN, by=COMMAND, now=now())
        self.headers = {"Authorization": f"Bearer {made.text}"}
        self.client = FlaskClient(app, use_cookies=False)

    def send(self, path: str, method: str = "GET", **kwargs: Any) -> TestResponse:
        return self.client.open(path, method=method, headers=self.headers, **kwargs)

    def statuses(self, number: int, path: str, method: str = "GET") -> list[int]:
        return [self.send(path, method).status_code for _ in range(number)]


def test_reads_and_writes_are_counted_each_for_themselves(build: Build) -> None:
    program = Program(build(request_limit_reads=4, request_limit_writes=2))
    assert program.statuses(3, WRITE, "POST") == [202, 202, 429]
    assert program.statuses(5, READ) == [200] * 4 + [429]


def test_all_addresses_of_a_kind_are_counted_together(build: Build) -> None:
    program = Program(build(request_limit_reads=2))
    paths = (READ, "/api/v1/segments", "/v1/feature-flags")
    assert [program.send(path).status_code for path in paths] == [200, 200, 429]


def test_every_token_has_its_own_and_strangers_are_counted_by_address(build: Build) -> None:
    app = build(request_limit_reads=2)
    assert Program(app, "shop").statuses(3, READ) == [200, 200, 429]
    assert Program(app, "depot").statuses(1, READ) == [200]
    strangers = FlaskClient(app, use_cookies=False)
    guesses = [
        strangers.get(READ, headers={"Authorization": f"Bearer swy_{number}"}).status_code
        for number in range(3)
    ]
    assert guesses == [401, 401, 429]
    elsewhere = strangers.get(READ, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert elsewhere.status_code == 401


def test_what_is_left_is_told_and_who_has_had_all_is_told_to_wait(build: Build) -> None:
    program = Program(build(request_limit_reads=2))
    first, second, refused = (program.send(READ) for _ in range(3))
    told = [
        (item.headers["RateLimit-Limit"], item.headers["RateLimit-Remaining"])
        for item in (first, second, refused)
    ]
    assert told == [("2", "1"), ("2", "0"), ("2", "0")]
    assert 0 < int(first.headers["RateLimit-Reset"]) <= 61
    assert refused.status_code == 429
    assert refused.content_type == "application/problem+json"
    assert 0 < int(refused.headers["Retry-After"]) <= 61
    assert refused.get_json()["detail"].startswith("More than 2 reads a minute. Try again in ")
    assert "Retry-After" not in first.headers


def test_zero_is_no_limit_and_so_is_the_switch(build: Build) -> None:
    assert set(Program(build(request_limit_reads=0)).statuses(9, READ)) == {200}
    off = build(request_limit_reads=1, request_limits=False)
    assert set(Program(off, "depot").statuses(3, READ)) == {200}


def test_tries_to_sign_in_are_counted_by_address_whoever_they_are_for(build: Build) -> None:
    browser = build(request_limit_sign_in=3).test_client()
    tries = [
        browser.post("/sign-in", data={"username": f"user{number}", "password": "x"}).status_code
        for number in range(4)
    ]
    assert tries == [422, 422, 422, 429]
    assert browser.get("/sign-in").status_code == 200


def test_pages_have_a_limit_of_their_own_and_tell_it_in_a_page(build: Build) -> None:
    app = build(request_limit_pages=3, request_limit_reads=1)
    browser = app.test_client()
    assert isinstance(browser, ConsoleClient)
    browser.sign_in(Role.VIEWER)
    answers = [browser.get("/workers") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].content_type.startswith("text/html")
    assert "RateLimit-Limit" not in answers[0].headers


@pytest.mark.parametrize("path", ["/health", "/static/css/base.css", "/sign-in"])
def test_probes_and_files_are_never_refused(build: Build, path: str) -> None:
    client = build(request_limit_pages=1, request_limit_reads=1).test_client()
    for _ in range(4):
        with client.get(path) as answer:
            assert answer.status_code == 200


def test_what_edges_ask_at_their_own_pace_is_counted_with_evaluations(build: Build) -> None:
    program = Program(build(request_limit_reads=1, request_limit_writes=1))
    program.send(EVALUATE, "POST")
    assert set(program.statuses(5, "/api/v1/token")) == {200}
    assert set(program.statuses(5, "/api/v1/feature-flags/snapshot")) == {200}
    reports = [program.send("/api/v1/feature-flags/usage", "POST", json={}) for _ in range(5)]
    assert {answer.status_code for answer in reports} == {204}


def test_evaluations_are_counted_once_whichever_way_they_go(build: Build) -> None:
    """The short cut answers the first; a body that is no JSON goes on to the views."""
    program = Program(build(request_limit_evaluations=3))
    assert program.statuses(1, EVALUATE, "POST") == [200]
    assert (
        program.send(EVALUATE, "POST", data="{", content_type="application/json").status_code == 400
    )
    assert program.statuses(1, "/api/v1/feature-flags/beta/check") == [200]
    refused = program.send(EVALUATE, "POST")
    assert refused.status_code == 429
    assert refused.content_type == "application/problem+json"
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert refused.get_json()["detail"].startswith("More than 3 evaluations a minute.")


def test_a_repeated_request_is_counted_before_its_key_is_looked_at(build: Build) -> None:
    program = Program(build(request_limit_writes=2))
    program.headers["Idempotency-Key"] = "order-1"
    job = "/api/v1/queue/jobs/test_echo"
    answers = [program.send(job, "POST", json={}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[1].headers["Idempotency-Replayed"] == "true"


@pytest.mark.redis
def test_redis_counts_for_all_processes_and_each_counts_for_itself_without(
    build: Build, redis_server: RedisServer
) -> None:
    redis_server.flush()
    one, other = (build(redis_url=redis_server.url, request_limit_reads=4) for _ in range(2))
    program = Program(one)
    program_elsewhere = Program.__new__(Program)
    program_elsewhere.headers = program.headers
    program_elsewhere.client = FlaskClient(other, use_cookies=False)
    assert program.statuses(2, READ) == [200, 200]
    assert program_elsewhere.statuses(3, READ) == [200, 200, 429]
    redis_server.stop()
    try:
        assert program.statuses(5, READ) == [200] * 4 + [429]
    finally:
        redis_server.start()
