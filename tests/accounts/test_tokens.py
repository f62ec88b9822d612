"""What a token is worth while time goes on, and while the database is away.

The thread's rounds are called by hand, at moments of the test's own, but where a test is about the
thread itself.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, event, select, text

from tests.conftest import ConsoleClient
from webapp.accounts import tokens
from webapp.accounts.database_tokens import DatabaseTokens
from webapp.accounts.models import ApiToken
from webapp.accounts.service import create_token, revoke_token
from webapp.accounts.token_sources import SourceAway, TokenUse
from webapp.accounts.tokens import TokenBook
from webapp.actors import COMMAND
from webapp.clock import now as clock_now
from webapp.db import db, reading, transaction
from webapp.roles import Role

ROOT = Path(__file__).parents[2]
NEVER = 3600.0
SECOND = timedelta(seconds=1)

# A process that is shown a token, forks, and tells until when it and its child take it.
WATCHER = r"""
import os, sys, time
from webapp.app import create_app
from webapp.clock import now
from webapp.settings import Settings

app = create_app(Settings.from_environment())
book, shown = app.extensions["token_book"], sys.argv[1]
assert book.grant(shown, now())
child = os.fork()
name = "child" if child == 0 else "parent"
assert book.grant(shown, now())
os.write(1, f"{name} ready\n".encode())
until = time.monotonic() + 20
while book.grant(shown, now()) and time.monotonic() < until:
    time.sleep(0.02)
os.write(1, f"{name} {book.grant(shown, now())}\n".encode())
book.stop()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.fixture
def source(app: Flask) -> DatabaseTokens:
    return DatabaseTokens(app.extensions["settings"].database_url)


@pytest.fixture
def book(app: Flask, source: DatabaseTokens) -> Iterator[TokenBook]:
    """A book of our own, whose thread never looks."""
    book = TokenBook(source, refresh_seconds=NEVER)
    with app.app_context():
        yield book
    book.stop()


def make_token(now: datetime, expires_at: datetime | None = None, name: str = "deploy") -> str:
    with transaction() as session:
        return create_token(
            session, name, role=Role.VIEWER, expires_at=expires_at, by=COMMAND, now=now
        ).text


def revoke(now: datetime, name: str = "deploy") -> None:
    with transaction() as session:
        revoke_token(session, name, by=COMMAND, now=now, reason="Leaked")


def last_use() -> datetime | None:
    with reading() as session:
        return session.scalars(select(ApiToken.last_used_at)).one()


