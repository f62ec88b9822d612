"""Signals over Redis: heard at once, mended where they are wrong, and never needed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import flask_migrate
import orjson
import pytest
import redis
from flask import Flask

from tests.conftest import end, make_settings
from tests.flags.conftest import SwitchableDatabase
from tests.processes import wait_until
from tests.servers import RedisServer, find_redis, missing_server
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.db import transaction
from webapp.flags.documents import flag_set_as_document
from webapp.flags.feeds import DatabaseFeed
from webapp.flags.queries import read_revision
from webapp.flags.service import change_flag, create_flag
from webapp.flags.signals import (
    CHANNEL,
    REVISION_KEY,
    SNAPSHOT_KEY,
    RedisSignals,
    SignalState,
)
from webapp.flags.snapshot import FlagStore
from webapp.flags.values import FlagChanges, FlagDefinition, FlagDraft, FlagSet
from webapp.redis_link import redis_client

pytestmark = pytest.mark.redis

ROOT = Path(__file__).parents[2]
WITHIN_SECONDS = 2.0
# A store that looks by itself so seldom learns by a signal or not at all.
SELDOM, OFTEN = 600.0, 0.05

# A process that looks at its database too seldom to learn of a change there.
HEARER = r"""
import os, time
from webapp.app import create_app
from webapp.flags import is_enabled
from webapp.flags.service import snapshot_status
from webapp.settings import Settings

app = create_app(Settings.from_environment())
with app.app_context():
    assert not is_enabled("beta", "u")
    os.write(1, f"{snapshot_status().signals}\n".encode())
    until = time.monotonic() + 20
    while not is_enabled("beta", "u") and time.monotonic() < until:
        time.sleep(0.01)
    os.write(1, f"{is_enabled('beta', 'u')}\n".encode())
"""

MakeStore = Callable[..., FlagStore]


class WatchedFeed(DatabaseFeed):
    """The flags of a database, and what they answered each time that somebody looked there."""

    def __init__(self, database: SwitchableDatabase) -> None:
        super().__init__(database.open_session)
        self.store: FlagStore | None = None
        self.seen: list[bool] = []

    def fetch(self, known: int) -> FlagSet | None:
        if self.store is not None:
            self.seen.append(self.store.evaluate("beta", "u").enabled)
        return super().fetch(known)


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    """An empty Redis."""
    redis_server.flush()
    return redis_server


@pytest.fixture
def client(server: RedisServer) -> Iterator["redis.Redis"]:
    """Somebody who looks into Redis, and writes there what nobody should."""
    with redis_client(server.url) as found:
        yield found


@pytest.fixture
def make_store(app: Flask, server: RedisServer) -> Iterator[MakeStore]:
    """Make the store of a further process; they end with the test."""
    made: list[FlagStore] = []

    def make(
        database: SwitchableDatabase | None = None,
        poll_seconds: float = SELDOM,
        redis_url: str = server.url,
        feed: DatabaseFeed | None = None,
    ) -> FlagStore:
        store = FlagStore(
            feed or DatabaseFeed((database or SwitchableDatabase(app)).open_session),
            environment="production",
            poll_seconds=poll_seconds,
            trust_seconds=60,
            signals=RedisSignals(redis_url),
        )
        made.append(store)
        return store

    yield make
    for store in made:
        store.stop()


@pytest.fixture(autouse=True)
def flag(app: Flask, now: datetime) -> Iterator[None]:
    """A flag that is on for nobody yet."""
    with app.app_context():
        with transaction() as session:
            draft = FlagDraft(name="beta", enabled=True)
            create_flag(session, draft, by=COMMAND, now=now, reason="r")
        yield


def turn(now: datetime, *, on: bool) -> None:
    with transaction() as session:
        changes = FlagChanges(percentage=100.0 if on else 0.0)
        change_flag(session, "beta", changes, by=COMMAND, now=now, reason="r")


def is_on(store: FlagStore) -> bool:
    return store.evaluate("beta", "u").enabled


def stored_revision() -> int:
    with transaction() as session:
        return read_revision(session)


def held(client: "redis.Redis") -> tuple[int, Any]:
    """Return what Redis holds: the revision, and the flags' document."""
    revision: Any = client.get(REVISION_KEY)
    snapshot: Any = client.get(SNAPSHOT_KEY)
    return int(revision or -1), orjson.loads(snapshot or "null")


