"""The edge as the Procfile starts it, beside a real console: flags change, the console dies."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import httpx
import pytest

from tests.processes import Deployment, is_up, wait_until
from tests.servers import LOOPBACK, free_port
from webapp.roles import Role

pytestmark = pytest.mark.fault

FLAGS: Final = "/api/v1/feature-flags"
NOWHERE: Final = "sqlite:////nowhere/at/all.db"
GRACE: Final = 4
# Each of the two processes of the edge has been asked by then.
ENOUGH: Final = 20


class Programs:
    """Programs that show a token to the console, and to an edge."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.console_port, self.edge_port = free_port(), free_port()
        self.token = deployment.make_token(Role.ADMIN)
        self.headers = {"Authorization": f"Bearer {self.token}"}
        # A connection for each request: any process of a server may then answer.
        self._client = httpx.Client(headers=self.headers | {"Connection": "close"}, timeout=20)

    def close(self) -> None:
        self._client.close()

    def start_console(self) -> subprocess.Popen[bytes]:
        return self.deployment.start_web(self.console_port)

    def start_edge(self, **environ: str) -> subprocess.Popen[bytes]:
        """Start an edge that has no database: it is told of the console, or has Redis."""
        told = {"DATABASE_URL": NOWHERE, "SHUTDOWN_GRACE": str(GRACE), "FF_CACHE_TTL": "3"}
        if "REDIS_URL" not in self.deployment.environ:
            console = f"http://{LOOPBACK}:{self.console_port}"
            told |= {"EDGE_UPSTREAM": console, "EDGE_TOKEN": self.token}
        edge = self.deployment.start_edge(self.edge_port, **(told | environ))
        wait_until(
            lambda: is_up(self.edge_port),
            seconds=40,
            what=f"the edge is up\n{self.deployment.log('edge')}",
        )
        return edge

    def console(self, method: str, path: str = "", **body: object) -> httpx.Response:
        url = f"http://{LOOPBACK}:{self.console_port}{FLAGS}{path}"
        return self._client.request(method, url, json=body or None)

    def evaluate(self, path: str = "/beta/evaluate") -> httpx.Response:
        url = f"http://{LOOPBACK}:{self.edge_port}{FLAGS}{path}"
        return self._client.post(url, json={"user_id": "u"})

    def all_say(self, *, on: bool) -> bool:
        """Tell whether every process of the edge answers so."""
        answers = [self.evaluate() for _ in range(ENOUGH)]
        assert {answer.status_code for answer in answers} == {200}
        return {answer.json()["enabled"] for answer in answers} == {on}

    def ready(self) -> int:
        """Return the worst that any process of the edge says of itself."""
        url = f"http://{LOOPBACK}:{self.edge_port}/ready"
        return max(self._client.get(url).status_code for _ in range(ENOUGH))

    def turn(self, *, on: bool) -> None:
        assert self.console("PUT", "/beta", enabled=on, reason="r").status_code == 200

    @contextmanager
    def asking_all_the_time(self) -> Iterator[list[int]]:
        """Have the edge asked by another thread, and collect what it answered; 0 is nothing."""
        answered: list[int] = []
        over = threading.Event()

        def ask() -> None:
            while not over.is_set():
                try:
                    answered.append(self.evaluate().status_code)
                except httpx.TransportError:
                    answered.append(0)

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield answered
        finally:
            over.set()
            thread.join()


@pytest.fixture
def strangers(deployment: Deployment) -> Iterator[Programs]:
    """Programs where no server runs yet."""
    programs = Programs(deployment)
    yield programs
    programs.close()


@pytest.fixture
def console(strangers: Programs) -> subprocess.Popen[bytes]:
    """A console that runs, with one flag that is on."""
    process = strangers.start_console()
    made = strangers.console("POST", name="beta", enabled=True, percentage=100)
    assert made.status_code == 201, made.text
    return process


@pytest.fixture
def programs(strangers: Programs, console: subprocess.Popen[bytes]) -> Programs:
    """Programs of a console that runs."""
    return strangers


