"""The one Huey task: claim a job, run it, and settle what came of it.

The ledger is written inside the task's body, never from Huey's hooks: those are skipped exactly
when something is wrong.  Whatever happens between claim and settlement, the lease brings the job
back.
"""

import json
import random
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from flask import Flask
from pydantic_core import PydanticSerializationError, to_jsonable_python
from sqlalchemy.exc import (
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from tasks.clocks import Heartbeat, JobTimeout, time_limit, timed_out
from webapp.clock import now
from webapp.db import storable, transaction
from webapp.dead_letters.service import resolve_by_success, write
from webapp.dead_letters.values import Cause, Reason
from webapp.errors import DomainError, NotFound
from webapp.jobs import attempts
from webapp.jobs.attempts import Failure
from webapp.jobs.registry import JobType, Result, find_job_type, parse_arguments
from webapp.jobs.values import Claim, Deferred, JobCancelled, LeaseLost, Outcome, RetryPolicy
from webapp.logs import get_logger, mask_text
from webapp.retries.classification import classify
from webapp.retries.policy import Bury, Defer, Retry, decide_attempt
from webapp.retries.values import DEFERRED, ErrorClass
from webapp.settings import Settings

log = get_logger(__name__)

SETTLE_WAIT_SECONDS = 0.5
# For so long an interrupted worker tries to write; its consumer waits no longer.
INTERRUPTED_SECONDS = 2.0
PROGRESS_EVERY_SECONDS = 1.0
RESULT_BYTES = 65_536
# While a new version is rolled out, old workers meet types that they do not know; so often, and so
# many seconds apart, such a job is left to others before it is a dead letter.
UNKNOWN_TYPE_TURNS = 5
UNKNOWN_TYPE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is to be written of an attempt's end; ``write`` tells whether it was this worker's."""

    outcome: Outcome
    write: Callable[[Session], bool]


class RunningJob:
    """The context that a job's function is given; see ``webapp.jobs.values.JobContext``."""

    def __init__(self, claim: Claim, heartbeat: Heartbeat) -> None:
        self._claim = claim
        self._heartbeat = heartbeat
        self._shown = float("-inf")

    @property
    def claim(self) -> Claim:
        """The attempt that runs."""
        return self._claim

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """Show how far the job has come, at most once a second and at its end."""
        self._stop_if_over()
        if time.monotonic() - self._shown < PROGRESS_EVERY_SECONDS and done != total:
            return
        self._shown = time.monotonic()
        with transaction() as session:
            held = attempts.show_progress(
                session, self._claim, done=done, total=total, message=storable(message)
            )
        if not held:
            raise LeaseLost

    def log(self, event: str, **facts: Any) -> None:
        """Write a line to the job's log."""
        log.info(event, **facts)

    def cancelled(self) -> bool:
        """Tell whether somebody asked the job to stop."""
        self._stop_if_over()
        return self._heartbeat.cancelled.is_set()

    def _stop_if_over(self) -> None:
        if self._heartbeat.lost.is_set():
            raise LeaseLost
        if self._heartbeat.overdue.is_set():
            raise timed_out(self._heartbeat.limit)


def run(app: Flask, job_id: int, *, worker: str, early: bool = False) -> bool:
    """Look at one job: run it if it is due and nobody else has it.  Tell whether it was run."""
    settings: Settings = app.extensions["settings"]
    with app.app_context():
        with transaction() as session:
            claim = attempts.claim(
                session,
                job_id,
                worker=worker,
                lease_seconds=settings.job_lease_seconds,
                now=now(),
                early=early,
            )
        if claim is None:
            return False
        facts = {"job_id": job_id, "job_type": claim.type, "request_id": claim.request_id}
        with structlog.contextvars.bound_contextvars(**facts):
            _attempt(app, settings, claim)
    return True


def _attempt(app: Flask, settings: Settings, claim: Claim) -> None:
    """Run a claimed job and settle it, whatever comes of it."""
    log.info("job_started", attempt=claim.attempt)
    started = time.monotonic()
    settlement = _put_back(claim)
    # The lease is renewed until the end is written, so that a database that is away for a while
    # does not make another worker do again what is done.
    with Heartbeat(
        app,
        claim,
        every=settings.job_heartbeat_seconds,
        lease_seconds=settings.job_lease_seconds,
    ) as heartbeat:
        try:
            settlement = _execute(settings, RunningJob(claim, heartbeat), heartbeat)
            settled = _settle(claim, settlement, settings.job_lease_seconds)
        except LeaseLost:
            settled = False
        except KeyboardInterrupt:
            # The consumer's grace is over.  What is done is written, what is not goes back whole,
            # and the interrupt goes on; that it may be written twice is settled by the fence.
            with suppress(SQLAlchemyError):
                _settle(claim, settlement, INTERRUPTED_SECONDS)
            log.info("job_interrupted", outcome=settlement.outcome)
            raise
    log.info(
        "job_settled" if settled else "job_lease_lost",
        outcome=settlement.outcome,
        seconds=round(time.monotonic() - started, 3),
    )


def _execute(settings: Settings, context: RunningJob, heartbeat: Heartbeat) -> Settlement:
    """Run the job's function; return what is to be written of its end."""
    claim = context.claim
    try:
        kind = find_job_type(claim.type)
    except NotFound as error:
        if claim.deferrals < UNKNOWN_TYPE_TURNS:
            return _leave_to_others(claim, error.detail)
        return _after_failure(claim, RetryPolicy(), error)
    policy = kind.policy
    try:
        arguments = parse_arguments(kind, claim.arguments)
        heartbeat.limit = kind.timeout or settings.default_job_timeout
        with time_limit(heartbeat.limit):
            result = _as_json(kind, kind.function(context, arguments))
    except (LeaseLost, KeyboardInterrupt):
        raise
    except JobCancelled:
        return Settlement(
            Outcome.CANCELED, lambda session: attempts.stop(session, claim, now=now())
        )
    except JobTimeout as alarm:
        late = TimeoutError(str(alarm)).with_traceback(alarm.__traceback__)
        return _after_failure(claim, policy, late)
    except BaseException as error:  # noqa: BLE001  # every end of a job is classified and decided here, sys.exit() too
        return _after_failure(claim, policy, error)
    return Settlement(Outcome.SUCCEEDED, lambda session: _write_success(session, claim, result))


def _leave_to_others(claim: Claim, reason: str) -> Settlement:
    """Put back a job of a type that this worker does not know: a newer version's may know it."""
    moment = now()
    at = moment + timedelta(seconds=UNKNOWN_TYPE_SECONDS)
    return Settlement(
        Outcome.DEFERRED,
        lambda session: attempts.defer(session, claim, reason=reason, at=at, now=moment),
    )


def _put_back(claim: Claim) -> Settlement:
    return Settlement(Outcome.RELEASED, lambda session: attempts.release(session, claim, now=now()))


def _as_json(kind: JobType, result: Result) -> Result:
    """Return a result as the ledger can keep it; what is no JSON, or too much, is the job's bug."""
    try:
        plain: Result = to_jsonable_python(result)
    except PydanticSerializationError as error:
        message = f"{kind.name} returned what is not JSON: {error}"
        raise TypeError(message) from None
    try:
        size = len(json.dumps(plain, allow_nan=False))
    except ValueError as error:
        message = f"{kind.name} returned what is not JSON: {error}"
        raise TypeError(message) from None
    if size > RESULT_BYTES:
        message = f"{kind.name} returned {size} bytes of JSON; a result may have {RESULT_BYTES}"
        raise TypeError(message)
    return plain


def _write_success(session: Session, claim: Claim, result: Result) -> bool:
    won = attempts.succeed(session, claim, result=result, now=now())
    # A first claim has no letter to resolve.
    if won and claim.fence > 1:
        resolve_by_success(session, claim.job_id, now=now())
    return won


def _after_failure(claim: Claim, policy: RetryPolicy, error: BaseException) -> Settlement:
    """Classify an error and decide: again later, put back, or dead."""
    moment = now()
    if isinstance(error, Deferred):
        log.info("job_deferred", reason=error.reason, seconds=error.seconds)
    classification = classify(error, now=moment)
    failure = _failure(error, classification.error_class)
    decision = decide_attempt(
        classification,
        attempt=claim.attempt,
        policy=policy,
        now=moment,
        jitter=random.random(),  # noqa: S311  # spreads retries, guards no secret
        deferrals=claim.deferrals,
    )
    log.warning(
        "job_failed",
        error_class=classification.error_class,
        rule=classification.rule,
        decision=type(decision).__name__.lower(),
        error=failure.summary,
    )
    match decision:
        case Defer(at):
            return Settlement(
                Outcome.DEFERRED,
                lambda session: attempts.defer(
                    session, claim, reason=failure.summary, at=at, now=moment
                ),
            )
        case Retry(at, strategy, delay):
            return Settlement(
                Outcome.FAILED,
                lambda session: attempts.retry_later(
                    session, claim, failure, at=at, strategy=strategy, delay=delay, now=moment
                ),
            )
        case Bury():
            reason = _reason(claim, classification.error_class, policy)
            return Settlement(
                Outcome.FAILED, lambda session: _bury(session, claim, failure, reason)
            )


def _reason(claim: Claim, error_class: str, policy: RetryPolicy) -> Reason:
    if error_class in DEFERRED:
        return Reason.DEFERRED_TOO_OFTEN
    if claim.attempt > policy.max_retries:
        return Reason.ATTEMPTS_SPENT
    return Reason.NOT_RETRYABLE


def _bury(session: Session, claim: Claim, failure: Failure, reason: Reason) -> bool:
    """Bury the job and write its letter, in one transaction."""
    if not attempts.bury(session, claim, failure, now=now()):
        return False
    cause = Cause(
        reason=reason,
        error_class=failure.error_class,
        exception_type=failure.exception_type,
        message=failure.message,
        traceback=failure.traceback,
    )
    write(session, claim.job_id, cause, now=now())
    return True


def _failure(error: BaseException, error_class: str) -> Failure:
    text = "".join(traceback.format_exception(error))
    return Failure(
        error_class=error_class,
        exception_type=type(error).__name__,
        message=storable(mask_text(_words_of(error))),
        traceback=storable(mask_text(text)),
    )


def _words_of(error: BaseException) -> str:
    """Return what an error says; one that fails at that must not keep its job from ending."""
    try:
        return error.detail if isinstance(error, DomainError) else str(error)
    except Exception as fault:  # noqa: BLE001  # whatever its __str__ does
        return f"(its text cannot be had: {type(fault).__name__})"


def _settle(claim: Claim, settlement: Settlement, seconds: float) -> bool:
    """Write the end of an attempt; a database that is away is waited for, so many seconds.

    If it stays away, the lease runs out and the job runs again.  An end that the database refuses
    to hold would be refused for ever: such a job is buried with the refusal.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with transaction() as session:
                return settlement.write(session)
        except (OperationalError, InterfaceError, InternalError, PoolTimeout) as error:
            log.warning("settle_failed", error=type(error).__name__)
            if time.monotonic() > deadline:
                raise
            time.sleep(SETTLE_WAIT_SECONDS)
        except StatementError as error:
            failure = _failure(error, ErrorClass.BUG)
            with transaction() as session:
                return _bury(session, claim, failure, Reason.NOT_RETRYABLE)
