"""Counts requests by method, route and status, as they are answered.

Refusals that no view has seen are answers too.  prometheus-flask-exporter counts without a route,
and its decorators miss whatever is refused before the view, so that it writes what is counted here
but counts nothing itself.
"""

import time
from functools import lru_cache

from flask import Flask, Response, g, request
from prometheus_client import Counter, Histogram

from webapp.metrics import API_REQUEST_DURATION, API_REQUESTS

#: The endpoint of whatever is asked for in vain: any path would be a series of its own.
NOWHERE = "nowhere"
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


def register_request_metrics(app: Flask) -> None:
    """Count every request of an application."""
    app.before_request(_begin)
    app.after_request(_count)


def _begin() -> None:
    g.metered_from = time.perf_counter()


def _count(response: Response) -> Response:
    began = g.pop("metered_from", None)
    rule = request.url_rule
    method = request.method if request.method in _METHODS else "other"
    requests, durations = _series(method, rule.rule if rule else NOWHERE, response.status_code)
    requests.inc()
    if began is not None:
        durations.observe(time.perf_counter() - began)
    return response


# Methods, routes and statuses are few, and each is a series that is kept anyway.
@lru_cache(maxsize=4096)
def _series(method: str, endpoint: str, status: int) -> tuple[Counter, Histogram]:
    labels = (method, endpoint, str(status))
    return API_REQUESTS.labels(*labels), API_REQUEST_DURATION.labels(*labels)
