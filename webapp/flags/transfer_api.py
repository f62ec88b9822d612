"""Export and import of flags over JSON: the whole state in one document, and back."""

import json
from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, Response, request
from pydantic import ValidationError

from webapp.clock import now
from webapp.db import db
from webapp.errors import Invalid
from webapp.flags.responses import ExportResponse, ImportQuery, ImportResponse
from webapp.flags.schemas import (
    FlagsToImport,
    FlagToImport,
    GroupToImport,
    SegmentToImport,
    export_as_json,
    imported_as_json,
)
from webapp.flags.transfer import (
    Results,
    Wanted,
    counts_of,
    errors_of,
    export_all,
    import_all,
    refused,
)
from webapp.flags.values import MAX_NAME
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.openapi import describes
from webapp.web.requests import accepts
from webapp.web.schemas import invalid, read_choice, read_json

blueprint = Blueprint("flags_transfer_api", __name__, url_prefix="/api/v1/feature-flags")

# Lists of ids are long; what was exported must fit back in.
MOST_BYTES: Final = 32 * 1024 * 1024

# What flags refer to comes before them.
_KINDS: Final[Mapping[str, type[GroupToImport | SegmentToImport | FlagToImport]]] = {
    "groups": GroupToImport,
    "segments": SegmentToImport,
    "flags": FlagToImport,
}


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
def import_() -> Response:
    """Create and change what the body names, all or nothing; a dry run only says what would be."""
    body = read_json(FlagsToImport)
    dry_run = read_choice("dry_run")
    reason = request.args.get("reason", "") if body.reason is None else body.reason
    wanted, unreadable = _read(body)
    taken = import_all(db.session, wanted, by=actor(), now=now(), reason=reason)
    results = {kind: _merged(getattr(taken, kind), unreadable[kind]) for kind in _KINDS}
    errors = errors_of(results)
    if dry_run:
        db.session.rollback()
    elif errors:
        db.session.rollback()
        raise Invalid(f"{len(errors)} entries are refused, so nothing is imported.", errors)
    else:
        db.session.commit()
    return json_answer(
        {"dry_run": dry_run, "counts": counts_of(results["flags"])}
        | {
            kind: {name: imported_as_json(item) for name, item in found.items()}
            for kind, found in results.items()
        }
    )


def _read(body: FlagsToImport) -> tuple[Wanted, dict[str, Results]]:
    """Return what can be read, and what is wrong with the rest, by kind and name."""
    wanted: dict[str, list[Any]] = {}
    unreadable: dict[str, Results] = {}
    for kind, schema in _KINDS.items():
        wanted[kind], unreadable[kind] = [], {}
        for number, item in enumerate(getattr(body, kind)):
            try:
                wanted[kind].append(schema.model_validate_json(json.dumps(item)).wanted())
            except ValidationError as error:
                name = _name_of(item, f"{kind}.{number}")
                unreadable[kind][name] = refused(invalid(error))
    return Wanted(**wanted), unreadable


def _name_of(item: Any, place: str) -> str:
    """Return a name to speak of something by, also where it has none."""
    name = item.get("name") if isinstance(item, dict) else None
    return name if isinstance(name, str) and 0 < len(name) <= MAX_NAME else place


def _merged(taken: Results, unreadable: Results) -> Results:
    return dict(sorted((taken | unreadable).items()))
