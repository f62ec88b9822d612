"""Looks at an installation: what is set, what can be reached, and what to do about what cannot.

Only looks: nothing is made, changed or repaired, and no secret is told.
"""

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from webapp.doctor_database import examine_database
from webapp.findings import Finding, advice_on, first_line, warning
from webapp.logs import MASK
from webapp.redis_link import redis_client
from webapp.settings import ANY_HOST, Settings

REDIS_SECONDS = 3.0
PRIVATE_MODE = 0o077
#: Less room than this, and less than the share of the whole, is little.
LITTLE_BYTES = 1024**3
LITTLE_SHARE = 0.05
# Words in the query of a URL whose value is nobody's business.
SECRET_ARGUMENTS = ("password", "secret", "token", "key")
# Words of Redis' own messages and of its client's.
REDIS_ADVICE = (
    ("invalid username-password", "Mend the password in REDIS_URL."),
    ("noauth", "Put its password into REDIS_URL: redis://:PASSWORD@HOST:6379/0."),
    ("authentication required", "Put its password into REDIS_URL: redis://:PASSWORD@HOST:6379/0."),
    ("refused", "Start it, or mend host and port in REDIS_URL."),
    ("name or service", "No such host: mend the one in REDIS_URL, or the name service."),
    ("resolve", "No such host: mend the one in REDIS_URL, or the name service."),
    ("timeout", "Nobody answers there: see to the network between, or mend REDIS_URL."),
    ("loading", "It reads its data: ask again in a while."),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it can be shown to anybody."""

    name: str
    value: str
    doc: str


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


def examine(
    settings: Settings, engine: Engine, environ: Mapping[str, str] | None = None
) -> Iterator[Finding]:
    """Look at folders, room, database, queue and addresses, in turn."""
    yield _instance(settings.instance_dir)
    yield _files(settings, os.environ if environ is None else environ)
    yield _room(settings.instance_dir)
    yield from examine_database(settings, engine, tried=without_secrets(str(engine.url)))
    yield _broker(settings)
    yield _https(settings)
    yield _names(settings)


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
    if not _can_write(folder):
        return Finding("instance folder", f"{folder} cannot be written", "Mend its owner or mode.")
    found = folder.stat()
    if found.st_mode & PRIVATE_MODE:
        return Finding(
            "instance folder",
            f"{folder} can be read by others, and holds secrets",
            f"Run: chmod 700 {folder}",
        )
    if os.geteuid() == 0 != found.st_uid:
        return warning(
            "instance folder",
            f"{folder} is another user's, and this is root, who may write everywhere",
            f"Run flask as that user, the one with the id {found.st_uid}.",
        )
    return Finding("instance folder", str(folder))


def _files(settings: Settings, environ: Mapping[str, str]) -> Finding:
    """Look at the folders that are written to besides; they are made when they are needed."""
    counts = environ.get("PROMETHEUS_MULTIPROC_DIR")
    folders = {
        "REPORTS_DIR": settings.reports_dir,
        "MODELS_DIR": settings.models_dir,
        "PROMETHEUS_MULTIPROC_DIR": (
            Path(counts) if counts else settings.instance_dir / "metrics" / socket.gethostname()
        ),
    }
    faults = [f"{name}: {path}" for name, path in folders.items() if not _can_be_made(path)]
    if faults:
        return Finding(
            "files", f"cannot be written: {'; '.join(faults)}", "Mend their owner or mode."
        )
    return Finding("files", "reports, models and metrics can be written")


def _can_be_made(folder: Path) -> bool:
    """Tell whether a folder can be written, or the first above it that there is."""
    return _can_write(next(path for path in (folder, *folder.parents) if path.exists()))


def _can_write(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK)


def _room(folder: Path) -> Finding:
    room = shutil.disk_usage(folder)
    state = f"{room.free / 1024**3:.1f} GiB free"
    if room.free < min(LITTLE_BYTES, room.total * LITTLE_SHARE):
        return warning("disk", state, f"Make room where {folder} lies.")
    return Finding("disk", state)


def _broker(settings: Settings) -> Finding:
    if settings.queue_backend == "redis":
        return _redis(settings.redis_url)
    if settings.queue_backend == "sqlite":
        state = f"in the file {settings.queue_path}"
        return Finding("queue", state + "; it serves one machine" * settings.is_production)
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
        said = first_line(error)
        advice = advice_on(said, REDIS_ADVICE, otherwise="Start it, or mend REDIS_URL.")
        return Finding(
            "queue",
            f"Redis does not answer: {said}",
            f"{advice} What was tried: {without_secrets(url)}",
        )
    return Finding("queue", f"Redis {version} answers")


def _https(settings: Settings) -> Finding:
    if settings.https and not settings.trusted_hops:
        return Finding(
            "transport",
            "HTTPS is demanded, and no proxy may say that it was used: every request is redirected",
            "Set TRUSTED_PROXIES to the number of proxies in front, mostly 1.",
        )
    if settings.https:
        return Finding("transport", "HTTPS is demanded")
    if settings.is_production:
        return warning(
            "transport",
            "passwords and tokens may come over plain HTTP",
            "Set FORCE_HTTPS=true behind a proxy that ends TLS.",
        )
    return Finding("transport", "HTTPS is not demanded")


def _names(settings: Settings) -> Finding:
    """Look at the names that the console is served under, and that its own links lead to."""
    names = ", ".join(settings.allowed_hosts) or "any name"
    host = (urlsplit(settings.console_url).hostname or "").lower()
    any_name = not settings.allowed_hosts or ANY_HOST in settings.allowed_hosts
    if host and not any_name and host not in settings.allowed_hosts:
        return Finding(
            "addresses",
            f"links in messages lead to {host}, which is answered with 400",
            "Add it to ALLOWED_HOSTS, or mend CONSOLE_URL.",
        )
    if settings.is_production and any_name:
        return warning(
            "addresses",
            "any name is answered, also one that somebody made up",
            "Name those that the console is served under in ALLOWED_HOSTS.",
        )
    if settings.is_production and not host:
        return warning(
            "addresses",
            f"{names}; messages to channels hold no links",
            "Set CONSOLE_URL to where people reach the console.",
        )
    return Finding("addresses", names)
