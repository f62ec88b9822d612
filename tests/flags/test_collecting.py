"""Usage by way of a real Redis: left there by whoever has no database, stored once by who has."""

import threading
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

import pytest
from flask import Flask
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from tests.servers import RedisServer
from webapp.actors import COMMAND
from webapp.clock import now as clock_now
from webapp.db import reading, transaction
from webapp.errors import Unavailable
from webapp.flags.batches import Span, UsageBatch, UsageKey
from webapp.flags.collecting import UsageCollector
from webapp.flags.models import FeatureFlagEvaluation, FeatureFlagUse, UnknownFlag
from webapp.flags.service import create_flag
from webapp.flags.sinks import USAGE_KEY, DatabaseSink, RedisSink
from webapp.flags.values import FlagDraft

pytestmark = pytest.mark.redis


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    redis_server.start()
    redis_server.flush()
    with Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def edge(redis: Redis, redis_server: RedisServer) -> Iterator[RedisSink]:
    """Where a process without a database tells what it counted."""
    sink = RedisSink(redis_server.url)
    yield sink
    sink.close()


@pytest.fixture
def database(app: Flask, now: datetime) -> Iterator[DatabaseSink]:
    """The database, with one flag."""
    sink = DatabaseSink(app.extensions["settings"].database_url)
    with app.app_context():
        with transaction() as session:
            create_flag(session, FlagDraft(name="beta"), by=COMMAND, now=now, reason="r")
        yield sink
    sink.close()


@pytest.fixture
def collector(app: Flask, database: DatabaseSink, redis_server: RedisServer) -> UsageCollector:
    """The collector of one consumer."""
    return collector_on(app, database, redis_server)


def collector_on(app: Flask, sink: DatabaseSink, server: RedisServer) -> UsageCollector:
    return UsageCollector(server.url, sink, app.extensions["flag_store"].names)


def report(count: int, flag: str = "beta") -> UsageBatch:
    moment = clock_now()
    hour = moment.replace(minute=0, second=0, microsecond=0)
    key = UsageKey(flag, hour, "production", "", True, "everyone")
    span = Span(moment - timedelta(seconds=5), moment)
    return UsageBatch({key: count}, {flag: span}, {"betta": (1, span)}, {(flag, hour): [count]})


def total() -> int:
    with reading() as session:
        return int(session.scalar(select(func.sum(FeatureFlagEvaluation.count))) or 0)


def test_what_is_left_is_stored_as_it_was_counted(
    collector: UsageCollector, edge: RedisSink, redis: Redis
) -> None:
    told = report(3)
    edge.tell(told)
    assert total() == 0
    assert collector.collect() == 1
    assert collector.collect() == 0
    assert redis.exists(USAGE_KEY) == 0
    ((key, count),) = told.counts.items()
    with reading() as session:
        row = session.scalars(select(FeatureFlagEvaluation)).one()
        use = session.scalars(select(FeatureFlagUse)).one()
        assert session.scalars(select(UnknownFlag.name)).all() == ["betta"]
    found = (row.flag, row.hour, row.environment, row.variant, row.enabled, row.reason)
    assert (UsageKey(*found), row.count) == (key, count)
    assert Span(use.first_evaluated_at, use.last_evaluated_at) == told.uses["beta"]


def test_flags_that_there_are_not_are_left_out(collector: UsageCollector, edge: RedisSink) -> None:
    edge.tell(report(3, flag="none"))
    assert collector.collect() == 1
    assert total() == 0


def test_two_collectors_store_each_report_once(
    app: Flask,
    database: DatabaseSink,
    edge: RedisSink,
    redis: Redis,
    redis_server: RedisServer,
) -> None:
    sinks = [DatabaseSink(app.extensions["settings"].database_url) for _ in range(2)]
    counts = range(1, 61)
    for count in counts:
        edge.tell(report(count))
    stored: list[int] = []
    ready = threading.Barrier(len(sinks))

    def collect(sink: DatabaseSink) -> None:
        collector = collector_on(app, sink, redis_server)
        ready.wait(10)
        stored.append(collector.collect())
        sink.close()

    threads = [threading.Thread(target=collect, args=(sink,)) for sink in sinks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(stored) == len(counts)
    assert total() == sum(counts)
    assert redis.llen(USAGE_KEY) == 0


@pytest.mark.parametrize("written", [b"", b"{", b"[]", b'{"counts": 1}', b'{"colour": 1}', b"\xff"])
def test_what_cannot_be_read_is_dropped_and_told_of(
    collector: UsageCollector,
    edge: RedisSink,
    redis: Redis,
    written: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    redis.rpush(USAGE_KEY, written)
    edge.tell(report(2))
    collector.collect()
    assert total() == 2
    assert redis.llen(USAGE_KEY) == 0
    assert caplog.text.count("flag_usage_unreadable") == 1


def test_a_database_that_is_away_keeps_the_reports(
    app: Flask,
    collector: UsageCollector,
    edge: RedisSink,
    redis: Redis,
    redis_server: RedisServer,
) -> None:
    away = collector_on(app, DatabaseSink("sqlite:////nowhere/at/all.db"), redis_server)
    for count in (1, 2):
        edge.tell(report(count))
    waiting = redis.lrange(USAGE_KEY, 0, -1)
    for _ in range(3):
        with pytest.raises(SQLAlchemyError):
            away.collect()
    assert redis.lrange(USAGE_KEY, 0, -1) == waiting
    assert collector.collect() == 2
    assert total() == 3


def test_flags_that_were_not_read_keep_the_reports(
    app: Flask,
    database: DatabaseSink,
    edge: RedisSink,
    redis: Redis,
    redis_server: RedisServer,
) -> None:
    def unread() -> Collection[str]:
        raise Unavailable("nothing was read")

    edge.tell(report(1))
    with pytest.raises(Unavailable):
        UsageCollector(redis_server.url, database, unread).collect()
    assert redis.llen(USAGE_KEY) == 1


def test_where_nobody_takes_them_the_newest_wait(
    collector: UsageCollector,
    edge: RedisSink,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("webapp.flags.sinks.MOST_REPORTS", 3)
    for count in (1, 2, 4, 8, 16):
        edge.tell(report(count))
    assert redis.llen(USAGE_KEY) == 3
    assert collector.collect() == 3
    assert total() == 4 + 8 + 16


def test_a_redis_that_is_away_is_an_error_to_whoever_tells(
    edge: RedisSink, collector: UsageCollector, redis_server: RedisServer
) -> None:
    edge.tell(report(1))
    collector.collect()
    redis_server.stop()
    try:
        with pytest.raises((RedisError, OSError)):
            edge.tell(report(2))
    finally:
        redis_server.start()
    edge.tell(report(4))
    collector.collect()
    assert total() == 1 + 4
