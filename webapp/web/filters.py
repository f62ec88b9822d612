"""How times, numbers and tracebacks read on a page.

Decides the wording of every format that the templates use. It must not know the clock, the
request or the database: "now" is an argument, and only ``register_filters`` binds it to the clock.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from flask import Flask
from markupsafe import Markup

from webapp import clock
from webapp.formats import NOTHING, bytes_, duration, number, percent, plain, utc
from webapp.moments import rfc3339
from webapp.reasons import MAX_REASON
from webapp.tracebacks import is_foreign

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_MONTH: Final = 30 * _DAY
_YEAR: Final = 365 * _DAY

# (below this many seconds, divided by, unit); the relative form names one unit only.
_AGES: Final = (
    (_HOUR, _MINUTE, "min"),
    (_DAY, _HOUR, "h"),
    (_MONTH, _DAY, "d"),
    (_YEAR, _MONTH, "mo"),
    (float("inf"), _YEAR, "y"),
)
# Seconds go in steps, so that a polled list does not differ from itself at every look.
_SECONDS_STEP: Final = 10

LineKind = Literal["own", "foreign", "plain", "error"]


@dataclass(frozen=True, slots=True)
class TracebackLine:
    """One line of a traceback: its text and whose frame it belongs to."""

    text: str
    kind: LineKind


def ago(when: datetime | None, now: datetime) -> Markup | str:
    """Say how far ``when`` lies from ``now``, with the exact UTC time on hover.

    Both must be aware. The text is written anew in the browser by ``static/js/times.js``, which
    follows ``relative`` word for word.
    """
    if when is None:
        return NOTHING
    stamp = rfc3339(when, timespec="seconds")
    told = relative((now - when).total_seconds())
    # Nothing here needs escaping, and a list holds a hundred of them.
    return Markup(  # noqa: S704  # nosec B704
        f'<time datetime="{stamp}" title="{utc(when)}" data-ago>{told}</time>'
    )


def relative(age: float) -> str:
    """Word an age in seconds: "3 min ago", or "in 3 min" where it is negative, so ahead."""
    seconds = int(abs(age))
    if seconds < _SECONDS_STEP:
        return "just now" if age >= 0 else "in a moment"
    span = _span(seconds)
    return f"{span} ago" if age >= 0 else f"in {span}"


def _span(seconds: int) -> str:
    if seconds < _MINUTE:
        return f"{seconds // _SECONDS_STEP * _SECONDS_STEP} s"
    divisor, unit = next((by, unit) for below, by, unit in _AGES if seconds < below)
    return f"{seconds // divisor} {unit}"


def traceback_lines(text: str | None) -> Iterator[TracebackLine]:
    """Tell the program's own frames from those of libraries, line by line."""
    kind: LineKind = "plain"
    for line in (text or "").rstrip("\n").split("\n"):
        kind = _line_kind(line, kind)
        yield TracebackLine(line, kind)


def _line_kind(line: str, before: LineKind) -> LineKind:
    stripped = line.lstrip(" |+-")
    if stripped.startswith('File "'):
        return "foreign" if is_foreign(line) else "own"
    if before in {"own", "foreign"} and line.startswith("    "):
        return before
    if line and not line.startswith((" ", "Traceback ", "During handling", "The above exception")):
        return "error"
    return "plain"


def register_filters(app: Flask) -> None:
    """Give the templates their formats, the clock bound where one needs it, and one limit."""
    formats: dict[str, Callable[..., object]] = {
        "ago": lambda when: ago(when, clock.now()),
        "utc": utc,
        "number": number,
        "percent": percent,
        "duration": duration,
        "bytes": bytes_,
        "plain": plain,
        "traceback_lines": traceback_lines,
    }
    for name, function in formats.items():
        app.add_template_filter(function, name)
    app.jinja_env.globals["max_reason"] = MAX_REASON
