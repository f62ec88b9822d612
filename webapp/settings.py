"""Every setting of the program, read from the environment and checked all at once.

This module decides what a valid configuration is.  It opens no connection; ``webapp.doctor``
asks whether what is configured can be reached.
"""

import math
import os
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

ENVIRONMENTS = ("development", "test", "production")
QUEUE_BACKENDS = ("sqlite", "redis", "immediate")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
MIN_SECRET_BYTES = 32
WORKER_NAME = re.compile(r"[A-Za-z0-9._-]{0,100}")
#: Stands in ALLOWED_HOSTS for all of them.
ANY_HOST = "*"
#: Stands in CORS_ORIGINS for all of them.
ANY_ORIGIN = "*"

# What of requirements-otel.txt is imported.
_TRACE_MODULES = (
    "opentelemetry.sdk.trace",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    *(
        f"opentelemetry.instrumentation.{name}"
        for name in ("flask", "httpx", "redis", "sqlalchemy")
    ),
)
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_-][a-z0-9_.-]*)(:[0-9]{1,5})?")
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9_-][a-z0-9_.-]*)(:[1-9][0-9]{0,4})?")
_HOST_NAME = re.compile(r"\[[0-9a-f:.]+\]|[a-z0-9_-][a-z0-9_.-]*")
_MOST_PORT = 65_535
_EVEN_CHANCE = 0.5
# At least 24 bytes in base64, and hardly more than 64.
_WEBHOOK_SECRET = re.compile(
    r"whsec_([A-Za-z0-9+/]{4}){8,21}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
)


