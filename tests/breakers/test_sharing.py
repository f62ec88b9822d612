"""Two registries on one database stand for two processes; one test has two real ones."""

import multiprocessing
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection

import pytest
from flask import Flask, current_app
from sqlalchemy import Engine, event, select
from structlog.testing import capture_logs

from tests.servers import RedisServer
from webapp import exchange
from webapp.actors import Actor
from webapp.breakers import sharing
from webapp.breakers.callers import calling_as
from webapp.breakers.circuit import Breaker, Call, OpenCircuitError
from webapp.breakers.models import (
    CircuitBreakerEvent,
    CircuitBreakerMinute,
    CircuitBreakerState,
    CircuitBreakerUse,
)
from webapp.breakers.registry import BreakerRegistry
from webapp.breakers.service import change_thresholds, force, reset
from webapp.breakers.values import Control, Force, Thresholds
from webapp.db import reading, transaction
from webapp.metrics import BREAKER_TRANSITIONS
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
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that exchange ten times a second: what is seen at all is seen after one beat."""
    monkeypatch.setattr(exchange, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(sharing, "ALL_SECONDS", 0.5)


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


@pytest.mark.usefixtures("quick_beats")
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


def test_of_processes_that_open_a_circuit_at_once_one_tells_and_counts_it(
    join: Callable[[], BreakerRegistry],
) -> None:
    counted = BREAKER_TRANSITIONS.labels("mail", "open")._value
    before = counted.get()
    breakers = [join().get("mail", THRESHOLDS) for _ in range(4)]
    eventually(lambda: stored("mail"))
    # The first call of each would hear of what the one before has done.
    for breaker in breakers:
        breaker.call(lambda: None)
    for breaker in breakers:
        trip(breaker)
    eventually(lambda: state_of("mail") == "open")
    eventually(lambda: all(breaker.current_state == "open" for breaker in breakers))
    assert transitions_of("mail") == [("closed", "open")]
    eventually(lambda: counted.get() == before + 1)


@pytest.mark.usefixtures("quick_beats")
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


@pytest.mark.usefixtures("quick_beats")
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


QUICK = Thresholds(failures=2, successes=2, open_seconds=0.2, trial_seconds=30.0)


def opened_in_all(
    join: Callable[[], BreakerRegistry], number: int, thresholds: Thresholds = QUICK
) -> list[Breaker]:
    """Return the breakers of so many processes that all wait for a trial."""
    breakers = [join().get("mail", thresholds) for _ in range(number)]
    eventually(lambda: stored("mail"))
    trip(breakers[0])
    eventually(lambda: all(breaker.current_state == "half-open" for breaker in breakers))
    return breakers


@pytest.mark.usefixtures("quick_beats")
def test_one_trial_runs_at_a_time_over_all_processes(join: Callable[[], BreakerRegistry]) -> None:
    often = Thresholds(failures=2, successes=12, open_seconds=0.2)
    breakers = opened_in_all(join, 4, often)
    lock, closed = threading.Lock(), threading.Event()
    running, most, trials = 0, 0, 0
    pause = threading.Event()

    def trial() -> None:
        nonlocal running, most, trials
        with lock:
            running += 1
            trials += 1
            # Once it is closed, calls may run side by side.
            most = max(most, running) if trials <= often.successes else most
        pause.wait(0.005)
        with lock:
            running -= 1

    def work(breaker: Breaker) -> None:
        while not closed.is_set():
            with suppress(OpenCircuitError):
                breaker.call(trial)
                if state_of("mail") == "closed":
                    closed.set()
            pause.wait(0.002)

    def work_in_context(breaker: Breaker) -> None:
        with app_context():
            work(breaker)

    app_context = current_app._get_current_object().app_context  # type: ignore[attr-defined]
    with ThreadPoolExecutor(4) as threads:
        ends = [threads.submit(work_in_context, breaker) for breaker in breakers]
        try:
            eventually(lambda: state_of("mail") == "closed", within=30)
        finally:
            closed.set()
        for end in ends:
            end.result()
    assert trials >= often.successes
    assert most == 1
    assert transitions_of("mail") == [
        ("closed", "open"),
        ("open", "half_open"),
        ("half_open", "closed"),
    ]


def until_let_through(breaker: Breaker) -> None:
    """Call until the call is made."""

    def let_through() -> bool:
        try:
            breaker.call(lambda: None)
        except OpenCircuitError:
            return False
        return True

    eventually(let_through)


@pytest.mark.usefixtures("quick_beats")
def test_successes_of_trials_add_up_over_processes(join: Callable[[], BreakerRegistry]) -> None:
    one, other = opened_in_all(join, 2)
    until_let_through(one)
    eventually(lambda: (row := stored("mail")) is not None and row.successes == 1)
    until_let_through(other)
    eventually(lambda: state_of("mail") == "closed")
    eventually(lambda: one.current_state == "closed")


@pytest.mark.usefixtures("quick_beats")
def test_while_one_process_tries_the_others_are_refused_with_the_seconds_that_remain(
    join: Callable[[], BreakerRegistry],
) -> None:
    one, other = opened_in_all(join, 2)
    trial = take_trial(one)
    for _ in range(3):
        with pytest.raises(OpenCircuitError) as refused:
            other.call(lambda: None)
        assert 0 <= refused.value.seconds <= 5
    eventually(lambda: refusal_of(other) > 1)
    trial.__exit__(None, None, None)
    until_let_through(other)


def take_trial(breaker: Breaker) -> Call:
    """Begin a trial and leave it running."""
    block = breaker.calling()

    def begun() -> bool:
        try:
            block.__enter__()
        except OpenCircuitError:
            return False
        return True

    eventually(begun)
    return block


def refusal_of(breaker: Breaker) -> float:
    with pytest.raises(OpenCircuitError) as refused:
        breaker.call(lambda: None)
    return refused.value.seconds


@pytest.mark.usefixtures("quick_beats")
def test_a_trial_whose_process_died_gives_way_after_its_time_and_ends_no_other(
    join: Callable[[], BreakerRegistry],
) -> None:
    one, other = opened_in_all(
        join, 2, Thresholds(failures=2, successes=2, open_seconds=0.2, trial_seconds=0.5)
    )
    lost = take_trial(one)
    trial = take_trial(other)
    before = stored("mail")
    assert before is not None
    # The one given up for lost comes back: it neither counts nor ends the lease of the other.
    lost.__exit__(None, None, None)
    eventually(lambda: one.tally.calls == 3)
    row = stored("mail")
    assert row is not None
    assert (row.state, row.successes, row.trial_until) == ("half_open", 0, before.trial_until)
    with suppress(OpenCircuitError):
        trial.__exit__(None, None, None)


class SlowDatabase:
    """Holds up each statement of the threads that share: for a time, or until it is let go."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.goes_on = threading.Event()
        self.goes_on.set()

    def hold_up(self, *_: object) -> None:
        if threading.current_thread().name == sharing.Sharing.thread_name:
            self.goes_on.wait()
            threading.Event().wait(self.seconds)


