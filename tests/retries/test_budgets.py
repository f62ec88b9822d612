"""How many calls may be repeated: for any course of calls and failures, and by the clock."""

from hypothesis import given
from hypothesis import strategies as st

from webapp.retries.budgets import ALWAYS, SHARE, WINDOW_SECONDS, RetryBudget


def spend_all(budget: RetryBudget, now: float) -> int:
    spent = 0
    while budget.spend(now):
        spent += 1
    return spent


def test_ten_retries_are_always_allowed() -> None:
    assert spend_all(RetryBudget(), 1000.0) == ALWAYS


def test_a_fifth_of_many_calls_may_be_repeated() -> None:
    budget = RetryBudget()
    for _ in range(500):
        budget.count_call(1000.0)
    assert spend_all(budget, 1000.0) == 100


def test_calls_and_retries_are_forgotten_after_a_minute() -> None:
    budget = RetryBudget()
    for _ in range(500):
        budget.count_call(1000.0)
    spend_all(budget, 1000.0)
    assert not budget.spend(1000.0 + WINDOW_SECONDS / 2)
    assert spend_all(budget, 1000.0 + WINDOW_SECONDS) == ALWAYS


# Of one moment each: how long after the one before, calls, and retries that are asked for.
MOMENTS = st.lists(
    st.tuples(st.floats(0, 90), st.integers(0, 200), st.integers(0, 60)), max_size=40
)


@given(MOMENTS)
def test_no_retry_is_granted_beyond_the_budget_of_the_last_minute(
    moments: list[tuple[float, int, int]],
) -> None:
    budget, now = RetryBudget(), 1000.0
    calls: list[tuple[float, int]] = []
    retries: list[tuple[float, int]] = []
    for passed, called, asked in moments:
        now += passed
        for _ in range(called):
            budget.count_call(now)
        calls.append((now, called))
        retries.append((now, sum(budget.spend(now) for _ in range(asked))))

        if not retries[-1][1]:
            # Calls are forgotten before the retries that they allowed; none is granted then.
            continue
        # A window moves in steps of a slot, so it never counts more than the minute before.
        lately = sum(number for at, number in calls if at > now - WINDOW_SECONDS)
        slots_ago = now - WINDOW_SECONDS + WINDOW_SECONDS / 12
        spent = sum(number for at, number in retries if at > slots_ago)
        assert spent <= max(ALWAYS, lately * SHARE)
