"""What kind of failure an exception is; the only place that knows exception types.

Pure.  Rules go from specific to general, and each looks at the error and at what lies inside it:
``__cause__``, ``.reason``, ``.orig`` and ``args``, but not ``__context__``, which is only what
happened to be handled at that moment.  Types of libraries are known by name, so that looking at an
error loads no library.
"""

import errno
import re
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from webapp.errors import DomainError, Throttled, Unavailable
from webapp.jobs.values import Deferred
from webapp.outbound.values import AddressRefused, AnswerTooLarge
from webapp.retries.values import Classification, ErrorClass

# Longer than this nobody means it, and a job would never be seen again.
MAX_RETRY_AFTER = 86_400.0

_MAX_FAULTS = 16

_registered: dict[type[BaseException], ErrorClass] = {}


def classify(error: BaseException, *, now: datetime | None = None) -> Classification:
    """Return the class of ``error``, the rule that matched, and the wait that it names.

    ``now`` is for a ``Retry-After`` date in an answer that bears no ``Date`` of its own.
    """
    faults = tuple(_faults(error))
    for rule in _RULES:
        for fault in faults:
            found = rule(fault)
            if found is not None:
                wait = _asked_wait(faults, found[0], now)
                return Classification(found[0], found[1], wait)
    return Classification(ErrorClass.BUG, f"no rule for {type(error).__name__}", _postponed(faults))


def register_error_class(kind: type[BaseException], error_class: ErrorClass) -> None:
    """Give an exception type (and what derives from it) a class; it wins over every rule."""
    _registered[kind] = error_class


