"""The only module that knows OpenTelemetry: makes spans, cleans them and sends them in batches.

What is sent, how often and how much of it, is for the ``OTEL_*`` variables of the SDK to say.
Requests, SQL, Redis and outbound HTTP are told by OpenTelemetry's own instrumentation; what it
tells may hold secrets, so that each span is cleaned before it is sent.
"""

import atexit
import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from multiprocessing.util import Finalize
from pathlib import PurePath
from typing import Any, Final

from flask import Flask
from opentelemetry import context as contexts
from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from webapp import __version__, traces
from webapp.db import db
from webapp.logs import get_logger, masked

log = get_logger(__name__)

#: Asked every few seconds by machines, and of no interest to anybody.
EXCLUDED: Final = r"/health(\?|$),/ready(\?|$),/metrics(\?|$),/static/"
#: For so long a process that ends waits for a collector that does not answer.
FAREWELL_SECONDS: Final = 2.0

_OPT_IN: Final = "OTEL_SEMCONV_STABILITY_OPT_IN"
_EXCLUDING: Final = ("OTEL_PYTHON_FLASK_EXCLUDED_URLS", "OTEL_PYTHON_EXCLUDED_URLS")
# By the stable names, and by those of before, which the variable above can ask for.
_QUERIES: Final = frozenset({"url.query", "http.target"})
_ADDRESSES: Final = frozenset({"url.full", "http.url"})
# SQLAlchemy's instrumentation tells of each connection that is taken out of the pool.
_FROM_POOL: Final = "connect"
_DATABASE: Final = "db.namespace"
_OPERATION: Final = "db.operation.name"
_EXCEPTION_TYPE: Final = "exception.type"
_KINDS: Final = {
    traces.Kind.PRODUCER: SpanKind.PRODUCER,
    traces.Kind.CONSUMER: SpanKind.CONSUMER,
}


def trace(app: Flask) -> None:
    """Trace what an application does, and its process with it."""
    provider = _provider()
    excluded = None if any(name in os.environ for name in _EXCLUDING) else EXCLUDED
    # Around Flask alone: evaluations are answered before it, in less time than a span takes.
    instrument_app: Callable[..., None] = FlaskInstrumentor.instrument_app
    instrument_app(app, tracer_provider=provider, excluded_urls=excluded, enable_commenter=False)
    sql = SQLAlchemyInstrumentor()
    with app.app_context():
        # One instrumentation is for all engines that a process makes from now on.
        if not sql.is_instrumented_by_opentelemetry:
            sql.instrument(engine=db.engine, tracer_provider=provider)


@cache
def _provider() -> TracerProvider:
    """Return what makes the spans of this process, and has Redis and HTTP clients tell theirs."""
    # The stable names of attributes, unless somebody asks for others.
    os.environ.setdefault(_OPT_IN, "http,database")
    ours = Resource({"service.name": "switchyard", "service.version": __version__})
    provider = TracerProvider(
        resource=Resource.create().merge(ours).merge(OTELResourceDetector().detect()),
        shutdown_on_exit=False,
    )
    provider.sampler = OnlyInside(provider.sampler)
    provider.add_span_processor(PerProcess())
    # For jobs that make spans of their own.
    api.set_tracer_provider(provider)
    traces.provide_tracer(OtelTracer(provider))
    for instrumentor in (RedisInstrumentor(), HTTPXClientInstrumentor()):
        instrumentor.instrument(tracer_provider=provider)
    return provider


class OtelTracer:
    """See ``webapp.traces.Tracer``."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("switchyard", __version__)

    def place(self) -> traces.Place | None:
        """Return the open span where it is recorded."""
        here = api.get_current_span()
        if not here.is_recording():
            return None
        ids = here.get_span_context()
        return traces.Place(api.format_trace_id(ids.trace_id), api.format_span_id(ids.span_id))

    @contextmanager
    def span(
        self,
        name: str,
        kind: traces.Kind,
        parent: traces.Place | None,
        facts: Mapping[str, traces.Value],
    ) -> Iterator[None]:
        """Open a span; an error that passes through marks it, and is not told."""
        with self._tracer.start_as_current_span(
            name,
            context=_below(parent) if parent is not None else None,
            kind=_KINDS[kind],
            attributes=dict(facts),
            record_exception=False,
        ):
            yield

    def note(self, facts: Mapping[str, traces.Value]) -> None:
        """Add facts to the open span."""
        api.get_current_span().set_attributes(dict(facts))

    def fail(self, kind: str) -> None:
        """Mark the open span."""
        here = api.get_current_span()
        here.set_attribute("error.type", kind)
        here.set_status(api.StatusCode.ERROR)


def _below(parent: traces.Place) -> Context:
    """Return the context of a span that another process has made; what is kept was recorded."""
    ids = api.SpanContext(
        trace_id=int(parent.trace_id, 16),
        span_id=int(parent.span_id, 16),
        is_remote=True,
        trace_flags=api.TraceFlags(api.TraceFlags.SAMPLED),
    )
    return api.set_span_in_context(api.NonRecordingSpan(ids), contexts.get_current())


class OnlyInside(Sampler):
    """Leaves out questions to others that belong to no request and no job; the rest is for another.

    Workers look for jobs, and every process for flags and breakers, many times a minute: each look
    would be a trace of its own.
    """

    def __init__(self, inner: Sampler) -> None:
        self._inner = inner

    def should_sample(  # noqa: PLR0913, PLR0917 - the SDK's interface
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Drop, or ask the other."""
        inside = api.get_current_span(parent_context).get_span_context().is_valid
        if name == _FROM_POOL or (kind is SpanKind.CLIENT and not inside):
            return SamplingResult(Decision.DROP)
        return self._inner.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """Return the name of this and the other."""
        return f"OnlyInside{{{self._inner.get_description()}}}"


