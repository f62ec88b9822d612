"""Usage: each evaluation counts once, by threads, processes and hours; bounds; a lost database."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask import Flask
from prometheus_client.registry import REGISTRY
from sqlalchemy import select
from sqlalchemy.orm import Session

from tests.conftest import make_settings
from tests.processes import wait_until
from webapp import clock
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.db import db, reading, transaction
from webapp.flags import is_enabled
from webapp.flags.batches import Span, UsageBatch, UsageKey, batch_as_document, parts_of
from webapp.flags.bucketing import HASHES
from webapp.flags.evaluation import CompiledFlag
from webapp.flags.figures import recent_usage, unknown_names, usage_of
from webapp.flags.models import FeatureFlagEvaluation, FeatureFlagSubjects, UnknownFlag
from webapp.flags.queries import FlagFilters, list_flags
from webapp.flags.recording import MAX_UNKNOWN_KEPT, SUBJECTS_KEPT, add_usage
from webapp.flags.reports import UsageReport
from webapp.flags.sampling import SIZE, estimate_of, joined, unpacked
from webapp.flags.service import archive_flag, create_flag
from webapp.flags.sinks import DatabaseSink
from webapp.flags.snapshot import flag_store
from webapp.flags.snapshot_api import MOST_BYTES
from webapp.flags.tables import MAX_OTHERS, OTHER_ENVIRONMENTS, FlagTables
from webapp.flags.usage import MAX_PENDING, MAX_UNKNOWN, MOST_TOLD, UsageCounter
from webapp.flags.values import (
    MAX_NAME,
    MAX_WORD,
    Decision,
    FlagDefinition,
    FlagDraft,
    FlagSet,
    Reason,
)

WITHIN = Decision(enabled=True, reason=Reason.PERCENTAGE)
BEYOND = Decision(enabled=False, reason=Reason.PERCENTAGE)
EVERYONE = Decision(enabled=True, reason=Reason.EVERYONE)

ROOT = Path(__file__).parents[2]

# Asks, forks, asks in both, and ends: the child by multiprocessing, as the consumer's do.
ASKER = r"""
import multiprocessing
from webapp.app import create_app
from webapp.flags import is_enabled
from webapp.settings import Settings

create_app(Settings.from_environment())

def ask(times):
    for number in range(times):
        is_enabled("beta", f"user-{number}")