def document_of(store: FlagStore) -> Any:
    return orjson.loads(orjson.dumps(flag_set_as_document(store.current().found)))


def test_a_change_is_published_once_and_told(
    make_store: MakeStore, client: "redis.Redis", now: datetime
) -> None:
    store = make_store()
    with client.pubsub(ignore_subscribe_messages=True) as heard:  # type: ignore[no-untyped-call]
        heard.subscribe(CHANNEL)
        heard.get_message(timeout=5)
        assert not is_on(store)
        assert held(client) == (stored_revision(), document_of(store))
        turn(now, on=True)
        assert store.refresh()
        assert is_on(store)
        assert held(client) == (stored_revision(), document_of(store))
        # Nothing is new, so nothing is told.
        assert store.refresh()
        told = [message["data"] for message in iter(lambda: heard.get_message(timeout=0.3), None)]
    assert told == [b"%d" % revision for revision in (stored_revision() - 1, stored_revision())]
    assert store.status().signals is SignalState.UP


def test_a_change_elsewhere_is_heard_without_a_look_at_the_database(
    app: Flask, make_store: MakeStore, now: datetime
) -> None:
    writer, hearer = make_store(), make_store()
    assert not is_on(hearer)
    assert not is_on(writer)
    for on in (True, False, True):
        turn(now, on=on)
        writer.refresh()
        wait_until(
            lambda wanted=on: is_on(hearer) is wanted,  # type: ignore[misc]
            seconds=WITHIN_SECONDS,
            what="the change is heard",
        )


def test_a_cold_process_starts_from_redis_while_its_database_is_away(
    app: Flask, make_store: MakeStore, now: datetime
) -> None:
    turn(now, on=True)
    make_store().status()
    database = SwitchableDatabase(app)
    database.away = True
    cold = make_store(database)
    status = cold.status()
    assert (status.loaded, status.flags, status.stale) == (True, 1, False)
    assert status.revision == stored_revision()
    assert is_on(cold)
    turn(now, on=False)
    assert not cold.refresh()
    assert is_on(cold)
    database.away = False
    assert cold.refresh()
    assert not is_on(cold)


def test_without_either_a_cold_process_says_so(app: Flask, make_store: MakeStore) -> None:
    database = SwitchableDatabase(app)
    database.away = True
    cold = make_store(database)
    assert not is_on(cold)
    assert not cold.status().loaded


def other_flags(revision: int) -> bytes:
    """Flags of somebody else, in good order."""
    other = FlagDefinition(name="beta", enabled=True, percentage=100.0)
    return orjson.dumps(flag_set_as_document(FlagSet(revision, {"beta": other})))


def garbage(client: "redis.Redis", revision: int) -> dict[str, Callable[[], object]]:
    """Return, by name, what may stand in Redis that is wrong; ``revision`` is what is right."""

    def put(number: object, snapshot: bytes) -> object:
        return client.mset({REVISION_KEY: str(number), SNAPSHOT_KEY: snapshot})

    shapes = [
        *(b"[]", b"7", b"{}", b"\xff\x00", b'{"revision": "x", "flags": [], "segments": {}}'),
        *(b'{"revision": 9e9, "flags": [], "segments": []}', b'{"revision": 99, "flags": 7}'),
        b'{"revision": 99, "flags": [{"name": 7}], "segments": {}}',
    ]
    return {
        "nothing": lambda: client.delete(REVISION_KEY, SNAPSHOT_KEY),
        "no snapshot": lambda: client.delete(SNAPSHOT_KEY),
        "no revision": lambda: client.delete(REVISION_KEY),
        "behind": lambda: put(revision - 1, other_flags(revision - 1)),
        "ahead": lambda: put(revision + 9, other_flags(revision + 9)),
        "ahead without flags": lambda: put(revision + 9, b"no flags"),
        "no number": lambda: put("ten", other_flags(revision)),
        "no whole number": lambda: put("1.5", other_flags(revision)),
        "endless": lambda: put("9" * 5_000, other_flags(revision)),
        "not finite": lambda: put("nan", other_flags(revision)),
    } | {f"ahead {shape!r}": lambda shape=shape: put(revision + 9, shape) for shape in shapes}


