"""Two registries on one database stand for two processes."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from flask import Flask
from sqlalchemy import select
from structlog.testing import capture_logs

from tests.breakers.test_sharing import eventually
from webapp import exchange
from webapp.actors import COMMAND, Actor
from webapp.audit.service import history
from webapp.db import db, reading, transaction
from webapp.errors import Conflict, Invalid, Throttled
from webapp.limits import registry as registry_module
from webapp.limits.limit import RateLimit
from webapp.limits.models import RateLimitState
from webapp.limits.registry import LimitRegistry
from webapp.limits.service import add_counts, lift_pause, record_pause
from webapp.limits.stats import stats_of_sources
from webapp.limits.values import Counts, LimitStats, Pause, Rule
from webapp.settings import Settings
from webapp.sources.models import Source
from webapp.sources.service import find_source, set_rate_limit
from webapp.workers.service import beat, farewell
from webapp.workers.values import WorkerIdentity

OPERATOR = Actor("user", "olga")
NAME = "source:bills"


@pytest.fixture
def source(app: Flask) -> Iterator[None]:
    """A source of a kind that is limited by default."""
    with app.app_context():
        with transaction() as session:
            session.add(
                Source(
                    name="bills",
                    kind="api",
                    location="https://bills.example",
                    key_field="id",
                    record_count=0,
                    created_at=datetime.now(UTC),
                )
            )
        yield


@pytest.fixture
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that exchange ten times a second: what is seen at all is seen after one beat."""
    monkeypatch.setattr(exchange, "BEAT_SECONDS", 0.1)


@pytest.fixture
def join(source: None, settings: Settings) -> Iterator[Callable[[], LimitRegistry]]:
    """Return a function that makes one more process's registry."""
    registries: list[LimitRegistry] = []

    def make() -> LimitRegistry:
        registries.append(LimitRegistry(settings.database_url))
        return registries[-1]

    yield make
    for registry in registries:
        registry.close()


def limit_to(calls: int | None, seconds: int | None = 60) -> None:
    with transaction() as session:
        set_rate_limit(
            session,
            "bills",
            calls=calls,
            seconds=seconds,
            by=OPERATOR,
            now=datetime.now(UTC),
            reason="They asked",
        )


def state() -> RateLimitState | None:
    with reading() as session:
        return session.scalar(select(RateLimitState).where(RateLimitState.name == NAME))


def work(name: str, *, processes: int, kind: str = "process") -> None:
    worker = WorkerIdentity(
        name=name, place="here", host="host", pid=1, kind=kind, processes=processes, version="0"
    )
    with transaction() as session:
        beat(session, worker, now=datetime.now(UTC))


def test_a_source_has_the_limit_of_its_kind(join: Callable[[], LimitRegistry]) -> None:
    limit = join().get(NAME)
    eventually(lambda: limit.rule == Rule(100, 60))


@pytest.mark.usefixtures("quick_beats")
def test_a_limit_that_somebody_sets_holds_in_every_process(
    join: Callable[[], LimitRegistry],
) -> None:
    one, other = join().get(NAME), join().get(NAME)
    limit_to(2)
    eventually(lambda: one.rule == other.rule == Rule(2, 60))
    for _ in range(2):
        one.acquire()
    with pytest.raises(Throttled):
        one.acquire()
    limit_to(0)
    eventually(lambda: one.rule is None)
    one.acquire()


def test_without_redis_each_process_has_its_share(join: Callable[[], LimitRegistry]) -> None:
    work("host:1:a", processes=4)
    work("host:2:b", processes=9, kind="thread")
    limit_to(10)
    registry = join()
    limit = registry.get(NAME)
    eventually(lambda: limit.rule == Rule(10, 60))
    # Four processes and one with threads: a fifth of ten calls.
    for _ in range(2):
        limit.acquire()
    with pytest.raises(Throttled):
        limit.acquire()
    with transaction() as session:
        farewell(session, "host:1:a", now=datetime.now(UTC))
    registry.look(seconds=5)
    for _ in range(8):
        limit.acquire()
    with pytest.raises(Throttled):
        limit.acquire()