ask(1_000)
child = multiprocessing.get_context("fork").Process(target=ask, args=(200,))
child.start()
child.join()
ask(30)
"""


@pytest.fixture
def counter(app: Flask) -> Iterator[UsageCounter]:
    """A counter of our own, which tells only when it is asked to."""
    usage = UsageCounter(DatabaseSink(app.extensions["settings"].database_url), flush_seconds=3600)
    with app.app_context():
        yield usage
        usage.stop()


@pytest.fixture
def flag(app: Flask, now: datetime) -> Iterator[str]:
    with app.app_context():
        with transaction() as session:
            make(session, "beta", now)
        yield "beta"


def make(session: Session, name: str, now: datetime, percentage: float = 50) -> None:
    draft = FlagDraft(name=name, enabled=True, percentage=percentage)
    create_flag(session, draft, by=COMMAND, now=now, reason="r")


def count(usage: UsageCounter, flag: str, environment: str, decision: Decision) -> None:
    """Hand out a decision, as an evaluation does."""
    next(usage.ready_for(flag, environment)(decision).counter)


def set_clock(monkeypatch: pytest.MonkeyPatch, when: datetime) -> None:
    monkeypatch.setattr(clock, "now", lambda: when)


def rows() -> list[tuple[str, str, str, bool, str, int]]:
    with reading() as session:
        found = session.scalars(select(FeatureFlagEvaluation))
        return sorted(
            (row.flag, row.environment, row.variant, row.enabled, row.reason, row.count)
            for row in found
        )


def cache_requests(outcome: str) -> float:
    return (
        REGISTRY.get_sample_value("feature_flag_cache_requests_total", {"outcome": outcome}) or 0.0
    )


def total() -> int:
    return sum(row[-1] for row in rows())


def test_what_is_told_is_what_was_counted(counter: UsageCounter) -> None:
    variant = Decision(enabled=True, reason=Reason.PERCENTAGE, variant="blue")
    for decision, times in ((WITHIN, 3), (BEYOND, 2), (variant, 4)):
        for _ in range(times):
            count(counter, "beta", "production", decision)
    before = cache_requests("hit")
    assert counter.flush()
    count(counter, "beta", "production", BEYOND)
    count(counter, "beta", "staging", EVERYONE)
    assert counter.flush()
    assert counter.flush()
    assert cache_requests("hit") - before == 11
    assert rows() == [
        ("beta", "production", "", False, "percentage", 3),
        ("beta", "production", "", True, "percentage", 3),
        ("beta", "production", "blue", True, "percentage", 4),
        ("beta", "staging", "", True, "everyone", 1),
    ]


def test_threads_and_flushes_at_the_same_time_lose_nothing(counter: UsageCounter) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def ask() -> None:
        for _ in range(20_000):
            count(counter, "beta", "production", WITHIN)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            counter.flush()
        counter.flush()
    finally:
        sys.setswitchinterval(before)
    assert total() == 80_000


def test_two_processes_and_their_forks_are_summed(app: Flask, flag: str, tmp_path: Path) -> None:
    environ = os.environ | {
        "DATABASE_URL": app.extensions["settings"].database_url,
        "INSTANCE_DIR": str(tmp_path),
        "ENVIRONMENT": "test",
        "LOG_LEVEL": "WARNING",
        "PYTHONPATH": str(ROOT),
    }
    askers = [
        subprocess.Popen([sys.executable, "-c", ASKER], env=environ, cwd=ROOT) for _ in range(2)
    ]
    assert [asker.wait(60) for asker in askers] == [0, 0]
    assert total() == 2 * 1_230
    with reading() as session:
        usage = usage_of(session, flag, hours=24, now=datetime.now(UTC))
    assert usage.on + usage.off == 2 * 1_230
    assert usage.on == 2 * sum(
        is_enabled(flag, f"user-{number}") for times in (1_000, 200, 30) for number in range(times)
    )


def test_a_fork_forgets_what_its_parent_has_counted(counter: UsageCounter) -> None:
    count(counter, "beta", "production", WITHIN)
    child = os.fork()
    if child == 0:
        count(counter, "beta", "production", BEYOND)
        told = counter.flush()
        os._exit(0 if told else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert rows() == [("beta", "production", "", False, "percentage", 1)]
    assert counter.flush()
    assert total() == 2


def test_counts_belong_to_the_hour_in_which_they_began(
    counter: UsageCounter, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for moment, times in (
        (now.replace(hour=11, minute=59, second=55), 1),
        (now, 2),
        (now + timedelta(seconds=10), 4),
    ):
        # What is counted before the first reading began when the thread did.
        set_clock(monkeypatch, moment if times > 1 else moment - timedelta(seconds=5))
        if times > 1:
            counter.flush()
        else:
            counter.start()
        for _ in range(times):
            count(counter, "beta", "production", WITHIN)
    set_clock(monkeypatch, now + timedelta(seconds=20))
    counter.flush()
    with reading() as session:
        usage = usage_of(session, "beta", hours=2, now=now + timedelta(seconds=20))
        assert usage.since == now - timedelta(hours=1)
        assert usage.series == [(1, 0), (6, 0)]
        assert usage.last_evaluated_at == now + timedelta(seconds=20)
        day = recent_usage(session, ["beta", "other"], now=now)
    assert day["beta"][-2:] == [1, 6]
    assert sum(day["other"]) == 0


def test_the_thread_looks_at_the_turn_of_the_hour(counter: UsageCounter, now: datetime) -> None:
    counter._flush_seconds = 10
    assert counter._seconds_to_wait(now) == 10
    assert counter._seconds_to_wait(now - timedelta(seconds=2)) == 2


def test_the_thread_tells_by_itself(app: Flask, flag: str) -> None:
    usage = UsageCounter(DatabaseSink(app.extensions["settings"].database_url), flush_seconds=0.05)
    usage.start()
    count(usage, flag, "production", WITHIN)
    wait_until(lambda: total() == 1, seconds=10, what="the count is told")
    usage.stop()


def test_while_the_database_is_away_counts_wait_and_it_is_told_once(
    counter: UsageCounter,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    there, counter._sink = counter._sink, DatabaseSink("sqlite:////nowhere/at/all.db")
    for hour in range(3):
        set_clock(monkeypatch, now + timedelta(hours=hour))
        count(counter, "beta", "production", WITHIN)
        counter.note_unknown("betta")
        assert not counter.flush()
    assert caplog.text.count("flag_usage_not_told") == 1
    counter._sink.close()
    counter._sink = there
    assert counter.flush()
    assert counter.flush()
    assert total() == 3
    with reading() as session:
        assert [item.count for item in unknown_names(session, now=now)] == [3]


def test_what_waits_has_a_bound(counter: UsageCounter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.flags.usage.MAX_PENDING", 10)
    assert MAX_PENDING > 10
    for number in range(20):
        count(counter, f"flag{number}", "production", WITHIN)
    counter.flush()
    assert len(rows()) == 10


def subjects_by_hour(flag: str) -> dict[datetime, list[int]]:
    with reading() as session:
        found = session.scalars(
            select(FeatureFlagSubjects)
            .where(FeatureFlagSubjects.flag == flag)
            .order_by(FeatureFlagSubjects.hour)
        )
        return {row.hour: unpacked(row.sample) for row in found}


def compiled_for(usage: UsageCounter, name: str) -> CompiledFlag:
    """Return a flag whose decisions a counter counts."""
    found = FlagSet(1, {name: FlagDefinition(name=name, enabled=True, percentage=50.0)})
    flag = FlagTables(found, "production", usage).table(None).find(name)
    assert flag is not None
    return flag


def ask_as(usage: UsageCounter, numbers: range, name: str = "beta") -> None:
    """Ask for a flag as that many subjects."""
    flag = compiled_for(usage, name)
    for number in numbers:
        next(flag.decide(f"user-{number}", {}, clock.now()).counter)


@pytest.fixture
def other_counter(app: Flask) -> Iterator[UsageCounter]:
    """The counter of another process."""
    usage = UsageCounter(DatabaseSink(app.extensions["settings"].database_url), flush_seconds=3600)
    with app.app_context():
        yield usage
        usage.stop()


def test_the_subjects_of_two_processes_and_two_hours_are_joined(
    counter: UsageCounter,
    other_counter: UsageCounter,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later = now + timedelta(hours=1)
    for hour, subjects in (
        (now, (range(100), range(50, 150))),
        # The same again: nobody is new.
        (now, (range(100), range(100))),
        (later, (range(140, 160), range(0))),
    ):
        for usage, numbers in zip((counter, other_counter), subjects, strict=True):
            set_clock(monkeypatch, hour)
            usage.flush()
            ask_as(usage, numbers)
            set_clock(monkeypatch, hour + timedelta(minutes=30))
            assert usage.flush()
    found = subjects_by_hour("beta")
    assert {hour: estimate_of(sample) for hour, sample in found.items()} == {now: 150, later: 20}
    assert estimate_of(joined(found.values())) == 160


def test_many_subjects_of_two_processes_are_estimated(
    counter: UsageCounter, other_counter: UsageCounter
) -> None:
    for usage, numbers in ((counter, range(6_000)), (other_counter, range(4_000, 10_000))):
        for start in range(numbers.start, numbers.stop, 2_000):
            ask_as(usage, range(start, start + 2_000))
            assert usage.flush()
    samples = subjects_by_hour("beta").values()
    assert all(len(sample) <= SIZE for sample in samples)
    assert abs(estimate_of(joined(samples)) - 10_000) < 2_000


def test_samples_of_long_ago_go_with_the_next_that_are_told(
    counter: UsageCounter, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, kept = now - SUBJECTS_KEPT - timedelta(hours=1), now - SUBJECTS_KEPT
    for hour, name in ((first, "beta"), (first, "other"), (kept, "beta"), (now, "beta")):
        set_clock(monkeypatch, hour)
        counter.flush()
        ask_as(counter, range(3), name)
        assert counter.flush()
    assert list(subjects_by_hour("beta")) == [kept, now]
    # Nobody has told of that one since.
    assert list(subjects_by_hour("other")) == [first]


def test_while_the_database_is_away_subjects_wait_by_their_hour(
    counter: UsageCounter, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, counter._sink = counter._sink, DatabaseSink("sqlite:////nowhere/at/all.db")
    for place in range(3):
        set_clock(monkeypatch, now + timedelta(hours=place))
        counter.flush()
        ask_as(counter, range(10 * (place + 1)))
        assert not counter.flush()
    counter._sink.close()
    counter._sink = there
    assert counter.flush()
    assert [len(sample) for sample in subjects_by_hour("beta").values()] == [10, 20, 30]


def test_a_fork_with_ready_made_decisions_neither_loses_nor_doubles(
    counter: UsageCounter,
) -> None:
    flag = compiled_for(counter, "beta")

    def ask(numbers: range) -> None:
        for number in numbers:
            next(flag.decide(f"user-{number}", {}, clock.now()).counter)

    ask(range(5))
    assert counter.flush()
    # Counted, and told by nobody yet.
    ask(range(5, 12))
    child = os.fork()
    if child == 0:
        ask(range(100, 103))
        told = counter.flush()
        ask(range(103, 107))
        os._exit(0 if told and counter.flush() else 1)
    ask(range(12, 20))
    assert os.waitpid(child, 0)[1] == 0
    assert total() == 5 + 3 + 4
    assert counter.flush()
    assert total() == 20 + 7
    (sample,) = subjects_by_hour("beta").values()
    assert len(sample) == 20 + 7
    assert counter.flush()
    assert total() == 20 + 7


class Refusing:
    """Where a process tells to: takes so many batches, and then none."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.told: list[UsageBatch] = []

    def tell(self, batch: UsageBatch) -> None:
        if len(self.told) >= self.takes:
            raise ConnectionError
        self.told.append(batch)

    def begin_process(self) -> None: ...

    def close(self) -> None: ...