WRONG = [*garbage(redis.Redis(), 0)]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_publication_that_is_wrong_is_mended(
    app: Flask, make_store: MakeStore, client: "redis.Redis", now: datetime, wrong: str
) -> None:
    feed = WatchedFeed(SwitchableDatabase(app))
    store = make_store(feed=feed)
    assert not is_on(store)
    feed.store = store
    garbage(client, stored_revision())[wrong]()
    assert store.refresh()
    if wrong == "no snapshot":
        # The number is right: whoever finds no flags beside it mends it.
        assert make_store().status().loaded
    assert held(client) == (stored_revision(), document_of(store))
    assert not is_on(store)
    # What stands in Redis counts only where the database says so or is away.
    assert not any(feed.seen)
    turn(now, on=True)
    assert store.refresh()
    assert is_on(store)
    assert held(client) == (stored_revision(), document_of(store))


@pytest.mark.parametrize("wrong", WRONG)
def test_a_cold_process_starts_whatever_redis_holds(
    make_store: MakeStore, client: "redis.Redis", wrong: str
) -> None:
    make_store().status()
    garbage(client, stored_revision())[wrong]()
    cold = make_store()
    assert not is_on(cold)
    assert cold.status().loaded
    assert not cold.status().stale
    assert held(client) == (stored_revision(), document_of(cold))


def test_a_key_of_another_kind_is_a_redis_that_is_away(
    make_store: MakeStore, client: "redis.Redis", now: datetime
) -> None:
    client.lpush(REVISION_KEY, "1")
    store = make_store(poll_seconds=OFTEN)
    assert not is_on(store)
    assert store.status().signals is SignalState.DOWN
    turn(now, on=True)
    wait_until(lambda: is_on(store), seconds=WITHIN_SECONDS, what="the change is seen by a look")


def test_an_emptied_redis_is_healed_within_a_look(
    make_store: MakeStore, server: RedisServer, client: "redis.Redis"
) -> None:
    store = make_store(poll_seconds=OFTEN)
    assert not is_on(store)
    server.flush()
    wait_until(
        lambda: held(client) == (stored_revision(), document_of(store)),
        seconds=WITHIN_SECONDS,
        what="the flags are published again",
    )


@pytest.fixture
def mortal() -> Iterator[RedisServer]:
    """A Redis of this test's own, which it kills; nothing of it survives that."""
    program = find_redis()
    if program is None:
        missing_server("redis")
    with RedisServer(program, durable=False) as server:
        yield server


class CountedFeed(DatabaseFeed):
    """The flags of a database, and how often somebody has looked there."""

    looks = 0

    def fetch(self, known: int) -> FlagSet | None:
        found = super().fetch(known)
        self.looks += 1
        return found


