"""The beats' own part of schedules: one trouble holds up nothing else, a set clock is noticed."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select

from tasks.periodic import fire_schedules, was_set
from tests.schedules.conftest import NIGHTLY
from webapp.actors import COMMAND
from webapp.db import db, reading, transaction
from webapp.jobs.models import Job
from webapp.schedules.firing import fire
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


@pytest.mark.parametrize(
    ("clock", "passed", "expected"),
    [(1.0, 1.0, False), (60.0, 60.5, False), (3601.0, 1.0, True), (-3599.0, 1.0, True)],
)
def test_a_clock_that_was_set_is_noticed(
    now: datetime, *, clock: float, passed: float, expected: bool
) -> None:
    before, after = (now, 100.0), (now + timedelta(seconds=clock), 100.0 + passed)
    assert was_set(before, after) is expected
