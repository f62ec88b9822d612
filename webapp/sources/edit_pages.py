"""The page that says how often a source may be called, and the end of a pause by hand."""

from dataclasses import replace

from flask import Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.clock import now
from webapp.db import db
from webapp.errors import Invalid
from webapp.limits.policy import rule_of
from webapp.limits.registry import current_registry
from webapp.limits.service import lift_pause
from webapp.limits.values import SOURCE_PREFIX
from webapp.roles import Role
from webapp.sources.forms import LimitForm
from webapp.sources.models import Source
from webapp.sources.pages import blueprint
from webapp.sources.service import find_source, set_rate_limit
from webapp.web.access import actor, requires
from webapp.web.confirmations import act, asking
from webapp.web.htmx import go_to, refused_status, render


@blueprint.get("/<name>/limit")
@requires(Role.ADMIN)
def limit(name: str) -> Response:
    """Show how often a source may be called, to be changed."""
    source = find_source(db.session, name)
    return _form_page(source, LimitForm.of(source.rate_limit, source.rate_window))


@blueprint.post("/<name>/limit")
@requires(Role.ADMIN)
def set_limit(name: str) -> BaseResponse:
    """Save what was typed."""
    form = LimitForm.read(request.form)
    try:
        calls, seconds = form.numbers()
        set_rate_limit(
            db.session,
            name,
            calls=calls,
            seconds=seconds,
            by=actor(),
            now=now(),
            reason=form.reason,
        )
        db.session.commit()
    except Invalid as error:
        db.session.rollback()
        form = replace(form, errors=error.errors)
        return _form_page(find_source(db.session, name), form, status=refused_status(error))
    return go_to(url_for("sources.show", name=name), f"The rate limit of {name} is saved.")


@blueprint.post("/<name>/pause/lift")
@requires(Role.OPERATOR)
def lift(name: str) -> BaseResponse:
    """Let a source be called again before its pause is over."""
    source = find_source(db.session, name)
    asked = asking(
        f"Lift the pause of {name}?",
        "It is called again at once, whatever it has asked for.",
        "Lift pause",
    )
    return act(
        asked,
        f"The pause of {name} is lifted.",
        url=url_for("sources.show", name=name),
        verb=lambda by, at: lift_pause(
            db.session, SOURCE_PREFIX + source.name, by=by, now=at, reason=asked.reason
        ),
    )


def _form_page(source: Source, form: LimitForm, *, status: int = 200) -> Response:
    return render(
        "sources/limit.html",
        "sources/_limit_form.html",
        status=status,
        source=source,
        form=form,
        default=rule_of(source.kind, None, None, api=current_registry().api),
    )
