"""Answers evaluations before Flask is asked: routing, sessions and hooks cost more than deciding.

It takes what it can answer with 200 and hands on everything else, body and all: a refusal, an odd
request and a person with a cookie are answered by the views, by the same functions and schemas.  So
there is one evaluation, and one place that says no.  No SQL, no Redis and no session work is done
here: flags and tokens are what this process has in memory.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from pydantic import ValidationError
from structlog.contextvars import bind_contextvars, reset_contextvars

from webapp.errors import DomainError
from webapp.flags.answers import answer_many, answer_one
from webapp.flags.schemas import BulkQuestion, Question
from webapp.flags.snapshot import FlagStore
from webapp.networks import network
from webapp.roles import Role
from webapp.web.access import ANONYMOUS, Authenticator, Principal
from webapp.web.htmx import VARY
from webapp.web.limits import COUNTED, EvaluationLimit
from webapp.web.requests import id_to_use
from webapp.web.security import HEADERS, MOST_BYTES, STRICT_TRANSPORT, UNCACHED

PREFIX: Final = "/api/v1/feature-flags/"
BULK: Final = "evaluate-bulk"
# What the views decode, or refuse as no text, is theirs: here are printable ASCII characters only.
# A flag may bear the name of the other address: that one is rare, and goes the long way.
_ASKED: Final = re.compile(
    rf"{PREFIX}(?:({BULK})|(?!{BULK}/)([ -.0-~]+)/(?:evaluate|check))"
).fullmatch
_JSON: Final = "application/json"
# Of a length that may be read: thousands of digits are an error, and work.
_MOST_DIGITS: Final = len(str(MOST_BYTES))
_HEADERS: Final = [
    ("Content-Type", _JSON),
    *HEADERS.items(),
    UNCACHED,
    # As Flask does, which looks for a session whoever asks.
    ("Vary", ", ".join([*VARY, "Cookie"])),
]


@dataclass(frozen=True, slots=True)
class EvaluationShortCut:
    """A WSGI application before another: ``authenticate`` says what a bearer token is worth.

    ``public`` lets everybody evaluate who shows neither a token nor a cookie.  ``limit`` counts;
    who has had all is refused by the views.
    """

    behind: WSGIApplication
    store: FlagStore
    authenticate: Authenticator
    public: bool
    limit: EvaluationLimit

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer an evaluation, hand on everything else."""
        name = _flag_asked(environ)
        if name is None:
            return self.behind(environ, start_response)
        request_id = id_to_use(environ.get("HTTP_X_REQUEST_ID", ""))
        # As bound_contextvars, at a third of its cost.
        bound = bind_contextvars(request_id=request_id)
        try:
            answer = self._answer(name, environ)
        finally:
            reset_contextvars(**bound)
        if answer is None:
            return self.behind(environ, start_response)
        headers = [
            *_HEADERS,
            ("Content-Length", str(len(answer))),
            ("X-Request-ID", request_id),
        ]
        if environ["wsgi.url_scheme"] == "https":
            headers.append(STRICT_TRANSPORT)
        start_response("200 OK", headers)
        return [answer]

    def _answer(self, name: str, environ: WSGIEnvironment) -> bytes | None:
        """Return the answer, None where somebody else is to give it."""
        body = None
        try:
            who = self._principal(environ)
            if who is None or not self._counted(who, environ):
                return None
            body = _read(environ)
            return None if body is None else self._evaluate(name, body, who)
        except (ValidationError, DomainError):
            if body is not None:
                _leave(body, environ)
            return None

    def _evaluate(self, name: str, body: bytes, who: Principal) -> bytes:
        # An absent body is an empty question.
        body = body or b"{}"
        if name == BULK:
            asked = BulkQuestion.model_validate_json(body)
            return answer_many(self.store, asked, bound=who.environment)
        question = Question.model_validate_json(body)
        return answer_one(self.store, name, question, bound=who.environment)

    def _counted(self, who: Principal, environ: WSGIEnvironment) -> bool:
        known = who is not ANONYMOUS
        asker = who.name if known else network(environ.get("REMOTE_ADDR", ""))
        allowed = environ[COUNTED] = self.limit.allows(asker)
        return allowed

    def _principal(self, environ: WSGIEnvironment) -> Principal | None:
        """Return who asks, None where the views are to find out, or to refuse."""
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() == "bearer" and (token := token.strip()):
            who = self.authenticate(token)
            return who if who and who.role and who.role.allows(Role.VIEWER) else None
        return ANONYMOUS if self.public and "HTTP_COOKIE" not in environ else None


def _flag_asked(environ: WSGIEnvironment) -> str | None:
    """Return the name of the flag that is asked for, BULK for many, None for anything else."""
    if environ["REQUEST_METHOD"] != "POST" or environ.get("QUERY_STRING"):
        return None
    found = _ASKED(environ.get("PATH_INFO", ""))
    return found[1] or found[2] if found else None


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
    return kind == _JSON or kind.partition(";")[0].strip().lower() == _JSON


def _length(environ: WSGIEnvironment) -> int | None:
    """Return how long the body is, None where it does not say so or is too long.

    Bodies that come in chunks, or over HTTP/2, need not say it.
    """
    said: str = environ.get("CONTENT_LENGTH", "")
    if not said.isdecimal() or len(said) > _MOST_DIGITS or "HTTP_TRANSFER_ENCODING" in environ:
        return None
    return length if (length := int(said)) <= MOST_BYTES else None
