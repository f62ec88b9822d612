"""The beats' own part of schedules: one trouble holds up nothing else, a set clock is noticed."""

import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select, update

from tasks.periodic import BeatScheduler, fire_schedules, was_set
from tests.schedules.conftest import NIGHTLY
from webapp.actors import COMMAND
from webapp.clock import now as clock_now
from webapp.db import db, reading, transaction
from webapp.jobs.models import Job
from webapp.schedules.firing import fire
from webapp.schedules.models import Schedule
from webapp.schedules.service import create_schedule
from webapp.schedules.values import ScheduleDraft


@pytest.fixture
def two(app: Flask, now: datetime) -> list[int]:
    """Two schedules, due at the same time; returns their ids."""
    with app.app_context(), transaction() as session:
        return [
            create_schedule(session, draft, by=COMMAND, now=now, reason="Needed").id
            for draft in (NIGHTLY, other(name="second"))
        ]


def other(**fields: Any) -> ScheduleDraft:
    return ScheduleDraft(**{"type": "test_echo", "arguments": {}, "cron": "0 6 * * *"} | fields)


def test_a_beat_fires_all_that_is_due(app: Flask, two: list[int], now: datetime) -> None:
    with app.app_context():
        fire_schedules(now + timedelta(days=1))
        fire_schedules(now + timedelta(days=1))
        with reading() as session:
            assert len(session.scalars(select(Job)).all()) == 2


def test_one_that_cannot_be_fired_holds_up_no_other(
    app: Flask, two: list[int], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(session: Any, schedule_id: int, *, now: datetime) -> Any:
        if schedule_id == two[0]:
            raise OSError("the disk is full")
        return fire(session, schedule_id, now=now)

    monkeypatch.setattr("tasks.periodic.fire", broken)
    with app.app_context():
        fire_schedules(now + timedelta(days=1))
        with reading() as session:
            assert session.scalars(select(Job.created_by)).all() == ["schedule second"]


def test_while_nothing_is_due_a_beat_asks_once(app: Flask, two: list[int], now: datetime) -> None:
    sent: list[str] = []
    with app.app_context():
        engine = db.engine

        def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            if not statement.startswith("BEGIN"):
                sent.append(statement)

        event.listen(engine, "before_cursor_execute", note)
        try:
            fire_schedules(now)
        finally:
            event.remove(engine, "before_cursor_execute", note)
    assert len(sent) == 1


@pytest.fixture
def scheduler() -> BeatScheduler:
    """A consumer's beat that has just begun, without the consumer."""
    scheduler = object.__new__(BeatScheduler)
    scheduler._last_look = None
    scheduler._ahead = 0.0
    return scheduler


def wait_until(session: Any, moment: datetime) -> None:
    session.execute(update(Schedule).values(next_run_at=moment))


def waits_for(app: Flask) -> datetime:
    with app.app_context(), reading() as session:
        moment = session.scalars(select(Schedule.next_run_at)).one()
    assert moment is not None
    return moment


def test_a_clock_that_was_set_back_brings_waiting_schedules_back(
    app: Flask, scheduler: BeatScheduler
) -> None:
    far = clock_now() + timedelta(hours=5)
    with app.app_context(), transaction() as session:
        often = other(name="often", cron="*/10 * * * *")
        create_schedule(session, often, by=COMMAND, now=clock_now(), reason="Needed")
        wait_until(session, far)
    with app.app_context():
        # Nobody knows what the clock did before the first beat.
        scheduler._fire_schedules(app)
        assert waits_for(app) < far
        with transaction() as session:
            wait_until(session, far)
        scheduler._fire_schedules(app)
        assert waits_for(app) == far
        scheduler._last_look = (clock_now() + timedelta(hours=1), time.monotonic())
        scheduler._fire_schedules(app)
        assert waits_for(app) < far


def test_a_worker_whose_clock_is_ahead_fires_nothing_early(
    app: Flask, scheduler: BeatScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.periodic.clock_difference", lambda session, now: 3600.0)
    soon = clock_now() - timedelta(minutes=30)
    with app.app_context(), transaction() as session:
        create_schedule(session, NIGHTLY, by=COMMAND, now=clock_now(), reason="Needed")
        wait_until(session, soon)
    with app.app_context():
        scheduler._fire_schedules(app)
        with reading() as session:
            assert session.scalars(select(Job)).all() == []
    assert waits_for(app) == soon


@pytest.mark.parametrize(
    ("clock", "passed", "expected"),
    [(1.0, 1.0, False), (60.0, 60.5, False), (3601.0, 1.0, True), (-3599.0, 1.0, True)],
)
def test_a_clock_that_was_set_is_noticed(
    now: datetime, *, clock: float, passed: float, expected: bool
) -> None:
    before, after = (now, 100.0), (now + timedelta(seconds=clock), 100.0 + passed)
    assert was_set(before, after) is expected
