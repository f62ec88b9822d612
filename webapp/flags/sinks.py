"""Where the counts of a process go: into the database."""

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from webapp.db import engine_options, will_write
from webapp.flags.batches import UsageBatch
from webapp.flags.recording import add_usage


class DatabaseSink:
    """Adds what a process counted to the shared rows, on a connection of its own."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._engine: Engine | None = None

    def tell(self, batch: UsageBatch) -> None:
        """Add a batch in one transaction."""
        with will_write(), Session(self._connected()) as session, session.begin():
            add_usage(session, batch)

    def begin_process(self) -> None:
        """Let go of the connection: the parent of a fork still speaks through that very socket."""
        if self._engine is not None:
            self._engine.dispose(close=False)
            self._engine = None

    def close(self) -> None:
        """Close the connection; telling opens it again."""
        if self._engine is not None:
            self._engine.dispose()

    def _connected(self) -> Engine:
        if self._engine is None:
            options = engine_options(self._database_url) | {"pool_size": 1, "max_overflow": 0}
            self._engine = create_engine(self._database_url, **options)
        return self._engine
