"""Tokens by way of a real Redis: published by whoever has the database, read by who has not."""

import os
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import orjson
import pytest
from flask import Flask
from redis import Redis

from tasks.periodic import publish_tokens as beat
from tests.conftest import end, make_settings
from tests.processes import wait_until
from tests.servers import RedisServer
from webapp.accounts.database_tokens import DatabaseTokens
from webapp.accounts.policy import token_hash
from webapp.accounts.redis_tokens import KEY, RedisTokens
from webapp.accounts.service import create_token, revoke_token
from webapp.accounts.token_publishing import TokenPublisher, provide_publisher
from webapp.accounts.token_sources import SourceAway
from webapp.accounts.tokens import TokenBook
from webapp.accounts.values import TokenGrant
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.clock import now as clock_now
from webapp.db import db, transaction, will_write
from webapp.roles import Role

pytestmark = pytest.mark.redis

SECOND = timedelta(seconds=1)
SHORT = 0.05


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    redis_server.start()
    redis_server.flush()
    with Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def source(redis: Redis, redis_server: RedisServer) -> Iterator[RedisTokens]:
    source = RedisTokens(redis_server.url)
    yield source
    source.close()


@pytest.fixture
def book(source: RedisTokens) -> Iterator[TokenBook]:
    """The book of a process that has no database; its thread never looks."""
    book = TokenBook(source, refresh_seconds=3600)
    yield book
    book.stop()


@pytest.fixture
def database(app: Flask) -> Iterator[DatabaseTokens]:
    database = DatabaseTokens(app.extensions["settings"].database_url)
    with app.app_context():
        yield database
    database.close()


@pytest.fixture
def publisher(
    database: DatabaseTokens, redis: Redis, redis_server: RedisServer
) -> Iterator[TokenPublisher]:
    """The publisher of this process, as an application with Redis provides it."""
    publisher = TokenPublisher(
        database.published, RedisTokens(redis_server.url), beat_seconds=SHORT
    )
    provide_publisher(publisher)
    yield publisher
    provide_publisher(None)
    publisher.stop()


def make_token(name: str = "shop", expires_at: datetime | None = None) -> str:
    with transaction() as session:
        return create_token(
            session,
            name,
            role=Role.OPERATOR,
            environment="staging",
            expires_at=expires_at,
            by=COMMAND,
            now=clock_now(),
        ).text


def revoke(name: str = "shop") -> None:
    with transaction() as session:
        revoke_token(session, name, by=COMMAND, now=clock_now(), reason="Leaked")


def test_a_new_token_is_good_at_once(publisher: TokenPublisher, book: TokenBook) -> None:
    runs_out = clock_now() + timedelta(days=1)
    grant = book.grant(make_token(expires_at=runs_out), clock_now())
    assert grant is not None
    assert (grant.name, grant.role, grant.environment) == ("shop", Role.OPERATOR, "staging")
    assert grant.expires_at == runs_out


def test_what_is_published_is_the_grant_by_the_hash_of_the_token(
    publisher: TokenPublisher, redis: Redis
) -> None:
    shown = make_token()
    published = redis.hget(KEY, token_hash(shown))
    assert isinstance(published, bytes)
    told = orjson.loads(published)
    assert isinstance(told.pop("id"), int)
    assert told == {
        "kind": "token",
        "name": "shop",
        "role": "operator",
        "environment": "staging",
        "expires_at": None,
    }


def test_an_unknown_token_is_worth_nothing(publisher: TokenPublisher, book: TokenBook) -> None:
    publisher.publish()
    assert book.grant("swy_invented", clock_now()) is None


def test_a_revoked_token_is_refused_by_the_next_look(
    publisher: TokenPublisher, book: TokenBook
) -> None:
    shown, now = make_token(), clock_now()
    assert book.grant(shown, now)
    revoke()
    book.refresh(now + SECOND)
    assert book.grant(shown, now + SECOND) is None


def test_a_change_that_is_rolled_back_is_not_published(
    publisher: TokenPublisher, source: RedisTokens
) -> None:
    publisher.publish()
    with will_write():
        made = create_token(db.session, "shop", role=Role.VIEWER, by=COMMAND, now=clock_now())
        db.session.rollback()
    assert source.find(made.text, now=clock_now()) is None


def test_tokens_that_are_worth_nothing_are_not_published(
    publisher: TokenPublisher, database: DatabaseTokens, redis: Redis
) -> None:
    make_token("revoked")
    revoke("revoked")
    make_token("runs-out", expires_at=clock_now() + SECOND)
    good = make_token("good")
    assert redis.hlen(KEY) == 3
    assert list(database.published(clock_now() + SECOND)) == [token_hash(good)]


def test_a_token_that_ran_out_is_refused_at_once(
    publisher: TokenPublisher, book: TokenBook
) -> None:
    runs_out = clock_now() + timedelta(minutes=1)
    shown = make_token(expires_at=runs_out)
    assert book.grant(shown, runs_out - SECOND)
    assert book.grant(shown, runs_out) is None


