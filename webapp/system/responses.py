"""What the JSON API of the system answers with, by type."""

from datetime import datetime

from webapp.findings import Grade
from webapp.system.queries import Origin
from webapp.web.openapi import Answer


class SystemDatabaseResponse(Answer):
    """The database: its size includes its indexes."""

    kind: str
    url: str
    bytes: int | None


class SystemFlagsResponse(Answer):
    """How fresh the flags of the answering process are."""

    loaded: bool
    revision: int
    age_seconds: float | None
    stale: bool


class SystemCheckResponse(Answer):
    """What was looked at, and what to do about it where it is not good."""

    about: str
    state: str
    good: bool
    grade: Grade
    advice: str | None


class SystemSettingResponse(Answer):
    """One setting in force; secrets are masked."""

    name: str
    value: str
    origin: Origin
    meaning: str


class SystemResponse(Answer):
    """What there is to know of an installation."""

    version: str
    environment: str
    python: str
    packages: dict[str, str]
    database: SystemDatabaseResponse
    queue_backend: str
    started_at: datetime
    uptime_seconds: float
    flags: SystemFlagsResponse
    checks: list[SystemCheckResponse]
    settings: list[SystemSettingResponse]
