"""Many items through one function: each by itself, all of them to an end."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tasks.work import run
from tests.jobs.types import FAILING, handle
from webapp.actors import COMMAND
from webapp.breakers import registry
from webapp.breakers.registry import BreakerRegistry
from webapp.clock import now
from webapp.db import reading, transaction
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.service import retry
from webapp.guards import BatchProcessor, BatchSummary
from webapp.jobs.models import Job, JobAttempt
from webapp.jobs.running import running_as, running_job
from webapp.jobs.values import Claim, JobCancelled, JobState
from webapp.retries.values import RetryConfig

TWICE = RetryConfig(max_attempts=2, initial_delay=0.0, jitter=0.0)
Process = Callable[..., BatchSummary]


class Context:
    """A job that runs, and is asked to stop after so many items."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.shown: list[tuple[int, int | None, str]] = []
        self._stop_after = stop_after
        moment = now()
        self.claim = Claim(7, "parent", 1, 1, 0, 0, {}, None, "host:1:a", moment, "request-7")

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        self.shown.append((done, total, message))

    def log(self, event: str, **facts: Any) -> None:
        pass

    def cancelled(self) -> bool:
        return len(self.shown) >= self._stop_after


@pytest.fixture(autouse=True)
def fresh(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No breaker remembers another test, and no item fails."""
    monkeypatch.setattr(registry._current, "registry", BreakerRegistry())
    FAILING.clear()
    with app.app_context():
        yield
    FAILING.clear()


def sync(
    items: list[Any], func: Callable[[Any], object], name: str, size: int = 10, **more: Any
) -> BatchSummary:
    return BatchProcessor(size, 0.0, retry=TWICE, **more).process(items, func, name)


def awaited(
    items: list[Any], func: Callable[[Any], object], name: str, size: int = 10
) -> BatchSummary:
    async def each(item: Any) -> object:
        await asyncio.sleep(0)
        return func(item)

    processor = BatchProcessor(size, 0.0, retry=TWICE)
    return asyncio.run(processor.process_async(items, each, name))


BOTH = pytest.mark.parametrize("process", [sync, awaited])


def letters() -> list[DeadLetter]:
    with reading() as session:
        return list(session.scalars(select(DeadLetter).order_by(DeadLetter.id)))


@BOTH
def test_items_that_fail_stop_no_other_and_are_dead_letters(process: Process) -> None:
    FAILING.update({3: ConnectionError("away"), 4: TypeError("a bug")})
    found = process([{"number": number} for number in range(25)], handle, "test_item")
    assert (found.total, found.succeeded, found.failed, found.dead_lettered) == (25, 23, 2, 2)
    # What passes is tried again; a bug is not.
    assert found.retried == 1
    assert found.success_rate == 92.0
    by_item = {letter.arguments["item"]["number"]: letter for letter in letters()}
    assert {number: letter.reason for number, letter in by_item.items()} == {
        3: "attempts_spent",
        4: "not_retryable",
    }
    assert {letter.type for letter in by_item.values()} == {"test_item"}
    with reading() as session:
        job = session.get_one(Job, by_item[3].job_id)
        (attempt,) = session.scalars(select(JobAttempt).where(JobAttempt.job_id == job.id))
    assert (job.state, job.attempts, job.error) == ("dead", 2, "ConnectionError: away")
    assert (attempt.outcome, attempt.error_class) == ("failed", "network")


def test_the_letter_of_an_item_is_retried_like_any_other(app: Flask) -> None:
    FAILING[1] = ConnectionError("away")
    sync([{"number": 1}], handle, "test_item")
    (letter,) = letters()
    del FAILING[1]
    with transaction() as session:
        retry(session, letter.id, by=COMMAND, now=now())
    run(app, letter.job_id, worker="w", early=True)
    with reading() as session:
        job = session.get_one(Job, letter.job_id)
    assert (job.state, job.result) == (JobState.SUCCEEDED, {"handled": 1})
    assert letters()[0].resolution == "resolved_by_retry"


@BOTH
def test_an_item_that_succeeds_the_second_time_counts_as_retried(process: Process) -> None:
    seen: list[int] = []

    def flaky(item: int) -> None:
        seen.append(item)
        if seen.count(item) == 1 and item == 2:
            raise TimeoutError

    found = process([1, 2, 3], flaky, f"flaky-{process.__name__}")
    assert (found.succeeded, found.failed, found.retried) == (3, 0, 1)
    assert sorted(seen) == [1, 2, 2, 3]


@BOTH
def test_items_of_a_batch_run_together_and_no_more_than_that(process: Process) -> None:
    lock, running, most = threading.Lock(), 0, 0
    together = threading.Barrier(3)

    def count(item: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if process is sync:
            # It goes on once all three of a batch are here: were they not together, it never would.
            together.wait(timeout=30)
        with lock:
            running -= 1

    assert process(list(range(9)), count, f"together-{process.__name__}", 3).succeeded == 9
    assert most == (3 if process is sync else 1)


@BOTH
def test_the_job_that_runs_is_told_of_progress_and_of_failures(process: Process) -> None:
    FAILING[1] = TypeError("a bug")
    context = Context()
    with running_as(context):
        process([{"number": number} for number in range(4)], handle, "test_item", 2)
    assert [(done, total) for done, total, _ in context.shown] == [(n, 4) for n in (1, 2, 3, 4)]
    assert context.shown[-1][2] == "1 failed"
    with reading() as session:
        job = session.scalars(select(Job)).one()
    assert (job.created_by, job.request_id) == ("job 7", "request-7")
    assert running_job() is None


@BOTH
def test_a_job_that_is_to_stop_stops_between_two_batches(process: Process) -> None:
    handled: list[int] = []
    with running_as(Context(stop_after=2)), pytest.raises(JobCancelled):
        process(list(range(10)), handled.append, "stopped", 2)
    assert sorted(handled) == [0, 1]


def test_a_pause_lies_between_two_batches_and_none_behind_the_last() -> None:
    waited: list[float] = []

    class Watched(BatchProcessor):
        def _wait(self, tally: Any) -> None:
            waited.extend(self._steps())

    Watched(2, 2.5).process(range(5), lambda item: item, "paused")
    assert waited == [1.0, 1.0, 0.5] * 2


def test_an_open_breaker_ends_the_calling_and_every_item_is_accounted_for() -> None:
    calls: list[int] = []

    def away(item: int) -> None:
        calls.append(item)
        raise ConnectionError

    found = sync(list(range(30)), away, "away-for-good", 1)
    assert found.failed == found.dead_lettered == 30
    assert len(calls) < 30
    assert {letter.exception_type for letter in letters()} == {
        "ConnectionError",
        "OpenCircuitError",
    }


def test_an_item_that_is_the_arguments_of_a_type_becomes_these() -> None:
    def fail(item: object) -> None:
        raise ValueError

    sync([{"value": 7, "seconds": 0.5}], fail, "test_echo")
    sync([{"value": 7, "more": 1}], fail, "test_echo")
    sync([float("nan")], fail, "nobody-knows")
    sync([{1, 2}], fail, "nobody-knows")
    assert [letter.arguments for letter in letters()] == [
        {"value": 7, "seconds": 0.5},
        {"item": {"value": 7, "more": 1}},
        {"item": None},
        {"item": [1, 2]},
    ]


def test_without_a_database_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OSError("no database")

    monkeypatch.setattr("webapp.guards.processing.transaction", away)
    FAILING[1] = TypeError("a bug")
    found = sync([{"number": number} for number in range(3)], handle, "test_item")
    assert (found.succeeded, found.failed, found.dead_lettered) == (2, 1, 0)


def test_no_item_is_no_success_and_no_failure() -> None:
    found = BatchProcessor().process([], handle, "nothing")
    assert (found.total, found.success_rate, found.as_json()["failed"]) == (0, None, 0)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"delay_between_batches": -1.0}])
def test_what_would_never_end_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        BatchProcessor(**wrong)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.booleans(), max_size=25), st.integers(1, 7))
def test_every_item_is_counted_once(fails: list[bool], size: int) -> None:
    def maybe(item: tuple[int, bool]) -> None:
        if item[1]:
            raise KeyError(item[0])

    found = sync(list(enumerate(fails)), maybe, "counted", size)
    assert found.total == len(fails) == found.succeeded + found.failed
    assert found.failed == found.dead_lettered == sum(fails)
    assert found.retried == 0
