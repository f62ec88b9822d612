"""The port to traces: what the program says of its own work, and where it is in a trace.

Nobody listens until ``webapp.telemetry.tracing`` provides somebody; until then all of it does
nothing, and nothing is imported for it.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

Value = str | int | float | bool


class Kind(StrEnum):
    """What a piece of work is to the trace that it stands in."""

    #: It hands work to somebody who does it later.
    PRODUCER = "producer"
    #: It does work that was handed over.
    CONSUMER = "consumer"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which trace something was done, in hexadecimal digits as W3C writes them."""

    trace_id: str
    span_id: str


class Tracer(Protocol):
    """What makes spans."""

    def place(self) -> Place | None:
        """Return the span that is open here, None where there is none or it is not recorded."""

    def span(
        self, name: str, kind: Kind, parent: Place | None, facts: Mapping[str, Value]
    ) -> AbstractContextManager[object]:
        """Open a span: below ``parent``, or else below the one that is open here."""

    def note(self, facts: Mapping[str, Value]) -> None:
        """Add facts to the span that is open here."""

    def fail(self, kind: str) -> None:
        """Mark the span that is open here as failed, by a kind of error."""


class _Port:
    tracer: Tracer | None = None


_port = _Port()


def provide_tracer(tracer: Tracer | None) -> None:
    """Set what makes the spans of this process."""
    _port.tracer = tracer


def place() -> Place | None:
    """Return where in a trace this is done, None where none is recorded."""
    return _port.tracer.place() if _port.tracer is not None else None


def is_traced() -> bool:
    """Tell whether this process makes spans."""
    return _port.tracer is not None


def span(
    name: str, *, kind: Kind, parent: Place | None = None, facts: Mapping[str, Value]
) -> AbstractContextManager[object]:
    """Open a span around what is done inside; facts hold nothing that somebody typed."""
    if _port.tracer is None:
        return nullcontext()
    return _port.tracer.span(name, kind, parent, facts)


def note(facts: Mapping[str, Value]) -> None:
    """Add facts to the span that is open here."""
    if _port.tracer is not None:
        _port.tracer.note(facts)


def fail(kind: str) -> None:
    """Mark the span that is open here as failed; what the error says may be secret."""
    if _port.tracer is not None:
        _port.tracer.fail(kind)
