"""Dead letters over JSON: the same services as the pages, for programs.

A letter is known by the id of its job, of which there is one at most.
"""

from datetime import timedelta
from typing import Any, Final

from flask import Blueprint, Response, request, url_for

from webapp.clock import now
from webapp.db import db
from webapp.dead_letters import bulk, queries, selection, service
from webapp.dead_letters.export import COLUMNS, letter_batches, row_batches
from webapp.dead_letters.figures import letter_figures
from webapp.dead_letters.groups import list_groups
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.responses import (
    BulkOutcomeResponse,
    DryRunResponse,
    ExportQuery,
    LetterDetailsResponse,
    LetterFiguresResponse,
    LetterGroupsQuery,
    LetterGroupsResponse,
    LetterResponse,
    LettersQuery,
    RemovedLettersResponse,
)
from webapp.dead_letters.schemas import (
    BulkRequest,
    CleanupRequest,
    ResolveRequest,
    RetryRequest,
    figures_as_json,
    group_as_json,
    letter_as_json,
    outcome_as_json,
)
from webapp.dead_letters.values import AGES, BulkOrder, LetterFilters, Status
from webapp.errors import Invalid
from webapp.jobs.schemas import attempt_as_json
from webapp.jobs.service import attempts_of
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.cursors import neighbours, read_cursor, read_search
from webapp.web.downloads import json_file_answer
from webapp.web.openapi import SearchPage, describes
from webapp.web.schemas import Reasoned, read_json, read_limit, read_window
from webapp.web.spreadsheets import csv_answer

blueprint = Blueprint("dead_letters_api", __name__, url_prefix="/api/v1/dlq")

#: More attempts than a job has, unless somebody retried it for weeks.
ATTEMPTS: Final = 1_000
SAMPLE: Final = 5
#: So many are removed by one request.
REMOVED_AT_ONCE: Final = 10_000
_STATUSES: Final = {"false": Status.OPEN, "true": Status.RESOLVED, "any": Status.ALL}


@blueprint.get("")
@requires(Role.VIEWER)
@describes({200: SearchPage[LetterResponse]}, query=LettersQuery)
def index() -> Response:
    """List letters, newest first; the open ones unless something else is asked for."""
    found = queries.list_letters(
        db.session, _filters(), read_cursor(), now=now(), size=read_limit()
    )
    links = neighbours(found)
    return json_answer(
        {
            "items": [letter_as_json(row) for row in found.rows],
            "total": found.total,
            "capped": found.capped,
            "searched": found.searched,
            "previous": links["previous_url"],
            "next": links["next_url"],
        }
    )


@blueprint.get("/stats")
@requires(Role.VIEWER)
@describes({200: LetterFiguresResponse})
def stats() -> Response:
    """Count letters, each count up to 10,001."""
    return json_answer(figures_as_json(letter_figures(db.session, now=now())))


@blueprint.get("/groups")
@requires(Role.VIEWER)
@describes({200: LetterGroupsResponse}, query=LetterGroupsQuery)
def groups() -> Response:
    """List what troubles there are, the commonest first, each with a sample."""
    skip, limit = read_window()
    found = list_groups(db.session, _filters(), now=now(), skip=skip, limit=limit)
    return json_answer(
        {
            "items": [group_as_json(group) for group in found.rows],
            "total": found.total,
            "letters": found.letters,
            "capped": found.capped,
        }
    )


@blueprint.get("/job/<int:job_id>")
@requires(Role.VIEWER)
@describes({200: LetterDetailsResponse})
def show(job_id: int) -> Response:
    """Write a job's letter with every attempt."""
    letter = service.letter_of(db.session, job_id)
    attempts = attempts_of(db.session, job_id, limit=ATTEMPTS)
    more = {"traceback": letter.traceback, "attempts": [attempt_as_json(item) for item in attempts]}
    return _answer(letter, more)


@blueprint.post("/retry/<int:job_id>")
@requires(Role.OPERATOR)
@describes({202: LetterResponse}, body=RetryRequest)
def retry(job_id: int) -> Response:
    """Run a job again: 202 with its address; 409 says why it cannot run."""
    body = read_json(RetryRequest)
    letter = service.letter_of(db.session, job_id)
    service.retry(db.session, letter.id, by=actor(), now=now(), arguments=body.arguments)
    db.session.commit()
    answer = _answer(letter, {}, 202)
    answer.headers["Location"] = url_for("jobs_api.show", job_id=job_id)
    return answer


