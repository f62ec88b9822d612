"""``@circuit_breaker``: a breaker around one function, without the rest of a guard.

>>> @circuit_breaker("rates", failure_threshold=3, timeout=60, fallback=last_rates)
... def rates() -> Rates: ...
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

from webapp.breakers.circuit import Breaker, OpenCircuitError
from webapp.breakers.registry import breaker
from webapp.breakers.values import Thresholds

Function = TypeVar("Function", bound=Callable[..., Any])
Excluded = type[Exception] | Callable[[Exception], bool]


def circuit_breaker(  # noqa: PLR0913  # all but the first are named
    name: str,
    *,
    failure_threshold: int = 5,
    success_threshold: int = 2,
    timeout: float = 30.0,
    fallback: Callable[..., Any] | None = None,
    exclude: Sequence[Excluded] = (),
    thresholds: Thresholds | None = None,
) -> Callable[[Function], Function]:
    """Call a function, ``def`` or ``async def``, only while the circuit ``name`` lets it.

    ``timeout`` is how many seconds an open circuit refuses calls before it tries one.  A refused
    call raises :class:`OpenCircuitError`, or is answered by ``fallback``, which is called with the
    same arguments; an error of the function itself is always raised.  Errors of ``exclude`` (types,
    or functions that tell) neither count as failures nor as successes.  ``thresholds`` says more
    than the three numbers, and takes their place.
    """
    limits = thresholds or Thresholds(
        failures=failure_threshold, successes=success_threshold, open_seconds=timeout
    )

    guarding = _Guarding(name, limits, exclude, fallback)

    def decorate(function: Function) -> Function:
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def guarded_coroutine(*args: Any, **kwargs: Any) -> Any:
                try:
                    return await guarding.circuit().call_async(function, *args, **kwargs)
                except OpenCircuitError as refused:
                    answer = guarding.answer(refused, args, kwargs)
                    return await answer if inspect.isawaitable(answer) else answer

            return cast("Function", guarded_coroutine)

        @wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                return guarding.circuit().call(function, *args, **kwargs)
            except OpenCircuitError as refused:
                return guarding.answer(refused, args, kwargs)

        return cast("Function", guarded)

    return decorate


@dataclass(frozen=True, slots=True)
class _Guarding:
    """What one decorator was given."""

    name: str
    thresholds: Thresholds
    exclude: Sequence[Excluded]
    fallback: Callable[..., Any] | None

    def circuit(self) -> Breaker:
        """Return the circuit of this process: another one once the application is set up."""
        found = breaker(self.name, self.thresholds)
        for kind in self.exclude:
            if kind not in found.excluded_exceptions:
                found.add_excluded_exception(cast("type[Exception]", kind))
        return found

    def answer(
        self, refused: OpenCircuitError, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Answer a refused call; what another circuit further down refused is an error."""
        if self.fallback is None or refused.name != self.name:
            raise refused
        return self.fallback(*args, **kwargs)
