"""Looks at an installation: what is set, what can be reached, and what to do about what cannot.

Only looks: nothing is made, changed or repaired, and no secret is told.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from redis.exceptions import RedisError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from webapp.logs import MASK
from webapp.redis_link import redis_client
from webapp.settings import Settings

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
REDIS_SECONDS = 3.0
PRIVATE_MODE = 0o077
# Words in the query of a URL whose value is nobody's business.
SECRET_ARGUMENTS = ("password", "secret", "token", "key")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it can be shown to anybody."""

    name: str
    value: str
    doc: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at and how it stands; ``advice`` is empty where nothing is to be done."""

    about: str
    state: str
    advice: str = ""

    @property
    def good(self) -> bool:
        """Tell whether nothing is to be done."""
        return not self.advice


def describe_settings(settings: Settings) -> list[Setting]:
    """Return every setting with its meaning; secrets are masked."""
    return [
        Setting(
            spec.metadata["name"],
            _shown(getattr(settings, spec.name), secret=spec.metadata["secret"]),
            spec.metadata["doc"],
        )
        for spec in fields(settings)
    ]


def examine(settings: Settings, engine: Engine) -> Iterator[Finding]:
    """Look at the instance folder, the database, its schema and the queue's broker, in turn."""
    yield _instance(settings.instance_dir)
    try:
        with engine.connect() as connection:
            yield _database(connection, settings)
            yield _schema(connection)
    except SQLAlchemyError as error:
        yield Finding(
            "database",
            _first_line(error),
            "Start it, or mend DATABASE_URL. What was tried: " + without_secrets(str(engine.url)),
        )
    yield _broker(settings)


def without_secrets(url: str) -> str:
    """Return a URL without its password, wherever in it that stands."""
    parsed = make_url(url)
    query = {
        name: MASK if any(word in name.lower() for word in SECRET_ARGUMENTS) else value
        for name, value in parsed.query.items()
    }
    return parsed.set(query=query).render_as_string(hide_password=True)


def _shown(value: object, *, secret: bool) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    if value in ("", None):
        return "not set"
    if not secret:
        return _plain(value)
    return without_secrets(str(value)) if "://" in str(value) else f"set, {len(str(value))} bytes"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _instance(folder: Path) -> Finding:
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Finding("instance folder", f"{folder} cannot be written", "Mend its owner or mode.")
    if folder.stat().st_mode & PRIVATE_MODE:
        return Finding(
            "instance folder",
            f"{folder} can be read by others, and holds secrets",
            f"Run: chmod 700 {folder}",
        )
    return Finding("instance folder", str(folder))


def _database(connection: Connection, settings: Settings) -> Finding:
    connection.execute(text("SELECT 1"))
    version = ".".join(str(part) for part in connection.dialect.server_version_info or ())
    state = f"{connection.dialect.name} {version} answers".replace("  ", " ")
    if connection.dialect.name == "sqlite" and settings.is_production:
        state += "; it serves one machine"
    return Finding("database", state)


def _schema(connection: Connection) -> Finding:
    wanted = set(ScriptDirectory(str(MIGRATIONS)).get_heads())
    present = set(MigrationContext.configure(connection).get_current_heads())
    if present == wanted:
        return Finding("schema", f"at {_names(present)}, the newest")
    return Finding(
        "schema", f"at {_names(present)}, the newest is {_names(wanted)}", "Run: flask db upgrade"
    )


def _broker(settings: Settings) -> Finding:
    if settings.queue_backend == "redis":
        return _redis(settings.redis_url)
    if settings.queue_backend == "sqlite":
        return Finding("queue", f"in the file {settings.queue_path}")
    state = "jobs run at once, inside the process that enqueues them"
    if settings.is_production:
        return Finding("queue", state, "Set QUEUE_BACKEND to redis or sqlite for production.")
    return Finding("queue", state)


def _redis(url: str) -> Finding:
    try:
        # The client of the queue waits and tries again; this one is to say how things stand now.
        with redis_client(url, seconds=REDIS_SECONDS) as client:
            version = client.info("server")["redis_version"]
    except (RedisError, OSError, ValueError) as error:
        return Finding(
            "queue",
            f"Redis does not answer: {_first_line(error)}",
            "Start it, or mend REDIS_URL. What was tried: " + without_secrets(url),
        )
    return Finding("queue", f"Redis {version} answers")


def _names(revisions: set[str]) -> str:
    return ", ".join(sorted(revisions)) or "no revision"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
