"""How the fields of sources changed, over JSON, and the decisions about renames."""

from datetime import datetime
from typing import Any

from flask import Blueprint, Response, request

from webapp.clock import now
from webapp.db import db
from webapp.errors import Invalid
from webapp.roles import Role
from webapp.sources.drift import DriftKind, DriftState
from webapp.sources.drift_queries import drifts_of
from webapp.sources.models import SchemaDrift
from webapp.sources.profiles import FieldType
from webapp.sources.renaming import accept_rename, reject_rename
from webapp.sources.service import find_source
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.cursors import neighbours, read_cursor
from webapp.web.openapi import Answer, Page, PageQuery, describes
from webapp.web.schemas import Schema, Text, read_json, read_whole

blueprint = Blueprint("source_drift_api", __name__, url_prefix="/api/v1/sources/<name>/drift")

DEFAULT_LIMIT = 50
MAX_LIMIT = 500


class Reasoned(Schema):
    """The body of a decision."""

    reason: Text = ""


class DriftQuery(PageQuery):
    """What a list of drifts is narrowed to."""

    state: DriftState


class DriftResponse(Answer):
    """One change of a source's fields; ``confidence`` is of a rename, from 0 to 1."""

    id: int
    run_id: int | None
    found_at: datetime
    kind: DriftKind
    field: str
    new_field: str | None
    from_type: FieldType | None
    to_type: FieldType | None
    confidence: float | None
    state: DriftState
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


@blueprint.get("")
@requires(Role.VIEWER)
@describes({200: Page[DriftResponse]}, query=DriftQuery)
def index(name: str) -> Response:
    """List how the fields of a source changed, newest first."""
    state = request.args.get("state", "")
    if state and state not in set(DriftState):
        raise Invalid.field("state", f"One of {', '.join(DriftState)}.")
    source = find_source(db.session, name)
    size = read_whole("limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    page = drifts_of(db.session, source, read_cursor(), state=state, size=size)
    links = neighbours(page)
    return json_answer(
        {
            "items": [drift_as_json(drift) for drift in page.rows],
            "total": page.total,
            "capped": page.capped,
            "next": links["next_url"],
            "previous": links["previous_url"],
        }
    )


@blueprint.post("/<int:drift_id>/accept")
@requires(Role.OPERATOR)
@describes({200: DriftResponse}, body=Reasoned, example={"reason": "The supplier said so"})
def accept(name: str, drift_id: int) -> Response:
    """Follow a rename that was held, from the next run on."""
    body = read_json(Reasoned)
    drift = accept_rename(db.session, name, drift_id, by=actor(), now=now(), reason=body.reason)
    db.session.commit()
    return json_answer(drift_as_json(drift))


@blueprint.post("/<int:drift_id>/reject")
@requires(Role.OPERATOR)
@describes({200: DriftResponse}, body=Reasoned, example={"reason": "They are two things"})
def reject(name: str, drift_id: int) -> Response:
    """Do not follow a rename, or no longer; it is not proposed again."""
    body = read_json(Reasoned)
    drift = reject_rename(db.session, name, drift_id, by=actor(), now=now(), reason=body.reason)
    db.session.commit()
    return json_answer(drift_as_json(drift))


def drift_as_json(drift: SchemaDrift) -> dict[str, Any]:
    """Write one drift."""
    return {
        "id": drift.id,
        "run_id": drift.run_id,
        "found_at": drift.found_at,
        "kind": drift.kind,
        "field": drift.field,
        "new_field": drift.new_field,
        "from_type": drift.from_type,
        "to_type": drift.to_type,
        "confidence": drift.confidence,
        "state": drift.state,
        "decided_at": drift.decided_at,
        "decided_by": drift.decided_by,
        "reason": drift.reason,
    }
