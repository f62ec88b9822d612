"""Copies a SQLite database while others write to it: the copy is one moment, checked and one file.

A server has a program of its own for that, which knows more than we do; it is named, not called.
"""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from webapp.errors import Conflict, Invalid

#: How long a copy waits for somebody who has locked the whole database.
BUSY_SECONDS = 15


def back_up(database_url: str, target: Path) -> int:
    """Copy the database into a file that must not be there, and return its size in bytes.

    It is readable by its owner alone, and has its name only once it is whole and sound.
    """
    source = _file_of(database_url)
    if target.exists():
        message = f"{target} is there already: name another file."
        raise Conflict(message)
    with _draft_beside(target) as draft:
        try:
            _copy(source, draft)
        except sqlite3.Error as error:
            message = f"No copy was made: {error}."
            raise Conflict(message) from None
        size = draft.stat().st_size
        # No link: what backups go to may be a share that knows none.
        draft.replace(target)
    return size


def _file_of(database_url: str) -> Path:
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite":
        message = (
            "This database is PostgreSQL's: back it up with"
            f" pg_dump --format=custom --file=FILE {url.database}"
        )
        raise Invalid(message)
    path = Path(url.database or "")
    if not path.is_file():
        message = f"There is no database at {path}."
        raise Invalid(message)
    return path


@contextmanager
def _draft_beside(target: Path) -> Iterator[Path]:
    """Give an empty file in the same folder, which is gone afterwards under that name."""
    try:
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name}.", suffix=".part"
        )
    except OSError as error:
        message = f"{target.parent} cannot be written: {error.strerror}."
        raise Invalid(message) from None
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _copy(source: Path, draft: Path) -> None:
    # Read-only, so that a wrong name makes no file and a copy changes nothing.
    address = f"{source.absolute().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)) as original,
        closing(sqlite3.connect(draft, isolation_level=None)) as copy,
    ):
        # All pages in one step: writers go on meanwhile, and it never has to begin anew.
        original.backup(copy)
        # One file, without the two beside it that writers have.
        copy.execute("PRAGMA journal_mode = DELETE")
        faults = [row[0] for row in copy.execute("PRAGMA quick_check")]
    if faults != ["ok"]:
        message = f"it is not sound, and so may the database be: {faults[0]}"
        raise sqlite3.DatabaseError(message)
    _make_durable(draft)


def _make_durable(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
