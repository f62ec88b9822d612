"""Which class an error has: as tables, with errors that were really raised where that is simple."""

import csv
import errno
import gzip
import json
import socket
import sqlite3
import ssl
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import httpx
import huey.exceptions
import orjson
import psycopg
import pydantic
import pytest
import redis
import sqlalchemy as sa
import sqlalchemy.exc
from redis.backoff import NoBackoff
from redis.retry import Retry

from webapp.breakers.circuit import OpenCircuitError
from webapp.errors import Conflict, Forbidden, Invalid, NotFound, Throttled, Unavailable
from webapp.jobs.values import Deferred
from webapp.retries.classification import classify, postpone, register_error_class
from webapp.retries.values import ErrorClass

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def raised(action: Callable[[], object]) -> Exception:
    """Return the error that ``action`` really raises."""
    try:
        action()
    except Exception as error:  # noqa: BLE001  # that is what is asked
        return error
    raise AssertionError("nothing was raised")


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def answer(status: int, **headers: str) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://service.example/")
    response = httpx.Response(
        status, headers={key.replace("_", "-"): value for key, value in headers.items()}
    )
    return httpx.HTTPStatusError(str(status), request=request, response=response)


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        # Our own words are meant, whatever caused them.
        (Invalid("no"), ErrorClass.INVALID_INPUT),
        (NotFound("no"), ErrorClass.INVALID_INPUT),
        (Conflict("no"), ErrorClass.INVALID_INPUT),
        (Forbidden("no"), ErrorClass.INVALID_INPUT),
        (Unavailable("away"), ErrorClass.NETWORK),
        (caused(Invalid("no"), TimeoutError()), ErrorClass.INVALID_INPUT),
        # The machine.
        (MemoryError(), ErrorClass.RESOURCE_EXHAUSTED),
        (RecursionError(), ErrorClass.RESOURCE_EXHAUSTED),
        *(
            (OSError(code, "full"), ErrorClass.RESOURCE_EXHAUSTED)
            for code in (
                errno.ENOSPC,
                errno.EDQUOT,
                errno.EMFILE,
                errno.ENFILE,
                errno.EIO,
                errno.EROFS,
                errno.ENOMEM,
            )
        ),
        (
            caused(httpx.ConnectError("no"), OSError(errno.EMFILE, "files")),
            ErrorClass.RESOURCE_EXHAUSTED,
        ),
        # What does not decode.
        (raised(lambda: json.loads("{")), ErrorClass.MALFORMED),
        (raised(lambda: orjson.loads(b"{")), ErrorClass.MALFORMED),
        (raised(b"\xff".decode), ErrorClass.MALFORMED),
        (raised(lambda: gzip.decompress(b"no gzip")), ErrorClass.MALFORMED),
        (raised(lambda: zlib.decompress(b"no zlib")), ErrorClass.MALFORMED),
        (raised(lambda: list(csv.reader(["a\0\rb"]))), ErrorClass.MALFORMED),
        (httpx.DecodingError("bad gzip"), ErrorClass.MALFORMED),
        # The operating system.
        (raised(lambda: Path("/nowhere/at/all").read_text()), ErrorClass.MISCONFIGURED),
        (raised(lambda: Path("/").read_text()), ErrorClass.MISCONFIGURED),
        (PermissionError(errno.EACCES, "no"), ErrorClass.MISCONFIGURED),
        (ConnectionResetError(errno.ECONNRESET, "reset"), ErrorClass.NETWORK),
        (BrokenPipeError(errno.EPIPE, "pipe"), ErrorClass.NETWORK),
        (socket.gaierror(socket.EAI_NONAME, "unknown name"), ErrorClass.NETWORK),
        (OSError(errno.ENETUNREACH, "unreachable"), ErrorClass.NETWORK),
        (TimeoutError(), ErrorClass.TIMEOUT),
        (OSError(errno.ETIMEDOUT, "timed out"), ErrorClass.TIMEOUT),
        # TLS: a certificate error is an OSError and a ValueError too.
        (ssl.SSLCertVerificationError(1, "bad certificate"), ErrorClass.MISCONFIGURED),
        (ssl.SSLEOFError(8, "cut"), ErrorClass.NETWORK),
        (
            caused(httpx.ConnectError("tls"), ssl.SSLCertVerificationError(1, "bad")),
            ErrorClass.MISCONFIGURED,
        ),
        # httpx: InvalidURL is no HTTPError.
        (raised(lambda: httpx.get("http://[::1")), ErrorClass.MISCONFIGURED),
        (raised(lambda: httpx.get("gopher://service.example")), ErrorClass.MISCONFIGURED),
        (httpx.TooManyRedirects("loop"), ErrorClass.MISCONFIGURED),
        (httpx.PoolTimeout("pool"), ErrorClass.TIMEOUT),
        (httpx.WriteTimeout("write"), ErrorClass.TIMEOUT),
        (httpx.RemoteProtocolError("cut"), ErrorClass.NETWORK),
        (httpx.ProxyError("proxy"), ErrorClass.NETWORK),
        # redis: AuthenticationError is a ConnectionError, TimeoutError is not the built-in one.
        (redis.AuthenticationError(), ErrorClass.UNAUTHORIZED),
        (redis.exceptions.AuthorizationError(), ErrorClass.UNAUTHORIZED),
        (redis.exceptions.NoPermissionError(), ErrorClass.UNAUTHORIZED),
        (redis.ConnectionError(), ErrorClass.NETWORK),
        (redis.BusyLoadingError(), ErrorClass.NETWORK),
        (redis.ReadOnlyError(), ErrorClass.NETWORK),
        (redis.exceptions.ClusterDownError("down"), ErrorClass.NETWORK),
        (redis.TimeoutError(), ErrorClass.TIMEOUT),
        (redis.OutOfMemoryError(), ErrorClass.RESOURCE_EXHAUSTED),
        (redis.ResponseError("wrong type"), ErrorClass.BUG),
        # sqlalchemy: its TimeoutError is not the built-in one either.
        (sqlalchemy.exc.TimeoutError(), ErrorClass.TIMEOUT),
        (sqlalchemy.exc.InvalidRequestError(), ErrorClass.BUG),
        # Huey's are plain exceptions and no failures: nothing here retries them.
        (huey.exceptions.TaskTimeout(), ErrorClass.TIMEOUT),
        (huey.exceptions.RetryTask(), ErrorClass.BUG),
        (huey.exceptions.CancelExecution(), ErrorClass.BUG),
        (huey.exceptions.TaskLockedException(), ErrorClass.BUG),
        # Everything else.
        (raised(lambda: pydantic.TypeAdapter(int).validate_python("x")), ErrorClass.INVALID_INPUT),
        (TypeError("bug"), ErrorClass.BUG),
        (KeyError("bug"), ErrorClass.BUG),
        (ValueError("bug"), ErrorClass.BUG),
        # Inside something of somebody's own.
        (caused(RuntimeError("fetch"), TimeoutError()), ErrorClass.TIMEOUT),
        (RuntimeError("fetch", ConnectionRefusedError()), ErrorClass.NETWORK),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value)[:60],
)
def test_an_error_has_a_class(error: Exception, error_class: ErrorClass) -> None:
    assert classify(error).error_class == error_class


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (400, ErrorClass.BAD_REQUEST),
        (401, ErrorClass.UNAUTHORIZED),
        (403, ErrorClass.UNAUTHORIZED),
        (404, ErrorClass.NOT_FOUND),
        (407, ErrorClass.UNAUTHORIZED),
        (408, ErrorClass.TIMEOUT),
        (409, ErrorClass.BAD_REQUEST),
        (410, ErrorClass.NOT_FOUND),
        (422, ErrorClass.BAD_REQUEST),
        (429, ErrorClass.RATE_LIMITED),
        (499, ErrorClass.BAD_REQUEST),
        (500, ErrorClass.SERVER_ERROR),
        (501, ErrorClass.SERVER_ERROR),
        (504, ErrorClass.SERVER_ERROR),
        (505, ErrorClass.MISCONFIGURED),
        (507, ErrorClass.SERVER_ERROR),
        (520, ErrorClass.SERVER_ERROR),
        (530, ErrorClass.SERVER_ERROR),
    ],
)
def test_a_status_has_a_class_and_names_itself_as_the_rule(
    status: int, error_class: ErrorClass
) -> None:
    found = classify(answer(status))
    assert (found.error_class, found.rule) == (error_class, f"http status {status}")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "120"}, 120),
        ({"Retry_After": "0"}, 0),
        ({"Retry_After": "99999999"}, 86_400),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "-5"}, None),
        ({}, None),
        # A date counts from the answer's own, so a clock that is wrong here changes nothing.
        (
            {
                "Date": "Sun, 22 Nov 2020 10:00:00 GMT",
                "Retry_After": "Sun, 22 Nov 2020 10:01:30 GMT",
            },
            90,
        ),
        ({"Retry_After": format_datetime(NOW.replace(minute=2), usegmt=True)}, 120),
        ({"Retry_After": format_datetime(NOW.replace(year=2025), usegmt=True)}, 0),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert classify(answer(429, **headers), now=NOW).retry_after == seconds
    assert classify(answer(503, **headers), now=NOW).retry_after == seconds
    assert classify(answer(500, **headers), now=NOW).retry_after is None


