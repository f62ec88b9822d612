"""What a token is worth while time goes on, and while the database is away."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select, text

from webapp.accounts.models import ApiToken
from webapp.accounts.service import create_token, revoke_token
from webapp.accounts.tokens import TokenBook
from webapp.actors import COMMAND
from webapp.db import db, reading, transaction
from webapp.roles import Role


@pytest.fixture
def book(app: Flask) -> Iterator[TokenBook]:
    with app.app_context():
        yield TokenBook()


def make_token(now: datetime, expires_at: datetime | None = None) -> str:
    with transaction() as session:
        return create_token(
            session, "deploy", role=Role.VIEWER, expires_at=expires_at, by=COMMAND, now=now
        ).text


def last_use() -> datetime | None:
    with reading() as session:
        return session.scalars(select(ApiToken.last_used_at)).one()


def test_a_known_token_is_worth_its_role(book: TokenBook, now: datetime) -> None:
    grant = book.grant(make_token(now), now)
    assert grant is not None
    assert (grant.name, grant.role) == ("deploy", Role.VIEWER)


@pytest.mark.parametrize("shown", ["swy_" + "x" * 40, "", "x", "é" * 10_000])
def test_an_unknown_token_is_worth_nothing(book: TokenBook, now: datetime, shown: str) -> None:
    assert book.grant(shown, now) is None


def test_a_revoked_token_is_refused_within_two_seconds(book: TokenBook, now: datetime) -> None:
    shown = make_token(now)
    assert book.grant(shown, now)
    with transaction() as session:
        revoke_token(session, "deploy", by=COMMAND, now=now)
    assert book.grant(shown, now + timedelta(seconds=2)) is None
    assert book.grant(shown, now + timedelta(seconds=2)) is None


def test_a_token_that_ran_out_is_refused_at_once(book: TokenBook, now: datetime) -> None:
    shown = make_token(now, now + timedelta(seconds=1))
    assert book.grant(shown, now)
    assert book.grant(shown, now + timedelta(seconds=1)) is None


def test_use_is_noted_at_most_once_a_minute(book: TokenBook, now: datetime) -> None:
    shown = make_token(now)
    noted = []
    for seconds in (0, 30, 59, 60, 90):
        assert book.grant(shown, now + timedelta(seconds=seconds))
        noted.append(last_use())
    minute = now + timedelta(minutes=1)
    assert noted == [now, now, now, minute, minute]


def test_two_processes_note_one_use(book: TokenBook, now: datetime) -> None:
    shown = make_token(now)
    book.grant(shown, now)
    TokenBook().grant(shown, now + timedelta(seconds=5))
    assert last_use() == now


def test_a_known_token_holds_for_an_hour_without_the_database(
    book: TokenBook, now: datetime
) -> None:
    shown = make_token(now)
    assert book.grant(shown, now)
    with db.engine.connect() as connection:
        connection.execute(text("ALTER TABLE api_tokens RENAME TO api_tokens_away"))
        connection.commit()
    try:
        assert book.grant(shown, now + timedelta(minutes=59))
        with pytest.raises(Exception, match="api_tokens"):
            book.grant(shown, now + timedelta(minutes=61))
        with pytest.raises(Exception, match="api_tokens"):
            book.grant("swy_never_seen", now)
    finally:
        with db.engine.connect() as connection:
            connection.execute(text("ALTER TABLE api_tokens_away RENAME TO api_tokens"))
            connection.commit()
