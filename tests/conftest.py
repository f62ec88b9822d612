"""Fixtures: the application on real databases, signed-in clients, one fixed moment.

``app`` runs on SQLite and on PostgreSQL, with the schema that the migrations make.  What a test
commits is removed after it; what it only flushes is rolled back.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import settings as hypothesis_settings
from itsdangerous import URLSafeTimedSerializer
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from tests.environment import isolate
from tests.odd_texts import FOR_SERVERS, ODD_TEXTS, Fields, form_body

# The hook of that module becomes this conftest's by its name.
from tests.servers import (
    PostgresServer,
    RedisServer,
    find_postgres,
    find_redis,
    missing_server,
    pytest_terminal_summary,  # noqa: F401
)
from tests.servers import pytest_collection_modifyitems as put_processes_last
from webapp import metrics
from webapp.accounts import passwords
from webapp.accounts.service import create_user
from webapp.accounts.token_publishing import provide_publisher
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.breakers.capability import breakers
from webapp.breakers.registry import BreakerRegistry
from webapp.breakers.registry import use_registry as use_breakers
from webapp.clock import now as clock_now
from webapp.db import db, will_write
from webapp.jobs.broker import provide_broker
from webapp.limits.capability import limits
from webapp.limits.registry import LimitRegistry
from webapp.limits.registry import use_registry as use_limits
from webapp.roles import Role
from webapp.settings import Settings

isolate()
# How long an example takes says how busy the machine is.
hypothesis_settings.register_profile("untimed", deadline=None)
hypothesis_settings.load_profile("untimed")

PASSWORD = "correct horse battery"
SECRET = "a secret that only tests know, and it is long enough"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

# Of an application: whatever runs under these names exchanges something with other processes.
# Who only listens to Redis (breaker-signals, flag-signals) is left to end within its second.
THREADS = {
    "breaker-sharing",
    "flag-usage",
    "flag-usage-collector",
    "flag-watcher",
    "limit-sharing",
    "token-publisher",
    "token-watcher",
}
THREAD_SECONDS = 10.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what says nothing new, and put what drives whole processes last."""
    spared = {item for item in items if _is_odd_to_sqlite_alone(item)}
    config.hook.pytest_deselected(items=list(spared))
    items[:] = [item for item in items if item not in spared]
    put_processes_last(items)


def _is_odd_to_sqlite_alone(item: pytest.Item) -> bool:
    values = (
        item.callspec.params
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else {}
    )
    names = [name for name, text in ODD_TEXTS.items() if values.get("odd") == text]
    on_server = item.get_closest_marker("postgres") is not None
    return on_server and bool(names) and FOR_SERVERS.isdisjoint(names)


class ConsoleClient(FlaskClient):
    """A browser: keeps cookies, and sends the CSRF token of its session with every write."""

    csrf = True

    def csrf_token(self) -> str:
        """Return a token that the forms of this session would carry."""
        with self.session_transaction() as session:
            raw = session.setdefault("csrf_token", "0" * 40)
        signer = URLSafeTimedSerializer(SECRET, salt="wtf-csrf-token")
        return str(signer.dumps(raw))

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Send a request, with the token where it writes."""
        if self.csrf and kwargs.get("method", "GET") not in {"GET", "HEAD", "OPTIONS"}:
            headers = dict(kwargs.pop("headers", None) or {})
            headers.setdefault("X-CSRFToken", self.csrf_token())
            kwargs["headers"] = headers
        return super().open(*args, **kwargs)

    def htmx(self, url: str, target: str = "", method: str = "GET", **kwargs: Any) -> TestResponse:
        """Send a request as htmx does, aimed at the element with the id ``target``."""
        headers = {"HX-Request": "true", "HX-Target": target} | kwargs.pop("headers", {})
        return self.open(url, method=method, headers=headers, **kwargs)

    def send_form(self, url: str, fields: Fields) -> TestResponse:
        """Post a form whose fields may hold what is no text."""
        return self.post(url, **form_body(fields))

    def look_for(self, url: str, fields: Fields) -> TestResponse:
        """Ask for a page with such fields in its address."""
        return self.get(f"{url}?{form_body(fields)['data']}")

    def sign_in(self, role: Role) -> "ConsoleClient":
        """Make an account with this role and sign in with it through the page."""
        with self.application.app_context(), will_write():
            create_user(
                db.session, role.value, password=PASSWORD, role=role, by=COMMAND, now=clock_now()
            )
            db.session.commit()
        answer = self.post("/sign-in", data={"username": role.value, "password": PASSWORD})
        assert answer.status_code in {302, 303}, answer.text
        return self


@pytest.fixture(scope="session", autouse=True)
def registered_jobs() -> None:
    """Every type of job, and no queue: jobs stay in the ledger, since nobody takes them."""
    import_module("tasks")
    import_module("tests.jobs.types")
    provide_broker(None)


@pytest.fixture(scope="session", autouse=True)
def real_hasher() -> Iterator[PasswordHasher]:
    """Hash passwords at next to no cost: at the real one, that is a third of what tests take.

    Gives the real one, for tests that are about the cost.
    """
    real = passwords._hasher
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", PasswordHasher(1, 8, 1))
        yield real


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    """A test ends what it has started: threads that go on write where the next one looks.

    Guards are each process's own, unless a test sets an application up.
    """
    use_breakers(BreakerRegistry())
    use_limits(LimitRegistry())
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + THREAD_SECONDS
    left = [one for one in threading.enumerate() if one not in before and one.name in THREADS]
    for thread in left:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert [thread.name for thread in left if thread.is_alive()] == []


@pytest.fixture(autouse=True)
def fresh_labels() -> None:
    """The names of guards that a process has a label for, as when it began."""
    metrics._names.clear()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of our own."""
    programs = find_postgres()
    if programs is None:
        missing_server("postgresql")
    with PostgresServer(programs) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis server of our own; a test that stops it starts it again."""
    program = find_redis()
    if program is None:
        missing_server("redis")
    with RedisServer(program) as server:
        yield server


@pytest.fixture(
    scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
)
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An empty database on either server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('data') / 'test.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database("switchyard_test")


@pytest.fixture(scope="session")
def settings(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A configuration for tests."""
    return make_settings(tmp_path_factory.mktemp("instance"), DATABASE_URL=database_url)


