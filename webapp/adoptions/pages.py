"""The page that imports flags: looked at first, then done as a whole or not at all.

One form serves both, and works without scripts.  A look is an import that is not written, so what
is shown is what would happen; the import is done where that is still what happens.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from flask import Blueprint, Response, request
from werkzeug.exceptions import BadRequest

from webapp.adoptions.forms import MOST_FORM_BYTES, SYSTEMS, ImportForm
from webapp.adoptions.report import Report, report_of
from webapp.adoptions.service import Document, Taken, take_document
from webapp.clock import now
from webapp.db import db
from webapp.errors import Invalid
from webapp.flags.importing import MOST_BYTES
from webapp.formats import bytes_
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.htmx import render
from webapp.web.requests import accepts_form, reads_first

blueprint = Blueprint("adoptions", __name__, url_prefix="/flags/import")

# What was done cannot be paged through: it is told at once, as far as a page should be long.
_MOST_DONE: Final = 500


@dataclass(frozen=True, slots=True)
class _File:
    """A file that was chosen."""

    title: str
    content: bytes


@blueprint.get("")
@requires(Role.ADMIN)
def new() -> Response:
    """Show the form."""
    return _page(ImportForm())


@blueprint.post("")
@requires(Role.ADMIN)
@accepts_form(MOST_FORM_BYTES)
@reads_first
def create() -> Response:
    """Look at what a document would change, or import it where that was looked at."""
    form, file = ImportForm.read(request.form), _file()
    document = None
    try:
        document = form.document(file.content if file else None)
        taken = _take(form, document)
    except Invalid as error:
        return _refused(form.refused(error.errors, document), document, file)
    except BadRequest as error:
        # It would be no better the next time: it is not kept.
        return _refused(form.refused({"document": [str(error.description)]}), None, file)
    form = form.keeping(document, file.title if file else "")
    return _done(form, taken) if "reviewed" in request.form else _looked_at(form, taken)


def _take(form: ImportForm, text: bytes) -> Taken:
    document = Document(system=form.whose(), text=text, environment=form.place())
    looks = "reviewed" not in request.form
    return take_document(
        db.session, document, by=actor(), now=now(), reason=form.reason, dry_run=looks
    )


def _done(form: ImportForm, taken: Taken) -> Response:
    """Keep what was done, where it is all that was looked at."""
    report = report_of(taken, size=_MOST_DONE)
    if report.mark != form.reviewed:
        problem = "What would happen is not what you looked at: flags or the document changed."
        return _looked_at(form, taken, problem=problem, status=HTTPStatus.CONFLICT)
    if report.refused:
        problem = f"{report.refused:,} of it are refused."
        return _looked_at(form, taken, problem=problem, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    db.session.commit()
    return render("adoptions/done.html", report=report)


def _looked_at(form: ImportForm, taken: Taken, *, problem: str = "", status: int = 200) -> Response:
    db.session.rollback()
    return _page(form, report=report_of(taken, form.show), problem=problem, status=status)


def _refused(form: ImportForm, document: bytes | None, file: _File | None) -> Response:
    db.session.rollback()
    if document is not None:
        form = form.keeping(document, file.title if file else "")
    return _page(form, status=HTTPStatus.UNPROCESSABLE_ENTITY)


def _file() -> _File | None:
    """Return the file that was chosen, read no further than to see that it is too long."""
    sent = request.files.get("file")
    if sent is None or not sent.filename:
        return None
    return _File(title=sent.filename, content=sent.read(MOST_BYTES + 1))


def _page(
    form: ImportForm, *, report: Report | None = None, problem: str = "", status: int = 200
) -> Response:
    return render(
        "adoptions/new.html",
        status=status,
        form=form,
        systems=[(system.value, words) for system, words in SYSTEMS.items()],
        most=bytes_(MOST_BYTES),
        report=report,
        problem=problem,
    )
