"""The vocabulary of retries: classes of error, strategies of waiting, configurations.

Holds what each class means for a retry and for a breaker.  It knows no exception type: which
error belongs to which class is decided in ``webapp.retries.classification``.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

# A wait longer than this is never slept through: it leaves the process, so that no worker idles.
MAX_INLINE_WAIT = 30.0
# What does not decode once seldom does at the second look, so it is tried again only this often.
MALFORMED_RETRIES = 2


class ErrorClass(StrEnum):
    """What kind of failure an exception is."""

    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    NETWORK = "network"
    MALFORMED = "malformed"
    NOT_FOUND = "not_found"
    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    MISCONFIGURED = "misconfigured"
    INVALID_INPUT = "invalid_input"
    RESOURCE_EXHAUSTED = "resource_exhausted"
    OPEN_CIRCUIT = "open_circuit"
    THROTTLED = "throttled"
    BUG = "bug"


class Strategy(StrEnum):
    """How the wait grows from one attempt to the next."""

    EXPONENTIAL = "exponential"
    LINEAR = "linear"
    FIBONACCI = "fibonacci"
    AGGRESSIVE = "aggressive"
    CONSTANT = "constant"


class BreakerEffect(StrEnum):
    """What the end of a call says about the service behind a breaker."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"


# The classes that pass by themselves, with the strategy that suits each.
TRANSIENT = {
    ErrorClass.RATE_LIMITED: Strategy.AGGRESSIVE,
    ErrorClass.SERVER_ERROR: Strategy.EXPONENTIAL,
    ErrorClass.TIMEOUT: Strategy.LINEAR,
    ErrorClass.NETWORK: Strategy.EXPONENTIAL,
    ErrorClass.MALFORMED: Strategy.EXPONENTIAL,
}

# Our own guards refused the call: it was never made, so it costs no attempt.
DEFERRED = frozenset({ErrorClass.OPEN_CIRCUIT, ErrorClass.THROTTLED})

# An answer that refuses the request shows that the service works; whatever is our own fault shows
# nothing either way.
BREAKER_EFFECT = {
    ErrorClass.SERVER_ERROR: BreakerEffect.FAILURE,
    ErrorClass.TIMEOUT: BreakerEffect.FAILURE,
    ErrorClass.NETWORK: BreakerEffect.FAILURE,
    ErrorClass.MALFORMED: BreakerEffect.FAILURE,
    ErrorClass.NOT_FOUND: BreakerEffect.SUCCESS,
    ErrorClass.BAD_REQUEST: BreakerEffect.SUCCESS,
}


@dataclass(frozen=True, slots=True)
class Classification:
    """The class of one error, the rule that matched, and the wait that it asks for in seconds.

    ``repeat`` is the word of whoever makes the call, where that goes before the class.
    """

    error_class: ErrorClass
    rule: str
    retry_after: float | None = None
    repeat: bool | None = None

    @property
    def transient(self) -> bool:
        """Tell whether the same call may well succeed later."""
        return self.error_class in TRANSIENT if self.repeat is None else self.repeat

    @property
    def breaker_effect(self) -> BreakerEffect:
        """What this error says about the service that was called."""
        return BREAKER_EFFECT.get(self.error_class, BreakerEffect.NEUTRAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryConfig:
    """How a call is repeated in the process that makes it; all times in seconds.

    ``strategy`` "auto" lets the class of each error choose, counting per class.  ``jitter`` is the
    share by which a wait varies up and down, or "full".  No wait is begun that would end later than
    ``deadline`` after the first call began; an attempt that runs is not cut short.
    ``max_attempts`` counts the first call too.
    """

    max_attempts: int = 5
    initial_delay: float = 2.0
    max_delay: float = 300.0
    factor: float = 2.0
    jitter: float | Literal["full"] = 0.25
    strategy: Strategy | Literal["auto"] = "auto"
    deadline: float | None = None
    max_inline_wait: float = MAX_INLINE_WAIT

    def __post_init__(self) -> None:
        """Refuse what would never end or never wait."""
        if self.max_attempts < 1:
            message = f"max_attempts must be at least 1, is {self.max_attempts}"
            raise ValueError(message)
        if min(self.initial_delay, self.max_delay, self.factor) < 0:
            message = "initial_delay, max_delay and factor must not be negative"
            raise ValueError(message)
        if self.jitter != "full" and not 0 <= self.jitter <= 1:
            message = f"jitter must be from 0 to 1 or 'full', is {self.jitter!r}"
            raise ValueError(message)


# For calls that somebody waits for.
SHORT_RETRY = RetryConfig(max_attempts=3, initial_delay=1.0, max_delay=10.0)
