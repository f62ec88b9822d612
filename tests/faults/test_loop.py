"""gunicorn's loop, which answers evaluations by itself.

Everything is asked over sockets of the test's own, byte by byte where that matters.
"""

import json
import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, Final

import pytest

from tests.processes import Deployment, deployed, wait_until
from tests.servers import free_port
from webapp.actors import COMMAND
from webapp.clock import now
from webapp.db import transaction
from webapp.flags.service import create_flag
from webapp.flags.values import FlagDraft, Variant
from webapp.roles import Role

pytestmark = pytest.mark.fault

HOST: Final = "127.0.0.1"
ONE: Final = "/api/v1/feature-flags/loop.on/evaluate"
MANY: Final = "/api/v1/feature-flags/evaluate-bulk"
OFREP: Final = "/ofrep/v1/evaluate/flags"
FLAGS: Final = 120
#: So many answers with so many of these are more than the buffers of both ends take.
HEAVY: Final = "x" * 16_000
HEAVY_FLAGS: Final = 100
HEAVY_ANSWERS: Final = 8
MOST: Final = 50
# Longer than a test holds the thread, and no longer than one waits.
SILENT_SECONDS: Final = 5
# What differs from one answer, or from one process, to the next.
VARYING: Final = {"x-request-id", "date", "content-length", "allow"}
VARYING_FIELDS: Final = {"evaluation_time_ms", "request_id"}


class Server:
    """One process with one thread, and a token for it."""

    def __init__(self, deployment: Deployment, token: str, **environ: str) -> None:
        self.deployment = deployment
        self.token = token
        self.port = free_port()
        self.process = deployment.start_web(self.port, 1, **({"WEB_THREADS": "1"} | environ))

    @contextmanager
    def connection(self) -> Iterator[HTTPConnection]:
        """A connection that is kept open, and has had its first answer."""
        with closing(HTTPConnection(HOST, self.port, timeout=20)) as connection:
            assert self.ask(connection, ONE).status == 200
            yield connection

    def ask(
        self, connection: HTTPConnection, path: str, body: object = None, **headers: str
    ) -> "Answer":
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        text = json.dumps({} if body is None else body)
        connection.request("POST", path, text, sent | headers)
        return Answer(connection.getresponse())

    def raw(self, path: str, body: bytes, *more: str) -> bytes:
        """Write a request out; ``more`` are further lines of its head."""
        lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}"]
        lines += [f"Authorization: Bearer {self.token}", "Content-Type: application/json", *more]
        return "\r\n".join([*lines, "", ""]).encode() + body

    @contextmanager
    def all_threads_busy(self) -> Iterator[None]:
        """Begin a request and fall silent: the server's only thread waits for the rest."""
        with socket.create_connection((HOST, self.port), timeout=20) as silent:
            silent.sendall(f"GET /health HTTP/1.1\r\nHost: {HOST}\r\n".encode())
            with closing(HTTPConnection(HOST, self.port, timeout=1)) as page:
                page.request("GET", "/health")
                with pytest.raises(TimeoutError):
                    page.getresponse()
            yield


class Answer:
    """An answer that was read to its end."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    def told(self) -> tuple[int, object, list[tuple[str, str]]]:
        """All of it that must not depend on who gives it."""
        document = self.document if self.body else None
        if isinstance(document, dict):
            document = {key: document[key] for key in document.keys() - VARYING_FIELDS}
        headers = [(name.lower(), value) for name, value in self.headers.items()]
        return self.status, document, sorted(item for item in headers if item[0] not in VARYING)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("loop")
    with deployed(folder, REQUEST_LIMITS="true", REQUEST_LIMIT_EVALUATIONS="1000000") as deployment:
        with deployment.looked_into():
            token = deployment.make_token(Role.VIEWER)
            with transaction() as session:
                for draft in drafts():
                    create_flag(session, draft, by=COMMAND, now=now(), reason="r")
        yield Server(deployment, token, RECEIVE_TIMEOUT=str(SILENT_SECONDS))


@pytest.fixture(scope="module")
def by_threads(server: Server) -> Server:
    """The same served by gunicorn's own worker."""
    return Server(server.deployment, server.token, GUNICORN_CMD_ARGS="--worker-class gthread")


def drafts() -> Iterator[FlagDraft]:
    yield FlagDraft(name="loop.on", enabled=True, percentage=100)
    for number in range(FLAGS):
        heavy = (Variant(name="v", weight=1, value=HEAVY),) if number < HEAVY_FLAGS else ()
        yield FlagDraft(name=f"loop.{number}", enabled=True, percentage=100, variants=heavy)


