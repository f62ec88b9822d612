"""What the doctor sees, says and advises."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import create_engine, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from tests.conftest import PASSWORD, make_settings
from tests.servers import PostgresServer, RedisServer
from webapp.accounts.service import create_user
from webapp.actors import COMMAND
from webapp.clock import now
from webapp.db import db, transaction
from webapp.doctor import describe_settings, examine, without_secrets
from webapp.doctor_database import ADVICE
from webapp.findings import Finding, Grade, advice_on
from webapp.roles import Role
from webapp.settings import Settings
from webapp.workers.models import Worker
from webapp.workers.service import beat
from webapp.workers.values import WorkerIdentity

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


PARTS = [
    "instance folder",
    "files",
    "disk",
    "database",
    "schema",
    "clock",
    "accounts",
    "workers",
    "queue",
    "transport",
    "addresses",
]


def make_sound(app: Flask) -> None:
    """An admin, and a worker that lives."""
    with app.app_context(), transaction() as session:
        facts: dict[str, Any] = {"role": Role.ADMIN, "by": COMMAND, "now": now()}
        create_user(session, "ada", password=PASSWORD, **facts)
        show_life(session)


def show_life(session: Session, *, scheduler: bool = True) -> None:
    worker = WorkerIdentity(
        name="here:1:a",
        place="here",
        host="here",
        pid=1,
        kind="process",
        processes=2,
        version="0",
        scheduler=scheduler,
    )
    beat(session, worker, now=now())


def test_a_sound_installation_has_no_problem(app: Flask, settings: Settings, private: Path) -> None:
    make_sound(app)
    found = findings(app, make_settings(private, DATABASE_URL=settings.database_url))
    on_server = settings.database_url.startswith("postgresql")
    assert list(found) == [part for part in PARTS if on_server or part != "clock"]
    assert all(finding.good for finding in found.values())


@pytest.mark.parametrize("scheduler", [True, False])
def test_that_nobody_may_sign_in_and_nobody_works_is_a_warning(
    app: Flask, settings: Settings, private: Path, *, scheduler: bool
) -> None:
    ours = make_settings(private, DATABASE_URL=settings.database_url)
    if not scheduler:
        with app.app_context(), transaction() as session:
            show_life(session, scheduler=False)
    found = findings(app, ours)
    assert found["accounts"].advice == "Run: flask users create NAME --role admin"
    assert found["workers"].state.startswith("none is alive" if scheduler else "1 alive, none of")
    assert {found[name].grade for name in ("accounts", "workers")} == {Grade.WARNING}


def test_a_silent_worker_is_none(app: Flask, settings: Settings, private: Path) -> None:
    make_sound(app)
    with app.app_context(), transaction() as session:
        session.execute(update(Worker).values(beat_at=now() - timedelta(seconds=61)))
    ours = make_settings(private, DATABASE_URL=settings.database_url)
    assert findings(app, ours)["workers"].state == "none is alive: jobs wait"


def test_where_there_are_to_be_no_workers_none_is_missed(
    app: Flask, settings: Settings, private: Path
) -> None:
    ours = make_settings(private, DATABASE_URL=settings.database_url, QUEUE_BACKEND="immediate")
    assert "workers" not in findings(app, ours)


def test_a_clock_that_is_off_is_a_problem(app: Flask, settings: Settings, private: Path) -> None:
    if not settings.database_url.startswith("postgresql"):
        pytest.skip("a file has the clock of its machine")
    ours = make_settings(private, DATABASE_URL=settings.database_url)
    for seconds, grade in ((-9, Grade.PROBLEM), (5, Grade.GOOD), (9, Grade.PROBLEM)):
        with time_machine.travel(now() + timedelta(seconds=seconds)):
            assert findings(app, ours)["clock"].grade == grade


PROXY = {"FORCE_HTTPS": "true", "TRUSTED_PROXIES": "1"}
PRODUCTION = {"ENVIRONMENT": "production"}


@pytest.mark.parametrize(
    ("environ", "part", "told"),
    [
        ({"FORCE_HTTPS": "true"}, "transport", (Grade.PROBLEM, "every request is redirected")),
        (PROXY, "transport", (Grade.GOOD, "demanded")),
        (PRODUCTION, "transport", (Grade.WARNING, "plain HTTP")),
        (PRODUCTION, "addresses", (Grade.WARNING, "no links")),
        (
            PRODUCTION | {"ALLOWED_HOSTS": "*"},
            "addresses",
            (Grade.WARNING, "any name is answered"),
        ),
        (
            PRODUCTION | {"CONSOLE_URL": "https://Console.example"},
            "addresses",
            (Grade.GOOD, "console.example"),
        ),
        (
            {"CONSOLE_URL": "https://b.example"},
            "addresses",
            (Grade.PROBLEM, "b.example, which is answered with 400"),
        ),
        (PRODUCTION, "cleanup", (Grade.WARNING, "nothing is ever removed")),
        ({"QUEUE_BACKEND": "sqlite"}, "queue", (Grade.GOOD, "in the file")),
    ],
)
def test_settings_that_do_not_fit_are_told(
    app: Flask, private: Path, environ: dict[str, str], part: str, told: tuple[Grade, str]
) -> None:
    given = {"ALLOWED_HOSTS": "console.example"} | environ
    found = findings(app, make_settings(private, **given))[part]
    assert found.grade == told[0]
    assert told[1] in found.state


def test_folders_that_cannot_be_made_are_a_problem(
    app: Flask, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = private / "file"
    in_the_way.touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(in_the_way))
    found = findings(app, make_settings(private, REPORTS_DIR=str(in_the_way / "reports")))["files"]
    assert "REPORTS_DIR" in found.state
    assert "PROMETHEUS_MULTIPROC_DIR" in found.state
    assert "MODELS_DIR" not in found.state
    assert found.grade == Grade.PROBLEM


def test_a_full_disk_is_a_warning(
    app: Flask, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.doctor.LITTLE_BYTES", 2**70)
    monkeypatch.setattr("webapp.doctor.LITTLE_SHARE", 1.1)
    found = findings(app, make_settings(private))["disk"]
    assert found.advice == f"Make room where {private} lies."
    assert found.grade == Grade.WARNING


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
    assert "accounts" not in found


def test_a_schema_of_a_newer_release_is_told_as_such(private: Path) -> None:
    engine = create_engine(f"sqlite:///{private / 'new.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('9999')"))
    found = {finding.about: finding for finding in examine(make_settings(private), engine)}
    engine.dispose()
    assert found["schema"].state.endswith("a newer release has made it")
    assert "restore the backup" in found["schema"].advice


def test_a_database_that_is_away_is_a_problem_told_without_its_password(private: Path) -> None:
    url = "postgresql+psycopg://me:hunter2@127.0.0.1:1/db"
    found = {
        finding.about: finding for finding in examine(make_settings(private), create_engine(url))
    }
    assert not found["database"].good
    assert "postgresql+psycopg://me:***@127.0.0.1:1/db" in found["database"].advice
    assert "hunter2" not in repr(found)
    assert "queue" in found


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("user", "name", "advice"),
    [
        ("switchyard", "nowhere", "createdb NAME --owner=USER"),
        ("nobody", "postgres", "createuser NAME --pwprompt"),
    ],
)
def test_what_a_server_refuses_is_told_with_its_remedy(
    private: Path, postgres: PostgresServer, user: str, name: str, advice: str
) -> None:
    url = make_url(postgres.url).set(username=user, database=name)
    found = {one.about: one for one in examine(make_settings(private), create_engine(url))}
    assert advice in found["database"].advice


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ('FATAL:  password authentication failed for user "me"', "Mend user or password"),
        ("fe_sendauth: no password supplied", "Mend user or password"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.7", user "me"', "pg_hba.conf"),
        ('FATAL:  database "switchyard" does not exist', "createdb"),
    ],
)
def test_words_of_the_server_have_their_remedy(said: str, advice: str) -> None:
    assert advice in advice_on(said, ADVICE, otherwise="")


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
    assert "WARNING  accounts: no admin" in seen.stdout
    assert seen.stdout.endswith("No problem; see the warnings.\n")


def test_the_command_tells_programs_the_same(
    app: Flask, settings: Settings, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_sound(app)
    monkeypatch.setitem(
        app.extensions, "settings", make_settings(private, DATABASE_URL=settings.database_url)
    )
    with app.app_context():
        seen = app.test_cli_runner().invoke(args=["doctor", "--json"])
    told = json.loads(seen.output)
    assert seen.exit_code == 0
    assert {check["grade"] for check in told["checks"]} == {"good"}
    assert told["settings"]["ENVIRONMENT"] == "test"
    private.chmod(0o755)
    with app.app_context():
        again = app.test_cli_runner().invoke(args=["doctor", "--json"])
    assert again.exit_code == 1
    assert json.loads(again.output)["checks"][0]["advice"] == f"Run: chmod 700 {private}"


def test_all_invalid_settings_are_told_at_once(private: Path) -> None:
    seen = doctor(private, ENVIRONMENT="production", SECRET_KEY="short", JOB_MAX_LOSSES="many")
    assert seen.returncode == 1
    assert seen.stderr.splitlines() == [
        "Invalid settings:",
        "  - JOB_MAX_LOSSES: 'many' is not a whole number",
        "  - ALLOWED_HOSTS: is needed where ENVIRONMENT is production; * is any host",
        "  - SECRET_KEY: must be at least 32 bytes, is 5",
    ]
