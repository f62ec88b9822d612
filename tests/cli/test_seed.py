"""What an empty installation begins with, seeded by the real command: once as a process."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import func, select

from tests.conftest import end, make_settings
from webapp.accounts.passwords import password_matches
from webapp.accounts.queries import find_user
from webapp.actors import COMMAND
from webapp.alerts.service import find_rule
from webapp.app import create_app
from webapp.audit.queries import recent_entries
from webapp.clock import now
from webapp.db import db, reading, transaction
from webapp.flags.service import create_flag
from webapp.flags.values import FlagDraft
from webapp.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
Process = subprocess.CompletedProcess[str]
TABLES = ("users", "feature_flags", "sources", "jobs", "schedules")
PASSWORD = "correct horse battery"
Seed = Callable[..., Result]


@pytest.fixture
def seed(app: Flask, settings: Settings, tmp_path: Path) -> Iterator[Seed]:
    """Run ``flask seed`` on the test's database, with an application that has these settings."""
    made: list[Flask] = []

    def run(**environ: str) -> Result:
        own = make_settings(tmp_path, DATABASE_URL=settings.database_url, **environ)
        made.append(create_app(own))
        # As ``flask`` pushes it.
        with made[-1].app_context():
            return made[-1].test_cli_runner().invoke(args=["seed"], env=environ)

    yield run
    for each in made:
        end(each)


@pytest.fixture
def process(app: Flask, settings: Settings, tmp_path: Path) -> Callable[[], Process]:
    """Run ``flask seed`` on the test's database, in a process of its own."""

    def run() -> Process:
        own = {
            "ENVIRONMENT": "test",
            "INSTANCE_DIR": str(tmp_path),
            "DATABASE_URL": settings.database_url,
        }
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("ADMIN_")
        }
        return subprocess.run(
            [sys.executable, "-m", "flask", "--app", "wsgi", "seed"],
            cwd=ROOT,
            env=inherited | own,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def counts(app: Flask) -> list[int]:
    with app.app_context(), reading() as session:
        tables = [db.metadata.tables[name] for name in TABLES]
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def knows(app: Flask, username: str, password: str) -> bool:
    with app.app_context(), reading() as session:
        user = find_user(session, username)
    return user is not None and password_matches(password, user.password_hash)


def test_an_empty_database_is_filled_once(
    app: Flask, process: Callable[[], Process], seed: Seed
) -> None:
    first = process()
    assert first.returncode == 0, first.stderr
    told = dict(line.split(": ") for line in first.stdout.splitlines())
    assert set(told) == {"Username", "Password"}
    assert knows(app, "admin", told["Password"])
    assert counts(app) == [1, 3, 1, 1, 2]

    again = seed(ADMIN_PASSWORD=PASSWORD)
    assert (again.exit_code, again.stdout, again.stderr) == (0, "", "")
    assert counts(app) == [1, 3, 1, 1, 2]
    assert knows(app, "admin", told["Password"])
    with app.app_context(), reading() as session:
        assert told["Password"] not in repr(recent_entries(session, 50))


def test_the_first_admin_may_be_named_and_is_then_not_told(app: Flask, seed: Seed) -> None:
    seeded = seed(ADMIN_USERNAME="Anna", ADMIN_PASSWORD=PASSWORD)
    assert seeded.stdout == "Username: anna\nPassword: as ADMIN_PASSWORD says\n"
    assert PASSWORD not in seeded.stdout + seeded.stderr
    assert knows(app, "anna", PASSWORD)


def test_a_password_that_is_too_short_fills_nothing(app: Flask, seed: Seed) -> None:
    seeded = seed(ADMIN_PASSWORD="short")
    assert seeded.exit_code == 1
    assert seeded.stderr == "Error: password: Use at least 12 characters.\n"
    assert counts(app) == [0, 0, 0, 0, 0]


def test_what_is_not_empty_is_left_alone(app: Flask, seed: Seed) -> None:
    with app.app_context(), transaction() as session:
        create_flag(session, FlagDraft(name="ours"), by=COMMAND, now=now(), reason="Ours")
    assert seed(ADMIN_PASSWORD=PASSWORD).exit_code == 0
    assert counts(app) == [1, 1, 1, 1, 2]


def test_with_the_demo_there_are_sources_that_the_console_serves_itself(
    app: Flask, seed: Seed
) -> None:
    assert seed(DEMO="true", PORT="8123", OUTBOUND_ALLOW_HOSTS="127.0.0.1:8123").exit_code == 0
    assert counts(app) == [1, 3, 3, 3, 2]
    with app.app_context(), reading() as session:
        table = db.metadata.tables["sources"]
        places = set(session.scalars(select(table.c.location)))
        assert find_rule(session, "example-workers").channels == []
    assert places == {
        "package:airportsdata/airports.csv",
        "http://127.0.0.1:8123/demo/areas",
        "http://127.0.0.1:8123/demo/news.xml",
    }
