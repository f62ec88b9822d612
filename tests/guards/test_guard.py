"""Guarded calls against a real server on a local socket that misbehaves in every known way."""

import asyncio
import socket
import ssl
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from tests.http_server import HEAD, OK, Server, answer, drip, reset_connection, stall
from webapp.breakers import registry
from webapp.breakers.circuit import OpenCircuitError
from webapp.breakers.registry import BreakerRegistry, breaker
from webapp.breakers.values import Thresholds
from webapp.guards import guard
from webapp.retries.classification import classify
from webapp.retries.values import ErrorClass, RetryConfig

QUICK = RetryConfig(max_attempts=3, initial_delay=0.01, max_delay=0.02)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the circuits of these tests out of any database."""
    monkeypatch.setattr(registry._current, "registry", BreakerRegistry())


@pytest.fixture
def name() -> str:
    return f"service-{uuid.uuid4().hex[:8]}"


def raised(action: Callable[[], object]) -> Exception:
    try:
        action()
    except Exception as error:  # noqa: BLE001  # that is what is asked
        return error
    raise AssertionError("nothing was raised")


GZIP = answer("200 OK", "Content-Encoding: gzip", body=b"no gzip at all")


@pytest.mark.parametrize(
    ("reply", "error_class"),
    [
        (lambda _: reset_connection, ErrorClass.NETWORK),
        (lambda _: lambda connection: None, ErrorClass.NETWORK),
        (lambda _: b"no http\r\n\r\n", ErrorClass.NETWORK),
        (lambda _: HEAD + b"cut short", ErrorClass.NETWORK),
        (lambda server: stall(server, b""), ErrorClass.TIMEOUT),
        (lambda server: stall(server, HEAD + b"and then nothing"), ErrorClass.TIMEOUT),
        # Each byte comes in time, yet the whole does not.
        (drip, ErrorClass.TIMEOUT),
        (lambda _: GZIP, ErrorClass.MALFORMED),
        (lambda _: answer("404 Not Found"), ErrorClass.NOT_FOUND),
        (lambda _: answer("401 Unauthorized"), ErrorClass.UNAUTHORIZED),
        (lambda _: answer("422 Unprocessable"), ErrorClass.BAD_REQUEST),
        (lambda _: answer("503 Unavailable"), ErrorClass.SERVER_ERROR),
        (lambda _: answer("302 Found", "Location: /"), ErrorClass.MISCONFIGURED),
    ],
    ids=[
        "reset", "closed", "no http", "cut body", "stalled head", "stalled body", "dripping body",
        "bad gzip", "404", "401", "422", "503", "redirect loop",
    ],
)  # fmt: skip
def test_what_goes_wrong_over_http_has_its_class(
    server: Server, name: str, reply: Callable[[Server], Any], error_class: ErrorClass
) -> None:
    server.answers = [reply(server)]
    began = time.monotonic()
    error = raised(lambda: guard(name, timeout=0.5).get(server.url, trusted=True))
    assert classify(error).error_class == error_class, repr(error)
    assert time.monotonic() - began < 2


def test_a_refused_connection_and_an_unknown_name_are_network_errors(
    server: Server, name: str
) -> None:
    server.close()
    for url in (server.url, "http://no-such-host.invalid/"):
        error = raised(lambda url=url: guard(name, timeout=5).get(url, trusted=True))  # type: ignore[misc]
        assert classify(error).error_class == ErrorClass.NETWORK


def test_a_certificate_that_nobody_vouches_for_is_a_misconfiguration(
    name: str, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, pytest.raises((ssl.SSLError, ConnectionError)):
                context.wrap_socket(connection, server_side=True)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        error = raised(lambda: guard(name, timeout=5).get(url, trusted=True))
        thread.join(5)
    assert isinstance(error, httpx.ConnectError)
    assert classify(error).error_class == ErrorClass.MISCONFIGURED


def test_a_good_answer_comes_back_whole_and_decoded(server: Server, name: str) -> None:
    server.answers = [answer("200 OK", "Content-Type: application/json", body=b'{"rows": 3}')]
    response = guard(name, timeout=5).get(server.url, trusted=True, params={"page": 1})
    assert response.json() == {"rows": 3}
    assert response.url.query == b"page=1"


def test_a_transient_answer_is_repeated_until_it_is_good(server: Server, name: str) -> None:
    server.answers = [answer("503 Unavailable"), reset_connection, OK]
    assert guard(name, retry=QUICK, timeout=5).get(server.url, trusted=True).text == "ok"
    assert server.methods == ["GET", "GET", "GET"]


def test_without_a_retry_nothing_is_repeated(server: Server, name: str) -> None:
    server.answers = [answer("503 Unavailable"), OK]
    with pytest.raises(httpx.HTTPStatusError):
        guard(name, timeout=5).get(server.url, trusted=True)
    assert server.methods == ["GET"]


@pytest.mark.parametrize(
    ("options", "requests"),
    [({}, 1), ({"headers": {"idempotency-key": "order-7"}}, 2), ({"repeat": True}, 2)],
    ids=["plain", "idempotency key", "allowed by the caller"],
)
def test_a_post_is_repeated_only_where_that_is_safe(
    server: Server, name: str, options: dict[str, Any], requests: int
) -> None:
    server.answers = [answer("503 Unavailable"), OK]
    with nullcontext() if requests == 2 else pytest.raises(httpx.HTTPStatusError):
        guard(name, retry=QUICK, timeout=5).post(
            server.url, trusted=True, content=b"pay", **options
        )
    assert server.methods == ["POST"] * requests


def test_a_retry_after_that_is_too_long_is_raised_on_with_its_wait(
    server: Server, name: str
) -> None:
    server.answers = [answer("429 Too Many Requests", "Retry-After: 120")]
    error = raised(lambda: guard(name, retry=QUICK, timeout=5).get(server.url, trusted=True))
    found = classify(error)
    assert found.error_class == ErrorClass.RATE_LIMITED
    assert found.retry_after is not None
    assert 120 <= found.retry_after <= 150
    assert server.methods == ["GET"]


def test_the_breaker_counts_each_attempt_and_an_open_one_ends_the_repeating(
    server: Server, name: str
) -> None:
    server.answers = [answer("503 Unavailable")]
    calls = guard(
        name,
        retry=RetryConfig(max_attempts=5, initial_delay=0.01),
        timeout=5,
        thresholds=Thresholds(failures=2),
    )
    with pytest.raises(OpenCircuitError):
        calls.get(server.url, trusted=True)
    assert len(server.methods) == 2
    assert breaker(name).current_state == "open"


@pytest.mark.parametrize("status", ["404 Not Found", "400 Bad Request"])
def test_an_answer_that_refuses_the_request_shows_that_the_service_works(
    server: Server, name: str, status: str
) -> None:
    server.answers = [answer("500 Error"), answer("500 Error"), answer(status)]
    for _ in range(3):
        with pytest.raises(httpx.HTTPStatusError):
            guard(name, timeout=5).get(server.url, trusted=True)
    assert breaker(name).fail_counter == 0


def fail(error: Exception) -> str:
    raise error


def test_a_fallback_answers_for_a_service_that_is_away_but_hides_no_bug(name: str) -> None:
    guarded = guard(name, fallback=lambda: "cached")
    assert guarded.call(fail, ConnectionResetError()) == "cached"
    with pytest.raises(TypeError):
        guarded.call(fail, TypeError())


def test_a_function_is_guarded_by_decoration(name: str) -> None:
    errors: list[Exception] = [ConnectionResetError(), TimeoutError()]

    @guard(name, retry=QUICK)
    def fetch(value: int) -> int:
        """Fetch."""
        if errors:
            raise errors.pop(0)
        return value

    assert fetch(7) == 7
    assert fetch.__doc__ == "Fetch."


def test_a_coroutine_is_guarded_in_its_time(name: str) -> None:
    calls: list[int] = []

    @guard(name, retry=QUICK, timeout=0.05)
    async def fetch() -> str:
        calls.append(1)
        if len(calls) < 3:
            await asyncio.Event().wait()
        return "at last"

    assert asyncio.run(fetch()) == "at last"
    assert len(calls) == 3
    assert breaker(name).fail_counter == 0


def test_a_coroutines_fallback_may_be_a_coroutine(name: str) -> None:
    async def cached() -> str:
        return "cached"

    @guard(name, fallback=cached)
    async def fetch() -> str:
        raise ConnectionResetError

    assert asyncio.run(fetch()) == "cached"


def test_a_block_is_guarded_and_blocks_may_be_nested(name: str) -> None:
    def outage() -> None:
        with guard(f"{name}-outer"), guard(name):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        outage()
    assert breaker(name).fail_counter == 1
    assert breaker(f"{name}-outer").fail_counter == 1
    with guard(name):
        pass
    assert breaker(name).fail_counter == 0


@pytest.mark.parametrize("options", [{"retry": QUICK}, {"timeout": 1}, {"fallback": str}])
def test_a_block_refuses_what_it_cannot_keep(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(TypeError), guard(name, **options):
        raise AssertionError("the block must not run")


def test_a_plain_function_refuses_a_time_limit_that_nobody_would_keep(name: str) -> None:
    with pytest.raises(TypeError):
        guard(name, timeout=1).call(lambda: None)


def test_a_failed_call_is_one_log_line_with_its_class_and_without_secrets(name: str) -> None:
    with capture_logs() as lines, pytest.raises(ConnectionResetError):
        guard(name).call(fail, ConnectionResetError("redis://app:hunter2@cache.example/0"))
    # The breakers' own thread may tell of its store meanwhile.
    (line,) = [line for line in lines if line["event"] == "guarded_call_failed"]
    assert line["guard"] == name
    assert line["error_class"] == ErrorClass.NETWORK
    assert "hunter2" not in str(line)
