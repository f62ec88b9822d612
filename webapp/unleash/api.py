"""Unleash's client API: all flags for SDKs that decide by themselves, and what they counted."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import orjson
from flask import Blueprint, Response, current_app, request

from webapp.clock import now
from webapp.db import db
from webapp.errors import Unavailable
from webapp.flags.recording import add_usage
from webapp.flags.snapshot import NOT_READ, flag_store
from webapp.flags.values import NO_FLAGS, FlagSet
from webapp.logs import get_logger
from webapp.roles import Role
from webapp.unleash.documents import features_of
from webapp.unleash.reports import MetricsReport, Registration
from webapp.web.access import principal, requires
from webapp.web.limits import Kind, limited_as
from webapp.web.requests import accepts
from webapp.web.schemas import read_json

log = get_logger(__name__)

blueprint = Blueprint("unleash_api", __name__, url_prefix="/api/client")

MOST_BYTES: Final = 16 * 1024 * 1024
_EXTENSION: Final = "unleash_documents"
# Environments are named by tokens, which admins make; more than these are written each time.
_MOST_KEPT: Final = 50


@dataclass(frozen=True, slots=True)
class _Documents:
    """What was written last, by environment: many ask for it, and it changes with the flags."""

    found: FlagSet
    written: dict[str, tuple[bytes, str]] = field(default_factory=dict)


@blueprint.get("/features")
@requires(Role.VIEWER)
@limited_as(Kind.EVALUATIONS)
def features() -> Response:
    """Write all flags of the token's environment; 304 where the asker has them already."""
    found = flag_store().current().found
    if found is NO_FLAGS:
        raise Unavailable(NOT_READ)
    body, tag = _document_of(found, _environment())
    response = Response(body, content_type="application/json")
    response.set_etag(tag)
    response.make_conditional(request)
    return response


@blueprint.post("/register")
@requires(Role.VIEWER)
@limited_as(Kind.EVALUATIONS)
def register() -> Response:
    """Note that an SDK has started; nothing depends on it."""
    told = read_json(Registration)
    log.info("unleash_sdk_registered", app=told.app, sdk=told.sdk, environment=_environment())
    return Response(status=202)


@blueprint.post("/metrics")
@requires(Role.VIEWER)
@limited_as(Kind.EVALUATIONS)
@accepts(MOST_BYTES)
def metrics() -> Response:
    """Add what an SDK counted to the figures of flags."""
    report = read_json(MetricsReport)
    store = flag_store()
    if store.usage is not None:
        batch = report.batch(store.names(), environment=_environment(), now=now())
        add_usage(db.session, batch)
        db.session.commit()
    return Response(status=202)


def _environment() -> str:
    return principal().environment or flag_store().environment


def _document_of(found: FlagSet, environment: str) -> tuple[bytes, str]:
    kept: _Documents | None = current_app.extensions.get(_EXTENSION)
    if kept is None or kept.found is not found:
        kept = current_app.extensions[_EXTENSION] = _Documents(found)
    document = kept.written.get(environment)
    if document is None:
        body = orjson.dumps({"version": 2, "features": features_of(found, environment)})
        document = body, sha256(body).hexdigest()[:32]
        if len(kept.written) < _MOST_KEPT:
            kept.written[environment] = document
    return document
