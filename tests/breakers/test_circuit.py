"""One circuit in one process, with a clock that is moved by hand."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pybreaker import CircuitBreaker, CircuitBreakerError, CircuitBreakerListener

from webapp.breakers.circuit import Breaker, OpenCircuitError, describe
from webapp.breakers.meters import Meters
from webapp.breakers.values import (
    MAX_ERROR,
    BreakerState,
    Force,
    Tally,
    Thresholds,
    Transition,
)
from webapp.metrics import BREAKER_BLOCKED, BREAKER_CALLS, BREAKER_FAILURES

THRESHOLDS = Thresholds(failures=2, successes=2, open_seconds=30.0)


class Clock:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("billing", THRESHOLDS, monotonic=clock)


def fail(error: BaseException | None = None) -> None:
    raise error or ConnectionResetError("peer")


def trip(breaker: Breaker) -> None:
    for _ in range(THRESHOLDS.failures):
        with pytest.raises(ConnectionResetError):
            breaker.call(fail)


def test_it_is_pybreakers_breaker(breaker: Breaker) -> None:
    assert isinstance(breaker, CircuitBreaker)
    assert (breaker.current_state, breaker.fail_max, breaker.name) == ("closed", 2, "billing")


def test_the_tripping_call_raises_the_real_error_and_the_next_one_is_refused(
    breaker: Breaker, clock: Clock
) -> None:
    trip(breaker)
    clock.seconds += 10
    with pytest.raises(CircuitBreakerError) as caught:
        breaker.call(lambda: "never")
    assert isinstance(caught.value, OpenCircuitError)
    assert caught.value.seconds == pytest.approx(20.0)
    assert breaker.current_state == "open"
    assert breaker.tally.refused == 1


def test_a_refusal_takes_less_than_a_millisecond(breaker: Breaker) -> None:
    trip(breaker)
    began = time.perf_counter()
    for _ in range(100):
        with pytest.raises(OpenCircuitError):
            breaker.call(fail)
    assert (time.perf_counter() - began) / 100 < 0.001


def test_successful_trials_close_it_again(breaker: Breaker, clock: Clock) -> None:
    trip(breaker)
    clock.seconds += 30
    assert breaker.current_state == "half-open"
    assert breaker.call(lambda: 1) == 1
    assert breaker.current_state == "half-open"
    assert breaker.call(lambda: 2) == 2
    assert breaker.current_state == "closed"


@pytest.mark.parametrize(
    "error", [TypeError("bug"), FileNotFoundError("gone"), KeyboardInterrupt(), MemoryError()]
)
def test_a_neutral_error_does_not_close_a_half_open_circuit(
    breaker: Breaker, clock: Clock, error: BaseException
) -> None:
    trip(breaker)
    clock.seconds += 30
    for _ in range(3):
        with pytest.raises(type(error)):
            breaker.call(fail, error)
    assert breaker.current_state == "half-open"


def test_an_excluded_error_is_neutral_too(clock: Clock) -> None:
    breaker = Breaker("billing", THRESHOLDS, exclude=[ConnectionResetError], monotonic=clock)
    for _ in range(5):
        with pytest.raises(ConnectionResetError):
            breaker.call(fail)
    assert breaker.current_state == "closed"
    assert breaker.fail_counter == 0


def test_eight_threads_do_not_wait_for_one_another() -> None:
    breaker = Breaker("billing", THRESHOLDS)
    together = threading.Barrier(8, timeout=5)
    with ThreadPoolExecutor(8) as threads:
        # Each call ends only when all eight are inside.
        calls = [threads.submit(breaker.call, together.wait) for _ in range(8)]
        assert sorted(call.result() for call in calls) == list(range(8))


def test_late_results_of_calls_that_began_before_it_opened_are_dropped(
    breaker: Breaker, clock: Clock
) -> None:
    slow = [breaker.calling() for _ in range(3)]
    for call in slow:
        call.__enter__()
    trip(breaker)
    slow[0].__exit__(None, None, None)
    slow[1].__exit__(ConnectionResetError, ConnectionResetError(), None)
    assert breaker.current_state == "open"
    clock.seconds += 30
    breaker.call(lambda: None)
    slow[2].__exit__(None, None, None)
    assert (breaker.current_state, breaker.success_counter) == ("half-open", 1)


def test_one_trial_runs_at_a_time(breaker: Breaker, clock: Clock) -> None:
    trip(breaker)
    clock.seconds += 30
    with breaker.calling(), pytest.raises(OpenCircuitError):
        breaker.call(lambda: None)


def test_it_guards_coroutines_and_blocks_and_decorates_both(breaker: Breaker) -> None:
    @breaker
    def plain() -> str:
        return "plain"

    @breaker()
    async def coroutine() -> str:
        return "coroutine"

    with breaker.calling():
        assert plain() == "plain"
    assert asyncio.run(coroutine()) == "coroutine"


def test_a_failing_coroutine_counts_and_a_cancelled_one_does_not(breaker: Breaker) -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    async def failing() -> None:
        fail()

    for function, error in ((failing, ConnectionResetError), (cancelled, asyncio.CancelledError)):
        with pytest.raises(error):
            asyncio.run(breaker.call_async(function))
    assert breaker.fail_counter == 1


class Listener(CircuitBreakerListener):
    def __init__(self) -> None:
        self.told: list[Any] = []

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        self.told.append((old_state.name, new_state.name))

    def failure(self, cb: Any, exc: BaseException) -> None:
        self.told.append(type(exc))

    def success(self, cb: Any) -> None:
        self.told.append("success")

    def refused(self, cb: Any) -> None:
        self.told.append("refused")


class BadListener(CircuitBreakerListener):
    def before_call(self, cb: Any, func: Any, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("listener")

    failure = success = state_change = before_call  # type: ignore[assignment]


def test_listeners_hear_of_calls_refusals_and_changes_and_harm_nothing(clock: Clock) -> None:
    listener = Listener()
    breaker = Breaker("billing", THRESHOLDS, listeners=[BadListener(), listener], monotonic=clock)
    breaker.call(lambda: None)
    trip(breaker)
    with pytest.raises(OpenCircuitError):
        breaker.call(lambda: None)
    error = ConnectionResetError
    assert listener.told == ["success", error, ("closed", "open"), error, "refused"]


def test_each_transition_is_told_with_its_cause(clock: Clock) -> None:
    told: list[Transition] = []
    breaker = Breaker("billing", THRESHOLDS, on_transition=told.append, monotonic=clock)
    trip(breaker)
    clock.seconds += 30
    for _ in range(2):
        breaker.call(lambda: None)
    assert [(item.old, item.new, item.failures, item.error) for item in told] == [
        (BreakerState.CLOSED, BreakerState.OPEN, 2, "ConnectionResetError: peer"),
        (BreakerState.OPEN, BreakerState.HALF_OPEN, 2, None),
        (BreakerState.HALF_OPEN, BreakerState.CLOSED, 0, None),
    ]


def test_the_last_error_shows_no_password(breaker: Breaker) -> None:
    with pytest.raises(ConnectionError):
        breaker.call(fail, ConnectionError("redis://app:hunter2@cache.example/0 is away"))
    assert breaker.last_error is not None
    assert "cache.example" in breaker.last_error
    assert "hunter2" not in breaker.last_error


def test_it_can_be_opened_and_closed_by_hand(breaker: Breaker) -> None:
    breaker.open()
    assert breaker.current_state == "open"
    breaker.half_open()
    assert breaker.current_state == "half-open"
    breaker.close()
    assert breaker.current_state == "closed"


def test_calls_of_threads_and_tasks_are_all_counted(clock: Clock) -> None:
    name = "counted by many"
    breaker = Breaker(name, Thresholds(failures=1000), meters=Meters(name), monotonic=clock)
    threads, each = 8, 300

    async def answered() -> None:
        await asyncio.sleep(0)

    def work(number: int) -> None:
        if number % 2:

            async def tasks() -> None:
                await asyncio.gather(*(breaker.call_async(answered) for _ in range(each)))

            asyncio.run(tasks())
            return
        for count in range(each):
            if count % 100 == 99:
                with pytest.raises(ConnectionResetError):
                    breaker.call(fail)
            else:
                breaker.call(lambda: None)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    failures = threads // 2 * 3
    assert breaker.tally == Tally(calls=threads * each, failures=failures)
    assert metric(BREAKER_CALLS, name, "success") == threads * each - failures
    assert metric(BREAKER_CALLS, name, "failure") == failures
    assert metric(BREAKER_FAILURES, name) == failures


def metric(family: Any, *labels: str) -> float:
    return float(family.labels(*labels)._value.get())


def test_calls_that_race_with_a_trip_are_let_through_or_refused_and_none_is_lost(
    clock: Clock,
) -> None:
    name = "raced"
    breaker = Breaker(name, THRESHOLDS, meters=Meters(name), monotonic=clock)
    refused = threading.Semaphore(0)
    made = threading.Semaphore(0)

    def failing() -> None:
        made.release()
        fail()

    def work(_: int) -> None:
        for _ in range(50):
            try:
                breaker.call(failing)
            except OpenCircuitError:
                refused.release()
            except ConnectionResetError:
                continue

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert breaker.current_state == "open"
    assert breaker.tally.calls == made._value
    assert breaker.tally.refused == refused._value
    assert made._value + refused._value == 400
    assert metric(BREAKER_BLOCKED, name) == refused._value


def test_slow_calls_are_timed_and_open_it_with_a_cause(clock: Clock) -> None:
    told: list[Transition] = []
    slow = Thresholds(slow_seconds=2.0, window_calls=4)
    breaker = Breaker("slow", slow, on_transition=told.append, monotonic=clock)

    def take(seconds: float) -> None:
        clock.seconds += seconds

    for seconds in (0.1, 0.1, 3.0):
        breaker.call(take, seconds)
    assert breaker.current_state == "closed"
    breaker.call(take, 2.0)
    assert breaker.current_state == "open"
    assert [item.error for item in told] == ["2 of 4 calls took 2 s or longer"]
    assert breaker.tally.slow == 2


def test_forced_open_it_refuses_every_call_until_the_time_is_over(
    breaker: Breaker, clock: Clock
) -> None:
    breaker.control(Force.OPEN, seconds=60)
    with pytest.raises(OpenCircuitError) as refused:
        breaker.call(lambda: None)
    assert 0 < refused.value.seconds <= 60
    assert breaker.current_state == "open"
    clock.seconds += 60
    breaker.call(lambda: None)
    assert (breaker.current_state, breaker.force) == ("closed", Force.NONE)


def test_forced_closed_it_lets_every_call_through_and_counts_them(breaker: Breaker) -> None:
    breaker.control(Force.CLOSED)
    for _ in range(20):
        with pytest.raises(ConnectionResetError):
            breaker.call(fail)
    assert breaker.current_state == "closed"
    assert breaker.tally == Tally(calls=20, failures=20)
    breaker.control(Force.NONE)
    trip(breaker)
    assert breaker.current_state == "open"


def test_in_shadow_it_decides_as_ever_and_refuses_nobody(breaker: Breaker, clock: Clock) -> None:
    breaker.control(Force.SHADOW)
    trip(breaker)
    for _ in range(3):
        # Calls that it would have refused say nothing: they would not have been made.
        breaker.call(lambda: None)
    assert breaker.tally == Tally(calls=5, failures=2, spared=3)
    assert breaker.current_state == "closed"
    breaker.control(Force.NONE)
    assert breaker.current_state == "open"
    breaker.control(Force.SHADOW)
    clock.seconds += 30
    for _ in range(THRESHOLDS.successes):
        breaker.call(lambda: None)
    breaker.control(Force.NONE)
    assert breaker.current_state == "closed"


def test_other_thresholds_hold_at_once(breaker: Breaker) -> None:
    with pytest.raises(ConnectionResetError):
        breaker.call(fail)
    breaker.use(Thresholds(failures=3, window_seconds=10))
    with pytest.raises(ConnectionResetError):
        breaker.call(fail)
    assert (breaker.current_state, breaker.fail_max) == ("closed", 3)
    breaker.fail_max = 1
    with pytest.raises(ConnectionResetError):
        breaker.call(fail)
    assert breaker.current_state == "open"


def test_a_call_that_succeeds_in_the_closed_state_asks_nobody_but_the_first(clock: Clock) -> None:
    learnt = []

    class Nobody:
        @property
        def reachable(self) -> bool:
            raise AssertionError("asked")

        def ask(self, name: str) -> None:
            raise AssertionError("asked")

        def learn(self) -> None:
            learnt.append(1)

        def release(self, end: object) -> None:
            raise AssertionError("asked")

    breaker = Breaker("billing", THRESHOLDS, trials=Nobody(), monotonic=clock)
    assert breaker.call(lambda: 1) == 1
    with breaker.calling():
        pass
    assert learnt == [1]


class Unspeakable(ConnectionError):
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Unreadable(ConnectionError):
    """An error that fails where it is looked into."""

    @property
    def reason(self) -> str:
        raise RuntimeError("no reason")


@pytest.mark.parametrize("kind", [Unspeakable, Unreadable])
def test_a_call_is_settled_whatever_its_error_does(
    breaker: Breaker, clock: Clock, kind: type[Exception]
) -> None:
    trip(breaker)
    clock.seconds += 30
    with pytest.raises(kind):
        breaker.call(fail, kind())
    # The trial is over: it would keep others out until its time were over.
    assert not breaker.holds_trial
    assert breaker.tally.calls == 3


def test_what_excludes_errors_may_fail_and_the_call_is_settled(clock: Clock) -> None:
    def unsure(error: Exception) -> bool:
        raise LookupError(error)

    excluding: Any = unsure
    breaker = Breaker("unsure", exclude=[excluding], monotonic=clock)
    with pytest.raises(ConnectionResetError):
        breaker.call(fail)
    assert breaker.tally == Tally(calls=1, neutral=1)


@pytest.mark.parametrize("text", ["a\0b", "half \ud800", "x" * 10_000])
def test_the_words_of_an_error_are_such_as_any_database_can_hold(text: str) -> None:
    described = describe(ConnectionError(text))
    assert "\0" not in described
    assert described.encode()
    assert len(described) <= MAX_ERROR


def test_neutral_calls_are_in_no_rate_however_long_they_took(clock: Clock) -> None:
    breaker = Breaker("rates", Thresholds(failures=10, slow_seconds=1.0), monotonic=clock)

    def bug() -> None:
        clock.seconds += 5
        raise TypeError("ours")

    for _ in range(8):
        with pytest.raises(TypeError):
            breaker.call(bug)
    breaker.call(lambda: None)
    with pytest.raises(ConnectionResetError):
        breaker.call(fail)
    tally = breaker.tally
    assert (tally.calls, tally.neutral, tally.judged, tally.succeeded) == (10, 8, 2, 1)
    assert (tally.failure_rate, tally.slow_rate) == (50.0, 0.0)