@contextmanager
def tokens_away() -> Iterator[None]:
    """Take the table away, from every process and connection."""
    with db.engine.connect() as connection:
        connection.execute(text("ALTER TABLE api_tokens RENAME TO api_tokens_away"))
        connection.commit()
    try:
        yield
    finally:
        with db.engine.connect() as connection:
            connection.execute(text("ALTER TABLE api_tokens_away RENAME TO api_tokens"))
            connection.commit()


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect what this thread asks any database."""
    seen: list[str] = []
    mine = threading.get_ident()

    def note(connection: Any, cursor: Any, statement: str, *ignored: object) -> None:
        if threading.get_ident() == mine and not statement.startswith("BEGIN"):
            seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_a_known_token_is_worth_its_role(book: TokenBook, now: datetime) -> None:
    grant = book.grant(make_token(now), now)
    assert grant is not None
    assert (grant.name, grant.role) == ("deploy", Role.VIEWER)


@pytest.mark.parametrize("shown", ["swy_" + "x" * 40, "", "x", "é" * 10_000])
def test_an_unknown_token_is_worth_nothing(book: TokenBook, now: datetime, shown: str) -> None:
    assert book.grant(shown, now) is None


def test_a_token_that_was_seen_lately_costs_no_statement(book: TokenBook, now: datetime) -> None:
    shown = make_token(now)
    with statements() as first:
        assert book.grant(shown, now)
    with statements() as later:
        for moment in (now, now + SECOND, now + 1.9 * SECOND):
            assert book.grant(shown, moment)
    assert (len(first), later) == (1, [])


def test_a_token_in_use_is_never_asked_for_by_a_request(book: TokenBook, now: datetime) -> None:
    shown = make_token(now)
    assert book.grant(shown, now)
    for seconds in range(1, 90):
        book.refresh(now + seconds * SECOND)
        with statements() as seen:
            assert book.grant(shown, now + (seconds + 0.5) * SECOND)
        assert seen == []


def test_a_round_asks_for_all_tokens_at_once(book: TokenBook, now: datetime) -> None:
    shown = [make_token(now, name=f"shop-{number}") for number in range(20)]
    assert all(book.grant(text, now) for text in shown)
    book.refresh(now + SECOND)
    with statements() as seen:
        book.refresh(now + 2 * SECOND)
    assert len(seen) == 1


def test_a_round_leaves_out_what_nobody_uses(book: TokenBook, now: datetime) -> None:
    assert book.grant(make_token(now), now)
    book.refresh(now + SECOND)
    with statements() as seen:
        book.refresh(now + tokens.IN_USE_FOR)
    assert seen == []


def test_a_revoked_token_is_refused_within_two_seconds(book: TokenBook, now: datetime) -> None:
    shown = make_token(now)
    assert book.grant(shown, now)
    revoke(now)
    assert book.grant(shown, now + 2 * SECOND) is None
    assert book.grant(shown, now + 2 * SECOND) is None


def test_a_revoked_token_is_refused_once_the_thread_has_looked(
    book: TokenBook, now: datetime
) -> None:
    shown = make_token(now)
    assert book.grant(shown, now)
    revoke(now)
    book.refresh(now + SECOND)
    assert book.grant(shown, now + SECOND) is None


def test_an_answer_does_not_last_because_the_clock_was_set_back(
    book: TokenBook, now: datetime
) -> None:
    shown = make_token(now)
    assert book.grant(shown, now)
    revoke(now)
    assert book.grant(shown, now - timedelta(hours=1)) is None


def test_a_token_that_ran_out_is_refused_at_once(book: TokenBook, now: datetime) -> None:
    shown = make_token(now, now + SECOND)
    assert book.grant(shown, now)
    assert book.grant(shown, now + SECOND) is None


def test_use_is_noted_by_the_thread_at_most_once_a_minute(book: TokenBook, now: datetime) -> None:
    shown = make_token(now)
    noted = []
    for seconds in (0, 30, 59, 60, 90):
        moment = now + timedelta(seconds=seconds)
        with statements() as seen:
            assert book.grant(shown, moment)
        assert not any("UPDATE" in statement for statement in seen)
        book.refresh(moment)
        noted.append(last_use())
    minute = now + timedelta(minutes=1)
    assert noted == [now, now, now, minute, minute]


def test_two_processes_note_one_use(book: TokenBook, source: DatabaseTokens, now: datetime) -> None:
    shown = make_token(now)
    other = TokenBook(source, refresh_seconds=NEVER)
    for each, moment in ((book, now), (other, now + 5 * SECOND)):
        assert each.grant(shown, moment)
        each.refresh(moment)
    other.stop()
    assert last_use() == now


def test_a_flood_of_one_unknown_token_costs_a_query_a_second(
    book: TokenBook, now: datetime
) -> None:
    with statements() as seen:
        for hundredths in range(200):
            assert book.grant("swy_guessed", now + timedelta(milliseconds=10 * hundredths)) is None
    assert len(seen) == 2


def test_a_new_token_works_within_a_second_of_having_been_unknown(
    book: TokenBook, now: datetime
) -> None:
    shown = make_token(now)
    with transaction() as session:
        kept = session.scalars(select(ApiToken.token_hash)).one()
        session.execute(text("UPDATE api_tokens SET token_hash = 'other'"))
    assert book.grant(shown, now) is None
    with transaction() as session:
        session.execute(text("UPDATE api_tokens SET token_hash = :kept"), {"kept": kept})
    assert book.grant(shown, now + SECOND)


def test_unknown_tokens_do_not_fill_the_memory(
    book: TokenBook, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MAX_UNKNOWN", 3)
    for number in range(10):
        assert book.grant(f"swy_{number}", now) is None
    with statements() as seen:
        for number in range(10):
            book.grant(f"swy_{number}", now)
    assert len(book._unknown) == 3
    assert book._memories == {}
    assert len(seen) == 10


def test_of_more_tokens_than_are_remembered_the_least_used_is_forgotten(
    book: TokenBook, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MAX_REMEMBERED", 2)
    often, seldom, new = (make_token(now, name=name) for name in ("often", "seldom", "new"))
    assert book.grant(often, now)
    assert book.grant(seldom, now)
    assert book.grant(often, now + 0.1 * SECOND)
    assert book.grant(new, now + 0.2 * SECOND)
    with statements() as seen:
        assert book.grant(often, now + 0.3 * SECOND)
        assert book.grant(new, now + 0.3 * SECOND)
    assert seen == []
    assert len(book._memories) == 2


def test_a_known_token_holds_for_an_hour_without_the_database(
    book: TokenBook, now: datetime
) -> None:
    shown = make_token(now)
    assert book.grant(shown, now)
    with tokens_away():
        assert book.grant(shown, now + timedelta(minutes=59))
        with pytest.raises(SourceAway):
            book.grant(shown, now + timedelta(minutes=61))
        with pytest.raises(SourceAway):
            book.grant("swy_never_seen", now)


def test_a_token_that_runs_out_meanwhile_is_refused_without_the_database(
    book: TokenBook, now: datetime
) -> None:
    shown = make_token(now, now + timedelta(minutes=5))
    assert book.grant(shown, now)
    with tokens_away():
        assert book.grant(shown, now + timedelta(minutes=4))
        assert book.grant(shown, now + timedelta(minutes=5)) is None


def test_requests_do_not_wait_for_a_database_that_is_known_to_be_away(
    book: TokenBook, now: datetime
) -> None:
    shown = make_token(now)
    assert book.grant(shown, now)
    with tokens_away():
        book.refresh(now + SECOND)
        with statements() as seen:
            assert book.grant(shown, now + timedelta(minutes=10))
            with pytest.raises(SourceAway):
                book.grant("swy_never_seen", now + 1.5 * SECOND)
    assert seen == []


def test_what_was_revoked_during_an_outage_is_refused_after_it(
    book: TokenBook, now: datetime
) -> None:
    """Also where the token was not in use when the database came back."""
    shown = make_token(now)
    assert book.grant(shown, now)
    with tokens_away():
        book.refresh(now + SECOND)
    revoke(now)
    later = now + timedelta(minutes=30)
    book.refresh(later)
    assert book.grant(shown, later) is None


def test_a_token_that_was_never_seen_is_asked_for_again_after_a_second(
    book: TokenBook, now: datetime
) -> None:
    shown = make_token(now)
    with tokens_away(), pytest.raises(SourceAway):
        book.grant(shown, now)
    assert book.grant(shown, now + SECOND)


def test_an_outage_is_told_once(
    book: TokenBook, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    assert book.grant(make_token(now), now)
    with tokens_away():
        for seconds in range(1, 4):
            book.refresh(now + seconds * SECOND)
    assert caplog.text.count("tokens_not_confirmed") == 1


def test_a_use_that_could_not_be_noted_is_noted_later(
    book: TokenBook,
    source: DatabaseTokens,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(uses: Sequence[TokenUse]) -> None:
        raise SourceAway

    assert book.grant(make_token(now), now)
    with monkeypatch.context() as patch:
        patch.setattr(source, "note_uses", fail)
        book.refresh(now + SECOND)
        book.refresh(now + 2 * SECOND)
    assert caplog.text.count("token_use_not_noted") == 1
    assert last_use() is None
    book.refresh(now + 3 * SECOND)
    assert last_use() == now


def test_an_older_answer_does_not_take_a_newer_ones_place(
    book: TokenBook, source: DatabaseTokens, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = make_token(now)
    assert book.grant(shown, now)
    refresh = source.refresh

    def overtaken(keys: Sequence[str], *, now: datetime) -> Any:
        answers = refresh(keys, now=now)
        revoke(now)
        assert book.grant(shown, now + 2 * SECOND) is None
        return answers

    monkeypatch.setattr(source, "find", lambda text, now: None)
    monkeypatch.setattr(source, "refresh", overtaken)
    book.refresh(now + SECOND)
    assert book.grant(shown, now + 2 * SECOND) is None


def test_another_process_and_its_fork_refuse_a_revoked_token_within_two_seconds(
    app: Flask, book: TokenBook, tmp_path: Path
) -> None:
    shown = make_token(clock_now())
    environ = os.environ | {
        "DATABASE_URL": app.extensions["settings"].database_url,
        "INSTANCE_DIR": str(tmp_path),
        "ENVIRONMENT": "test",
        "LOG_LEVEL": "ERROR",
        "PYTHONPATH": str(ROOT),
    }
    with subprocess.Popen(
        [sys.executable, "-c", WATCHER, shown],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as watcher:
        assert watcher.stdout is not None
        ready = {watcher.stdout.readline().strip() for _ in range(2)}
        assert ready == {"parent ready", "child ready"}
        revoke(clock_now())
        revoked_at = time.monotonic()
        refused = {watcher.stdout.readline().strip() for _ in range(2)}
        took = time.monotonic() - revoked_at
    assert refused == {"parent None", "child None"}
    assert took < 2.2
    assert last_use() is not None


def test_a_request_with_a_token_that_cannot_be_looked_up_is_asked_to_come_back(
    app: Flask, client: ConsoleClient
) -> None:
    with app.app_context(), tokens_away():
        answer = client.get("/api/v1/token", headers={"Authorization": "Bearer swy_any"})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