@pytest.mark.parametrize(
    ("error", "error_class", "seconds"),
    [
        (OpenCircuitError("billing", 7.5), ErrorClass.OPEN_CIRCUIT, 7.5),
        (Throttled("wait", retry_after=3.0), ErrorClass.THROTTLED, 3.0),
        (Deferred("wait", seconds=4.0), ErrorClass.THROTTLED, 4.0),
        (caused(RuntimeError(), OpenCircuitError("billing", 7.5)), ErrorClass.OPEN_CIRCUIT, 7.5),
    ],
)
def test_our_own_guards_name_the_time(
    error: Exception, error_class: ErrorClass, seconds: float
) -> None:
    found = classify(error)
    assert (found.error_class, found.retry_after) == (error_class, seconds)


def test_a_wait_written_on_an_error_is_found_through_what_wraps_it() -> None:
    error = ConnectionResetError()
    postpone(error, 45.0)
    assert classify(caused(RuntimeError(), error)).retry_after == 45.0


def test_what_was_merely_being_handled_does_not_count() -> None:
    error = ValueError()
    error.__context__ = TimeoutError()
    assert classify(error).error_class == ErrorClass.BUG


def test_a_loop_of_causes_ends() -> None:
    first, second = RuntimeError(), RuntimeError()
    first.__cause__, second.__cause__ = second, first
    assert classify(first).error_class == ErrorClass.BUG


