"""The database: Flask-SQLAlchemy's ``db``, engine recipes for SQLite and PostgreSQL, column types.

One transaction per request or task.  Services take the session and never commit; edges commit.
What must happen only after a commit (handing a job to the queue, swapping the flag snapshot) is
registered with :func:`after_commit`.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session as FlaskSession
from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    DateTime,
    Engine,
    Float,
    Integer,
    MetaData,
    event,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session, scoped_session
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from webapp.logs import get_logger

log = get_logger(__name__)

# A request that only reads must not queue behind writers, so SQLite's write lock is taken at
# BEGIN only where the caller says that it will write.
_writing: ContextVar[bool] = ContextVar("writing", default=False)

# Under this name in ``session.info``: who holds the commit.
_HELD: Final = "held_commit"

DbSession = Session | scoped_session[Any]

SQLITE_BUSY_SECONDS = 15
POSTGRES_CONNECT_SECONDS = 5
POSTGRES_STATEMENT_MS = 30_000
POSTGRES_LOCK_MS = 10_000
POSTGRES_SILENCE_MS = 10_000
# A connection that was used so recently is not asked whether it is alive: under load that question
# would be a fifth of all traffic, and no server restarts in less.
POSTGRES_TRUSTED_SECONDS = 0.2


class Base(DeclarativeBase):
    """Base of every model; constraints are named, so that migrations can name them too."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time; a naive one is refused, since nobody can say what it meant."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store as UTC; SQLite keeps no zone, so it is stripped there."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = f"naive time {value!r}"
            raise ValueError(message)
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read back as UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class SecondsBetween(FunctionElement[float]):
    """How many seconds lie between two columns of times, to the microsecond; SQL only."""

    type = Float()
    inherit_cache = True


@compiles(SecondsBetween)
def _seconds_between(element: SecondsBetween, compiler: SQLCompiler, **options: Any) -> str:
    earlier, later = (compiler.process(clause, **options) for clause in element.clauses)
    return f"CAST(EXTRACT(EPOCH FROM ({later} - {earlier})) AS DOUBLE PRECISION)"


@compiles(SecondsBetween, "sqlite")
def _seconds_between_texts(element: SecondsBetween, compiler: SQLCompiler, **options: Any) -> str:
    """Subtract milliseconds and the digits behind them apart: SQLite's times end there."""
    earlier, later = (compiler.process(clause, **options) for clause in element.clauses)
    days = f"julianday(substr({later}, 1, 23)) - julianday(substr({earlier}, 1, 23))"
    rest = f"substr({later}, 24) - substr({earlier}, 24)"
    return f"(round(({days}) * 86400000) / 1000 + ({rest}) / 1000000.0)"


# SQLite numbers rows by itself only in a column of exactly this type.
BigId = BigInteger().with_variant(Integer(), "sqlite")
MOST_ID = 2**63 - 1
Json = JSON()


class RequestSession(FlaskSession):
    """The session of a request, whose commits can be held until its answer is known."""

    def commit(self) -> None:
        """Commit, or write what is to be committed where somebody holds the commit."""
        held: HeldCommit | None = self.info.get(_HELD)
        if held is None:
            super().commit()
        else:
            self.flush()
            held.wanted = True

    def rollback(self) -> None:
        """Roll back, also what was held."""
        if (held := self.info.get(_HELD)) is not None:
            held.wanted = False
        super().rollback()


@dataclass(slots=True)
class HeldCommit:
    """A commit that is held; ``wanted`` tells whether somebody asked for it."""

    session: Session
    wanted: bool = False

    def commit(self) -> None:
        """Hold no longer, and commit."""
        del self.session.info[_HELD]
        self.session.commit()


@contextmanager
def held_commit(session: scoped_session[Any]) -> Iterator[HeldCommit]:
    """Hold the commits of a request's session, for somebody who has to add to its transaction.

    What the block asks to be committed is written, and is committed by :meth:`HeldCommit.commit`;
    without that it does not stand.  What waits for the commit waits for that one.
    """
    real = session()
    held = real.info[_HELD] = HeldCommit(real)
    try:
        yield held
    finally:
        if real.info.pop(_HELD, None):
            real.rollback()


