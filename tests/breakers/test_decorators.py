"""``@circuit_breaker`` around plain and async functions."""

import asyncio
from collections.abc import Iterator

import pytest

from webapp.breakers import registry
from webapp.breakers.callers import calling_as
from webapp.breakers.circuit import OpenCircuitError
from webapp.breakers.decorators import circuit_breaker
from webapp.breakers.registry import BreakerRegistry, breaker
from webapp.breakers.values import Thresholds


@pytest.fixture(autouse=True)
def own_breakers() -> Iterator[None]:
    before = registry._current.registry
    registry._current.registry = BreakerRegistry()
    yield
    registry._current.registry = before


def test_it_opens_after_so_many_failures_and_answers_by_the_fallback() -> None:
    @circuit_breaker("rates", failure_threshold=2, fallback=lambda currency: f"last {currency}")
    def rate(currency: str) -> str:
        raise ConnectionError(currency)

    for _ in range(2):
        with pytest.raises(ConnectionError):
            rate("EUR")
    assert rate("EUR") == "last EUR"
    assert rate.__name__ == "rate"


def test_without_a_fallback_it_refuses() -> None:
    @circuit_breaker("rates", failure_threshold=1, timeout=7)
    def rate() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        rate()
    with pytest.raises(OpenCircuitError) as refused:
        rate()
    assert 6 < refused.value.seconds <= 7


def test_it_guards_coroutines_with_plain_and_async_fallbacks() -> None:
    async def last() -> str:
        return "last"

    @circuit_breaker("scores", failure_threshold=1, fallback=last)
    async def score() -> str:
        raise ConnectionError

    async def calls() -> str:
        with pytest.raises(ConnectionError):
            await score()
        return await score()

    assert asyncio.run(calls()) == "last"


def test_excluded_errors_are_neutral() -> None:
    @circuit_breaker("rates", failure_threshold=1, exclude=[ConnectionError, _is_empty])
    def rate(error: Exception) -> None:
        raise error

    for error in (ConnectionError("no"), TimeoutError()):
        with pytest.raises(type(error)):
            rate(error)
    assert breaker("rates").current_state == "closed"
    with pytest.raises(TimeoutError):
        rate(TimeoutError("slow"))
    assert breaker("rates").current_state == "open"


def _is_empty(error: Exception) -> bool:
    return not error.args


def test_a_fallback_does_not_hide_that_another_breaker_is_open() -> None:
    breaker("inner").open()

    @circuit_breaker("outer", fallback=lambda: "outer's")
    def through() -> object:
        return breaker("inner").call(lambda: None)

    with pytest.raises(OpenCircuitError) as refused:
        through()
    assert refused.value.name == "inner"


def test_equal_names_share_a_circuit_whose_first_user_sets_its_thresholds() -> None:
    @circuit_breaker("rates", thresholds=Thresholds(failures=9))
    def one() -> None: ...

    @circuit_breaker("rates", failure_threshold=2)
    def other() -> None: ...

    one()
    other()
    assert breaker("rates").fail_max == 9


def test_a_breaker_knows_which_jobs_called_through_it() -> None:
    with calling_as("job etl"):
        breaker("rates").call(lambda: None)
    breaker("rates").call(lambda: None)
    assert breaker("rates").take_callers() == {"job etl"}
    assert breaker("rates").take_callers() == set()
