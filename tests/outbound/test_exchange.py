"""Requests of guarded calls, over real sockets: where they go, what they take, what they share."""

import asyncio
import gc
import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.http_server import HEAD, OK, Server, answer, drip, read_request, stall
from tests.outbound.net import PUBLIC, Net
from webapp.outbound.clients import allow_hosts
from webapp.outbound.http import exchange, exchange_async
from webapp.outbound.values import AddressRefused, AnswerTooLarge, Bounds, TimeLimitExceeded

NAME = "api.example"
JUDGED = Bounds(seconds=5)
TRUSTED = Bounds(seconds=5, trusted=True)
# Far less than the server takes, so that nobody waits for its end.
SHORT = Bounds(seconds=0.4, trusted=True)

Exchange = Callable[..., httpx.Response]


def awaited(*arguments: Any, **options: Any) -> httpx.Response:
    return asyncio.run(exchange_async(*arguments, **options))


BOTH = pytest.mark.parametrize("exchange", [exchange, awaited], ids=["plain", "awaited"])


@pytest.fixture
def other() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


class KeepingServer(Server):
    """Answers every request of a connection, and counts the connections."""

    def __init__(self) -> None:
        self.connections = 0
        super().__init__()

    def _answer(self, plain: socket.socket) -> None:
        self.connections += 1
        with plain:
            while request := read_request(plain):
                self.received.append(request)
                reply = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                assert isinstance(reply, bytes)
                plain.sendall(reply)


@pytest.fixture
def keeping() -> Iterator[KeepingServer]:
    server = KeepingServer()
    yield server
    # What still hangs on it would let its threads wait.
    allow_hosts(())
    server.close()


@BOTH
def test_a_request_is_made_whole_and_its_answer_comes_back_decoded(
    server: Server, exchange: Exchange
) -> None:
    body = gzip.compress(b'{"rows": 3}')
    server.answers = [answer("200 OK", "Content-Encoding: gzip", body=body)]
    response = exchange("POST", server.url, TRUSTED, json={"a": 1}, params={"page": 2})
    assert response.json() == {"rows": 3}
    assert response.url.query == b"page=2"
    assert server.received[0].body == b'{"a":1}'


@BOTH
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]"])
def test_no_local_address_is_called_unless_the_program_vouches_for_it(
    server: Server, exchange: Exchange, host: str
) -> None:
    with pytest.raises(AddressRefused):
        exchange("GET", f"http://{host}:{server.port}/", JUDGED)
    assert server.received == []


@BOTH
def test_an_allowed_host_is_called_whatever_its_address(server: Server, exchange: Exchange) -> None:
    allow_hosts([f"127.0.0.1:{server.port}"])
    assert exchange("GET", server.url, JUDGED).status_code == 200


@BOTH
def test_a_name_that_points_inside_is_not_called(
    net: Net, server: Server, exchange: Exchange
) -> None:
    net.names[NAME] = [[PUBLIC, "10.0.0.1"]]
    with pytest.raises(AddressRefused, match="private address"):
        exchange("GET", f"http://{NAME}/", JUDGED)
    assert net.called == []
    assert server.received == []


def test_what_was_checked_is_what_is_connected_to(net: Net, server: Server) -> None:
    net.names[NAME] = [[PUBLIC], ["127.0.0.1"]]
    exchange("GET", f"http://{NAME}/", JUDGED)
    assert (net.asked, net.called) == ([NAME], [(PUBLIC, 80)])
    assert server.received[0].headers["host"] == NAME


@BOTH
def test_a_redirect_is_followed_and_what_it_leads_to_is_judged(
    server: Server, other: Server, exchange: Exchange
) -> None:
    server.answers = [answer("302 Found", f"Location: {other.url}")]
    with pytest.raises(AddressRefused):
        # The program vouches for its own address, not for where that leads.
        exchange("GET", server.url, TRUSTED)
    assert other.received == []
    allow_hosts([f"127.0.0.1:{other.port}"])
    response = exchange("GET", server.url, TRUSTED)
    assert [item.status_code for item in (*response.history, response)] == [302, 200]


