"""What leaves in a span, and what makes none: on the SDK itself, without a collector."""

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind, Status, StatusCode

from webapp import traces
from webapp.logs import MASK
from webapp.telemetry.spans import Cleaned, OnlyInside, OtelTracer
from webapp.traces import Kind, Place

SECRET = "hunter2-and-nobody-else"


@pytest.fixture
def sent() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(sent: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider(sampler=OnlyInside(ALWAYS_ON), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Cleaned(sent)))
    return provider


@pytest.fixture
def traced(provider: TracerProvider) -> Iterator[None]:
    """Spans of ours are made, for a while."""
    traces.provide_tracer(OtelTracer(provider))
    yield
    traces.provide_tracer(None)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"url.query": f"token={SECRET}"}, {}),
        ({"http.target": f"/jobs?token={SECRET}"}, {}),
        (
            {"url.full": f"https://a:{SECRET}@x.example:8/{SECRET}?k={SECRET}"},
            "https://x.example:8",
        ),
        ({"http.url": f"http://x.example?{SECRET}"}, "http://x.example"),
        ({"http.request.header.authorization": [SECRET]}, MASK),
        ({"any": f"sent with password={SECRET}, in vain"}, f"sent with password={MASK}, in vain"),
        ({"db.query.text": "SELECT 1"}, "SELECT 1"),
        ({"job.attempt": 2}, 2),
    ],
)
def test_what_may_be_secret_in_a_fact_stays_here(
    provider: TracerProvider, sent: InMemorySpanExporter, given: dict[str, Any], told: Any
) -> None:
    provider.get_tracer("t").start_span("s", attributes=given).end()
    (span,) = sent.get_finished_spans()
    expected = told if isinstance(told, dict) else dict.fromkeys(given, told)
    assert dict(span.attributes or {}) == expected


def test_what_an_error_says_stays_here(
    provider: TracerProvider, sent: InMemorySpanExporter
) -> None:
    span = provider.get_tracer("t").start_span("s")
    span.record_exception(ValueError(SECRET))
    span.set_status(Status(StatusCode.ERROR, f"ValueError: {SECRET}"))
    span.end()
    (told,) = sent.get_finished_spans()
    (event,) = told.events
    assert dict(event.attributes or {}) == {"exception.type": "ValueError"}
    assert (told.status.status_code, told.status.description) == (StatusCode.ERROR, None)


def test_a_statement_is_named_by_its_file_and_not_by_the_folder(
    provider: TracerProvider, sent: InMemorySpanExporter
) -> None:
    facts = {"db.namespace": "/srv/data/x.db", "db.operation.name": "SELECT /srv/data/x.db"}
    provider.get_tracer("t").start_span("SELECT /srv/data/x.db", attributes=facts).end()
    (span,) = sent.get_finished_spans()
    assert (span.name, dict(span.attributes or {})) == (
        "SELECT x.db",
        {"db.namespace": "x.db", "db.operation.name": "SELECT x.db"},
    )


def test_questions_to_others_are_told_only_inside_of_something(
    provider: TracerProvider, sent: InMemorySpanExporter
) -> None:
    tracer = provider.get_tracer("t")
    tracer.start_span("alone", kind=SpanKind.CLIENT).end()
    with tracer.start_as_current_span("job", kind=SpanKind.CONSUMER):
        tracer.start_span("inside", kind=SpanKind.CLIENT).end()
        tracer.start_span("connect", kind=SpanKind.CLIENT).end()
    assert [span.name for span in sent.get_finished_spans()] == ["inside", "job"]


def test_work_stands_below_what_another_process_has_begun(
    traced: None, sent: InMemorySpanExporter
) -> None:
    parent = Place("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    with traces.span("run a", kind=Kind.CONSUMER, parent=parent, facts={"job.id": 1}):
        here = traces.place()
        traces.note({"job.outcome": "failed"})
        traces.fail("ValueError")
    (span,) = sent.get_finished_spans()
    assert here is not None
    assert here.trace_id == parent.trace_id
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == parent.span_id
    assert dict(span.attributes or {}) == {
        "job.id": 1,
        "job.outcome": "failed",
        "error.type": "ValueError",
    }
    assert span.status.status_code is StatusCode.ERROR


def test_an_error_that_passes_through_marks_the_span_and_is_not_told(
    traced: None, sent: InMemorySpanExporter
) -> None:
    with (
        pytest.raises(ValueError, match=SECRET),
        traces.span("run a", kind=Kind.CONSUMER, facts={}),
    ):
        raise ValueError(SECRET)
    (span,) = sent.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert SECRET not in json.dumps(json.loads(span.to_json()))


def test_without_a_tracer_nothing_is_made() -> None:
    with traces.span("run a", kind=Kind.CONSUMER, facts={}):
        traces.note({"job.id": 1})
        traces.fail("ValueError")
        assert traces.place() is None
    assert not traces.is_traced()


class Moody(SpanExporter):
    """Says what it is told to say."""

    def __init__(self, *results: SpanExportResult) -> None:
        self.results = list(results)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self.results.pop(0)


def test_a_collector_that_is_away_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
    exporter = Cleaned(Moody(good, bad, bad, good, good))
    with caplog.at_level(logging.INFO, "webapp.telemetry.spans"):
        for _ in range(5):
            exporter.export([])
    told = [record.msg["event"] for record in caplog.records if isinstance(record.msg, dict)]
    assert told == ["traces_not_sent", "traces_sent_again"]
