"""What every request gets: an id in its answer and its log lines, and its transaction's kind."""

import re
import uuid

import structlog
from flask import Flask, Response, g, request

from webapp.db import mark_writing

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{8,128}\Z")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def register_requests(app: Flask) -> None:
    """Name each request, and say before its first statement whether it will write."""
    app.before_request(_begin)
    app.after_request(_name)
    app.teardown_request(_end)


def request_id() -> str:
    """Return the id of this request."""
    return str(g.request_id)


def _begin() -> None:
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    mark_writing(writing=request.method not in SAFE_METHODS)


def _end(error: BaseException | None) -> None:
    """Leave nothing of this request to whatever its thread does next."""
    del error
    mark_writing(writing=False)


def _name(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.get("request_id", "")
    return response
