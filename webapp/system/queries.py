"""Reads the facts of this installation: versions, sizes, what is set and where that comes from.

Asks the database, the queue's broker and the process itself; no secret is told.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from sqlalchemy import Integer, func, select, text

import webapp
from webapp.db import DbSession
from webapp.doctor import Setting, describe_settings, examine, without_secrets
from webapp.findings import Finding
from webapp.flags.snapshot import FlagStore, SnapshotStatus
from webapp.settings import Settings

PACKAGES: Final = (
    "Flask",
    "SQLAlchemy",
    "huey",
    "gunicorn",
    "pydantic",
    "psycopg",
    "redis",
    "PyJWT",
)


class Origin(StrEnum):
    """Where the value of a setting comes from; derived ones follow from others."""

    ENVIRONMENT = "environment"
    DEFAULT = "default"
    DERIVED = "derived"


@dataclass(frozen=True, slots=True)
class SettingFact:
    """One setting in force; ``setting`` is masked where it is secret."""

    setting: Setting
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFacts:
    """What there is to know of one process and what it works with; sizes in bytes."""

    version: str
    environment: str
    python: str
    packages: Mapping[str, str]
    database: str
    database_url: str
    database_bytes: int | None
    queue_backend: str
    started_at: datetime
    flags: SnapshotStatus
    findings: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        """Tell whether nothing is to be done."""
        return all(finding.good for finding in self.findings)


def system_facts(
    session: DbSession, settings: Settings, store: FlagStore, *, started_at: datetime
) -> SystemFacts:
    """Return the facts of this process, and what a look at what it needs has found."""
    engine = session.get_bind().engine
    return SystemFacts(
        version=webapp.__version__,
        environment=settings.environment,
        python=platform.python_version(),
        packages=package_versions(),
        database=engine.dialect.name,
        database_url=without_secrets(settings.database_url),
        database_bytes=database_bytes(session),
        queue_backend=settings.queue_backend,
        started_at=started_at,
        flags=store.status(),
        findings=tuple(examine(settings, engine)),
    )


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that matter most; one that is absent is left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def database_bytes(session: DbSession) -> int | None:
    """Return how large the database is, its indexes included."""
    if session.get_bind().dialect.name == "sqlite":
        pages = session.scalar(text("SELECT page_count FROM pragma_page_count"))
        size = session.scalar(text("SELECT page_size FROM pragma_page_size"))
        return int(pages or 0) * int(size or 0)
    return session.scalar(select(func.pg_database_size(func.current_database(), type_=Integer)))


def settings_in_force(settings: Settings, environ: Mapping[str, str]) -> list[SettingFact]:
    """Return every setting, secrets masked, with where its value comes from."""
    described = {setting.name: setting for setting in describe_settings(settings)}
    facts = []
    for spec in fields(settings):
        name = spec.metadata["name"]
        origin = Origin.DEFAULT
        if environ.get(name, "").strip():
            origin = Origin.ENVIRONMENT
        elif getattr(settings, spec.name) != spec.default:
            origin = Origin.DERIVED
        facts.append(SettingFact(described[name], origin))
    return facts
