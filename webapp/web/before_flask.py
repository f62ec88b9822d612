"""What answers evaluations before Flask is asked: routing, sessions and hooks cost more than they.

It takes what it can answer from this process's memory and hands on everything else, body and all: a
refusal, an odd request and a person with a cookie are answered by the views, by the same functions.
So there is one evaluation, and one place that says no.  Knows no capability: whoever answers
extends it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from io import BytesIO
from typing import ClassVar, Final, NamedTuple, TypedDict
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask
from pydantic import ValidationError
from structlog.contextvars import bind_contextvars, reset_contextvars

from webapp.errors import DomainError
from webapp.networks import network
from webapp.promptly import BEGINNINGS, takes_time
from webapp.roles import Role
from webapp.settings import Settings
from webapp.web.access import ANONYMOUS, Authenticator, Principal
from webapp.web.htmx import VARY
from webapp.web.limits import EXTENSION as LIMITS
from webapp.web.limits import EvaluationLimit
from webapp.web.requests import id_to_use
from webapp.web.security import HEADERS, MOST_BYTES, STRICT_TRANSPORT, UNCACHED
from webapp.web.transport import transport_of

JSON: Final = "application/json"
# Of a length that may be read: thousands of digits are an error, and work.
_MOST_DIGITS: Final = len(str(MOST_BYTES))
_HEADERS: Final = [
    *HEADERS.items(),
    UNCACHED,
    # As Flask does, which looks for a session whoever asks.
    ("Vary", ", ".join([*VARY, "Cookie"])),
]
#: The headers of every answer with a body, but for its length and the request's id.
OF_JSON: Final = [*_HEADERS, ("Content-Type", JSON)]


class Answered(NamedTuple):
    """An answer: JSON, or no body at all; ``headers`` are those of its own."""

    body: bytes
    status: str = "200 OK"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class BeforeFlask(ABC):
    """A WSGI application before another: ``authenticate`` says what a bearer token is worth.

    ``public`` lets everybody evaluate who shows neither a token nor a cookie.  ``admits`` says
    whether a request came over HTTPS and to our name, where it must; ``limit`` counts: who has had
    all is refused by the views.

    A request that is answered here begins with :attr:`BEGINNING`.
    """

    BEGINNING: ClassVar[bytes]

    behind: WSGIApplication
    authenticate: Authenticator
    public: bool
    admits: Callable[[WSGIEnvironment], bool]
    limit: EvaluationLimit

    @abstractmethod
    def asked(self, environ: WSGIEnvironment) -> str | None:
        """Return what is asked for, None for what is not answered here."""

    @abstractmethod
    def answered(
        self, asked: str, body: bytes, who: Principal, environ: WSGIEnvironment
    ) -> Answered:
        """Answer; what it raises of pydantic's and the domain's errors is left to the views."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer an evaluation, hand on everything else."""
        asked = self.asked(environ)
        if asked is None or not self.admits(environ):
            return self.behind(environ, start_response)
        request_id = id_to_use(environ.get("HTTP_X_REQUEST_ID", ""))
        # As bound_contextvars, at a third of its cost.
        bound = bind_contextvars(request_id=request_id)
        try:
            answer = self._answer(asked, environ)
        finally:
            reset_contextvars(**bound)
        if answer is None:
            return self.behind(environ, start_response)
        named = ("X-Request-ID", request_id)
        if answer.body:
            headers = [*OF_JSON, named, ("Content-Length", str(len(answer.body)))]
        else:
            headers = [*_HEADERS, named]
        if answer.headers:
            headers += answer.headers
        if environ["wsgi.url_scheme"] == "https":
            headers.append(STRICT_TRANSPORT)
        start_response(answer.status, headers)
        return [answer.body]

    def _answer(self, asked: str, environ: WSGIEnvironment) -> Answered | None:
        """Return the answer, None where somebody else is to give it."""
        body = None
        try:
            who = self._principal(environ)
            if who is None or not self.limit.has_left(asker := _asker(who, environ)):
                return None
            body = _read(environ)
            if body is None:
                return None
            answer = self.answered(asked, body, who, environ)
            # Whoever answers counts: else one that is handed on would be counted twice.
            self.limit.count(asker)
            return answer
        except (ValidationError, DomainError):
            if body is not None:
                _leave(body, environ)
            return None

    def _principal(self, environ: WSGIEnvironment) -> Principal | None:
        """Return who asks, None where the views are to find out, or to refuse."""
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() == "bearer" and (token := token.strip()):
            who = self.authenticate(token)
            return who if who and who.role and who.role.allows(Role.VIEWER) else None
        return ANONYMOUS if self.public and "HTTP_COOKIE" not in environ else None


