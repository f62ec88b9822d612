"""The snapshot: seen at once here, soon elsewhere and after a fork, kept without a database."""

import os
import queue
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from tests.flags.conftest import SwitchableDatabase
from webapp.actors import COMMAND
from webapp.alerts.models import AlertReport
from webapp.db import db, reading, transaction, will_write
from webapp.flags import is_enabled
from webapp.flags.feeds import DatabaseFeed
from webapp.flags.service import change_flag, create_flag, snapshot_status
from webapp.flags.snapshot import FlagStore
from webapp.flags.values import FlagChanges, FlagDraft

ROOT = Path(__file__).parents[2]
WITHIN_SECONDS = 2.0

# A process that asks once, forks, and tells when it and its child see the flag go on.
WATCHER = r"""
import os, time
from webapp.app import create_app
from webapp.flags import is_enabled
from webapp.settings import Settings

create_app(Settings.from_environment())
assert not is_enabled("beta", "u")
child = os.fork()
name = "child" if child == 0 else "parent"
# One write for each line, or those of the two would mix.
os.write(1, f"{name} ready\n".encode())
until = time.monotonic() + 20
while not is_enabled("beta", "u") and time.monotonic() < until:
    time.sleep(0.02)
os.write(1, f"{name} {is_enabled('beta', 'u')}\n".encode())
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.fixture
def flag(app: Flask, now: datetime) -> Iterator[str]:
    """A flag that is on for nobody yet."""
    with app.app_context():
        with transaction() as session:
            create_flag(
                session, FlagDraft(name="beta", enabled=True), by=COMMAND, now=now, reason="r"
            )
        yield "beta"


def turn_on(now: datetime) -> None:
    with transaction() as session:
        turn_on_in(session, now)


def turn_on_in(session: Session, now: datetime) -> None:
    change_flag(session, "beta", FlagChanges(percentage=100), by=COMMAND, now=now, reason="r")


def test_a_change_is_seen_at_once_where_it_was_made(flag: str, now: datetime) -> None:
    assert not is_enabled(flag, "u")
    turn_on(now)
    assert is_enabled(flag, "u")


def test_a_change_that_is_rolled_back_is_not_seen(app: Flask, flag: str, now: datetime) -> None:
    before = snapshot_status().revision
    with app.app_context(), will_write():
        turn_on_in(db.session(), now)
        db.session.rollback()
    assert not is_enabled(flag, "u")
    assert snapshot_status().revision == before


def test_another_process_and_its_fork_see_a_change_within_two_seconds(
    app: Flask, flag: str, now: datetime, tmp_path: Path
) -> None:
    environ = os.environ | {
        "DATABASE_URL": app.extensions["settings"].database_url,
        "INSTANCE_DIR": str(tmp_path),
        "ENVIRONMENT": "test",
        "LOG_LEVEL": "ERROR",
        "PYTHONPATH": str(ROOT),
    }
    with subprocess.Popen(
        [sys.executable, "-c", WATCHER], env=environ, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as watcher:
        assert watcher.stdout is not None
        ready = {watcher.stdout.readline().strip() for _ in range(2)}
        assert ready == {"parent ready", "child ready"}
        turn_on(now)
        changed_at = time.monotonic()
        seen = {watcher.stdout.readline().strip() for _ in range(2)}
        took = time.monotonic() - changed_at
    assert seen == {"parent True", "child True"}
    assert took < WITHIN_SECONDS


@contextmanager
def store_on(database: SwitchableDatabase, trust_seconds: float = 60) -> Iterator[FlagStore]:
    store = FlagStore(
        DatabaseFeed(database.open_session),
        environment="production",
        poll_seconds=600,
        trust_seconds=trust_seconds,
    )
    yield store
    store.stop()


def test_without_the_database_the_last_snapshot_goes_on(
    app: Flask, flag: str, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    turn_on(now)
    database = SwitchableDatabase(app)
    with store_on(database, trust_seconds=0) as store:
        before = store.current()
        database.away = True
        assert [store.refresh() for _ in range(3)] == [False, False, False]
        assert store.current() is before
        assert flag in store.current().found.flags
        status = store.status()
        assert status.stale
        assert status.age > 0
        assert caplog.text.count("flags_not_refreshed") == 1
        database.away = False
        assert store.refresh()


def test_a_process_that_never_saw_the_database_says_so_and_learns_later(
    app: Flask, flag: str
) -> None:
    database = SwitchableDatabase(app)
    database.away = True
    with store_on(database) as store:
        status = store.status()
        assert (status.loaded, status.stale, status.flags) == (False, True, 0)
        database.away = False
        assert store.refresh()
        assert store.status().loaded
        assert not store.status().stale


def test_flags_that_were_stale_are_told_of_once_they_are_fresh(app: Flask, flag: str) -> None:
    database, told = SwitchableDatabase(app), queue.Queue[float]()
    store = FlagStore(
        DatabaseFeed(database.open_session),
        environment="production",
        poll_seconds=0.01,
        trust_seconds=0.2,
    )
    store.note_stale = told.put
    store.current()
    database.away = True
    while not store.status().stale:
        time.sleep(0.01)
    database.away = False
    assert told.get(timeout=10) > 0
    store.stop()


def test_an_alert_can_count_that_flags_were_stale(app: Flask, flag: str) -> None:
    with app.app_context():
        app.extensions["flag_store"]._tell_stale(-1.0)
        app.extensions["flag_store"]._tell_stale(12.34)
        with reading() as session:
            (row,) = session.scalars(select(AlertReport))
    assert (row.metric, row.label) == ("flags_stale", socket.gethostname())
    assert row.facts == {"process": os.getpid(), "seconds": 12.3}


def test_an_unchanged_revision_keeps_the_snapshot(app: Flask, flag: str, now: datetime) -> None:
    with store_on(SwitchableDatabase(app)) as store:
        before = store.current()
        store.refresh()
        assert store.current() is before
        turn_on(now)
        store.refresh()
        assert store.current().found.revision == before.found.revision + 1


def test_asking_costs_no_statement(app: Flask, flag: str) -> None:
    database = SwitchableDatabase(app)
    with store_on(database) as store:
        store.current()
        database.away = True
        assert all(store.current() is store.current() for _ in range(1_000))
        assert not store.status().stale
