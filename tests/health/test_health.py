"""The probes: what they say, and that nothing makes them wait."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from webapp.db import db
from webapp.health import checks
from webapp.health.checks import Checks, PartState, Unfit
from webapp.jobs.broker import provide_broker


class Queue:
    """A broker that is there, or raises what it is given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def send(self, job_id: int, priority: int) -> None:
        raise NotImplementedError

    def size(self) -> int:
        raise NotImplementedError

    def waiting(self) -> set[int]:
        raise NotImplementedError

    def ping(self) -> None:
        if self.error:
            raise self.error


@pytest.fixture(autouse=True)
def no_broker() -> Any:
    provide_broker(None)
    yield
    provide_broker(None)


def test_health_answers_everybody_at_once_and_starts_no_session(client: Any) -> None:
    answer = client.get("/health")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"


def test_ready_names_the_state_of_each_part(client: Any) -> None:
    provide_broker(Queue())
    answer = client.get("/ready")
    assert answer.status_code == 200
    assert answer.json["status"] == "ready"
    parts = answer.json["parts"]
    assert {name: part["state"] for name, part in parts.items()} == {
        "database": "up",
        "migrations": "up",
        "broker": "up",
        "flags": "up",
    }
    assert parts["migrations"]["revision"] >= "0005"
    assert parts["flags"]["age_seconds"] >= 0
    assert "Set-Cookie" not in answer.headers


def test_a_broker_that_this_process_does_not_have_is_unknown_and_no_fault(client: Any) -> None:
    answer = client.get("/ready")
    assert answer.status_code == 200
    assert answer.json["parts"]["broker"] == {"state": "unknown"}


def test_a_broker_that_is_away_is_said_without_its_address(client: Any) -> None:
    provide_broker(Queue(ConnectionError("redis://app:hunter2@cache.example/0")))
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert answer.json["status"] == "not ready"
    assert answer.json["parts"]["broker"] == {"state": "down", "problem": "ConnectionError"}
    assert answer.json["parts"]["database"]["state"] == "up"


def test_a_database_that_is_not_migrated_is_not_ready(client: Any, app: Flask) -> None:
    with app.app_context():
        engine = db.engine
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    try:
        answer = client.get("/ready")
    finally:
        head = checks.newest_revision(Path(app.extensions["migrate"].directory))
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE alembic_version SET version_num = :head"), {"head": head}
            )
    assert answer.status_code == 503
    assert answer.json["parts"]["migrations"]["problem"] == "the database is not migrated"
    assert answer.json["parts"]["migrations"]["revision"] == "0001"


def test_a_part_that_hangs_is_down_in_bounded_time_and_asked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "MAX_SECONDS", 0.1)
    released, asked = threading.Event(), []

    def hang() -> dict[str, Any]:
        asked.append(1)
        released.wait(10)
        return {}

    probes = Checks()
    began = time.monotonic()
    for _ in range(3):
        parts = probes.run({"database": hang, "flags": dict}, process=1)
        assert parts["database"].state == PartState.DOWN
        assert parts["flags"].state == PartState.UP
    assert time.monotonic() - began < 1
    assert len(asked) == 1
    released.set()


def test_a_part_that_answers_but_is_unfit_says_why() -> None:
    def unfit() -> dict[str, Any]:
        raise Unfit("the flags are stale", age_seconds=90)

    (part,) = Checks().run({"flags": unfit}, process=1).values()
    assert part.state == PartState.DOWN
    assert part.facts == {"problem": "the flags are stale", "age_seconds": 90}


def test_a_forked_child_starts_threads_of_its_own() -> None:
    probes = Checks()
    for process in (1, 2):
        assert probes.run({"flags": dict}, process=process)["flags"].state == PartState.UP
