"""What a rule would have fired on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from tests.alerts.conftest import WARN, AddRuns
from webapp.alerts.previewing import Point, firings_of, preview
from webapp.alerts.reporting import report
from webapp.alerts.values import Metric, RuleDraft, Severity
from webapp.breakers.models import CircuitBreakerEvent, CircuitBreakerState
from webapp.errors import Invalid

START = datetime(2026, 11, 22, 0, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("lasts", "values", "fired"),
    [
        (0, [0, 30, 50, 30, 0], [(1, 4, 50.0)]),
        (0, [0, 30, None, 30, 30], [(1, 2, 30.0), (3, None, 30.0)]),
        (120, [30, 30, 30, 0], [(2, 3, 30.0)]),
        (180, [30, 30, 30, 0], []),
        (120, [0, 30, 30, 30], [(3, None, 30.0)]),
        (0, [20, 20], []),
    ],
)
def test_a_firing_lasts_from_when_the_rule_has_held_to_when_it_does_no_longer(
    lasts: int, values: list[float | None], fired: list[tuple[int, int | None, float]]
) -> None:
    points = [Point(START + n * MINUTE, value, 9) for n, value in enumerate(values)]
    found = firings_of(replace(WARN, for_seconds=lasts), "etl", points, since=START)
    assert [
        (
            (item.fired_at - START) // MINUTE,
            (item.ended_at - START) // MINUTE if item.ended_at else None,
            item.peak,
        )
        for item in found
    ] == fired


def test_a_day_is_looked_at_by_minutes(session: Session, runs: AddRuns, now: datetime) -> None:
    runs(1, 9, minutes=10 * 60)
    runs(9, 1, minutes=10 * 60, type_name="report")
    runs(0, 4, minutes=20 * 60)
    found = preview(session, WARN, hours=24, now=now)
    (firing,) = found.firings
    assert (firing.label, firing.peak, firing.sample) == ("etl", 90.0, 10)
    assert firing.fired_at == now - 10 * 60 * MINUTE + 5 * MINUTE
    assert firing.ended_at == now - 9 * 60 * MINUTE + 5 * MINUTE
    assert found.note == "By figures of minutes, every 5 minutes."
    assert (found.has_history, found.total, found.present) == (True, 1, [])


def test_a_week_is_looked_at_by_hours_and_the_present_is_told(
    session: Session, runs: AddRuns, now: datetime
) -> None:
    runs(0, 9, minutes=100 * 60, seconds=3600)
    runs(0, 9, minutes=5)
    found = preview(session, replace(WARN, scope="etl"), hours=168, now=now)
    (firing,) = found.firings
    assert (firing.fired_at, firing.ended_at) == (
        now - 99 * 60 * MINUTE,
        now - 98 * 60 * MINUTE,
    )
    assert [(item.label, item.value, item.holds) for item in found.present] == [
        ("etl", 100.0, True)
    ]
    assert preview(session, replace(WARN, scope="other"), hours=168, now=now).total == 0


def test_breakers_are_looked_at_by_their_changes(session: Session, now: datetime) -> None:
    def change(name: str, minutes: int, old: str, new: str) -> None:
        at = now - minutes * MINUTE
        session.add(
            CircuitBreakerEvent(name=name, at=at, old_state=old, new_state=new, actor="switchyard")
        )

    def stands(name: str, state: str) -> None:
        session.add(
            CircuitBreakerState(
                name=name,
                state=state,
                open_seconds=1e5,
                open_until=now + timedelta(days=1),
                failures=0,
                failure_threshold=5,
                updated_at=now,
                version=1,
            )
        )

    change("billing", 60, "closed", "open")
    change("billing", 50, "open", "half_open")
    change("billing", 40, "half_open", "closed")
    change("maps", 30, "open", "closed")
    stands("billing", "closed")
    stands("mail", "open")
    session.flush()
    draft = RuleDraft(name="a", metric=Metric.BREAKER_OPEN, threshold=0, severity=Severity.CRITICAL)
    found = preview(session, draft, hours=24, now=now)
    day = now - timedelta(hours=24)
    assert [(item.label, item.fired_at, item.ended_at) for item in found.firings] == [
        ("billing", now - 60 * MINUTE, now - 40 * MINUTE),
        ("maps", day, now - 30 * MINUTE),
        ("mail", day, None),
    ]


def test_what_was_reported_counts_for_its_window(session: Session, now: datetime) -> None:
    for minutes in (100, 98):
        report(session, Metric.ROLLOUT_ROLLED_BACK, "new.ui", now=now - minutes * MINUTE)
    draft = RuleDraft(
        name="a",
        metric=Metric.ROLLOUT_ROLLED_BACK,
        threshold=1,
        severity=Severity.ERROR,
        window_seconds=600,
    )
    (firing,) = preview(session, draft, hours=24, now=now).firings
    assert (firing.fired_at, firing.ended_at, firing.peak) == (
        now - 98 * MINUTE,
        now - 90 * MINUTE,
        2.0,
    )


def test_where_no_past_is_kept_it_says_so_and_tells_the_present(
    session: Session, now: datetime
) -> None:
    draft = RuleDraft(
        name="a",
        metric=Metric.WORKERS_ALIVE,
        comparison="below",
        threshold=1,
        severity=Severity.CRITICAL,
    )
    found = preview(session, draft, hours=24, now=now)
    assert (found.has_history, found.total) == (False, 0)
    assert "No past figures" in found.note
    assert [(item.value, item.holds) for item in found.present] == [(0.0, True)]
    found = preview(session, draft, hours=24, now=now, has_workers=False)
    assert "does not apply here" in found.note
    assert [(item.value, item.holds) for item in found.present] == [(None, False)]
    with pytest.raises(Invalid) as refused:
        preview(session, draft, hours=25, now=now)
    assert list(refused.value.errors) == ["hours"]
