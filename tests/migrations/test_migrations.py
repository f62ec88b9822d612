"""Migrations: one line of them, equal to the models, up and down with data in the tables."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import flask_migrate
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import func, inspect, select, table

from tests.architecture.population import populate
from tests.conftest import end, make_settings
from webapp.accounts.models import UserSession
from webapp.accounts.service import create_user
from webapp.actors import COMMAND
from webapp.app import create_app
from webapp.audit.service import record
from webapp.audit.values import Change
from webapp.audit.verification import verify
from webapp.db import db, reading, transaction, will_write
from webapp.roles import Role

ROOT = Path(__file__).resolve().parents[2]
BOOKKEEPING = "alembic_version"


def revisions() -> list[str]:
    """Every revision, newest first."""
    script = ScriptDirectory(str(ROOT / "migrations"))
    return [item.revision for item in script.walk_revisions()]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def empty_app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flask]:
    """The application on a database without any table."""
    if request.param == "sqlite":
        url, remove = f"sqlite:///{tmp_path / 'empty.db'}", None
    else:
        server = request.getfixturevalue("postgres")
        name = f"migrations_{tmp_path.name.lower()}"[:63]
        url, remove = server.create_database(name), lambda: server.drop_database(name)
    app = create_app(make_settings(tmp_path, DATABASE_URL=url))
    with app.app_context():
        yield app
        db.session.remove()
    end(app)
    if remove:
        remove()


def test_there_is_one_newest_migration_and_their_numbers_have_no_gap() -> None:
    assert len(ScriptDirectory(str(ROOT / "migrations")).get_heads()) == 1
    assert revisions()[::-1] == [f"{number + 1:04}" for number in range(len(revisions()))]


def test_the_migrated_database_equals_the_models(app: Flask) -> None:
    with app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, db.metadata) == []


def test_each_step_down_keeps_what_it_is_not_about(empty_app: Flask, now: datetime) -> None:
    flask_migrate.upgrade()
    fill(now)
    for _ in revisions():
        before = counts()
        flask_migrate.downgrade(revision="-1")
        after = counts()
        assert after == {name: before[name] for name in after}
        assert set(after) <= set(before)
    assert counts() == {}


def test_a_database_goes_down_to_nothing_and_up_again(empty_app: Flask, now: datetime) -> None:
    for _ in range(2):
        flask_migrate.upgrade()
        fill(now)
        assert min(counts().values()) >= 1
        flask_migrate.downgrade(revision="base")
        assert counts() == {}


def test_steps_up_one_by_one_come_to_the_same(empty_app: Flask, now: datetime) -> None:
    for revision in reversed(revisions()):
        flask_migrate.upgrade(revision=revision)
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, db.metadata) == []
    fill(now)


def test_entries_of_before_the_chain_are_chained_in_their_order(
    empty_app: Flask, now: datetime
) -> None:
    flask_migrate.upgrade()
    with transaction() as session:
        for number in range(2_500):
            at = now - timedelta(seconds=number, microseconds=number)
            changes = {"percentage": Change(number, number / 3)}
            about = {"action": "flag.updated", "subject": "flag", "name": "ä"}
            record(session, by=COMMAND, at=at, reason="\U0001f6a6", changes=changes, **about)
    with reading() as session:
        written = verify(session)
    flask_migrate.downgrade(revision="0006")
    assert counts()["audit_entries"] == 2_500
    flask_migrate.upgrade()
    with reading() as session:
        assert verify(session) == written
    assert (written.right, written.breach) == (2_500, None)


def test_the_steps_can_be_written_as_sql_for_somebody_else_to_run(
    empty_app: Flask, capsys: pytest.CaptureFixture[str]
) -> None:
    flask_migrate.upgrade(sql=True)
    written = capsys.readouterr().out
    assert written.count("CREATE TABLE") > len(revisions())
    assert counts() == {}


def fill(now: datetime) -> None:
    """Put at least one row into each table."""
    with will_write():
        user = create_user(
            db.session, "ada", password="a long password", role=Role.ADMIN, by=COMMAND, now=now
        )
        db.session.add(UserSession(id="0" * 64, user_id=user.id, started_at=now))
        populate(db.session(), range(7), now=now)
        db.session.commit()


def counts() -> dict[str, int]:
    """Return the number of rows of each table that there is."""
    with db.engine.connect() as connection:
        names = set(inspect(connection).get_table_names()) - {BOOKKEEPING}
        count = select(func.count())
        return {
            name: connection.scalar(count.select_from(table(name))) or 0 for name in sorted(names)
        }
