"""Signs of life, and what the page makes of them."""

from datetime import datetime, timedelta

from flask import Flask
from sqlalchemy.orm import Session

from tests.conftest import ConsoleClient
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.workers import queries, service
from webapp.workers.values import WorkerIdentity

WORKER = WorkerIdentity("host:7:ab12", "here", "host", 7, "process", 2, "0.1.0")


def states(session: Session, now: datetime) -> list[str]:
    return [row.state for row in queries.list_workers(session, now=now)]


def test_a_worker_lives_until_it_has_been_silent_for_a_minute(
    session: Session, now: datetime
) -> None:
    service.beat(session, WORKER, now=now)
    assert states(session, now + timedelta(seconds=59)) == ["alive"]
    assert states(session, now + timedelta(seconds=61)) == ["gone"]
    service.beat(session, WORKER, now=now + timedelta(seconds=61))
    session.expire_all()
    assert states(session, now + timedelta(seconds=62)) == ["alive"]
    assert queries.count_alive(session, now=now + timedelta(seconds=62)) == 1


def test_a_worker_that_said_farewell_is_stopped_and_not_gone(
    session: Session, now: datetime
) -> None:
    service.beat(session, WORKER, now=now)
    service.farewell(session, WORKER.name, now=now)
    assert states(session, now + timedelta(hours=1)) == ["stopped"]
    assert queries.count_alive(session, now=now) == 0


def test_workers_of_yesterday_are_forgotten(session: Session, now: datetime) -> None:
    service.beat(session, WORKER, now=now)
    newcomer = WorkerIdentity("host:8:cd34", "here", "host", 8, "process", 2, "0.1.0")
    service.beat(session, newcomer, now=now + timedelta(days=2))
    rows = queries.list_workers(session, now=now)
    assert [row.name for row in rows] == [newcomer.name]


def test_the_page_shows_workers_and_the_menu_tells_when_none_lives(
    app: Flask, viewer: ConsoleClient
) -> None:
    assert 'class="count count--danger">0<' in viewer.get("/workers").text
    with app.app_context(), transaction() as session:
        service.beat(session, WORKER, now=clock_now())
    page = viewer.get("/workers").text
    assert "Alive" in page
    assert "count--danger" not in page