def test_a_registered_type_wins_over_every_rule_for_all_that_derive_from_it() -> None:
    class QuotaExceeded(ValueError):
        pass

    class DailyQuotaExceeded(QuotaExceeded):
        pass

    register_error_class(QuotaExceeded, ErrorClass.RATE_LIMITED)
    found = classify(DailyQuotaExceeded())
    assert (found.error_class, found.rule) == (ErrorClass.RATE_LIMITED, "registered QuotaExceeded")


class TestSqlite:
    """A lock and a missing table share OperationalError; only the code tells them apart."""

    @pytest.fixture
    def engine(self, tmp_path: Path) -> sa.Engine:
        engine = sa.create_engine(f"sqlite:///{tmp_path / 'case.db'}", poolclass=sa.NullPool)
        sa.event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA busy_timeout = 0"))
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE things (id INTEGER PRIMARY KEY NOT NULL)")
            connection.exec_driver_sql("INSERT INTO things VALUES (1)")
        return engine

    @pytest.mark.parametrize(
        ("statement", "error_class", "rule"),
        [
            ("SELECT * FROM nothing", ErrorClass.BUG, "sqlite SQLITE_ERROR"),
            (
                "INSERT INTO things VALUES (1)",
                ErrorClass.INVALID_INPUT,
                "sqlite SQLITE_CONSTRAINT_PRIMARYKEY",
            ),
        ],
    )
    def test_a_statement_that_fails(
        self, engine: sa.Engine, statement: str, error_class: ErrorClass, rule: str
    ) -> None:
        with engine.connect() as connection:
            found = classify(raised(lambda: connection.exec_driver_sql(statement)))
        assert (found.error_class, found.rule) == (error_class, rule)

    def test_a_locked_database(self, engine: sa.Engine, tmp_path: Path) -> None:
        def insert() -> None:
            with engine.begin() as connection:
                connection.exec_driver_sql("INSERT INTO things VALUES (2)")

        holder = sqlite3.connect(tmp_path / "case.db", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        error = raised(insert)
        holder.close()
        assert isinstance(error, sqlalchemy.exc.OperationalError)
        assert classify(error).error_class == ErrorClass.TIMEOUT

    def test_a_file_that_cannot_be_opened(self) -> None:
        error = raised(lambda: sa.create_engine("sqlite:////nowhere/at/all.db").connect())
        assert classify(error).error_class == ErrorClass.MISCONFIGURED

    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "text.db").write_text("no database " * 100)
        engine = sa.create_engine(f"sqlite:///{tmp_path / 'text.db'}", poolclass=sa.NullPool)
        assert classify(raised(engine.connect)).error_class == ErrorClass.MISCONFIGURED


