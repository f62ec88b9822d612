"""Structured logs: one JSON object a line, readable colours on a terminal, secrets masked."""

import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, Final

import click
import orjson
import structlog

from webapp import traces

_TELLING_NAME: Final = (
    r"(?:passw|pwd|secret|token|authorization|cookie|api[-_]?key|private[-_]?key|credential)"
)
_SECRET_KEY = re.compile(_TELLING_NAME, re.IGNORECASE)
# Each group is what stays before a secret.
_SECRET_TEXT = re.compile(
    "|".join(
        (
            # A bearer token, and whatever a header of that name holds.
            r"(bearer\s+)[^\s\"',]+",
            r"(authorization:\s*(?!bearer\b)(?:\w+\s+)?)[^\s\"',]+",
            r"(cookie:[^\S\r\n]*+)(?!\[masked])[^\r\n\"']+",
            # The password between a URL's colon and its @.
            r"(://[^:/@\s]*:)[^/\s\"']+(?=@)",
            # What stands in quotes after such a name, as in JSON and in Python; no escaped quote.
            rf"({_TELLING_NAME}[\w.-]*(?:\\?[\"'])?\s*[:=]\s*\\?[\"'])[^\"'\\]+(?=\\?[\"'])",
            # What follows such a name and a sign of equality, as in the query of a URL.
            rf"({_TELLING_NAME}[\w.-]*=)(?!\[masked])[^\s&\"',;)}}\]]+",
        )
    ),
    re.IGNORECASE,
)
# In small letters; a text without any of them holds nothing that can be found.
_SIGNS: Final = (
    "passw",
    "pwd",
    "secret",
    "token",
    "authorization",
    "cookie",
    "key",
    "credential",
    "bearer",
    "://",
)
MASK = "[masked]"
# They are started as commands are, and are none.
_SERVERS: Final = frozenset({"granian"})
_log = structlog.stdlib.get_logger(__name__)


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
    """Replace what a text itself calls secret: tokens, passwords, values of such names."""
    lowered = text.lower()
    # Said of every value of every line: a generator would take three times as long.
    for sign in _SIGNS:
        if sign in lowered:
            return _SECRET_TEXT.sub(lambda found: str(found[found.lastindex or 0]) + MASK, text)
    return text


def configure_logs(level: str) -> None:
    """Send structlog's and the standard library's records through one chain to stdout.

    A command's standard output belongs to what it prints, so its log goes to standard error.
    Warnings and, but for commands, errors that nobody caught are records too.
    """
    stream = sys.stderr if is_command() else sys.stdout
    if not structlog.is_configured():
        # Once: loggers keep the chain that they were first used with.
        _configure_ours()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(line_formatter(on_terminal=stream.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # These tell at INFO what the ledger tells better, or what nobody asked for.
    for noisy in ("huey", "httpx", "backoff", "alembic", "urllib3"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)
    if not is_command():
        _log_uncaught()


def line_formatter(*, on_terminal: bool = False) -> logging.Formatter:
    """Return what writes records as lines; a server that sets its own logs up names it."""
    return _LineFormatter(_rendering(on_terminal=on_terminal))


class _LineFormatter(structlog.stdlib.ProcessorFormatter):
    """Writes our own events without the copy of the record that those of others need."""

    def __init__(self, rendering: Sequence[Any]) -> None:
        meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
        super().__init__(foreign_pre_chain=_shared(), processors=[meta, *rendering])
        self._rendering = rendering

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        # What structlog hands on bears its name; the message of somebody else may be a dict too.
        if not (isinstance(record.msg, dict) and hasattr(record, "_name")):
            return super().format(record)
        line: Any = record.msg.copy()
        for step in self._rendering:
            line = step(None, record.levelname.lower(), line)
        return str(line)


def is_command() -> bool:
    """Tell whether somebody runs a command and reads what it prints."""
    context = click.get_current_context(silent=True)
    return context is not None and context.find_root().info_name not in _SERVERS


def _log_uncaught() -> None:
    """Log errors that nobody caught, unless somebody else has taken care of them."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _tell_of_end
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _tell_of_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _tell_of_unraisable


def _tell_of_end(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
    else:
        _log.critical("process_failed", exc_info=(kind, error, traceback))


def _tell_of_thread(what: threading.ExceptHookArgs) -> None:
    if what.exc_value is not None and not isinstance(what.exc_value, SystemExit):
        name = what.thread.name if what.thread else None
        _log.error("thread_failed", thread=name, exc_info=what.exc_value)


def _tell_of_unraisable(what: "sys.UnraisableHookArgs") -> None:
    _log.error("error_ignored", where=repr(what.object), exc_info=what.exc_value)


def add_trace(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Say where in a trace this is logged."""
    del logger, method
    if (place := traces.place()) is not None:
        event["trace_id"], event["span_id"] = place.trace_id, place.span_id
    return event


def _shared() -> list[Any]:
    """Return what every record gets, ours and those of others."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        add_trace,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _configure_ours() -> None:
    structlog.configure(
        # What nobody wants to read is not put together first.
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
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
