"""All flags in one document, and usage reported back: for processes that evaluate elsewhere."""

from dataclasses import dataclass
from hashlib import sha256

import orjson
from flask import Blueprint, Response, current_app, request

from webapp.clock import now
from webapp.db import db
from webapp.errors import Unavailable
from webapp.flags.documents import flag_set_as_document
from webapp.flags.recording import add_usage
from webapp.flags.reports import UsageReport
from webapp.flags.responses import SnapshotResponse
from webapp.flags.snapshot import NOT_READ, flag_store
from webapp.flags.values import NO_FLAGS, FlagSet
from webapp.roles import Role
from webapp.web.access import requires
from webapp.web.limits import Kind, limited_as
from webapp.web.openapi import describes
from webapp.web.requests import accepts
from webapp.web.schemas import read_json

blueprint = Blueprint("flags_snapshot_api", __name__, url_prefix="/api/v1/feature-flags")

# A report of two days of a thousand flags, after an outage.
MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Document:
    """What was written last: many ask for it, and it changes with the flags only."""

    found: FlagSet
    body: bytes
    etag: str


@blueprint.get("/snapshot")
@requires(Role.VIEWER)
@limited_as(Kind.EVALUATIONS)
@describes({200: SnapshotResponse, 304: None})
def snapshot() -> Response:
    """Write all that decides, lists of ids included; 304 where the asker has it already."""
    found = flag_store().current().found
    if found is NO_FLAGS:
        raise Unavailable(NOT_READ)
    document = _document_of(found)
    response = Response(document.body, content_type="application/json")
    response.set_etag(document.etag)
    response.make_conditional(request)
    return response


@blueprint.post("/usage")
@requires(Role.VIEWER)
@limited_as(Kind.EVALUATIONS)
@describes({204: None}, body=UsageReport)
@accepts(MOST_BYTES)
def usage() -> Response:
    """Add what another process counted to the figures of flags."""
    report = read_json(UsageReport)
    add_usage(db.session, report.batch(flag_store().names(), now=now()))
    db.session.commit()
    return Response(status=204)


def _document_of(found: FlagSet) -> _Document:
    kept: _Document | None = current_app.extensions.get("flags_document")
    if kept is None or kept.found is not found:
        body = orjson.dumps(flag_set_as_document(found))
        # The content counts too: a database that was restored may come by the same revision again.
        kept = _Document(found, body, f"{found.revision}-{sha256(body).hexdigest()[:16]}")
        current_app.extensions["flags_document"] = kept
    return kept