db = SQLAlchemy(
    model_class=Base, session_options={"class_": RequestSession, "expire_on_commit": False}
)


def engine_options(database_url: str, *, answer_seconds: float | None = None) -> dict[str, Any]:
    """Return the options of ``create_engine`` for one database; no wait is without a limit.

    ``answer_seconds`` makes all limits shorter, for those who cannot wait as a request may.
    """
    if make_url(database_url).get_backend_name() == "sqlite":
        busy_seconds = answer_seconds or SQLITE_BUSY_SECONDS
        return {
            "hide_parameters": True,
            "connect_args": {"timeout": busy_seconds, "isolation_level": None},
        }
    answer_ms = int(answer_seconds * 1000) if answer_seconds else None
    return {
        # An error's text goes into the log, and parameters may be secret.
        "hide_parameters": True,
        "pool_size": 8,
        "max_overflow": 8,
        "pool_timeout": 10,
        "pool_recycle": 1800,
        "connect_args": {
            "connect_timeout": math.ceil(answer_seconds or POSTGRES_CONNECT_SECONDS),
            # A server behind a cut cable is noticed in seconds, and not in a quarter of an hour.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": answer_ms or POSTGRES_SILENCE_MS,
            "options": (
                f"-c statement_timeout={answer_ms or POSTGRES_STATEMENT_MS}"
                f" -c lock_timeout={answer_ms or POSTGRES_LOCK_MS} -c timezone=UTC"
            ),
        },
    }


@event.listens_for(Engine, "connect")
def _prepare_sqlite(connection: Any, record: Any) -> None:
    """Set the pragmas of a new SQLite connection: WAL, foreign keys, no lost commit."""
    del record
    if type(connection).__module__ != "sqlite3":
        return
    for pragma in (
        "journal_mode = WAL",
        # NORMAL may lose the last transactions with the machine's power.
        "synchronous = FULL",
        "foreign_keys = ON",
        "cache_size = -16000",
    ):
        connection.execute(f"PRAGMA {pragma}")


@event.listens_for(Engine, "connect")
def _note_process(connection: Any, record: ConnectionPoolEntry) -> None:
    del connection
    record.info["process"] = os.getpid()
    record.info["used_at"] = time.monotonic()


