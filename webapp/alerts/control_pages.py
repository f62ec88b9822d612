"""The pages of silences: which there are, making one, ending one early."""

from dataclasses import replace

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.alerts import service
from webapp.alerts.forms import LASTS, SilenceForm
from webapp.alerts.page_queries import rule_names
from webapp.alerts.queries import list_silences
from webapp.clock import now
from webapp.db import db
from webapp.errors import Invalid
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.confirmations import act, asking
from webapp.web.cursors import neighbours, read_cursor
from webapp.web.htmx import go_to, render

blueprint = Blueprint("silences", __name__, url_prefix="/silences")


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List silences, those that have not ended or all of them."""
    moment, ended = now(), request.args.get("state") == "all"
    page = list_silences(db.session, read_cursor(), now=moment, active=not ended)
    return render(
        "alerts/silences.html",
        "alerts/_silences.html",
        found=page,
        ended=ended,
        **neighbours(page),
    )


@blueprint.get("/new")
@requires(Role.OPERATOR)
def new() -> Response:
    """Show the form of a silence to be made, filled in as far as a link does."""
    return _form_page(SilenceForm.read(request.args))


@blueprint.post("")
@requires(Role.OPERATOR)
def create() -> BaseResponse:
    """Make the silence that was typed."""
    form, at = SilenceForm.read(request.form), now()
    try:
        service.create_silence(db.session, form.draft(at), by=actor(), now=at)
        db.session.commit()
    except Invalid as error:
        db.session.rollback()
        return _form_page(replace(form, errors=error.errors), status=422)
    return go_to(url_for("alerts.silences.index"), "The silence begins.")


@blueprint.post("/<int:silence_id>/end")
@requires(Role.OPERATOR)
def end(silence_id: int) -> BaseResponse:
    """End a silence before its time."""
    silence = service.find_silence(db.session, silence_id)
    about = " and ".join(part for part in (silence.rule, silence.label) if part)
    asked = asking(
        f"End the silence of {about}?",
        "What fires is told again from the next minute on.",
        "End silence",
    )
    return act(
        asked,
        f"The silence of {about} has ended.",
        url=url_for("alerts.silences.index"),
        verb=lambda by, at: service.end_silence(
            db.session, silence_id, by=by, now=at, reason=asked.reason
        ),
    )


def _form_page(form: SilenceForm, *, status: int = 200) -> Response:
    return render(
        "alerts/new_silence.html",
        "alerts/_silence_form.html",
        status=status,
        form=form,
        lasts=LASTS,
        rules=[("", "every rule"), *((name, name) for name in rule_names(db.session))],
    )
