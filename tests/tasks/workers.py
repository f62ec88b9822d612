"""A worker of the test's own: it claims a job, hands its function a context, and may die in it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import update

from webapp.clock import now
from webapp.db import transaction
from webapp.jobs.attempts import claim as claim_job
from webapp.jobs.dispatch import settle_lost
from webapp.jobs.models import Job
from webapp.jobs.values import Claim

LEASE = 30.0


class Killed(BaseException):
    """The worker is gone: nothing of it runs any more."""


def kill() -> None:
    """Have the worker die here."""
    raise Killed


class Context:
    """What a worker hands to the function, with something that happens after a batch."""

    def __init__(
        self, claim: Claim, *, after: int = 10**9, happen: Callable[[], None] = lambda: None
    ) -> None:
        self.claim = claim
        self._after = after
        self._happen = happen
        self.shown: list[tuple[int, int | None]] = []
        self.asked_to_stop = False

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """Note what was shown; after so many times something happens."""
        del message
        self.shown.append((done, total))
        if len(self.shown) == self._after:
            self._happen()

    def log(self, event: str, **facts: Any) -> None:
        """Write nothing."""

    def cancelled(self) -> bool:
        """Tell whether somebody has asked the job to stop."""
        return self.asked_to_stop


def claim(job_id: int) -> Claim:
    """Take a job that is due."""
    with transaction() as session:
        found = claim_job(session, job_id, worker="w", lease_seconds=LEASE, now=now())
    assert found is not None
    return found


def lose_worker() -> None:
    """Let the lease of whatever runs be over, and put it back as a consumer's beat does."""
    with transaction() as session:
        assert settle_lost(session, max_losses=5, now=now() + timedelta(seconds=LEASE + 1))
        session.execute(update(Job).values(run_at=now()))