@blueprint.post("/resolve/<int:job_id>")
@requires(Role.OPERATOR)
@describes({200: LetterResponse}, body=ResolveRequest)
def resolve(job_id: int) -> Response:
    """Close a letter by hand."""
    body = read_json(ResolveRequest)
    letter = service.letter_of(db.session, job_id)
    letter = service.resolve(db.session, letter.id, by=actor(), now=now(), notes=body.notes)
    db.session.commit()
    return _answer(letter, {})


@blueprint.post("/discard/<int:job_id>")
@requires(Role.OPERATOR)
@describes({200: LetterResponse}, body=Reasoned)
def discard(job_id: int) -> Response:
    """Give a job up for good."""
    body = read_json(Reasoned)
    letter = service.letter_of(db.session, job_id)
    letter = service.discard(db.session, letter.id, by=actor(), now=now(), reason=body.reason)
    db.session.commit()
    return _answer(letter, {})


@blueprint.post("/bulk")
@requires(Role.OPERATOR)
@describes(
    {200: DryRunResponse | BulkOutcomeResponse, 202: BulkOutcomeResponse},
    body=BulkRequest,
    example={"action": "retry", "filter": {}, "dry_run": True},
)
def many() -> Response:
    """Act on many letters; a dry run only counts them.  202 where a job does it."""
    body = read_json(BulkRequest)
    at = now()
    order = bulk.checked(db.session, body.order(now=at), now=at, asking=body.dry_run)
    if body.dry_run:
        return json_answer(_dry_run(order))
    outcome = bulk.carry_out(db.session, order, by=actor(), now=at)
    db.session.commit()
    if outcome.job_id is None:
        return json_answer(outcome_as_json(outcome))
    answer = json_answer(outcome_as_json(outcome), 202)
    answer.headers["Location"] = url_for("jobs_api.show", job_id=outcome.job_id)
    return answer


@blueprint.post("/cleanup")
@requires(Role.ADMIN)
@describes({200: RemovedLettersResponse}, body=CleanupRequest)
def cleanup() -> Response:
    """Remove letters that were closed more than so many days ago; ``more`` says ask again."""
    body = read_json(CleanupRequest)
    at = now()
    removed = service.remove_resolved(
        db.session,
        resolved_before=at - timedelta(days=body.days),
        most=REMOVED_AT_ONCE,
        by=actor(),
        now=at,
    )
    db.session.commit()
    return json_answer({"removed": removed, "more": removed == REMOVED_AT_ONCE})


@blueprint.get("/export")
@requires(Role.VIEWER)
@describes({200: list[dict[str, Any]]}, query=ExportQuery, files=("text/csv",))
def export() -> Response:
    """Hand out the letters that fit as a file, newest first: ``format`` is csv or json."""
    kind = request.args.get("format", "csv")
    if kind not in {"csv", "json"}:
        raise Invalid.field("format", "Either csv or json.")
    at, filters = now(), _filters()
    filename = f"dead-letters-{at:%Y%m%d}.{kind}"
    if kind == "json":
        return json_file_answer(letter_batches(filters, now=at), filename=filename)
    return csv_answer(COLUMNS, row_batches(filters, now=at), filename=filename)


def _dry_run(order: BulkOrder) -> dict[str, Any]:
    count = selection.count_ordered(db.session, order)
    sample = selection.sample_ordered(db.session, order, SAMPLE)
    return {
        "dry_run": True,
        "count": count,
        "capped": count > selection.BULK_CAP,
        "sample": [letter_as_json(row) for row in sample],
    }


def _answer(letter: DeadLetter, more: dict[str, Any], status: int = 200) -> Response:
    return json_answer(letter_as_json(queries.get_row(db.session, letter)) | more, status)


def _filters() -> LetterFilters:
    given = request.args
    resolved = given.get("resolved", "false")
    if resolved not in _STATUSES:
        raise Invalid.field("resolved", "One of true, false, any.")
    for name in ("older", "newer"):
        if given.get(name, "") not in {"", *AGES}:
            raise Invalid.field(name, f"One of {', '.join(AGES)}.")
    return LetterFilters(
        status=_STATUSES[resolved],
        type=given.get("type", ""),
        exception=given.get("exception", ""),
        fingerprint=given.get("fingerprint", ""),
        text=read_search(),
        older=given.get("older", ""),
        newer=given.get("newer", ""),
    )