@pytest.fixture
def slow_database() -> Iterator[SlowDatabase]:
    """Asked for before ``join``, so that no thread works any more when it goes."""
    database = SlowDatabase()
    event.listen(Engine, "before_cursor_execute", database.hold_up)
    yield database
    database.goes_on.set()
    event.remove(Engine, "before_cursor_execute", database.hold_up)


#: One success closes it, and a trial has next to no time.
ONE_TRIAL = Thresholds(failures=2, successes=1, open_seconds=0.2, trial_seconds=0.1)


def test_with_a_database_that_is_some_way_away_a_single_call_still_becomes_the_trial(
    slow_database: SlowDatabase, join: Callable[[], BreakerRegistry]
) -> None:
    (breaker,) = opened_in_all(join, 1, ONE_TRIAL)
    slow_database.seconds = 0.015
    breaker.call(lambda: None)
    assert breaker.current_state == "closed"


def test_what_is_forced_elsewhere_holds_from_the_first_call_of_a_process(
    slow_database: SlowDatabase, join: Callable[[], BreakerRegistry]
) -> None:
    join().get("mail", THRESHOLDS)
    eventually(lambda: stored("mail"))
    with transaction() as session:
        control = Control(force=Force.OPEN, reason="They asked us to stop")
        force(session, "mail", control, by=OPERATOR, now=datetime.now(UTC))
    slow_database.seconds = 0.05
    breaker = join().get("mail", THRESHOLDS)
    with pytest.raises(OpenCircuitError):
        breaker.call(lambda: None)


