"""The pages of models: the list, one model with its versions and runs, one version, the form."""

from collections.abc import Callable
from dataclasses import replace

from flask import Blueprint, Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from webapp.audit.differences import in_short
from webapp.audit.service import history
from webapp.clock import now
from webapp.db import db
from webapp.errors import Invalid, NotFound
from webapp.predictions import queries, service, versions
from webapp.predictions.forms import ALGORITHMS, TASKS, TrainingForm
from webapp.predictions.values import MAX_NAME
from webapp.roles import Role
from webapp.sources.queries import field_names
from webapp.sources.service import find_source, source_names
from webapp.web.access import actor, requires
from webapp.web.confirmations import Confirmation, act, asking
from webapp.web.cursors import neighbours, read_cursor, read_search
from webapp.web.htmx import done, go_to, refused_status, render

blueprint = Blueprint("predictions", __name__, url_prefix="/models")

HISTORY = 10


@blueprint.get("")
@requires(Role.VIEWER)
def index() -> Response:
    """List the models, all or those of a source."""
    source = request.args.get("source", "")[: MAX_NAME + 1]
    page = queries.list_models(db.session, read_cursor(), source=source)
    return render(
        "predictions/index.html",
        "predictions/_table.html",
        models=page,
        source=source,
        sources=source_names(db.session),
        **neighbours(page),
    )


@blueprint.get("/new")
@requires(Role.OPERATOR)
def new() -> Response:
    """Show the form that asks for a training, for a source that was chosen."""
    return _form_page(
        TrainingForm(
            source=request.args.get("source", "")[: MAX_NAME + 1],
            target=request.args.get("target", ""),
        )
    )


@blueprint.post("")
@requires(Role.OPERATOR)
def train() -> BaseResponse:
    """Ask for the training that was typed."""
    form = TrainingForm.read(request.form, request.form.getlist("fields"))
    try:
        job_id = service.request_training(db.session, form.draft(), by=actor(), now=now())
        db.session.commit()
    except Invalid as error:
        db.session.rollback()
        form = replace(form, errors=form.refused(error))
        return _form_page(form, status=refused_status(error))
    return go_to(url_for("jobs.show", job_id=job_id), f"Job {job_id} trains {form.target}.")


@blueprint.get("/<int:model_id>")
@requires(Role.VIEWER)
def show(model_id: int) -> Response:
    """Show one model: its champion and challenger, its versions and its last runs."""
    model, source = service.find_model(db.session, model_id)
    page = queries.versions_of(db.session, model_id, read_cursor())
    return render(
        "predictions/show.html",
        "predictions/_activity.html",
        model=queries.view_model(db.session, model, source),
        versions=page,
        runs=queries.newest_runs(db.session, model_id),
        **neighbours(page),
    )


@blueprint.post("/<int:model_id>/runs")
@requires(Role.OPERATOR)
def predict(model_id: int) -> BaseResponse:
    """Predict the records of the model's source."""
    job_id = service.request_predictions(db.session, model_id, by=actor(), now=now())
    db.session.commit()
    url = url_for("predictions.show", model_id=model_id)
    return done(f"Job {job_id} predicts.", url=url)


@blueprint.get("/versions/<int:version_id>")
@requires(Role.VIEWER)
def version(version_id: int) -> Response:
    """Show one version: its figures, what it reads, its runs and what it has said."""
    found = service.find_version(db.session, version_id)
    model, source = service.find_model(db.session, found.model_id)
    key = read_search()
    page = queries.predictions_of(
        db.session, version_id, read_cursor(), target=model.target, key=key
    )
    name = service.name_of(source, model.target)
    return render(
        "predictions/version.html",
        "predictions/_predictions.html",
        source=source,
        model=model,
        version=found,
        view=queries.view_version(found),
        predictions=page,
        key=key,
        runs=queries.newest_runs(db.session, found.model_id, version_id=version_id),
        entries=[in_short(entry) for entry in history(db.session, "model", name, HISTORY)],
        **neighbours(page),
    )


@blueprint.post("/versions/<int:version_id>/promote")
@requires(Role.OPERATOR)
def promote(version_id: int) -> BaseResponse:
    """Make a version the champion."""
    found = service.find_version(db.session, version_id)
    asked = asking(
        f"Promote version {found.number}?",
        "It predicts from the next run on, and the champion is retired.",
        "Promote version",
        revision=request.form.get("revision", ""),
    )
    return _act(asked, version_id, f"Version {found.number} is the champion.", versions.promote)


@blueprint.post("/versions/<int:version_id>/retire")
@requires(Role.OPERATOR)
def retire(version_id: int) -> BaseResponse:
    """Take a version out of use."""
    found = service.find_version(db.session, version_id)
    asked = asking(
        f"Retire version {found.number}?",
        "It predicts no more. Without a champion nothing is predicted until one is promoted.",
        "Retire version",
        revision=request.form.get("revision", ""),
    )
    return _act(asked, version_id, f"Version {found.number} is retired.", versions.retire)


def _act(
    asked: Confirmation, version_id: int, text: str, verb: Callable[..., object]
) -> BaseResponse:
    return act(
        asked,
        text,
        url=url_for("predictions.version", version_id=version_id),
        verb=lambda by, at: verb(
            db.session,
            version_id,
            revision=request.form.get("revision", type=int),
            by=by,
            now=at,
            reason=asked.reason,
        ),
    )


def _form_page(form: TrainingForm, *, status: int = 200) -> Response:
    """Show the form; which fields there are is known once there is a source."""
    names: list[str] = []
    try:
        names = field_names(db.session, find_source(db.session, form.source).id)
    except NotFound:
        form = replace(form, source="")
    return render(
        "predictions/new.html",
        "predictions/_form.html",
        status=status,
        form=form,
        names=names,
        sources=source_names(db.session),
        algorithms=ALGORITHMS,
        tasks=TASKS,
    )
