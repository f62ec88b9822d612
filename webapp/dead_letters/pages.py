"""The pages of dead letters: groups, the list, one letter, and what is asked before a bulk.

Every form works as a plain one.  What is done to many letters is asked on a page of its own, which
counts them: the address of that page says which, so that nothing is done that nobody has seen.
"""

import json
from dataclasses import replace
from typing import Any, Final

from flask import Blueprint, request, url_for
from werkzeug.wrappers import Response

from webapp.breakers.service import states_by_name
from webapp.clock import now
from webapp.db import db
from webapp.dead_letters import bulk, groups, queries, selection, service
from webapp.dead_letters.export import COLUMNS, letter_batches, row_batches
from webapp.dead_letters.forms import BulkForm, read_filters, read_object
from webapp.dead_letters.models import DeadLetter
from webapp.dead_letters.values import AGES, OLDER, BulkAction, BulkOrder, LetterFilters
from webapp.errors import Conflict, DomainError, FieldErrors, Invalid
from webapp.jobs.registry import job_types
from webapp.jobs.service import attempts_of, find_job
from webapp.logs import masked
from webapp.paging import PAGE_SIZE
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.confirmations import act, asking
from webapp.web.cursors import MOST_SEARCHED, neighbours, read_cursor, read_search, read_skip
from webapp.web.downloads import json_file_answer
from webapp.web.htmx import done, render
from webapp.web.spreadsheets import csv_answer

blueprint = Blueprint("dead_letters", __name__, url_prefix="/dead-letters")

SAMPLE: Final = 5
ATTEMPTS: Final = 50


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List what troubles there are among the open letters, the commonest first."""
    filters = replace(_filters(), status="open")
    skip = read_skip()
    newest_first = request.args.get("sort") == "-last"
    found = groups.list_groups(db.session, filters, now=now(), newest_first=newest_first, skip=skip)
    return render(
        "dead_letters/index.html",
        "dead_letters/_groups.html",
        found=found,
        filters=filters,
        sort="-last" if newest_first else "-count",
        page_size=PAGE_SIZE,
        ages=[*AGES, OLDER],
        **_choices(),
    )


@blueprint.get("/list")
@requires(Role.VIEWER)
def letters() -> Response:
    """List letters, newest first; the open ones unless something else is asked for."""
    filters = _filters()
    page = queries.list_letters(db.session, filters, read_cursor(), now=now())
    return render(
        "dead_letters/list.html",
        "dead_letters/_table.html",
        page=page,
        filters=filters,
        **_choices(),
        **neighbours(page),
    )


@blueprint.get("/export.csv")
@requires(Role.VIEWER)
def export_csv() -> Response:
    """Hand out the letters that fit as a table, newest first."""
    at = now()
    rows = row_batches(_filters(), now=at)
    return csv_answer(COLUMNS, rows, filename=f"dead-letters-{at:%Y%m%d}.csv")


@blueprint.get("/export.json")
@requires(Role.VIEWER)
def export_json() -> Response:
    """Hand out the letters that fit as JSON, newest first."""
    at = now()
    found = letter_batches(_filters(), now=at)
    return json_file_answer(found, filename=f"dead-letters-{at:%Y%m%d}.json")


@blueprint.get("/bulk")
@requires(Role.OPERATOR)
def ask_bulk() -> Response:
    """Say how many letters an action is for, and ask whether it is meant."""
    form = BulkForm.read(request.args, request.args.getlist("job"), text=read_search(), now=now())
    if form.jobs == ():
        url = url_for("dead_letters.letters")
        return done("Tick the letters first.", url=url, tone="warning")
    return _bulk_page(form)


@blueprint.post("/bulk")
@requires(Role.OPERATOR)
def do_bulk() -> Response:
    """Do what was asked, at once or by a job."""
    at = now()
    text = request.form.get("q", "").strip()[:MOST_SEARCHED]
    form = BulkForm.read(request.form, request.form.getlist("job"), text=text, now=at)
    try:
        order = bulk.checked(db.session, form.order(), now=at)
        outcome = bulk.carry_out(db.session, order, by=actor(), now=at)
        db.session.commit()
    except Invalid as error:
        db.session.rollback()
        return _bulk_page(replace(form, errors=error.errors), status=422)
    if outcome.job_id is not None:
        told = f"Job {outcome.job_id} {_doing(order)} {_letters(outcome.count, outcome.capped)}."
        return done(told, url=url_for("jobs.show", job_id=outcome.job_id))
    return done(_told(order, outcome), url=url_for("dead_letters.letters"))


@blueprint.get("/<int:letter_id>")
@requires(Role.VIEWER)
def show(letter_id: int) -> Response:
    """Show one letter with its traceback and all that was tried."""
    return _letter(letter_id)


@blueprint.post("/<int:letter_id>/retry")
@requires(Role.OPERATOR)
def retry(letter_id: int) -> Response:
    """Run the letter's job again, with other arguments where some were typed."""
    typed = request.form.get("arguments")
    try:
        arguments = None if typed is None else read_object(typed)
        letter = service.retry(db.session, letter_id, by=actor(), now=now(), arguments=arguments)
    except (Invalid, Conflict) as error:
        if typed is None:
            raise
        return _refused(letter_id, error, typed=typed)
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
        return _refused(letter_id, error, notes=notes)
    db.session.commit()
    url = url_for("dead_letters.show", letter_id=letter_id)
    return done(f"Dead letter {letter_id} is resolved.", url=url)


