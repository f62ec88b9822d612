"""What is written of circuits, and in which order it is read."""

from datetime import datetime

import pytest
from sqlalchemy.orm import Session

from webapp.actors import Actor
from webapp.audit.service import history
from webapp.breakers.queries import BreakerFilters, BreakerRow, list_breakers, open_breakers
from webapp.breakers.service import record_transition, register, reset
from webapp.breakers.values import BreakerState, SharedState, Transition
from webapp.errors import Invalid, NotFound

OPERATOR = Actor("user", "olga", "request-1")


def breaker_rows(session: Session, *, now: datetime) -> list[BreakerRow]:
    return list(list_breakers(session, BreakerFilters(), now=now).rows)


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
    assert open_breakers(session, now=now) == 1
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
