"""Which other sites' pages may read what the JSON API answers (CORS, as the Fetch standard has it).

It stands before Flask, so that what is answered before Flask, and on an edge, is readable too.
Cookies count for none of it: a page elsewhere shows a token of its own.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask

from webapp.settings import ANY_ORIGIN, Settings
from webapp.web.requests import id_to_use
from webapp.web.security import HEADERS

API: Final = ("/api/v1/", "/v1/", "/ofrep/v1/")
METHODS: Final = "GET, POST, PUT, PATCH, DELETE"
#: What a page may send besides what every form may.
SENT: Final = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-API-Key, X-Request-ID"
)
#: What a page may read besides the body.
READ: Final = (
    "ETag, Idempotency-Replayed, Location, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, "
    "Retry-After, X-Request-ID"
)
# As long as browsers keep it at most.
_KEPT_SECONDS: Final = "7200"

Headers = list[tuple[str, str]]


def register_cross_origin(app: Flask, settings: Settings) -> None:
    """Let pages of these origins read the API.  After whatever else answers before Flask."""
    if origins := settings.cors_origins:
        app.wsgi_app = CrossOrigin(  # type: ignore[method-assign]
            app.wsgi_app, frozenset(origins)
        )


@dataclass(frozen=True, slots=True)
class CrossOrigin:
    """A WSGI application before another, whose answers the pages of ``origins`` may read."""

    behind: WSGIApplication
    origins: frozenset[str]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer what a browser asks beforehand, and mark what is answered."""
        if not environ.get("PATH_INFO", "").startswith(API):
            return self.behind(environ, start_response)
        origin = environ.get("HTTP_ORIGIN", "")
        allowed = origin and not self.origins.isdisjoint((origin, ANY_ORIGIN))
        if allowed and _is_preflight(environ):
            start_response("204 No Content", [*self._preflight(origin), _request_id(environ)])
            return []
        marks = self._marks(origin if allowed else None)
        return self.behind(environ, _marking(start_response, marks))

    def _marks(self, origin: str | None) -> Headers:
        if ANY_ORIGIN in self.origins:
            named: Headers = [("Access-Control-Allow-Origin", ANY_ORIGIN)] if origin else []
        else:
            # Also where it is not allowed: a cache must not hand that answer to one that is.
            named = [("Vary", "Origin")]
            named += [("Access-Control-Allow-Origin", origin)] if origin else []
        return [*named, ("Access-Control-Expose-Headers", READ)] if origin else named

    def _preflight(self, origin: str) -> Headers:
        return [
            *HEADERS.items(),
            *(mark for mark in self._marks(origin) if mark[0] != "Access-Control-Expose-Headers"),
            ("Access-Control-Allow-Methods", METHODS),
            ("Access-Control-Allow-Headers", SENT),
            ("Access-Control-Max-Age", _KEPT_SECONDS),
        ]


def _is_preflight(environ: WSGIEnvironment) -> bool:
    asks = "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    return asks and environ["REQUEST_METHOD"] == "OPTIONS"


def _request_id(environ: WSGIEnvironment) -> tuple[str, str]:
    return "X-Request-ID", id_to_use(environ.get("HTTP_X_REQUEST_ID", ""))


def _marking(start_response: StartResponse, marks: Headers) -> StartResponse:
    def start(status: str, headers: Headers, *failure: Any) -> Callable[[bytes], object]:
        return start_response(status, [*headers, *marks], *failure)

    return start
