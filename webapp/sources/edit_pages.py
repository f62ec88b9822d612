"""The forms that add, change and remove a source, and say how often it may be called.

A look into a source is a POST: it may send a secret to whatever address was typed, and so nobody
else may have an admin's browser ask for it.
"""

from dataclasses import replace

from flask import Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.clock import now
from webapp.db import db
from webapp.errors import Conflict, FieldErrors, Invalid
from webapp.limits.policy import rule_of
from webapp.limits.registry import current_registry
from webapp.limits.service import lift_pause
from webapp.limits.values import SOURCE_PREFIX
from webapp.roles import Role
from webapp.sources.definitions import draft_of
from webapp.sources.forms import KINDS, PAGINATIONS, LimitForm, SourceForm
from webapp.sources.models import Source
from webapp.sources.pages import blueprint
from webapp.sources.previews import Preview, preview
from webapp.sources.service import (
    change_source,
    create_source,
    find_source,
    remove_source,
    set_rate_limit,
)
from webapp.web.access import actor, requires
from webapp.web.confirmations import act, asking
from webapp.web.htmx import go_to, refused_status, render
from webapp.web.requests import writes_nothing


@blueprint.get("/new")
@requires(Role.ADMIN)
def new() -> Response:
    """Show the form that adds a source."""
    return _source_page(SourceForm(), None)


@blueprint.post("/preview")
@requires(Role.ADMIN)
@writes_nothing
def preview_new() -> Response:
    """Show what the source holds that is being added."""
    return _source_page(SourceForm.read(request.form), None, look=True)


@blueprint.post("")
@requires(Role.ADMIN)
def create() -> BaseResponse:
    """Add the source that was typed."""
    form = SourceForm.read(request.form)
    try:
        draft = form.draft()
        create_source(
            db.session,
            form.name,
            kind=draft.kind,
            location=draft.location,
            key_field=draft.key_field,
            options=draft.options,
            mapping=draft.mapping,
            by=actor(),
            now=now(),
        )
        db.session.commit()
    except Invalid as error:
        db.session.rollback()
        form = replace(form, errors=error.errors)
        return _source_page(form, None, status=refused_status(error))
    return go_to(url_for("sources.show", name=form.name), f"{form.name} is added.")


@blueprint.get("/<name>/edit")
@requires(Role.ADMIN)
def edit(name: str) -> Response:
    """Show the form of a source to be changed."""
    source = find_source(db.session, name)
    return _source_page(SourceForm.of(name, draft_of(source), source.version), source)


@blueprint.post("/<name>/preview")
@requires(Role.ADMIN)
@writes_nothing
def preview_changed(name: str) -> Response:
    """Show what the source holds that is being changed."""
    source = find_source(db.session, name)
    return _source_page(replace(SourceForm.read(request.form), name=name), source, look=True)


@blueprint.post("/<name>")
@requires(Role.ADMIN)
def update(name: str) -> BaseResponse:
    """Save what was typed."""
    form = replace(SourceForm.read(request.form), name=name)
    try:
        change_source(
            db.session,
            name,
            form.draft(),
            by=actor(),
            now=now(),
            reason=form.reason,
            version=form.based_on(),
        )
        db.session.commit()
    except (Invalid, Conflict) as error:
        db.session.rollback()
        source = find_source(db.session, name)
        if isinstance(error, Invalid):
            form = replace(form, errors=error.errors)
        else:
            # Who has read that it was changed may save over it.
            form = replace(form, errors={"version": [error.detail]}, version=str(source.version))
        return _source_page(form, source, status=refused_status(error))
    return go_to(url_for("sources.show", name=name), f"{name} is saved.")


@blueprint.post("/<name>/remove")
@requires(Role.ADMIN)
def remove(name: str) -> BaseResponse:
    """Remove a source for good."""
    source = find_source(db.session, name)
    asked = asking(
        f"Remove {name}?",
        f"Its {source.record_count:,} records and all its runs go with it. "
        "The audit keeps what it was.",
        "Remove source",
    )
    return act(
        asked,
        f"{name} is removed.",
        url=url_for("sources.index"),
        verb=lambda by, at: remove_source(db.session, name, by=by, now=at, reason=asked.reason),
    )


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


def _source_page(
    form: SourceForm, source: Source | None, *, look: bool = False, status: int = 200
) -> Response:
    """Show the form, with what the source holds where somebody asked for it."""
    found: Preview | None = None
    if look:
        # A place may take its time: no transaction is open meanwhile.
        db.session.rollback()
        try:
            found = preview(form.draft())
        except Invalid as error:
            form = replace(form, errors=_of_place(error.errors))
    return render(
        "sources/edit.html" if source else "sources/new.html",
        "sources/_form.html",
        status=status,
        form=form,
        source=source,
        preview=found,
        kinds=KINDS,
        paginations=PAGINATIONS,
    )


def _of_place(errors: FieldErrors) -> FieldErrors:
    """Return the complaints without those of what need not be known for a look."""
    return {name: texts for name, texts in errors.items() if name not in {"name", "key_field"}}
