"""Evaluation over JSON, for apps: one flag or many.  Needs the snapshot, and no database."""

import orjson
from flask import Blueprint, Response, request

from webapp.flags.answers import answer_many, answer_one
from webapp.flags.responses import BulkEvaluationResponse, CheckQuery, EvaluationResponse
from webapp.flags.schemas import BulkQuestion, Question
from webapp.flags.snapshot import flag_store
from webapp.web.access import evaluation, principal
from webapp.web.openapi import describes
from webapp.web.schemas import parse_json, read_json

blueprint = Blueprint("flags_evaluation_api", __name__, url_prefix="/api/v1/feature-flags")


@blueprint.post("/<name>/evaluate")
@evaluation
@describes(
    {200: EvaluationResponse},
    body=Question,
    example={"user_id": "user-1", "attributes": {"plan": "pro"}},
)
def evaluate_flag(name: str) -> Response:
    """Decide a flag for the subject in the body."""
    return _answer(name, read_json(Question))


@blueprint.post("/<name>/check")
@evaluation
@describes({200: EvaluationResponse}, body=Question)
def check_flag(name: str) -> Response:
    """Answer as evaluate does, under the name that older clients call."""
    return _answer(name, read_json(Question))


@blueprint.get("/<name>/check")
@evaluation
@describes({200: EvaluationResponse}, query=CheckQuery)
def check_flag_by_query(name: str) -> Response:
    """Decide a flag for the subject in the query."""
    asked = {key: request.args[key] for key in ("user_id", "environment") if key in request.args}
    return _answer(name, parse_json(Question, orjson.dumps(asked)))


@blueprint.post("/evaluate-bulk")
@evaluation
@describes({200: BulkEvaluationResponse}, body=BulkQuestion)
def evaluate_bulk() -> Response:
    """Decide the flags that are named, or all, for one subject."""
    question = read_json(BulkQuestion)
    return _json(answer_many(flag_store(), question, bound=principal().environment))


def _answer(name: str, question: Question) -> Response:
    return _json(answer_one(flag_store(), name, question, bound=principal().environment))


def _json(body: bytes) -> Response:
    return Response(body, content_type="application/json")
