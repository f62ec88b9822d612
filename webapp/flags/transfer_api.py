"""Export and import of flags over JSON: the whole state in one document, and back."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flask import Blueprint, Response, request
from pydantic import ValidationError

from webapp.clock import now
from webapp.db import db
from webapp.errors import Invalid
from webapp.flags.schemas import (
    FlagsToImport,
    FlagToImport,
    export_as_json,
    imported_as_json,
)
from webapp.flags.transfer import (
    ImportedFlag,
    ImportOutcome,
    WantedFlag,
    export_flags,
    import_flags,
    refused,
)
from webapp.flags.values import MAX_NAME
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.requests import accepts
from webapp.web.schemas import invalid, read_choice, read_json

blueprint = Blueprint("flags_transfer_api", __name__, url_prefix="/api/v1/feature-flags")

# Lists of ids are long; what was exported must fit back in.
MOST_BYTES: Final = 32 * 1024 * 1024


@blueprint.get("/export")
@requires(Role.VIEWER)
def export() -> Response:
    """Write every flag: the same flags are the same bytes, so that two exports can be compared."""
    answer = json_answer(export_as_json(export_flags(db.session)))
    answer.headers["Content-Disposition"] = 'attachment; filename="feature-flags.json"'
    return answer


@blueprint.post("/import")
@requires(Role.ADMIN)
@accepts(MOST_BYTES)
def import_() -> Response:
    """Create and change the flags of the body, all or none; a dry run only says what would be."""
    body = read_json(FlagsToImport)
    dry_run = read_choice("dry_run")
    reason = request.args.get("reason", "") if body.reason is None else body.reason
    wanted, results = _read(body.flags)
    taken = import_flags(db.session, wanted, by=actor(), now=now(), reason=reason)
    results = dict(sorted((taken | results).items()))
    errors = _errors_of(results)
    if dry_run:
        db.session.rollback()
    elif errors:
        db.session.rollback()
        raise Invalid(f"{len(errors)} of the flags are refused, so none is imported.", errors)
    else:
        db.session.commit()
    return json_answer(
        {
            "dry_run": dry_run,
            "counts": _counts_of(results),
            "flags": {name: imported_as_json(flag) for name, flag in results.items()},
        }
    )


def _read(items: Sequence[Any]) -> tuple[list[WantedFlag], dict[str, ImportedFlag]]:
    """Return the flags that can be read, and what is wrong with the others, by name."""
    wanted: list[WantedFlag] = []
    unreadable: dict[str, ImportedFlag] = {}
    for number, item in enumerate(items):
        try:
            wanted.append(FlagToImport.model_validate_json(json.dumps(item)).wanted())
        except ValidationError as error:
            unreadable[_name_of(item, number)] = refused(invalid(error))
    return wanted, unreadable


def _name_of(item: Any, number: int) -> str:
    """Return a name to speak of a flag by, also where it has none."""
    name = item.get("name") if isinstance(item, dict) else None
    return name if isinstance(name, str) and 0 < len(name) <= MAX_NAME else f"flags.{number}"


def _errors_of(results: Mapping[str, ImportedFlag]) -> dict[str, list[str]]:
    return {
        name: [f"{field}: {message}" for field, texts in flag.errors.items() for message in texts]
        for name, flag in results.items()
        if flag.outcome is ImportOutcome.REFUSED
    }


def _counts_of(results: Mapping[str, ImportedFlag]) -> dict[str, int]:
    counted = Counter(flag.outcome for flag in results.values())
    return {outcome.value: counted[outcome] for outcome in ImportOutcome}