def test_an_edge_answers_while_flags_change_and_the_console_is_killed(
    programs: Programs, console: subprocess.Popen[bytes]
) -> None:
    deployment = programs.deployment
    programs.start_edge()
    wait_until(lambda: programs.evaluate().status_code == 200, seconds=30, what="the first answer")
    with programs.asking_all_the_time() as answered:
        for on in (False, True, False):
            programs.turn(on=on)
            wait_until(
                lambda wanted=on: programs.all_say(on=wanted),  # type: ignore[misc]
                seconds=10,
                what=f"the change to {on}",
            )
        # What is trusted for so short a time is stale for a moment on a machine that is busy.
        wait_until(lambda: programs.ready() == 200, seconds=10, what="the flags are confirmed")
        deployment.kill(console)
        if "REDIS_URL" not in deployment.environ:
            wait_until(lambda: programs.ready() == 503, seconds=10, what="the flags are stale")
        assert programs.all_say(on=False)
        programs.start_console()
        wait_until(lambda: programs.ready() == 200, seconds=10, what="the flags are fresh")
        programs.turn(on=True)
        wait_until(lambda: programs.all_say(on=True), seconds=10, what="the change after the kill")
    assert len(answered) > ENOUGH
    assert set(answered) == {200}


def test_an_edge_that_is_told_to_end_does_and_tells_what_it_counted(programs: Programs) -> None:
    if "REDIS_URL" in programs.deployment.environ:
        programs.deployment.start_consumer()
    edge = programs.start_edge()
    wait_until(lambda: programs.evaluate().status_code == 200, seconds=30, what="the first answer")
    asked = programs.console("GET", "/metrics/beta").json()["on"]
    assert all(programs.evaluate().status_code == 200 for _ in range(ENOUGH))
    # A program that keeps its connection open holds up no end.
    with httpx.Client(headers=programs.headers) as kept:
        url = f"http://{LOOPBACK}:{programs.edge_port}{FLAGS}/beta/evaluate"
        assert kept.post(url, json={}).status_code == 200
        assert_ends_within_its_grace(edge)

    def told() -> bool:
        return bool(programs.console("GET", "/metrics/beta").json()["on"] >= asked + ENOUGH)

    wait_until(told, seconds=20, what="what was counted joins the figures")


def assert_ends_within_its_grace(edge: subprocess.Popen[bytes]) -> None:
    """Tell an edge to end: it does, with all its processes."""
    began = time.monotonic()
    edge.send_signal(signal.SIGTERM)
    assert edge.wait(GRACE + 10) == 0
    assert time.monotonic() - began < GRACE + 5
    assert not group_lives(edge.pid)


@pytest.mark.parametrize("deployment", ["sqlite"], indirect=True)
def test_an_edge_in_the_middle_of_a_body_ends_within_its_grace(programs: Programs) -> None:
    edge = programs.start_edge()
    wait_until(lambda: programs.evaluate().status_code == 200, seconds=30, what="the first answer")
    with socket.create_connection((LOOPBACK, programs.edge_port)) as unfinished:
        unfinished.sendall(half_a_request(programs.token))
        # Whoever answers this has begun to read the other by now.
        assert programs.all_say(on=True)
        assert_ends_within_its_grace(edge)


def half_a_request(token: str) -> bytes:
    lines = [
        f"POST {FLAGS}/beta/evaluate HTTP/1.1",
        "Host: edge",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        "Content-Length: 100",
    ]
    return "\r\n".join([*lines, "", "{"]).encode()


def group_lives(group: int) -> bool:
    """Tell whether any process of a group is left."""
    with suppress(ProcessLookupError):
        os.killpg(group, 0)
        return True
    return False


@pytest.mark.parametrize("deployment", ["sqlite"], indirect=True)
def test_an_edge_whose_settings_are_invalid_ends_and_says_what_is_wrong(
    deployment: Deployment,
) -> None:
    edge = deployment.start_edge(free_port(), EDGE_UPSTREAM="https://console.internal")
    assert edge.wait(40) != 0
    said = deployment.log("edge")
    assert "EDGE_TOKEN: is needed where EDGE_UPSTREAM is set" in said
    assert "Traceback" not in said
    assert not group_lives(edge.pid)


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.parametrize("deployment", ["servers"], indirect=True)
def test_a_consumer_alone_fills_redis_for_an_edge(strangers: Programs) -> None:
    """A console that nobody visits reads no flags, and publishes none."""
    strangers.deployment.start_consumer()
    strangers.start_edge()
    wait_until(
        lambda: strangers.evaluate("/evaluate-bulk").status_code == 200,
        seconds=20,
        what="flags and tokens are published",
    )
