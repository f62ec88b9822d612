"""What the JSON API does with an idempotency key.

Every view under ``/api/v1`` that writes is put behind this, so that it stands after the checks of
who asks.  What such a view commits is held until its answer is known, and committed with it.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, Final

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import BadRequest
from werkzeug.http import http_date

from webapp.clock import now
from webapp.db import HeldCommit, db, held_commit, storable
from webapp.errors import Conflict, Invalid, Underway
from webapp.idempotency import service
from webapp.idempotency.values import (
    MAX_KEY,
    Answer,
    Claim,
    Mismatch,
    Replay,
    Running,
    Slot,
    fingerprint,
    read_key,
)
from webapp.logs import get_logger
from webapp.metrics import IDEMPOTENCY_REQUESTS
from webapp.settings import Settings
from webapp.web.access import API_PREFIX, EVALUATION, PUBLIC, principal
from webapp.web.requests import SAFE_METHODS

log = get_logger(__name__)

#: When a request should be sent again whose first is still running: most take less than a second.
RETRY_SECONDS: Final = 1.0
# What belongs to the content.  Cookies and whatever else is meant for one answer is not kept.
_KEPT_HEADERS: Final = (
    "Content-Type",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "ETag",
    "Last-Modified",
    "Location",
)
_STORED = IDEMPOTENCY_REQUESTS.labels("stored")
_REPLAYED = IDEMPOTENCY_REQUESTS.labels("replayed")
_CONFLICT = IDEMPOTENCY_REQUESTS.labels("conflict")
_MISMATCH = IDEMPOTENCY_REQUESTS.labels("mismatch")

View = Callable[..., Any]


def take_keys(app: Flask) -> None:
    """Let every view under the prefix that writes take a key.

    Evaluations ask and change nothing, and what is open to everybody has nobody to keep a key for.
    """
    settings: Settings = app.extensions["settings"]
    if not settings.idempotency_enabled:
        return
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        access = getattr(view, "access", None)
        writes = (rule.methods or set()) - SAFE_METHODS
        if rule.rule.startswith(API_PREFIX) and writes and access not in {PUBLIC, EVALUATION}:
            app.view_functions[rule.endpoint] = _behind_key(view, settings)


def _behind_key(view: View, settings: Settings) -> View:
    if getattr(view, "takes_key", False):
        return view
    lasts = timedelta(seconds=settings.idempotency_ttl)

    @wraps(view)
    def answer(**values: Any) -> Any:
        text = request.headers.get(settings.idempotency_header)
        if text is None or request.method in SAFE_METHODS:
            if settings.idempotency_required and getattr(view, "makes", False):
                raise BadRequest(f"This makes something: send {settings.idempotency_header}.")
            return view(**values)
        return _once(view, values, _slot(text, settings.idempotency_header), lasts)

    answer.takes_key = True  # type: ignore[attr-defined]
    return answer


def _slot(text: str, header: str) -> Slot:
    key = read_key(text)
    if key is None:
        raise BadRequest(
            f"{header}: 3 to {MAX_KEY} letters, digits and - _ . : make a key, bare or in quotes."
        )
    who = principal()
    return Slot(
        f"{who.kind}:{who.name}",
        key,
        f"{request.method} {storable(request.path)}",
        fingerprint(request.method, request.path, request.query_string, request.get_data()),
    )


def _once(view: View, values: dict[str, Any], slot: Slot, lasts: timedelta) -> Response:
    # What was read to find out who asks is no part of the claim.
    db.session.rollback()
    found = service.claim(db.session, slot, lasts=lasts, now=now())
    db.session.commit()
    if not isinstance(found, Claim):
        return _repeated(found)
    try:
        with held_commit(db.session) as held:
            return _carried_out(view, values, found, held)
    except Exception:
        _release(found)
        raise


def _carried_out(view: View, values: dict[str, Any], claimed: Claim, held: HeldCommit) -> Response:
    """Carry a request out, and commit what it did together with its answer."""
    response = current_app.make_response(view(**values))
    if not held.wanted:
        # As without a key: what a view does not commit does not stand.
        db.session.rollback()
    if is_kept := _is_success(response):
        service.settle(db.session, claimed, _answer(response), now=now())
    else:
        service.release(db.session, claimed)
    held.commit()
    if is_kept:
        _STORED.inc()
    return response


def _is_success(response: Response) -> bool:
    return 200 <= response.status_code < 300  # noqa: PLR2004 - that is what 2xx means


def _answer(response: Response) -> Answer:
    """Return what is kept of an answer: of one that nobody may store, that it was given."""
    if response.cache_control.no_store:
        return Answer(response.status_code, (), None)
    kept = ((name, response.headers.get(name)) for name in _KEPT_HEADERS)
    headers = tuple((name, value) for name, value in kept if value is not None)
    return Answer(response.status_code, headers, response.get_data())


def _release(claimed: Claim) -> None:
    """Give the key back after an error; where that fails it is free after a minute."""
    try:
        db.session.rollback()
        service.release(db.session, claimed)
        db.session.commit()
    except Exception as error:  # noqa: BLE001 - the error that brought us here is the one to tell
        log.warning("idempotency_key_not_released", error=type(error).__name__)


def _repeated(found: Replay | Running | Mismatch) -> Response:
    """Answer a request whose key somebody has used: as before, or with what stands against it."""
    if isinstance(found, Mismatch):
        _MISMATCH.inc()
        raise Invalid("This idempotency key came with another request before.")
    if isinstance(found, Running):
        _CONFLICT.inc()
        raise Underway(
            "The first request with this idempotency key is still running.",
            retry_after=RETRY_SECONDS,
        )
    _REPLAYED.inc()
    if found.answer.body is None:
        raise Conflict(
            "This was carried out before. Its answer was for once only, and was not kept."
        )
    response = Response(found.answer.body, found.answer.status, found.answer.headers)
    response.headers["Idempotency-Replayed"] = "true"
    response.headers["Original-Date"] = http_date(found.at)
    return response