def test_what_waited_long_is_told_in_parts_and_each_part_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("webapp.flags.usage.MOST_TOLD", 3)
    sink = Refusing(takes=2)
    usage = UsageCounter(sink, flush_seconds=3600)
    for number in range(8):
        count(usage, f"flag{number}", "production", WITHIN)
        usage.sample_of(f"flag{number}").add(number)
    usage.note_unknown("betta")
    assert not usage.flush()
    assert len(sink.told) == 2
    count(usage, "flag0", "production", WITHIN)
    sink.takes = 9
    assert usage.flush()
    assert [len(batch.counts) for batch in sink.told if batch.counts] == [3, 3, 3]
    told = [(key.flag, count) for batch in sink.told for key, count in batch.counts.items()]
    assert sorted(told) == [("flag0", 1), ("flag0", 1), *((f"flag{n}", 1) for n in range(1, 8))]
    assert [flag for batch in sink.told for flag, _ in batch.subjects] == [
        f"flag{number}" for number in range(8)
    ]
    assert all(key.flag in batch.uses for batch in sink.told for key in batch.counts)
    assert [name for batch in sink.told for name in batch.unknown] == ["betta"]
    told_so_far = len(sink.told)
    assert usage.flush()
    assert len(sink.told) == told_so_far


def test_the_largest_part_is_a_report_that_is_taken(now: datetime) -> None:
    keys = [
        UsageKey(f"{number:0>{MAX_NAME}}", now, "e" * MAX_WORD, "v" * MAX_WORD, True, "r" * 32)
        for number in range(2 * MOST_TOLD)
    ]
    sample = range(HASHES - SIZE, HASHES)
    batch = UsageBatch(
        dict.fromkeys(keys, 10**9),
        {key.flag: Span(now, now) for key in keys},
        {f"{number:0>{MAX_NAME}}": (1, Span(now, now)) for number in range(MAX_UNKNOWN)},
        {(key.flag, now): list(sample) for key in keys},
    )
    parts = parts_of(batch, MOST_TOLD)
    assert len(parts) == 2
    for part in parts:
        written = orjson.dumps(batch_as_document(part))
        assert len(written) <= MOST_BYTES
        report = UsageReport.model_validate_json(written)
        assert report.batch({key.flag for key in keys}, now=now).counts == part.counts


