"""What pages and programs are told of how jobs went, and of how the queue stands."""

from datetime import datetime, timedelta

from flask import Flask
from sqlalchemy.orm import Session

from tests.conftest import ConsoleClient
from webapp.actors import SYSTEM
from webapp.clock import now as clock_now
from webapp.db import transaction
from webapp.jobs.figures import throughput, type_figures, type_records
from webapp.jobs.histograms import bucket_of, counted
from webapp.jobs.models import JobMetric
from webapp.jobs.rollup import COUNTS, HOUR, MINUTE
from webapp.jobs.service import enqueue
from webapp.jobs.stats import queue_stats
from webapp.jobs.values import JobState


def metric(
    session: Session,
    at: datetime,
    *,
    type_name: str = "etl",
    seconds: int = MINUTE,
    run: tuple[float, ...] = (),
    wait: tuple[float, ...] = (),
    **counts: int,
) -> None:
    session.add(
        JobMetric(
            type=type_name,
            seconds=seconds,
            at=at,
            run_buckets=counted((bucket_of(item), 1) for item in run),
            wait_buckets=counted((bucket_of(item), 1) for item in wait),
            **(dict.fromkeys(COUNTS, 0) | counts),
        )
    )
    session.flush()


def test_the_health_of_a_type_is_that_of_this_hour_and_23_before(
    session: Session, now: datetime
) -> None:
    for hours in (0, 1, 23, 24):
        metric(session, now - timedelta(hours=hours), seconds=HOUR, succeeded=3, failed=1, lost=1)
    metric(session, now, seconds=HOUR, type_name="quiet", deferred=1)
    metric(session, now, seconds=MINUTE, type_name="of minutes", succeeded=1)
    records = type_records(session, now=now + timedelta(minutes=59))
    assert records.last == dict.fromkeys(("etl", "of minutes", "quiet"), now)
    (health,) = records.day
    assert (health.type, health.succeeded, health.failed, health.runs) == ("etl", 9, 6, 15)
    assert health.success_rate == 60.0
    assert len(health.hours) == 24
    assert [at for at, hour in enumerate(health.hours) if hour == (3, 2)] == [0, 22, 23]


def test_throughput_has_a_step_for_each_minute_also_for_those_in_which_nothing_ended(
    session: Session, now: datetime
) -> None:
    metric(session, now, succeeded=2, runs=2)
    metric(session, now, type_name="report", failed=1, runs=1)
    metric(session, now - timedelta(minutes=59), runs=5)
    metric(session, now - timedelta(minutes=60), runs=7)
    steps = throughput(session, now=now + timedelta(seconds=30))
    assert len(steps) == 60
    assert (steps[-1].at, steps[-1].counts["runs"]) == (now, 3)
    assert (steps[0].counts["runs"], steps[30].counts["runs"]) == (5, 0)
    only = throughput(session, now=now, type_name="report")[-1].counts
    assert (only["failed"], only["succeeded"]) == (1, 0)
    assert len(throughput(session, now=now, seconds=HOUR)) == 24


def test_percentiles_are_those_of_the_last_hour_together(session: Session, now: datetime) -> None:
    metric(session, now, run=(0.1,) * 90, wait=(1.0,), runs=90)
    metric(session, now - timedelta(minutes=30), run=(60.0,) * 10, runs=10)
    metric(session, now - timedelta(hours=2), run=(3_600.0,) * 99, runs=99)
    (figures,) = type_figures(session, now=now)
    assert figures.counts["runs"] == 100
    middle, high = figures.run_seconds[50], figures.run_seconds[95]
    assert middle is not None
    assert high is not None
    assert bucket_of(middle) == bucket_of(0.1)
    assert bucket_of(high) == bucket_of(60.0)
    assert figures.wait_seconds[99] is not None


def test_where_no_wait_is_known_there_is_no_percentile(session: Session, now: datetime) -> None:
    metric(session, now, run=(1.0,), runs=1)
    (figures,) = type_figures(session, now=now)
    assert set(figures.wait_seconds.values()) == {None}


def test_unfinished_jobs_are_counted_by_queue_and_type(session: Session, now: datetime) -> None:
    first = enqueue(session, "test_echo", {}, by=SYSTEM, now=now)
    enqueue(session, "test_echo", {}, by=SYSTEM, now=now, run_at=now + timedelta(days=1))
    other = enqueue(session, "test_fail", {}, by=SYSTEM, now=now + timedelta(seconds=1))
    other.queue = "slow"
    session.flush()
    stats = queue_stats(session, now=now)
    assert stats.states[JobState.QUEUED] == 2
    none = {"queued": 0, "retrying": 0, "running": 0, "scheduled": 0}
    assert stats.queues == {
        "default": none | {"queued": 1, "scheduled": 1},
        "slow": none | {"queued": 1},
    }
    assert stats.types == {
        "test_echo": none | {"queued": 1, "scheduled": 1},
        "test_fail": none | {"queued": 1},
    }
    assert stats.oldest is not None
    assert (stats.oldest.id, stats.oldest.due_at) == (first.id, now)


def test_programs_are_told_all_of_it(app: Flask, viewer: ConsoleClient) -> None:
    at = clock_now().replace(second=0, microsecond=0)
    with app.app_context(), transaction() as session:
        metric(session, at, run=(0.25,), runs=1, succeeded=1)
        enqueue(session, "test_echo", {}, by=SYSTEM, now=at)
    body = viewer.get("/api/v1/queue/stats").get_json()
    assert body["states"]["queued"] == 1
    assert body["capped"] == []
    assert [item["name"] for item in body["queues"]] == ["default"]
    assert body["oldest_queued"]["waited_seconds"] >= 0
    assert body["oldest_queued"]["due_at"].endswith("Z")
    assert (len(body["throughput"]["minutes"]), len(body["throughput"]["hours"])) == (60, 24)
    assert sum(step["succeeded"] for step in body["throughput"]["minutes"]) == 1
    (figures,) = body["last_hour"]
    assert (figures["type"], figures["succeeded"]) == ("etl", 1)
    assert set(figures["run_seconds"]) == {"p50", "p95", "p99"}
    assert 0.2 < figures["run_seconds"]["p50"] < 0.4
    assert figures["wait_seconds"]["p50"] is None


def test_an_empty_installation_has_stats_too(viewer: ConsoleClient) -> None:
    body = viewer.get("/api/v1/queue/stats").get_json()
    assert (body["queues"], body["types"], body["last_hour"]) == ([], [], [])
    assert body["oldest_queued"] is None
