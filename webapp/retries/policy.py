"""Whether to try again, and when: the arithmetic of waiting.

Pure: the time and the random number are arguments and the decision is a value that somebody else
carries out.  It knows classes of error, never exceptions.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from webapp.jobs.values import RetryPolicy
from webapp.retries.values import (
    DEFERRED,
    MALFORMED_RETRIES,
    TRANSIENT,
    Classification,
    ErrorClass,
    RetryConfig,
    Strategy,
)

# The powers grow past any cap long before this, and a float ends near 3**646.
_MAX_STEP = 64
# A full disk or a refusal that lasted may be over when the queue comes back to the job; within
# one process there is no use in trying again.
_QUEUE_ONLY = frozenset({ErrorClass.RESOURCE_EXHAUSTED}) | DEFERRED

Jitter = float | Literal["full"]


@dataclass(frozen=True, slots=True)
class Retry:
    """Run the job again ``at`` this time, ``delay`` seconds from the decision."""

    at: datetime
    strategy: Strategy
    delay: float


@dataclass(frozen=True, slots=True)
class Defer:
    """Put the job back until ``at``; it could not run, so no attempt is spent."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Bury:
    """Give the job up; ``reason`` is a sentence for its dead letter."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Repeat the call in this process after ``delay`` seconds."""

    delay: float
    strategy: Strategy


@dataclass(frozen=True, slots=True)
class Stop:
    """Raise the error; ``wait`` is how long its cause should be left alone, where that is known."""

    reason: str
    wait: float | None = None


def decide_attempt(
    classification: Classification,
    *,
    attempt: int,
    policy: RetryPolicy,
    now: datetime,
    jitter: float,
    deferrals: int = 0,
) -> Retry | Defer | Bury:
    """Decide what becomes of a job whose attempt failed.

    ``attempt`` counts the attempts spent, 1 after the first; ``jitter`` is a random number from
    0 to 1.  ``deferrals`` are those before: past the policy's bound a refusal is a failure.
    """
    error_class = classification.error_class
    if error_class in DEFERRED and deferrals < policy.max_deferrals:
        named = classification.retry_after
        seconds = policy.initial_delay if named is None else named
        return Defer(now + timedelta(seconds=_later(seconds, policy.jitter, jitter)))
    if not (classification.transient or error_class in _QUEUE_ONLY):
        return Bury(f"{error_class} is not retried ({classification.rule})")
    allowed = _allowed_retries(error_class, policy.max_retries)
    if attempt > allowed:
        return Bury(f"{error_class} after {attempt} attempts ({classification.rule})")
    strategy = _strategy_of(error_class)
    delay = delay_before(
        strategy,
        attempt - 1,
        base=policy.initial_delay,
        factor=policy.backoff_factor,
        cap=policy.max_delay,
    )
    delay = _with_floor(
        spread(delay, policy.jitter, jitter, cap=policy.max_delay),
        classification.retry_after,
        policy.jitter,
        jitter,
    )
    return Retry(now + timedelta(seconds=delay), strategy, delay)


def decide(
    classification: Classification,
    *,
    attempt: int,
    failures_of_class: int,
    config: RetryConfig,
    elapsed: float,
    jitter: float,
) -> Wait | Stop:
    """Decide whether a call is repeated in this process after its ``attempt``-th failure.

    ``failures_of_class`` counts those of this error's class, this one included: with the strategy
    "auto" each class grows its own wait.  ``elapsed`` is in seconds since the first attempt began;
    ``jitter`` is a random number from 0 to 1.
    """
    error_class = classification.error_class
    if not classification.transient:
        return Stop(f"{error_class} is not retried", classification.retry_after)
    automatic = config.strategy == "auto"
    strategy = _strategy_of(error_class) if config.strategy == "auto" else config.strategy
    delay = delay_before(
        strategy,
        (failures_of_class if automatic else attempt) - 1,
        base=config.initial_delay,
        factor=config.factor,
        cap=config.max_delay,
    )
    delay = _with_floor(
        spread(delay, config.jitter, jitter, cap=config.max_delay),
        classification.retry_after,
        config.jitter,
        jitter,
    )
    if attempt >= config.max_attempts:
        return Stop(f"{attempt} attempts failed", classification.retry_after)
    if failures_of_class > _allowed_retries(error_class, config.max_attempts - 1):
        return Stop(f"{error_class} {failures_of_class} times", classification.retry_after)
    if config.deadline is not None and elapsed + delay >= config.deadline:
        return Stop(f"the deadline of {config.deadline:g} s would pass", delay)
    if delay > config.max_inline_wait:
        return Stop(f"the wait of {delay:.0f} s is too long to be slept through", delay)
    return Wait(delay, strategy)


def delay_before(
    strategy: Strategy, step: int, *, base: float, factor: float = 2.0, cap: float
) -> float:
    """Return the seconds before retry number ``step`` (0 is the first), without jitter."""
    step = min(step, _MAX_STEP)
    match strategy:
        case Strategy.EXPONENTIAL:
            delay = base * factor**step
        case Strategy.LINEAR:
            delay = base * (step + 1)
        case Strategy.FIBONACCI:
            delay = base * _fibonacci(step)
        case Strategy.AGGRESSIVE:
            delay = base * 3.0**step
        case Strategy.CONSTANT:
            delay = base
    return min(delay, cap)


def _fibonacci(step: int) -> int:
    """Return the number at ``step`` of 1, 1, 2, 3, 5 and so on."""
    current, following = 1, 1
    for _ in range(step):
        current, following = following, current + following
    return current


def spread(delay: float, jitter: Jitter, random: float, *, cap: float) -> float:
    """Vary a wait by ``random`` (0 to 1), so that those who failed together do not return together.

    A share varies it up and down, but never past the cap: at the cap it varies downward only,
    else half of all waits would end on the very same second.
    """
    if jitter == "full":
        return delay * random
    low, high = delay * (1 - jitter), min(delay * (1 + jitter), cap)
    return low + random * (max(high, low) - low)


def _with_floor(delay: float, floor: float | None, jitter: Jitter, random: float) -> float:
    """Return ``delay``, yet never less than the wait that the other side asked for."""
    return delay if floor is None else max(delay, _later(floor, jitter, random))


def _later(seconds: float, jitter: Jitter, random: float) -> float:
    """Vary a wait upward only: to come before the named time is to be refused again."""
    share = 0.25 if jitter == "full" else jitter
    return seconds * (1 + share * random)


def _strategy_of(error_class: ErrorClass) -> Strategy:
    return TRANSIENT.get(error_class, Strategy.EXPONENTIAL)


def _allowed_retries(error_class: ErrorClass, retries: int) -> int:
    return min(retries, MALFORMED_RETRIES) if error_class == ErrorClass.MALFORMED else retries
