"""What is written of circuits, and in which order it is read."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.actors import Actor
from webapp.audit.service import history
from webapp.breakers.models import CircuitBreakerEvent, CircuitBreakerMinute, CircuitBreakerUse
from webapp.breakers.queries import (
    changed_states,
    list_breakers,
    open_count,
)
from webapp.breakers.recording import add_tallies, add_uses
from webapp.breakers.removal import remove_events, remove_unused
from webapp.breakers.service import change_thresholds, force, reset, states_by_name
from webapp.breakers.transitions import (
    end_force,
    end_trial,
    record_transition,
    register,
    take_trial,
)
from webapp.breakers.values import (
    BreakerState,
    Control,
    Force,
    SharedState,
    Tally,
    Thresholds,
    Transition,
    TrialEnd,
)
from webapp.breakers.views import (
    BreakerFilters,
    BreakerRow,
    Place,
)
from webapp.errors import Conflict, Invalid, NotFound
from webapp.metrics import BREAKER_OPEN_SECONDS, BREAKER_TRANSITIONS

OPERATOR = Actor("user", "olga", "request-1")
HOUR = timedelta(hours=1)


def breaker_rows(session: Session, *, now: datetime) -> list[BreakerRow]:
    return list(list_breakers(session, BreakerFilters(), now=now).rows)


def open_now(session: Session, now: datetime) -> int | None:
    return session.scalar(select(open_count(now=now)))


def add(session: Session, name: str, now: datetime) -> None:
    circuit = SharedState(
        name=name,
        state=BreakerState.CLOSED,
        opened_at=None,
        open_seconds=30.0,
        failures=0,
        failure_threshold=5,
        last_error=None,
        version=1,
        declared=Thresholds(),
    )
    register(session, circuit, now=now)


def open_it(session: Session, name: str, now: datetime, *, version: int = 1) -> bool:
    transition = Transition(
        name=name,
        generation=1,
        old=BreakerState.CLOSED,
        new=BreakerState.OPEN,
        at=now,
        open_seconds=30.0,
        failures=5,
        failure_threshold=5,
        error="ConnectionResetError: peer",
        opens=1,
    )
    return record_transition(session, transition, version=version)


def test_a_circuit_is_registered_once(session: Session, now: datetime) -> None:
    add(session, "mail", now)
    open_it(session, "mail", now)
    add(session, "mail", now)
    assert [row.state for row in breaker_rows(session, now=now)] == [BreakerState.OPEN]


def test_a_transition_that_came_too_late_changes_nothing(session: Session, now: datetime) -> None:
    add(session, "mail", now)
    assert open_it(session, "mail", now)
    assert not open_it(session, "mail", now)
    (row,) = breaker_rows(session, now=now)
    assert len(row.events) == 1


def test_open_circuits_are_counted_and_come_first(session: Session, now: datetime) -> None:
    for name in ("airports", "billing", "mail"):
        add(session, name, now)
    open_it(session, "mail", now)
    assert open_now(session, now) == 1
    assert [row.name for row in breaker_rows(session, now=now)] == ["mail", "airports", "billing"]


def test_an_open_circuit_whose_time_is_over_shows_as_half_open(
    session: Session, now: datetime
) -> None:
    add(session, "mail", now)
    open_it(session, "mail", now)
    (row,) = breaker_rows(session, now=now)
    assert row.trial_at is not None
    (late,) = breaker_rows(session, now=row.trial_at)
    assert (late.state, late.trial_at) == (BreakerState.HALF_OPEN, None)


def test_a_reset_closes_the_circuit_and_stands_in_the_audit(
    session: Session, now: datetime
) -> None:
    add(session, "mail", now)
    open_it(session, "mail", now)
    reset(session, "mail", by=OPERATOR, now=now, reason="the relay is mended")
    (row,) = breaker_rows(session, now=now)
    assert (row.state, row.failures) == (BreakerState.CLOSED, 0)
    assert [(event.new, event.actor) for event in row.events] == [
        (BreakerState.CLOSED, "olga"),
        (BreakerState.OPEN, "switchyard"),
    ]
    session.flush()
    (entry,) = history(session, "breaker", "mail")
    assert (entry.action, entry.reason) == ("breaker.reset", "the relay is mended")
    assert [(change.field, change.old, change.new) for change in entry.changes] == [
        ("state", "open", "closed")
    ]


@pytest.mark.parametrize("reason", ["", "   ", "r" * 501])
def test_a_reset_wants_a_reason_of_at_most_500_characters(
    session: Session, now: datetime, reason: str
) -> None:
    add(session, "mail", now)
    with pytest.raises(Invalid) as refused:
        reset(session, "mail", by=OPERATOR, now=now, reason=reason)
    assert set(refused.value.errors) == {"reason"}
    reset(session, "mail", by=OPERATOR, now=now, reason=f" {'r' * 500} ")


def test_an_unknown_circuit_cannot_be_reset(session: Session, now: datetime) -> None:
    with pytest.raises(NotFound):
        reset(session, "nothing", by=OPERATOR, now=now, reason="a try")


def force_it(session: Session, kind: Force, now: datetime, **more: Any) -> None:
    control = Control(force=kind, reason=more.pop("reason", "maintenance"), **more)
    force(session, "mail", control, by=OPERATOR, now=now)


@pytest.mark.parametrize(
    ("kind", "standing", "meets", "refusing"),
    [
        (Force.OPEN, "forced_open", BreakerState.OPEN, 1),
        (Force.CLOSED, "forced_closed", BreakerState.CLOSED, 0),
        (Force.SHADOW, "shadow", BreakerState.CLOSED, 0),
    ],
)
def test_what_is_forced_is_what_calls_meet_and_what_is_shown(
    session: Session,
    now: datetime,
    kind: Force,
    standing: str,
    meets: BreakerState,
    refusing: int,
) -> None:
    add(session, "mail", now)
    force_it(session, kind, now, until=now + HOUR)
    (row,) = breaker_rows(session, now=now)
    assert (row.standing, row.effective) == (standing, meets)
    assert states_by_name(session, now=now) == {"mail": meets}
    assert open_now(session, now) == refusing
    # Its time is over though nobody has written that yet.
    assert states_by_name(session, now=now + HOUR) == {"mail": BreakerState.CLOSED}
    assert open_now(session, now + HOUR) == 0
    assert breaker_rows(session, now=now + HOUR)[0].standing == "closed"


def test_a_force_begins_closed_says_why_and_ends_once(session: Session, now: datetime) -> None:
    add(session, "mail", now)
    open_it(session, "mail", now)
    force_it(session, Force.CLOSED, now, until=now + HOUR)
    for _ in range(2):
        end_force(session, "mail", version=3, now=now + HOUR)
    session.flush()
    (row,) = breaker_rows(session, now=now + HOUR)
    assert (row.state, row.control, row.failures) == (BreakerState.CLOSED, Control(), 0)
    assert [(event.kind, event.note, event.actor) for event in row.events] == [
        ("force", "closed is over", "switchyard"),
        ("force", f"closed until {now + HOUR:%Y-%m-%d %H:%M} UTC", "olga"),
        ("transition", None, "switchyard"),
    ]
    (entry,) = history(session, "breaker", "mail")
    assert (entry.action, entry.reason) == ("breaker.forced", "maintenance")


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"reason": " "}, "reason"),
        ({"reason": "r" * 501}, "reason"),
        ({"until": -HOUR}, "until"),
        ({"until": 400 * 24 * HOUR}, "until"),
    ],
)
def test_a_force_wants_a_reason_and_an_end_ahead(
    session: Session, now: datetime, more: dict[str, Any], field: str
) -> None:
    add(session, "mail", now)
    if "until" in more:
        more = {"until": now + more["until"]}
    with pytest.raises(Invalid) as refused:
        force_it(session, Force.OPEN, now, **more)
    assert set(refused.value.errors) == {field}


def test_what_is_not_forced_cannot_be_ended(session: Session, now: datetime) -> None:
    add(session, "mail", now)
    with pytest.raises(Conflict):
        force_it(session, Force.NONE, now)
    force_it(session, Force.OPEN, now)
    force_it(session, Force.NONE, now)
    assert breaker_rows(session, now=now)[0].standing == "closed"


def change(session: Session, now: datetime, given: dict[str, Any] | None, version: int) -> None:
    change_thresholds(
        session, "mail", given, by=OPERATOR, now=now, reason="too eager", version=version
    )


def test_thresholds_of_a_person_are_versioned_audited_and_dropped_again(
    session: Session, now: datetime
) -> None:
    add(session, "mail", now)
    change(session, now, {"failures": 9, "failure_rate": None}, 0)
    (row,) = breaker_rows(session, now=now)
    assert (row.thresholds, row.customized, row.revision) == (
        Thresholds(failures=9, failure_rate=None),
        True,
        1,
    )
    with pytest.raises(Conflict):
        change(session, now, {"failures": 8}, 0)
    with pytest.raises(Invalid):
        change(session, now, {"failures": 9}, 1)
    change(session, now, None, 1)
    (row,) = breaker_rows(session, now=now)
    assert (row.thresholds, row.customized, row.revision) == (Thresholds(), False, 2)
    entries = history(session, "breaker", "mail")
    assert [entry.action for entry in entries] == ["breaker.thresholds"] * 2
    assert [event.note for event in row.events] == [
        "failures 9 to 5, failure_rate off to 50",
        "failures 5 to 9, failure_rate 50 to off",
    ]


def test_one_trial_is_taken_at_a_time_and_its_time_frees_it(
    session: Session, now: datetime
) -> None:
    add(session, "mail", now)
    open_it(session, "mail", now)
    over = now + timedelta(seconds=30)

    def taken(at: datetime) -> bool:
        return take_trial(session, "mail", seconds=10, now=at)[1]

    assert not taken(over - timedelta(seconds=1))
    assert taken(over)
    assert not taken(over)
    state, _ = take_trial(session, "mail", seconds=10, now=over)
    assert state is not None
    assert (state.state, state.version) == (BreakerState.HALF_OPEN, 3)
    lease = state.trial_until
    assert lease is not None
    end = TrialEnd(name="mail", generation=1, successes=1)
    end_trial(session, end, version=3, lease=lease - HOUR, now=over)
    assert not taken(over)
    end_trial(session, end, version=3, lease=lease, now=over)
    assert taken(over)
    assert taken(over + timedelta(seconds=10))
    assert take_trial(session, "nothing", seconds=10, now=over) == (None, False)


def test_a_forced_or_closed_circuit_has_no_trial(session: Session, now: datetime) -> None:
    add(session, "mail", now)
    assert not take_trial(session, "mail", seconds=10, now=now)[1]
    open_it(session, "mail", now)
    force_it(session, Force.OPEN, now)
    assert not take_trial(session, "mail", seconds=10, now=now + HOUR)[1]


def test_the_list_is_narrowed_counted_and_paged_with_those_that_refuse_first(
    session: Session, now: datetime
) -> None:
    names = [f"service-{number:02}" for number in range(12)]
    for name in names:
        add(session, name, now)
    for name in names[::3]:
        open_it(session, name, now)
    wanted = [*names[::3], *(name for name in names if name not in names[::3])]
    seen: list[str] = []
    place: Place | None = None
    while True:
        page = list_breakers(session, BreakerFilters(), now=now, place=place, limit=5)
        seen += [row.name for row in page.rows]
        if page.next is None:
            break
        place = Place.read(page.next, backwards=False)
    assert seen == wanted
    assert page.previous is not None
    back = Place.read(page.previous, backwards=True)
    before = list_breakers(session, BreakerFilters(), now=now, place=back, limit=5)
    assert [row.name for row in before.rows] == wanted[5:10]
    assert (before.previous is not None, before.next is not None) == (True, True)

    found = list_breakers(session, BreakerFilters("ICE-03", ""), now=now)
    assert ([row.name for row in found.rows], found.total) == (["service-03"], 1)
    found = list_breakers(session, BreakerFilters("", "open"), now=now)
    assert ([row.name for row in found.rows], found.total) == (names[::3], 4)
    assert (found.counts["open"], found.counts["closed"]) == (4, 8)
    later = list_breakers(session, BreakerFilters("", "half_open"), now=now + HOUR)
    assert later.total == 4
    assert list_breakers(session, BreakerFilters("%", ""), now=now).total == 0


def test_counts_are_added_up_by_minute_and_forgotten_after_two_days(
    session: Session, now: datetime
) -> None:
    add(session, "mail", now)
    add_tallies(session, {"mail": Tally(calls=1)}, now=now - 60 * HOUR)
    for calls in (3, 4):
        add_tallies(session, {"mail": Tally(calls=calls, failures=1)}, now=now)
    (row,) = breaker_rows(session, now=now)
    assert row.series[-1] == Tally(calls=7, failures=2)
    assert row.recent == row.total == Tally(calls=7, failures=2)
    assert len(session.scalars(select(CircuitBreakerMinute)).all()) == 1


def test_old_events_are_removed_some_at_a_time(session: Session, now: datetime) -> None:
    add(session, "mail", now)
    for number in range(5):
        open_it(session, "mail", now - number * HOUR, version=number + 1)
    session.flush()
    before = now - 2 * HOUR
    assert [remove_events(session, before=before, most=1) for _ in range(3)] == [1, 1, 0]
    assert len(breaker_rows(session, now=now)[0].events) == 3


def test_circuits_that_nothing_uses_go_with_all_that_hangs_on_them(
    session: Session, now: datetime
) -> None:
    long_ago = now - timedelta(days=100)
    for name in ("busy", "called", "closed", "forced", "open", "restored", "set"):
        add(session, name, long_ago)
        add_tallies(session, {name: Tally(calls=1)}, now=long_ago)
        add_uses(session, {name: {"job etl"}}, now=long_ago)
    open_it(session, "open", long_ago)
    by_hand: dict[str, Any] = {"by": OPERATOR, "now": long_ago, "reason": "why not"}
    force(
        session,
        "forced",
        Control(force=Force.OPEN, reason="keep out"),
        by=OPERATOR,
        now=long_ago,
    )
    change_thresholds(session, "set", {"failures": 7}, version=0, **by_hand)
    change_thresholds(session, "restored", {"failures": 7}, version=0, **by_hand)
    change_thresholds(session, "restored", None, version=1, **by_hand)
    add_tallies(session, {"called": Tally(calls=1)}, now=now)
    add_uses(session, {"busy": {"job etl"}}, now=now)
    session.flush()
    gone = [remove_unused(session, before=now - timedelta(days=90), most=2) for _ in range(3)]
    assert gone == [2, 1, 0]
    kept = {"busy", "called", "forced", "set"}
    assert set(states_by_name(session, now=now)) == kept
    for model in (CircuitBreakerMinute, CircuitBreakerUse):
        assert set(session.scalars(select(model.name))) == kept
    assert set(session.scalars(select(CircuitBreakerEvent.name))) == {"forced", "set"}


def test_what_was_written_since_is_read_with_what_is_asked_for_and_forces_that_are_over(
    session: Session, now: datetime
) -> None:
    for name in ("asked", "changed", "forced", "unchanged"):
        add(session, name, now - HOUR)
    open_it(session, "changed", now)
    until = now - HOUR / 2
    over = Control(force=Force.OPEN, until=until, reason="for half an hour")
    force(session, "forced", over, by=OPERATOR, now=now - HOUR)
    session.flush()
    since = now - timedelta(seconds=10)
    found = changed_states(session, since, also={"asked"}, now=now)
    assert {state.name for state in found} == {"asked", "changed", "forced"}


def counted(name: str) -> tuple[float, float]:
    """How often it closed and how long it stood open, by the metrics of this process."""
    closed = BREAKER_TRANSITIONS.labels(name, "closed")._value.get()
    return closed, BREAKER_OPEN_SECONDS.labels(name)._value.get()


@pytest.mark.parametrize(("after", "stood"), [(10, 10.0), (30, 30.0), (3600, 30.0)])
def test_it_stood_open_until_it_was_closed_or_its_open_time_was_over(
    session: Session, now: datetime, after: int, stood: float
) -> None:
    name = f"mail-{uuid.uuid4()}"
    add(session, name, now)
    open_it(session, name, now)
    at = now + timedelta(seconds=after)
    reset(session, name, by=OPERATOR, now=at, reason="mended")
    session.commit()
    assert counted(name) == (1, stood)


def test_open_seconds_are_those_of_the_row_whatever_the_thresholds_became(
    session: Session, now: datetime
) -> None:
    name = f"mail-{uuid.uuid4()}"
    add(session, name, now)
    open_it(session, name, now)
    tried = Transition(
        name=name,
        generation=2,
        old=BreakerState.OPEN,
        new=BreakerState.HALF_OPEN,
        at=now + timedelta(seconds=45),
        open_seconds=600.0,
        failures=5,
        failure_threshold=5,
        error=None,
    )
    assert record_transition(session, tried, version=2)
    session.commit()
    assert counted(name) == (0, 30.0)


def test_the_reset_of_a_closed_circuit_is_no_change_of_its_state(
    session: Session, now: datetime
) -> None:
    name = f"mail-{uuid.uuid4()}"
    add(session, name, now)
    force(session, name, Control(force=Force.OPEN, reason="out"), by=OPERATOR, now=now)
    reset(session, name, by=OPERATOR, now=now + HOUR, reason="in")
    session.commit()
    assert counted(name) == (0, 0.0)
