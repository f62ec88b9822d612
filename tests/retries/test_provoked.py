"""Errors as libraries really raise them, against servers that misbehave: what a naive table trips
over.
"""

import asyncio
import contextlib
import json
import smtplib
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
import xml.parsers.expat
import xml.sax
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
import redis
import requests
import sqlalchemy as sa
import sqlalchemy.exc
import urllib3
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.http_server import HEAD, OK, Server, answer, drip, reset_connection, stall
from webapp.retries.classification import classify
from webapp.retries.values import BreakerEffect, ErrorClass

UNKNOWN = "http://no-such-host.invalid/"
SECONDS = 0.3


def by_requests(url: str) -> object:
    response = requests.get(url, timeout=SECONDS)
    response.raise_for_status()
    return response.json()


def by_httpx(url: str) -> object:
    response = httpx.get(url, timeout=SECONDS, follow_redirects=True)
    return response.raise_for_status().json()


def by_urllib3(url: str) -> object:
    with urllib3.PoolManager(retries=False, timeout=SECONDS) as pool:
        return pool.request("GET", url).json()


def by_urllib(url: str) -> object:
    with urllib.request.urlopen(url, timeout=SECONDS) as response:  # noqa: S310
        return json.load(response)


Client = Callable[[str], object]
CLIENTS = pytest.mark.parametrize(
    "get", [by_requests, by_httpx, by_urllib3, by_urllib], ids=lambda get: get.__name__
)


def raised(action: Callable[[], object]) -> Exception:
    try:
        action()
    except Exception as error:  # noqa: BLE001  # that is what is asked
        return error
    raise AssertionError("nothing was raised")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


GZIP = answer("200 OK", "Content-Encoding: gzip", body=b"no gzip at all")


@CLIENTS
@pytest.mark.parametrize(
    ("reply", "error_class"),
    [
        (lambda _: reset_connection, ErrorClass.NETWORK),
        (lambda _: lambda connection: None, ErrorClass.NETWORK),
        (lambda _: b"no http\r\n\r\n", ErrorClass.NETWORK),
        (lambda _: HEAD + b"cut short", ErrorClass.NETWORK),
        (lambda server: stall(server, b""), ErrorClass.TIMEOUT),
        # requests: a ConnectionError, no Timeout, with a ReadTimeoutError inside.
        (lambda server: stall(server, HEAD + b"and then nothing"), ErrorClass.TIMEOUT),
        (lambda _: answer("200 OK", body=b"{"), ErrorClass.MALFORMED),
    ],
    ids=["reset", "closed", "no http", "cut body", "stalled head", "stalled body", "bad json"],
)  # fmt: skip
def test_what_a_server_does_has_one_class_in_every_library(
    server: Server, get: Client, reply: Callable[[Server], Any], error_class: ErrorClass
) -> None:
    server.answers = [reply(server)]
    error = raised(lambda: get(server.url))
    assert classify(error).error_class == error_class, repr(error)


@pytest.mark.parametrize("get", [by_requests, by_httpx, by_urllib3])
def test_a_gzip_that_does_not_decode_is_malformed(server: Server, get: Client) -> None:
    server.answers = [GZIP]
    assert classify(raised(lambda: get(server.url))).error_class == ErrorClass.MALFORMED