@pytest.mark.usefixtures("quick_beats")
def test_a_pause_holds_in_every_process_until_somebody_lifts_it(
    join: Callable[[], LimitRegistry],
) -> None:
    one, other = join().get(NAME), join().get(NAME)
    one.pause(600, reason="429 Too Many Requests")
    eventually(other.pause_left)
    with pytest.raises(Throttled) as caught:
        other.acquire()
    assert 590 < caught.value.retry_after <= 600
    found = state()
    assert found is not None
    assert found.pause_reason == "429 Too Many Requests"
    with transaction() as session:
        lift_pause(session, NAME, by=OPERATOR, now=datetime.now(UTC), reason="They called")
    eventually(lambda: not one.pause_left() and not other.pause_left(), within=3.0)
    one.acquire()
    with reading() as session:
        (entry,) = history(session, "source", "bills", 10)
    assert (entry.action, entry.actor, entry.reason) == (
        "source.pause_lifted",
        "olga",
        "They called",
    )


def test_a_pause_that_was_met_outlives_its_process(join: Callable[[], LimitRegistry]) -> None:
    first = join()
    first.get(NAME).pause(600)
    first.close()
    late = join().get(NAME)
    eventually(late.pause_left)


def has_rule(limit: RateLimit, rule: Rule) -> bool:
    return limit.rule == rule


def stats_of_bills() -> LimitStats:
    with reading() as session:
        source = find_source(session, "bills")
        return stats_of_sources(session, [source], now=datetime.now(UTC))["bills"]


@pytest.mark.usefixtures("quick_beats")
def test_figures_add_up_over_processes(join: Callable[[], LimitRegistry]) -> None:
    limit_to(5)
    for limit in [registry.get(NAME) for registry in (join(), join())]:
        eventually(partial(has_rule, limit, Rule(5, 60)))
        limit.acquire()
        limit.acquire()
    eventually(lambda: stats_of_bills().used == 4)
    stats = stats_of_bills()
    assert (stats.used, stats.left, stats.limit) == (4, 1, Rule(5, 60))
    assert stats.counts == Counts(allowed=4)
    assert stats.reset is not None
    assert 0 < stats.reset <= 60


def test_what_a_process_has_counted_is_told_once(join: Callable[[], LimitRegistry]) -> None:
    limit_to(1)
    registry = join()
    limit = registry.get(NAME)
    eventually(lambda: limit.rule == Rule(1, 60))
    limit.acquire()
    for _ in range(3):
        with pytest.raises(Throttled):
            limit.acquire()
        registry.look(seconds=5)
    registry.close()
    found = state()
    assert found is not None
    assert (found.allowed, found.waited, found.refused) == (1, 0, 3)


def test_with_the_database_away_a_process_goes_on_with_what_it_knows(
    join: Callable[[], LimitRegistry], settings: Settings
) -> None:
    lost = LimitRegistry("sqlite:////nowhere/at/all.db")
    try:
        with capture_logs() as logs:
            limit = lost.get(NAME)
            limit.acquire()
            limit.pause(600)
            lost.look(seconds=0.1)
            lost.look(seconds=0.1)
            eventually(lambda: logs[1:])
        with pytest.raises(Throttled):
            limit.acquire()
        complaints = [entry for entry in logs if entry["event"] == "pauses_not_shared"]
        assert len(complaints) == 1
    finally:
        lost.close()


def passes(limit: RateLimit) -> bool:
    with suppress(Throttled):
        limit.acquire()
        return True
    return False


def test_the_first_call_under_a_name_keeps_to_its_rule(join: Callable[[], LimitRegistry]) -> None:
    limit_to(1)
    limit = join().get(NAME)
    assert [passes(limit), passes(limit)] == [True, False]


def test_while_nobody_has_said_what_holds_a_call_is_put_off_and_not_let_through() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = silent.getsockname()
        registry = LimitRegistry("postgresql+psycopg://nobody@{}:{}/none".format(*place))
        try:
            limit = registry.get(NAME)
            with pytest.raises(Throttled) as caught:
                limit.acquire()
            assert caught.value.retry_after == 1.0
            assert "has not told yet" in caught.value.detail
            assert limit.counts.refused == 1
            # Once it is known to be away nobody waits for it any more.
            eventually(partial(passes, limit), within=60)
        finally:
            registry.close()


