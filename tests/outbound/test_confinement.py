"""A library that opens its own connections goes nowhere that our own requests would not go."""

import asyncio
import smtplib
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tests.http_server import Server
from tests.outbound.net import PUBLIC, Net
from webapp.outbound import confinement
from webapp.outbound.addresses import is_allowed, refusal
from webapp.outbound.confinement import confined
from webapp.outbound.values import AddressRefused

NAME = "hooks.example"


def nobody(host: str, port: int) -> bool:
    del host, port
    return False


def trusts(*hosts: str) -> Callable[[str, int], bool]:
    return lambda host, port: is_allowed(host, port, hosts)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0"],
)
def test_no_notation_of_a_local_address_is_reached(server: Server, host: str) -> None:
    with confined(nobody) as bounds, suppress(requests.ConnectionError):
        requests.get(f"http://{host}:{server.port}/", timeout=5)
    assert isinstance(bounds.refused, AddressRefused)
    assert server.received == []


def test_a_name_that_means_another_address_as_it_is_connected_to_is_found_out(
    net: Net, server: Server
) -> None:
    # The library asks and connects by itself; our own resolution has no part in it.
    net.names[NAME] = [["127.0.0.1"]]
    with confined(nobody) as bounds, suppress(requests.ConnectionError):
        requests.get(f"http://{NAME}:{server.port}/", timeout=5)
    assert bounds.refused is not None
    assert "127.0.0.1 is no place to call: loopback address" in bounds.refused.detail
    assert server.received == []


def test_one_forbidden_address_among_others_forbids_them_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(confinement, "resolve", lambda *_, seconds: [PUBLIC, "10.0.0.7"])
    with pytest.raises(AddressRefused, match="points to a private address"), confined(nobody):
        socket.create_connection((NAME, 80), timeout=1)


def test_the_address_that_was_judged_is_the_one_that_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int, *, seconds: float) -> list[str]:
        del port, seconds
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else [PUBLIC]

    monkeypatch.setattr(confinement, "resolve", resolve)
    with confined(trusts(f"{NAME}:{server.port}")):
        assert requests.get(f"http://{NAME}:{server.port}/", timeout=5).status_code == 200
    assert asked == [NAME]


def test_what_an_allowed_name_points_to_may_be_any(server: Server) -> None:
    with confined(trusts(f"localhost:{server.port}")) as bounds:
        answer = requests.get(f"http://localhost:{server.port}/", timeout=5)
    assert (answer.status_code, bounds.refused) == (200, None)


def test_it_is_allowed_for_its_port_only(server: Server) -> None:
    with confined(trusts("localhost:1")) as bounds, suppress(requests.ConnectionError):
        requests.get(f"http://localhost:{server.port}/", timeout=5)
    assert bounds.refused is not None
    assert server.received == []


def test_what_a_name_means_is_no_permission_for_another_port(server: Server) -> None:
    with confined(trusts("localhost:1")) as bounds:
        for host, port in (("localhost", 1), ("127.0.0.1", server.port)):
            assert bounds.refused is None
            with suppress(OSError):
                socket.create_connection((host, port), timeout=1)
    assert bounds.refused is not None


def test_other_protocols_are_held_to_it_too(server: Server) -> None:
    with pytest.raises(AddressRefused), confined(nobody):
        smtplib.SMTP("127.0.0.1", server.port, timeout=1)
    assert server.received == []


def test_a_packet_is_held_to_it_too() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as box,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        box.bind(("127.0.0.1", 0))
        box.setblocking(False)
        for place in (box.getsockname(), ("localhost", box.getsockname()[1])):
            with pytest.raises(AddressRefused), confined(nobody):
                sender.sendto(b"hush", place)
        with pytest.raises(BlockingIOError):
            box.recv(10)
        with confined(trusts("127.0.0.1")):
            sender.sendto(b"hello", box.getsockname())
        box.settimeout(5)
        assert box.recv(10) == b"hello"


def test_a_socket_of_the_machine_is_none_of_a_librarys_business() -> None:
    with (
        socket.socket(socket.AF_UNIX) as machine,
        pytest.raises(AddressRefused),
        confined(nobody),
    ):
        machine.connect("/run/some.sock")


def test_an_event_loop_is_held_to_it(server: Server) -> None:
    async def call() -> None:
        await asyncio.open_connection("localhost", server.port)

    with pytest.raises(AddressRefused), confined(nobody):
        asyncio.run(call())


def test_nobody_else_is_held_to_it(server: Server) -> None:
    entered, left = threading.Event(), threading.Event()

    def wait_inside() -> None:
        with confined(nobody):
            entered.set()
            left.wait(10)

    thread = threading.Thread(target=wait_inside)
    thread.start()
    entered.wait(10)
    assert requests.get(server.url, timeout=5).status_code == 200
    left.set()
    thread.join()
    with confined(nobody), suppress(requests.ConnectionError):
        requests.get(server.url, timeout=5)
    assert requests.get(server.url, timeout=5).status_code == 200


def test_a_failure_of_another_kind_stays_what_it_is() -> None:
    with pytest.raises(FileNotFoundError), confined(nobody):
        open("/nowhere/at/all")  # noqa: PTH123, SIM115 - it fails


@given(st.ip_addresses())
def test_an_address_is_refused_as_it_is_for_our_own_requests(address: object) -> None:
    with confined(nobody) as bounds, suppress(PermissionError):
        family = socket.AF_INET6 if ":" in str(address) else socket.AF_INET
        with socket.socket(family) as nowhere:
            bounds.judge_connection(nowhere, (str(address), 80))
    assert (bounds.refused is not None) == (refusal(address) is not None)  # type: ignore[arg-type]
