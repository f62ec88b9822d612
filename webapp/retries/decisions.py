"""What is decided about one error, and why: class, rule, strategy, wait.

Pure, as what it puts together is: the time and the random number are arguments.  Whoever repeats
calls acts on what is said here, so what is explained is what is done.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from webapp.retries.classification import classify
from webapp.retries.policy import Stop, Wait, decide
from webapp.retries.values import (
    DEFERRED,
    BreakerEffect,
    Classification,
    ErrorClass,
    RetryConfig,
    Strategy,
)

#: Says of an error whether it is to be repeated; None leaves that to its class.
Judge = Callable[[Exception, Classification], bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why an error is repeated after a wait, or not.

    ``delay`` and ``strategy`` are None where it is not; ``reason`` says then why.  ``retry_after``
    is the wait that the other side asked for, ``postponed`` the one left to whoever schedules.
    """

    error_class: ErrorClass
    rule: str
    breaker_effect: BreakerEffect
    attempt: int
    retry_after: float | None
    strategy: Strategy | None
    delay: float | None
    reason: str | None
    postponed: float | None = None

    @property
    def repeated(self) -> bool:
        """Tell whether there is a further attempt."""
        return self.delay is not None


def explain(
    error: Exception,
    config: RetryConfig,
    *,
    before: Iterable[ErrorClass] = (),
    elapsed: float = 0.0,
    jitter: float = 0.5,
) -> Explanation:
    """Explain what becomes of a call that failed with ``error``.

    ``before`` are the classes of the failures before it; ``elapsed`` is in seconds since the first
    attempt began; ``jitter`` is a random number from 0 to 1, of which 0.5 is the wait without any.
    """
    found = classify(error)
    failures = Counter(before)
    failures[found.error_class] += 1
    return explain_class(found, config, failures, elapsed=elapsed, jitter=jitter)


def explain_class(
    found: Classification,
    config: RetryConfig,
    failures: Counter[ErrorClass],
    *,
    elapsed: float,
    jitter: float,
) -> Explanation:
    """Explain what becomes of a call whose last failure is ``found``, counted in ``failures``."""
    attempt = failures.total()
    decision = decide(
        found,
        attempt=attempt,
        failures_of_class=failures[found.error_class],
        config=config,
        elapsed=elapsed,
        jitter=jitter,
    )
    wait = decision if isinstance(decision, Wait) else None
    stop = decision if isinstance(decision, Stop) else None
    return Explanation(
        error_class=found.error_class,
        rule=found.rule,
        breaker_effect=found.breaker_effect,
        attempt=attempt,
        retry_after=found.retry_after,
        strategy=wait.strategy if wait else None,
        delay=wait.delay if wait else None,
        reason=stop.reason if stop else None,
        postponed=stop.wait if stop else None,
    )


def judged(error: Exception, found: Classification, judge: Judge | None) -> Classification:
    """Return the class of an error with the word of whoever makes the call.

    What our own guards refused is never repeated on the spot, whoever wishes it.
    """
    wish = judge(error, found) if judge is not None else None
    if wish is None or found.error_class in DEFERRED:
        return found
    return replace(found, repeat=wish)