@blueprint.post("/<int:letter_id>/discard")
@requires(Role.OPERATOR)
def discard(letter_id: int) -> Response:
    """Give the job up for good."""
    letter = service.find_letter(db.session, letter_id)
    asked = asking(
        f"Discard {letter.type} {letter.job_id}?",
        "The job stays dead, and its letter is closed. Nothing is removed.",
        "Discard letter",
    )
    return act(
        asked,
        f"Dead letter {letter_id} is discarded.",
        url=url_for("dead_letters.show", letter_id=letter_id),
        verb=lambda by, at: service.discard(
            db.session, letter_id, by=by, now=at, reason=asked.reason
        ),
    )


def _filters() -> LetterFilters:
    return read_filters(request.args, read_search())


def _choices() -> dict[str, Any]:
    return {
        "type_options": [(kind.name, kind.name) for kind in job_types()],
        "exception_options": [(name, name) for name in queries.known_exceptions(db.session)],
        "age_options": [(age, _age_in_words(age)) for age in AGES],
    }


def _age_in_words(age: str) -> str:
    return f"{age[:-1]} {age[-1]}"


def _bulk_page(form: BulkForm, *, status: int = 200) -> Response:
    at = now()
    # Which letters are meant must be readable; how fast they go can be typed again.
    plain = replace(form, per_minute="", breaker="").order()
    order = bulk.checked(db.session, plain, now=at, asking=True)
    count = selection.count_ordered(db.session, order)
    breakers = states_by_name(db.session, now=at)
    return render(
        "dead_letters/bulk.html",
        status=status,
        form=form,
        count=count,
        capped=count > selection.BULK_CAP,
        letters=_letters(count, count > selection.BULK_CAP),
        sample=selection.sample_ordered(db.session, order, SAMPLE),
        at_once=bulk.AT_ONCE,
        breakers=[
            (name, f"{name} ({state.replace('_', ' ')})") for name, state in breakers.items()
        ],
    )


def _letters(count: int, capped: bool) -> str:  # noqa: FBT001 - as the filter "number" takes it
    shown = min(count, selection.BULK_CAP)
    return f"{shown:,}{'+' if capped else ''} {'letter' if count == 1 else 'letters'}"


def _doing(order: BulkOrder) -> str:
    verbs = {
        BulkAction.RETRY: "retries",
        BulkAction.RESOLVE: "resolves",
        BulkAction.DISCARD: "discards",
    }
    return verbs[order.action]


def _told(order: BulkOrder, outcome: bulk.BulkOutcome) -> str:
    """Say what was done at once, and what was not, and why."""
    verbs = {
        BulkAction.RETRY: ("is queued again", "are queued again"),
        BulkAction.RESOLVE: ("is resolved", "are resolved"),
        BulkAction.DISCARD: ("is discarded", "are discarded"),
    }
    place = outcome.place
    count = place.done if place else 0
    text = f"{_letters(count, capped=False)} {verbs[order.action][count != 1]}."
    if place and place.refused:
        reasons = ", ".join(
            f"{number:,} {why.replace('_', ' ')}"
            for why, number in bulk.told(place.refused).items()
        )
        text += f" Refused: {reasons}."
    return text


def _refused(
    letter_id: int, error: DomainError, *, typed: str | None = None, notes: str = ""
) -> Response:
    """Show the letter again with what was typed, and why it was not done."""
    db.session.rollback()
    if isinstance(error, Invalid):
        return _letter(letter_id, errors=error.errors, typed=typed, notes=notes)
    return _letter(letter_id, problem=error.detail, typed=typed, notes=notes)


def _letter(
    letter_id: int,
    *,
    errors: FieldErrors | None = None,
    problem: str = "",
    typed: str | None = None,
    notes: str = "",
) -> Response:
    letter = service.find_letter(db.session, letter_id)
    return render(
        "dead_letters/show.html",
        "dead_letters/_letter.html",
        status=422 if errors else 409 if problem else 200,
        letter=queries.get_row(db.session, letter),
        traceback=letter.traceback,
        attempts=attempts_of(db.session, letter.job_id, limit=ATTEMPTS),
        typed=_arguments(letter) if typed is None else typed,
        errors=errors or {},
        problem=problem,
        notes=notes,
    )


def _arguments(letter: DeadLetter) -> str:
    """Write what the job would run with now, which may have been changed since it failed."""
    arguments = find_job(db.session, letter.job_id).arguments
    return json.dumps(masked(arguments), indent=2, ensure_ascii=False)
