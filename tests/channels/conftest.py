"""What tests of channels share: a receiver on this machine that may be called."""

from collections.abc import Iterator

import pytest

from tests.http_server import Server
from webapp.breakers import registry
from webapp.breakers.registry import BreakerRegistry
from webapp.outbound.clients import allow_hosts, allowed_hosts


@pytest.fixture(autouse=True)
def own_breakers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has breakers of its own."""
    monkeypatch.setattr(registry._current, "registry", BreakerRegistry())


@pytest.fixture
def receiver() -> Iterator[Server]:
    before = allowed_hosts()
    receiver = Server()
    allow_hosts([f"127.0.0.1:{receiver.port}"])
    yield receiver
    allow_hosts(before)
    receiver.close()
