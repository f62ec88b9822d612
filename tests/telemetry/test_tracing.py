"""Whether an installation is traced, and what is kept of a trace with a job."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from sqlalchemy.orm import Session

from tests.conftest import NOW, make_settings
from webapp import traces
from webapp.actors import SYSTEM
from webapp.jobs.attempts import claim
from webapp.jobs.journal import MOST_LINES, line_of, origins_of, write_lines
from webapp.jobs.queries import log_of
from webapp.jobs.service import enqueue, enqueue_all
from webapp.jobs.wishes import Wish
from webapp.settings import SettingsError
from webapp.telemetry.spans import OtelTracer

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def sampler() -> Sampler:
    return ALWAYS_ON


@pytest.fixture
def traced(sampler: Sampler) -> Iterator[None]:
    traces.provide_tracer(OtelTracer(TracerProvider(sampler=sampler, shutdown_on_exit=False)))
    yield
    traces.provide_tracer(None)


def test_an_endpoint_without_the_packages_is_told_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError) as told:
        make_settings(tmp_path, **{ENDPOINT: "http://localhost:4318"})
    (problem,) = told.value.problems
    assert problem.startswith(f"{ENDPOINT}: ")
    assert "requirements-otel.txt" in problem


def test_an_endpoint_is_an_address(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=ENDPOINT):
        make_settings(tmp_path, **{ENDPOINT: "localhost:4318"})
    assert make_settings(tmp_path, **{ENDPOINT: "http://localhost:4318"}).otlp_endpoint


def test_jobs_keep_where_in_a_trace_they_were_enqueued(session: Session, traced: None) -> None:
    one = enqueue(session, "test_nothing", {}, by=SYSTEM, now=NOW).id
    wishes = [Wish("test_nothing", {}), Wish("test_nothing", {})]
    many = enqueue_all(session, wishes, by=SYSTEM, now=NOW)
    found = origins_of(session, [one, *many])
    assert found.keys() == {one, *many}
    # What is enqueued together was sent at one place; the other was sent by itself.
    assert len(set(found.values())) == 2
    (line,) = log_of(session, one)
    assert (line.event, line.facts["trace_id"]) == ("job_enqueued", found[one].trace_id)


@pytest.mark.parametrize("sampler", [ALWAYS_OFF])
def test_a_trace_that_is_not_sampled_leaves_nothing(session: Session, traced: None) -> None:
    job = enqueue(session, "test_nothing", {}, by=SYSTEM, now=NOW)
    assert log_of(session, job.id) == []


def test_without_traces_nothing_is_kept(session: Session) -> None:
    job = enqueue(session, "test_nothing", {}, by=SYSTEM, now=NOW)
    assert log_of(session, job.id) == []


def test_a_full_log_still_says_where_the_job_came_from(session: Session, traced: None) -> None:
    job = enqueue(session, "test_nothing", {}, by=SYSTEM, now=NOW)
    held = claim(session, job.id, worker="w", lease_seconds=30, now=NOW)
    assert held is not None
    lines = [line_of("said", {"n": number}, at=NOW) for number in range(MOST_LINES)]
    write_lines(session, held, lines[1:])
    write_lines(session, replace(held, fence=held.fence + 1), lines)
    kept = log_of(session, job.id, limit=MOST_LINES + 10)
    assert (kept[0].event, len(kept)) == ("job_enqueued", MOST_LINES + 1)
    assert {line.fence for line in kept[1:]} == {held.fence + 1}
