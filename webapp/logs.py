"""Structured logs: one JSON object a line, readable colours on a terminal, secrets masked."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import click
import structlog

_SECRET_KEY = re.compile(r"password|secret|token|authorization|cookie|api_key", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"(?i)(bearer\s+|://[^:/\s]+:)[^@\s\"']+")
MASK = "[masked]"


def mask_secrets(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace the value of every field whose name speaks of a secret, and passwords in URLs."""
    del logger, method
    for key, value in event.items():
        if _SECRET_KEY.search(key):
            event[key] = MASK
        elif isinstance(value, str):
            event[key] = mask_text(value)
    return event


def mask_text(text: str) -> str:
    """Replace bearer tokens and the passwords of URLs in a text."""
    return _SECRET_TEXT.sub(rf"\g<1>{MASK}", text)


def configure_logs(level: str) -> None:
    """Send structlog's and the standard library's records through one chain to stdout.

    A command's standard output belongs to what it prints, so its log goes to standard error.
    """
    stream = sys.stderr if click.get_current_context(silent=True) else sys.stdout
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    on_terminal = stream.isatty()
    last: list[Any] = (
        [mask_secrets, structlog.dev.ConsoleRenderer()]
        if on_terminal
        else [
            structlog.processors.format_exc_info,
            mask_secrets,
            structlog.processors.JSONRenderer(),
        ]
    )
    if not structlog.is_configured():
        # Once: loggers keep the chain that they were first used with.
        structlog.configure(
            processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
            cache_logger_on_first_use=True,
        )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # These tell at INFO what the ledger tells better.
    for noisy in ("huey", "httpx", "backoff", "alembic.runtime.migration"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of one module."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
