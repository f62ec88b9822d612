"""What the doctor sees, says and advises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import create_engine, text

from tests.conftest import make_settings
from tests.servers import RedisServer
from webapp.db import db
from webapp.doctor import Finding, describe_settings, examine, without_secrets
from webapp.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def findings(app: Flask, settings: Settings) -> dict[str, Finding]:
    with app.app_context():
        return {finding.about: finding for finding in examine(settings, db.engine)}


@pytest.fixture
def private(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////srv/data.db", "sqlite:////srv/data.db"),
        ("postgresql+psycopg://me:hunter2@host/db", "postgresql+psycopg://me:***@host/db"),
        (
            "postgresql+psycopg:///db?host=/run&password=hunter2",
            "postgresql+psycopg:///db?host=%2Frun&password=%5Bmasked%5D",
        ),
        ("redis://:hunter2@host:6379/0", "redis://:***@host:6379/0"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


def test_every_setting_is_shown_with_its_meaning_and_no_secret(private: Path) -> None:
    secret = "hunter2" * 6
    settings = make_settings(
        private,
        SECRET_KEY=secret,
        DATABASE_URL="postgresql+psycopg://me:hunter2@host/db",
        REDIS_URL="redis://:hunter2@host:6379/0",
    )
    shown = {setting.name: setting for setting in describe_settings(settings)}
    assert shown["SECRET_KEY"].value == "set, 42 bytes"
    assert shown["FORCE_HTTPS"].value == "false"
    assert shown["JOB_MODULES"].value == "none"
    assert all(setting.doc for setting in shown.values())
    assert "hunter2" not in repr(shown)


def test_a_sound_installation_has_no_problem(app: Flask, settings: Settings, private: Path) -> None:
    found = findings(app, make_settings(private, DATABASE_URL=settings.database_url))
    assert list(found) == ["instance folder", "database", "schema", "queue"]
    assert all(finding.good for finding in found.values())


def test_a_folder_that_others_can_read_is_a_problem(app: Flask, private: Path) -> None:
    private.chmod(0o755)
    found = findings(app, make_settings(private))
    assert found["instance folder"].advice == f"Run: chmod 700 {private}"


def test_an_old_schema_is_a_problem_with_its_remedy(private: Path) -> None:
    engine = create_engine(f"sqlite:///{private / 'old.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('0001')"))
    found = {finding.about: finding for finding in examine(make_settings(private), engine)}
    engine.dispose()
    assert found["schema"].state.startswith("at 0001, the newest is 0")
    assert found["schema"].advice == "Run: flask db upgrade"


def test_a_database_that_is_away_is_a_problem_told_without_its_password(private: Path) -> None:
    url = "postgresql+psycopg://me:hunter2@127.0.0.1:1/db"
    found = {
        finding.about: finding for finding in examine(make_settings(private), create_engine(url))
    }
    assert not found["database"].good
    assert "postgresql+psycopg://me:***@127.0.0.1:1/db" in found["database"].advice
    assert "hunter2" not in repr(found)
    assert "queue" in found


def test_a_broker_that_is_away_is_a_problem(app: Flask, private: Path) -> None:
    url = "redis://:hunter2@127.0.0.1:1/0"
    found = findings(app, make_settings(private, REDIS_URL=url))
    assert found["queue"].state.startswith("Redis does not answer")
    assert "hunter2" not in repr(found)


@pytest.mark.redis
def test_a_broker_that_answers_is_none(
    app: Flask, private: Path, redis_server: RedisServer
) -> None:
    found = findings(app, make_settings(private, REDIS_URL=redis_server.url))
    assert found["queue"].good


def test_jobs_inside_the_web_process_are_a_problem_in_production(app: Flask, private: Path) -> None:
    production = {"ENVIRONMENT": "production", "ALLOWED_HOSTS": "console.example"}
    settings = make_settings(private, QUEUE_BACKEND="immediate", **production)
    assert not findings(app, settings)["queue"].good


def doctor(instance: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "doctor"],
        cwd=ROOT,
        env=os.environ | {"ENVIRONMENT": "test", "INSTANCE_DIR": str(instance)} | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_tells_problems_and_fails(private: Path) -> None:
    seen = doctor(private)
    assert seen.returncode == 1
    assert "INSTANCE_DIR = " in seen.stdout
    assert "PROBLEM  schema: at no revision" in seen.stdout
    assert "Run: flask db upgrade" in seen.stdout
    assert seen.stderr == "Error: 1 problem: see above.\n"
    assert (private / "secret_key").read_text() not in seen.stdout


def test_the_command_is_content_with_a_sound_installation(
    app: Flask, settings: Settings, private: Path
) -> None:
    seen = doctor(private, DATABASE_URL=settings.database_url)
    assert (seen.returncode, seen.stderr) == (0, "")
    assert seen.stdout.endswith("All is well.\n")


def test_all_invalid_settings_are_told_at_once(private: Path) -> None:
    seen = doctor(private, ENVIRONMENT="production", SECRET_KEY="short", JOB_MAX_LOSSES="many")
    assert seen.returncode == 1
    assert seen.stderr.splitlines() == [
        "Invalid settings:",
        "  - JOB_MAX_LOSSES: 'many' is not a whole number",
        "  - ALLOWED_HOSTS: is needed where ENVIRONMENT is production; * is any host",
        "  - SECRET_KEY: must be at least 32 bytes, is 5",
    ]