@pytest.mark.parametrize("get", [by_requests, by_httpx, by_urllib])
@pytest.mark.parametrize(
    ("status", "error_class", "effect"),
    [
        ("429 Too Many", ErrorClass.RATE_LIMITED, BreakerEffect.NEUTRAL),
        ("503 Unavailable", ErrorClass.SERVER_ERROR, BreakerEffect.FAILURE),
        ("408 Timeout", ErrorClass.TIMEOUT, BreakerEffect.FAILURE),
        ("404 Not Found", ErrorClass.NOT_FOUND, BreakerEffect.SUCCESS),
        ("422 Unprocessable", ErrorClass.BAD_REQUEST, BreakerEffect.SUCCESS),
        ("403 Forbidden", ErrorClass.UNAUTHORIZED, BreakerEffect.NEUTRAL),
        ("407 Proxy", ErrorClass.UNAUTHORIZED, BreakerEffect.NEUTRAL),
        ("302 Found", ErrorClass.MISCONFIGURED, BreakerEffect.NEUTRAL),
    ],
)
def test_a_status_has_one_class_in_every_library(
    server: Server, get: Client, status: str, error_class: ErrorClass, effect: BreakerEffect
) -> None:
    # The one redirect leads to itself.
    server.answers = [answer(status, "Location: /", "Retry-After: 7")]
    found = classify(error := raised(lambda: get(server.url)))
    assert (found.error_class, found.breaker_effect) == (error_class, effect), repr(error)
    asked = error_class == ErrorClass.RATE_LIMITED or status.startswith("503")
    assert found.retry_after == (7 if asked else None)
    if isinstance(error, urllib.error.HTTPError):
        error.close()


@CLIENTS
def test_nobody_there_and_no_such_name_are_network_errors(server: Server, get: Client) -> None:
    # urllib3's NewConnectionError and NameResolutionError are TimeoutErrors.
    server.close()
    for url in (server.url, UNKNOWN):
        error = raised(lambda url=url: get(url))  # type: ignore[misc]
        assert classify(error).error_class == ErrorClass.NETWORK, repr(error)


@pytest.mark.parametrize(
    ("get", "url"),
    [
        *((by_requests, url) for url in ("http://[::1", "gopher://a.example/", "a.example/path")),
        *((by_httpx, url) for url in ("http://[::1", "gopher://a.example/", "a.example/path")),
        # Of the others it says ValueError, as it does of much else.
        (by_urllib, "gopher://a.example/"),
    ],
)
def test_an_address_that_is_none_is_a_misconfiguration(get: Client, url: str) -> None:
    error = raised(lambda: get(url))
    assert classify(error).error_class == ErrorClass.MISCONFIGURED, repr(error)


@CLIENTS
def test_a_certificate_that_nobody_vouches_for_is_a_misconfiguration(
    get: Client, tmp_path: Path
) -> None:
    # It is an httpx.ConnectError, an OSError and a ValueError, all of which mean something else.
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
    server = Server(context=context)
    try:
        error = raised(lambda: get(server.url.replace("http:", "https:")))
    finally:
        server.close()
    assert classify(error).error_class == ErrorClass.MISCONFIGURED, repr(error)


@CLIENTS
def test_plain_http_where_tls_was_expected_is_a_misconfiguration(
    server: Server, get: Client
) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(answer("400 Bad Request"))

    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(10)
            talk(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    error = raised(lambda: get(f"https://127.0.0.1:{listener.getsockname()[1]}/"))
    thread.join(5)
    listener.close()
    assert classify(error).error_class == ErrorClass.MISCONFIGURED, repr(error)


def test_a_body_that_drips_is_a_timeout_of_whoever_limits_the_whole(server: Server) -> None:
    server.answers = [drip(server)]

    async def bounded() -> None:
        async with asyncio.timeout(SECONDS), httpx.AsyncClient() as client:
            await client.get(server.url)

    assert classify(raised(lambda: asyncio.run(bounded()))).error_class == ErrorClass.TIMEOUT


def test_httpx_without_a_free_connection_is_a_timeout(server: Server) -> None:
    server.answers = [stall(server, b""), OK]
    limits = httpx.Limits(max_connections=1)
    timeout = httpx.Timeout(5, pool=0.05)
    with httpx.Client(limits=limits, timeout=timeout) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.get, server.url)
        while not server.received:
            pass
        error = raised(lambda: client.get(server.url))
        server.stopped.set()
        assert isinstance(first.exception(10), httpx.RemoteProtocolError)
    assert classify(error).error_class == ErrorClass.TIMEOUT


def test_a_pool_of_database_connections_that_is_used_up_is_a_timeout() -> None:
    # SQLAlchemy's TimeoutError is not the built-in one.
    engine = sa.create_engine(
        "sqlite://", poolclass=sa.QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01
    )
    with engine.connect():
        error = raised(engine.connect)
    engine.dispose()
    assert not isinstance(error, TimeoutError)
    assert classify(error).error_class == ErrorClass.TIMEOUT