@BOTH
@pytest.mark.parametrize(
    "host", ["[::ffff:127.0.0.1]", "[::1]", "2130706433", "0.0.0.0", "localhost", "inside.example"]
)
def test_no_redirect_leads_inside_however_it_is_written(
    net: Net, server: Server, other: Server, exchange: Exchange, host: str
) -> None:
    net.names["inside.example"] = [["127.0.0.1"]]
    server.answers = [answer("302 Found", f"Location: http://{host}:{other.port}/")]
    with pytest.raises(AddressRefused):
        exchange("GET", server.url, TRUSTED)
    assert other.received == []


@BOTH
def test_a_redirect_to_the_same_address_stays_trusted(server: Server, exchange: Exchange) -> None:
    server.answers = [answer("302 Found", "Location: /moved"), OK]
    assert exchange("GET", server.url, TRUSTED).status_code == 200
    assert server.received[1].line == "GET /moved HTTP/1.1"


@BOTH
def test_redirects_without_end_are_left(server: Server, exchange: Exchange) -> None:
    server.answers = [answer("302 Found", "Location: /")]
    with pytest.raises(httpx.TooManyRedirects):
        exchange("GET", server.url, TRUSTED)
    assert len(server.received) == 6


@BOTH
def test_what_is_meant_for_one_address_is_not_told_to_another(
    server: Server, other: Server, exchange: Exchange
) -> None:
    allow_hosts([f"127.0.0.1:{other.port}"])
    server.answers = [answer("302 Found", f"Location: {other.url}")]
    exchange("GET", server.url, TRUSTED, headers={"X-Api-Key": "k"}, auth=("app", "hunter2"))
    first, second = server.received[0].headers, other.received[0].headers
    assert first["x-api-key"] == "k"
    assert first["authorization"].startswith("Basic ")
    assert not {"x-api-key", "authorization"} & second.keys()
    assert second["host"] == f"127.0.0.1:{other.port}"


@BOTH
@pytest.mark.parametrize(
    "reply",
    [
        lambda server: stall(server, b""),
        lambda server: stall(server, HEAD),
        # Each byte comes in time, yet the whole does not.
        lambda server: drip(server, HEAD),
        lambda server: drip(server, b"HTTP/1.1 200 OK\r\nX-Long: "),
        lambda server: drip(server, b"HTTP/1.1 302 Found\r\nLocation: /"),
    ],
    ids=["stalled head", "stalled body", "dripping body", "dripping head", "dripping redirect"],
)
def test_a_slow_server_is_left_when_the_time_is_over(
    server: Server, exchange: Exchange, reply: Callable[[Server], Callable[[socket.socket], None]]
) -> None:
    server.answers = [reply(server)]
    # Were it not left, the server would end the answer itself, which is another error.
    with pytest.raises(TimeLimitExceeded, match=r"0\.4 s"):
        exchange("GET", server.url, SHORT)


@BOTH
def test_a_server_that_does_not_read_is_left_when_the_time_is_over(exchange: Exchange) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(TimeLimitExceeded):
            exchange("POST", url, SHORT, content=b"x" * 50_000_000)


@BOTH
def test_a_server_that_shakes_no_hands_is_left_when_the_time_is_over(exchange: Exchange) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(TimeLimitExceeded):
            exchange("GET", url, SHORT)
    # A connection that was left open would be told of here.
    gc.collect()


@BOTH
def test_a_name_that_nobody_answers_for_is_left_when_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch, exchange: Exchange
) -> None:
    answered = threading.Event()
    asked: list[str] = []

    def hang(host: str, *rest: Any, **named: Any) -> Any:
        asked.append(host)
        answered.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    for _ in range(3):
        with pytest.raises(TimeLimitExceeded):
            exchange("GET", "http://slow-names.example/", Bounds(seconds=0.1))
    # Those who come while nobody answers hold up no thread of their own.
    assert asked == ["slow-names.example"]
    answered.set()


@BOTH
def test_an_answer_without_end_is_left_when_it_is_too_large(
    server: Server, exchange: Exchange
) -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not server.stopped.is_set():
            connection.send(b"x" * 65_536)

    server.answers = [flood]
    with pytest.raises(AnswerTooLarge, match="larger than 100,000 bytes"):
        exchange("GET", server.url, Bounds(seconds=10, max_bytes=100_000, trusted=True))