def make_settings(instance_dir: Path, **environ: str) -> Settings:
    """Return settings as a test's environment would give them."""
    return Settings.from_environment(
        {
            "ENVIRONMENT": "test",
            "INSTANCE_DIR": str(instance_dir),
            "SECRET_KEY": SECRET,
            "LOG_LEVEL": "WARNING",
            "REQUEST_LIMITS": "false",
        }
        | environ
    )


@pytest.fixture(scope="session")
def migrated_app(settings: Settings) -> Iterator[Flask]:
    """The application with its schema, shared by the tests of one database."""
    app = create_app(settings)
    app.testing = True
    app.test_client_class = ConsoleClient
    with app.app_context():
        flask_migrate.upgrade()
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def app(migrated_app: Flask) -> Iterator[Flask]:
    """The application on empty tables, with no flags in memory."""
    for capability in (breakers, limits):
        assert capability.setup is not None
        # Guards as when a process begins, not as the tests before have left them.
        capability.setup(migrated_app)
    yield migrated_app
    leave(migrated_app)


@pytest.fixture
def no_workers(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run in the process that enqueues them, as ``QUEUE_BACKEND=immediate`` says."""
    changed = replace(app.extensions["settings"], queue_backend="immediate")
    monkeypatch.setitem(app.extensions, "settings", changed)


def leave(migrated_app: Flask) -> None:
    """Remove what tests have left in the tables and in memory."""
    stop_threads(migrated_app)
    # What its workers have seen of pauses and policies.
    migrated_app.extensions.pop("steering", None)
    with migrated_app.app_context():
        clear_tables()


def end(app: Flask) -> None:
    """End the threads of an application of a test's own, and its connections."""
    stop_threads(app)
    if "sqlalchemy" in app.extensions:
        with app.app_context():
            db.engine.dispose()


def stop_threads(app: Flask) -> None:
    """End every thread that an application keeps: what one still tells, another test would meet."""
    store = app.extensions["flag_store"]
    store.stop()
    if store.usage is not None:
        store.usage.stop()
    app.extensions["token_book"].stop()
    if (publisher := app.extensions.get("token_publisher")) is not None:
        publisher.stop()
        provide_publisher(None)
    use_breakers(BreakerRegistry())
    use_limits(LimitRegistry())


def clear_tables() -> None:
    """Remove every row of every table but the migrations' own."""
    db.session.rollback()
    with will_write():
        # Past SQLAlchemy: this is done before each test, and most tables are empty.
        connection = db.session.connection().connection.driver_connection
        assert connection is not None
        for statement in _emptying(db.engine.dialect.name):
            connection.execute(statement)
        db.session.commit()
    db.session.remove()


@cache
def _emptying(dialect: str) -> list[str]:
    """Return what empties all tables: for a server, as one message."""
    names = [table.name for table in reversed(db.metadata.sorted_tables)]
    tables = [f"DELETE FROM {name}" for name in names]  # noqa: S608  # our own names
    return tables if dialect == "sqlite" else ["; ".join(tables)]


@pytest.fixture
def session(app: Flask) -> Iterator[Session]:
    """The session of a writing request on the application's database."""
    with app.app_context(), will_write():
        yield db.session()
        db.session.rollback()
        db.session.remove()


@pytest.fixture
def client(app: Flask) -> ConsoleClient:
    """A browser that nobody has signed in with."""
    browser = app.test_client()
    assert isinstance(browser, ConsoleClient)
    return browser


@pytest.fixture
def viewer(client: ConsoleClient) -> ConsoleClient:
    """A browser signed in as a viewer."""
    return client.sign_in(Role.VIEWER)


@pytest.fixture
def operator(client: ConsoleClient) -> ConsoleClient:
    """A browser signed in as an operator."""
    return client.sign_in(Role.OPERATOR)


@pytest.fixture
def admin(client: ConsoleClient) -> ConsoleClient:
    """A browser signed in as an admin."""
    return client.sign_in(Role.ADMIN)


@pytest.fixture
def now() -> datetime:
    """One fixed moment."""
    return NOW
