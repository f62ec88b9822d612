"""Two registries on one database stand for two processes; one test has two real ones."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing.connection import Connection

import pytest
from flask import Flask
from sqlalchemy import select
from structlog.testing import capture_logs

from webapp.actors import Actor
from webapp.breakers.circuit import Breaker, OpenCircuitError
from webapp.breakers.models import CircuitBreakerEvent, CircuitBreakerState
from webapp.breakers.registry import BreakerRegistry
from webapp.breakers.service import reset
from webapp.breakers.values import Thresholds
from webapp.db import reading, transaction
from webapp.settings import Settings

THRESHOLDS = Thresholds(failures=2, successes=1, open_seconds=60.0)
OPERATOR = Actor("user", "olga")


def fail() -> None:
    raise ConnectionResetError("peer")


def trip(breaker: Breaker) -> None:
    for _ in range(THRESHOLDS.failures):
        with pytest.raises(ConnectionResetError):
            breaker.call(fail)


def eventually(condition: Callable[[], object], *, within: float = 10.0) -> None:
    """Wait until ``condition`` holds; fail where it does not within so many seconds."""
    ends = time.monotonic() + within
    pause = multiprocessing.get_context("spawn").Event()
    while not condition():
        assert time.monotonic() < ends, "it did not come about in time"
        pause.wait(0.02)


@pytest.fixture
def join(app: Flask, settings: Settings) -> Iterator[Callable[[], BreakerRegistry]]:
    """Return a function that makes one more process's registry."""
    registries: list[BreakerRegistry] = []

    def make() -> BreakerRegistry:
        registries.append(BreakerRegistry(settings.database_url))
        return registries[-1]

    with app.app_context():
        yield make
        for registry in registries:
            registry.close()


def stored(name: str) -> CircuitBreakerState | None:
    with reading() as session:
        return session.get(CircuitBreakerState, name)


def state_of(name: str) -> str | None:
    row = stored(name)
    return row.state if row else None


def transitions_of(name: str) -> list[tuple[str, str]]:
    with reading() as session:
        rows = session.scalars(
            select(CircuitBreakerEvent)
            .where(CircuitBreakerEvent.name == name)
            .order_by(CircuitBreakerEvent.id)
        )
        return [(row.old_state, row.new_state) for row in rows]


def test_a_circuit_that_opens_in_one_process_opens_in_the_others(
    join: Callable[[], BreakerRegistry],
) -> None:
    one, other = join().get("mail", THRESHOLDS), join().get("mail", THRESHOLDS)
    eventually(lambda: stored("mail"))
    trip(one)
    eventually(lambda: other.current_state == "open")
    with pytest.raises(OpenCircuitError) as caught:
        other.call(fail)
    assert 50 < caught.value.seconds <= 60
    row = stored("mail")
    assert row is not None
    assert (row.state, row.failures, row.failure_threshold) == ("open", 2, 2)
    assert row.last_error == "ConnectionResetError: peer"
    assert transitions_of("mail") == [("closed", "open")]


def test_a_process_that_starts_later_finds_the_circuit_open(
    join: Callable[[], BreakerRegistry],
) -> None:
    trip(join().get("mail", THRESHOLDS))
    eventually(lambda: state_of("mail") == "open")
    late = join()
    eventually(lambda: late.get("mail", THRESHOLDS).current_state == "open")


def test_a_reset_is_seen_by_every_process_within_two_seconds(
    join: Callable[[], BreakerRegistry],
) -> None:
    breakers = [join().get("mail", THRESHOLDS) for _ in range(3)]
    trip(breakers[0])
    eventually(lambda: all(breaker.current_state == "open" for breaker in breakers))
    with transaction() as session:
        reset(session, "mail", by=OPERATOR, now=datetime.now(UTC), reason="mended")
    eventually(lambda: all(breaker.current_state == "closed" for breaker in breakers), within=2.0)
    assert [breaker.fail_counter for breaker in breakers] == [0, 0, 0]
    assert transitions_of("mail") == [("closed", "open"), ("open", "closed")]


def test_of_processes_that_open_a_circuit_at_once_one_tells_it(
    join: Callable[[], BreakerRegistry],
) -> None:
    breakers = [join().get("mail", THRESHOLDS) for _ in range(4)]
    eventually(lambda: stored("mail"))
    for breaker in breakers:
        trip(breaker)
    eventually(lambda: state_of("mail") == "open")
    eventually(lambda: all(breaker.current_state == "open" for breaker in breakers))
    assert transitions_of("mail") == [("closed", "open")]


def test_failures_of_a_closed_circuit_are_shown_and_change_no_other_process(
    join: Callable[[], BreakerRegistry],
) -> None:
    one, other = join().get("mail", THRESHOLDS), join().get("mail", THRESHOLDS)
    eventually(lambda: stored("mail"))
    with pytest.raises(ConnectionResetError):
        one.call(fail)
    eventually(lambda: (row := stored("mail")) is not None and row.failures == 1)
    assert other.fail_counter == 0
    one.call(lambda: None)
    eventually(lambda: (row := stored("mail")) is not None and row.failures == 0)


def test_a_row_that_somebody_deletes_comes_back_closed(
    join: Callable[[], BreakerRegistry],
) -> None:
    breaker = join().get("mail", THRESHOLDS)
    trip(breaker)
    eventually(lambda: state_of("mail") == "open")
    with transaction() as session:
        session.delete(session.get_one(CircuitBreakerState, "mail"))
    eventually(lambda: state_of("mail") == "closed" and breaker.current_state == "closed")


def test_a_lost_store_leaves_each_process_its_own_breakers_and_costs_no_call() -> None:
    registry = BreakerRegistry("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    with capture_logs() as lines:
        began = time.perf_counter()
        breaker = registry.get("mail", THRESHOLDS)
        trip(breaker)
        with pytest.raises(OpenCircuitError):
            breaker.call(fail)
        assert time.perf_counter() - began < 0.15
        eventually(lambda: any(line["event"] == "breakers_not_shared" for line in lines))
        # It goes on trying, and says no more for a minute.
        registry.get("billing", THRESHOLDS)
        registry.close()
    assert [line["event"] for line in lines] == ["breakers_not_shared"]


def _in_a_child(registry: BreakerRegistry, pipe: Connection) -> None:
    breaker = registry.get("mail", THRESHOLDS)
    pipe.send("ready")
    ends = time.monotonic() + 5
    while breaker.current_state != "open" and time.monotonic() < ends:
        pipe.poll(0.02)
    pipe.send(breaker.current_state)
    breaker.close()
    pipe.recv()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_shares_with_its_parent_over_a_connection_of_its_own(
    join: Callable[[], BreakerRegistry],
) -> None:
    registry = join()
    breaker = registry.get("mail", THRESHOLDS)
    eventually(lambda: stored("mail"))
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_in_a_child, args=(registry, there))
    child.start()
    assert here.recv() == "ready"
    trip(breaker)
    assert here.poll(5)
    assert here.recv() == "open"
    eventually(lambda: breaker.current_state == "closed")
    assert transitions_of("mail") == [("closed", "open"), ("open", "closed")]
    here.send("done")
    child.join(10)
    assert child.exitcode == 0
