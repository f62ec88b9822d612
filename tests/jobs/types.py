"""Job types that tests run: they succeed, fail, wait or kill their worker on request."""

import os
import signal
import time
from pathlib import Path

from pydantic import field_validator

from webapp.actors import SYSTEM
from webapp.audit.service import record
from webapp.clock import now
from webapp.db import transaction
from webapp.jobs.registry import JobArguments, Result, item_job, job
from webapp.jobs.service import save_checkpoint
from webapp.jobs.values import Deferred, JobCancelled, JobContext, RetryPolicy


class EchoArguments(JobArguments):
    """What is given back."""

    value: int = 0
    seconds: float = 0.0


class FailArguments(JobArguments):
    """How it fails: an exception's name, and the number of the attempt from which it succeeds."""

    error: str = "ConnectionError"
    until: int = 99


class KillingArguments(JobArguments):
    """Whoever reads them first is killed; ``mark`` is the file that says that somebody was."""

    mark: Path

    @field_validator("mark", mode="before")
    @classmethod
    def kill(cls, mark: str) -> Path:
        """Kill the process, once."""
        path = Path(mark)
        if not path.exists():
            path.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return path


class NoArguments(JobArguments):
    """Nothing."""


#: What a job that leaves a trace is called in the audit.
TALLY = "test.tallied"
QUICK = RetryPolicy(max_retries=2, initial_delay=0.01, jitter=0.0)
ERRORS = {
    "ConnectionError": ConnectionError,
    "TypeError": TypeError,
    "TimeoutError": TimeoutError,
    "ValueError": ValueError,
}


@job("test_echo", EchoArguments, policy=QUICK)
def echo(context: JobContext, arguments: EchoArguments) -> Result:
    """Give the value back, after a while; stop when asked to."""
    ends = time.monotonic() + arguments.seconds
    while time.monotonic() < ends:
        if context.cancelled():
            raise JobCancelled
        time.sleep(0.02)
    return {"value": arguments.value}


@job("test_kill_web", KillingArguments, policy=QUICK)
def kill_web(context: JobContext, arguments: KillingArguments) -> Result:
    """Do nothing: it is its enqueueing that kills."""
    del context, arguments
    return None


@job("test_fail", FailArguments, policy=QUICK)
def fail(context: JobContext, arguments: FailArguments) -> Result:
    """Fail until the named attempt."""
    if context.claim.attempt < arguments.until:
        error = ERRORS[arguments.error]
        message = f"attempt {context.claim.attempt} of job {context.claim.job_id} failed"
        raise error(message)
    return {"attempt": context.claim.attempt}


@job("test_defer", NoArguments, policy=QUICK)
def defer(context: JobContext, arguments: NoArguments) -> Result:
    """Ask for a later turn once, then succeed."""
    del arguments
    if context.claim.deferrals < 1:
        raise Deferred("the source rests", seconds=0.01)
    return None


@job("test_odd_result", NoArguments, policy=QUICK)
def odd_result(context: JobContext, arguments: NoArguments) -> Result:
    """Return what is no JSON."""
    del context, arguments
    return {"value": object()}


@job("test_slow", NoArguments, policy=QUICK, timeout=0.2)
def slow(context: JobContext, arguments: NoArguments) -> Result:
    """Run longer than its type allows."""
    del context, arguments
    time.sleep(5)
    return None


@job("test_slow_asking", NoArguments, policy=QUICK, timeout=0.2)
def slow_asking(context: JobContext, arguments: NoArguments) -> Result:
    """Run longer than its type allows, and ask now and then whether it may."""
    del arguments
    for _ in range(500):
        context.cancelled()
        time.sleep(0.02)
    return None


@job("test_kill_worker", NoArguments, policy=QUICK)
def kill_worker(context: JobContext, arguments: NoArguments) -> Result:
    """Kill the process that runs it."""
    del context, arguments
    os.kill(os.getpid(), signal.SIGKILL)
    return None


@job("test_tally", NoArguments, policy=QUICK)
def tally(context: JobContext, arguments: NoArguments) -> Result:
    """Leave one trace in the database, by the transaction that saves the checkpoint."""
    del arguments
    claim = context.claim
    if claim.checkpoint is None:
        with transaction() as session:
            record(
                session, by=SYSTEM, at=now(), action=TALLY, subject="job", name=str(claim.job_id)
            )
            save_checkpoint(session, claim, {"done": True})
    return None


@job("test_nothing", NoArguments, policy=QUICK)
def nothing(context: JobContext, arguments: NoArguments) -> Result:
    """Be over at once."""
    del context, arguments
    return None


class StepsArguments(JobArguments):
    """How many steps it takes, and how long each."""

    steps: int = 3
    seconds: float = 0.0
    fail_at: int | None = None


@job("test_steps", StepsArguments, policy=QUICK)
def steps(context: JobContext, arguments: StepsArguments) -> Result:
    """Go step by step, tell of each, and stop when asked to."""
    for step in range(1, arguments.steps + 1):
        if step == arguments.fail_at:
            message = f"step {step} is one too many"
            raise ValueError(message)
        time.sleep(arguments.seconds)
        if context.cancelled():
            raise JobCancelled
        context.progress(step, arguments.steps, f"step {step}")
        context.log("step_taken", step=step, password="geheim")
    return {"steps": arguments.steps}


#: Items that fail, each with its error; a test takes one out, and it succeeds.
FAILING: dict[int, Exception] = {}


@item_job("test_item", policy=QUICK)
def handle(item: dict[str, int]) -> Result:
    """Handle one item, unless it is one that fails."""
    if item["number"] in FAILING:
        raise FAILING[item["number"]]
    return {"handled": item["number"]}