def test_evaluations_are_answered_while_every_thread_is_busy(server: Server) -> None:
    # http.client sends head and body apart.
    with server.connection() as kept, server.all_threads_busy():
        for _ in range(3):
            assert server.ask(kept, ONE, {"user_id": "ada"}).document["enabled"] is True
        named = {"user_id": "ada", "flag_names": ["loop.on", "nobody.made"]}
        flags = server.ask(kept, MANY, named).document["flags"]
        assert [flags[name]["enabled"] for name in named["flag_names"]] == [True, False]
        asked = {"context": {"targetingKey": "ada"}}
        assert server.ask(kept, f"{OFREP}/loop.on", asked).document["value"] is True
        # And on connections that are new.
        for _ in range(3):
            with server.connection():
                pass


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        (ONE, {"user_id": "ada"}, {}),
        (ONE, {"user_id": "ada"}, {"X-Request-ID": "mine"}),
        (ONE, {"user_id": "ada"}, {"Origin": "https://elsewhere.example"}),
        (f"{ONE}?a=b", {"user_id": "ada"}, {}),
        ("/v1/feature-flags/loop.on/evaluate", {"user_id": "ada"}, {}),
        ("/api/v1/feature-flags/loop.on/check", {"user_id": "ada"}, {}),
        ("/api/v1/feature-flags/nobody.made/evaluate", {}, {}),
        ("/api/v1/feature-flags/a%2Fb/evaluate", {}, {}),
        ("/api/v1/feature-flags/loop.on", {}, {}),
        (MANY, {"flag_names": ["loop.on"]}, {}),
        (MANY, {"flag_names": [f"loop.{number}" for number in range(FLAGS)]}, {}),
        (MANY, {}, {}),
        (f"{OFREP}/loop.on", {"context": {"targetingKey": "ada"}}, {}),
        (f"{OFREP}/loop.on", {"context": 1}, {}),
        (OFREP, {"context": {"targetingKey": "ada"}}, {}),
        (ONE, {"user_id": ["no", "id"]}, {}),
        (ONE, "no object", {}),
        (ONE, {}, {"Authorization": "Bearer no-such-token"}),
        (ONE, {}, {"Authorization": ""}),
        (ONE, {}, {"Content-Type": "text/plain"}),
        (ONE, {}, {"Connection": "close"}),
    ],
)
def test_the_loop_answers_as_a_thread_does(
    server: Server, by_threads: Server, path: str, body: object, headers: dict[str, str]
) -> None:
    with by_threads.connection() as other:
        wanted = by_threads.ask(other, path, body, **headers)
    with closing(HTTPConnection(HOST, server.port, timeout=20)) as new:
        assert server.ask(new, path, body, **headers).told() == wanted.told()
    with server.connection() as kept:
        assert server.ask(kept, path, body, **headers).told() == wanted.told()
        # What comes next is answered too, where it was closed on a new connection.
        assert server.ask(kept, ONE).status == 200


@pytest.mark.parametrize("at", [1, 30, -3])
def test_a_request_that_comes_in_parts_is_answered(server: Server, at: int) -> None:
    body = b'{"user_id": "ada"}'
    asked = server.raw(ONE, body, f"Content-Length: {len(body)}")
    with server.connection() as kept, server.connection() as other:
        kept.sock.sendall(asked[:at])
        # The loop, which takes one after the other, has then had the first part.
        for _ in range(2):
            assert server.ask(other, ONE).status == 200
        kept.sock.sendall(asked[at:])
        assert answers_on(kept.sock, 1)[0]["enabled"] is True
        assert server.ask(kept, ONE).status == 200


def test_clients_that_say_nothing_hold_no_thread(server: Server) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection((HOST, server.port), timeout=20))
        # gunicorn's own worker would give each of them a thread, for five seconds.
        with closing(HTTPConnection(HOST, server.port, timeout=SILENT_SECONDS - 1)) as page:
            page.request("GET", "/health")
            assert page.getresponse().status == 200


def test_a_client_that_falls_silent_holds_no_thread_and_is_let_go(server: Server) -> None:
    with server.connection() as kept:
        kept.sock.sendall(server.raw(ONE, b'{"user', "Content-Length: 18"))
        with closing(HTTPConnection(HOST, server.port, timeout=SILENT_SECONDS - 1)) as page:
            page.request("GET", "/health")
            assert page.getresponse().status == 200
        assert kept.sock.recv(1) == b""


@pytest.mark.parametrize(
    ("body", "more"),
    [
        (b"2\r\n{}\r\n0\r\n\r\n", ["Transfer-Encoding: chunked"]),
        (b"{}", ["Content-Length: 2", "Expect: 100-continue"]),
        (b"", []),
    ],
    ids=["chunked", "expecting", "empty"],
)
def test_bodies_of_other_kinds_are_read(server: Server, body: bytes, more: list[str]) -> None:
    with server.connection() as kept:
        for _ in range(2):
            kept.sock.sendall(server.raw(ONE, body, *more))
            assert answers_on(kept.sock, 1)[0]["enabled"] is True