def test_the_first_call_of_a_process_waits_for_no_database_for_long(
    slow_database: SlowDatabase,
    join: Callable[[], BreakerRegistry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sharing, "FIRST_LOOK_SECONDS", 0.05)
    slow_database.goes_on.clear()
    breaker = join().get("mail", THRESHOLDS)
    assert breaker.call(lambda: "made") == "made"
    slow_database.goes_on.set()


def test_a_call_that_was_not_answered_in_time_is_told_when_to_come_again_and_is_let_through_then(
    slow_database: SlowDatabase, join: Callable[[], BreakerRegistry]
) -> None:
    (breaker,) = opened_in_all(join, 1, ONE_TRIAL)
    slow_database.goes_on.clear()
    assert 0 < refusal_of(breaker) <= 1.0
    slow_database.goes_on.set()
    eventually(lambda: breaker.holds_trial)
    # The trial's own time would be over by now, had it begun with the answer.
    threading.Event().wait(3 * ONE_TRIAL.trial_seconds)
    breaker.call(lambda: None)
    eventually(lambda: state_of("mail") == "closed")


@pytest.mark.usefixtures("quick_beats")
def test_a_trial_that_nobody_begins_is_given_back_for_another_process(
    slow_database: SlowDatabase,
    join: Callable[[], BreakerRegistry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sharing, "BEGIN_SECONDS", 0.2)
    patient = replace(ONE_TRIAL, trial_seconds=600.0)
    one, other = opened_in_all(join, 2, patient)
    slow_database.goes_on.clear()
    refusal_of(one)
    slow_database.goes_on.set()
    eventually(lambda: (row := stored("mail")) is not None and row.trial_until is not None)
    until_let_through(other)
    eventually(lambda: state_of("mail") == "closed")


def test_processes_that_write_many_circuits_at_once_never_wait_in_a_circle(
    slow_database: SlowDatabase,
    join: Callable[[], BreakerRegistry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sharing, "FIRST_LOOK_SECONDS", 0.0)
    names = [f"service-{number:02}" for number in range(12)]
    slow_database.seconds = 0.01
    slow_database.goes_on.clear()
    one, other = join(), join()
    with capture_logs() as lines:
        # Each knows them in another order.
        circuits = [one.get(name) for name in names]
        circuits += [other.get(name) for name in reversed(names)]
        slow_database.goes_on.set()
        eventually(lambda: all(stored(name) for name in names), within=60)
        for _ in range(3):
            slow_database.goes_on.clear()
            for circuit in circuits:
                with pytest.raises(ConnectionResetError):
                    circuit.call(fail)
            slow_database.goes_on.set()
            for registry in (one, other):
                registry.announce()
            told = circuits[0].fail_counter
            eventually(lambda told=told: failures_of(names) == {told}, within=60)  # type: ignore[misc]
    assert [line["event"] for line in lines if line["log_level"] != "debug"] == []


def failures_of(names: list[str]) -> set[int]:
    with reading() as session:
        wanted = select(CircuitBreakerState.failures).where(CircuitBreakerState.name.in_(names))
        return set(session.scalars(wanted))


@pytest.mark.usefixtures("quick_beats")
def test_a_process_lets_go_of_a_circuit_that_nobody_uses_and_keeps_what_somebody_holds(
    join: Callable[[], BreakerRegistry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(sharing, "TALLY_SECONDS", 0.0)
    registry = join()
    held = registry.get("held")
    held.call(lambda: None)
    trip(registry.get("open", THRESHOLDS))
    registry.get("seldom").call(lambda: None)
    gone = weakref.ref(registry.get("seldom"))
    eventually(lambda: gone() is None)
    assert registry.get("held") is held
    assert registry.get("open").current_state == "open"
    # It is still one circuit to all: what comes is added to what was.
    registry.get("seldom").call(lambda: None)
    registry.close()
    with reading() as session:
        rows = session.scalars(
            select(CircuitBreakerMinute).where(CircuitBreakerMinute.name == "seldom")
        )
        assert sum(row.calls for row in rows) == 2


@pytest.mark.usefixtures("quick_beats")
def test_what_a_machine_wrote_whose_clock_is_behind_is_seen_too(
    join: Callable[[], BreakerRegistry],
) -> None:
    breaker = join().get("mail", THRESHOLDS)
    trip(breaker)
    eventually(lambda: state_of("mail") == "open")
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    with transaction() as session:
        reset(session, "mail", by=OPERATOR, now=an_hour_ago, reason="mended")
    eventually(lambda: breaker.current_state == "closed")


@pytest.mark.usefixtures("quick_beats")
def test_thresholds_of_an_operator_win_over_code_in_every_process_and_after_a_restart(
    join: Callable[[], BreakerRegistry],
) -> None:
    breakers = [join().get("mail", THRESHOLDS) for _ in range(2)]
    eventually(lambda: stored("mail"))
    with transaction() as session:
        change_thresholds(
            session,
            "mail",
            {"failures": 7},
            by=OPERATOR,
            now=datetime.now(UTC),
            reason="it is flaky",
            version=0,
        )
    eventually(lambda: all(breaker.fail_max == 7 for breaker in breakers))
    assert breakers[0].thresholds.open_seconds == THRESHOLDS.open_seconds
    late = join().get("mail", Thresholds(failures=3))
    eventually(lambda: late.fail_max == 7)
    with transaction() as session:
        change_thresholds(
            session,
            "mail",
            None,
            by=OPERATOR,
            now=datetime.now(UTC),
            reason="no longer",
            version=1,
        )
    eventually(lambda: (breakers[0].fail_max, late.fail_max) == (2, 3))


def forced(kind: Force, *, seconds: float | None = None) -> None:
    now = datetime.now(UTC)
    until = None if seconds is None else now + timedelta(seconds=seconds)
    with transaction() as session:
        force(
            session,
            "mail",
            Control(force=kind, until=until, reason="maintenance"),
            by=OPERATOR,
            now=now,
        )


@pytest.mark.usefixtures("quick_beats")
def test_what_is_forced_holds_in_every_process_and_ends_by_itself(
    join: Callable[[], BreakerRegistry],
) -> None:
    breakers = [join().get("mail", THRESHOLDS) for _ in range(2)]
    eventually(lambda: stored("mail"))
    forced(Force.OPEN)
    eventually(lambda: all(breaker.force == Force.OPEN for breaker in breakers))
    late = join().get("mail", THRESHOLDS)
    eventually(lambda: late.force == Force.OPEN)
    with pytest.raises(OpenCircuitError):
        breakers[1].call(lambda: None)
    forced(Force.OPEN, seconds=1)
    eventually(lambda: all(breaker.current_state == "closed" for breaker in breakers))
    eventually(lambda: (row := stored("mail")) is not None and row.force == "none")
    assert transitions_of("mail") == [("closed", "open"), ("open", "open"), ("open", "closed")]


def test_without_a_store_each_process_makes_its_own_trials() -> None:
    registry = BreakerRegistry("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    breaker = registry.get("mail", QUICK)
    trip(breaker)
    eventually(lambda: breaker.current_state == "half-open")
    trial = take_trial(breaker)
    with pytest.raises(OpenCircuitError):
        breaker.call(lambda: None)
    trial.__exit__(None, None, None)
    until_let_through(breaker)
    assert breaker.current_state == "closed"
    registry.close()


@pytest.mark.usefixtures("quick_beats")
def test_calls_are_added_up_by_minute_with_who_made_them(
    join: Callable[[], BreakerRegistry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "TALLY_SECONDS", 0.0)
    registries = [join(), join()]
    for registry in registries:
        with calling_as("job etl"):
            breaker = registry.get("mail", THRESHOLDS)
        for _ in range(5):
            breaker.call(lambda: None)
        with pytest.raises(ConnectionResetError):
            breaker.call(fail)

    def counted() -> tuple[int, int]:
        with reading() as session:
            rows = session.scalars(select(CircuitBreakerMinute)).all()
            return sum(row.calls for row in rows), sum(row.failures for row in rows)

    eventually(lambda: counted() == (12, 2))
    for registry in registries:
        registry.close()
    assert counted() == (12, 2)
    with reading() as session:
        uses = session.scalars(select(CircuitBreakerUse)).all()
        assert [(use.name, use.caller) for use in uses] == [("mail", "job etl")]


@pytest.mark.redis
def test_with_redis_others_look_at_once(
    app: Flask,
    settings: Settings,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without a signal nobody would look within the test's time.
    monkeypatch.setattr(exchange, "BEAT_SECONDS", 600.0)
    registries = [BreakerRegistry(settings.database_url, redis_server.url) for _ in range(2)]
    with app.app_context():
        one, other = (registry.get("mail", THRESHOLDS) for registry in registries)
        trip(one)
        eventually(lambda: other.current_state == "open")
        with transaction() as session:
            reset(session, "mail", by=OPERATOR, now=datetime.now(UTC), reason="mended")
        registries[0].announce()
        eventually(lambda: other.current_state == "closed")
        for registry in registries:
            registry.close()


def _in_a_child(registry: BreakerRegistry, pipe: Connection) -> None:
    breaker = registry.get("mail", THRESHOLDS)
    pipe.send("ready")
    ends = time.monotonic() + 5
    while breaker.current_state != "open" and time.monotonic() < ends:
        pipe.poll(0.02)
    pipe.send(breaker.current_state)
    breaker.close()
    pipe.recv()


@pytest.mark.usefixtures("quick_beats")
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
