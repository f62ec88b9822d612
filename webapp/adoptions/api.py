"""Flags of other systems, taken over over JSON: all that can be, or nothing; or only a report."""

from typing import Any

from flask import Blueprint, Response, request

from webapp.adoptions.adoption import Adoption
from webapp.adoptions.from_flagd import adopt_flagd
from webapp.adoptions.from_unleash import adopt_unleash
from webapp.adoptions.schemas import AdoptionQuery, AdoptionResponse, FlagdFile, UnleashExport
from webapp.adoptions.service import take_adoption
from webapp.clock import now
from webapp.db import db
from webapp.errors import Invalid
from webapp.flags.importing import MOST_BYTES
from webapp.flags.planning import Imported, counts_of
from webapp.flags.schemas import imported_as_json
from webapp.flags.transfer import errors_of
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.openapi import describes
from webapp.web.requests import accepts, reads_first
from webapp.web.schemas import read_choice, read_json

blueprint = Blueprint("adoptions_api", __name__, url_prefix="/api/v1/feature-flags/import")


@blueprint.post("/unleash")
@requires(Role.ADMIN)
@describes({200: AdoptionResponse}, body=UnleashExport, query=AdoptionQuery)
@accepts(MOST_BYTES)
@reads_first
def from_unleash() -> Response:
    """Take over an export of Unleash, or what its SDKs get.

    A dry run only says what would be.
    """
    return _taken_over(adopt_unleash(read_json(UnleashExport), _environment()))


@blueprint.post("/flagd")
@requires(Role.ADMIN)
@describes({200: AdoptionResponse}, body=FlagdFile, query=AdoptionQuery)
@accepts(MOST_BYTES)
@reads_first
def from_flagd() -> Response:
    """Take over a file of flagd.

    A dry run only says what would be.
    """
    return _taken_over(adopt_flagd(read_json(FlagdFile), _environment()))


def _environment() -> str | None:
    return request.args.get("environment") or None


def _taken_over(adoption: Adoption) -> Response:
    dry_run, reason = read_choice("dry_run"), request.args.get("reason", "")
    taken = take_adoption(
        db.session, adoption, by=actor(), now=now(), reason=reason, dry_run=dry_run
    )
    flags, errors = taken.results["flags"], errors_of(taken.results)
    if not dry_run:
        if errors:
            raise Invalid(f"{len(errors)} flags are refused, so nothing is imported.", errors)
        db.session.commit()
    counts = counts_of(flags) | {"left_out": len(taken.left_out)}
    told = {name: _told(item, taken.notes.get(name, [])) for name, item in flags.items()}
    return json_answer(
        {"dry_run": dry_run, "counts": counts, "flags": told, "left_out": taken.left_out}
    )


def _told(item: Imported, notes: list[str]) -> dict[str, Any]:
    return {**imported_as_json(item), "notes": notes}
