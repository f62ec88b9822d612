"""One line of the log for each request, as it is answered; never a query, a header or a body."""

import time
from http import HTTPStatus

from flask import Flask, Response, g, request

from webapp.logs import get_logger
from webapp.web.htmx import wants_part
from webapp.web.requests import SAFE_METHODS

log = get_logger(__name__)

#: Asked by machines every few seconds.
_ROUTINE = frozenset({"/health", "/ready", "/metrics", "/observability/metrics"})


def register_request_log(app: Flask) -> None:
    """Log every request of an application."""
    app.before_request(_begin)
    app.after_request(_tell)


def _begin() -> None:
    g.logged_from = time.perf_counter()


def _tell(response: Response) -> Response:
    began = g.pop("logged_from", None)
    tell = log.debug if _is_routine(response) else log.info
    who = g.get("principal")
    tell(
        "request_answered",
        method=request.method,
        path=request.path,
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        seconds=round(time.perf_counter() - began, 4) if began is not None else None,
        by=who.name if who is not None else None,
        address=request.remote_addr,
    )
    return response


def _is_routine(response: Response) -> bool:
    """Tell whether nobody did anything: a file, a probe, or a live part that asks by itself."""
    if request.method not in SAFE_METHODS or response.status_code >= HTTPStatus.BAD_REQUEST:
        return False
    return wants_part() or request.endpoint == "static" or request.path in _ROUTINE
