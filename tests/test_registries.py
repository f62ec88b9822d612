"""What a process has counted is told when it ends, also where multiprocessing has forked it."""

import multiprocessing
from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import func, select

from tests.breakers.test_sharing import eventually
from webapp.breakers import registry as breakers
from webapp.breakers.models import CircuitBreakerMinute, CircuitBreakerState
from webapp.breakers.registry import BreakerRegistry, breaker
from webapp.db import reading
from webapp.limits import registry as limits
from webapp.limits.models import RateLimitState
from webapp.limits.registry import LimitRegistry, rate_limit
from webapp.limits.values import Rule
from webapp.settings import Settings

NAME = "bills"
CALLS = 3


@pytest.fixture
def shared(app: Flask, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registries on the application's database, as a worker has them before it forks."""
    monkeypatch.setattr(limits, "_by_code", {NAME: Rule(100, 60)})
    limits.use_registry(LimitRegistry(settings.database_url))
    breakers.use_registry(BreakerRegistry(settings.database_url))
    with app.app_context():
        yield
    limits.use_registry(LimitRegistry())
    breakers.use_registry(BreakerRegistry())


def is_told() -> bool:
    with reading() as session:
        return session.get(CircuitBreakerState, NAME) is not None


def call_and_end() -> None:
    """Look first, so that what is counted is told by nothing but the last word."""
    circuit = breaker(NAME)
    limit = rate_limit(NAME)
    limits.current_registry().look(seconds=60)
    for _ in range(CALLS):
        limit.acquire()
        circuit.call(lambda: None)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_its_last_word(shared: None) -> None:
    # The parent's threads have nothing under way that a child could find half done.
    breaker(NAME)
    eventually(is_told)
    rate_limit(NAME)
    limits.current_registry().look(seconds=60)
    child = multiprocessing.get_context("fork").Process(target=call_and_end)
    child.start()
    child.join(120)
    assert child.exitcode == 0
    with reading() as session:
        counted = session.scalar(select(func.sum(CircuitBreakerMinute.calls)))
        limited = session.scalar(select(RateLimitState.allowed).where(RateLimitState.name == NAME))
    assert (counted, limited) == (CALLS, CALLS)
