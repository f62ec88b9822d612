"""The vocabulary of dead letters."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a job was given up."""

    ATTEMPTS_SPENT = "attempts_spent"
    NOT_RETRYABLE = "not_retryable"
    WORKER_LOST = "worker_lost"
    DEFERRED_TOO_OFTEN = "deferred_too_often"


class Resolution(StrEnum):
    """How a letter was closed."""

    RETRIED = "resolved_by_retry"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Cause:
    """What killed a job, as its last attempt told it."""

    reason: Reason
    error_class: str
    exception_type: str
    message: str
    traceback: str
