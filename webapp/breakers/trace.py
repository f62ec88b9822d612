"""Drives a scratch breaker through its states, by a clock of its own, and tells each step.

Touches no store, no metric and no other breaker: it shows what thresholds do, at once.
"""

from collections.abc import Callable
from dataclasses import dataclass

from webapp.breakers.circuit import Breaker, OpenCircuitError
from webapp.breakers.values import Thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call, or a wait: when it was by the scratch clock, what came of it, and the state."""

    at: float
    step: str
    outcome: str
    state: str
    failures: int
    seconds_left: float | None = None


class _Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def drive(thresholds: Thresholds) -> list[Step]:
    """Trip a breaker, have it refuse, fail a trial, and close it by successful ones.

    As many calls as the thresholds ask for, whose bounds are bounds of these too.
    """
    clock = _Clock()
    breaker = Breaker("scratch", thresholds, monotonic=clock)
    steps: list[Step] = []

    def call(step: str, function: Callable[[], None]) -> None:
        outcome, left = "success", None
        try:
            breaker.call(function)
        except OpenCircuitError as refused:
            outcome, left = "refused", round(refused.seconds, 3)
        except ConnectionError:
            outcome = "failure"
        note(step, outcome, left)

    def note(step: str, outcome: str, left: float | None = None) -> None:
        steps.append(
            Step(
                at=round(clock.seconds, 3),
                step=step,
                outcome=outcome,
                state=breaker.current_state.replace("-", "_"),
                failures=breaker.fail_counter,
                seconds_left=left,
            )
        )

    def wait(seconds: float) -> None:
        clock.seconds += seconds
        note("wait", f"{seconds:g} s pass")

    call("call", _succeed)
    while breaker.current_state == "closed":
        call("call", _fail)
    call("call", _succeed)
    wait(thresholds.open_for(1))
    call("trial", _fail)
    call("call", _succeed)
    wait(thresholds.open_for(2))
    while breaker.current_state == "half-open":
        call("trial", _succeed)
    return steps


def _succeed() -> None:
    """Stand in for a call that is answered."""


def _fail() -> None:
    raise ConnectionError("a failure of the trial run")
