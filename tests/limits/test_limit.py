"""A limit in one process: who is let through, who waits, who is refused, what a pause does."""

import asyncio
import threading
import time
from collections.abc import Iterator
from timeit import repeat

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from webapp.errors import Invalid, Throttled
from webapp.limits import limit as limit_module
from webapp.limits import registry as limits
from webapp.limits.limit import RateLimit
from webapp.limits.registry import (
    LimitRegistry,
    get_stats,
    rate_limit,
    set_rate_limit,
    use_registry,
)
from webapp.limits.stores import ProcessStore
from webapp.limits.values import NO_LIMIT, Counts, Pause, Rule, SharedLimit
from webapp.metrics import MOST_NAMES, OTHER_NAMES
from webapp.retries.classification import classify
from webapp.retries.values import ErrorClass


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process whose limits nobody shares."""
    monkeypatch.setattr(limits, "_by_code", {})
    use_registry(LimitRegistry())
    yield
    use_registry(LimitRegistry())


def hits(source: str, outcome: str) -> float:
    labels = {"source": source, "outcome": outcome}
    return REGISTRY.get_sample_value("rate_limit_hits_total", labels) or 0.0


def test_hits_beyond_so_many_names_are_one_series() -> None:
    before = hits(OTHER_NAMES, "allowed")
    for number in range(MOST_NAMES + 2):
        set_rate_limit(f"shop{number}", 3, 60)
        rate_limit(f"shop{number}").acquire()
    assert hits("shop0", "allowed") == 1
    assert hits(OTHER_NAMES, "allowed") == before + 2
    assert hits(f"shop{MOST_NAMES}", "allowed") == 0


def test_calls_beyond_the_limit_are_refused_with_the_time_left() -> None:
    set_rate_limit("bills", 3, 60)
    for _ in range(3):
        rate_limit("bills").acquire()
    with pytest.raises(Throttled) as caught:
        rate_limit("bills").acquire()
    assert 59 < caught.value.retry_after <= 60
    assert "bills" in caught.value.detail


def test_a_refusal_puts_a_job_off_and_is_no_failure() -> None:
    set_rate_limit("bills", 1, 60)
    rate_limit("bills").acquire()
    with pytest.raises(Throttled) as caught:
        rate_limit("bills").acquire()
    found = classify(caught.value)
    assert found.error_class == ErrorClass.THROTTLED
    assert found.retry_after == pytest.approx(60, abs=1)


def test_whoever_may_wait_is_let_through_when_there_is_room() -> None:
    set_rate_limit("bills", 1, 1)
    rate_limit("bills").acquire()
    began = time.monotonic()
    rate_limit("bills").acquire(wait=5)
    assert time.monotonic() - began > 0.9
    assert rate_limit("bills").counts == Counts(allowed=1, waited=1)


def test_whoever_would_wait_in_vain_is_refused_at_once() -> None:
    set_rate_limit("bills", 1, 3600)
    rate_limit("bills").acquire()
    began = time.monotonic()
    with pytest.raises(Throttled):
        rate_limit("bills").acquire(wait=600)
    assert time.monotonic() - began < 60


def test_a_coroutine_waits_without_holding_the_loop() -> None:
    set_rate_limit("bills", 1, 1)
    rate_limit("bills").acquire()

    async def both() -> int:
        waiting = asyncio.create_task(rate_limit("bills").acquire_async(wait=5))
        turns = 0
        while not waiting.done():
            turns += 1
            await asyncio.sleep(0.01)
        await waiting
        return turns

    assert asyncio.run(both()) > 10


def test_a_coroutine_is_refused_too() -> None:
    set_rate_limit("bills", 1, 60)

    async def twice() -> None:
        await rate_limit("bills").acquire_async()
        await rate_limit("bills").acquire_async()

    with pytest.raises(Throttled):
        asyncio.run(twice())


def test_threads_together_never_exceed_the_limit() -> None:
    set_rate_limit("bills", 50, 60)
    granted: list[int] = []

    def call() -> None:
        for _ in range(30):
            try:
                rate_limit("bills").acquire()
            except Throttled:
                continue
            granted.append(1)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 50
    assert rate_limit("bills").counts == Counts(allowed=50, refused=190)


def test_a_pause_lets_nothing_through_not_even_under_a_name_without_a_limit() -> None:
    rate_limit("mail").acquire()
    with capture_logs() as logs:
        rate_limit("mail").pause(60, reason="429 Too Many Requests")
    assert logs[0]["event"] == "calls_paused"
    with pytest.raises(Throttled) as caught:
        rate_limit("mail").acquire()
    assert 59 < caught.value.retry_after <= 60
    pause = get_stats()["mail"].pause
    assert pause is not None
    assert pause.reason == "429 Too Many Requests"


def test_a_pause_ends_by_itself() -> None:
    rate_limit("mail").pause(0.2)
    rate_limit("mail").acquire(wait=5)
    assert get_stats()["mail"].pause is None


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    rate_limit("mail").pause(600)
    rate_limit("mail").pause(1)
    with pytest.raises(Throttled) as caught:
        rate_limit("mail").acquire()
    assert caught.value.retry_after > 500


@pytest.mark.parametrize("seconds", [0, -5])
def test_a_pause_of_no_time_is_none(seconds: float) -> None:
    rate_limit("mail").pause(seconds)
    rate_limit("mail").acquire()


def test_a_pause_ends_after_a_day_whatever_was_asked_for() -> None:
    rate_limit("mail").pause(10**9)
    with pytest.raises(Throttled) as caught:
        rate_limit("mail").acquire()
    assert caught.value.retry_after <= 86_400


def test_figures_tell_limit_use_and_what_became_of_calls() -> None:
    set_rate_limit("bills", 2, 60)
    for _ in range(2):
        rate_limit("bills").acquire()
    with pytest.raises(Throttled):
        rate_limit("bills").acquire()
    stats = get_stats()["bills"]
    assert (stats.limit, stats.used, stats.left) == (Rule(2, 60), 2, 0)
    assert stats.reset is not None
    assert 59 < stats.reset <= 60
    assert stats.counts == Counts(allowed=2, refused=1)


def test_calls_are_counted_by_what_became_of_them() -> None:
    set_rate_limit("source:counted", 1, 60)
    before = {outcome: hits("counted", outcome) for outcome in ("allowed", "refused")}
    rate_limit("source:counted").acquire()
    with pytest.raises(Throttled):
        rate_limit("source:counted").acquire()
    after = {outcome: hits("counted", outcome) for outcome in ("allowed", "refused")}
    assert {name: after[name] - before[name] for name in after} == {"allowed": 1, "refused": 1}


def test_a_name_without_a_limit_costs_next_to_nothing() -> None:
    rate_limit("free")
    best = min(repeat(lambda: rate_limit("free").acquire(wait=5), number=20_000, repeat=5))
    # Measured 0.3 microseconds; whatever asks a lock, a clock or a store takes more than this.
    assert best / 20_000 < 5e-6


def test_a_limit_that_is_set_while_it_is_used_holds_from_then_on() -> None:
    set_rate_limit("bills", 100, 60)
    for _ in range(5):
        rate_limit("bills").acquire()
    set_rate_limit("bills", 5, 60)
    with pytest.raises(Throttled):
        rate_limit("bills").acquire()
    set_rate_limit("bills", 0, 60)
    rate_limit("bills").acquire()


@pytest.mark.parametrize(("calls", "seconds"), [(-1, 60), (1, 0), (10_001, 60)])
def test_a_limit_that_is_none_is_refused(calls: int, seconds: int) -> None:
    with pytest.raises(Invalid):
        set_rate_limit("bills", calls, seconds)


def test_a_rule_that_can_be_seen_holds_for_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sees the rule while it is being adopted is counted: no call goes by beside it."""
    limit = RateLimit("source:bills", ProcessStore())
    passed: list[int] = []

    def call() -> None:
        if limit.rule is not None:
            limit.acquire()
            passed.append(1)

    def in_between(pause: Pause | None) -> float:
        del pause
        calling = threading.Thread(target=call)
        calling.start()
        # A call that is to be counted may wait for the lock that adopting holds.
        calling.join(0.5)
        return 0.0

    monkeypatch.setattr(limit_module, "_ends", in_between)
    limit.adopt(SharedLimit(Rule(5, 60), None))
    call()
    assert limit.counts.allowed == len(passed) >= 1


def test_what_an_operator_says_goes_before_the_program_also_that_there_is_no_limit() -> None:
    limit = RateLimit("source:bills", ProcessStore(), Rule(1, 60))
    limit.adopt(SharedLimit(NO_LIMIT, None))
    for _ in range(3):
        limit.acquire()
    limit.set_rule(Rule(1, 60))
    assert limit.rule is None
    limit.adopt(SharedLimit(None, None))
    limit.acquire()
    with pytest.raises(Throttled):
        limit.acquire()


def test_equal_names_share_one_limit() -> None:
    assert rate_limit("bills") is rate_limit("bills")
