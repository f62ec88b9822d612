"""Runs jobs that are claimed, and settles what came of each.

The ledger is written inside the task's body, never from Huey's hooks: those are skipped exactly
when something is wrong.  Whatever happens between claim and settlement, the lease brings the job
back.
"""

import json
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from flask import Flask, current_app
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

from tasks.clocks import JobTimeout, Signals, heartbeat_of, time_limit, timed_out
from tasks.metering import Retried, count_ends, meter
from tasks.steering import steering_of
from tasks.tallies import tally
from tasks.turns import Ended, Running, Turn
from webapp import traces
from webapp.breakers.callers import calling_as, job_caller
from webapp.clock import now
from webapp.db import reading, storable, transaction
from webapp.dead_letters.service import resolve_by_success, write
from webapp.dead_letters.values import Cause, Reason
from webapp.errors import NotFound
from webapp.flags.decorators import Answers, noting_answers
from webapp.jobs import attempts
from webapp.jobs.attempts import Failure
from webapp.jobs.choice import Paces, next_pace
from webapp.jobs.failures import failure_of
from webapp.jobs.journal import note_flags, origins_of
from webapp.jobs.registry import JobType, Result, find_job_type, job_types, parse_arguments
from webapp.jobs.running import running_as
from webapp.jobs.turns import Success
from webapp.jobs.values import Claim, Deferred, JobCancelled, LeaseLost, Outcome, RetryPolicy
from webapp.logs import get_logger
from webapp.retries.classification import classify
from webapp.retries.policy import Bury, Defer, Retry, decide_attempt
from webapp.retries.values import DEFERRED, ErrorClass
from webapp.settings import Settings
from webapp.traces import Place

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
class Plain:
    """The result of a success that leaves nothing else to write."""

    result: Result


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is to be written of an attempt's end; ``write`` tells whether it was this worker's."""

    outcome: Outcome
    write: Callable[[Session], bool]
    plain: Plain | None = None
    retry: Retried | None = None


class RunningJob:
    """The context that a job's function is given; see ``webapp.jobs.values.JobContext``."""

    def __init__(self, running: Running) -> None:
        self._claim = running.claim
        self._signals = running.signals
        self._log = running.log
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
        self._log.add(event, facts)

    def cancelled(self) -> bool:
        """Tell whether somebody asked the job to stop."""
        self._stop_if_over()
        return self._signals.cancelled

    def _stop_if_over(self) -> None:
        if self._signals.lost:
            raise LeaseLost
        if self._signals.overdue:
            raise timed_out(self._signals.limit)


#: Seconds that the jobs of each type took lately in this process.
_seen: dict[str, float] = {}


def paces() -> Paces:
    """Return how long the jobs of each type took lately in this process."""
    return {kind.name: _seen.get(kind.name) for kind in job_types()}


def run_turn(app: Flask, claims: Sequence[Claim], *, stopping: Callable[[], bool]) -> None:
    """Run claimed jobs one after another and settle them, whatever comes of each."""
    settings: Settings = app.extensions["settings"]
    turn = Turn(claims)
    origins = _origins(claims)
    # Leases are renewed until the ends are written, so that a database that is away for a while
    # does not make another worker do again what is done.
    with heartbeat_of(app).keeping(turn):
        try:
            while running := turn.next():
                facts = _facts_of(running.claim)
                with (
                    app.app_context(),
                    structlog.contextvars.bound_contextvars(**facts),
                    _span(running.claim, origins.get(running.claim.job_id)),
                    calling_as(job_caller(running.claim.type)),
                ):
                    _attempt(settings, turn, running)
                if stopping():
                    turn.give_back()
            turn.settle_ended()
        except KeyboardInterrupt:
            with suppress(SQLAlchemyError):
                turn.abandon()
            raise
        finally:
            count_ends()


def _origins(claims: Sequence[Claim]) -> dict[int, Place]:
    """Return where in a trace these jobs were enqueued; a database that is away costs no job."""
    if traces.is_traced():
        with suppress(SQLAlchemyError), reading() as session:
            return origins_of(session, [claim.job_id for claim in claims])
    return {}


def _span(claim: Claim, origin: Place | None) -> AbstractContextManager[object]:
    """Open the span of an attempt: in the trace that the job was enqueued in, if there is one."""
    facts: dict[str, traces.Value] = {
        "job.id": claim.job_id,
        "job.type": claim.type,
        "job.attempt": claim.attempt,
    }
    if claim.request_id is not None:
        facts["request.id"] = claim.request_id
    name = f"run {claim.type}"
    return traces.span(name, kind=traces.Kind.CONSUMER, parent=origin, facts=facts)