def comes_from(error: BaseException, libraries: Iterable[str]) -> bool:
    """Tell whether an error, or what lies inside it, is one of these libraries'."""
    packages = {name.partition(".")[0] for fault in _faults(error) for name in _type_names(fault)}
    return not packages.isdisjoint(libraries)


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an error, or what lies inside it, brings."""
    statuses = (_status_of(fault) for fault in _faults(error))
    return next((status for status in statuses if status is not None), None)


def postpone(error: BaseException, seconds: float) -> None:
    """Write a wait on an error that is raised on, for whoever schedules the next attempt."""
    error.retry_wait = seconds  # type: ignore[attr-defined]


def _faults(error: BaseException) -> Iterator[BaseException]:
    """Walk from an error to its causes, outermost first, each once."""
    waiting = [error]
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_FAULTS:
        fault = waiting.pop(0)
        if id(fault) in seen:
            continue
        seen.add(id(fault))
        yield fault
        inner = (fault.__cause__, *(getattr(fault, name, None) for name in ("reason", "orig")))
        waiting += [item for item in (*inner, *fault.args) if isinstance(item, BaseException)]


Found = tuple[ErrorClass, str] | None


def _by_registration(fault: BaseException) -> Found:
    for kind in type(fault).__mro__:
        if kind in _registered:
            return _registered[kind], f"registered {kind.__name__}"
    return None


def _by_our_own(fault: BaseException) -> Found:
    """Take what our own code says as meant, whatever caused it."""
    if isinstance(fault, Throttled | Deferred):
        return ErrorClass.THROTTLED, f"our own {type(fault).__name__}"
    if isinstance(fault, AddressRefused):
        return ErrorClass.MISCONFIGURED, "our own AddressRefused"
    if isinstance(fault, Unavailable):
        return ErrorClass.NETWORK, "our own Unavailable"
    if isinstance(fault, AnswerTooLarge):
        return ErrorClass.MISCONFIGURED, "our own AnswerTooLarge"
    if isinstance(fault, DomainError):
        return ErrorClass.INVALID_INPUT, f"our own {type(fault).__name__}"
    if "pybreaker.CircuitBreakerError" in _type_names(fault):
        return ErrorClass.OPEN_CIRCUIT, "open circuit"
    return None


_EXHAUSTED_ERRNOS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EMFILE,
        errno.ENFILE,
        errno.EIO,
        errno.EROFS,
        errno.ENOMEM,
    }
)


def _by_resources(fault: BaseException) -> Found:
    """Find what the machine has run out of, however deep inside a library it showed."""
    if isinstance(fault, MemoryError | RecursionError):
        return ErrorClass.RESOURCE_EXHAUSTED, type(fault).__name__
    if isinstance(fault, OSError) and fault.errno in _EXHAUSTED_ERRNOS:
        return ErrorClass.RESOURCE_EXHAUSTED, f"errno {errno.errorcode[fault.errno]}"
    return None


_STATUS_CLASSES = {
    HTTPStatus.UNAUTHORIZED: ErrorClass.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN: ErrorClass.UNAUTHORIZED,
    HTTPStatus.NOT_FOUND: ErrorClass.NOT_FOUND,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: ErrorClass.UNAUTHORIZED,
    HTTPStatus.REQUEST_TIMEOUT: ErrorClass.TIMEOUT,
    HTTPStatus.GONE: ErrorClass.NOT_FOUND,
    HTTPStatus.TOO_MANY_REQUESTS: ErrorClass.RATE_LIMITED,
    HTTPStatus.INSUFFICIENT_STORAGE: ErrorClass.SERVER_ERROR,
}
# 520 to 530 are those of proxies and content networks for an origin in trouble.
_SERVER_ERRORS = (range(500, 505), range(520, 531))


def _by_http_status(fault: BaseException) -> Found:
    status = _status_of(fault)
    # An error beside a good answer (a body that does not decode) has its class from elsewhere.
    if status is None or HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    rule = f"http status {status}"
    if status in _STATUS_CLASSES:
        return _STATUS_CLASSES[HTTPStatus(status)], rule
    if any(status in codes for codes in _SERVER_ERRORS):
        return ErrorClass.SERVER_ERROR, rule
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return ErrorClass.BAD_REQUEST, rule
    # 501 and above that no table names (505, 511, 599) will answer the same tomorrow, and a
    # redirect or 1xx that became an error is one that nobody follows.
    return ErrorClass.MISCONFIGURED, rule


def _status_of(fault: BaseException) -> int | None:
    """Read the status from httpx and requests (``.response``) and urllib (``.code``)."""
    status = getattr(getattr(fault, "response", None), "status_code", None)
    if status is None and "urllib.error.HTTPError" in _type_names(fault):
        status = getattr(fault, "code", None)
    return status if isinstance(status, int) else None


def _by_tls(fault: BaseException) -> Found:
    """Tell a bad certificate, which stays bad, from a connection cut during the handshake."""
    if isinstance(fault, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
        return ErrorClass.NETWORK, f"tls {type(fault).__name__}"
    if isinstance(fault, ssl.SSLError | ssl.CertificateError):
        return ErrorClass.MISCONFIGURED, f"tls {type(fault).__name__}"
    return None


_SQLITE_CODES = (
    ("SQLITE_BUSY", ErrorClass.TIMEOUT),
    ("SQLITE_LOCKED", ErrorClass.TIMEOUT),
    ("SQLITE_FULL", ErrorClass.RESOURCE_EXHAUSTED),
    ("SQLITE_IOERR", ErrorClass.RESOURCE_EXHAUSTED),
    ("SQLITE_NOMEM", ErrorClass.RESOURCE_EXHAUSTED),
    ("SQLITE_CANTOPEN", ErrorClass.MISCONFIGURED),
    ("SQLITE_PERM", ErrorClass.MISCONFIGURED),
    ("SQLITE_READONLY", ErrorClass.MISCONFIGURED),
    ("SQLITE_NOTADB", ErrorClass.MISCONFIGURED),
    ("SQLITE_CONSTRAINT", ErrorClass.INVALID_INPUT),
    ("SQLITE_TOOBIG", ErrorClass.INVALID_INPUT),
)


def _by_sqlite_code(fault: BaseException) -> Found:
    """Go by the beginning: an extended code such as SQLITE_BUSY_SNAPSHOT holds its primary one."""
    name = getattr(fault, "sqlite_errorname", None)
    if not isinstance(name, str):
        return None
    error_class = next((kind for code, kind in _SQLITE_CODES if name.startswith(code)), None)
    return (error_class or ErrorClass.BUG), f"sqlite {name}"


# Whole codes stand before the classes of two characters that hold them.
_SQLSTATES = (
    ("40001", ErrorClass.NETWORK),
    ("40P01", ErrorClass.NETWORK),
    ("55P03", ErrorClass.TIMEOUT),
    ("57014", ErrorClass.TIMEOUT),
    ("57P01", ErrorClass.NETWORK),
    ("57P02", ErrorClass.NETWORK),
    ("57P03", ErrorClass.NETWORK),
    ("57P05", ErrorClass.NETWORK),
    ("25P03", ErrorClass.NETWORK),
    ("53300", ErrorClass.NETWORK),
    ("53100", ErrorClass.RESOURCE_EXHAUSTED),
    ("53200", ErrorClass.RESOURCE_EXHAUSTED),
    ("42501", ErrorClass.UNAUTHORIZED),
    ("3D000", ErrorClass.MISCONFIGURED),
    ("25006", ErrorClass.NETWORK),
    ("08", ErrorClass.NETWORK),
    ("28", ErrorClass.UNAUTHORIZED),
    ("22", ErrorClass.INVALID_INPUT),
    ("23", ErrorClass.INVALID_INPUT),
)
# A connection that is refused carries no code, only what the server said, in English unless it
# was set up otherwise.
_POSTGRES_REFUSALS = (
    (
        re.compile(r"authentication failed|no pg_hba\.conf entry|role .* does not exist"),
        ErrorClass.UNAUTHORIZED,
    ),
    (re.compile(r"database .* does not exist"), ErrorClass.MISCONFIGURED),
)


def _by_sqlstate(fault: BaseException) -> Found:
    names = _type_names(fault)
    if "psycopg.Error" not in names:
        return None
    state = getattr(fault, "sqlstate", None)
    if isinstance(state, str):
        error_class = next((kind for code, kind in _SQLSTATES if state.startswith(code)), None)
        return (error_class or ErrorClass.BUG), f"sqlstate {state}"
    if "psycopg.errors.ConnectionTimeout" in names:
        return ErrorClass.TIMEOUT, "type psycopg.errors.ConnectionTimeout"
    if "psycopg.OperationalError" not in names:
        return None
    for pattern, kind in _POSTGRES_REFUSALS:
        if pattern.search(str(fault)):
            return kind, "postgresql refused the connection"
    return ErrorClass.NETWORK, "postgresql connection"


_TYPES = {
    # httpx
    "httpx.TimeoutException": ErrorClass.TIMEOUT,
    "httpx.LocalProtocolError": ErrorClass.MISCONFIGURED,
    "httpx.UnsupportedProtocol": ErrorClass.MISCONFIGURED,
    "httpx.InvalidURL": ErrorClass.MISCONFIGURED,
    "httpx.TooManyRedirects": ErrorClass.MISCONFIGURED,
    "httpx.DecodingError": ErrorClass.MALFORMED,
    "httpx.TransportError": ErrorClass.NETWORK,
    # redis
    "redis.exceptions.AuthenticationError": ErrorClass.UNAUTHORIZED,
    "redis.exceptions.AuthenticationWrongNumberOfArgsError": ErrorClass.UNAUTHORIZED,
    "redis.exceptions.AuthorizationError": ErrorClass.UNAUTHORIZED,
    "redis.exceptions.NoPermissionError": ErrorClass.UNAUTHORIZED,
    "redis.exceptions.ExternalAuthProviderError": ErrorClass.UNAUTHORIZED,
    "redis.exceptions.OutOfMemoryError": ErrorClass.RESOURCE_EXHAUSTED,
    "redis.exceptions.TimeoutError": ErrorClass.TIMEOUT,
    "redis.exceptions.ReadOnlyError": ErrorClass.NETWORK,
    "redis.exceptions.ClusterDownError": ErrorClass.NETWORK,
    "redis.exceptions.TryAgainError": ErrorClass.NETWORK,
    "redis.exceptions.InvalidResponse": ErrorClass.NETWORK,
    "redis.exceptions.ConnectionError": ErrorClass.NETWORK,
    "redis.exceptions.DataError": ErrorClass.INVALID_INPUT,
    # sqlalchemy: what the driver said stands in ``orig`` and has its own rules above
    "sqlalchemy.exc.TimeoutError": ErrorClass.TIMEOUT,
    "sqlalchemy.exc.DisconnectionError": ErrorClass.NETWORK,
    "sqlalchemy.exc.IntegrityError": ErrorClass.INVALID_INPUT,
    "sqlalchemy.exc.DataError": ErrorClass.INVALID_INPUT,
    "huey.exceptions.TaskTimeout": ErrorClass.TIMEOUT,
    # urllib3's NewConnectionError and NameResolutionError are TimeoutErrors, yet mean network.
    "urllib3.exceptions.NewConnectionError": ErrorClass.NETWORK,
    "urllib3.exceptions.NameResolutionError": ErrorClass.NETWORK,
    "urllib3.exceptions.TimeoutError": ErrorClass.TIMEOUT,
    "urllib3.exceptions.ProtocolError": ErrorClass.NETWORK,
    "urllib3.exceptions.DecodeError": ErrorClass.MALFORMED,
    "urllib3.exceptions.LocationValueError": ErrorClass.MISCONFIGURED,
    # requests: what it wraps stands in its arguments; here is what it finds out by itself
    "requests.exceptions.InvalidURL": ErrorClass.MISCONFIGURED,
    "requests.exceptions.MissingSchema": ErrorClass.MISCONFIGURED,
    "requests.exceptions.InvalidSchema": ErrorClass.MISCONFIGURED,
    "requests.exceptions.InvalidHeader": ErrorClass.MISCONFIGURED,
    "requests.exceptions.TooManyRedirects": ErrorClass.MISCONFIGURED,
    "pydantic_core._pydantic_core.ValidationError": ErrorClass.INVALID_INPUT,
    # what does not decode
    "json.decoder.JSONDecodeError": ErrorClass.MALFORMED,
    "orjson.JSONDecodeError": ErrorClass.MALFORMED,
    "xml.etree.ElementTree.ParseError": ErrorClass.MALFORMED,
    "xml.parsers.expat.ExpatError": ErrorClass.MALFORMED,
    "xml.sax._exceptions.SAXParseException": ErrorClass.MALFORMED,
    "builtins.UnicodeDecodeError": ErrorClass.MALFORMED,
    "gzip.BadGzipFile": ErrorClass.MALFORMED,
    "zlib.error": ErrorClass.MALFORMED,
    "zipfile.BadZipFile": ErrorClass.MALFORMED,
    "tarfile.ReadError": ErrorClass.MALFORMED,
    "_lzma.LZMAError": ErrorClass.MALFORMED,
    "_csv.Error": ErrorClass.MALFORMED,
    "builtins.EOFError": ErrorClass.MALFORMED,
    # the operating system
    "builtins.FileNotFoundError": ErrorClass.MISCONFIGURED,
    "builtins.PermissionError": ErrorClass.MISCONFIGURED,
    "builtins.IsADirectoryError": ErrorClass.MISCONFIGURED,
    "builtins.NotADirectoryError": ErrorClass.MISCONFIGURED,
    "builtins.ConnectionError": ErrorClass.NETWORK,
    "builtins.TimeoutError": ErrorClass.TIMEOUT,
    "socket.gaierror": ErrorClass.NETWORK,
    "socket.herror": ErrorClass.NETWORK,
    "http.client.InvalidURL": ErrorClass.MISCONFIGURED,
    "http.client.HTTPException": ErrorClass.NETWORK,
    "urllib.error.ContentTooShortError": ErrorClass.NETWORK,
    "smtplib.SMTPAuthenticationError": ErrorClass.UNAUTHORIZED,
    "smtplib.SMTPServerDisconnected": ErrorClass.NETWORK,
    "smtplib.SMTPNotSupportedError": ErrorClass.MISCONFIGURED,
}

# These hold what went wrong, so they say something only where nothing inside them does: a body
# that stalls is a requests ConnectionError around a ReadTimeoutError.
_WRAPPERS = {
    "requests.exceptions.Timeout": ErrorClass.TIMEOUT,
    "requests.exceptions.SSLError": ErrorClass.MISCONFIGURED,
    "requests.exceptions.ConnectionError": ErrorClass.NETWORK,
    "requests.exceptions.ChunkedEncodingError": ErrorClass.NETWORK,
    "requests.exceptions.ContentDecodingError": ErrorClass.MALFORMED,
    "urllib3.exceptions.SSLError": ErrorClass.MISCONFIGURED,
    "urllib3.exceptions.PoolError": ErrorClass.NETWORK,
    "urllib.error.URLError": ErrorClass.MISCONFIGURED,
}


def _by_type(fault: BaseException) -> Found:
    """Take the nearest of its types that the table names: AuthenticationError before its base."""
    if type(fault) is LookupError and "unknown encoding" in str(fault):
        return ErrorClass.MALFORMED, "unknown encoding"
    return _nearest(fault, _TYPES)


def _by_wrapper(fault: BaseException) -> Found:
    return _nearest(fault, _WRAPPERS)


def _nearest(fault: BaseException, table: Mapping[str, ErrorClass]) -> Found:
    name = next((name for name in _type_names(fault) if name in table), None)
    return (table[name], f"type {name}") if name else None


def _by_smtp_code(fault: BaseException) -> Found:
    """Tell what a mail server refuses for now (4yz) from what it refuses for good (5yz)."""
    code = getattr(fault, "smtp_code", None)
    if not isinstance(code, int) or "smtplib.SMTPAuthenticationError" in _type_names(fault):
        return None
    transient = HTTPStatus.BAD_REQUEST <= code < HTTPStatus.INTERNAL_SERVER_ERROR
    error_class = ErrorClass.SERVER_ERROR if transient else ErrorClass.BAD_REQUEST
    return error_class, f"smtp code {code}"


_NETWORK_ERRNOS = frozenset(
    {
        errno.EHOSTUNREACH,
        errno.EHOSTDOWN,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.EADDRNOTAVAIL,
        errno.ENOTCONN,
    }
)


def _by_errno(fault: BaseException) -> Found:
    if isinstance(fault, OSError) and fault.errno in _NETWORK_ERRNOS:
        return ErrorClass.NETWORK, f"errno {errno.errorcode[fault.errno]}"
    return None


_RULES: tuple[Callable[[BaseException], Found], ...] = (
    _by_registration,
    _by_our_own,
    _by_resources,
    _by_http_status,
    _by_tls,
    _by_sqlite_code,
    _by_sqlstate,
    _by_smtp_code,
    _by_type,
    _by_errno,
    _by_wrapper,
)


def _type_names(fault: BaseException) -> tuple[str, ...]:
    return tuple(f"{kind.__module__}.{kind.__qualname__}" for kind in type(fault).__mro__)


def _asked_wait(
    faults: tuple[BaseException, ...], error_class: ErrorClass, now: datetime | None
) -> float | None:
    """Return the longest wait that anything in the chain names, in seconds."""
    waits = [_postponed(faults)]
    for fault in faults:
        if error_class in {ErrorClass.OPEN_CIRCUIT, ErrorClass.THROTTLED}:
            waits += [getattr(fault, "retry_after", None), getattr(fault, "seconds", None)]
        elif _status_of(fault) in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            response: Any = getattr(fault, "response", fault)
            waits.append(retry_after_seconds(getattr(response, "headers", None) or {}, now=now))
    known = [wait for wait in waits if wait is not None]
    return max(known) if known else None


def _postponed(faults: tuple[BaseException, ...]) -> float | None:
    waits = [wait for fault in faults if (wait := getattr(fault, "retry_wait", None)) is not None]
    return max(waits) if waits else None


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime | None) -> float | None:
    """Read ``Retry-After`` (RFC 9110, 10.2.3: seconds or a date) as seconds, a day at most.

    A date is measured against the answer's own ``Date``, so that it holds where the two clocks
    differ, else against ``now``.
    """
    raw = headers.get("Retry-After", "").strip()
    if raw.isascii() and raw.isdigit():
        return min(float(raw), MAX_RETRY_AFTER)
    at, sent = _http_date(raw), _http_date(headers.get("Date", "")) or now
    if at is None or sent is None:
        return None
    return min(max(0.0, (at - sent).total_seconds()), MAX_RETRY_AFTER)


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo else None
