"""Many items through one function: a batch at a time, each item guarded by itself.

An item that is given up becomes a dead letter and stops no other.  Its letter is that of a job of
the name's type with the item as its argument, so whoever registers the function as a type of job
(``item_job``) can retry it like any other.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextvars import copy_context
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

from pydantic_core import to_json

from webapp.actors import SYSTEM, Actor
from webapp.clock import now
from webapp.db import storable, transaction
from webapp.dead_letters.service import write
from webapp.dead_letters.values import Cause, Reason
from webapp.errors import Invalid, NotFound
from webapp.guards.calls import guard
from webapp.jobs.failures import Tried, add_dead_job, failure_of
from webapp.jobs.registry import find_job_type, parse_arguments
from webapp.jobs.running import running_job
from webapp.jobs.values import JobCancelled, JobContext
from webapp.logs import get_logger
from webapp.retries.attempts import default_config
from webapp.retries.classification import classify
from webapp.retries.values import DEFERRED, RetryConfig

Item = TypeVar("Item")

log = get_logger(__name__)

#: While it waits between two batches, a job is asked so often whether it is to stop.
LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSummary:
    """What came of all items.

    ``retried`` counts items that were tried more than once, whatever came of them;
    ``dead_lettered`` those of the failed that have a dead letter, which is all of them unless the
    database was away.  ``success_rate`` is in percent, None where there was no item.
    """

    total: int
    succeeded: int
    failed: int
    retried: int
    dead_lettered: int
    success_rate: float | None
    duration_seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return it as a job's result."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Outcome:
    item: Any
    started_at: datetime
    attempts: int
    error: Exception | None


@dataclass(slots=True)
class _Tally:
    """What has come of the items so far, told to the job that runs here."""

    name: str
    total: int
    job: JobContext | None
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    failed: int = 0
    retried: int = 0
    dead_lettered: int = 0

    def stop_if_cancelled(self) -> None:
        if self.job is not None and self.job.cancelled():
            raise JobCancelled

    def add(self, outcome: _Outcome) -> None:
        """Count an item; one that failed is buried first, so that no count is of what is lost."""
        self.retried += outcome.attempts > 1
        if outcome.error is not None:
            self.failed += 1
            self.dead_lettered += _bury(self.name, outcome, outcome.error, self.job)
        self.done += 1
        if self.job is not None:
            self.job.progress(self.done, self.total, f"{self.failed:,} failed" * bool(self.failed))

    def summary(self) -> BatchSummary:
        succeeded = self.done - self.failed
        return BatchSummary(
            total=self.total,
            succeeded=succeeded,
            failed=self.failed,
            retried=self.retried,
            dead_lettered=self.dead_lettered,
            success_rate=round(100 * succeeded / self.done, 2) if self.done else None,
            duration_seconds=round(time.monotonic() - self.began, 3),
        )


class BatchProcessor:
    """Takes items through a function, ``batch_size`` at once, with a pause between two batches.

    ``retry`` says how an item is repeated; as the settings do where it is None.
    """

    def __init__(
        self,
        batch_size: int = 10,
        delay_between_batches: float = 5.0,
        *,
        retry: RetryConfig | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, is {batch_size}")
        if delay_between_batches < 0:
            raise ValueError("delay_between_batches must not be negative")
        self.batch_size = batch_size
        self.delay_between_batches = delay_between_batches
        self._retry = retry

    def process(
        self, items: Iterable[Item], func: Callable[[Item], object], job_name: str
    ) -> BatchSummary:
        """Call ``func`` with each item, those of a batch in threads of their own.

        ``job_name`` names the breaker that all items share, and the type of their dead letters.
        Progress is told to the job that runs here, and :class:`JobCancelled` is raised between two
        batches where it is to stop.  A thread shares no session: ``func`` opens its own
        ``transaction()``.
        """
        wanted = list(items)
        tally = _Tally(job_name, len(wanted), running_job())
        call = self._guarded(func, job_name)
        pool = ThreadPoolExecutor(min(self.batch_size, len(wanted)) or 1, "batch")
        whole = False
        try:
            for batch in self._batches(wanted):
                tally.stop_if_cancelled()
                if tally.done:
                    self._wait(tally)
                # A copy for each: the log's facts and the application belong to this job.
                running: list[Future[_Outcome]] = [
                    pool.submit(copy_context().run, call, item) for item in batch
                ]
                for future in as_completed(running):
                    tally.add(future.result())
            whole = True
        finally:
            # A thread cannot be stopped: whoever must end does not wait for those that run.
            pool.shutdown(wait=whole, cancel_futures=True)
        return self._told(tally)

    async def process_async(
        self, items: Iterable[Item], func: Callable[[Item], Awaitable[object]], job_name: str
    ) -> BatchSummary:
        """Await ``func`` with each item, those of a batch together; else as :meth:`process`."""
        wanted = list(items)
        tally = _Tally(job_name, len(wanted), running_job())
        call = self._guarded_async(func, job_name)
        for batch in self._batches(wanted):
            tally.stop_if_cancelled()
            if tally.done:
                await self._wait_async(tally)
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(call(item)) for item in batch]
            for task in running:
                # The ledger is written in a thread: nothing else of the loop waits for it.
                await asyncio.to_thread(tally.add, task.result())
        return self._told(tally)

    def _batches(self, items: Sequence[Item]) -> Iterator[Sequence[Item]]:
        for at in range(0, len(items), self.batch_size):
            yield items[at : at + self.batch_size]

    def _guarded(self, func: Callable[[Item], object], job_name: str) -> Callable[[Item], _Outcome]:
        around = guard(job_name, retry=self._retry or default_config())

        def call(item: Item) -> _Outcome:
            started_at, attempts = now(), 0

            def attempt() -> object:
                nonlocal attempts
                attempts += 1
                return func(item)

            try:
                around.call(attempt)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
                return _Outcome(item, started_at, attempts, error)
            return _Outcome(item, started_at, attempts, None)

        return call

    def _guarded_async(
        self, func: Callable[[Item], Awaitable[object]], job_name: str
    ) -> Callable[[Item], Any]:
        around = guard(job_name, retry=self._retry or default_config())

        async def call(item: Item) -> _Outcome:
            started_at, attempts = now(), 0

            async def attempt() -> object:
                nonlocal attempts
                attempts += 1
                return await func(item)

            try:
                await around.acall(attempt)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
                return _Outcome(item, started_at, attempts, error)
            return _Outcome(item, started_at, attempts, None)

        return call

    def _wait(self, tally: _Tally) -> None:
        for seconds in self._steps():
            time.sleep(seconds)
            tally.stop_if_cancelled()

    async def _wait_async(self, tally: _Tally) -> None:
        for seconds in self._steps():
            await asyncio.sleep(seconds)
            tally.stop_if_cancelled()

    def _steps(self) -> Iterator[float]:
        """Yield the pieces of the pause: a job that is to stop need not wait to its end."""
        left = self.delay_between_batches
        while left > 0:
            yield min(left, LOOK_SECONDS)
            left -= LOOK_SECONDS

    @staticmethod
    def _told(tally: _Tally) -> BatchSummary:
        summary = tally.summary()
        log.info("batch_processed", job_name=tally.name, **summary.as_json())
        return summary


def _bury(name: str, outcome: _Outcome, error: Exception, job: JobContext | None) -> bool:
    """Write the dead letter of an item; tells whether it stands.

    A database that is away must not keep the other items from being tried.
    """
    found = classify(error)
    may_pass = found.transient or found.error_class in DEFERRED
    failure = failure_of(error, found.error_class)
    claim = job.claim if job is not None else None
    by = Actor("system", f"job {claim.job_id}", claim.request_id) if claim else SYSTEM
    tried = Tried(
        type=name,
        arguments=_arguments(name, outcome.item),
        attempts=outcome.attempts,
        started_at=outcome.started_at,
        worker=claim.worker if claim else "caller",
    )
    cause = Cause(
        reason=Reason.ATTEMPTS_SPENT if may_pass else Reason.NOT_RETRYABLE,
        error_class=failure.error_class,
        exception_type=failure.exception_type,
        message=failure.message,
        traceback=failure.traceback,
    )
    try:
        with transaction() as session:
            moment = now()
            job_id = add_dead_job(session, tried, failure, by=by, now=moment)
            write(session, job_id, cause, now=moment)
    except Exception:
        log.exception("batch_item_not_buried", job_name=name)
        return False
    return True


def _arguments(name: str, item: Any) -> dict[str, Any]:
    """Return the arguments with which a job of this type would do the same.

    A type that takes one item is given it; one whose arguments the item itself is, these.
    """
    plain = _plain(item)
    if isinstance(plain, dict) and not _fits(name, {"item": plain}) and _fits(name, plain):
        return plain
    return {"item": plain}


def _fits(name: str, arguments: Mapping[str, Any]) -> bool:
    try:
        parse_arguments(find_job_type(name), arguments)
    except (Invalid, NotFound):
        return False
    return True


def _plain(item: Any) -> Any:
    """Return an item as JSON can hold it, at worst as what Python writes of it."""
    try:
        return json.loads(to_json(item, fallback=str, inf_nan_mode="null"))
    except Exception:  # noqa: BLE001 - whatever an item is made of, it must be possible to see it
        return storable(repr(item))
