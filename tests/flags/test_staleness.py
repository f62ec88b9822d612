"""When a flag is stale: a table of what has become of it."""

from datetime import datetime, timedelta

import pytest

from webapp.flags.staleness import FlagAge, Staleness, last_turn, staleness_of
from webapp.flags.values import FlagState

YOUNG, OLD = 29, 30
NEVER: None = None


@pytest.mark.parametrize(
    ("state", "days", "expected"),
    [
        # Days since it was made, changed, asked for, and since anything was counted.
        (FlagState.PARTIAL, (OLD, OLD, 0, OLD), None),
        (FlagState.PARTIAL, (OLD, OLD, YOUNG, OLD), None),
        (FlagState.PARTIAL, (OLD, OLD, OLD, OLD), Staleness.UNUSED),
        (FlagState.PARTIAL, (OLD, 0, OLD, OLD), Staleness.UNUSED),
        (FlagState.PARTIAL, (OLD, 0, NEVER, OLD), Staleness.UNUSED),
        (FlagState.PARTIAL, (YOUNG, YOUNG, NEVER, OLD), None),
        (FlagState.PARTIAL, (OLD, OLD, NEVER, YOUNG), None),
        (FlagState.PARTIAL, (OLD, OLD, NEVER, NEVER), None),
        (FlagState.PARTIAL, (OLD, OLD, OLD, NEVER), None),
        (FlagState.NOT_STARTED, (OLD, OLD, 0, OLD), None),
        (FlagState.ON, (OLD, OLD, 0, OLD), Staleness.SETTLED),
        (FlagState.OFF, (OLD, OLD, 0, OLD), Staleness.SETTLED),
        (FlagState.KILLED, (OLD, OLD, 0, OLD), Staleness.SETTLED),
        (FlagState.EXPIRED, (OLD, OLD, 0, OLD), Staleness.SETTLED),
        (FlagState.ON, (OLD, YOUNG, 0, OLD), None),
        (FlagState.ON, (OLD, OLD, 0, NEVER), Staleness.SETTLED),
        (FlagState.ON, (OLD, OLD, OLD, OLD), Staleness.UNUSED),
        (FlagState.ARCHIVED, (OLD, OLD, OLD, OLD), None),
    ],
)
def test_a_flag_is_stale_when_nobody_asks_or_all_get_one_answer(
    state: FlagState,
    days: tuple[int, int, int | None, int | None],
    expected: Staleness | None,
    now: datetime,
) -> None:
    created, changed, evaluated, counted = days
    age = FlagAge(
        state=state,
        created_at=now - timedelta(days=created),
        changed_at=now - timedelta(days=changed),
        last_evaluated_at=None if evaluated is None else now - timedelta(days=evaluated),
        counted_since=None if counted is None else now - timedelta(days=counted),
    )
    assert staleness_of(age, now=now) is expected


@pytest.mark.parametrize(
    ("window", "expected"),
    [((None, None), 40), ((35, None), 35), ((35, 10), 10), ((50, None), 40), ((None, -5), 40)],
)
def test_an_end_of_the_window_is_a_turn_once_it_is_past(
    window: tuple[int | None, int | None], expected: int, now: datetime
) -> None:
    days = [None if day is None else now - timedelta(days=day) for day in window]
    turn = last_turn(now - timedelta(days=40), *days, now=now)
    assert turn == now - timedelta(days=expected)