@event.listens_for(Engine, "checkout")
def _refuse_unusable(
    connection: Any, record: ConnectionPoolEntry, proxy: PoolProxiedConnection
) -> None:
    """Have a connection replaced that another process or nobody is at the end of.

    A forked child has connections of its own: two processes on one socket garble each other.  The
    parent's is let go without closing it, since the parent still uses it.
    """
    if record.info["process"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None  # type: ignore[misc]
        message = "the connection belongs to the parent process"
        raise DisconnectionError(message)
    if time.monotonic() - record.info["used_at"] > POSTGRES_TRUSTED_SECONDS:
        _ask_whether_alive(connection)


def _ask_whether_alive(connection: Any) -> None:
    """Have a connection replaced whose server is gone; SQLite's is a file, and always there."""
    if type(connection).__module__ == "sqlite3":
        return
    try:
        connection.execute("SELECT")
        connection.rollback()
    except connection.OperationalError as error:
        message = "the connection was cut while nobody used it"
        raise DisconnectionError(message) from error


@event.listens_for(Engine, "checkin")
def _note_use(connection: Any, record: ConnectionPoolEntry) -> None:
    del connection
    record.info["used_at"] = time.monotonic()


@event.listens_for(Engine, "begin")
def _begin_sqlite(connection: Connection) -> None:
    """Begin explicitly, since ``isolation_level=None`` stops sqlite3 from doing so.

    A transaction that will write takes the lock at once: one that reads first and writes later
    would fail with BUSY, whatever the timeout, if somebody wrote in between.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if _writing.get() else "BEGIN")


@contextmanager
def will_write() -> Iterator[None]:
    """Mark the transactions begun inside as writing ones."""
    token = _writing.set(True)
    try:
        yield
    finally:
        _writing.reset(token)


def mark_writing(*, writing: bool) -> None:
    """Mark the rest of this context (a request) as writing or not."""
    _writing.set(writing)


def write_from_here(session: DbSession) -> None:
    """Let a session write that has only read so far: what it read is over, SQLite's lock is taken.

    Nothing happens where the present transaction is a writing one already.
    """
    if not _writing.get():
        session.rollback()
        mark_writing(writing=True)
    # Waited for here, by whoever has done all that needs no lock.
    session.connection()


@contextmanager
def transaction(engine: Engine | None = None) -> Iterator[Session]:
    """One writing transaction on a session of its own, committed at the end or rolled back.

    For tasks, beats and commands; a request uses ``db.session`` and commits at its edge.  Without
    an engine it is that of the present application.
    """
    bind = engine or db.engine
    with will_write(), Session(bind, expire_on_commit=False) as session, session.begin():
        # SQLite's write lock is waited for here, so that a time that is taken inside is not old
        # by the time it is written.
        session.connection()
        yield session


@contextmanager
def reading(engine: Engine | None = None) -> Iterator[Session]:
    """One reading transaction on a session of its own, also inside a writing context."""
    token = _writing.set(False)
    try:
        with Session(engine or db.engine, expire_on_commit=False) as session:
            yield session
    finally:
        _writing.reset(token)


def keep_view(session: Session) -> None:
    """Let every statement of a fresh reading session see the database as its first one does."""
    # A reading transaction of SQLite does so by itself.
    if session.get_bind().dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def clock_difference(session: DbSession, *, now: datetime) -> float:
    """Return by how many seconds ``now`` is ahead of the database's clock; 0 for a local file."""
    if session.get_bind().dialect.name == "sqlite":
        return 0.0
    there = session.scalar(select(func.clock_timestamp()))
    return (now - there).total_seconds() if isinstance(there, datetime) else 0.0


def insert_into(session: DbSession, model: type[Base]) -> Any:
    """Return an INSERT that knows ON CONFLICT, as the session's database writes it."""
    sqlite = session.get_bind().dialect.name == "sqlite"
    return (sqlite_insert if sqlite else postgresql_insert)(model)


def storable(text: str) -> str:
    """Return a text as every database can hold it: without NUL and without half a character."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def after_commit(session: DbSession, action: Callable[[], None]) -> None:
    """Run ``action`` once when this session's transaction has been committed, else never.

    Once also where it is given several times: a transaction that changes a hundred flags reloads
    them once.
    """
    _waiting(session)[action] = None


def gather_for_commit(
    session: DbSession, action: Callable[[list[Any]], None], item: object
) -> None:
    """Run ``action`` once after the commit, as above, with all items that it was given."""
    _waiting(session).setdefault(action, []).append(item)


def _waiting(session: DbSession) -> dict[Callable[..., None], Any]:
    real = session() if isinstance(session, scoped_session) else session
    waiting: dict[Callable[..., None], Any] = real.info.setdefault("after_commit", {})
    return waiting


@event.listens_for(Session, "after_commit")
def _run_actions(session: Session) -> None:
    """Run what waits for the commit.  The session can no longer be used for SQL here."""
    if session.in_nested_transaction():
        return
    for action, items in session.info.pop("after_commit", {}).items():
        try:
            action() if items is None else action(items)
        except Exception:
            # What was committed stands: the caller must not take it for failed.
            log.exception("after_commit_failed")


@event.listens_for(Session, "after_rollback")
def _drop_actions(session: Session) -> None:
    if session.in_nested_transaction():
        # Only a savepoint: the transaction, and what waits for its commit, goes on.
        return
    session.info.pop("after_commit", None)