@BOTH
def test_a_question_without_end_before_the_answer_is_left_too(
    server: Server, exchange: Exchange
) -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(
            b"HTTP/1.1 401 Who\r\n"
            b'WWW-Authenticate: Digest realm="r", nonce="n", algorithm=SHA-256\r\n\r\n'
        )
        while not server.stopped.is_set():
            connection.send(b"x" * 65_536)

    server.answers = [flood]
    bounds = Bounds(seconds=10, max_bytes=100_000, trusted=True)
    with pytest.raises(AnswerTooLarge):
        exchange("GET", server.url, bounds, auth=httpx.DigestAuth("app", "hunter2"))


@BOTH
def test_an_answer_that_says_that_it_is_too_large_is_not_read(
    server: Server, exchange: Exchange
) -> None:
    server.answers = [stall(server, HEAD)]
    with pytest.raises(AnswerTooLarge, match="1,000 bytes"):
        exchange("GET", server.url, Bounds(seconds=10, max_bytes=999, trusted=True))


@BOTH
def test_a_few_bytes_that_become_many_are_too_large(server: Server, exchange: Exchange) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    server.answers = [answer("200 OK", "Content-Encoding: gzip", body=bomb)]
    with pytest.raises(AnswerTooLarge):
        exchange("GET", server.url, Bounds(seconds=10, max_bytes=100_000, trusted=True))


@BOTH
def test_the_headers_of_a_large_thing_may_be_asked_for(server: Server, exchange: Exchange) -> None:
    server.answers = [HEAD]
    response = exchange("HEAD", server.url, Bounds(seconds=5, max_bytes=10, trusted=True))
    assert response.headers["Content-Length"] == "1000"


def test_a_connection_is_kept_for_the_next_request(keeping: KeepingServer) -> None:
    for _ in range(3):
        exchange("GET", keeping.url, TRUSTED)
    assert (keeping.connections, len(keeping.received)) == (1, 3)


def test_the_connections_of_a_loop_are_kept_in_it_and_closed_with_it(
    keeping: KeepingServer,
) -> None:
    async def thrice() -> None:
        for _ in range(3):
            await exchange_async("GET", keeping.url, TRUSTED)

    asyncio.run(thrice())
    assert keeping.connections == 1
    asyncio.run(thrice())
    assert keeping.connections == 2


@BOTH
def test_a_trusted_connection_serves_no_call_that_must_be_judged(
    keeping: KeepingServer, exchange: Exchange
) -> None:
    exchange("GET", keeping.url, TRUSTED)
    with pytest.raises(AddressRefused):
        exchange("GET", keeping.url, JUDGED)
    assert len(keeping.received) == 1


@BOTH
def test_no_cookie_of_one_call_is_sent_with_another(server: Server, exchange: Exchange) -> None:
    server.answers = [answer("200 OK", "Set-Cookie: session=hush; Path=/"), OK]
    assert exchange("GET", server.url, TRUSTED).cookies["session"] == "hush"
    exchange("GET", server.url, TRUSTED)
    exchange("GET", server.url, TRUSTED, cookies={"mine": "yes"})
    assert "cookie" not in server.received[1].headers
    assert server.received[2].headers["cookie"] == "mine=yes"


@BOTH
def test_an_error_does_not_tell_what_the_path_hides(server: Server, exchange: Exchange) -> None:
    server.answers = [answer("404 Not Found")]
    with pytest.raises(httpx.HTTPStatusError) as refused:
        exchange("GET", f"{server.url}hush?token=hush", TRUSTED)
    assert str(refused.value) == "404 Not Found from 127.0.0.1"
    assert refused.value.response.url.path == "/hush"


@BOTH
@pytest.mark.parametrize("option", [{"timeout": 3}, {"follow_redirects": False}])
def test_what_the_bounds_decide_is_no_option(exchange: Exchange, option: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        exchange("GET", "http://service.example/", JUDGED, **option)


def test_a_coroutine_that_is_cancelled_stays_so_and_leaves_nothing_open(server: Server) -> None:
    server.answers = [stall(server, HEAD)]

    async def cancelled() -> bool:
        task = asyncio.create_task(exchange_async("GET", server.url, TRUSTED))
        while not server.received:  # noqa: ASYNC110  # the server is a thread
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(cancelled())
