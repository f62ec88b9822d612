"""Receivers on this machine that may be called: an HTTP server and a mail server.

A folder takes the fixtures that it needs into its ``conftest``.
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.http_server import Server
from webapp.breakers import registry
from webapp.breakers.registry import BreakerRegistry
from webapp.outbound.clients import allow_hosts, allowed_hosts


@pytest.fixture
def own_breakers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breakers that no other test has seen."""
    monkeypatch.setattr(registry._current, "registry", BreakerRegistry())


@pytest.fixture
def nothing_allowed() -> Iterator[None]:
    """Only public addresses may be called; what a test allows ends with it."""
    before = allowed_hosts()
    allow_hosts(())
    yield
    allow_hosts(before)


@pytest.fixture
def receiver(nothing_allowed: None) -> Iterator[Server]:
    """An HTTP server that may be called."""
    del nothing_allowed
    receiver = Server()
    allow_hosts([*allowed_hosts(), f"127.0.0.1:{receiver.port}"])
    yield receiver
    receiver.close()


@dataclass
class Mailbox:
    """What a real mail server was handed."""

    port: int = 0
    envelopes: list[Envelope] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        del server, session
        self.envelopes.append(envelope)
        return "250 OK"


@pytest.fixture
def mailbox(nothing_allowed: None) -> Iterator[Mailbox]:
    """A mail server that may be called."""
    del nothing_allowed
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        box.port = free.getsockname()[1]
    server = Controller(box, hostname="127.0.0.1", port=box.port)
    allow_hosts([*allowed_hosts(), f"127.0.0.1:{box.port}"])
    server.start()
    yield box
    server.stop()