class SettingsError(Exception):
    """The environment does not make a valid configuration; ``problems`` has a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("Invalid settings:\n" + "\n".join(f"  - {line}" for line in problems))
        self.problems = problems


def _setting(name: str, doc: str, default: Any = None, *, secret: bool = False) -> Any:
    """Declare a field that the environment variable ``name`` sets."""
    return field(default=default, metadata={"name": name, "doc": doc, "secret": secret})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One valid configuration; build it with :meth:`from_environment`."""

    environment: str = _setting(
        "ENVIRONMENT",
        "development, test or production; production demands SECRET_KEY and ALLOWED_HOSTS",
        "development",
    )
    instance_dir: Path = _setting(
        "INSTANCE_DIR",
        "folder of databases, queue file, reports and generated secrets",
        Path("instance"),
    )
    secret_key: str = _setting(
        "SECRET_KEY",
        "signs sessions, 32 bytes or more; outside production one is kept in the instance folder",
        "",
        secret=True,
    )
    database_url: str = _setting(
        "DATABASE_URL",
        "sqlite:///… or postgresql+psycopg://…; default is switchyard.db in the instance folder",
        "",
        secret=True,
    )
    queue_backend: str = _setting(
        "QUEUE_BACKEND",
        "sqlite, redis or immediate; default is redis where REDIS_URL is set",
        "sqlite",
    )
    redis_url: str = _setting(
        "REDIS_URL", "redis://… of the job queue, and of the published tokens", "", secret=True
    )
    log_level: str = _setting("LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR", "INFO")
    otlp_endpoint: str = _setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "collector that traces are sent to over HTTP; needs requirements-otel.txt",
        "",
    )
    flag_environment: str = _setting(
        "FF_ENVIRONMENT",
        "environment that flags are evaluated in where a caller names none",
        "production",
    )
    flag_poll_seconds: float = _setting(
        "FF_POLL_INTERVAL", "seconds between two looks at the flags' revision", 1.0
    )
    flag_cache_ttl: float = _setting(
        "FF_CACHE_TTL", "seconds for which a process trusts its flags without having asked", 60.0
    )
    flag_metrics: bool = _setting(
        "FF_ENABLE_METRICS", "count how often each flag is asked, and what it answers", default=True
    )
    flag_false_alarm_rate: float = _setting(
        "FF_FALSE_ALARM_RATE",
        "most chance with which a guard that compares attempts accuses a harmless flag; below 0.5",
        0.002,
    )
    public_evaluation: bool = _setting(
        "FF_PUBLIC_EVALUATION", "let programs without a token evaluate flags", default=False
    )
    edge_upstream: str = _setting(
        "EDGE_UPSTREAM",
        "console that an edge has its flags from; where there is none, Redis, else the database",
        "",
    )
    edge_token: str = _setting(
        "EDGE_TOKEN", "token that an edge shows to the console at EDGE_UPSTREAM", "", secret=True
    )
    job_modules: tuple[str, ...] = _setting(
        "JOB_MODULES", "comma-separated Python modules that define more job types", ()
    )
    default_job_timeout: float = _setting(
        "DEFAULT_JOB_TIMEOUT", "seconds that a job may run where its type says nothing else", 600.0
    )
    job_lease_seconds: float = _setting(
        "JOB_LEASE_SECONDS", "seconds after which a job whose worker fell silent is put back", 30.0
    )
    job_heartbeat_seconds: float = _setting(
        "JOB_HEARTBEAT_SECONDS", "seconds between two signs of life of a worker", 10.0
    )
    job_max_losses: int = _setting(
        "JOB_MAX_LOSSES", "times that a job may lose its worker before it is a dead letter", 5
    )
    retry_max_attempts: int = _setting(
        "RETRY_MAX_ATTEMPTS", "attempts of a call whose retry says nothing else, the first too", 3
    )
    retry_wait_min: float = _setting("RETRY_WAIT_MIN", "seconds before the second attempt", 1.0)
    retry_wait_max: float = _setting("RETRY_WAIT_MAX", "most seconds between two attempts", 10.0)
    callback_secret: str = _setting(
        "CALLBACK_SECRET",
        "signs callbacks: whsec_ and 24 to 64 bytes in base64; default follows from SECRET_KEY",
        "",
        secret=True,
    )
    outbound_allow_hosts: tuple[str, ...] = _setting(
        "OUTBOUND_ALLOW_HOSTS",
        "comma-separated hosts, host or host:port, that may be called at any address",
        (),
    )
    job_retention_days: int = _setting(
        "JOB_RETENTION_DAYS", "days after its end for which cleanup keeps a job", 30
    )
    dead_letter_retention_days: int = _setting(
        "DEAD_LETTER_RETENTION_DAYS",
        "days after its resolution for which cleanup keeps a dead letter",
        90,
    )
    flag_usage_retention_days: int = _setting(
        "FF_USAGE_RETENTION_DAYS", "days for which cleanup keeps the usage of flags by hour", 400
    )
    alert_retention_days: int = _setting(
        "ALERT_RETENTION_DAYS", "days for which cleanup keeps alerts that have ended", 180
    )
    breaker_retention_days: int = _setting(
        "BREAKER_RETENTION_DAYS",
        "days for which cleanup keeps the history of breakers and unused ones",
        90,
    )
    reports_dir: Path = _setting(
        "REPORTS_DIR", "folder of report files, relative to the instance folder", Path("reports")
    )
    report_retention_days: int = _setting(
        "REPORT_RETENTION_DAYS", "days for which cleanup keeps a report", 90
    )
    models_dir: Path = _setting(
        "MODELS_DIR", "folder of model files, relative to the instance folder", Path("models")
    )
    console_url: str = _setting(
        "CONSOLE_URL", "address at which people reach the console, for links in messages", ""
    )
    api_rate_limit_calls: int = _setting(
        "ETL_RATE_LIMIT_CALLS",
        "calls of a source of the kind api that says nothing else, in ETL_RATE_LIMIT_PERIOD",
        100,
    )
    api_rate_limit_period: int = _setting(
        "ETL_RATE_LIMIT_PERIOD", "seconds that ETL_RATE_LIMIT_CALLS counts for", 60
    )
    max_rejected_percent: float = _setting(
        "ETL_MAX_REJECTED_PERCENT", "percentage of rejected rows over which a run fails", 10.0
    )
    drift_confidence: float = _setting(
        "DRIFT_RENAME_CONFIDENCE",
        "how sure a renamed field of a source must be to be followed without asking; up to 1",
        0.8,
    )
    failure_injection: bool = _setting(
        "ENABLE_FAILURE_INJECTION",
        "let runs of sources fail on purpose, as a rehearsal; refused in production",
        default=False,
    )
    worker_queues: tuple[str, ...] = _setting(
        "WORKER_QUEUES", "comma-separated queues that a worker takes jobs from; all without it", ()
    )
    worker_name: str = _setting(
        "WORKER_NAME", "begins the name of a worker, in place of its host's", ""
    )
    worker_burst: bool = _setting(
        "WORKER_BURST", "a worker ends once nothing is due", default=False
    )
    worker_scheduler: bool = _setting(
        "WORKER_SCHEDULER",
        "a worker fires schedules, rescues lost jobs and keeps figures besides its own jobs",
        default=True,
    )
    metrics_public: bool = _setting(
        "METRICS_PUBLIC", "let other machines read /metrics without a token", default=False
    )
    metrics_port: int = _setting(
        "METRICS_PORT", "port on which a worker serves the metrics of its host; 0 for none", 0
    )
    idempotency_enabled: bool = _setting(
        "IDEMPOTENCY_ENABLED", "carry out once what comes again under its key", default=True
    )
    idempotency_header: str = _setting(
        "IDEMPOTENCY_HEADER", "name of the header that holds an idempotency key", "Idempotency-Key"
    )
    idempotency_ttl: float = _setting(
        "IDEMPOTENCY_TTL", "seconds for which the answer to a key is kept", 172800.0
    )
    idempotency_required: bool = _setting(
        "IDEMPOTENCY_REQUIRED", "refuse to make anything without a key", default=False
    )
    request_limits: bool = _setting(
        "REQUEST_LIMITS", "limit how many requests a minute one may send", default=True
    )
    request_limit_reads: int = _setting(
        "REQUEST_LIMIT_READS", "reads of the JSON API, per minute and token or address; 0: any", 300
    )
    request_limit_writes: int = _setting(
        "REQUEST_LIMIT_WRITES", "writes of the JSON API, likewise", 60
    )
    request_limit_sign_in: int = _setting(
        "REQUEST_LIMIT_SIGN_IN", "tries to sign in, per minute and address; 0: any", 10
    )
    request_limit_pages: int = _setting(
        "REQUEST_LIMIT_PAGES", "pages and their live parts, per minute and person; 0: any", 3000
    )
    request_limit_evaluations: int = _setting(
        "REQUEST_LIMIT_EVALUATIONS", "evaluations, per minute, token and process; 0: any", 600_000
    )
    session_idle_seconds: float = _setting(
        "SESSION_IDLE_SECONDS", "seconds of idleness after which a person is signed out", 43200.0
    )
    https: bool = _setting(
        "FORCE_HTTPS",
        "answer over HTTPS only: plain HTTP is redirected, cookies are Secure",
        default=False,
    )
    https_strict: bool = _setting(
        "HTTPS_STRICT", "refuse plain HTTP instead of redirecting it", default=False
    )
    https_port: int = _setting("HTTPS_PORT", "port that plain HTTP is redirected to", 443)
    allowed_hosts: tuple[str, ...] = _setting(
        "ALLOWED_HOSTS",
        "comma-separated names that the console is served under; * is any, production demands it",
        (),
    )
    demo: bool = _setting(
        "DEMO", "serve data to try sources with under /demo, to everybody", default=False
    )
    cors_origins: tuple[str, ...] = _setting(
        "CORS_ORIGINS",
        "comma-separated origins whose pages may use the JSON API; * is any",
        (),
    )
    trusted_hops: int = _setting(
        "TRUSTED_PROXIES", "number of proxies in front whose X-Forwarded-* headers count", 0
    )

    @property
    def is_production(self) -> bool:
        """Tell whether this is the production set-up."""
        return self.environment == "production"

    @property
    def has_workers(self) -> bool:
        """Tell whether workers run jobs, and not whoever enqueues them."""
        return self.queue_backend != "immediate"

    @property
    def queue_path(self) -> Path:
        """The file of the embedded queue."""
        return self.instance_dir / "queue.db"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read and check every setting; :class:`SettingsError` names all that is wrong."""
        source = os.environ if environ is None else environ
        problems: list[str] = []
        values: dict[str, Any] = {}
        for spec in fields(cls):
            raw = source.get(spec.metadata["name"], "").strip()
            if raw:
                values[spec.name] = _parse(spec.metadata["name"], raw, spec.default, problems)
        candidate = cls(**{name: value for name, value in values.items() if value is not None})
        problems += _complaints(candidate)
        if problems:
            raise SettingsError(problems)
        return candidate._completed(source)

    def _completed(self, source: Mapping[str, str]) -> Self:
        """Fill in what follows from other settings: paths, the database, backend and secret."""
        instance_dir = self.instance_dir.absolute()
        instance_dir.mkdir(parents=True, exist_ok=True)
        database_url = self.database_url or f"sqlite:///{instance_dir / 'switchyard.db'}"
        backend = self.queue_backend
        if not source.get("QUEUE_BACKEND", "").strip() and self.redis_url:
            backend = "redis"
        if source.get("REDIS_QUEUE_ENABLED", "").strip().lower() in {"false", "0", "no", "off"}:
            backend = "immediate"
        values = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        values |= {
            "instance_dir": instance_dir,
            "reports_dir": instance_dir / self.reports_dir,
            "models_dir": instance_dir / self.models_dir,
            "console_url": self.console_url.rstrip("/"),
            "database_url": database_url,
            "queue_backend": backend,
            "secret_key": self.secret_key or _kept_secret(instance_dir / "secret_key"),
            "allowed_hosts": tuple(host.lower() for host in self.allowed_hosts),
            "outbound_allow_hosts": tuple(host.lower() for host in self.outbound_allow_hosts),
        }
        return type(self)(**values)


def _parse(name: str, raw: str, default: Any, problems: list[str]) -> Any:
    """Turn the text of one variable into the type of its default, or note what is wrong."""
    try:
        return _PARSERS[type(default)](raw)
    except ValueError as error:
        problems.append(f"{name}: {error}")
        return None


def _boolean(raw: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    if raw.lower() not in words:
        message = f"{raw!r} is neither true nor false"
        raise ValueError(message)
    return words[raw.lower()]


def _number(raw: str) -> float:
    try:
        return float(raw)
    except ValueError:
        message = f"{raw!r} is not a number"
        raise ValueError(message) from None


def _integer(raw: str) -> int:
    try:
        return int(raw)
    except ValueError:
        message = f"{raw!r} is not a whole number"
        raise ValueError(message) from None


def _names(raw: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in raw.split(",") if part.strip())


_PARSERS: dict[type, Callable[[str], Any]] = {
    bool: _boolean,
    float: _number,
    int: _integer,
    tuple: _names,
    str: str,
    type(Path()): Path,
}


def _complaints(settings: Settings) -> list[str]:
    """Every rule that a configuration as a whole breaks, one line each."""
    return [
        *_word_complaints(settings),
        *_number_complaints(settings),
        *_shape_complaints(settings),
        *_pair_complaints(settings),
        *_source_complaints(settings),
        *_https_complaints(settings),
        *_cors_complaints(settings.cors_origins),
        *_database_complaints(settings.database_url),
        *_secret_complaints(settings),
        *_callback_complaints(settings.callback_secret),
        *_trace_complaints(settings.otlp_endpoint),
    ]


def _word_complaints(settings: Settings) -> list[str]:
    """What is one of a few words, and is none of them."""
    return [
        f"{name}: {value!r} is not one of {', '.join(allowed)}"
        for name, value, allowed in (
            ("ENVIRONMENT", settings.environment, ENVIRONMENTS),
            ("QUEUE_BACKEND", settings.queue_backend, QUEUE_BACKENDS),
            ("LOG_LEVEL", settings.log_level, LOG_LEVELS),
        )
        if value not in allowed
    ]


def _number_complaints(settings: Settings) -> list[str]:
    """Numbers out of their range: that of their type first, which the default tells."""
    problems = [
        f"{spec.metadata['name']}: must be a number above 0"
        for spec in fields(settings)
        if isinstance(spec.default, float) and not 0 < getattr(settings, spec.name) < math.inf
    ]
    problems += [
        f"{spec.metadata['name']}: must be 0 or more"
        for spec in fields(settings)
        if type(spec.default) is int and getattr(settings, spec.name) < 0
    ]
    problems += [
        f"{spec.metadata['name']}: must be at least 1 day"
        for spec in fields(settings)
        if spec.name.endswith("_retention_days") and getattr(settings, spec.name) == 0
    ]
    problems += [
        f"{name}: must be from 1 to {most}"
        for name, value, most in (
            ("ETL_RATE_LIMIT_CALLS", settings.api_rate_limit_calls, 10_000),
            ("ETL_RATE_LIMIT_PERIOD", settings.api_rate_limit_period, 86_400),
            # 0, which is none, is an answer of its own.
            ("METRICS_PORT", settings.metrics_port or 1, 65_535),
        )
        if not 1 <= value <= most
    ]
    if settings.retry_max_attempts == 0:
        problems.append("RETRY_MAX_ATTEMPTS: must be at least 1")
    return problems


def _shape_complaints(settings: Settings) -> list[str]:
    """Texts that are not written as what they are to be."""
    problems = []
    if not WORKER_NAME.fullmatch(settings.worker_name):
        problems.append("WORKER_NAME: up to 100 letters, digits, dots, dashes and underscores")
    if not _HEADER_NAME.fullmatch(settings.idempotency_header):
        problems.append("IDEMPOTENCY_HEADER: a letter, then letters, digits and dashes")
    problems += [
        f"{name}: is an address such as {example}"
        for name, value, example in (
            ("EDGE_UPSTREAM", settings.edge_upstream, "https://console.internal"),
            ("CONSOLE_URL", settings.console_url, "https://console.example.com"),
        )
        if value and not value.startswith(("http://", "https://"))
    ]
    problems += [
        f"OUTBOUND_ALLOW_HOSTS: {host!r} is not a host such as hooks.internal or 10.0.0.7:8080"
        for host in settings.outbound_allow_hosts
        if not _HOST.fullmatch(host.lower())
    ]
    return problems


def _pair_complaints(settings: Settings) -> list[str]:
    """Settings that do not go together."""
    rules = (
        (
            settings.job_lease_seconds < 2 * settings.job_heartbeat_seconds,
            "JOB_LEASE_SECONDS: must be at least twice JOB_HEARTBEAT_SECONDS",
        ),
        (
            settings.retry_wait_max < settings.retry_wait_min,
            "RETRY_WAIT_MAX: must be at least RETRY_WAIT_MIN",
        ),
        (
            settings.queue_backend == "redis" and not settings.redis_url,
            "REDIS_URL: is needed where QUEUE_BACKEND is redis",
        ),
        (
            bool(settings.edge_upstream) and not settings.edge_token,
            "EDGE_TOKEN: is needed where EDGE_UPSTREAM is set",
        ),
    )
    return [complaint for broken, complaint in rules if broken]


def _source_complaints(settings: Settings) -> list[str]:
    problems = []
    if settings.drift_confidence > 1:
        problems.append("DRIFT_RENAME_CONFIDENCE: must be at most 1")
    if settings.flag_false_alarm_rate >= _EVEN_CHANCE:
        problems.append("FF_FALSE_ALARM_RATE: must be below 0.5")
    if settings.failure_injection and settings.is_production:
        problems.append("ENABLE_FAILURE_INJECTION: is refused where ENVIRONMENT is production")
    return problems


def _https_complaints(settings: Settings) -> list[str]:
    problems = [
        f"ALLOWED_HOSTS: {host!r} is not a name such as console.example, without a port"
        for host in settings.allowed_hosts
        if host != ANY_HOST and not _HOST_NAME.fullmatch(host.lower())
    ]
    if settings.is_production and not settings.allowed_hosts:
        problems.append("ALLOWED_HOSTS: is needed where ENVIRONMENT is production; * is any host")
    if settings.https_strict and not settings.https:
        problems.append("HTTPS_STRICT: says nothing unless FORCE_HTTPS is true")
    if not 0 < settings.https_port <= _MOST_PORT:
        problems.append(f"HTTPS_PORT: must be a port from 1 to {_MOST_PORT}")
    return problems


def _cors_complaints(origins: tuple[str, ...]) -> list[str]:
    return [
        f"CORS_ORIGINS: {origin!r} is not an origin as browsers send it, such as"
        " https://app.example or http://localhost:3000"
        for origin in origins
        if origin != ANY_ORIGIN and not _ORIGIN.fullmatch(origin)
    ]


def _database_complaints(url: str) -> list[str]:
    if not url:
        return []
    try:
        driver = make_url(url).drivername
    except ArgumentError:
        return ["DATABASE_URL: is not a database URL such as postgresql+psycopg://user@host/name"]
    if driver not in {"sqlite", "postgresql+psycopg"}:
        return [f"DATABASE_URL: {driver} is not supported; use sqlite or postgresql+psycopg"]
    return []


def _secret_complaints(settings: Settings) -> list[str]:
    size = len(settings.secret_key.encode())
    if settings.is_production and not size:
        return ["SECRET_KEY: is needed where ENVIRONMENT is production"]
    if size and size < MIN_SECRET_BYTES:
        return [f"SECRET_KEY: must be at least {MIN_SECRET_BYTES} bytes, is {size}"]
    return []


def _callback_complaints(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")] if text else []
    if all(_WEBHOOK_SECRET.fullmatch(part) for part in parts):
        return []
    return ["CALLBACK_SECRET: must be whsec_ and 24 to 64 bytes in base64"]


def _trace_complaints(endpoint: str) -> list[str]:
    name = "OTEL_EXPORTER_OTLP_ENDPOINT"
    if not endpoint:
        return []
    if not endpoint.startswith(("http://", "https://")):
        return [f"{name}: is an address such as http://localhost:4318"]
    if not all(_is_installed(module) for module in _TRACE_MODULES):
        return [f"{name}: needs pip install --require-hashes --no-deps -r requirements-otel.txt"]
    return []


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _kept_secret(path: Path) -> str:
    """Read the instance's own secret, made once with mode 0600 where there is none.

    Two processes may start at once: the file is linked into place whole, so that one of them wins
    and nobody reads half a secret.
    """
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()
