"""Models over JSON: the same services as the pages, for programs."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request, url_for

from webapp.clock import now
from webapp.db import db
from webapp.paging import Page as PageOf
from webapp.predictions import queries, service
from webapp.predictions.responses import (
    JobStartedResponse,
    ModelResponse,
    ModelsQuery,
    PredictionResponse,
    PredictionRunResponse,
    PredictionsQuery,
    VersionDetailsResponse,
    VersionResponse,
)
from webapp.predictions.schemas import (
    NewTraining,
    VersionDecision,
    model_as_json,
    prediction_as_json,
    run_as_json,
    version_as_json,
    version_details_as_json,
)
from webapp.predictions.values import MAX_KEY, MAX_NAME
from webapp.predictions.versions import promote as promote_version
from webapp.predictions.versions import retire as retire_version
from webapp.roles import Role
from webapp.web.access import actor, requires
from webapp.web.answers import json_answer
from webapp.web.cursors import neighbours, read_cursor
from webapp.web.openapi import Page, PageQuery, describes
from webapp.web.requests import makes
from webapp.web.schemas import read_json, read_whole

blueprint = Blueprint("predictions_api", __name__, url_prefix="/api/v1/models")

DEFAULT_LIMIT = 50
MAX_LIMIT = 500


@blueprint.get("")
@requires(Role.VIEWER)
@describes({200: Page[ModelResponse]}, query=ModelsQuery)
def index() -> Response:
    """List models, newest first."""
    source = request.args.get("source", "")[: MAX_NAME + 1]
    page = queries.list_models(db.session, read_cursor(), source=source, size=_limit())
    return _page(page, model_as_json)


@blueprint.post("")
@requires(Role.OPERATOR)
@describes(
    {202: JobStartedResponse},
    body=NewTraining,
    example={"source": "airports", "target": "country", "held_out_share": 0.2},
)
@makes
def train() -> Response:
    """Ask for a training: 202 with the address of its job."""
    draft = read_json(NewTraining).draft()
    return _started(service.request_training(db.session, draft, by=actor(), now=now()))


@blueprint.get("/<int:model_id>")
@requires(Role.VIEWER)
@describes({200: ModelResponse})
def show(model_id: int) -> Response:
    """Write one model."""
    model, source = service.find_model(db.session, model_id)
    return json_answer(model_as_json(queries.view_model(db.session, model, source)))


@blueprint.get("/<int:model_id>/versions")
@requires(Role.VIEWER)
@describes({200: Page[VersionResponse]}, query=PageQuery)
def versions(model_id: int) -> Response:
    """List the versions of a model, newest first."""
    service.find_model(db.session, model_id)
    page = queries.versions_of(db.session, model_id, read_cursor(), size=_limit())
    return _page(page, version_as_json)


@blueprint.get("/<int:model_id>/runs")
@requires(Role.VIEWER)
@describes({200: Page[PredictionRunResponse]}, query=PageQuery)
def runs(model_id: int) -> Response:
    """List the runs of a model, newest first."""
    service.find_model(db.session, model_id)
    page = queries.runs_of(db.session, model_id, read_cursor(), size=_limit())
    return _page(page, run_as_json)


@blueprint.post("/<int:model_id>/runs")
@requires(Role.OPERATOR)
@describes({202: JobStartedResponse})
@makes
def predict(model_id: int) -> Response:
    """Predict the records of the model's source: 202 with the address of the job."""
    return _started(service.request_predictions(db.session, model_id, by=actor(), now=now()))


@blueprint.get("/versions/<int:version_id>")
@requires(Role.VIEWER)
@describes({200: VersionDetailsResponse})
def version(version_id: int) -> Response:
    """Write one version."""
    return json_answer(version_details_as_json(service.find_version(db.session, version_id)))


@blueprint.get("/versions/<int:version_id>/predictions")
@requires(Role.VIEWER)
@describes({200: Page[PredictionResponse]}, query=PredictionsQuery)
def predictions(version_id: int) -> Response:
    """List what a version has said, newest first."""
    found = service.find_version(db.session, version_id)
    model, _ = service.find_model(db.session, found.model_id)
    key = request.args.get("key", "")[: MAX_KEY + 1]
    page = queries.predictions_of(
        db.session, version_id, read_cursor(), target=model.target, key=key, size=_limit()
    )
    view = queries.view_version(found)
    return _page(page, lambda item: prediction_as_json(item, view))


@blueprint.post("/versions/<int:version_id>/promote")
@requires(Role.OPERATOR)
@describes({200: VersionDetailsResponse}, body=VersionDecision, example={"reason": "It did well"})
def promote(version_id: int) -> Response:
    """Make a version the champion; 409 where it is, or its revision is another."""
    return _decide(version_id, promote_version)


@blueprint.post("/versions/<int:version_id>/retire")
@requires(Role.OPERATOR)
@describes({200: VersionDetailsResponse}, body=VersionDecision, example={"reason": "It did badly"})
def retire(version_id: int) -> Response:
    """Take a version out of use; 409 where it is, or its revision is another."""
    return _decide(version_id, retire_version)


def _decide(version_id: int, verb: Callable[..., Any]) -> Response:
    body = read_json(VersionDecision)
    verb(
        db.session,
        version_id,
        revision=body.revision,
        by=actor(),
        now=now(),
        reason=body.reason,
    )
    db.session.commit()
    return json_answer(version_details_as_json(service.find_version(db.session, version_id)))


def _started(job_id: int) -> Response:
    db.session.commit()
    response = json_answer({"job_id": job_id}, 202)
    response.headers["Location"] = url_for("jobs_api.show", job_id=job_id)
    return response


def _page(page: PageOf[Any], written: Callable[[Any], dict[str, Any]]) -> Response:
    links = neighbours(page)
    return json_answer(
        {
            "items": [written(view) for view in page.rows],
            "total": page.total,
            "capped": page.capped,
            "previous": links["previous_url"],
            "next": links["next_url"],
        }
    )


def _limit() -> int:
    return read_whole("limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
