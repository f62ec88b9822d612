"""Errors as answers: ``application/problem+json`` (RFC 9457) for programs, a page for people.

The only place that maps domain errors to HTTP.  An internal error shows nothing of its inside
but the request's id, under which the log has the whole of it.
"""

import math
from http import HTTPStatus

from flask import (
    Flask,
    Response,
    current_app,
    g,
    jsonify,
    make_response,
    render_template,
    request,
)
from flask_login import AnonymousUserMixin
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from webapp.db import db
from webapp.errors import (
    Conflict,
    DomainError,
    FieldErrors,
    Forbidden,
    Invalid,
    NotFound,
    Throttled,
    Unavailable,
    Underway,
)
from webapp.logs import get_logger
from webapp.web.access import is_api_request

log = get_logger(__name__)

# When somebody who was turned away for now should ask again.
AWAY_SECONDS = 5.0

STATUS: dict[type[DomainError], HTTPStatus] = {
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Forbidden: HTTPStatus.FORBIDDEN,
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    Throttled: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

# Where werkzeug's own words speak of servers and URLs.
_DETAILS: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take requests of this kind.",
    HTTPStatus.UNAUTHORIZED: "This needs a valid token, sent as a bearer token.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request is too large: most addresses take 1 MiB.",
}


def register_problems(app: Flask) -> None:
    """Answer every error in one form."""
    app.register_error_handler(DomainError, _domain_error)
    app.register_error_handler(CSRFError, _csrf_error)
    app.register_error_handler(HTTPException, _http_error)
    for away in (OperationalError, InterfaceError, PoolTimeout):
        app.register_error_handler(away, _database_away)
    app.register_error_handler(Exception, _internal_error)


def problem(
    status: int, detail: str, *, errors: FieldErrors | None = None, retry_after: float | None = None
) -> Response:
    """Build the answer for one problem in the form that the asker understands."""
    title = HTTPStatus(status).phrase
    if is_api_request():
        body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        body |= {"errors": errors} if errors else {}
        response = jsonify(body | {"request_id": g.get("request_id")})
        response.content_type = "application/problem+json"
    elif request.headers.get("HX-Request"):
        # htmx shows this text in a toast and leaves the page as it is.
        response = Response(detail, content_type="text/plain; charset=utf-8")
    else:
        # The page of an error must not ask the database who is signed in: it may be what failed.
        g.setdefault("_login_user", AnonymousUserMixin())
        response = make_response(
            render_template("errors/problem.html", status=status, title=title, detail=detail)
        )
    response.status_code = status
    if retry_after is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    return response


def _domain_error(error: DomainError) -> Response:
    _roll_back()
    status = next(code for kind, code in STATUS.items() if isinstance(error, kind))
    return problem(
        status,
        error.detail,
        errors=error.errors if isinstance(error, Invalid) else None,
        retry_after=_retry_after(error),
    )


def _roll_back() -> None:
    """Leave nothing half done to the page of the error; an edge has no database."""
    if "sqlalchemy" in current_app.extensions:
        db.session.rollback()


def _retry_after(error: DomainError) -> float | None:
    if isinstance(error, Throttled | Underway):
        return error.retry_after
    return AWAY_SECONDS if isinstance(error, Unavailable) else None


def _csrf_error(error: CSRFError) -> Response:
    return problem(
        HTTPStatus.BAD_REQUEST, f"{error.description} Load the page again and repeat the action."
    )


def _http_error(error: HTTPException) -> Response:
    if error.response is not None or error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return make_response(error.get_response())
    detail = _DETAILS.get(error.code) or error.description or HTTPStatus(error.code).phrase
    response = problem(error.code, detail)
    if error.code == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.code == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = dict(error.get_headers()).get("Allow", "")
    return response


def _database_away(error: Exception) -> Response:
    log.warning("database_away", path=request.path, error=type(error).__name__, exc_info=error)
    _roll_back()
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database does not answer. Nothing was changed; try again in a moment.",
        retry_after=AWAY_SECONDS,
    )


def _internal_error(error: Exception) -> Response:
    log.error("request_failed", path=request.path, method=request.method, exc_info=error)
    _roll_back()
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"Something went wrong here. The log has it under request {g.get('request_id', '-')}.",
    )
