"""What an application asks its database."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from sqlalchemy import event

from webapp.db import db


@contextmanager
def statements(app: Flask) -> Iterator[list[str]]:
    """Collect what this thread asks meanwhile; the flags' own thread asks beside it."""
    seen: list[str] = []
    mine = threading.get_ident()

    def note(*arguments: object) -> None:
        statement = str(arguments[2])
        if threading.get_ident() == mine and not statement.startswith("BEGIN"):
            seen.append(statement)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)
