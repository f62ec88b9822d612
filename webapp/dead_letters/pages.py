"""The pages Dead letters and Dead letter."""

from flask import Blueprint, request, url_for
from werkzeug.wrappers import Response

from webapp.clock import now
from webapp.db import db
from webapp.dead_letters import queries, service
from webapp.errors import Invalid
from webapp.jobs.registry import job_types
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.cursors import neighbours, read_cursor, read_search
from webapp.web.htmx import done, render

blueprint = Blueprint("dead_letters", __name__, url_prefix="/dead-letters")


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List dead letters, newest first; the open ones unless something else is asked for."""
    filters = queries.LetterFilters(
        status=request.args.get("status") or "open",
        type=request.args.get("type", ""),
        fingerprint=request.args.get("fingerprint", ""),
        text=read_search(),
    )
    page = queries.list_letters(db.session, filters, read_cursor())
    return render(
        "dead_letters/index.html",
        "dead_letters/_table.html",
        page=page,
        filters=filters,
        type_options=[(kind.name, kind.name) for kind in job_types()],
        **neighbours(page),
    )


@blueprint.get("/<int:letter_id>")
@requires(Role.VIEWER)
def show(letter_id: int) -> Response:
    """Show one letter with its traceback."""
    return _letter(letter_id)


@blueprint.post("/<int:letter_id>/retry")
@requires(Role.OPERATOR)
def retry(letter_id: int) -> Response:
    """Run the letter's job again."""
    letter = service.retry(db.session, letter_id, by=actor(), now=now())
    db.session.commit()
    told = f"Job {letter.job_id} is queued again; its success resolves this letter."
    return done(told, url=url_for("dead_letters.show", letter_id=letter_id))


@blueprint.post("/<int:letter_id>/resolve")
@requires(Role.OPERATOR)
def resolve(letter_id: int) -> Response:
    """Close the letter by hand, with notes."""
    notes = request.form.get("notes", "")
    try:
        service.resolve(db.session, letter_id, by=actor(), now=now(), notes=notes)
    except Invalid as error:
        return _letter(letter_id, errors=error.errors, notes=notes, status=422)
    db.session.commit()
    url = url_for("dead_letters.show", letter_id=letter_id)
    return done(f"Dead letter {letter_id} is resolved.", url=url)


def _letter(letter_id: int, *, status: int = 200, **form: object) -> Response:
    letter = service.find_letter(db.session, letter_id)
    return render(
        "dead_letters/show.html",
        "dead_letters/_letter.html",
        status=status,
        letter=queries.get_row(db.session, letter),
        traceback=letter.traceback,
        **form,
    )