def test_whoever_read_the_database_earlier_does_not_bring_a_revoked_token_back(
    publisher: TokenPublisher,
    database: DatabaseTokens,
    source: RedisTokens,
    redis_server: RedisServer,
) -> None:
    shown = make_token()
    reads = []

    def overtaken(now: datetime) -> Mapping[str, TokenGrant]:
        grants = database.published(now)
        reads.append(len(grants))
        if len(reads) == 1:
            revoke()
        return grants

    other = TokenPublisher(overtaken, RedisTokens(redis_server.url))
    other.publish()
    other.stop()
    assert reads == [1, 0]
    assert source.find(shown, now=clock_now()) is None


def test_an_emptied_redis_is_no_proof_that_a_token_is_worthless(
    publisher: TokenPublisher, book: TokenBook, redis_server: RedisServer
) -> None:
    shown, now = make_token(), clock_now()
    assert book.grant(shown, now)
    redis_server.flush()
    book.refresh(now + SECOND)
    assert book.grant(shown, now + timedelta(minutes=59))
    with pytest.raises(SourceAway):
        book.grant("swy_never_seen", now + timedelta(minutes=59))
    with pytest.raises(SourceAway):
        book.grant(shown, now + timedelta(minutes=61))


def test_an_emptied_redis_is_told_again_by_the_thread(
    publisher: TokenPublisher, source: RedisTokens, redis: Redis, redis_server: RedisServer
) -> None:
    shown = make_token()
    redis_server.flush()
    publisher.start()
    for _ in range(2):
        wait_until(lambda: redis.exists(KEY) == 1, seconds=5, what="tokens are published")
        assert source.find(shown, now=clock_now())
        redis_server.flush()


def test_a_redis_that_was_away_is_told_what_changed_meanwhile(
    publisher: TokenPublisher, book: TokenBook, redis_server: RedisServer
) -> None:
    revoked, now = make_token("revoked"), clock_now()
    assert book.grant(revoked, now)
    redis_server.stop()
    revoke("revoked")
    made = make_token("made")
    book.refresh(now + SECOND)
    assert book.grant(revoked, now + SECOND)
    redis_server.start()
    publisher.publish()
    book.refresh(now + 2 * SECOND)
    assert book.grant(revoked, now + 2 * SECOND) is None
    assert book.grant(made, now + 2 * SECOND)


def test_a_redis_that_is_away_disturbs_no_change_and_is_told_of_once(
    publisher: TokenPublisher, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.stop()
    try:
        for name in ("one", "two", "three"):
            assert make_token(name)
    finally:
        redis_server.start()
    assert caplog.text.count("tokens_not_published") == 1
    assert "after_commit_failed" not in caplog.text


def test_what_was_published_long_ago_is_not_believed(
    publisher: TokenPublisher, source: RedisTokens
) -> None:
    shown, now = make_token(), clock_now()
    assert source.find(shown, now=now + timedelta(minutes=59))
    with pytest.raises(SourceAway):
        source.find(shown, now=now + timedelta(minutes=61))


def test_a_grant_that_only_a_newer_version_understands_is_worth_nothing(
    publisher: TokenPublisher, source: RedisTokens, redis: Redis
) -> None:
    shown = make_token()
    redis.hset(KEY, token_hash(shown), '{"name": "shop", "role": "emperor"}')
    assert source.find(shown, now=clock_now()) is None


def test_a_forked_child_reads_over_connections_of_its_own(
    publisher: TokenPublisher, book: TokenBook
) -> None:
    shown, now = make_token(), clock_now()
    assert book.grant(shown, now)
    child = os.fork()
    if child == 0:
        good = all(book.grant(shown, now + n * 3 * SECOND) for n in range(1, 50))
        os._exit(0 if good else 1)
    assert all(book.grant(shown, now + n * 3 * SECOND) for n in range(1, 50))
    assert os.waitpid(child, 0)[1] == 0


def test_an_application_with_redis_publishes_from_its_first_request(
    app: Flask, source: RedisTokens, redis: Redis, redis_server: RedisServer, tmp_path: Path
) -> None:
    with app.app_context():
        shown = make_token()
    other = create_app(
        make_settings(
            tmp_path,
            DATABASE_URL=app.extensions["settings"].database_url,
            REDIS_URL=redis_server.url,
        )
    )
    try:
        assert redis.exists(KEY) == 0
        assert other.test_client().get("/health").status_code == 200
        wait_until(lambda: redis.exists(KEY) == 1, seconds=5, what="tokens are published")
    finally:
        end(other)
    assert source.find(shown, now=clock_now())


def test_the_consumers_beat_publishes(
    app: Flask, publisher: TokenPublisher, redis: Redis, redis_server: RedisServer
) -> None:
    make_token()
    redis_server.flush()
    beat(app)
    wait_until(lambda: redis.exists(KEY) == 1, seconds=5, what="tokens are published")