def test_environments_beyond_a_bound_and_odd_ones_are_counted_together(
    counter: UsageCounter,
) -> None:
    beta = FlagDefinition(name="beta", enabled=True, environment_overrides={"staging": True})
    tables = FlagTables(FlagSet(1, {"beta": beta}), "production", counter)
    odd: list[Any] = ["x" * 65, "nul\0", "\ud800", 7, OTHER_ENVIRONMENTS]
    more = 3
    for environment in [*odd, *(f"env{n}" for n in range(MAX_OTHERS + more)), "staging"]:
        flag = tables.table(environment).find("beta")
        assert flag is not None
        next(flag.decide("u", {}, clock.now()).counter)
    counter.flush()
    counted = {row[1]: row[-1] for row in rows()}
    assert counted["staging"] == 1
    assert counted[OTHER_ENVIRONMENTS] == len(odd) + more
    assert len(counted) == MAX_OTHERS + 2


def test_a_name_that_nobody_made_is_listed_until_somebody_makes_it(
    counter: UsageCounter, flag: str, now: datetime
) -> None:
    for name in ("betta", "betta", "", "x" * 256, "nul\0", "\ud800"):
        counter.note_unknown(name)
    counter.flush()
    with transaction() as session:
        listed = unknown_names(session, now=datetime.now(UTC))
        assert [(item.name, item.count) for item in listed] == [("betta", 2)]
        assert unknown_names(session, now=datetime.now(UTC) + timedelta(days=31)) == []
        make(session, "betta", now)
        assert unknown_names(session, now=datetime.now(UTC)) == []
        # One that was there is no misspelling.
        archive_flag(session, "betta", by=COMMAND, now=now, reason="r")
        assert unknown_names(session, now=datetime.now(UTC)) == []


