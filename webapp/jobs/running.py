"""Which job runs here: for what is called by a job and is not handed its context.

A thread or a task that is begun with a copy of the context belongs to the same job.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from webapp.jobs.values import JobContext

_running: ContextVar[JobContext | None] = ContextVar("running_job", default=None)


def running_job() -> JobContext | None:
    """Return the context of the job that runs here; None outside of jobs."""
    return _running.get()


@contextmanager
def running_as(context: JobContext) -> Iterator[None]:
    """Let the body be that of a job."""
    token = _running.set(context)
    try:
        yield
    finally:
        _running.reset(token)