def _attempt(settings: Settings, turn: Turn, running: Running) -> None:
    """Run a claimed job and settle it, whatever comes of it."""
    claim = running.claim
    log.debug("job_started", attempt=claim.attempt)
    settlement = _put_back(claim)
    try:
        with noting_answers() as seen:
            settlement = _execute(settings, RunningJob(running), running.signals)
        seconds = running.signals.seconds
        traces.note({"job.outcome": settlement.outcome.value})
        running.log.close()
        if seen:
            settlement = _with_flags(settlement, claim, seen)
        _seen[claim.type] = next_pace(_seen.get(claim.type), seconds)
        ended = _ended(settings, running, settlement, seconds)
        if settlement.plain is None:
            ended.alone()
        else:
            turn.end(ended, Success(claim, settlement.plain.result, running.began_at, now()))
    except LeaseLost:
        log.info("job_lease_lost", outcome=settlement.outcome)
    except KeyboardInterrupt:
        # The consumer's grace is over.  What is done is written, what is not goes back whole, and
        # the interrupt goes on; that it may be written twice is settled by the fence.
        with suppress(SQLAlchemyError):
            _settle(running, settlement, INTERRUPTED_SECONDS)
        running.log.close()
        log.info("job_interrupted", outcome=settlement.outcome)
        raise


def _ended(settings: Settings, running: Running, settlement: Settlement, seconds: float) -> Ended:
    """Return how the end of a job is written by itself, and what is logged once it is written."""

    def tell(settled: bool) -> None:  # noqa: FBT001 - called in one place
        if settled:
            tally().add(settlement.outcome)
            meter(running.claim, settlement.outcome, seconds, settlement.retry)
        log.info(
            "job_settled" if settled else "job_lease_lost",
            outcome=settlement.outcome,
            attempt=running.claim.attempt,
            seconds=round(seconds, 3),
            **_facts_of(running.claim),
        )

    def alone() -> None:
        tell(_settle(running, settlement, settings.job_lease_seconds))

    return Ended(alone, tell)


def _with_flags(settlement: Settlement, claim: Claim, seen: Answers) -> Settlement:
    """Write the answers of flags with the end, which is therefore written by itself."""

    def write(session: Session) -> bool:
        won = settlement.write(session)
        if won:
            note_flags(session, claim, seen)
        return won

    return Settlement(settlement.outcome, write, retry=settlement.retry)


def _facts_of(claim: Claim) -> dict[str, Any]:
    return {"job_id": claim.job_id, "job_type": claim.type, "request_id": claim.request_id}


def _execute(settings: Settings, context: RunningJob, signals: Signals) -> Settlement:
    """Run the job's function; return what is to be written of its end."""
    claim = context.claim
    try:
        kind = steering_of(current_app).applied_to(find_job_type(claim.type))
    except NotFound as error:
        if claim.deferrals < UNKNOWN_TYPE_TURNS:
            return _leave_to_others(claim, error.detail)
        return _after_failure(claim, RetryPolicy(), error)
    policy = kind.policy
    try:
        arguments = parse_arguments(kind, claim.arguments)
        signals.limit = kind.timeout or settings.default_job_timeout
        with time_limit(signals.limit), running_as(context):
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
    return Settlement(
        Outcome.SUCCEEDED,
        lambda session: _write_success(session, claim, result),
        # A first claim has no letter to resolve, so its end may be written with those of others.
        plain=Plain(result) if claim.fence == 1 else None,
    )


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
    traces.fail(type(error).__name__)
    if isinstance(error, Deferred):
        log.info("job_deferred", reason=error.reason, seconds=error.seconds)
    classification = classify(error, now=moment)
    failure = failure_of(error, classification.error_class)
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
                retry=Retried(failure.error_class, strategy),
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


def _settle(running: Running, settlement: Settlement, seconds: float) -> bool:
    """Write the end of an attempt; a database that is away is waited for, so many seconds.

    If it stays away, the lease runs out and the job runs again.  An end that the database refuses
    to hold would be refused for ever: such a job is buried with the refusal.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with transaction() as session:
                if not running.first:
                    attempts.begin(session, running.claim, at=running.began_at)
                return settlement.write(session)
        except (OperationalError, InterfaceError, InternalError, PoolTimeout) as error:
            log.warning("settle_failed", error=type(error).__name__)
            if time.monotonic() > deadline:
                raise
            time.sleep(SETTLE_WAIT_SECONDS)
        except StatementError as error:
            failure = failure_of(error, ErrorClass.BUG)
            with transaction() as session:
                return _bury(session, running.claim, failure, Reason.NOT_RETRYABLE)
