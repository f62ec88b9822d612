"""The moving window: never more calls than allowed, wherever one looks."""

from hypothesis import given
from hypothesis import strategies as st

from webapp.limits.windows import MovingWindow

# Quarters of a second, which are exact.
STEPS = st.lists(st.integers(min_value=0, max_value=120).map(lambda step: step / 4), max_size=80)
CALLS = st.integers(min_value=1, max_value=6)
SECONDS = st.integers(min_value=1, max_value=20)


@given(steps=STEPS, calls=CALLS, seconds=SECONDS)
def test_no_window_ever_holds_more_calls_than_the_limit(
    steps: list[float], calls: int, seconds: int
) -> None:
    window, now, granted = MovingWindow(), 0.0, []
    for step in steps:
        now += step
        if not window.take(now, calls=calls, seconds=seconds):
            granted.append(now)
    for begin in granted:
        assert sum(begin <= at < begin + seconds for at in granted) <= calls


@given(steps=STEPS, calls=CALLS, seconds=SECONDS)
def test_whoever_waits_as_long_as_told_is_let_through(
    steps: list[float], calls: int, seconds: int
) -> None:
    window, now = MovingWindow(), 0.0
    for step in steps:
        now += step
        left = window.take(now, calls=calls, seconds=seconds)
        if left:
            assert 0 < left <= seconds
            now += left
            assert window.take(now, calls=calls, seconds=seconds) == 0.0


@given(calls=CALLS, seconds=SECONDS)
def test_a_limit_is_used_to_the_full(calls: int, seconds: int) -> None:
    window = MovingWindow()
    assert [window.take(0.0, calls=calls, seconds=seconds) for _ in range(calls)] == [0.0] * calls
    assert window.take(0.0, calls=calls, seconds=seconds) == seconds
    assert window.usage(0.0, seconds=seconds).used == calls
    assert window.usage(seconds + 0.1, seconds=seconds).used == 0


def test_a_lowered_limit_counts_what_was_called_before() -> None:
    window = MovingWindow()
    for at in range(10):
        window.take(float(at), calls=10, seconds=60)
    assert window.take(10.0, calls=3, seconds=60) == 57.0
    assert window.take(68.5, calls=3, seconds=60) == 0.0


def test_a_call_that_was_let_through_elsewhere_counts_here() -> None:
    window = MovingWindow()
    window.note(0.0, seconds=60)
    assert window.take(1.0, calls=1, seconds=60) == 59.0
