"""What the database's plumbing promises."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import Session

from tests.servers import PostgresServer
from webapp import db as database
from webapp.clock import now
from webapp.db import (
    after_commit,
    clock_difference,
    db,
    engine_options,
    gather_for_commit,
    storable,
    transaction,
)


def test_a_clock_that_is_ahead_of_the_databases_is_measured(session: Session) -> None:
    assert abs(clock_difference(session, now=now())) < 5
    ahead = clock_difference(session, now=now() + timedelta(hours=1))
    local = db.engine.dialect.name == "sqlite"
    assert ahead == 0 if local else 3595 < ahead < 3605


@pytest.mark.parametrize(
    ("text", "kept"), [("plain", "plain"), ("a\0b", "a\\0b"), ("\ud800", "\\ud800"), ("é", "é")]
)
def test_every_text_can_be_made_storable(text: str, kept: str) -> None:
    assert storable(text) == kept


def fail() -> None:
    raise ZeroDivisionError


def test_a_hook_that_fails_does_not_make_the_commit_look_failed(app: Flask) -> None:
    done: list[str] = []
    with app.app_context(), transaction() as session:
        after_commit(session, fail)
        after_commit(session, lambda: done.append("second"))
    assert done == ["second"]


def test_hooks_of_a_transaction_that_was_rolled_back_are_forgotten(session: Session) -> None:
    done: list[str] = []
    session.execute(select(1))
    after_commit(session, lambda: done.append("never"))
    session.rollback()
    session.execute(select(1))
    session.commit()
    assert done == []


def test_what_was_gathered_is_handed_over_once_and_in_order_after_the_commit(app: Flask) -> None:
    handed: list[list[int]] = []
    with app.app_context():
        with transaction() as session:
            for number in (1, 2, 3):
                gather_for_commit(session, handed.append, number)
            assert handed == []
        assert handed == [[1, 2, 3]]


@pytest.mark.postgres
def test_a_connection_that_was_cut_while_nobody_used_it_is_replaced(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "POSTGRES_TRUSTED_SECONDS", -1.0)
    engine = create_engine(postgres.url, **engine_options(postgres.url))
    other = create_engine(postgres.url)
    mine = text("SELECT pg_backend_pid()")
    with engine.connect() as connection:
        before = connection.scalar(mine)
    with other.connect() as connection:
        connection.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": before})
    with engine.connect() as connection:
        assert connection.scalar(mine) != before
    engine.dispose()
    other.dispose()