def speak(line: bytes, *, first: bool = False) -> Iterator[int]:
    """Answer each message of whoever connects with one line, or greet with it; yields the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    if first:
                        connection.sendall(line)
                    while connection.recv(1000):
                        connection.sendall(line)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.mark.parametrize(
    ("reply", "error_class"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", ErrorClass.NETWORK),
        (b"-READONLY You can't write against a read only replica.\r\n", ErrorClass.NETWORK),
        (b"-CLUSTERDOWN The cluster is down\r\n", ErrorClass.NETWORK),
        (b"-MASTERDOWN Link with MASTER is down\r\n", ErrorClass.NETWORK),
        (b"-TRYAGAIN Multiple keys request during rehashing\r\n", ErrorClass.NETWORK),
        # A ConnectionError by type.
        (b"-NOAUTH Authentication required.\r\n", ErrorClass.UNAUTHORIZED),
        (b"-WRONGPASS invalid username-password pair\r\n", ErrorClass.UNAUTHORIZED),
        (b"-NOPERM this user has no permissions\r\n", ErrorClass.UNAUTHORIZED),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
         ErrorClass.RESOURCE_EXHAUSTED),
        (b"-WRONGTYPE Operation against a key\r\n", ErrorClass.BUG),
        (b"-ERR max number of clients reached\r\n", ErrorClass.NETWORK),
        (b"nonsense\r\n", ErrorClass.NETWORK),
        (b"", ErrorClass.TIMEOUT),
    ],
    ids=lambda value: value[:12].decode() if isinstance(value, bytes) else str(value),
)  # fmt: skip
def test_what_redis_answers_has_its_class(reply: bytes, error_class: ErrorClass) -> None:
    for port in speak(reply):
        client = redis.Redis(
            port=port,
            protocol=2,
            socket_timeout=SECONDS,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,
        )
        error = raised(client.ping)
        client.close()
    assert classify(error).error_class == error_class, repr(error)


@pytest.mark.parametrize(
    ("reply", "error_class"),
    [
        (b"421 try again later\r\n", ErrorClass.SERVER_ERROR),
        (b"554 no service for you\r\n", ErrorClass.BAD_REQUEST),
        # What smtplib makes of a silence; the time limit is only what it was handling.
        (b"", ErrorClass.NETWORK),
    ],
)
def test_what_a_mail_server_answers_has_its_class(reply: bytes, error_class: ErrorClass) -> None:
    for port in speak(reply, first=True):
        error = raised(partial(smtplib.SMTP, "127.0.0.1", port, timeout=SECONDS))
    assert classify(error).error_class == error_class, repr(error)


def test_a_mail_server_that_refuses_a_password_knows_us_not() -> None:
    error = smtplib.SMTPAuthenticationError(535, b"no")
    assert classify(error).error_class == ErrorClass.UNAUTHORIZED


@pytest.mark.parametrize(
    "parse",
    [
        lambda: ET.fromstring("<feed>"),  # noqa: S314
        lambda: xml.sax.parseString("<feed>", xml.sax.ContentHandler()),  # noqa: S317
        lambda: xml.parsers.expat.ParserCreate().Parse("<feed>", True),
        lambda: b"text".decode("x-no-such-charset"),
        lambda: b"\xff".decode("utf-8"),
    ],
)
def test_a_feed_or_charset_that_does_not_decode_is_malformed(parse: Callable[[], object]) -> None:
    assert classify(raised(parse)).error_class == ErrorClass.MALFORMED


def test_a_key_that_is_missing_is_not_taken_for_a_charset() -> None:
    assert classify(KeyError("unknown encoding: x")).error_class == ErrorClass.BUG


def test_an_answer_of_requests_that_is_no_json_is_malformed_though_it_is_an_oserror() -> None:
    response = requests.Response()
    response._content = b"{"
    error = raised(response.json)
    assert isinstance(error, OSError)
    assert classify(error).error_class == ErrorClass.MALFORMED
