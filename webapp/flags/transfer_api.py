"""Export and import of flags over JSON: the whole state in one document, and back."""

from flask import Blueprint, Response, request

from webapp.clock import now
from webapp.db import db
from webapp.errors import Invalid
from webapp.flags.importing import MOST_BYTES, import_document
from webapp.flags.planning import counts_of
from webapp.flags.responses import ExportResponse, ImportQuery, ImportResponse
from webapp.flags.schemas import FlagsToImport, export_as_json, imported_as_json
from webapp.flags.transfer import errors_of, export_all
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.openapi import describes
from webapp.web.requests import accepts, reads_first
from webapp.web.schemas import read_choice, read_json

blueprint = Blueprint("flags_transfer_api", __name__, url_prefix="/api/v1/feature-flags")


@blueprint.get("/export")
@requires(Role.VIEWER)
@describes({200: ExportResponse})
def export() -> Response:
    """Write everything: the same state is the same bytes, so that two exports can be compared."""
    answer = json_answer(export_as_json(export_all(db.session)))
    answer.headers["Content-Disposition"] = 'attachment; filename="feature-flags.json"'
    return answer


@blueprint.post("/import")
@requires(Role.ADMIN)
@describes({200: ImportResponse}, body=FlagsToImport, query=ImportQuery)
@accepts(MOST_BYTES)
@reads_first
def import_() -> Response:
    """Create and change what the body names, all or nothing; a dry run only says what would be."""
    body = read_json(FlagsToImport)
    dry_run = read_choice("dry_run")
    reason = request.args.get("reason", "") if body.reason is None else body.reason
    results = import_document(
        db.session, body, by=actor(), now=now(), reason=reason, dry_run=dry_run
    )
    errors = errors_of(results)
    if not dry_run:
        if errors:
            raise Invalid(f"{len(errors)} entries are refused, so nothing is imported.", errors)
        db.session.commit()
    return json_answer(
        {"dry_run": dry_run, "counts": counts_of(results["flags"])}
        | {
            kind: {name: imported_as_json(item) for name, item in found.items()}
            for kind, found in results.items()
        }
    )