def test_a_pause_holds_from_the_first_call_on_also_for_coroutines(
    join: Callable[[], LimitRegistry],
) -> None:
    moment = datetime.now(UTC)
    with transaction() as session:
        record_pause(session, "mail", Pause(moment + timedelta(hours=1), "429"), now=moment)
    limit = join().get("mail")
    with pytest.raises(Throttled) as caught:
        asyncio.run(limit.acquire_async())
    assert caught.value.retry_after > 3000


def test_the_rule_that_is_handed_over_holds_until_the_database_has_said_another(
    join: Callable[[], LimitRegistry],
) -> None:
    limit_to(1)
    with reading() as session:
        bills = find_source(session, "bills")
    lost = LimitRegistry("sqlite:////nowhere/at/all.db")
    try:
        lost.hand_over(bills)
        lost.get(NAME).acquire()
        with pytest.raises(Throttled):
            lost.get(NAME).acquire()
    finally:
        lost.close()
    registry = join()
    limit_to(2)
    registry.look(seconds=10)
    registry.get(NAME).acquire()
    # By now an older row is somebody's opinion of yesterday.
    registry.hand_over(bills)
    assert registry.get(NAME).rule == Rule(2, 60)


@pytest.mark.usefixtures("quick_beats")
def test_an_operator_who_says_that_there_is_no_limit_is_heard_before_the_program(
    join: Callable[[], LimitRegistry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "_by_code", {NAME: Rule(1, 60)})
    limit_to(0)
    limit = join().get(NAME)
    for _ in range(3):
        limit.acquire()
    assert stats_of_bills().limit is None
    limit_to(None, None)
    eventually(lambda: limit.rule == Rule(100, 60))


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_pause_is_as_long_on_a_machine_whose_clock_is_wrong(
    join: Callable[[], LimitRegistry], monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    right = datetime.now(UTC)
    with transaction() as session:
        record_pause(session, "mail", Pause(right + timedelta(seconds=600), "429"), now=right)
    # The clock of a local file is this machine's own.
    ahead = timedelta(hours=0 if db.engine.dialect.name == "sqlite" else hours)
    monkeypatch.setattr("webapp.clock.now", lambda: datetime.now(UTC) + ahead)
    registry = join()
    with pytest.raises(Throttled) as caught:
        registry.get("mail").acquire()
    assert 500 < caught.value.retry_after <= 600
    registry.get(NAME).pause(600)
    eventually(state)
    found = state()
    assert found is not None
    assert found.paused_until is not None
    assert abs((found.paused_until - right).total_seconds() - 600) < 60


def test_calls_in_place_of_others_that_ended_are_told(join: Callable[[], LimitRegistry]) -> None:
    limit_to(1, 2)
    registry = join()
    limit = registry.get(NAME)
    limit.acquire()
    registry.look(seconds=10)
    # As many calls count as before, but not the same.
    limit.acquire(wait=30)
    registry.look(seconds=10)
    assert stats_of_bills().used == 1


def test_of_pauses_the_longest_stands(source: None) -> None:
    moment = datetime.now(UTC)
    with transaction() as session:
        for minutes in (5, 60, 1):
            pause = Pause(moment + timedelta(minutes=minutes), f"{minutes} minutes")
            record_pause(session, NAME, pause, now=moment)
    found = state()
    assert found is not None
    assert found.pause_reason == "60 minutes"


def test_only_a_pause_that_stands_can_be_lifted_and_with_a_reason(source: None) -> None:
    moment = datetime.now(UTC)
    with transaction() as session:
        add_counts(session, NAME, Counts(allowed=1), now=moment)
        with pytest.raises(Conflict):
            lift_pause(session, NAME, by=COMMAND, now=moment, reason="Why not")
        with pytest.raises(Conflict):
            lift_pause(session, "unheard-of", by=COMMAND, now=moment, reason="Why not")
        with pytest.raises(Invalid) as caught:
            lift_pause(session, NAME, by=COMMAND, now=moment, reason=" ")
        assert "reason" in caught.value.errors
