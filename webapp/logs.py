"""Structured logs: one JSON object a line, readable colours on a terminal, secrets masked."""

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any

import click
import orjson
import structlog

_SECRET_KEY = re.compile(
    r"passw|pwd|secret|token|authorization|cookie|api[-_]?key|private[-_]?key|credential",
    re.IGNORECASE,
)
# A bearer token, or the password between a URL's colon and its @.
_SECRET_TEXT = re.compile(r"(bearer\s+)[^\s\"',]+|(://[^:/@\s]*:)[^/\s\"']+(?=@)", re.IGNORECASE)
MASK = "[masked]"


def mask_secrets(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace the value of every field whose name speaks of a secret, and passwords in URLs."""
    del logger, method
    for key, value in event.items():
        event[key] = MASK if _speaks_of_secret(key) else masked(value)
    return event


@lru_cache(maxsize=4096)
def _speaks_of_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def masked(value: Any) -> Any:
    """Return a copy of a value in which whatever a name or a URL calls secret is masked."""
    if isinstance(value, str):
        return mask_text(value)
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return dict(mask_secrets(None, "", {str(key): item for key, item in value.items()}))
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return value


def mask_text(text: str) -> str:
    """Replace bearer tokens and the passwords of URLs in a text."""
    return _SECRET_TEXT.sub(lambda found: (found[1] or found[2]) + MASK, text)


def configure_logs(level: str) -> None:
    """Send structlog's and the standard library's records through one chain to stdout.

    A command's standard output belongs to what it prints, so its log goes to standard error.
    """
    stream = sys.stderr if click.get_current_context(silent=True) else sys.stdout
    # What every record gets, ours and those of others.
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if not structlog.is_configured():
        # Once: loggers keep the chain that they were first used with.
        _configure_ours(shared)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(on_terminal=stream.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # These tell at INFO what the ledger tells better.
    for noisy in ("huey", "httpx", "backoff", "alembic.runtime.migration"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def _configure_ours(shared: list[Any]) -> None:
    structlog.configure(
        # What nobody wants to read is not put together first.
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _rendering(*, on_terminal: bool) -> list[Any]:
    """Return what makes a line of a record; secrets are masked last, in tracebacks too."""
    if on_terminal:
        return [mask_secrets, structlog.dev.ConsoleRenderer()]
    return [
        structlog.processors.format_exc_info,
        mask_secrets,
        structlog.processors.JSONRenderer(_as_json),
    ]


def _as_json(event: Mapping[str, Any], default: Callable[[Any], Any]) -> str:
    """Write a line; a number beyond 64 bits is beyond orjson too, and takes the slow way."""
    try:
        return orjson.dumps(event, default=default, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:
        return json.dumps(event, default=default)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of one module."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
