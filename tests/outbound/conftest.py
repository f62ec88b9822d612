"""What tests of calls to others share: servers on this machine, and names that mean them."""

import socket
from collections.abc import Iterator

import pytest

from tests.http_server import Server
from tests.outbound.net import PUBLIC, Net
from tests.receivers import nothing_allowed  # noqa: F401 - a fixture


@pytest.fixture(autouse=True)
def only_public_addresses(nothing_allowed: None) -> None:  # noqa: F811 - a fixture
    """Every test allows for itself what it calls inside."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that nobody has allowed to be called."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch, server: Server) -> Net:
    """Names as a test says, and a public address behind which the server stands."""
    net = Net()
    net.wires[PUBLIC] = server.port
    monkeypatch.setattr(socket, "getaddrinfo", net.getaddrinfo)
    monkeypatch.setattr(socket, "create_connection", net.create_connection)
    return net