def test_requests_that_come_together_are_all_answered_in_their_order(server: Server) -> None:
    names = ["loop.on", "nobody.made", "loop.on", "loop.110"]
    path = "/api/v1/feature-flags/{}/evaluate"
    together = b"".join(server.raw(path.format(name), b"{}", "Content-Length: 2") for name in names)
    with server.connection() as kept:
        kept.sock.sendall(together)
        assert [answer["flag_name"] for answer in answers_on(kept.sock, len(names))] == names
        assert server.ask(kept, ONE).status == 200


def test_answers_that_the_client_does_not_take_hold_nobody_up(server: Server) -> None:
    named = {"flag_names": [f"loop.{number}" for number in range(HEAVY_FLAGS)], "user_id": "ada"}
    body = json.dumps(named).encode()
    with server.connection() as kept, server.connection() as other:
        for _ in range(HEAVY_ANSWERS):
            kept.sock.sendall(server.raw(MANY, body, f"Content-Length: {len(body)}"))
            # In the end the only thread waits for the client to read; the loop goes on.
            for _ in range(3):
                assert server.ask(other, ONE).status == 200
        for answer in answers_on(kept.sock, HEAVY_ANSWERS):
            assert {flag["value"] for flag in answer["flags"].values()} == {HEAVY}
        assert server.ask(kept, ONE).status == 200


def test_clients_that_go_leave_nothing_behind(server: Server) -> None:
    body = b'{"user_id": "ada"}'
    whole = server.raw(ONE, body, f"Content-Length: {len(body)}")
    at_once = struct.pack("ii", 1, 0)
    before = connections_of(server)
    for said in (b"", whole[:1], whole[:60], whole[:-1], whole, whole * 3, b"odd\r\n\r\n"):
        for resets in (False, True):
            with socket.create_connection((HOST, server.port), timeout=20) as client:
                client.sendall(said)
                if resets:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    with server.connection() as kept:
        assert server.ask(kept, ONE).status == 200
    wait_until(
        lambda: connections_of(server) <= before, seconds=20, what="all connections are closed"
    )


def connections_of(server: Server) -> int:
    """Count the sockets of the process that answers, that to which others connect among them."""
    (worker,) = (
        Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    )
    found = 0
    for descriptor in Path(f"/proc/{worker}/fd").iterdir():
        # It may be closed meanwhile.
        with suppress(FileNotFoundError):
            found += descriptor.readlink().name.startswith("socket:")
    return found


def answers_on(connection: socket.socket, number: int) -> list[Any]:
    """Read so many answers, and their documents."""
    documents: list[Any] = []
    with connection.makefile("rb") as stream:
        while len(documents) < number:
            status = stream.readline()
            lengths = []
            while (line := stream.readline().strip().lower()) != b"":
                if line.startswith(b"content-length:"):
                    lengths.append(int(line.split(b":")[1]))
            if b" 100 " in status:
                continue
            assert b" 200 " in status, status
            documents.append(json.loads(stream.read(lengths[0])))
    return documents


def test_each_evaluation_is_counted_once_whoever_answers_it(server: Server) -> None:
    limited = Server(server.deployment, server.token, REQUEST_LIMIT_EVALUATIONS=str(MOST))
    with limited.connection() as kept:
        # One was asked to begin with. What is refused is asked of the loop, then of a thread.
        asked = [{"user_id": ["no", "id"]}, {"user_id": "ada"}] * MOST
        statuses = [limited.ask(kept, ONE, body).status for body in asked]
    assert statuses[: MOST - 1] == ([422, 200] * MOST)[: MOST - 1]
    assert set(statuses[MOST - 1 :]) == {429}
    server.deployment.end(limited.process)


def test_a_server_that_is_told_to_end_closes_with_its_answer(server: Server) -> None:
    ending = Server(server.deployment, server.token, RECEIVE_TIMEOUT="60")
    with ExitStack() as stack:
        # One that never says anything.
        stack.enter_context(socket.create_connection((HOST, ending.port), timeout=20))
        kept = [stack.enter_context(ending.connection()) for _ in range(3)]
        with ending.all_threads_busy():
            os.kill(ending.process.pid, signal.SIGTERM)
            answers = []
            for connection in kept:
                answers.append(ending.ask(connection, ONE))
                if answers[-1].headers["Connection"] != "close":
                    # The signal was still under way.
                    answers.append(ending.ask(connection, ONE))
        assert {answer.status for answer in answers} == {200}
        assert answers[-1].headers["Connection"] == "close"
        # Nor does it wait for whoever stays connected.
        assert ending.process.wait(20) == 0
