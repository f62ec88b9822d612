"""A copy of a SQLite database while it is written to."""

import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import flask_migrate
import pytest

from tests.architecture.population import populate
from tests.conftest import NOW, end, make_settings
from tests.rows import rows_of
from webapp.app import create_app
from webapp.backup import back_up
from webapp.db import db, transaction
from webapp.errors import Conflict, Invalid


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "switchyard.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE pairs (number INTEGER, half TEXT)")
    return path


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Somebody who adds two rows with each transaction, and never one."""
    over, begun = threading.Event(), threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=20)) as connection:
            number = 0
            while not over.is_set():
                connection.execute("BEGIN IMMEDIATE")
                for half in ("left", "right"):
                    connection.execute("INSERT INTO pairs VALUES (?, ?)", (number, half))
                connection.execute("COMMIT")
                number += 1
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(20)
        yield
    finally:
        over.set()
        writer.join()


def test_a_copy_is_one_moment_and_one_file_though_somebody_writes(
    database: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    with written_to(database):
        sizes = [back_up(f"sqlite:///{database}", folder / f"{number}.db") for number in range(5)]
    # Neither drafts nor the files of a writer lie beside them.
    assert sorted(path.name for path in folder.iterdir()) == [f"{number}.db" for number in range(5)]
    assert [(folder / f"{number}.db").stat().st_size for number in range(5)] == sizes
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with closing(sqlite3.connect(path)) as copy:
            left, right, most = copy.execute(
                "SELECT sum(half = 'left'), sum(half = 'right'), max(number) + 1 FROM pairs"
            ).fetchone()
        assert left == right == most > 0


def test_a_file_that_is_there_stays(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "old.db"
    target.write_text("precious")
    with pytest.raises(Conflict, match=r"old\.db is there already"):
        back_up(f"sqlite:///{database}", target)
    assert target.read_text() == "precious"
    assert not list(tmp_path.glob(".old.db.*"))


def test_a_database_that_is_not_sound_gives_no_copy(database: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.executemany("INSERT INTO pairs VALUES (?, ?)", [(1, "x" * 900)] * 50)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    pages = bytearray(database.read_bytes())
    pages[4096:8192] = b"\xff" * 4096
    database.write_bytes(pages)
    with pytest.raises(Conflict, match="No copy was made"):
        back_up(f"sqlite:///{database}", tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql+psycopg://me:hunter2@host/db", "pg_dump --format=custom --file=FILE db"),
        ("sqlite:////nowhere/switchyard.db", "There is no database at /nowhere/switchyard.db"),
    ],
)
def test_what_cannot_be_copied_is_told(tmp_path: Path, url: str, told: str) -> None:
    with pytest.raises(Invalid) as refused:
        back_up(url, tmp_path / "copy.db")
    assert told in refused.value.detail
    assert "hunter2" not in refused.value.detail
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told(database: Path, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be written"):
        back_up(f"sqlite:///{database}", tmp_path / "nowhere" / "copy.db")


def test_a_restored_database_has_every_row_of_every_table(tmp_path: Path) -> None:
    app = create_app(make_settings(tmp_path))
    try:
        with app.app_context():
            flask_migrate.upgrade()
            with transaction() as session:
                populate(session, range(3), now=NOW)
            told = app.test_cli_runner().invoke(args=["backup", str(tmp_path / "copy.db")])
            assert told.output.endswith("bytes, checked.\n"), told.output
            url = app.extensions["settings"].database_url
    finally:
        end(app)
    before, after = rows_of(url), rows_of(f"sqlite:///{tmp_path / 'copy.db'}")
    assert after == before
    assert {table.name for table in db.metadata.sorted_tables} <= {
        name for name, rows in after.items() if rows
    }
