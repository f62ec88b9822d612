"""Calls to named addresses, over real sockets: what is checked is what is connected to."""

import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.http_server import HEAD, OK, Server, answer, drip, stall
from tests.outbound.net import PUBLIC, Net
from webapp.errors import Invalid
from webapp.outbound import clients
from webapp.outbound.clients import allow_hosts
from webapp.outbound.http import MAX_ANSWER_BYTES, check_callback_url, send
from webapp.outbound.values import TimeLimitExceeded

OTHER_PUBLIC = "2606:4700:4700::1111"
NAME = "hooks.example"


@pytest.fixture
def local(server: Server) -> Server:
    """A server that may be called although it is a local one."""
    allow_hosts([f"127.0.0.1:{server.port}"])
    return server


def test_a_request_arrives_whole_and_its_answer_comes_back(local: Server) -> None:
    url = f"{local.url}in?box=1"
    response = send("POST", url, seconds=5, headers={"X-Word": "yes"}, content=b"{}")
    assert (response.status_code, response.text) == (200, "ok")
    (request,) = local.received
    assert request.line == "POST /in?box=1 HTTP/1.1"
    assert request.headers["host"] == f"127.0.0.1:{local.port}"
    assert request.headers["x-word"] == "yes"
    assert request.body == b"{}"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ],
)
def test_no_notation_of_a_local_address_is_called(server: Server, host: str) -> None:
    url = f"http://{host}:{server.port}/"
    with pytest.raises(Invalid):
        check_callback_url(url)
    with pytest.raises(Invalid):
        send("POST", url, seconds=1)
    assert server.received == []


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.1"],
        ["::ffff:127.0.0.1"],
        ["169.254.169.254"],
        ["10.0.0.1"],
        [PUBLIC, "127.0.0.1"],
        ["fe80::1%eth0"],
    ],
)
def test_a_name_that_points_inside_is_not_called(net: Net, found: list[str]) -> None:
    net.names["127.0.0.1.nip.example"] = [found]
    check_callback_url("http://127.0.0.1.nip.example/")
    with pytest.raises(Invalid, match="points to a"):
        send("POST", "http://127.0.0.1.nip.example/", seconds=1)
    assert net.called == []


def test_what_was_checked_is_what_is_connected_to(net: Net, server: Server) -> None:
    net.names[NAME] = [[PUBLIC], ["127.0.0.1"]]
    assert send("POST", f"http://{NAME}:8080/in", seconds=5).status_code == 200
    assert net.asked == [NAME]
    assert net.called == [(PUBLIC, 8080)]
    assert server.received[0].headers["host"] == f"{NAME}:8080"


def test_a_name_is_asked_anew_and_judged_anew_for_each_request(net: Net) -> None:
    net.names[NAME] = [[PUBLIC], ["127.0.0.1"]]
    send("POST", f"http://{NAME}/", seconds=5)
    with pytest.raises(Invalid):
        send("POST", f"http://{NAME}/", seconds=5)
    assert net.called == [(PUBLIC, 80)]


def test_an_address_that_does_not_answer_gives_way_to_the_next(net: Net) -> None:
    net.names[NAME] = [[OTHER_PUBLIC, PUBLIC]]
    assert send("GET", f"http://{NAME}/", seconds=5).status_code == 200
    assert net.called == [(OTHER_PUBLIC, 80), (PUBLIC, 80)]


def test_an_allowed_name_may_point_inside(net: Net, server: Server) -> None:
    net.names[NAME] = [["127.0.0.1"]]
    allow_hosts([f"{NAME}:{server.port}"])
    assert send("GET", f"http://{NAME}:{server.port}/", seconds=5).status_code == 200


def test_an_ipv6_server_is_called() -> None:
    try:
        server = Server("::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    allow_hosts([f"[::1]:{server.port}"])
    try:
        assert send("POST", server.url, seconds=5).status_code == 200
        assert server.received[0].headers["host"] == f"[::1]:{server.port}"
    finally:
        server.close()


def test_a_redirect_is_an_error_and_is_not_followed(local: Server) -> None:
    local.answers = [answer("307 Temporary Redirect", f"Location: {local.url}"), OK]
    with pytest.raises(httpx.HTTPStatusError) as refused:
        send("POST", local.url, seconds=5)
    assert refused.value.response.status_code == 307
    assert local.methods == ["POST"]


def test_an_error_does_not_tell_what_the_path_hides(local: Server) -> None:
    local.answers = [answer("404 Not Found")]
    with pytest.raises(httpx.HTTPStatusError) as refused:
        send("POST", f"{local.url}hush?token=hush", seconds=5)
    assert "hush" not in str(refused.value)
    assert "127.0.0.1" in str(refused.value)


@pytest.mark.parametrize(
    "reply",
    [
        lambda server: stall(server, b""),
        lambda server: stall(server, HEAD),
        # Each byte comes in time, yet the whole does not.
        lambda server: drip(server, HEAD),
        lambda server: drip(server, b"HTTP/1.1 200 OK\r\nX-Long: "),
    ],
    ids=["stalled head", "stalled body", "dripping body", "dripping head"],
)
def test_a_slow_server_is_left_when_the_time_is_over(
    local: Server, reply: Callable[[Server], Callable[[socket.socket], None]]
) -> None:
    local.answers = [reply(local)]
    # Were it not left, the server would end the answer itself, which is another error.
    with pytest.raises((TimeLimitExceeded, httpx.TimeoutException)):
        send("POST", local.url, seconds=0.4)


def test_of_a_big_answer_only_the_beginning_is_read(local: Server) -> None:
    sent: list[int] = []

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not local.stopped.is_set():
            sent.append(connection.send(b"x" * 65_536))

    local.answers = [flood]
    response = send("POST", local.url, seconds=10)
    assert len(response.content) == MAX_ANSWER_BYTES


def test_a_compressed_answer_is_kept_as_it_came(local: Server) -> None:
    local.answers = [answer("200 OK", "Content-Encoding: gzip", body=b"no gzip at all")]
    assert send("POST", local.url, seconds=5).content == b"no gzip at all"


def test_proxies_of_the_environment_are_not_used(
    local: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send("POST", local.url, seconds=5).status_code == 200


def certificate_for(name: str, folder: Path) -> tuple[Path, ssl.SSLContext]:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName=DNS:{name}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


@pytest.mark.parametrize(("certified", "taken"), [(NAME, True), ("other.example", False)])
def test_the_certificate_is_that_of_the_name_and_not_of_the_address(
    net: Net, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certified: str, *, taken: bool
) -> None:
    certificate, context = certificate_for(certified, tmp_path)
    asked: list[str] = []
    context.sni_callback = lambda connection, name, _: asked.append(str(name))
    monkeypatch.setattr(
        clients, "ssl_context", lambda: ssl.create_default_context(cafile=certificate)
    )
    server = Server(context=context)
    net.names[NAME], net.wires[PUBLIC] = [[PUBLIC]], server.port
    try:
        if taken:
            assert send("POST", f"https://{NAME}/", seconds=5).status_code == 200
        else:
            with pytest.raises(httpx.ConnectError, match="certificate"):
                send("POST", f"https://{NAME}/", seconds=5)
    finally:
        server.close()
    assert asked == [NAME]
    assert net.called == [(PUBLIC, 443)]
