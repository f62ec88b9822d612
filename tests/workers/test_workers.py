"""Signs of life, and what the page makes of them."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from tests.conftest import ConsoleClient
from webapp.actors import SYSTEM, Actor
from webapp.audit.service import history
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.jobs import attempts
from webapp.jobs.service import enqueue
from webapp.workers import queries, service
from webapp.workers.values import WorkerFigures, WorkerIdentity

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
    assert session.scalar(select(queries.alive_count(now=now + timedelta(seconds=62)))) == 1


def test_a_worker_that_said_farewell_is_stopped_and_not_gone(
    session: Session, now: datetime
) -> None:
    service.beat(session, WORKER, now=now)
    service.farewell(session, WORKER.name, now=now)
    assert states(session, now + timedelta(hours=1)) == ["stopped"]
    assert session.scalar(select(queries.alive_count(now=now))) == 0


def test_workers_that_all_lack_a_scheduler_are_told_of(
    session: Session, viewer: ConsoleClient, now: datetime
) -> None:
    told = "No worker has a scheduler"
    service.beat(session, replace(WORKER, scheduler=False), now=clock_now())
    session.commit()
    assert told in viewer.get("/workers").text
    service.beat(session, replace(WORKER, name="host:9:ef56"), now=clock_now())
    session.commit()
    page = viewer.get("/workers").text
    assert told not in page
    assert page.count("no scheduler") == 1


def test_workers_of_yesterday_are_forgotten(session: Session, now: datetime) -> None:
    service.beat(session, WORKER, now=now)
    newcomer = WorkerIdentity("host:8:cd34", "here", "host", 8, "process", 2, "0.1.0")
    service.beat(session, newcomer, now=now + timedelta(days=2))
    rows = queries.list_workers(session, now=now)
    assert [row.name for row in rows] == [newcomer.name]


ADA = Actor("user", "ada")


def test_a_sign_of_life_tells_what_the_worker_has_done(session: Session, now: datetime) -> None:
    service.beat(session, WORKER, WorkerFigures(0, 0, 7), now=now)
    service.beat(session, WORKER, WorkerFigures(4, 1, 8), now=now)
    (row,) = queries.list_workers(session, now=now)
    assert (row.done, row.failed, row.memory_bytes) == (4, 1, 8)
    service.farewell(session, WORKER.name, now=now, figures=WorkerFigures(5, 1))
    session.expire_all()
    (row,) = queries.list_workers(session, now=now)
    assert (row.done, row.failed, row.memory_bytes) == (5, 1, None)


def test_a_worker_learns_with_its_sign_of_life_that_it_is_to_stop(
    session: Session, now: datetime
) -> None:
    assert not service.beat(session, WORKER, now=now)
    assert not service.beat(session, WORKER, now=now)
    service.request_stop(session, WORKER.name, by=ADA, now=now)
    assert service.beat(session, WORKER, now=now)
    session.expire_all()
    assert states(session, now) == ["stopping"]
    # It goes on until its jobs have ended; what falls silent meanwhile is gone all the same.
    assert states(session, now + timedelta(seconds=61)) == ["gone"]
    service.farewell(session, WORKER.name, now=now)
    session.expire_all()
    assert states(session, now) == ["stopped"]


def test_the_wish_is_audited_once(session: Session, now: datetime) -> None:
    service.beat(session, WORKER, now=now)
    for by in (ADA, Actor("user", "bob")):
        service.request_stop(session, WORKER.name, by=by, now=now)
    entries = history(session, "worker", WORKER.name)
    assert [(entry.action, entry.actor) for entry in entries] == [("worker.stop_requested", "ada")]


def test_a_worker_is_stopped_from_its_page_by_operators(
    app: Flask, operator: ConsoleClient
) -> None:
    with app.app_context(), transaction() as session:
        service.beat(session, WORKER, now=clock_now())
        job = enqueue(session, "test_echo", {}, by=SYSTEM, now=clock_now())
        attempts.claim(session, job.id, worker=WORKER.name, lease_seconds=30, now=clock_now())
    page = operator.htmx("/workers", "workers-table").text
    assert page.lstrip().startswith('<section id="workers-table"')
    assert f'href="/jobs/{job.id}"' in page
    assert f'data-confirm="Stop {WORKER.name}?"' in page
    answer = operator.post(f"/workers/{WORKER.name}/stop", follow_redirects=True)
    assert f"{WORKER.name} stops after its current jobs." in answer.text
    assert "asked by operator" in answer.text
    assert "data-confirm=" not in operator.htmx("/workers", "workers-table").text


def test_viewers_see_no_button(app: Flask, viewer: ConsoleClient) -> None:
    with app.app_context(), transaction() as session:
        service.beat(session, WORKER, now=clock_now())
    assert "data-confirm=" not in viewer.htmx("/workers", "workers-table").text
    assert viewer.post(f"/workers/{WORKER.name}/stop").status_code == 403


def test_workers_keep_their_places_whoever_beat_last(session: Session, now: datetime) -> None:
    def named(name: str) -> WorkerIdentity:
        return WorkerIdentity(name, "here", "host", 8, "process", 2, "0.1.0")

    for seconds, name in enumerate(("c", "a", "ended", "gone", "b")):
        service.beat(session, named(name), now=now + timedelta(seconds=seconds))
    service.farewell(session, "ended", now=now)
    later = now + timedelta(seconds=62)
    for name in ("b", "c", "a"):
        service.beat(session, named(name), now=later)
    later += timedelta(seconds=3)
    rows = queries.list_workers(session, now=later)
    assert [row.name for row in rows] == ["a", "b", "c", "gone", "ended"]


def test_the_page_says_what_to_do_where_all_have_ended(app: Flask, viewer: ConsoleClient) -> None:
    with app.app_context(), transaction() as session:
        service.beat(session, WORKER, now=clock_now())
    assert "jobs wait" not in viewer.get("/workers").text
    with app.app_context(), transaction() as session:
        service.farewell(session, WORKER.name, now=clock_now())
    page = viewer.get("/workers").text
    assert "No worker is alive: jobs wait." in page
    assert "flask worker" in page


def test_an_empty_page_says_how_to_start_one(viewer: ConsoleClient) -> None:
    assert "flask worker" in viewer.get("/workers").text


@pytest.mark.usefixtures("no_workers")
def test_where_jobs_run_in_their_caller_the_page_says_so(app: Flask, viewer: ConsoleClient) -> None:
    says = "Jobs run in the process that enqueues them"
    page = viewer.get("/workers").text
    assert (says in page, "flask worker" in page, "count--danger" in page) == (True, False, False)
    with app.app_context(), transaction() as session:
        service.beat(session, WORKER, now=clock_now())
        service.farewell(session, WORKER.name, now=clock_now())
    page = viewer.get("/workers").text
    assert (says in page, "jobs wait" in page) == (True, False)


def test_the_page_shows_workers_and_the_menu_tells_when_none_lives(
    app: Flask, viewer: ConsoleClient
) -> None:
    assert 'class="count count--danger">0<' in viewer.get("/workers").text
    with app.app_context(), transaction() as session:
        service.beat(session, WORKER, now=clock_now())
    page = viewer.get("/workers").text
    assert "Alive" in page
    assert "count--danger" not in page