def test_unknown_names_have_a_bound_in_memory_and_in_the_table(
    counter: UsageCounter, now: datetime
) -> None:
    for number in range(MAX_UNKNOWN + 50):
        counter.note_unknown(f"name{number}")
    counter.flush()
    with transaction() as session:
        assert len(session.scalars(select(UnknownFlag)).all()) == MAX_UNKNOWN
        later = datetime.now(UTC) + timedelta(hours=1)
        many = {f"later{n}": (1, Span(later, later)) for n in range(MAX_UNKNOWN_KEPT)}
        add_usage(session, UsageBatch(unknown=many))
        kept = set(session.scalars(select(UnknownFlag.name)))
    assert kept == set(many)


def test_asking_counts_flags_and_unknown_names(app: Flask, flag: str) -> None:
    is_enabled(flag, "u", environment="staging")
    is_enabled("betta", "u")
    usage = flag_store().usage
    assert usage is not None
    assert usage.flush()
    assert [(row[0], row[1], row[-1]) for row in rows()] == [("beta", "staging", 1)]
    with reading() as session:
        assert [item.name for item in unknown_names(session, now=datetime.now(UTC))] == ["betta"]


def test_with_counting_off_nothing_is_counted(
    app: Flask, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = flag_store().usage
    monkeypatch.setattr(flag_store(), "usage", None)
    # What is ready was made to count.
    flag_store().stop()
    is_enabled(flag, "u")
    is_enabled("betta", "u")
    assert usage is not None
    assert usage.flush()
    assert rows() == []


def test_a_setting_turns_counting_off(tmp_path: Path, app: Flask) -> None:
    assert app.extensions["flag_store"].usage is not None
    silent = create_app(make_settings(tmp_path, FF_ENABLE_METRICS="false"))
    assert silent.extensions["flag_store"].usage is None


def test_a_process_without_the_database_takes_no_name_for_unknown(
    app: Flask, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = flag_store()
    monkeypatch.setattr(type(store), "_look", lambda self, **how: False)
    assert not is_enabled(flag, "u")
    assert store.usage is not None
    store.usage.flush()
    with reading() as session:
        assert unknown_names(session, now=datetime.now(UTC)) == []


def test_the_list_tells_stale_flags(app: Flask, now: datetime) -> None:
    long_ago = now - timedelta(days=40)
    with app.app_context(), transaction() as session:
        for name, percentage in (("asked", 50), ("unasked", 50), ("settled", 100)):
            make(session, name, long_ago, percentage)
        make(session, "newer", now)
        uses = {name: Span(long_ago, now) for name in ("asked", "settled")}
        add_usage(session, UsageBatch(uses=uses))

        def stale(*, counting: bool) -> dict[str, str]:
            found = list_flags(session, FlagFilters(stale="true"), now=now, counting=counting)
            return {row.name: str(row.staleness) for row in found.rows}

        assert stale(counting=True) == {"unasked": "unused", "settled": "settled"}
        assert stale(counting=False) == {"settled": "settled"}
        fresh = list_flags(session, FlagFilters(stale="false"), now=now)
        assert [row.name for row in fresh.rows] == ["asked", "newer"]


def test_a_late_batch_turns_no_time_back(session: Session, now: datetime) -> None:
    for last in (now, now - timedelta(hours=1)):
        add_usage(session, UsageBatch(uses={"beta": Span(last, last)}))
    assert usage_of(session, "beta", hours=1, now=now).last_evaluated_at == now


def test_reasons_and_variants_are_summed(session: Session, now: datetime) -> None:
    hour = now.replace(minute=0, second=0, microsecond=0)
    counts = {
        UsageKey("beta", hour, environment, variant, variant != "", "percentage"): count
        for environment, variant, count in (
            ("production", "blue", 2),
            ("staging", "blue", 3),
            ("production", "red", 4),
            ("production", "", 7),
        )
    }
    add_usage(session, UsageBatch(counts=counts))
    usage = usage_of(session, "beta", hours=24, now=now)
    assert usage.by_variant == [("blue", 5), ("red", 4)]
    assert usage.by_reason == [("percentage", True, 9), ("percentage", False, 7)]
    db.session.rollback()


def test_flags_that_are_decided_together_count_one_by_one(flag: str) -> None:
    flag_store().evaluate_many([flag, "nobody-made-this"], "user-1", environment="staging")
    flag_store().evaluate_many(None, "user-1", environment="staging")
    usage = flag_store().usage
    assert usage is not None
    assert usage.flush()
    assert total() == 2
    with reading() as session:
        assert session.scalars(select(UnknownFlag.name)).all() == ["nobody-made-this"]