SQLSTATES = [
    ("40001", ErrorClass.NETWORK),
    ("40P01", ErrorClass.NETWORK),
    ("55P03", ErrorClass.TIMEOUT),
    ("57014", ErrorClass.TIMEOUT),
    ("57P01", ErrorClass.NETWORK),
    ("57P02", ErrorClass.NETWORK),
    ("57P03", ErrorClass.NETWORK),
    ("53300", ErrorClass.NETWORK),
    ("08006", ErrorClass.NETWORK),
    ("53100", ErrorClass.RESOURCE_EXHAUSTED),
    ("53200", ErrorClass.RESOURCE_EXHAUSTED),
    ("28P01", ErrorClass.UNAUTHORIZED),
    ("42501", ErrorClass.UNAUTHORIZED),
    ("23505", ErrorClass.INVALID_INPUT),
    ("22003", ErrorClass.INVALID_INPUT),
    ("42P01", ErrorClass.BUG),
    ("42601", ErrorClass.BUG),
]


@pytest.mark.parametrize(("state", "error_class"), SQLSTATES)
def test_a_postgresql_error_goes_by_its_code(state: str, error_class: ErrorClass) -> None:
    error = psycopg.errors.lookup(state)("as the driver raises it")
    assert classify(error).error_class == error_class
    assert classify(sqlalchemy.exc.DBAPIError("SELECT 1", {}, error)).error_class == error_class


@pytest.mark.postgres
class TestPostgresql:
    """The same, raised by a real server."""

    @pytest.fixture
    def engine(self, postgres: object) -> sa.Engine:
        return sa.create_engine(str(postgres.url), poolclass=sa.NullPool)  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("statement", "error_class"),
        [
            ("SELECT * FROM nothing", ErrorClass.BUG),
            ("SELECT 1/0", ErrorClass.INVALID_INPUT),
            ("SET statement_timeout = 20; SELECT pg_sleep(5)", ErrorClass.TIMEOUT),
            ("SELECT pg_terminate_backend(pg_backend_pid())", ErrorClass.NETWORK),
            (
                "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$",
                ErrorClass.NETWORK,
            ),
            (
                "CREATE TEMP TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (1)",
                ErrorClass.INVALID_INPUT,
            ),
        ],
    )
    def test_a_statement_that_fails(
        self, engine: sa.Engine, statement: str, error_class: ErrorClass
    ) -> None:
        def run() -> None:
            with engine.connect() as connection:
                connection.exec_driver_sql(statement)

        assert classify(raised(run)).error_class == error_class

    @pytest.mark.parametrize(
        ("change", "error_class"),
        [
            ({"username": "nobody_of_that_name"}, ErrorClass.UNAUTHORIZED),
            ({"database": "no_such_database"}, ErrorClass.MISCONFIGURED),
            ({"port": 1}, ErrorClass.NETWORK),
            ({"host": "no-such-host.invalid"}, ErrorClass.NETWORK),
        ],
    )
    def test_a_connection_that_fails(
        self, engine: sa.Engine, change: dict[str, str], error_class: ErrorClass
    ) -> None:
        other = sa.create_engine(engine.url.set(**change), poolclass=sa.NullPool)  # type: ignore[arg-type]
        assert classify(raised(other.connect)).error_class == error_class


@pytest.mark.redis
def test_a_redis_that_asks_for_a_password(redis_server: object) -> None:
    client = redis.Redis.from_url(str(redis_server.url), username="nobody", password="wrong")  # type: ignore[attr-defined]
    assert classify(raised(client.ping)).error_class == ErrorClass.UNAUTHORIZED


def test_a_redis_that_is_away() -> None:
    client = redis.Redis(port=1, retry=Retry(NoBackoff(), 0))
    assert classify(raised(client.ping)).error_class == ErrorClass.NETWORK
