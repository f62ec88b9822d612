"""The vocabulary of jobs: states, outcomes, policies, and what a running job may ask for.

Nothing here touches the database, the queue or the clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol


class JobState(StrEnum):
    """Where a job stands."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELED = "canceled"


class Outcome(StrEnum):
    """How one attempt ended."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    RELEASED = "released"
    DEFERRED = "deferred"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a type of job is tried again; delays in seconds."""

    max_retries: int = 3
    initial_delay: float = 60.0
    backoff_factor: float = 2.0
    max_delay: float = 3600.0
    jitter: float = 0.25
    max_deferrals: int = 50


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt that this worker holds; ``fence`` is the number that settles it."""

    job_id: int
    type: str
    fence: int
    attempt: int
    losses: int
    deferrals: int
    arguments: Mapping[str, Any]
    checkpoint: Mapping[str, Any] | None
    worker: str
    started_at: datetime
    request_id: str | None
    due_at: datetime | None = None


class JobContext(Protocol):
    """What the function of a job is given as its first argument."""

    @property
    def claim(self) -> Claim:
        """The attempt that runs."""

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """Show how far the job has come; told to the ledger at most once a second."""

    def log(self, event: str, **facts: Any) -> None:
        """Write a line to the job's log."""

    def cancelled(self) -> bool:
        """Tell whether somebody asked the job to stop."""


class LeaseLost(BaseException):
    """This worker no longer holds the job: another may run it, so nothing may be written.

    Not an ``Exception``, so that no handler inside a job takes it for a failure of its own.
    """


class JobCancelled(BaseException):
    """The job was asked to stop, and does."""


class Deferred(Exception):  # no error: the job goes back without spending an attempt
    """The job cannot run now through no fault of its own; ``seconds`` is the wait."""

    def __init__(self, reason: str, *, seconds: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds
