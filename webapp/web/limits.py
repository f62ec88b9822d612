"""How many requests a minute somebody may send: by kind of request, and by whoever asks.

Requests are counted in Redis where there is one, so by all processes together, and else by each
process for itself; so too while Redis is away.  Evaluations are counted by each process in any
case: there are too many to ask anybody.
"""

import math
import time
from collections.abc import Callable
from enum import StrEnum
from http import HTTPStatus
from typing import Final, TypeVar

from flask import Flask, Response, current_app, g, request
from flask_limiter import ApplicationLimit, Limiter, RateLimitExceeded

from webapp import clock
from webapp.errors import Throttled
from webapp.networks import network
from webapp.settings import Settings
from webapp.web.access import EVALUATION, PUBLIC, is_api_request, principal
from webapp.web.problems import problem
from webapp.web.requests import SAFE_METHODS

View = TypeVar("View", bound=Callable[..., object])

WINDOW_SECONDS: Final = 60.0
#: A store that takes longer counts as away: counting must not be what makes a request slow.
ANSWER_SECONDS: Final = 0.25
#: Under this name in an application: its limit of evaluations.
EXTENSION: Final = "evaluation_limit"


class Kind(StrEnum):
    """What is counted together."""

    EVALUATIONS = "evaluations"
    READS = "reads"
    WRITES = "writes"
    SIGN_IN = "sign-ins"
    PAGES = "pages"


class EvaluationLimit:
    """Counts the evaluations of each asker in this process; no lock, so a few may slip through.

    ``most`` is how many one may have in a minute, 0 for any number.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._ends = 0.0
        self._counts: dict[str, int] = {}

    def has_left(self, asker: str) -> bool:
        """Tell whether one more is allowed."""
        if not self.most:
            return True
        # All windows begin together: who asked before the last beginning is forgotten at once.
        if (now := time.monotonic()) >= self._ends:
            self._counts, self._ends = {}, now + WINDOW_SECONDS
        return self._counts.get(asker, 0) < self.most

    def count(self, asker: str) -> None:
        """Count one."""
        if self.most:
            self._counts[asker] = self._counts.get(asker, 0) + 1

    def refusal(self) -> Throttled:
        """Return the error of whoever has had all."""
        wait = max(1.0, self._ends - time.monotonic())
        return Throttled(_told(Kind.EVALUATIONS, self.most, wait), retry_after=wait)


def limited_as(kind: Kind) -> Callable[[View], View]:
    """Say what the requests to a view are counted as, where that is not plain to see."""

    def mark(view: View) -> View:
        view.limited_as = kind  # type: ignore[attr-defined]
        return view

    return mark


def evaluation_limit(settings: Settings) -> EvaluationLimit:
    """Return the limit of evaluations that is configured."""
    return EvaluationLimit(settings.request_limit_evaluations if settings.request_limits else 0)


def register_limits(app: Flask, settings: Settings) -> None:
    """Count each request before anything else is done for it but finding out who asks."""
    app.extensions[EXTENSION] = evaluation_limit(settings)
    if not settings.request_limits:
        return
    most = {
        Kind.READS: settings.request_limit_reads,
        Kind.WRITES: settings.request_limit_writes,
        Kind.SIGN_IN: settings.request_limit_sign_in,
        Kind.PAGES: settings.request_limit_pages,
    }
    app.before_request(_name_asker)
    limiter = Limiter(
        _asker,
        application_limits=[_limit_of(kind, number) for kind, number in most.items() if number],
        storage_uri=settings.redis_url or "memory://",
        storage_options=_storage_options(settings),
        in_memory_fallback_enabled=True,
        key_prefix="switchyard",
    )
    limiter.init_app(app)
    app.register_error_handler(RateLimitExceeded, _refuse)
    app.after_request(_tell)
    app.extensions["limiter_in_force"] = limiter


def _limit_of(kind: Kind, number: int) -> ApplicationLimit:
    return ApplicationLimit(
        limit_provider=f"{number} per minute",
        scope=kind.value,
        exempt_when=lambda: g.get("limited_as") != kind,
    )


def _storage_options(settings: Settings) -> dict[str, str | int]:
    if not settings.redis_url:
        return {}
    seconds: dict[str, float] = {
        "socket_connect_timeout": ANSWER_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
    }
    return seconds  # type: ignore[return-value]  # handed on to redis, which takes fractions


def _name_asker() -> None:
    """Note who asks and for what: where that cannot be told, the error is not the store's."""
    kind = _kind()
    if kind == Kind.EVALUATIONS:
        _count_evaluation()
    elif kind is not None:
        g.limited_as = kind
        g.asker = network(request.remote_addr or "") if kind == Kind.SIGN_IN else _who()


def _kind() -> Kind | None:
    """Return what this request is counted as, None where it is not counted."""
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None or request.endpoint == "static":
        return None
    marked: Kind | None = getattr(view, "limited_as", None)
    access = getattr(view, "access", None)
    if marked is not None or access == PUBLIC:
        return marked
    if access == EVALUATION:
        return Kind.EVALUATIONS
    if not is_api_request():
        return Kind.PAGES
    return Kind.READS if request.method in SAFE_METHODS else Kind.WRITES


def _count_evaluation() -> None:
    limit: EvaluationLimit = current_app.extensions[EXTENSION]
    who = principal()
    asker = who.name if who.role else network(request.remote_addr or "")
    if not limit.has_left(asker):
        raise limit.refusal()
    limit.count(asker)


def _who() -> str:
    who = principal()
    # Whoever shows nothing that is worth something is known by where they ask from.
    return f"{who.kind}:{who.name}" if who.role else network(request.remote_addr or "")


def _asker() -> str:
    return str(g.asker)


def _refuse(error: RateLimitExceeded) -> Response:
    limiter: Limiter = current_app.extensions["limiter_in_force"]
    wait = WINDOW_SECONDS
    if (limit := limiter.current_limit) is not None:
        wait = max(1.0, limit.reset_at - clock.now().timestamp())
    told = _told(g.limited_as, error.limit.limit.amount, wait)
    return problem(HTTPStatus.TOO_MANY_REQUESTS, told, retry_after=wait)


def _told(kind: Kind, most: int, wait: float) -> str:
    seconds = math.ceil(wait)
    plural = "" if seconds == 1 else "s"
    return f"More than {most:,} {kind} a minute. Try again in {seconds} second{plural}."


def _tell(response: Response) -> Response:
    """Say how much is left of a limit, to programs."""
    limiter: Limiter = current_app.extensions["limiter_in_force"]
    if (limit := limiter.current_limit) is None or not is_api_request():
        return response
    try:
        remaining, reset_at = limit.remaining, limit.reset_at
    except Exception:  # noqa: BLE001 - the store went away after it had counted
        return response
    response.headers["RateLimit-Limit"] = str(limit.limit.amount)
    response.headers["RateLimit-Remaining"] = str(max(0, remaining))
    wait = max(0, math.ceil(reset_at - clock.now().timestamp()))
    response.headers["RateLimit-Reset"] = str(wait)
    return response