@dataclass(frozen=True, slots=True)
class OnlyThreads:
    """A WSGI application before Flask, whose views may wait for anybody: no loop gets past it."""

    behind: WSGIApplication

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Hand a request on, if there is time."""
        takes_time()
        return self.behind(environ, start_response)


def register_only_threads(app: Flask) -> None:
    """Let none but threads ask Flask.  Before whatever else stands before Flask."""
    app.wsgi_app = OnlyThreads(app.wsgi_app)  # type: ignore[method-assign]


class Circumstances(TypedDict):
    """What an application says of whoever stands before it."""

    authenticate: Authenticator
    public: bool
    admits: Callable[[WSGIEnvironment], bool]
    limit: EvaluationLimit


def circumstances_of(app: Flask) -> Circumstances:
    """Return what an application says of whoever stands before it."""
    settings: Settings = app.extensions["settings"]

    def authenticate(token: str) -> Principal | None:
        # Looked up late: who knows tokens is registered after who evaluates.
        found: Principal | None = app.extensions["authenticator"](token)
        return found

    return {
        "authenticate": authenticate,
        "public": settings.public_evaluation,
        "admits": transport_of(settings).admits,
        "limit": app.extensions[LIMITS],
    }


def stand_before(app: Flask, make: Callable[[WSGIApplication], WSGIApplication]) -> None:
    """Put something before Flask, and behind whatever was the first to answer before it.

    So the first is reached without a detour, however many stand behind it.
    """
    first: WSGIApplication = app.wsgi_app
    made = make(first.behind if isinstance(first, BeforeFlask) else first)
    if isinstance(made, BeforeFlask):
        app.extensions.setdefault(BEGINNINGS, []).append(made.BEGINNING)
    first = replace(first, behind=made) if isinstance(first, BeforeFlask) else made
    app.wsgi_app = first  # type: ignore[method-assign,assignment]


def _asker(who: Principal, environ: WSGIEnvironment) -> str:
    return network(environ.get("REMOTE_ADDR", "")) if who is ANONYMOUS else who.name


def _read(environ: WSGIEnvironment) -> bytes | None:
    """Return a body of JSON, None where there is none that may be read."""
    length = _length(environ)
    if length is None or (length and not _is_json(environ.get("CONTENT_TYPE", ""))):
        return None
    body: bytes = environ["wsgi.input"].read(length)
    if len(body) != length:
        _leave(body, environ)
        return None
    return body


def _leave(body: bytes, environ: WSGIEnvironment) -> None:
    """Leave a body to be read once more by whoever comes behind."""
    environ["wsgi.input"] = BytesIO(body)


def _is_json(kind: str) -> bool:
    return kind == JSON or kind.partition(";")[0].strip().lower() == JSON


def _length(environ: WSGIEnvironment) -> int | None:
    """Return how long the body is, None where it does not say so or is too long.

    Bodies that come in chunks, or over HTTP/2, need not say it.
    """
    said: str = environ.get("CONTENT_LENGTH", "")
    if not said.isdecimal() or len(said) > _MOST_DIGITS or "HTTP_TRANSFER_ENCODING" in environ:
        return None
    return length if (length := int(said)) <= MOST_BYTES else None