def test_without_redis_evaluation_goes_on_and_a_look_finds_changes(
    app: Flask,
    make_store: MakeStore,
    mortal: RedisServer,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("webapp.redis_link.AWAY_SECONDS", 0.2)
    store = make_store(poll_seconds=OFTEN, redis_url=mortal.url)
    feed = CountedFeed(SwitchableDatabase(app).open_session)
    hearer = make_store(redis_url=mortal.url, feed=feed)
    assert not is_on(store)
    assert not is_on(hearer)
    # It looks once more when its subscription stands, and would tell of the loss itself.
    wait_until(lambda: feed.looks > 1, seconds=5, what="its subscription stands")
    mortal.kill()
    wait_until(
        lambda: store.status().signals is SignalState.DOWN, seconds=5, what="its loss is told"
    )
    turn(now, on=True)
    wait_until(lambda: is_on(store), seconds=WITHIN_SECONDS, what="the change is seen by a look")
    assert not store.status().stale
    # Who looks seldom hears nothing, and goes on as before.
    assert not is_on(hearer)
    mortal.start()
    wait_until(lambda: store.status().signals is SignalState.UP, seconds=5, what="it is back")
    with redis_client(mortal.url) as client:
        wait_until(
            lambda: held(client) == (stored_revision(), document_of(store)),
            seconds=5,
            what="the flags are published again",
        )
    # Its subscription stands again, and what was missed is caught up with.
    wait_until(lambda: is_on(hearer), seconds=5, what="the change is heard")
    assert caplog.text.count("redis_away") == 1


def test_a_redis_that_was_never_there_costs_nothing_but_its_signals(
    make_store: MakeStore, mortal: RedisServer, now: datetime
) -> None:
    mortal.kill()
    store = make_store(poll_seconds=OFTEN, redis_url=mortal.url)
    assert not is_on(store)
    assert (store.status().loaded, store.status().signals) == (True, SignalState.DOWN)
    turn(now, on=True)
    wait_until(lambda: is_on(store), seconds=WITHIN_SECONDS, what="the change is seen by a look")


def test_another_process_sees_a_change_at_once(
    app: Flask, make_store: MakeStore, server: RedisServer, now: datetime, tmp_path: Path
) -> None:
    environ = os.environ | {
        "DATABASE_URL": app.extensions["settings"].database_url,
        "REDIS_URL": server.url,
        "INSTANCE_DIR": str(tmp_path),
        "ENVIRONMENT": "test",
        "LOG_LEVEL": "ERROR",
        "FF_POLL_INTERVAL": "60",
        "PYTHONPATH": str(ROOT),
    }
    writer = make_store()
    assert not is_on(writer)
    with subprocess.Popen(
        [sys.executable, "-c", HEARER], env=environ, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as hearer:
        assert hearer.stdout is not None
        assert hearer.stdout.readline().strip() == "up"
        turn(now, on=True)
        writer.refresh()
        changed_at = time.monotonic()
        assert hearer.stdout.readline().strip() == "True"
        took = time.monotonic() - changed_at
    assert took < WITHIN_SECONDS


@pytest.fixture
def other_app(tmp_path: Path) -> Iterator[Flask]:
    """Another application, with a database of its own where the flag of this name is on."""
    app = create_app(make_settings(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path / 'other.db'}"))
    with app.app_context():
        flask_migrate.upgrade()
    yield app
    end(app)


@pytest.mark.parametrize("changes", [1, 2, 5])
def test_two_applications_on_one_redis_keep_their_own_flags(
    app: Flask,
    other_app: Flask,
    make_store: MakeStore,
    client: "redis.Redis",
    now: datetime,
    changes: int,
) -> None:
    with other_app.app_context(), transaction() as session:
        draft = FlagDraft(name="beta", enabled=True, percentage=100.0)
        create_flag(session, draft, by=COMMAND, now=now, reason="r")
        for number in range(changes):
            change = FlagChanges(description=str(number))
            change_flag(session, "beta", change, by=COMMAND, now=now, reason="r")
    feeds = [WatchedFeed(SwitchableDatabase(each)) for each in (app, other_app)]
    stores = [make_store(feed=feed) for feed in feeds]
    with client.pubsub(ignore_subscribe_messages=True) as heard:  # type: ignore[no-untyped-call]
        heard.subscribe(CHANNEL)
        heard.get_message(timeout=5)
        for feed, store in zip(feeds, stores, strict=True):
            store.status()
            feed.store = store
        for _ in range(5):
            for store in stores:
                assert store.refresh()
            assert [is_on(store) for store in stores] == [False, True]
        # They tell each other, and fall silent.
        told = iter(lambda: heard.get_message(timeout=0.5), None)
        number = sum(1 for _, message in zip(range(200), told, strict=False) if message)
    assert number < 50
    assert not any(feeds[0].seen)
    assert all(feeds[1].seen)