class PerProcess(SpanProcessor):
    """Gathers spans in each process by itself, and sends them from a thread of its own.

    What sends is made with the first span of a process, so that a fork shares neither thread nor
    connection with its parent.
    """

    def __init__(self) -> None:
        self._begin_process()
        os.register_at_fork(after_in_child=self._begin_process)

    def _begin_process(self) -> None:
        self._making = threading.Lock()
        self._batches: BatchSpanProcessor | None = None

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span; where the queue is full it is dropped."""
        (self._batches or self._make()).on_end(span)

    def _make(self) -> BatchSpanProcessor:
        with self._making:
            if self._batches is None:
                exporter = OTLPSpanExporter()
                self._batches = BatchSpanProcessor(Cleaned(exporter))
                _at_end_of_process(_Farewell(self._batches, exporter))
            return self._batches

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits."""
        return self._batches is None or self._batches.force_flush(timeout_millis)


class _Farewell:
    """Sends what is left as a process ends, and does not wait long for it."""

    def __init__(self, batches: BatchSpanProcessor, exporter: SpanExporter) -> None:
        self._batches = batches
        self._exporter = exporter
        self._pid = os.getpid()

    def __call__(self) -> None:
        if self._pid != os.getpid():
            return
        # An exporter that is shut down tries no more.
        patience = threading.Timer(FAREWELL_SECONDS, self._exporter.shutdown)
        patience.daemon = True
        patience.start()
        shutdown: Callable[[], None] = self._batches.shutdown
        shutdown()
        patience.cancel()


def _at_end_of_process(farewell: _Farewell) -> None:
    """Register what is done last; children of ``multiprocessing`` do not run ``atexit``."""
    if multiprocessing.parent_process() is None:
        atexit.register(farewell)
    else:
        Finalize(None, farewell, exitpriority=0)


class Cleaned(SpanExporter):
    """Hands spans on without what may be secret in them, and tells once where they do not arrive.

    The exporter's own words come with each try; they are for LOG_LEVEL=DEBUG.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False
        if not logging.getLogger().isEnabledFor(logging.DEBUG):
            logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Clean and send, in the thread that sends."""
        result = self._exporter.export([cleaned(span) for span in spans])
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failing:
            log.warning("traces_not_sent", spans=len(spans))
        if self._failing and not failed:
            log.info("traces_sent_again")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        """End the other."""
        self._exporter.shutdown()


def cleaned(span: ReadableSpan) -> ReadableSpan:
    """Return a span without queries, paths of others, and what errors say."""
    name, attributes = _without_folder(span.name, span.attributes or {})
    return ReadableSpan(
        name=name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_clean(attributes),
        events=[_told(event) for event in span.events],
        links=span.links,
        kind=span.kind,
        # Its description is the text of an error.
        status=api.Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _without_folder(name: str, attributes: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Name a statement by its database, where that is a file by the file's own name."""
    database = str(attributes.get(_DATABASE, ""))
    if "/" not in database:
        return name, attributes
    short = PurePath(database).name
    named = {
        key: str(attributes[key]).replace(database, short)
        for key in (_DATABASE, _OPERATION)
        if key in attributes
    }
    return name.replace(database, short), {**attributes, **named}


def _clean(attributes: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in attributes.items() if name not in _QUERIES}
    for name in _ADDRESSES & kept.keys():
        kept[name] = _origin(str(kept[name]))
    told: dict[str, Any] = masked(kept)
    return told


def _told(event: Event) -> Event:
    """Return an event; of an exception its type alone, since its text may be anything."""
    attributes = event.attributes or {}
    if _EXCEPTION_TYPE in attributes:
        attributes = {_EXCEPTION_TYPE: attributes[_EXCEPTION_TYPE]}
    return Event(event.name, _clean(attributes), event.timestamp)


def _origin(url: str) -> str:
    """Return scheme, host and port of an address: a path may be as secret as a query."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0].rpartition('@')[2]}"
